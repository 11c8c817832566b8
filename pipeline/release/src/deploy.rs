//! What a deploy commit contains and states, and how a release's sets are kept.
//!
//! A deploy branch has `manifests/`, one file for each object and nothing else, so
//! that any tool can apply that folder, and `release.yaml` beside it for people.
//! Nothing in the tree names the promotion: a rollback's tree is the known good
//! one, byte for byte. The trailers say what the commit is for; the Sync demands
//! them, so that a commit signed for one place is worth nothing in another.

use crate::Error;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tidegate_ids::{Digest, EnvironmentName, LaneName, PipelineName};
use tidegate_manifest::{Set, to_yaml};
use tidegate_schemas::{Kind, ReleaseSpec, SourceCommit};

/// The folder of a deploy branch that holds the objects: the path of its Sync.
pub const MANIFESTS: &str = "manifests";
/// The file of a deploy branch that says which release it is.
pub const RELEASE_FILE: &str = "release.yaml";
/// The trailer whose number rises with every commit of a branch.
pub const SEQUENCE: &str = "Tidegate-Sequence";
/// The trailer that says until when a commit may first be applied.
pub const NOT_AFTER: &str = "Tidegate-Not-After";

const CLUSTER: &str = "Tidegate-Cluster";
const NAMESPACE: &str = "Tidegate-Namespace";
const PIPELINE: &str = "Tidegate-Pipeline";
const ENVIRONMENT: &str = "Tidegate-Environment";
const LANE: &str = "Tidegate-Lane";
const PROMOTION: &str = "Tidegate-Promotion";
const RELEASE: &str = "Tidegate-Release";
const CHANGE: &str = "Tidegate-Change";
const CONTENT: &str = "Tidegate-Manifests";

/// What a deploy commit is for: the trailers that a Sync demands of every head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployTarget {
    /// The cluster, as the uid of its namespace `kube-system`.
    pub cluster: String,
    /// The namespace of the Pipeline.
    pub namespace: String,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The environment.
    pub environment: EnvironmentName,
    /// The lane.
    pub lane: LaneName,
}

impl DeployTarget {
    /// As `Sync.spec.verify.trailers` states them.
    #[must_use]
    pub fn trailers(&self) -> BTreeMap<String, String> {
        [
            (CLUSTER, self.cluster.clone()),
            (NAMESPACE, self.namespace.clone()),
            (PIPELINE, self.pipeline.to_string()),
            (ENVIRONMENT, self.environment.to_string()),
            (LANE, self.lane.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }
}

/// Everything that a deploy commit states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployTrailers {
    /// What it is for.
    pub target: DeployTarget,
    /// Its place in the branch's order.
    pub sequence: u64,
    /// The name of the promotion.
    pub promotion: String,
    /// The name of the release.
    pub release: String,
    /// The change digest that was admitted.
    pub change: Digest,
    /// The digest of the manifests.
    pub manifests: Digest,
    /// Until when it may first be applied.
    pub not_after: Timestamp,
}

impl DeployTrailers {
    /// The whole commit message: subject, and the trailers as its last paragraph.
    #[must_use]
    pub fn message(&self, kind: Kind) -> String {
        let mut text = subject(kind, &self.release, &self.target.environment);
        text.push_str("\n\n");
        for (key, value) in self.lines() {
            let _infallible = writeln!(text, "{key}: {value}");
        }
        text
    }

    fn lines(&self) -> [(&'static str, String); 11] {
        let Self { target, .. } = self;
        [
            (CLUSTER, target.cluster.clone()),
            (NAMESPACE, target.namespace.clone()),
            (PIPELINE, target.pipeline.to_string()),
            (ENVIRONMENT, target.environment.to_string()),
            (LANE, target.lane.to_string()),
            (SEQUENCE, self.sequence.to_string()),
            (PROMOTION, self.promotion.clone()),
            (RELEASE, self.release.clone()),
            (CHANGE, self.change.to_string()),
            (CONTENT, self.manifests.to_string()),
            (NOT_AFTER, self.not_after.to_string()),
        ]
    }

    /// From a commit message.
    ///
    /// # Errors
    /// When a trailer is missing, stated twice, or not what it should be.
    pub fn parse(message: &str) -> Result<Self, Error> {
        let stated = trailers(message)?;
        let text = |key: &str| {
            let value = stated.get(key).copied().filter(|value| !value.is_empty());
            value.ok_or_else(|| Error::Trailers(format!("the trailer {key} is missing")))
        };
        Ok(Self {
            target: DeployTarget {
                cluster: text(CLUSTER)?.to_owned(),
                namespace: text(NAMESPACE)?.to_owned(),
                pipeline: read(PIPELINE, text(PIPELINE)?)?,
                environment: read(ENVIRONMENT, text(ENVIRONMENT)?)?,
                lane: read(LANE, text(LANE)?)?,
            },
            sequence: read(SEQUENCE, text(SEQUENCE)?)?,
            promotion: text(PROMOTION)?.to_owned(),
            release: text(RELEASE)?.to_owned(),
            change: read(CHANGE, text(CHANGE)?)?,
            manifests: read(CONTENT, text(CONTENT)?)?,
            not_after: read(NOT_AFTER, text(NOT_AFTER)?)?,
        })
    }
}

/// `Promote clinic-app-3f9c1a2b7d to production`.
fn subject(kind: Kind, release: &str, environment: &EnvironmentName) -> String {
    match kind {
        Kind::Promote => format!("Promote {release} to {environment}"),
        Kind::Rollback => format!("Roll {environment} back to {release}"),
    }
}

/// The trailers of a message: the lines of its last paragraph.
fn trailers(message: &str) -> Result<BTreeMap<&str, &str>, Error> {
    let last = message.trim_end().rsplit("\n\n").next().unwrap_or_default();
    let mut found = BTreeMap::new();
    for line in last.lines() {
        let Some((key, value)) = line.split_once(": ") else { continue };
        if found.insert(key, value.trim()).is_some() {
            return Err(Error::Trailers(format!("the trailer {key} is stated twice")));
        }
    }
    Ok(found)
}

fn read<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, Error>
where
    T::Err: std::fmt::Display,
{
    let wrong = |error: T::Err| Error::Trailers(format!("the trailer {key} is wrong: {error}"));
    value.parse().map_err(wrong)
}

#[derive(Serialize)]
struct ReleaseFile<'a> {
    release: &'a str,
    id: Digest,
    pipeline: &'a PipelineName,
    lane: &'a LaneName,
    environment: &'a EnvironmentName,
    manifests: Digest,
    source: &'a SourceCommit,
    images: Vec<String>,
}

/// Every file of the deploy branch's tree, by path.
///
/// # Errors
/// When the release has no JSON form, which cannot be for its types.
pub fn deploy_files(
    name: &str,
    release: &ReleaseSpec,
    environment: &EnvironmentName,
    set: &Set,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let mut images: Vec<String> = release
        .images
        .iter()
        .map(|image| match &image.tag {
            Some(tag) => format!("{}:{tag}@{}", image.repository, image.digest),
            None => format!("{}@{}", image.repository, image.digest),
        })
        .collect();
    images.sort();
    let file = ReleaseFile {
        release: name,
        id: release.id,
        pipeline: &release.pipeline,
        lane: &release.lane,
        environment,
        manifests: set.digest(),
        source: &release.source,
        images,
    };
    let value = serde_json::to_value(file).map_err(|error| Error::Identity(error.to_string()))?;
    let mut files = in_folder(MANIFESTS, set);
    files.insert(RELEASE_FILE.to_owned(), to_yaml(&value).into_bytes());
    Ok(files)
}

/// Every file of the tree in which a release's rendered sets are kept: one folder
/// for each environment.
#[must_use]
pub fn release_files(sets: &BTreeMap<EnvironmentName, Set>) -> BTreeMap<String, Vec<u8>> {
    sets.iter().flat_map(|(environment, set)| in_folder(environment.as_str(), set)).collect()
}

/// The rendered set of one environment, read from the files of [`release_files`];
/// empty where there is no folder, because Git keeps no empty ones.
///
/// # Errors
/// When the files cannot be read, or are not what the digest says.
pub fn release_set(
    files: &BTreeMap<String, Vec<u8>>,
    environment: &EnvironmentName,
    expected: Digest,
) -> Result<Set, Error> {
    let folder = format!("{environment}/");
    let own: BTreeMap<String, Vec<u8>> = files
        .iter()
        .filter(|(path, _)| path.starts_with(&folder))
        .map(|(path, bytes)| (path.clone(), bytes.clone()))
        .collect();
    let set = Set::from_files(&own).map_err(|error| Error::Stored(error.to_string()))?;
    if set.digest() == expected {
        Ok(set)
    } else {
        Err(Error::Stored(format!(
            "the set of {environment} has the digest {} and the release says {expected}: the reference was changed by somebody else; restore it from a backup, or let the release be made again from its source commit",
            set.digest()
        )))
    }
}

fn in_folder(folder: &str, set: &Set) -> BTreeMap<String, Vec<u8>> {
    set.to_files().into_iter().map(|(name, bytes)| (format!("{folder}/{name}"), bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tidegate_manifest::Manifest;

    fn stated() -> DeployTrailers {
        DeployTrailers {
            target: DeployTarget {
                cluster: "4d3c".to_owned(),
                namespace: "clinic".to_owned(),
                pipeline: "clinic".parse().unwrap(),
                environment: "production".parse().unwrap(),
                lane: "app".parse().unwrap(),
            },
            sequence: 7,
            promotion: "clinic-production-app-7".to_owned(),
            release: "clinic-app-3f9c1a2b7d".to_owned(),
            change: Digest::of(b"change"),
            manifests: Digest::of(b"manifests"),
            not_after: "2026-11-25T12:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_deploy_commit_states_what_it_is_for() {
        let message = stated().message(Kind::Promote);
        let expected = format!(
            "Promote clinic-app-3f9c1a2b7d to production\n\n\
             Tidegate-Cluster: 4d3c\nTidegate-Namespace: clinic\nTidegate-Pipeline: clinic\n\
             Tidegate-Environment: production\nTidegate-Lane: app\nTidegate-Sequence: 7\n\
             Tidegate-Promotion: clinic-production-app-7\n\
             Tidegate-Release: clinic-app-3f9c1a2b7d\nTidegate-Change: {}\n\
             Tidegate-Manifests: {}\nTidegate-Not-After: 2026-11-25T12:00:00Z\n",
            Digest::of(b"change"),
            Digest::of(b"manifests"),
        );
        assert_eq!(message, expected);
        assert_eq!(DeployTrailers::parse(&message), Ok(stated()));
        let back = stated().message(Kind::Rollback);
        assert!(back.starts_with("Roll production back to clinic-app-3f9c1a2b7d\n"));
        for (key, value) in stated().target.trailers() {
            assert!(message.contains(&format!("\n{key}: {value}\n")), "{key}");
        }
    }

    #[test]
    fn a_commit_that_is_not_ours_is_told_by_what_it_lacks() {
        let message = stated().message(Kind::Promote);
        for (text, says) in [
            ("Fix a typo\n".to_owned(), "Tidegate-Cluster is missing"),
            (message.replace("Tidegate-Lane: app\n", ""), "Tidegate-Lane is missing"),
            (message.replace("Sequence: 7", "Sequence: -7"), "Tidegate-Sequence is wrong"),
            (message.replace("Lane: app", "Lane: App"), "Tidegate-Lane is wrong"),
            (format!("{message}Tidegate-Lane: infra\n"), "Tidegate-Lane is stated twice"),
            (format!("{message}\nA last word\n"), "is missing"),
        ] {
            let error = DeployTrailers::parse(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{error:?} does not say {says:?}");
        }
    }

    #[test]
    fn a_deploy_tree_is_the_release_and_nothing_of_the_promotion() {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
                           "metadata": {"name": "odoo", "namespace": "clinic-dev"}});
        let set = Set::from_manifests([Manifest::from_value(value, "a").unwrap()]).unwrap();
        let dev: EnvironmentName = "dev".parse().unwrap();
        let sets = BTreeMap::from([(dev.clone(), set.clone())]);
        let stored = release_files(&sets);
        assert_eq!(release_set(&stored, &dev, set.digest()), Ok(set.clone()));
        assert!(matches!(release_set(&stored, &dev, Digest::of(b"other")), Err(Error::Stored(_))));

        let release: ReleaseSpec = serde_json::from_value(json!({
            "pipeline": "clinic", "lane": "app", "id": Digest::of(b"id"), "sequence": 1,
            "source": {"commit": "a".repeat(40), "author": "Jane Roe <jane@hospital.example>",
                       "title": "Use two workers", "time": "2026-11-25T12:00:00Z"},
            "rendered": {},
        }))
        .unwrap();
        let files = deploy_files("clinic-app-1", &release, &dev, &set).unwrap();
        let paths: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(paths, ["manifests/configmap_clinic-dev_odoo.yaml", "release.yaml"]);
        let text = String::from_utf8(files["release.yaml"].clone()).unwrap();
        assert!(text.contains("environment: dev\n"), "{text}");
        assert!(text.contains(&format!("manifests: {}\n", set.digest())), "{text}");
    }
}
