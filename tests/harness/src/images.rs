//! Images and signatures in the lab's registry.
//!
//! An image here is one layer with one file, written as an OCI layout and pushed by crane: equal
//! content and labels give equal digests. Signatures are made by cosign itself, with a key and
//! without a transparency log, as Sigstore bundles that refer to the image (OCI 1.1 referrers).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Lab;
use crate::error::{LabError, file, run};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The predicate type of a signature.
pub(crate) const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
const BLOCK: usize = 512;

/// A key pair of cosign, in the lab's folder; its password is empty.
#[derive(Clone, Debug)]
pub struct CosignKey {
    /// The encrypted private key.
    pub private: PathBuf,
    /// The public key.
    pub public: PathBuf,
    /// The public key's PEM text, as it stands in a `TrustPolicy`.
    pub public_pem: String,
}

impl CosignKey {
    /// The pair that cosign wrote with this prefix.
    pub(crate) fn read(prefix: &Path) -> Result<Self, LabError> {
        let (private, public) = (prefix.with_extension("key"), prefix.with_extension("pub"));
        let public_pem = fs::read_to_string(&public).map_err(file("reading", &public))?;
        Ok(Self { private, public, public_pem })
    }
}

/// One signature: the Sigstore bundle as it was attached to its image.
#[derive(Clone, Debug)]
pub struct Signature {
    /// The bundle's JSON.
    pub bundle: Vec<u8>,
}

impl Lab {
    /// Pushes an image to `repository:tag` and gives its digest (`sha256:...`). The image's name
    /// for a pod is `{registry}/{repository}@{digest}`.
    ///
    /// # Errors
    /// When the registry refuses.
    pub fn push_image(
        &self,
        repository: &str,
        tag: &str,
        content: &str,
        labels: &[(&str, &str)],
    ) -> Result<String, LabError> {
        let labels: Value = labels.iter().map(|(name, value)| (*name, *value)).collect();
        let layer = tar("content", content.as_bytes());
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Labels": labels},
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        let name = format!("{}/{repository}:{tag}", self.registry());
        self.push(&name, &manifest, &[&config, &layer])
    }

    /// The key pair of this name; made when asked for the first time.
    ///
    /// # Errors
    /// When cosign fails.
    pub fn cosign_key(&self, name: &str) -> Result<CosignKey, LabError> {
        let prefix = self.folder().join("keys").join(name);
        if !prefix.with_extension("pub").exists() {
            let mut command = self.cosign();
            command.args(["generate-key-pair", "--output-key-prefix"]).arg(&prefix);
            run(format!("making the signing key {name}"), &mut command)?;
        }
        CosignKey::read(&prefix)
    }

    /// Signs `{registry}/{repository}@{digest}` and attaches the signature to the image.
    ///
    /// # Errors
    /// When cosign or the registry refuses.
    pub fn sign(&self, image: &str, key: &CosignKey) -> Result<Signature, LabError> {
        let folder = self.scratch()?;
        let (bundle, services) = (folder.path().join("bundle"), folder.path().join("services"));
        let no_services = json!({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "rekorTlogConfig": {}, "tsaConfig": {},
        });
        fs::write(&services, no_services.to_string()).map_err(file("writing", &services))?;
        let mut command = self.cosign();
        command.args(["sign", "--yes", "--allow-http-registry", "--key"]).arg(&key.private);
        command.arg("--signing-config").arg(&services).arg("--bundle").arg(&bundle).arg(image);
        run(format!("signing {image}"), &mut command)?;
        let bundle = fs::read(&bundle).map_err(file("reading", &bundle))?;
        Ok(Signature { bundle })
    }

    /// Attaches a signature to any image, whether or not it was made for it.
    ///
    /// # Errors
    /// When the image does not exist or the registry refuses.
    pub fn attach_signature(&self, signature: &Signature, image: &str) -> Result<(), LabError> {
        self.attach_bundle(&signature.bundle, SIGN, image)
    }

    /// Attaches a Sigstore bundle with a statement of this predicate type to any image.
    ///
    /// # Errors
    /// When the image does not exist or the registry refuses.
    pub fn attach_bundle(
        &self,
        bundle: &[u8],
        predicate_type: &str,
        image: &str,
    ) -> Result<(), LabError> {
        let doing = format!("reading the manifest of {image}");
        let subject = run(doing, self.crane().args(["manifest", image]))?;
        let empty = b"{}";
        let mut config = descriptor("application/vnd.oci.empty.v1+json", empty);
        config["data"] = "e30=".into();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE,
            "config": config,
            "layers": [descriptor(BUNDLE, bundle)],
            "subject": descriptor(MANIFEST, subject.as_bytes()),
            "annotations": {
                "dev.sigstore.bundle.content": "dsse-envelope",
                "dev.sigstore.bundle.predicateType": predicate_type,
            },
        });
        let repository = image.split('@').next().unwrap_or(image);
        let name = format!("{repository}@{}", digest(manifest.to_string().as_bytes()));
        self.push(&name, &manifest, &[empty, bundle]).map(|_| ())
    }

    /// Asks cosign itself whether an image carries a signature by this key.
    ///
    /// # Errors
    /// When it does not; the error holds cosign's words.
    pub fn verify(&self, image: &str, key: &CosignKey) -> Result<(), LabError> {
        let mut command = self.cosign();
        command.args(["verify", "--insecure-ignore-tlog", "--allow-http-registry", "--key"]);
        command.arg(&key.public).arg(image);
        run(format!("verifying {image}"), &mut command).map(|_| ())
    }

    fn push(&self, name: &str, manifest: &Value, blobs: &[&[u8]]) -> Result<String, LabError> {
        let layout = self.scratch()?;
        let write =
            |path: &Path, content: &[u8]| fs::write(path, content).map_err(file("writing", path));
        let folder = layout.path().join("blobs/sha256");
        fs::create_dir_all(&folder).map_err(file("creating", &folder))?;
        let manifest = manifest.to_string().into_bytes();
        for blob in blobs.iter().copied().chain([manifest.as_slice()]) {
            write(&folder.join(hex(&Sha256::digest(blob))), blob)?;
        }
        let index = json!({"schemaVersion": 2, "manifests": [descriptor(MANIFEST, &manifest)]});
        write(&layout.path().join("index.json"), index.to_string().as_bytes())?;
        write(&layout.path().join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        run(format!("pushing {name}"), self.crane().arg("push").arg(layout.path()).arg(name))?;
        Ok(digest(&manifest))
    }

    fn crane(&self) -> Command {
        Command::new(&self.description.binaries.crane)
    }

    pub(crate) fn cosign(&self) -> Command {
        let mut command = Command::new(&self.description.binaries.cosign);
        command.env("COSIGN_PASSWORD", "").env("HOME", self.folder()).current_dir(self.folder());
        command
    }

    fn scratch(&self) -> Result<tempfile::TempDir, LabError> {
        let folder = self.folder().join("images");
        tempfile::TempDir::new_in(&folder).map_err(file("creating a folder in", &folder))
    }
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(content), "size": content.len()})
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(content)))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// An archive of one file (POSIX ustar) with nothing in it that differs from run to run.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    put(0, name);
    put(100, "0000444\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    archive
}
