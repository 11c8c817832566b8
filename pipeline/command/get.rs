//! `tidegate get`: the board, or a list of one kind.

use std::fmt::Write as _;

use jiff::Timestamp;
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use tidegate_schemas::{Condition, Pipeline, Promotion, Release, Repository, Sync, condition};

use crate::board::{board, standing};
use crate::failure::{Code, Failure};
use crate::objects::{Objects, images, order};
use crate::session::{Connection, Session, list, print, show};
use crate::text::{length, safe, table};

/// Shows the board (what runs, what waits and for what), or lists a kind.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// promotions, releases, syncs, pipelines or repositories; the board where nothing is said.
    pub kind: Option<String>,
    /// Only the object of this name.
    pub name: Option<String>,
    /// The form of the output.
    #[arg(short, long)]
    pub output: Option<Output>,
}

/// The form of an output.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// More columns.
    Wide,
    /// Names only.
    Name,
}

/// The kinds that are listed and explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Promotions.
    Promotion,
    /// Releases.
    Release,
    /// Syncs.
    Sync,
    /// Pipelines.
    Pipeline,
    /// Repositories.
    Repository,
}

impl std::str::FromStr for Listed {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        match text.to_ascii_lowercase().as_str() {
            "promotion" | "promotions" | "tgpromo" => Ok(Self::Promotion),
            "release" | "releases" | "tgrel" => Ok(Self::Release),
            "sync" | "syncs" | "tgsync" => Ok(Self::Sync),
            "pipeline" | "pipelines" | "tgpl" => Ok(Self::Pipeline),
            "repository" | "repositories" | "tgrepo" => Ok(Self::Repository),
            _ => Err(Failure::new(
                Code::Usage,
                format!(
                    "{text:?} is no kind that can be shown here: name promotion, release, sync, pipeline or repository"
                ),
            )),
        }
    }
}

/// Everything that the board and the stories are told from; classes are left out.
///
/// # Errors
/// When something may not be listed.
pub async fn objects(session: &Session) -> Result<Objects, Failure> {
    let (pipelines, promotions, releases, syncs) =
        (session.here(), session.here(), session.here(), session.here());
    let (pipelines, promotions, releases, syncs) = tokio::try_join!(
        list::<Pipeline>(&pipelines),
        list::<Promotion>(&promotions),
        list::<Release>(&releases),
        list::<Sync>(&syncs),
    )?;
    Ok(Objects { pipelines, releases, promotions, syncs, ..Objects::default() })
}

/// Shows it.
///
/// # Errors
/// When it cannot be read.
pub async fn run(connection: &Connection, args: &Args, now: Timestamp) -> Result<(), Failure> {
    let kind = args.kind.as_deref().map(str::parse::<Listed>).transpose()?;
    let session = connection.open().await?;
    let Some(kind) = kind else {
        let board = board(&objects(&session).await?);
        return match args.output {
            Some(Output::Json) => print(&json(&board)?),
            Some(Output::Yaml) => print(&yaml(&board)?),
            Some(Output::Name) => print(&board.pipelines.iter().fold(String::new(), |out, p| {
                out + &format!("pipeline.tidegate.dev/{}\n", safe(&p.name))
            })),
            _ => show(&board.to_text(now)),
        };
    };
    match kind {
        Listed::Promotion => one_kind::<Promotion>(&session, args, now).await,
        Listed::Release => one_kind::<Release>(&session, args, now).await,
        Listed::Sync => one_kind::<Sync>(&session, args, now).await,
        Listed::Pipeline => one_kind::<Pipeline>(&session, args, now).await,
        Listed::Repository => one_kind::<Repository>(&session, args, now).await,
    }
}

async fn one_kind<K>(session: &Session, args: &Args, now: Timestamp) -> Result<(), Failure>
where
    K: Row,
{
    let mut found = match &args.name {
        Some(name) => vec![session.one::<K>(name).await?],
        None => list(&session.here::<K>()).await?,
    };
    K::sort(&mut found);
    match args.output {
        Some(form @ (Output::Json | Output::Yaml)) => {
            let value = match (&args.name, found.as_slice()) {
                (Some(_), [one]) => serde_json::to_value(one),
                _ => serde_json::to_value(
                    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": found}),
                ),
            };
            let value =
                value.map_err(|error| Failure::from(format!("writing the output: {error}")))?;
            print(&if form == Output::Json { json(&value)? } else { yaml(&value)? })
        }
        Some(Output::Name) => {
            let kind = K::kind(&()).to_lowercase();
            let mut text = String::new();
            for object in &found {
                let _infallible =
                    writeln!(text, "{kind}.tidegate.dev/{}", safe(&object.name_any()));
            }
            print(&text)
        }
        form => {
            if found.is_empty() {
                return print(&format!(
                    "no {} in the namespace {}\n",
                    K::plural(&()),
                    session.namespace
                ));
            }
            show(&rows(&found, form == Some(Output::Wide), now))
        }
    }
}

/// A table of objects.
fn rows<K: Row>(found: &[K], wide: bool, now: Timestamp) -> String {
    let shown = if wide { K::HEADINGS.len() } else { K::NARROW };
    let mut headings = vec!["NAME"];
    headings.extend(&K::HEADINGS[..shown]);
    headings.push("AGE");
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|object| {
            let mut row = vec![safe(&object.name_any())];
            row.extend(object.cells().into_iter().take(shown).map(|c| safe(&c)));
            row.push(
                object
                    .creation_timestamp()
                    .map_or_else(String::new, |t| length(now.duration_since(t.0))),
            );
            row
        })
        .collect();
    table(&headings, &rows)
}

/// A kind that is listed in a table.
trait Row:
    Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
    + Clone
    + std::fmt::Debug
    + serde::de::DeserializeOwned
    + Serialize
{
    /// Its columns.
    const HEADINGS: &'static [&'static str];
    /// How many of them are shown where not all are asked for.
    const NARROW: usize;
    /// Its cells.
    fn cells(&self) -> Vec<String>;
    /// In the order of the list.
    fn sort(found: &mut [Self]) {
        found.sort_by_key(kube::ResourceExt::name_any);
    }
}

fn ready(conditions: Option<&Vec<Condition>>) -> (String, String) {
    conditions
        .and_then(|c| condition(c, "Ready"))
        .map_or_else(|| ("-".to_owned(), String::new()), |c| (c.status.clone(), c.message.clone()))
}

impl Row for Promotion {
    const HEADINGS: &'static [&'static str] =
        &["ENVIRONMENT", "LANE", "KIND", "RELEASE", "STATUS", "REQUESTED BY", "COMMIT", "CHANGE"];
    const NARROW: usize = 5;
    fn cells(&self) -> Vec<String> {
        let status = self.status.clone().unwrap_or_default();
        vec![
            self.spec.environment.to_string(),
            self.spec.lane.to_string(),
            format!("{:?}", self.spec.kind),
            self.spec.release.clone(),
            standing(self),
            self.spec.requested_by.clone().unwrap_or_else(|| "-".to_owned()),
            status.commit.map_or_else(|| "-".to_owned(), |c| c.short().to_owned()),
            status.change.map_or_else(|| "-".to_owned(), |c| c.short()),
        ]
    }
    fn sort(found: &mut [Self]) {
        found.sort_by_key(order);
    }
}

impl Row for Release {
    const HEADINGS: &'static [&'static str] =
        &["LANE", "IMAGES", "CHANGE", "QUARANTINED IN", "COMMIT", "AUTHOR", "IDENTITY"];
    const NARROW: usize = 4;
    fn cells(&self) -> Vec<String> {
        let quarantined: Vec<String> = self
            .status
            .iter()
            .flat_map(|s| &s.quarantined)
            .map(|q| q.environment.to_string())
            .collect();
        vec![
            self.spec.lane.to_string(),
            images(self),
            self.spec.source.title.clone(),
            if quarantined.is_empty() { "-".to_owned() } else { quarantined.join(",") },
            self.spec.source.commit.short().to_owned(),
            self.spec.source.author.clone(),
            self.spec.id.to_string(),
        ]
    }
    fn sort(found: &mut [Self]) {
        found.sort_by_key(|r| (r.spec.lane.clone(), r.spec.sequence));
    }
}

impl Row for Sync {
    const HEADINGS: &'static [&'static str] =
        &["READY", "HEALTH", "TARGET", "STATUS", "BRANCH", "COMMIT", "ACCOUNT"];
    const NARROW: usize = 4;
    fn cells(&self) -> Vec<String> {
        let (holds, message) = ready(self.status.as_ref().map(|s| &s.conditions));
        let status = self.status.clone().unwrap_or_default();
        vec![
            holds,
            status.health.map_or_else(|| "-".to_owned(), |h| format!("{:?}", h.state)),
            self.spec.target.namespace.clone(),
            message,
            self.spec.source.branch.clone(),
            status.applied.map_or_else(|| "-".to_owned(), |a| a.commit.short().to_owned()),
            self.spec.account.to_string(),
        ]
    }
}

impl Row for Pipeline {
    const HEADINGS: &'static [&'static str] = &["READY", "REPOSITORY", "STATUS", "COMMIT"];
    const NARROW: usize = 3;
    fn cells(&self) -> Vec<String> {
        let (holds, message) = ready(self.status.as_ref().map(|s| &s.conditions));
        let commit = self.status.as_ref().and_then(|s| s.commit.as_ref());
        vec![
            holds,
            self.spec.source.repository.clone(),
            message,
            commit.map_or_else(|| "-".to_owned(), |c| c.short().to_owned()),
        ]
    }
}

impl Row for Repository {
    const HEADINGS: &'static [&'static str] = &["READY", "URL", "STATUS"];
    const NARROW: usize = 3;
    fn cells(&self) -> Vec<String> {
        let (holds, message) = ready(self.status.as_ref().map(|s| &s.conditions));
        vec![holds, self.spec.url.clone(), message]
    }
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| Failure::from(format!("writing the output: {error}")))
}

fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_value(value)
        .map(|value| tidegate_manifest::to_yaml(&value))
        .map_err(|error| Failure::from(format!("writing the output: {error}")))
}
