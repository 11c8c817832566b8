//! Why trust rules cannot be used as they are written.

/// A `TrustPolicy` that cannot be applied. Until it is mended, the images it names do not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An image pattern is not of the documented form.
    #[error(
        "reading image pattern {pattern:?}: {why}; write registry/repository in lower case, or \
         registry/path/* for everything below"
    )]
    Pattern {
        /// The pattern as written.
        pattern: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A key is not a public key that can verify signatures here.
    #[error(
        "reading key {key}: {why}; give the PEM text of a public key (-----BEGIN PUBLIC KEY-----), \
         ECDSA P-256 or P-384, Ed25519, or RSA of 2048 bits and more, as `cosign generate-key-pair` \
         writes it to cosign.pub"
    )]
    Key {
        /// The key's name.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// What is asked of an identity can never match, or always.
    #[error(
        "reading keyless.{field}: {}; state what the certificate must say there",
        crate::shortcoming::printable(.why)
    )]
    Identity {
        /// The field.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// What is asked of a statement can never hold, or cannot be read.
    #[error(
        "reading {field}: {}; state what the statement must say there",
        crate::shortcoming::printable(.why)
    )]
    Attestation {
        /// The field.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// A trusted root is not one.
    #[error(
        "reading trusted root {root}: {}; give a Sigstore trusted_root.json",
        crate::shortcoming::printable(.why)
    )]
    Root {
        /// Its name.
        root: String,
        /// What is wrong with it.
        why: String,
    },
    /// A policy demands nothing, names no image, or leaves a choice empty.
    #[error(
        "TrustPolicy {policy}: {what} is empty, which would let nothing or anything pass; fill it \
         in or delete the policy"
    )]
    Empty {
        /// The policy.
        policy: String,
        /// The empty list.
        what: &'static str,
    },
    /// The Secret that should hold a key is not there, or has no key.
    #[error(
        "TrustPolicy {policy}: Secret {secret} has no cosign.pub that can be read; create it in \
         the engine's namespace with the public key under cosign.pub"
    )]
    Secret {
        /// The policy.
        policy: String,
        /// The Secret's name.
        secret: String,
    },
    /// The ConfigMap that should hold a trusted root is not there, or has none.
    #[error(
        "TrustPolicy {policy}: ConfigMap {config_map} has no trusted_root.json that can be read; \
         create it in the engine's namespace with a Sigstore trusted root under trusted_root.json"
    )]
    ConfigMap {
        /// The policy.
        policy: String,
        /// The ConfigMap's name.
        config_map: String,
    },
    /// What nothing can satisfy, or what contradicts itself.
    #[error("TrustPolicy {policy}: {what}: {why}; mend the policy")]
    Impossible {
        /// The policy.
        policy: String,
        /// Where in it.
        what: &'static str,
        /// What is wrong there.
        why: &'static str,
    },
    /// A rule could not be brought into its canonical form.
    #[error("computing the digest of the trust rules: {0}")]
    Canonical(String),
}

impl Error {
    /// The error with the policy that it is about, which most say themselves; what is wrong with a
    /// name, a key or a root is known before it is known whose it is.
    #[must_use]
    pub fn of_policy(&self, name: &str) -> String {
        match self {
            Self::Empty { .. }
            | Self::Secret { .. }
            | Self::ConfigMap { .. }
            | Self::Impossible { .. } => self.to_string(),
            Self::Pattern { .. }
            | Self::Key { .. }
            | Self::Identity { .. }
            | Self::Attestation { .. }
            | Self::Root { .. }
            | Self::Canonical(_) => format!("TrustPolicy {name}: {self}"),
        }
    }
}
