//! Where certificate authorities, logs and timestamp authorities are described.
//!
//! A root is a Sigstore `TrustedRoot` (JSON). Its keys and certificates are read once, here, and
//! used for every bundle. Several roots stay apart: a bundle counts if all of it verifies under
//! one of them, so that the log of one never vouches for a certificate of another.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use sigstore_verify::Verifier;
use sigstore_verify::crypto::VerificationKey;
use sigstore_verify::trust_root::{
    SIGSTORE_PRODUCTION_TRUSTED_ROOT, TimestampAuthority, TrustedRoot,
};
use sigstore_verify::types::bundle::{CheckpointData, TransparencyLogEntry};
use sigstore_verify::types::{Checkpoint, SignatureBytes, TimestampToken, TsaAuthority};
use tidegate_ids::Digest;

use crate::Error;

/// Trusted roots; none of them for policies that ask for neither certificates nor logs.
#[derive(Debug, Clone, Default)]
pub struct Roots(Vec<Arc<Root>>);

/// One trusted root, ready to verify with.
pub(crate) struct Root {
    name: String,
    digest: Digest,
    pub(crate) verifier: Verifier,
    logs: Vec<Log>,
    stampers: Vec<(String, TsaAuthority)>,
    logs_certificates: bool,
}

struct Log {
    id: Vec<u8>,
    key: VerificationKey,
    since: Option<Timestamp>,
}

impl Roots {
    /// Sigstore's public instance, as it was when this version of Tidegate was made.
    ///
    /// # Errors
    /// [`Error::Root`]; does not happen with the one that is built in.
    pub fn public_good() -> Result<Self, Error> {
        Self::from_json("Sigstore's public instance", SIGSTORE_PRODUCTION_TRUSTED_ROOT)
    }

    /// A root of this name from its JSON (`trusted_root.json`).
    ///
    /// # Errors
    /// [`Error::Root`] when it is not one, or a key or certificate in it cannot be used.
    pub fn from_json(name: &str, json: &str) -> Result<Self, Error> {
        Ok(Self(vec![Arc::new(Root::new(name, json)?)]))
    }

    /// These roots and those, each once.
    #[must_use]
    pub fn joined(mut self, others: Self) -> Self {
        for root in others.0 {
            if self.0.iter().all(|known| known.digest != root.digest) {
                self.0.push(root);
            }
        }
        self
    }

    /// What they are, as one digest (`tidegate-roots/v1`): a verdict dies when it changes. Their
    /// order and names do not matter.
    ///
    /// # Errors
    /// [`Error::Canonical`]; does not happen for roots that could be read.
    pub fn digest(&self) -> Result<Digest, Error> {
        let digests: BTreeSet<_> = self.0.iter().map(|root| root.digest.to_string()).collect();
        Digest::tagged("tidegate-roots/v1", &digests)
            .map_err(|error| Error::Canonical(error.to_string()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Root> {
        self.0.iter().map(AsRef::as_ref)
    }
}

impl Root {
    fn new(name: &str, json: &str) -> Result<Self, Error> {
        let wrong = |why: String| Error::Root { root: name.to_owned(), why };
        let root = TrustedRoot::from_json(json).map_err(|error| wrong(error.to_string()))?;
        let verifier = Verifier::new(&root).map_err(|error| wrong(error.to_string()))?;
        let logs = root.tlogs.iter().map(|log| {
            let key = VerificationKey::from_spki(&log.public_key.raw_bytes)
                .map_err(|error| wrong(error.to_string()))?;
            let since = log.public_key.valid_for.map(|valid| valid.start);
            Ok(Log { id: log.log_id.key_id.as_bytes().to_vec(), key, since })
        });
        Ok(Self {
            name: name.to_owned(),
            digest: Digest::of(json.as_bytes()),
            logs: logs.collect::<Result<_, Error>>()?,
            stampers: root.timestamp_authorities.iter().filter_map(stamper).collect(),
            logs_certificates: !root.ctlogs.is_empty(),
            verifier,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// The log that has an entry which `verifier` accepted. It accepts one that brings neither a
    /// promise nor a proof, as long as another brings it, and looks for a checkpoint's key by
    /// four bytes only; neither is enough to count a log.
    pub(crate) fn log_of(&self, entry: &TransparencyLogEntry) -> Result<String, &'static str> {
        let stated = entry.log_id.key_id.as_bytes();
        let proof = entry.inclusion_proof.as_ref();
        let proved = proof.map(|proof| self.signer(&proof.checkpoint, stated)).transpose()?;
        match (proved, &entry.inclusion_promise) {
            (Some(log), Some(_)) if log.id != stated => {
                Err("a log entry's promise and its proof are of different logs")
            }
            (Some(log), _) => Ok(hex(&log.id)),
            (None, Some(_)) => Ok(hex(stated)),
            (None, None) => Err("a log entry has neither an inclusion proof nor a promise"),
        }
    }

    /// The log that signed a checkpoint which `verifier` accepted; the stated one if it did. Where
    /// one key alone fits the hints, the verifier has checked that one.
    fn signer(&self, checkpoint: &CheckpointData, stated: &[u8]) -> Result<&Log, &'static str> {
        let checkpoint = checkpoint.checkpoint().ok_or("a log entry's proof has no checkpoint")?;
        let signatures = checkpoint.signatures();
        let hinted = |log: &&Log| {
            signatures.iter().any(|one| log.id.get(..4) == Some(one.key_id.as_slice()))
        };
        let mut logs: Vec<_> = self.logs.iter().filter(hinted).collect();
        if logs.len() > 1 {
            let message = checkpoint.signed_data();
            logs.retain(|log| {
                signatures.iter().any(|one| log.key.verify(message, &one.signature).is_ok())
            });
        }
        let same = logs.iter().find(|log| log.id == stated);
        same.or(logs.first()).copied().ok_or("a log entry's checkpoint is of no known log")
    }

    /// The id of the log that signed a checkpoint, if one did whose key is in use by now.
    pub(crate) fn signed(&self, checkpoint: &Checkpoint, now: Timestamp) -> Option<String> {
        let by = |log: &&Log| {
            checkpoint.signatures().iter().any(|one| {
                log.id.get(..4) == Some(one.key_id.as_slice())
                    && log.key.verify(checkpoint.signed_data(), &one.signature).is_ok()
            })
        };
        let used = |log: &&Log| log.since.is_none_or(|since| since <= now);
        self.logs.iter().filter(used).find(by).map(|log| hex(&log.id))
    }

    /// Who stamped these bytes, and when; the reason where nobody of this root did.
    pub(crate) fn stamp(
        &self,
        token: &TimestampToken,
        stamped: &SignatureBytes,
    ) -> Result<(&str, Timestamp), String> {
        let mut why = "the root describes no timestamp authority".to_owned();
        for (name, authority) in &self.stampers {
            match sigstore_verify::tsa::verify_timestamp_for_authority(token, stamped, authority) {
                Ok(time) => return Ok((name, time)),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    /// Whether it describes a certificate transparency log.
    pub(crate) fn logs_certificates(&self) -> bool {
        self.logs_certificates
    }

    /// The only timestamp authority, where there is one only.
    pub(crate) fn only_stamper(&self) -> Option<&str> {
        match self.stampers.as_slice() {
            [(name, _)] => Some(name),
            _ => None,
        }
    }
}

/// A timestamp authority by its address or name, which stay when its certificate is renewed: two
/// certificates of one authority are one authority.
fn stamper(stated: &TimestampAuthority) -> Option<(String, TsaAuthority)> {
    let certificates: Vec<_> =
        stated.cert_chain.certificates.iter().map(|one| one.raw_bytes.clone()).collect();
    let (leaf, rest) = certificates.split_first()?;
    let (root, intermediates) = rest.split_last().unwrap_or((leaf, &[]));
    let subject = &stated.subject;
    let stated_name = [&stated.uri, &subject.common_name, &subject.organization];
    let name = stated_name.into_iter().flatten().find(|name| !name.is_empty()).cloned();
    let name = name.unwrap_or_else(|| Digest::of(leaf.as_bytes()).to_string());
    let valid = stated.valid_for;
    Some((name, TsaAuthority::new(leaf.clone(), intermediates.to_vec(), root.clone(), valid)))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _infallible = write!(out, "{byte:02x}");
        out
    })
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, digest, .. } = self;
        f.debug_struct("Root").field("name", name).field("digest", digest).finish_non_exhaustive()
    }
}
