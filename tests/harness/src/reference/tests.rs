//! `environments/` is true: it renders, every lane holds what it may, the Tidegate objects are what
//! the schemas say, and a cluster takes and runs all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, ListParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_ids::{Digest, EnvironmentName, LaneName, Period};
use tidegate_manifest::{ImageFields, ImageReference, Manifest, Set, documents};
use tidegate_render::{Entry, Files, Kind, Renderer};
use tidegate_schemas::{
    Effective, Environment, EnvironmentClass, Pipeline, Repository, Roster, TrustPolicy, effective,
};

use super::*;
use crate::{Binaries, eventually, repository_root};

const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "production"];
const LANES: [&str; 3] = ["security", "infra", "app"];
const SHORTENED: Shortened = Shortened {
    soak: Period::seconds(2),
    watch: Period::seconds(3),
    deadline: Period::seconds(60),
};

/// A folder on disk.
struct Folder(PathBuf);

impl Files for Folder {
    fn entry(&self, path: &str) -> Result<Entry, String> {
        let path = self.0.join(path);
        if path.is_dir() {
            let entries = fs::read_dir(&path).map_err(|error| error.to_string())?;
            let names = entries.map(|entry| {
                let entry = entry.map_err(|error| error.to_string())?;
                let slash = if entry.path().is_dir() { "/" } else { "" };
                Ok(entry.file_name().to_string_lossy().into_owned() + slash)
            });
            return names.collect::<Result<_, String>>().map(Entry::Directory);
        }
        Ok(fs::read(&path).map_or(Entry::Missing, Entry::File))
    }
}

/// The nine rendered sets by environment and lane, as they are in a release before it is pinned.
async fn rendered(root: PathBuf) -> BTreeMap<(&'static str, &'static str), Set> {
    let renderer = Renderer::new(Binaries::worker().unwrap(), 1);
    let files: Arc<dyn Files> = Arc::new(Folder(root));
    let mut sets = BTreeMap::new();
    for environment in ENVIRONMENTS {
        for lane in LANES {
            let path = format!("{environment}/{lane}");
            let result = renderer.render(files.clone(), &path, Kind::Auto).await.unwrap();
            let manifests = result.objects.into_iter().map(|object| {
                let mut manifest = Manifest::from_value(object, &path).unwrap();
                manifest.scope_to(&format!("clinic-{environment}"), |_| None).unwrap();
                manifest
            });
            sets.insert((environment, lane), Set::from_manifests(manifests).unwrap());
        }
    }
    sets
}

/// The objects of one kind in `tidegate/` as written; a field that the type does not know fails.
fn written<K: DeserializeOwned + Serialize>(kind: &str) -> Vec<K> {
    let files = written_files().unwrap();
    let texts = files.iter().filter(|(path, _)| path.starts_with("tidegate/"));
    let objects = texts.flat_map(|(path, text)| documents(text.as_bytes(), path).unwrap());
    objects
        .filter(|object| object["kind"] == kind)
        .map(|object| {
            let typed: K = serde_json::from_value(object.clone()).unwrap();
            assert_states(&serde_json::to_value(&typed).unwrap(), &object, kind);
            typed
        })
        .collect()
}

/// Everything that is written is in what was read; what is read may say defaults besides.
fn assert_states(read: &Value, written: &Value, at: &str) {
    match written {
        Value::Object(fields) => {
            for (name, value) in fields {
                assert_states(&read[name], value, &format!("{at}.{name}"));
            }
        }
        Value::Array(items) if items.is_empty() => {}
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                assert_states(&read[index], value, &format!("{at}[{index}]"));
            }
        }
        Value::String(text) if text.parse::<Period>().is_ok() => {
            let period = |text: &str| text.parse::<Period>().unwrap();
            assert_eq!(read.as_str().map(period), Some(period(text)), "{at}");
        }
        value => assert_eq!(read, value, "{at}"),
    }
}

fn written_effective() -> Effective {
    let [pipeline] = &written::<Pipeline>("Pipeline")[..] else { panic!("one Pipeline") };
    let environments = written::<Environment>("Environment");
    let classes = written::<EnvironmentClass>("EnvironmentClass");
    effective(pipeline, &environments, &classes).unwrap()
}

fn class(text: &str) -> EnvironmentClass {
    serde_json::from_value(documents(text.as_bytes(), "class").unwrap().remove(0)).unwrap()
}

#[test]
fn the_tidegate_objects_say_only_what_the_schemas_know() {
    let effective = written_effective();
    let targets: Vec<_> = effective.environments.iter().map(|e| e.target.as_str()).collect();
    assert_eq!(targets, TARGETS);
    assert_eq!(written::<Repository>("Repository")[0].spec.url, WRITTEN_URL);
    assert_eq!(written::<TrustPolicy>("TrustPolicy").len(), 1);
    let [roster] = &written::<Roster>("Roster")[..] else { panic!("one Roster") };
    let people: Vec<_> =
        roster.spec.people.iter().map(|p| (p.name.as_str(), p.users.clone())).collect();
    let known = PEOPLE.iter().map(|p| (p.name, p.users.iter().map(ToString::to_string).collect()));
    assert_eq!(people, known.collect::<Vec<_>>());
}

#[test]
fn production_asks_the_people_of_each_lane_and_no_earlier_environment_asks_anybody() {
    let effective = written_effective();
    for environment in &effective.environments {
        for lane in &environment.lanes {
            let asked: Vec<_> = lane
                .approvals
                .iter()
                .map(|rule| (rule.from[0].group.as_deref().unwrap(), rule.count))
                .collect();
            let expected = match (environment.name.as_str(), lane.name.as_str()) {
                ("production", "app") => vec![("release-managers", 2)],
                ("production", "infra") => vec![("platform-engineers", 1), ("release-managers", 1)],
                ("production", "security") => vec![("security-officers", 1)],
                _ => vec![],
            };
            assert_eq!(asked, expected, "{} {}", environment.name, lane.name);
        }
    }
    let production: EnvironmentName = "production".parse().unwrap();
    let production = effective.environment(&production).unwrap();
    assert!(production.lanes.iter().all(|lane| lane.watch.length == Period::seconds(45 * 60)));
}

#[tokio::test]
async fn every_overlay_renders_what_its_lane_may_hold_with_images_that_the_pipeline_follows() {
    let mut sets = rendered(repository_root().join(REPOSITORY)).await;
    let pipeline = written::<Pipeline>("Pipeline").remove(0);
    for ((environment, lane), set) in &mut sets {
        let followed = pipeline.spec.images.iter().filter(|image| image.lane == *lane);
        let digests: BTreeMap<_, _> =
            followed.map(|i| (i.repository.clone(), Digest::of(b"any"))).collect();
        let used: BTreeSet<_> = set
            .images(&ImageFields::default())
            .iter()
            .map(|image| image.parse::<ImageReference>().unwrap().repository())
            .collect();
        assert_eq!(used, digests.keys().cloned().collect(), "{environment} {lane}");
        assert_eq!(set.pin(&digests, &ImageFields::default()).unwrap(), [], "{environment} {lane}");
    }
    let names: BTreeMap<&str, LaneName> = LANES.map(|lane| (lane, lane.parse().unwrap())).into();
    for ((environment, lane), set) in &sets {
        let others: Vec<_> = sets
            .iter()
            .filter(|((e, l), _)| e == environment && l != lane)
            .map(|((_, l), set)| (&names[l], set))
            .collect();
        let target = format!("clinic-{environment}");
        let findings =
            tidegate_policy::check(&names[lane], &target, set, &others, &ImageFields::default());
        assert_eq!(findings, [], "{environment} {lane}");
    }
}

#[test]
fn only_soak_watch_and_deadline_are_shortened_and_each_is_told() {
    let text = &written_files().unwrap()["tidegate/classes/production.yaml"];
    let mut lines = Vec::new();
    let short = shorten::class("production", text, SHORTENED, &mut lines);
    assert_eq!(
        lines,
        [
            "production, every lane: deadline 15m -> 1m",
            "production, every lane: watch 45m -> 3s",
            "production, every lane: soak 1d -> 2s",
            "production, lane security: soak 1h -> 2s",
        ]
    );
    let (mut before, mut after) = (class(text), class(&short));
    for class in [&mut before, &mut after] {
        for policy in class.spec.lanes.values_mut() {
            policy.watch = None;
            policy.deadline = None;
            if let Some(gates) = &mut policy.gates {
                gates.after = None;
            }
        }
    }
    assert_eq!(before.spec, after.spec);
    assert_eq!(text.lines().next(), short.lines().next(), "comments stay");
}

/// Whether somebody may do this to the environment `production`.
async fn may(reference: &Reference, user: &str, verb: &str) -> bool {
    let client = Lab::client(&reference.kubeconfig(user).unwrap()).await.unwrap();
    let review = json!({"spec": {"resourceAttributes": {
        "group": "tidegate.dev", "resource": "environments", "name": "production",
        "namespace": NAMESPACE, "verb": verb,
    }}});
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client);
    let review = serde_json::from_value(review).unwrap();
    reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}

#[tokio::test]
async fn a_cluster_takes_and_runs_the_reference_environments() {
    let lab = Lab::start_fresh().unwrap();
    let kinds: Vec<_> =
        tidegate_schemas::crds().iter().map(|crd| serde_json::to_value(crd).unwrap()).collect();
    lab.apply(&kinds).unwrap();
    let reference = Reference::prepare(&lab, SHORTENED).unwrap();
    assert_eq!(reference.shortened().len(), 10, "{:#?}", reference.shortened());
    reference.secrets(&lab).unwrap();
    eventually("Tidegate's kinds are served", Duration::from_secs(30), async || {
        reference.apply_tidegate(&lab).ok()
    })
    .await
    .or_else(|_| reference.apply_tidegate(&lab))
    .unwrap();

    for (user, verb, allowed) in
        [("pia", "approve", true), ("pia", "promote", false), ("vic", "approve", false)]
    {
        assert_eq!(may(&reference, user, verb).await, allowed, "{user} {verb}");
    }

    let mut sets = rendered(reference.folder().to_owned()).await;
    let digests: BTreeMap<_, _> = IMAGES
        .iter()
        .map(|(name, _)| {
            let repository = format!("{}/hospital/{name}", lab.registry());
            (repository, reference.first_digest(name).unwrap().parse().unwrap())
        })
        .collect();
    for set in sets.values_mut() {
        assert_eq!(set.pin(&digests, &ImageFields::default()).unwrap(), []);
    }
    let client = Lab::client(&lab.kubeconfig()).await.unwrap();
    for environment in ENVIRONMENTS {
        for lane in ["infra", "security", "app"] {
            let objects: Vec<_> =
                sets[&(environment, lane)].iter().map(|m| m.value().clone()).collect();
            lab.apply(&objects).unwrap();
            lab.would_accept(&objects).unwrap();
        }
        let target = format!("clinic-{environment}");
        let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), &target);
        eventually("the autoscaler can scale", Duration::from_secs(30), async || {
            let status = autoscalers.get("odoo-web").await.unwrap().status?;
            status
                .conditions?
                .iter()
                .any(|c| c.type_ == "ScalingActive" && c.status == "True")
                .then_some(())
        })
        .await
        .unwrap();
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), &target);
        eventually("every Deployment is available", Duration::from_mins(1), async || {
            let all = deployments.list(&ListParams::default()).await.unwrap().items;
            let available = |deployment: &Deployment| {
                let status = deployment.status.clone().unwrap_or_default();
                status.available_replicas.is_some()
                    && status.available_replicas == deployment.spec.as_ref().unwrap().replicas
                    && status.updated_replicas == status.available_replicas
            };
            (all.len() == 5 && all.iter().all(available)).then_some(())
        })
        .await
        .unwrap();
    }
    reference.prepare_targets(&lab).unwrap();
}

#[test]
fn people_sign_commits_and_the_build_signs_images() {
    let lab = Lab::start_fresh().unwrap();
    let reference = Reference::prepare(&lab, SHORTENED).unwrap();
    let roster = reference.read("tidegate/roster.yaml").unwrap();
    let signers: Vec<_> = roster
        .lines()
        .filter_map(|line| line.trim().strip_prefix("sshKeys: [\"")?.strip_suffix("\"]"))
        .map(|key| format!("* {key}"))
        .collect();
    assert_eq!(signers.len(), PEOPLE.len());
    let allowed = lab.folder().join("allowed-signers");
    fs::write(&allowed, signers.join("\n") + "\n").unwrap();
    let verify = |commit: &CommitId| {
        let mut git = std::process::Command::new("git");
        git.arg("-C").arg(reference.folder()).arg("-c");
        git.arg(format!("gpg.ssh.allowedSignersFile={}", allowed.display()));
        git.args(["verify-commit", commit.as_str()]);
        crate::error::run("verifying a commit", &mut git)
    };
    reference
        .edit("production/infra/namespace.yaml", |text| {
            text.replace("integration: High", "integration: Low")
        })
        .unwrap();
    verify(&reference.commit_as("oidc:jane@hospital.example", "Change a label").unwrap()).unwrap();
    reference.write("NOTES.md", "A note.\n").unwrap();
    verify(&reference.commit_unsigned("joe", "Add a note").unwrap()).unwrap_err();
    reference.push().unwrap();
    reference.edit("NOTES.md", str::to_owned).unwrap_err();
    reference.kubeconfig("nobody").unwrap_err();

    for (tag, signing, passes) in [
        ("17.0.2", Signing::Release, true),
        ("17.0.3", Signing::Nobody, false),
        ("17.0.4", Signing::OtherKey, false),
        ("17.0.5", Signing::OfAnotherImage, false),
    ] {
        let digest = reference.new_image(&lab, "odoo", tag, tag, signing).unwrap();
        let image = format!("{}/hospital/odoo@{digest}", lab.registry());
        let verified = lab.verify(&image, reference.release_key());
        assert_eq!(verified.is_ok(), passes, "{tag}: {verified:?}");
    }
}
