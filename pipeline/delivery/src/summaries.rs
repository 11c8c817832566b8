//! Verification summaries, kept in Git: what was found about each image of an environment.
//!
//! They are made of what a decision was made on, before its deploy commit, so that nothing is
//! delivered that has none; refusals have theirs, too. Git has them first: whatever happens
//! after, the same bytes are there to go on with, also where a token's signature would differ
//! from time to time. One reference for each pipeline and environment, to which files are only
//! added; what of them is not beside its image yet, `beside` puts there.
//!
//! Whoever may push to the repository may write that reference, so that a summary counts only by
//! a signature of the environment's own keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tidegate_ids::{Digest, EnvironmentName};
use tidegate_keys::Ring;
use tidegate_provenance::{ImageRef, Statement, Summary, Told, Verifier};
use tidegate_schemas::Verdict;
use tidegate_source::{Entry, Mirror, NewCommit, PublicKey, Push, Snapshot, Tree};

use crate::Error;
use crate::engine::{Engine, author, whole_seconds};
use crate::world::PipelineKey;

/// How often a reference that somebody else moves is written.
const TRIES: usize = 4;
/// How long a fetch may take that a moved reference asks for.
const FETCH: Duration = Duration::from_secs(30);
/// The most summaries of one image that are looked through.
const MOST: usize = 256;

/// An image and what was found about it.
pub type Finding = (ImageRef, Verdict);

/// The summaries of one environment.
pub struct Book<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The pipeline.
    pub key: &'a PipelineKey,
    /// Where they are kept.
    pub mirror: &'a Arc<Mirror>,
    /// The environments before it, in the pipeline's order.
    pub before: &'a [EnvironmentName],
    /// The environment.
    pub environment: &'a EnvironmentName,
}

/// The reference of an environment's summaries.
#[must_use]
pub fn reference(key: &PipelineKey, environment: &EnvironmentName) -> String {
    format!("refs/tidegate/summaries/{}/{environment}", key.name)
}

impl Book<'_> {
    /// Makes a summary of each finding that has none yet, and keeps them together in one commit.
    ///
    /// # Errors
    /// When a key does not sign, or Git does not take them.
    pub async fn keep(&self, findings: &[Finding], at: Timestamp) -> Result<(), Error> {
        let (at, environment) = (whole_seconds(at), self.environment.as_str());
        let ring = self.engine.keys.ring(&self.key.namespace, environment).await?;
        let verifier = Verifier {
            cluster: self.engine.cluster_uid.clone(),
            namespace: self.key.namespace.clone(),
            environment: environment.to_owned(),
        };
        for _ in 0..TRIES {
            let own = self.snapshot(self.environment)?;
            let mut files = BTreeMap::new();
            for (image, verdict) in findings {
                let mut summary = Summary {
                    verifier: &verifier,
                    pipeline: &self.key.name,
                    image,
                    verdict,
                    at,
                    previous: None,
                };
                let name = summary.name();
                if let Some(own) = &own
                    && is_there(own, &ring, image, &name)?
                {
                    continue;
                }
                summary.previous = self.previous(image).await?;
                let statement =
                    summary.statement().map_err(|error| Error::Content(error.to_string()))?;
                let path = path(image, &name, at);
                files.insert(path, sign(&ring, statement).await?);
            }
            if files.is_empty() || self.add(&ring, files, at).await? {
                return Ok(());
            }
        }
        Err(self.moved())
    }

    /// Adds files to the reference; false where somebody else moved it, who is fetched then.
    ///
    /// # Errors
    /// When Git does not take them.
    pub async fn add(
        &self,
        ring: &Ring,
        files: BTreeMap<String, Vec<u8>>,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let reference = reference(self.key, self.environment);
        let head = self.mirror.heads().get(&reference).cloned();
        let number = files.len();
        let commit = self
            .mirror
            .commit(NewCommit {
                parent: head.clone(),
                tree: Tree::Added(files),
                message: format!("Add {number} to the summaries of {}\n", self.environment),
                author: author(),
                time: whole_seconds(at),
                key: ring.signing.clone(),
            })
            .await
            .map_err(Error::git("writing verification summaries"))?;
        let pushed = self
            .mirror
            .push(&reference, &commit, head.as_ref())
            .await
            .map_err(Error::git(format!("pushing {reference}")))?;
        match pushed {
            Push::Done => Ok(true),
            Push::Refused(why) => Err(Error::Push { reference, why }),
            Push::Moved(_) => {
                let fetched = self.mirror.fetch(FETCH).await;
                fetched.map_err(Error::git(format!("fetching {reference}")))?;
                Ok(false)
            }
        }
    }

    /// That others keep writing it.
    #[must_use]
    pub fn moved(&self) -> Error {
        let reference = reference(self.key, self.environment);
        Error::Source(format!(
            "{reference} was moved by somebody else each time; it is tried again"
        ))
    }

    /// The summaries of an environment, as of the last fetch.
    ///
    /// # Errors
    /// When the mirror fails.
    pub fn snapshot(&self, environment: &EnvironmentName) -> Result<Option<Snapshot>, Error> {
        let reference = reference(self.key, environment);
        let heads = self.mirror.heads();
        let head = heads.get(&reference).map(|head| self.mirror.snapshot(head)).transpose();
        head.map_err(Error::git(format!("reading {reference}")))
    }

    /// The newest summary by which an image passed in the nearest environment before that has one.
    async fn previous(&self, image: &ImageRef) -> Result<Option<Digest>, Error> {
        for environment in self.before.iter().rev() {
            let Some(snapshot) = self.snapshot(environment)? else { continue };
            let ring = self.engine.keys.ring(&self.key.namespace, environment.as_str()).await?;
            let told = told_of(&snapshot, &ring, image)?;
            let passed = told.into_iter().filter(|kept| kept.told.passed);
            if let Some(newest) = passed.max_by_key(|kept| (kept.told.at, kept.digest)) {
                return Ok(Some(newest.digest));
            }
        }
        Ok(None)
    }
}

/// The bundle of a statement. The key may be in a token, which takes a while.
async fn sign(ring: &Ring, statement: Statement) -> Result<Vec<u8>, Error> {
    let key = ring.signing.clone();
    let signed = tokio::task::spawn_blocking(move || {
        let signature = key
            .sign(&statement.signed_bytes())
            .map_err(Error::git("signing a verification summary"))?;
        let spki = key.public().spki().unwrap_or_default();
        statement.bundle(&signature, &spki).map_err(|error| Error::Content(error.to_string()))
    });
    signed.await.map_err(|error| Error::Content(error.to_string()))?
}

/// What a bundle tells, if one of these keys signed it.
#[must_use]
pub fn signed_by(ring: &Ring, bundle: &[u8]) -> Option<Told> {
    let told = Told::read(bundle)?;
    let counts = |key: &PublicKey| key.signed(&told.signed_bytes, &told.signature);
    ring.public().iter().any(counts).then_some(told)
}

/// A summary that is kept, signed by one of the environment's keys.
struct Kept {
    path: String,
    digest: Digest,
    told: Told,
}

/// The summaries of one image.
fn told_of(snapshot: &Snapshot, ring: &Ring, image: &ImageRef) -> Result<Vec<Kept>, Error> {
    let mut found = Vec::new();
    for path in names(snapshot, &image.digest.hex())?.into_iter().take(MOST) {
        let Some(bundle) = file(snapshot, &path)? else { continue };
        let Some(told) = signed_by(ring, &bundle).filter(|told| told.image == *image) else {
            continue;
        };
        found.push(Kept { path, digest: Digest::of(&bundle), told });
    }
    Ok(found)
}

/// Whether a summary of these findings is there and still the last word. When a key is retired, its
/// summaries count no more.
fn is_there(own: &Snapshot, ring: &Ring, image: &ImageRef, name: &str) -> Result<bool, Error> {
    Ok(stands(&told_of(own, ring, image)?, &format!("{}/{name}-", image.digest.hex())))
}

/// Whether the newest summary of this name is younger than every one with another outcome. Where the
/// image was judged otherwise since, for instance revoked and then not any more, it is said again.
fn stands(kept: &[Kept], stem: &str) -> bool {
    let same = kept.iter().filter(|kept| kept.path.starts_with(stem));
    let Some(same) = same.max_by_key(|kept| kept.told.at) else { return false };
    let (passed, at) = (same.told.passed, same.told.at);
    kept.iter().all(|other| other.told.passed == passed || other.told.at <= at)
}

/// Where a summary is kept; the time is that of its decision, so that a retry finds the same place.
fn path(image: &ImageRef, name: &str, at: Timestamp) -> String {
    format!("{}/{name}-{}{BUNDLE}", image.digest.hex(), at.as_second())
}

/// What the file of a summary ends in.
const BUNDLE: &str = ".sigstore.json";

/// The paths of the summaries of one image.
///
/// # Errors
/// When the mirror fails.
pub fn names(snapshot: &Snapshot, folder: &str) -> Result<Vec<String>, Error> {
    match snapshot.entry(folder).map_err(Error::git("reading verification summaries"))? {
        Entry::Directory(names) => Ok(names
            .into_iter()
            .filter(|name| name.ends_with(BUNDLE))
            .map(|name| format!("{folder}/{name}"))
            .collect()),
        _ => Ok(Vec::new()),
    }
}

/// What stands in a file, if it is there.
///
/// # Errors
/// When the mirror fails.
pub fn file(snapshot: &Snapshot, path: &str) -> Result<Option<Vec<u8>>, Error> {
    match snapshot.entry(path).map_err(Error::git("reading verification summaries"))? {
        Entry::File(content) => Ok(Some(content)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(name: &str, passed: bool, second: i64) -> Kept {
        let at = Timestamp::from_second(second).unwrap();
        let image = ImageRef { repository: "r".to_owned(), digest: Digest::of(b"image") };
        let told = Told { image, passed, at, signed_bytes: Vec::new(), signature: Vec::new() };
        Kept { path: format!("{name}-{second}{BUNDLE}"), digest: Digest::of(b"bundle"), told }
    }

    #[test]
    fn what_was_found_is_said_once_and_again_when_it_was_otherwise_meanwhile() {
        let (good, bad) =
            (|second| kept("good", true, second), |second| kept("bad", false, second));
        let cases: [(&[Kept], &str, bool); 6] = [
            (&[], "good-", false),
            (&[good(1)], "good-", true),
            (&[good(1)], "bad-", false),
            (&[kept("other-rules", true, 2), good(1)], "good-", true),
            (&[good(1), bad(2)], "good-", false),
            (&[good(1), bad(2), good(3)], "good-", true),
        ];
        for (kept, stem, expected) in cases {
            let paths: Vec<_> = kept.iter().map(|kept| &kept.path).collect();
            assert_eq!(stands(kept, stem), expected, "{stem} in {paths:?}");
        }
    }
}
