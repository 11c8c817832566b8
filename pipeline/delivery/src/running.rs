//! What the pods of a namespace run, compared with what is verified there.
//!
//! A pod states images and its node reports which digests it runs. Both are looked at: a tag
//! says nothing, and what a node runs may be another image than the one that was judged
//! (Kyverno CVE-2023-47630). A runtime that reports the digest of one platform is right where
//! the index that was verified has it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use tidegate_ids::Digest;
use tidegate_manifest::ImageReference;
use tidegate_provenance::ImageRef;
use tidegate_schemas::UnverifiedReason;

use crate::verified::Standing;

/// One image of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// As the pod states it.
    pub stated: String,
    /// The digest that its node runs, where it says so.
    pub reported: Option<Digest>,
    /// Whether the node has taken it up.
    pub started: bool,
}

/// What is wrong with an image that runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wrong {
    /// What kind of wrong.
    pub reason: UnverifiedReason,
    /// The image, as `repository@digest` where the digest is known.
    pub image: String,
    /// Why, and the way out.
    pub message: String,
}

/// What is known of the images of a namespace.
#[derive(Debug, Clone, Default)]
pub struct Ground {
    /// What is needed there, as `repository@digest`, and what the rules say of it.
    pub needed: BTreeMap<String, Standing>,
    /// The platforms of indexes that were looked at; an error where they could not be read.
    pub platforms: BTreeMap<String, Result<BTreeSet<Digest>, String>>,
}

/// Whether a pod's containers run or will.
#[must_use]
pub fn runs(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

/// Every image of a pod: of its containers, init and ephemeral ones too, and of image volumes.
#[must_use]
pub fn observed(pod: &Pod) -> Vec<Observed> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let status = pod.status.clone().unwrap_or_default();
    let mut found = Vec::new();
    let mut add = |name: &str, image: Option<&String>, statuses: Option<&Vec<ContainerStatus>>| {
        let status = statuses.into_iter().flatten().find(|s| s.name == name);
        found.push(Observed {
            stated: image.cloned().unwrap_or_default(),
            reported: status.and_then(|s| reported(&s.image_id)),
            started: status.is_some_and(started),
        });
    };
    for c in &spec.containers {
        add(&c.name, c.image.as_ref(), status.container_statuses.as_ref());
    }
    for c in spec.init_containers.iter().flatten() {
        add(&c.name, c.image.as_ref(), status.init_container_statuses.as_ref());
    }
    for c in spec.ephemeral_containers.iter().flatten() {
        add(&c.name, c.image.as_ref(), status.ephemeral_container_statuses.as_ref());
    }
    let volumes = spec.volumes.iter().flatten().filter_map(|v| v.image.as_ref());
    found.extend(volumes.filter_map(|v| v.reference.clone()).map(|stated| Observed {
        stated,
        reported: None,
        started: false,
    }));
    found
}

/// `registry.example.com/web@sha256:…`, also behind a scheme; an image without a repository is
/// named by the digest of its configuration, which no list has.
fn reported(image_id: &str) -> Option<Digest> {
    image_id.rsplit_once('@')?.1.parse().ok()
}

fn started(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|s| s.running.is_some() || s.terminated.is_some())
}

impl Observed {
    /// The image that was judged, where its digest is known: the stated one, else the reported one.
    #[must_use]
    pub fn image(&self) -> Option<ImageRef> {
        let stated: ImageReference = self.stated.parse().ok()?;
        let digest = stated.digest.or(self.reported)?;
        Some(ImageRef { repository: stated.repository(), digest })
    }

    /// The index whose platforms have to be known to judge this: the node runs another digest.
    #[must_use]
    pub fn index(&self) -> Option<ImageRef> {
        let stated: ImageReference = self.stated.parse().ok()?;
        let (digest, reported) = (stated.digest?, self.reported?);
        (digest != reported).then(|| ImageRef { repository: stated.repository(), digest })
    }
}

/// What is wrong with this image, if anything is.
#[must_use]
pub fn wrong(observed: &Observed, ground: &Ground) -> Option<Wrong> {
    let wrong = |reason, image: String, message: String| Some(Wrong { reason, image, message });
    let Some(image) = observed.image() else {
        let told = observed.stated.parse::<ImageReference>().is_ok() && !observed.started;
        // Nothing runs yet whose digest could be known.
        return if told {
            None
        } else {
            wrong(
            UnverifiedReason::Unknown,
            observed.stated.clone(),
            "it is stated without a digest, and its node does not tell which one it runs: deliver it by a release, which pins it".to_owned(),
        )
        };
    };
    let name = image.to_string();
    if let (Some(index), Some(reported)) = (observed.index(), observed.reported) {
        match ground.platforms.get(&name) {
            Some(Ok(platforms)) if platforms.contains(&reported) => {}
            Some(Ok(_)) => {
                return wrong(
                    UnverifiedReason::Different,
                    format!("{}@{reported}", index.repository),
                    format!(
                        "its pod states {}, which is neither that image nor an index that has it: delete the pod and look at its node",
                        index.digest
                    ),
                );
            }
            other => {
                let why = other.and_then(|o| o.as_ref().err().cloned());
                let why = why.unwrap_or_else(|| "it was not looked at yet".to_owned());
                return wrong(
                    UnverifiedReason::Unknown,
                    format!("{}@{reported}", index.repository),
                    format!(
                        "its pod states {}, and whether that index has it cannot be told now: {why}",
                        index.digest
                    ),
                );
            }
        }
    }
    match ground.needed.get(&name) {
        Some(Standing::Passed) => None,
        None => wrong(
            UnverifiedReason::NotListed,
            name,
            "no release that this environment holds, brings or may roll back to names it: promote a release with it, name it in spec.alsoVerified of the Environment, or delete what runs it".to_owned(),
        ),
        Some(standing) => {
            let (reason, message) = told(standing)?;
            wrong(reason, name, message)
        }
    }
}

/// A standing that is not a pass, in words.
#[must_use]
pub fn told(standing: &Standing) -> Option<(UnverifiedReason, String)> {
    match standing {
        Standing::Passed => None,
        Standing::Revoked(why) => Some((
            UnverifiedReason::Revoked,
            format!(
                "{why}. What runs goes on, new pods with it are refused, and nothing is promoted or rolled back to it: promote a release without it, and delete what must not run"
            ),
        )),
        Standing::Failed(why) => Some((
            UnverifiedReason::Failed,
            format!(
                "{why}. It passed when it was admitted and goes on; nothing is promoted or rolled back to it: add the signature or statement that is missing, or promote a release that passes"
            ),
        )),
        Standing::Unknown(why) => Some((
            UnverifiedReason::Unknown,
            format!("what the rules in force say of it cannot be told now: {why}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn digest(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn pod(spec: &Value, status: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec, "status": status}))
            .unwrap()
    }

    #[test]
    fn images_are_seen_in_every_place_of_a_pod_with_what_the_node_reports() {
        let web = digest("web");
        let pod = pod(
            &json!({
                "containers": [{"name": "web", "image": "web:1"}],
                "initContainers": [{"name": "migrate", "image": "migrate:1"}],
                "ephemeralContainers": [{"name": "debug", "image": "busybox"}],
                "volumes": [{"name": "data", "image": {"reference": "model:1"}}],
            }),
            &json!({
                "containerStatuses": [{"name": "web", "imageID": format!("docker-pullable://docker.io/library/web@{web}"),
                    "image": "web:1", "ready": true, "restartCount": 0, "state": {"running": {}}}],
                "initContainerStatuses": [{"name": "migrate", "imageID": "sha256:abc", "image": "x", "ready": true,
                    "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}],
            }),
        );
        let found: Vec<_> =
            observed(&pod).into_iter().map(|o| (o.stated, o.reported, o.started)).collect();
        assert_eq!(
            found,
            [
                ("web:1".to_owned(), Some(web), true),
                ("migrate:1".to_owned(), None, true),
                ("busybox".to_owned(), None, false),
                ("model:1".to_owned(), None, false),
            ]
        );
    }

    #[test]
    fn what_runs_is_judged_by_what_was_verified() {
        let (index, amd64, evil) = (digest("index"), digest("amd64"), digest("evil"));
        let name = |d: &Digest| format!("docker.io/library/web@{d}");
        let ground = Ground {
            needed: BTreeMap::from([
                (name(&index), Standing::Passed),
                (name(&digest("bad")), Standing::Revoked("stolen key".into())),
                (name(&digest("old")), Standing::Failed("the scan is too old".into())),
            ]),
            platforms: BTreeMap::from([(name(&index), Ok(BTreeSet::from([amd64])))]),
        };
        let one = |stated: String, reported: Option<Digest>, started: bool| {
            wrong(&Observed { stated, reported, started }, &ground).map(|w| w.reason)
        };
        let by = |d: &Digest| format!("web@{d}");
        for (stated, reported, started, expected) in [
            (by(&index), None, true, None),
            (by(&index), Some(index), true, None),
            (format!("web:1@{index}"), Some(amd64), true, None),
            (by(&index), Some(evil), true, Some(UnverifiedReason::Different)),
            (by(&digest("bad")), None, true, Some(UnverifiedReason::Revoked)),
            (by(&digest("old")), None, true, Some(UnverifiedReason::Failed)),
            (by(&evil), None, true, Some(UnverifiedReason::NotListed)),
            (by(&evil), Some(amd64), true, Some(UnverifiedReason::Unknown)),
            ("web:1".to_owned(), Some(index), true, None),
            ("web:1".to_owned(), Some(evil), true, Some(UnverifiedReason::NotListed)),
            ("web:1".to_owned(), None, true, Some(UnverifiedReason::Unknown)),
            ("web:1".to_owned(), None, false, None),
            (
                format!("mirror.example.com/web@{index}"),
                None,
                true,
                Some(UnverifiedReason::NotListed),
            ),
            ("Web:".to_owned(), None, false, Some(UnverifiedReason::Unknown)),
        ] {
            assert_eq!(one(stated.clone(), reported, started), expected, "{stated} {reported:?}");
        }
    }
}
