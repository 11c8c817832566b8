//! `tidegate explain`: why is it as it is.

use jiff::Timestamp;
use tidegate_schemas::{Pipeline, Release, Repository, Sync, effective};

use crate::failure::{Code, Failure};
use crate::get::{Listed, objects};
use crate::session::{Connection, Session, list, show};
use crate::{setup, story};

/// Tells why something waits, was refused, or is as it is.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// promotion, release, pipeline, sync or repository, or KIND/NAME.
    #[arg(value_name = "KIND")]
    pub kind: String,
    /// The name.
    pub name: Option<String>,
}

/// Tells it.
///
/// # Errors
/// When the object is not there or may not be read.
pub async fn run(connection: &Connection, args: &Args, now: Timestamp) -> Result<(), Failure> {
    let (kind, name) = match (&args.name, args.kind.split_once('/')) {
        (Some(name), None) => (args.kind.as_str(), name.as_str()),
        (None, Some(pair)) => pair,
        _ => {
            return Err(Failure::new(
                Code::Usage,
                "explain one object: tidegate explain promotion NAME, or promotion/NAME",
            ));
        }
    };
    let kind: Listed = kind.parse()?;
    let session = connection.open().await?;
    let text = match kind {
        Listed::Promotion => {
            let promotion = session.one(name).await?;
            story::promotion(&promotion, &objects(&session).await?, now)
        }
        Listed::Release => {
            let release: Release = session.one(name).await?;
            story::release(&release, &objects(&session).await?, now)
        }
        Listed::Sync => story::sync(&session.one::<Sync>(name).await?, now),
        Listed::Repository => story::repository(&session.one::<Repository>(name).await?, now),
        Listed::Pipeline => pipeline(&session, name, now).await?,
    };
    show(&text)
}

async fn pipeline(session: &Session, name: &str, now: Timestamp) -> Result<String, Failure> {
    let pipeline: Pipeline = session.one(name).await?;
    let mut objects = objects(session).await?;
    objects.environments = list(&session.here()).await?;
    // Classes are cluster-scoped: who may not read them is told so, and sees the rest.
    let effective = match list(&session.cluster()).await {
        Ok(classes) => {
            objects.classes = classes;
            effective(&pipeline, &objects.environments, &objects.classes)
        }
        Err(refused) => Err(vec![refused.message]),
    };
    Ok(setup::pipeline(&pipeline, effective.as_ref().map_err(Vec::as_slice), &objects, now))
}
