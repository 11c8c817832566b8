//! A private Sigstore beside the lab: certificate authority (Fulcio) with its certificate log,
//! transparency log (Rekor, version 2), timestamp authority and OpenID provider.
//!
//! It costs time and four more programs, so it is started when it is first asked for and then
//! belongs to the lab: its processes and keys end with the lab's folder. Whoever attaches to a lab
//! finds the one that runs. Signatures are made by real cosign; nothing here makes one itself. Rekor
//! of version 1 is not among the parts: it needs a Trillian and a database.

mod identity;
mod parts;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use identity::{By, FORGE, Identity, Proof, Workflow};
use parts::{Addresses, LOG};

use crate::binaries::SigstoreBinaries;
use crate::error::{LabError, file, run};
use crate::images::SIGN;
use crate::{CosignKey, Lab, parts as lab_parts, supervisor};

/// How often it is started anew when a part does not come up, as when its port was taken.
const ATTEMPTS: u32 = 3;
/// From when on the services may be used: before any lab was started.
const SINCE: &str = "2026-01-01T00:00:00Z";

/// Where nobody listens (the discard port): the lab does without Sigstore's public instance.
const NOBODY: &str = "http://127.0.0.1:9";

/// The algorithm of a signing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Ecdsa,
    /// Ed25519.
    Ed25519,
    /// RSA, 2048 bits, PKCS #1 v1.5 with SHA-256.
    Rsa,
}

/// A private Sigstore that runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sigstore {
    folder: PathBuf,
    cosign: PathBuf,
    labd: PathBuf,
    addresses: Addresses,
}

impl Lab {
    /// The lab's private Sigstore; started when it is first asked for.
    ///
    /// # Errors
    /// When a program cannot be built or does not come up.
    pub fn sigstore(&self) -> Result<&Sigstore, LabError> {
        let started = self.sigstore.get_or_init(|| Sigstore::attach_or_start(self));
        started.as_ref().map_err(|error| LabError::NoLab(error.to_string()))
    }

    /// A key pair of an algorithm, as somebody brings it to cosign; made when first asked for.
    ///
    /// # Errors
    /// When cosign refuses it.
    pub fn imported_key(&self, name: &str, algorithm: Algorithm) -> Result<CosignKey, LabError> {
        let folder = self.folder().join("keys");
        let prefix = folder.join(format!("{name}-imported"));
        if !prefix.with_extension("pub").exists() {
            let algorithm = match algorithm {
                Algorithm::Ecdsa => "ecdsa",
                Algorithm::Ed25519 => "ed25519",
                Algorithm::Rsa => "rsa",
            };
            let mut make = Command::new(&self.binaries().labd);
            make.args(["key", "--name", name, "--algorithm", algorithm, "--folder"]).arg(&folder);
            run(format!("making the key {name}"), &mut make)?;
            let mut import = self.cosign();
            import.args(["import-key-pair", "--key"]).arg(folder.join(format!("{name}.key")));
            import.arg("--output-key-prefix").arg(&prefix);
            run(format!("bringing the key {name} to cosign"), &mut import)?;
        }
        CosignKey::read(&prefix)
    }

    /// Signs an image with an imported Ed25519 key and attaches the signature. The lab's own
    /// program signs: cosign verifies Ed25519, but itself signs with Ed25519ph.
    ///
    /// # Errors
    /// When there is no such key or the registry refuses.
    pub fn sign_ed25519(&self, image: &str, key: &str) -> Result<(), LabError> {
        let digest = image.rsplit(':').next().unwrap_or_default();
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"digest": {"sha256": digest}}],
            "predicateType": SIGN,
            "predicate": {},
        });
        let mut command = Command::new(&self.binaries().labd);
        command.arg("envelope").arg("--statement").arg(statement.to_string());
        command.arg("--key").arg(self.folder().join("keys").join(format!("{key}.key")));
        let bundle = run(format!("signing {image}"), &mut command)?;
        self.attach_bundle(bundle.as_bytes(), SIGN, image)
    }
}

impl Sigstore {
    fn attach_or_start(lab: &Lab) -> Result<Self, LabError> {
        let folder = lab.folder().join("sigstore");
        fs::create_dir_all(&folder).map_err(file("creating", &folder))?;
        // Several test processes may attach to one lab and ask at once.
        let path = folder.join("start.lock");
        let lock = File::create(&path).map_err(file("opening the lock of the Sigstore", &path))?;
        lock.lock().map_err(file("taking the lock of the Sigstore", &path))?;
        let description = folder.join("sigstore.json");
        if let Ok(content) = fs::read(&description) {
            return serde_json::from_slice(&content)
                .map_err(|error| LabError::Description(error.to_string()));
        }
        let binaries = SigstoreBinaries::ensure()?;
        let mut attempt = 1;
        let started = loop {
            match Self::start(lab, &folder.join(attempt.to_string()), &binaries) {
                Err(LabError::NotReady { .. }) if attempt < ATTEMPTS => attempt += 1,
                result => break result?,
            }
        };
        let content = serde_json::to_vec_pretty(&started)
            .map_err(|error| LabError::Description(error.to_string()))?;
        fs::write(&description, content).map_err(file("writing", &description))?;
        Ok(started)
    }

    fn start(lab: &Lab, folder: &Path, binaries: &SigstoreBinaries) -> Result<Self, LabError> {
        for name in ["ct", "rekor"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(file("creating", &path))?;
        }
        let sigstore = Self {
            folder: folder.to_owned(),
            cosign: lab.binaries().cosign.clone(),
            labd: lab.binaries().labd.clone(),
            addresses: Addresses::new(),
        };
        let mut keys = Command::new(&sigstore.labd);
        keys.args(["sigstore", "--folder"]).arg(folder);
        run("making the keys of the Sigstore".to_owned(), &mut keys)?;
        let config = folder.join("fulcio.json");
        fs::write(&config, parts::fulcio_config(&sigstore.addresses))
            .map_err(file("writing", &config))?;
        for (name, part, address) in
            parts::all(folder, &sigstore.labd, binaries, &sigstore.addresses)
        {
            // Of an attempt that failed; the first time there is none of that name.
            let _ = supervisor::stop(lab.folder(), name);
            supervisor::start(lab.folder(), name, &part)?;
            lab_parts::wait(lab.folder(), name, || {
                std::net::TcpStream::connect(&address)
                    .map(|_| ())
                    .map_err(|error| error.to_string())
            })?;
        }
        for proof in Proof::ALL {
            sigstore.make_signing_config(proof)?;
        }
        sigstore.make_trusted_root()?;
        Ok(sigstore)
    }

    /// The trusted root of this Sigstore (JSON), made by cosign.
    #[must_use]
    pub fn trusted_root_file(&self) -> PathBuf {
        self.folder.join("trusted_root.json")
    }

    /// The trusted root of this Sigstore, as it stands in a ConfigMap of a `TrustPolicy`.
    ///
    /// # Errors
    /// When its file is gone.
    pub fn trusted_root(&self) -> Result<String, LabError> {
        let path = self.trusted_root_file();
        fs::read_to_string(&path).map_err(file("reading", &path))
    }

    /// A signing configuration with the services that give this proof, for `cosign sign
    /// --signing-config`.
    #[must_use]
    pub fn signing_config(&self, proof: Proof) -> PathBuf {
        self.folder.join(format!("signing-config-{}.json", proof.name()))
    }

    /// The OpenID Connect issuer of an identity, as certificates state it.
    #[must_use]
    pub fn issuer(&self, identity: &Identity) -> String {
        format!("http://{}/{}", self.addresses.issuer, identity.issuer())
    }

    /// An ID token for an identity, good for five minutes.
    ///
    /// # Errors
    /// When the key is gone.
    pub fn token(&self, identity: &Identity) -> Result<String, LabError> {
        let mut command = Command::new(&self.labd);
        command.arg("token").arg("--key").arg(self.folder.join("issuer.key"));
        command.arg("--issuer").arg(self.issuer(identity));
        command.arg("--claims").arg(identity.claims().to_string());
        run(format!("making a token for {}", identity.subject()), &mut command)
    }

    /// The command line that makes a token for a person, to be typed.
    #[must_use]
    pub fn token_command(&self, identity: &Identity) -> String {
        format!(
            "{} token --key {} --issuer {} --claims '{}'",
            self.labd.display(),
            self.folder.join("issuer.key").display(),
            self.issuer(identity),
            identity.claims(),
        )
    }

    /// Signs an image (`registry/repository@digest`) without a key of one's own, with an entry in
    /// the log and a timestamp; gives the bundle, which is attached to the image.
    ///
    /// # Errors
    /// When cosign, a service or the registry refuses.
    pub fn sign_keyless(&self, image: &str, identity: &Identity) -> Result<Vec<u8>, LabError> {
        self.sign(image, By::Keyless(identity), Proof::LogAndTimestamp)
    }

    /// As [`Self::sign_keyless`], but nothing is attached.
    ///
    /// # Errors
    /// When cosign or a service refuses.
    pub fn sign_detached(&self, image: &str, identity: &Identity) -> Result<Vec<u8>, LabError> {
        let sign = ["sign", "--upload=false"];
        self.bundled(&sign, image, By::Keyless(identity), Proof::LogAndTimestamp)
    }

    /// Signs an image with a key, with an entry in the log and a timestamp.
    ///
    /// # Errors
    /// When cosign, a service or the registry refuses.
    pub fn sign_with_key(&self, image: &str, key: &CosignKey) -> Result<Vec<u8>, LabError> {
        self.sign(image, By::Key(key), Proof::LogAndTimestamp)
    }

    /// Signs an image; gives the bundle, which is attached to the image.
    ///
    /// # Errors
    /// When cosign, a service or the registry refuses.
    pub fn sign(&self, image: &str, by: By<'_>, proof: Proof) -> Result<Vec<u8>, LabError> {
        self.bundled(&["sign"], image, by, proof)
    }

    /// Signs with a certificate that ended an hour ago, of this Sigstore's own authority, which would
    /// not have made it itself; it has no certificate timestamp.
    ///
    /// # Errors
    /// When cosign, a service or the registry refuses.
    pub fn sign_expired(
        &self,
        image: &str,
        person: &Identity,
        proof: Proof,
    ) -> Result<Vec<u8>, LabError> {
        let scratch = self.scratch()?;
        let mut command = Command::new(&self.labd);
        command.arg("expired").arg("--folder").arg(&self.folder).arg("--out").arg(scratch.path());
        command.arg("--email").arg(person.subject()).arg("--issuer").arg(self.issuer(person));
        run("making an expired certificate".to_owned(), &mut command)?;
        let prefix = scratch.path().join("imported");
        let mut import = self.cosign();
        import.args(["import-key-pair", "--key"]).arg(scratch.path().join("expired.key"));
        import.arg("--output-key-prefix").arg(&prefix);
        run("bringing the expired key to cosign".to_owned(), &mut import)?;
        let key = CosignKey::read(&prefix)?;
        let certificate = scratch.path().join("expired.crt").to_string_lossy().into_owned();
        // Without the trusted root cosign does not look at what it signed, and so does not refuse.
        self.unchecked(&["sign", "--certificate", &certificate], image, By::Key(&key), proof)
    }

    /// States something about an image; gives the bundle, which is attached to the image. `kind` is
    /// what `cosign attest --type` takes.
    ///
    /// # Errors
    /// When cosign, a service or the registry refuses.
    pub fn attest(
        &self,
        image: &str,
        by: By<'_>,
        proof: Proof,
        kind: &str,
        predicate: &Value,
    ) -> Result<Vec<u8>, LabError> {
        let scratch = self.scratch()?;
        let path = scratch.path().join("predicate.json");
        fs::write(&path, predicate.to_string()).map_err(file("writing", &path))?;
        let predicate = path.to_string_lossy();
        self.bundled(&["attest", "--type", kind, "--predicate", &predicate], image, by, proof)
    }

    /// Signs in the older layout: a payload, and its signature in annotations, under a tag that ends
    /// in `.sig`. Without the log, which takes nothing from this layout; `proof` may ask for a
    /// timestamp.
    ///
    /// # Errors
    /// When cosign, a service or the registry refuses.
    pub fn sign_older(&self, image: &str, by: By<'_>, proof: Proof) -> Result<(), LabError> {
        self.older(&["sign"], image, by, proof)
    }

    /// States something in the older layout, under a tag that ends in `.att`.
    ///
    /// # Errors
    /// When cosign, a service or the registry refuses.
    pub fn attest_older(
        &self,
        image: &str,
        by: By<'_>,
        proof: Proof,
        kind: &str,
        predicate: &Value,
    ) -> Result<(), LabError> {
        let scratch = self.scratch()?;
        let path = scratch.path().join("predicate.json");
        fs::write(&path, predicate.to_string()).map_err(file("writing", &path))?;
        let predicate = path.to_string_lossy();
        self.older(&["attest", "--type", kind, "--predicate", &predicate], image, by, proof)
    }

    /// A cosign that finds neither this machine's keys and caches nor the public Sigstore; the caller
    /// says what to do.
    #[must_use]
    pub fn cosign(&self) -> Command {
        let mut command = Command::new(&self.cosign);
        command.env("COSIGN_PASSWORD", "").env("HOME", &self.folder).current_dir(&self.folder);
        command.env("TUF_MIRROR", NOBODY);
        command
    }

    /// Runs a verification by cosign: `verify` or `verify-attestation --type ...`, with further
    /// arguments; this Sigstore's trusted root is among them. Gives what it says.
    ///
    /// # Errors
    /// When it refuses; the error holds its words.
    pub fn verify(&self, arguments: &[&str], image: &str) -> Result<String, LabError> {
        let mut command = self.cosign();
        command.args(arguments).args(["--allow-http-registry", "--trusted-root"]);
        command.arg(self.trusted_root_file()).arg(image);
        run(format!("verifying {image}"), &mut command)
    }

    fn bundled(
        &self,
        arguments: &[&str],
        image: &str,
        by: By<'_>,
        proof: Proof,
    ) -> Result<Vec<u8>, LabError> {
        let root = self.trusted_root_file().to_string_lossy().into_owned();
        self.unchecked(&[arguments, &["--trusted-root", &root]].concat(), image, by, proof)
    }

    fn unchecked(
        &self,
        arguments: &[&str],
        image: &str,
        by: By<'_>,
        proof: Proof,
    ) -> Result<Vec<u8>, LabError> {
        let scratch = self.scratch()?;
        let bundle = scratch.path().join("bundle.json");
        let mut command = self.cosign();
        command.args(arguments).args(["--yes", "--allow-http-registry", "--signing-config"]);
        command.arg(self.signing_config(proof));
        self.signer(&mut command, by, scratch.path())?;
        command.arg("--bundle").arg(&bundle).arg(image);
        run(format!("signing {image}"), &mut command)?;
        fs::read(&bundle).map_err(file("reading", &bundle))
    }

    fn older(
        &self,
        arguments: &[&str],
        image: &str,
        by: By<'_>,
        proof: Proof,
    ) -> Result<(), LabError> {
        let mut command = self.cosign();
        command.args(arguments).args(["--yes", "--allow-http-registry"]);
        command.args(["--new-bundle-format=false", "--use-signing-config=false"]);
        command.args(["--tlog-upload=false", "--trusted-root"]).arg(self.trusted_root_file());
        command.arg("--fulcio-url").arg(format!("http://{}", self.addresses.certificates));
        if proof.timestamp() {
            command.arg("--timestamp-server-url").arg(self.timestamp_url());
        }
        let scratch = self.scratch()?;
        self.signer(&mut command, by, scratch.path())?;
        run(format!("signing {image}"), command.arg(image)).map(|_| ())
    }

    /// Says who signs. cosign takes a long token by a file's name only.
    fn signer(&self, command: &mut Command, by: By<'_>, scratch: &Path) -> Result<(), LabError> {
        match by {
            By::Key(key) => command.arg("--key").arg(&key.private),
            By::Keyless(identity) => {
                let path = scratch.join("token");
                fs::write(&path, self.token(identity)?).map_err(file("writing", &path))?;
                command.arg("--identity-token").arg(path)
            }
        };
        Ok(())
    }

    fn make_signing_config(&self, proof: Proof) -> Result<(), LabError> {
        let service = |url: String, version: u32| json!({"url": url, "majorApiVersion": version, "operator": "lab", "validFor": {"start": SINCE}});
        let Addresses { certificates, log, .. } = &self.addresses;
        let mut config = json!({
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service(format!("http://{certificates}"), 1)],
            "rekorTlogConfig": {}, "tsaConfig": {},
        });
        if proof.log() {
            config["rekorTlogUrls"] = json!([service(format!("http://{log}"), 2)]);
            config["rekorTlogConfig"] = json!({"selector": "ANY"});
        }
        if proof.timestamp() {
            config["tsaUrls"] = json!([service(self.timestamp_url(), 1)]);
            config["tsaConfig"] = json!({"selector": "ANY"});
        }
        let path = self.signing_config(proof);
        fs::write(&path, config.to_string()).map_err(file("writing", &path))
    }

    fn make_trusted_root(&self) -> Result<(), LabError> {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let Addresses { certificates, certificate_log, .. } = &self.addresses;
        let mut command = self.cosign();
        command.args(["trusted-root", "create", "--out", &path("trusted_root.json")]);
        for service in ["ctfe", "fulcio", "rekor", "tsa"] {
            command.arg(format!("--no-default-{service}"));
        }
        let chain = path("fulcio.chain");
        command.arg("--fulcio").arg(format!("url=http://{certificates},certificate-chain={chain}"));
        command.arg("--ctfe").arg(format!(
            "url=http://{certificate_log},public-key={},start-time={SINCE}",
            path("ct.pub")
        ));
        command.arg("--rekor").arg(format!(
            "url=http://{LOG},public-key={},start-time={SINCE},origin={LOG}",
            path("rekor.pub")
        ));
        let (url, chain) = (self.timestamp_url(), path("tsa.chain"));
        command.arg("--tsa").arg(format!("url={url},certificate-chain={chain}"));
        run("making the trusted root of the Sigstore".to_owned(), &mut command).map(|_| ())
    }

    fn timestamp_url(&self) -> String {
        format!("http://{}/api/v1/timestamp", self.addresses.timestamps)
    }

    fn scratch(&self) -> Result<tempfile::TempDir, LabError> {
        tempfile::TempDir::new_in(&self.folder).map_err(file("creating a folder in", &self.folder))
    }
}
