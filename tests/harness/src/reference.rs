//! The reference repository on a lab: `environments/` as a hospital would push it.
//!
//! What can only be known at run time is put in here: the lab's registry and Git server, people
//! with signing keys and client certificates of their own, signed stand-in images, passwords.
//! Everything else runs as it is written, but for soak, watch and deadlines, which are shortened
//! and listed, so that whoever runs it can say what was shortened.
//!
//! The working copy that is pushed lies in the lab's folder, so a reader of the demo can edit it,
//! commit and push by hand.

mod people;
mod shorten;
mod working_copy;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tidegate_ids::CommitId;

pub use people::{PEOPLE, Person};
pub use shorten::Shortened;

use crate::error::{LabError, file};
use crate::images::hex;
use crate::{CosignKey, Lab, Signature};
use people::Credentials;
use working_copy::WorkingCopy;

/// Whose home the Tidegate objects are.
pub const NAMESPACE: &str = "clinic";
/// Where the three environments run.
pub const TARGETS: [&str; 3] = ["clinic-dev", "clinic-staging", "clinic-production"];

const REPOSITORY: &str = "environments";
const GIT_USER: &str = "tidegate";
const WRITTEN_REGISTRY: &str = "registry.example.com";
const WRITTEN_URL: &str = "https://git.example.com/hospital/environments.git";
const WRITTEN_KEY: &str = "secret: release-key # its cosign.pub, in the engine's namespace";
/// The stand-in images and their first versions.
const IMAGES: [(&str, &str); 4] =
    [("odoo", "17.0.1"), ("postgresql", "17.5"), ("redis", "7.4.2"), ("traefik", "3.7.1")];

/// Who signs an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// The release build, whose key the TrustPolicy names.
    Release,
    /// Nobody.
    Nobody,
    /// Somebody with another key.
    OtherKey,
    /// Nobody, but the release build's signature of another image is attached.
    OfAnotherImage,
}

/// The reference repository of one lab.
#[derive(Debug)]
pub struct Reference {
    work: WorkingCopy,
    people: Credentials,
    key: CosignKey,
    images: BTreeMap<String, String>,
    signature: Signature,
    shortened: Vec<String>,
    git_password: String,
    webhook_token: String,
}

impl Reference {
    /// Makes images, people and the repository, and pushes a first commit, signed by `ann`. Once
    /// for each lab. Nothing is applied to the cluster yet.
    ///
    /// # Errors
    /// When a part of the lab refuses, or `environments/` is not what this code expects.
    pub fn prepare(lab: &Lab, shortened: Shortened) -> Result<Self, LabError> {
        let people = Credentials::make(lab)?;
        let key = lab.cosign_key("release")?;
        let secret = |use_for: &str| -> Result<String, LabError> {
            let seed = fs::read(&key.private).map_err(file("reading", &key.private))?;
            Ok(hex(&Sha256::new().chain_update(seed).chain_update(use_for).finalize()))
        };
        let (git_password, webhook_token) = (secret("git")?, secret("webhook")?);
        let url = lab.create_repo(REPOSITORY, Some((GIT_USER, &git_password)))?;
        let work = WorkingCopy::create(
            lab.folder(),
            &url.replace("http://", &format!("http://{GIT_USER}:{git_password}@")),
        )?;
        let shortened = {
            let mut lines = Vec::new();
            for (path, written) in written_files()? {
                let text = written.replace(WRITTEN_REGISTRY, lab.registry());
                let text = match path.as_str() {
                    "tidegate/repository.yaml" => replaced(&path, &text, WRITTEN_URL, &url)?,
                    "tidegate/trust.yaml" => {
                        replaced(&path, &text, WRITTEN_KEY, &pem(&key.public_pem))?
                    }
                    "tidegate/roster.yaml" => people.in_roster(&text),
                    path => match path.strip_prefix("tidegate/classes/") {
                        Some(name) => {
                            let class = name.trim_end_matches(".yaml");
                            shorten::class(class, &text, shortened, &mut lines)
                        }
                        None => text,
                    },
                };
                work.write(&path, &text)?;
            }
            lines
        };
        let (images, signature) = stand_ins(lab, &key)?;
        let reference =
            Self { work, people, key, images, signature, shortened, git_password, webhook_token };
        reference.commit_as("ann", "Describe the clinic's environments")?;
        reference.push()?;
        Ok(reference)
    }

    /// What was shortened, one line for each: `production, lane app: watch 45m -> 3s`.
    #[must_use]
    pub fn shortened(&self) -> &[String] {
        &self.shortened
    }

    /// The folder of the working copy; its remote `origin` holds the password.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.work.folder
    }

    /// What signs webhook calls.
    #[must_use]
    pub fn webhook_token(&self) -> &str {
        &self.webhook_token
    }

    /// The key of the release build.
    #[must_use]
    pub const fn release_key(&self) -> &CosignKey {
        &self.key
    }

    /// The digest of a stand-in image's first version: `odoo`, `postgresql`, `redis`, `traefik`.
    #[must_use]
    pub fn first_digest(&self, image: &str) -> Option<&str> {
        self.images.get(image).map(String::as_str)
    }

    /// The kubeconfig of a user name of [`PEOPLE`].
    ///
    /// # Errors
    /// When nobody has this user name.
    pub fn kubeconfig(&self, user: &str) -> Result<PathBuf, LabError> {
        self.people.kubeconfig(user)
    }

    /// The text of a file of the working copy.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(&self, path: &str) -> Result<String, LabError> {
        self.work.read(path)
    }

    /// Changes a file of the working copy.
    ///
    /// # Errors
    /// When there is none, or the change changes nothing.
    pub fn edit(&self, path: &str, change: impl FnOnce(&str) -> String) -> Result<(), LabError> {
        let before = self.work.read(path)?;
        let after = change(&before);
        if before == after {
            return Err(wrong(format!("editing {path}"), "the change changes nothing"));
        }
        self.work.write(path, &after)
    }

    /// Writes a file of the working copy, and its folders.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<(), LabError> {
        self.work.write(path, text)
    }

    /// Commits everything that changed, signed with the key of the person who has this user name.
    ///
    /// # Errors
    /// When nobody has it, or nothing changed.
    pub fn commit_as(&self, user: &str, message: &str) -> Result<CommitId, LabError> {
        let (person, key) = self.people.of(user)?;
        self.work.commit(person, Some(key), message)
    }

    /// Commits everything that changed in a person's name, without a signature.
    ///
    /// # Errors
    /// When nobody has this user name, or nothing changed.
    pub fn commit_unsigned(&self, user: &str, message: &str) -> Result<CommitId, LabError> {
        let (person, _) = self.people.of(user)?;
        self.work.commit(person, None, message)
    }

    /// Pushes `main`.
    ///
    /// # Errors
    /// When the Git server refuses or is down.
    pub fn push(&self) -> Result<(), LabError> {
        self.work.push()
    }

    /// Pushes a version of an image of the hospital, such as `odoo`. Its digest.
    ///
    /// # Errors
    /// When the registry or cosign refuses.
    pub fn new_image(
        &self,
        lab: &Lab,
        name: &str,
        tag: &str,
        content: &str,
        signing: Signing,
    ) -> Result<String, LabError> {
        let (digest, image) = push_image(lab, name, tag, content)?;
        match signing {
            Signing::Release => lab.sign(&image, &self.key).map(|_| ())?,
            Signing::OtherKey => lab.sign(&image, &lab.cosign_key("other")?).map(|_| ())?,
            Signing::OfAnotherImage => lab.attach_signature(&self.signature, &image)?,
            Signing::Nobody => {}
        }
        Ok(digest)
    }

    /// Every object in `tidegate/` of the working copy.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn tidegate_objects(&self) -> Result<Vec<Value>, LabError> {
        self.work.objects("tidegate")
    }

    /// Applies `tidegate/` as the administrator, with strict field validation. Tidegate's kinds
    /// must be installed.
    ///
    /// # Errors
    /// When the API server refuses an object.
    pub fn apply_tidegate(&self, lab: &Lab) -> Result<(), LabError> {
        lab.apply(&self.tidegate_objects()?)
    }

    /// Makes what the Repository refers to: credentials and the webhook's token.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn secrets(&self, lab: &Lab) -> Result<(), LabError> {
        let mut home = self.tidegate_objects()?;
        home.retain(|object| object["kind"] == "Namespace");
        lab.apply(&home)?;
        lab.apply(&[
            secret(
                NAMESPACE,
                "git-deploy",
                "Opaque",
                &json!({
                    "username": GIT_USER, "password": self.git_password,
                }),
            ),
            secret(NAMESPACE, "git-webhook", "Opaque", &json!({"token": self.webhook_token})),
        ])
    }

    /// Makes what is made in the targets by others than Tidegate: applies `cluster/` as the
    /// administrator, and the Secrets of an external store and the database operator. The targets
    /// must exist.
    ///
    /// # Errors
    /// When a target is missing or the API server refuses.
    pub fn prepare_targets(&self, lab: &Lab) -> Result<(), LabError> {
        lab.apply(&self.work.objects("cluster")?)?;
        let password = &self.webhook_token[..24];
        for target in TARGETS {
            lab.apply(&[
                secret(target, "odoo-db-app", "kubernetes.io/basic-auth", &json!({
                    "username": "odoo", "password": password,
                })),
                secret(target, "odoo-redis", "Opaque", &json!({"password": password})),
                secret(target, "odoo-edge-tls", "kubernetes.io/tls", &json!({
                    "tls.crt": "a stand-in: nothing reads it on the lab", "tls.key": "a stand-in",
                })),
            ])?;
        }
        Ok(())
    }
}

fn secret(namespace: &str, name: &str, kind: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": kind,
        "metadata": {"namespace": namespace, "name": name}, "stringData": data,
    })
}

/// The digests by name, and one signature to attach elsewhere.
fn stand_ins(
    lab: &Lab,
    key: &CosignKey,
) -> Result<(BTreeMap<String, String>, Signature), LabError> {
    let mut digests = BTreeMap::new();
    let mut last = None;
    for (name, tag) in IMAGES {
        let (digest, image) = push_image(lab, name, tag, &format!("stand-in for {name} {tag}"))?;
        last = Some(lab.sign(&image, key)?);
        digests.insert(name.to_owned(), digest);
    }
    last.map(|signature| (digests, signature))
        .ok_or_else(|| wrong("making the stand-in images", "there are none"))
}

/// The digest and the full name by digest.
fn push_image(
    lab: &Lab,
    name: &str,
    tag: &str,
    content: &str,
) -> Result<(String, String), LabError> {
    let repository = format!("hospital/{name}");
    let labels = [
        ("org.opencontainers.image.title", name),
        ("org.opencontainers.image.version", tag),
        ("org.opencontainers.image.vendor", "hospital"),
    ];
    let digest = lab.push_image(&repository, tag, content, &labels)?;
    let image = format!("{}/{repository}@{digest}", lab.registry());
    Ok((digest, image))
}

/// The files of `environments/` as written, by path.
pub(crate) fn written_files() -> Result<BTreeMap<String, String>, LabError> {
    let root = crate::repository_root().join(REPOSITORY);
    let mut files = BTreeMap::new();
    working_copy::walk(&root, &mut |path| {
        let text = fs::read_to_string(path).map_err(file("reading", path))?;
        let name = path.strip_prefix(&root).unwrap_or(path).to_string_lossy().into_owned();
        files.insert(name, text);
        Ok(())
    })?;
    Ok(files)
}

fn replaced(path: &str, text: &str, from: &str, to: &str) -> Result<String, LabError> {
    if text.contains(from) {
        return Ok(text.replace(from, to));
    }
    Err(wrong(format!("preparing {path}"), format!("it has no {from:?} to put the lab's own at")))
}

/// A key as the block scalar that stands in the place of the Secret's name.
fn pem(key: &str) -> String {
    let lines: Vec<_> = key.trim().lines().map(|line| format!("              {line}")).collect();
    format!("pem: |\n{}", lines.join("\n"))
}

fn wrong(doing: impl Into<String>, reason: impl Into<String>) -> LabError {
    LabError::Reference { doing: doing.into(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
