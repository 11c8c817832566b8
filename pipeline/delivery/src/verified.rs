//! The list of verified images of a target namespace, by which the API server lets pods in.
//!
//! [`list`] says what stands on it, from what is needed there; the rest of this module writes
//! it. It is written before a deploy commit is pushed, so that nothing that was admitted is
//! refused, and made anew in every look at what runs, so that a list that somebody changed or
//! deleted comes back. An image leaves only when nothing runs it and nothing may roll back to
//! it. One thing takes it off earlier, and that is revocation: a rule that became stricter, a
//! scan that became too old or a registry that does not answer close gates and are told, but
//! must not keep a hospital's pods from starting on another node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use tidegate_ids::Digest;
use tidegate_manifest::ImageReference;
use tidegate_provenance::ImageRef;
use tidegate_schemas::admission::VERIFIED_IMAGES;
use tidegate_schemas::{EffectiveEnvironment, FIELD_MANAGER, Release, VerifiedImages};

use crate::engine::Engine;
use crate::{Error, clock};

/// The most that a list may have in all, in bytes: the API server takes 1 MiB of a ConfigMap.
const LARGEST: usize = 1_000_000;
/// How long what was admitted is listed although the journal does not show it yet.
const BELIEVED: SignedDuration = SignedDuration::from_mins(10);

/// Verified digests, each with the repositories it was verified for.
pub type Listed = BTreeMap<Digest, BTreeSet<String>>;

/// Why an image is needed in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A lane holds it.
    Held,
    /// It was admitted and is on its way.
    Coming,
    /// The Environment or its class names it beside every release.
    Beside,
    /// It may be rolled back to.
    Target,
    /// A pod runs it; `released` where some release of the pipeline names it.
    Runs {
        /// Whether a release names it.
        released: bool,
    },
}

/// What the rules in force say of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It may run.
    Passed,
    /// It may not, because of this.
    Failed(String),
    /// It could run, had nobody revoked it, its key or its signer.
    Revoked(String),
    /// It cannot be told now.
    Unknown(String),
}

/// An image that is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Which one.
    pub image: ImageRef,
    /// What for.
    pub need: Need,
    /// What the rules in force say of it.
    pub standing: Standing,
}

/// What stands on the list, given what is needed and what stood there. `kept` tells of what stood
/// there and is not needed whether it stays all the same, because not everything is known.
#[must_use]
pub fn list(needed: &[Needed], before: &Listed, kept: impl Fn(&ImageRef) -> bool) -> Listed {
    let stood = |image: &ImageRef| {
        before.get(&image.digest).is_some_and(|names| names.contains(&image.repository))
    };
    let revoked = |image: &ImageRef| {
        needed.iter().any(|n| n.image == *image && matches!(n.standing, Standing::Revoked(_)))
    };
    let mut listed = Listed::new();
    let mut add = |image: &ImageRef| {
        listed.entry(image.digest).or_default().insert(image.repository.clone());
    };
    for one in needed {
        let fits = match (&one.standing, one.need) {
            _ if revoked(&one.image) => false,
            (Standing::Failed(_), Need::Target) => false,
            (_, Need::Held | Need::Coming | Need::Target) => true,
            (standing, Need::Beside) => *standing == Standing::Passed || stood(&one.image),
            (_, Need::Runs { released: true }) => stood(&one.image),
            (standing, Need::Runs { released: false }) => {
                *standing == Standing::Passed && stood(&one.image)
            }
        };
        if fits {
            add(&one.image);
        }
    }
    for (digest, names) in before {
        for repository in names {
            let image = ImageRef { repository: repository.clone(), digest: *digest };
            if needed.iter().all(|n| n.image != image) && kept(&image) {
                add(&image);
            }
        }
    }
    listed
}

/// A list as it stands in the ConfigMap's `data`; what is no entry is left out.
#[must_use]
pub fn read(data: &BTreeMap<String, String>) -> Listed {
    let entry = |(hex, names): (&String, &String)| {
        let digest: Digest = format!("sha256:{hex}").parse().ok()?;
        Some((digest, names.split_whitespace().map(ToOwned::to_owned).collect()))
    };
    data.iter().filter_map(entry).collect()
}

/// A list as the ConfigMap's `data` has it: the digest's hexadecimal digits, and the repositories.
#[must_use]
pub fn written(listed: &Listed) -> BTreeMap<String, String> {
    let names = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
    listed.iter().map(|(digest, n)| (digest.hex(), names(n))).collect()
}

/// An image stated by its digest.
#[must_use]
pub fn image_ref(text: &str) -> Option<ImageRef> {
    let reference: ImageReference = text.parse().ok()?;
    Some(ImageRef { repository: reference.repository(), digest: reference.digest? })
}

/// The writing of lists: one at a time, and what was just admitted.
#[derive(Default)]
pub struct Lists {
    writing: tokio::sync::Mutex<()>,
    /// Namespace, image and time of what was admitted, until the journal surely shows it.
    admitted: Mutex<Vec<(String, ImageRef, Timestamp)>>,
}

impl Lists {
    fn coming(&self, namespace: &str, now: Timestamp) -> Vec<Needed> {
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        admitted.retain(|(_, _, at)| now.duration_since(*at) < BELIEVED);
        let here = admitted.iter().filter(|(place, _, _)| place == namespace);
        let coming = |image: &ImageRef| Needed {
            image: image.clone(),
            need: Need::Coming,
            standing: Standing::Passed,
        };
        here.map(|(_, image, _)| coming(image)).collect()
    }

    fn admit(&self, namespace: &str, images: &[ImageRef], now: Timestamp) {
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        admitted.extend(images.iter().map(|i| (namespace.to_owned(), i.clone(), now)));
    }
}

/// Adds the images of a release that the gates let through to the list of its environment's
/// namespace, before it is brought there. Nothing leaves the list here.
///
/// # Errors
/// When the list cannot be written and the class enforces it: its pods would be refused.
pub async fn admit(
    engine: &Engine,
    environment: &EffectiveEnvironment,
    release: &Release,
) -> Result<(), Error> {
    let images = of_release(release, environment.name.as_str());
    engine.lists.admit(&environment.target, &images, clock::now());
    match keep(engine, &environment.target, &[], |_| true).await {
        Err(error) if environment.verified_images == VerifiedImages::Report => {
            tracing::warn!(namespace = environment.target, %error, "the list of verified images was not written; nothing is refused by it");
            Ok(())
        }
        outcome => outcome,
    }
}

/// The images that a release names in an environment.
#[must_use]
pub fn of_release(release: &Release, environment: &str) -> Vec<ImageRef> {
    let set = release.spec.rendered.iter().find(|(name, _)| name.as_str() == environment);
    let Some((_, set)) = set else { return Vec::new() };
    // Releases that were made before sets named their images.
    let untold = release.spec.rendered.values().all(|set| set.images.is_empty());
    let all = release.spec.images.iter();
    all.map(|i| ImageRef { repository: i.repository.clone(), digest: i.digest })
        .filter(|i| untold || set.images.contains(&i.to_string()))
        .collect()
}

/// Makes the list of a namespace what [`list`] says, if it is something else.
///
/// # Errors
/// When it cannot be read or written, or is too large.
pub async fn keep(
    engine: &Engine,
    namespace: &str,
    needed: &[Needed],
    kept: impl Fn(&ImageRef) -> bool,
) -> Result<(), Error> {
    let _one_at_a_time = engine.lists.writing.lock().await;
    let api: Api<ConfigMap> = Api::namespaced(engine.client.clone(), namespace);
    let what = || format!("the list of verified images of the namespace {namespace}");
    let live = api.get_opt(VERIFIED_IMAGES).await.map_err(refused(namespace))?;
    let before = live.as_ref().and_then(|l| l.data.clone()).unwrap_or_default();
    let mut needed = needed.to_vec();
    needed.extend(engine.lists.coming(namespace, clock::now()));
    let data = written(&list(&needed, &read(&before), kept));
    let size: usize = data.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > LARGEST {
        return Err(Error::Content(format!(
            "{} would have {size} bytes, and a ConfigMap takes {LARGEST}: keep fewer rollback targets (rollback.keep of the class), or give lanes namespaces of their own",
            what()
        )));
    }
    let Some(mut live) = live else {
        let made =
            ConfigMap { metadata: named(namespace), data: Some(data), ..ConfigMap::default() };
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        // By its name, since that is all that the engine's role allows.
        let outcome = api.patch(VERIFIED_IMAGES, &parameters, &Patch::Apply(&made)).await;
        return outcome.map(|_| ()).map_err(refused(namespace));
    };
    if before == data && live.binary_data.is_none() && live.data.is_some() {
        return Ok(());
    }
    tracing::info!(namespace, images = data.len(), "the list of verified images changes");
    live.data = Some(data);
    live.binary_data = None;
    let outcome = api.replace(VERIFIED_IMAGES, &PostParams::default(), &live).await;
    outcome.map(|_| ()).map_err(refused(namespace))
}

fn named(namespace: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(VERIFIED_IMAGES.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    }
}

fn refused(namespace: &str) -> impl FnOnce(kube::Error) -> Error {
    let what = format!("the list of verified images of the namespace {namespace}");
    move |error| match &error {
        kube::Error::Api(status) if matches!(status.code, 403 | 404) => Error::Content(format!(
            "{what} cannot be kept ({}): apply what tidegate bootstrap prints for the pipeline; it makes the namespace and gives Tidegate this one right there",
            status.message
        )),
        _ => Error::cluster(what)(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str) -> ImageRef {
        ImageRef {
            repository: format!("registry.example.com/{name}"),
            digest: Digest::of(name.as_bytes()),
        }
    }

    fn needed(name: &str, need: Need, standing: &Standing) -> Needed {
        Needed { image: image(name), need, standing: standing.clone() }
    }

    fn of(images: &[&str]) -> Listed {
        let all: Vec<Needed> =
            images.iter().map(|i| needed(i, Need::Held, &Standing::Passed)).collect();
        list(&all, &Listed::new(), |_| false)
    }

    #[test]
    fn what_is_needed_and_verified_is_listed_and_what_is_revoked_never() {
        let passed = Standing::Passed;
        let failed = Standing::Failed("the scan is too old".into());
        let revoked = Standing::Revoked("stolen".into());
        let unknown = Standing::Unknown("the registry does not answer".into());
        let (runs, ran) = (Need::Runs { released: true }, Need::Runs { released: false });
        // What for, what the rules say, whether it stood there before, whether it stands there now.
        for (need, standing, before, now) in [
            (Need::Held, &passed, false, true),
            (Need::Held, &failed, false, true),
            (Need::Held, &unknown, false, true),
            (Need::Held, &revoked, true, false),
            (Need::Coming, &passed, false, true),
            (Need::Coming, &revoked, true, false),
            (Need::Target, &passed, false, true),
            (Need::Target, &unknown, false, true),
            (Need::Target, &failed, true, false),
            (Need::Target, &revoked, true, false),
            (Need::Beside, &passed, false, true),
            (Need::Beside, &unknown, false, false),
            (Need::Beside, &failed, false, false),
            (Need::Beside, &failed, true, true),
            (Need::Beside, &revoked, true, false),
            (runs, &failed, true, true),
            (runs, &passed, false, false),
            (runs, &revoked, true, false),
            (ran, &passed, true, true),
            (ran, &passed, false, false),
            (ran, &unknown, true, false),
        ] {
            let stood = if before { of(&["web"]) } else { Listed::new() };
            let listed = list(&[needed("web", need, standing)], &stood, |_| false);
            assert_eq!(!listed.is_empty(), now, "{need:?} {standing:?} before: {before}");
        }
    }

    #[test]
    fn what_nothing_needs_leaves_unless_not_everything_is_known() {
        let before = of(&["old", "revoked", "web"]);
        let web = [needed("web", Need::Held, &Standing::Passed)];
        assert_eq!(list(&web, &before, |_| false), of(&["web"]));
        let kept = list(&web, &before, |one| *one != image("revoked"));
        assert_eq!(kept, of(&["old", "web"]));
        let gone = [needed("web", Need::Held, &Standing::Revoked("stolen".into()))];
        assert_eq!(list(&gone, &before, |_| true), of(&["old", "revoked"]));
    }

    #[test]
    fn one_reason_to_be_listed_is_enough() {
        let failed = Standing::Failed("no signature".into());
        let both = [needed("web", Need::Target, &failed), needed("web", Need::Held, &failed)];
        assert_eq!(list(&both, &Listed::new(), |_| false), of(&["web"]));
        let revoked = Standing::Revoked("stolen".into());
        let one =
            [needed("web", Need::Coming, &Standing::Passed), needed("web", Need::Held, &revoked)];
        assert_eq!(
            list(&one, &of(&["web"]), |_| true),
            Listed::new(),
            "but not against revocation"
        );
    }

    #[test]
    fn a_list_reads_back_as_it_was_written_and_keeps_repositories_apart() {
        let mut listed = of(&["web", "cron"]);
        listed.entry(image("web").digest).or_default().insert("mirror.example.com/web".into());
        assert_eq!(read(&written(&listed)), listed);
        let key = image("web").digest.hex();
        assert_eq!(written(&listed)[&key], "mirror.example.com/web registry.example.com/web");
        let junk = BTreeMap::from([("README".to_owned(), "hello".to_owned())]);
        assert_eq!(read(&junk), Listed::new());
    }

    #[test]
    fn listing_again_changes_nothing() {
        let all = [
            needed("a", Need::Held, &Standing::Passed),
            needed("b", Need::Beside, &Standing::Passed),
            needed("c", Need::Runs { released: true }, &Standing::Passed),
        ];
        let once = list(&all, &of(&["c", "d"]), |_| false);
        assert_eq!(list(&all, &once, |_| false), once);
        assert_eq!(once, of(&["a", "b", "c"]));
    }
}
