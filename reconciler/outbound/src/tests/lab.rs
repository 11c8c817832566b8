//! What real tools attach, on the lab's registry: cosign and crane write, we read, and the other
//! way round.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tidegate_harness::{CosignKey, Lab};

use super::attached::{bundles, unreadable};
use super::*;

const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

struct Hospital {
    lab: &'static Lab,
    key: CosignKey,
    repository: Repository,
    folder: tempfile::TempDir,
}

impl Hospital {
    fn new(name: &str) -> Self {
        let lab = Lab::attach_or_start().unwrap();
        let key = lab.cosign_key(&format!("outbound-{name}")).unwrap();
        let registry = Registry::new(LOOPBACK).unwrap();
        let name = format!("{}/outbound/{name}", lab.registry()).parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self { lab, key, repository: registry.repository(name), folder }
    }

    /// An image that no earlier run on the same lab attached anything to.
    fn image(&self) -> Digest {
        let path = self.repository.name().path();
        let content = self.folder.path().to_string_lossy();
        self.lab.push_image(path, "17.0", &content, &[]).unwrap().parse().unwrap()
    }

    fn reference(&self, image: Digest) -> String {
        format!("{}@{image}", self.repository.name())
    }

    fn cosign(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.lab.binaries().cosign);
        command.env("COSIGN_PASSWORD", "").env("HOME", self.folder.path());
        run(command.args(arguments).arg("--allow-http-registry"))
    }

    /// cosign without services, in the layout it had before bundles.
    fn cosign_older(&self, arguments: &[&str], image: Digest) {
        let plain = ["--yes", "--use-signing-config=false", "--tlog-upload=false"];
        let older = ["--new-bundle-format=false", "--key", self.key.private.to_str().unwrap()];
        self.cosign(&[arguments, &plain, &older, &[&self.reference(image)]].concat());
    }

    fn predicate(&self) -> String {
        let path = self.folder.path().join("predicate.json");
        std::fs::write(&path, json!({"scanner": "none"}).to_string()).unwrap();
        path.to_string_lossy().into_owned()
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn layers<'a>(found: &'a [Found], wanted: &str) -> Vec<(&'a [u8], &'a BTreeMap<String, String>)> {
    let mut layers = Vec::new();
    for found in found {
        match found {
            Found::Layer { media_type, content, annotations, .. } if media_type == wanted => {
                layers.push((content.as_slice(), annotations));
            }
            _ => {}
        }
    }
    layers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cosign_attaches_is_found_in_the_registry_and_in_what_it_saves() {
    let hospital = Hospital::new("attached");
    let image = hospital.image();
    assert!(hospital.repository.attached(image).await.unwrap().is_empty());
    let signature = hospital.lab.sign(&hospital.reference(image), &hospital.key).unwrap();
    hospital.cosign_older(&["sign"], image);
    let predicate = hospital.predicate();
    hospital.cosign_older(&["attest", "--type", "custom", "--predicate", &predicate], image);
    let found = hospital.repository.attached(image).await.unwrap();
    assert_eq!(unreadable(&found), Vec::<&str>::new());
    assert_eq!(bundles(&found), [String::from_utf8(signature.bundle).unwrap()]);
    let [(payload, annotations)] = layers(&found, SIMPLE)[..] else { panic!("{found:?}") };
    let payload: Value = serde_json::from_slice(payload).unwrap();
    let named = &payload["critical"]["image"]["docker-manifest-digest"];
    assert_eq!(*named, image.to_string());
    assert!(annotations.contains_key("dev.cosignproject.cosign/signature"));
    let [(envelope, _)] = layers(&found, ENVELOPE)[..] else { panic!("{found:?}") };
    let envelope: Value = serde_json::from_slice(envelope).unwrap();
    assert_eq!(envelope["payloadType"], "application/vnd.in-toto+json");

    let saved = hospital.folder.path().join("saved");
    hospital.cosign(&["save", "--dir", saved.to_str().unwrap(), &hospital.reference(image)]);
    let layout = Layout::open(&saved).await.unwrap();
    assert_eq!(layout.images().iter().map(|one| one.digest).collect::<Vec<_>>(), [image]);
    assert_eq!(Images::from(layout).attached(image).await.unwrap(), found);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_push_is_a_referrer_to_others_and_is_pushed_once() {
    let hospital = Hospital::new("pushed");
    let image = hospital.image();
    let bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let referrer = Referrer {
        artifact_type: bundle.to_owned(),
        annotations: BTreeMap::from([(
            "dev.sigstore.bundle.content".into(),
            "dsse-envelope".into(),
        )]),
        media_type: bundle.to_owned(),
        content: br#"{"ours":true}"#.to_vec(),
    };
    let pushed = hospital.repository.push_referrer(image, &referrer).await.unwrap();
    assert_eq!(hospital.repository.push_referrer(image, &referrer).await.unwrap(), pushed);
    let found = hospital.repository.attached(image).await.unwrap();
    assert_eq!(bundles(&found), [r#"{"ours":true}"#]);
    let tree = hospital.cosign(&["tree", &hospital.reference(image)]);
    assert_eq!(tree.matches(&pushed.hex()).count(), 1, "{tree}");
    // Beside what cosign attaches by itself, neither in the way of the other.
    hospital.lab.sign(&hospital.reference(image), &hospital.key).unwrap();
    assert_eq!(bundles(&hospital.repository.attached(image).await.unwrap()).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_crane_pulled_is_found_by_its_name() {
    let hospital = Hospital::new("pulled");
    let image = hospital.image();
    let folder = hospital.folder.path().join("pulled");
    let mut crane = Command::new(&hospital.lab.binaries().crane);
    let name = format!("{}:17.0", hospital.repository.name());
    run(crane.args(["pull", "--format=oci", "--annotate-ref", &name]).arg(&folder));
    let layout = open(&folder).await;
    assert_eq!(layout.resolve("17.0").unwrap(), image);
    assert_eq!(layout.resolve(&name).unwrap(), image);
    let images = Images::from(layout);
    let manifest = hospital.repository.manifest(image).await.unwrap();
    assert_eq!(images.manifest(image).await.unwrap().bytes, manifest.bytes);
    assert!(images.attached(image).await.unwrap().is_empty());
}

async fn open(folder: &Path) -> Layout {
    Layout::open(folder).await.unwrap()
}
