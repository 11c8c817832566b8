//! `tidegate where`: where a vulnerability, a package, an image or a signer's work runs.
//!
//! What verdicts counted is fetched again by its digest, as the person, and not verified again:
//! the digest says that these are the bytes the engine verified.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use tidegate_ids::Digest;
use tidegate_outbound::{Registry, Repository, RepositoryName};
use tidegate_provenance::{inventory, is_scan, scan, statement_of};
use tidegate_schemas::ReleaseImage;

use crate::failure::{Code, Failure};
use crate::get::objects;
use crate::outside::Outside;
use crate::session::{Connection, Session, list, print, show};
use crate::whereabouts::{Answer, Contents, Question, answer, concerned};

/// The largest statement that is read.
const STATEMENT_CAP: usize = 16 << 20;
/// How many images are looked at at the same time.
const AT_ONCE: usize = 8;

/// Shows where something runs, since when, and which release no longer has it.
///
/// Ends with 0 when everything that runs could be looked at, and with 1 when something could not.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// Look in every namespace.
    #[arg(short = 'A', long, global = true)]
    all_namespaces: bool,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    outside: Outside,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// A vulnerability, by verified scans.
    Cve {
        /// Its id, such as CVE-2024-3094.
        id: String,
    },
    /// A package, by verified SBOMs.
    Package {
        /// Its name, or name@version.
        package: String,
    },
    /// An image, by the beginning of its digest.
    Digest {
        /// With or without sha256:.
        digest: String,
    },
    /// What somebody signed, by verdicts.
    Signer {
        /// The name that a TrustPolicy has for the key or identity, or a part of it.
        name: String,
    },
}

impl What {
    fn question(&self) -> Result<Question, Failure> {
        Ok(match self {
            Self::Cve { id } => Question::Cve(id.clone()),
            Self::Signer { name } => Question::Signer(name.clone()),
            Self::Package { package } => match package.rsplit_once('@') {
                // Names of npm packages may begin with it.
                Some((name, version)) if !name.is_empty() => {
                    Question::Package { name: name.to_owned(), version: Some(version.to_owned()) }
                }
                _ => Question::Package { name: package.clone(), version: None },
            },
            Self::Digest { digest } => {
                let hex = digest.strip_prefix("sha256:").unwrap_or(digest).to_ascii_lowercase();
                let digits = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
                if !digits || !(6..=64).contains(&hex.len()) {
                    let why = format!(
                        "{digest:?} is no digest: give 6 or more of its hexadecimal digits"
                    );
                    return Err(Failure::new(Code::Usage, why));
                }
                Question::Digest(hex)
            }
        })
    }
}

/// Shows it.
///
/// # Errors
/// When the cluster cannot be read, or something that runs could not be looked at.
pub async fn run(connection: &Connection, args: &Args, now: Timestamp) -> Result<(), Failure> {
    let question = args.what.question()?;
    let registry = args.outside.registry()?;
    let session = connection.open().await?;
    let mut whole = Answer::default();
    for namespace in namespaces(&session, args.all_namespaces).await? {
        let there = Session { client: session.client.clone(), namespace };
        let objects = objects(&there).await?;
        let contents = if question.needs_statements() {
            contents(&registry, concerned(&objects)).await
        } else {
            BTreeMap::new()
        };
        whole.take(answer(&question, &objects, &contents));
    }
    if args.json {
        let text = serde_json::to_string_pretty(&whole)
            .map_err(|error| Failure::from(format!("writing JSON: {error}")))?;
        print(&format!("{text}\n"))?;
    } else {
        show(&whole.to_text(now))?;
    }
    match whole.unknown.len() {
        0 => Ok(()),
        n => Err(Failure::from(format!("{n} of the images that run could not be looked at"))),
    }
}

async fn namespaces(session: &Session, all: bool) -> Result<Vec<String>, Failure> {
    if !all {
        return Ok(vec![session.namespace.clone()]);
    }
    let api: Api<Namespace> = session.cluster();
    Ok(list(&api).await?.iter().map(kube::ResourceExt::name_any).collect())
}

/// What is known of these images.
async fn contents(registry: &Registry, images: Vec<&ReleaseImage>) -> BTreeMap<Digest, Contents> {
    let looks = images.into_iter().map(|image| async move {
        let contents = match image.repository.parse::<RepositoryName>() {
            Ok(name) => of_image(&registry.repository(name), image).await,
            Err(error) => Contents { unreadable: vec![error.to_string()], ..Contents::default() },
        };
        (image.digest, contents)
    });
    futures::stream::iter(looks).buffer_unordered(AT_ONCE).collect().await
}

async fn of_image(repository: &Repository, image: &ReleaseImage) -> Contents {
    let mut contents = Contents::default();
    for statement in &image.verdict.statements {
        let bytes = match repository.blob(statement.digest, STATEMENT_CAP).await {
            Ok(bytes) => bytes,
            Err(error) => {
                contents.unreadable.push(error.to_string());
                continue;
            }
        };
        let Some((kind, _, predicate)) = statement_of(&bytes) else { continue };
        if is_scan(&kind) {
            match scan(&predicate) {
                Ok(scan) => contents.newer(scan),
                Err(why) => contents.unreadable.push(why),
            }
        } else if let Some(more) = inventory(&kind, &predicate) {
            contents.packages.get_or_insert_default().packages.extend(more.packages);
        }
    }
    contents
}
