//! `tidegate wait`: for the CI that pushed an image. Watches, and asks nothing twice.

use futures::stream::{BoxStream, StreamExt as _, select_all};
use kube::runtime::reflector::{Store, store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource};
use tidegate_ids::{EnvironmentName, Period};
use tidegate_manifest::ImageReference;
use tidegate_schemas::{Pipeline, Promotion, Release};

use crate::awaited::{Awaited, Wanted, awaited};
use crate::failure::{Code, Failure, chain};
use crate::objects::Objects;
use crate::session::{Connection, Session, show};
use crate::text::safe;

/// Waits until an image runs in an environment, or until it is clear that it will not.
///
/// Exit codes: 0 applied, 1 another failure, 2 usage, 3 refused or rejected, 4 superseded,
/// 5 needs approval (with --fail-on-approval), 6 timed out, 7 regressed or rolled back.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The image: repository@sha256:…
    #[arg(value_name = "IMAGE@DIGEST")]
    pub image: String,
    /// The environment.
    #[arg(long)]
    pub env: EnvironmentName,
    /// The pipeline, where several follow the image.
    #[arg(long)]
    pub pipeline: Option<String>,
    /// How long.
    #[arg(long, default_value = "30m")]
    pub timeout: Period,
    /// End with code 5 as soon as only people are waited for, instead of waiting for them.
    #[arg(long)]
    pub fail_on_approval: bool,
}

/// Waits.
///
/// # Errors
/// With the code that says what became of the image.
pub async fn run(connection: &Connection, args: &Args) -> Result<(), Failure> {
    let wanted = wanted(args)?;
    let session = connection.open().await?;
    let mut last = String::new();
    let deadline = args.timeout.to_std();
    match tokio::time::timeout(deadline, watch(&session, &wanted, args.fail_on_approval, &mut last))
        .await
    {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::new(
            Code::TimedOut,
            format!("not in {} within {}; it waited for: {last}", args.env, args.timeout),
        )),
    }
}

fn wanted(args: &Args) -> Result<Wanted, Failure> {
    let usage = |why: String| {
        Failure::new(Code::Usage, format!("{:?} cannot be waited for: {why}", args.image))
    };
    let image: ImageReference =
        args.image.parse().map_err(|e: tidegate_manifest::Error| usage(e.to_string()))?;
    let digest = image
        .digest
        .ok_or_else(|| usage("write it as repository@sha256:…, since a tag may move".to_owned()))?;
    Ok(Wanted {
        repository: image.repository(),
        digest,
        environment: args.env.clone(),
        pipeline: args.pipeline.clone(),
    })
}

/// What a watch says.
enum Event {
    /// Its first list is complete.
    Ready(usize),
    /// Something changed.
    Changed,
    /// It has trouble and tries again.
    Trouble(String),
}

async fn watch(
    session: &Session,
    wanted: &Wanted,
    fail_on_approval: bool,
    last: &mut String,
) -> Result<(), Failure> {
    let (pipelines, a) = follow::<Pipeline>(session, 0);
    let (releases, b) = follow::<Release>(session, 1);
    let (promotions, c) = follow::<Promotion>(session, 2);
    let mut events = select_all([a, b, c]);
    let mut ready = [false; 3];
    "the API server's first answer".clone_into(last);
    while let Some(event) = events.next().await {
        match event {
            Event::Trouble(trouble) => {
                say(last, &format!("the API server: {trouble}"));
                continue;
            }
            Event::Ready(which) => ready[which] = true,
            Event::Changed => {}
        }
        if ready != [true; 3] {
            continue;
        }
        let objects = Objects {
            pipelines: all(&pipelines),
            releases: all(&releases),
            promotions: all(&promotions),
            ..Objects::default()
        };
        match awaited(wanted, &objects) {
            Awaited::Applied(words) => return show(&format!("{}\n", safe(&words))),
            Awaited::Ended(code, words) => return Err(Failure::new(code, safe(&words))),
            Awaited::People(words) if fail_on_approval => {
                return Err(Failure::new(Code::NeedsApproval, safe(&words)));
            }
            Awaited::People(words) | Awaited::OnItsWay(words) => say(last, &words),
        }
    }
    Err(Failure::from("the watches ended: run it again"))
}

/// A watched store of a kind, and what happens to it.
fn follow<K>(session: &Session, which: usize) -> (Store<K>, BoxStream<'static, Event>)
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let api: Api<K> = session.here();
    let (reader, writer) = store();
    let events = watcher(api, watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .map(move |event| match event {
            Ok(watcher::Event::InitDone) => Event::Ready(which),
            Ok(_) => Event::Changed,
            Err(error) => Event::Trouble(chain(&error)),
        })
        .boxed();
    (reader, events)
}

fn all<K>(store: &Store<K>) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store.state().iter().map(|object| object.as_ref().clone()).collect()
}

fn say(last: &mut String, words: &str) {
    let words = safe(words);
    if *last != words {
        eprintln!("{words}");
        *last = words;
    }
}
