//! SSH keys that sign commits and verify them.
//!
//! The files are OpenSSH's own, so that people use `ssh-keygen` and every Git tool
//! can check what Tidegate signed. Parsing is ssh-key's; the arithmetic is
//! aws-lc's, the one cryptographic library of this engine.

use crate::Error;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, LineEnding};
use std::sync::Arc;

/// Bits of the shortest RSA key that is accepted.
const RSA_BITS: usize = 2048;

/// A key that verifies signatures: Ed25519, ECDSA P-256 or P-384, or RSA. Two are
/// equal when the key is, whatever their comments.
#[derive(Debug, Clone)]
pub struct PublicKey(ssh_key::PublicKey);

impl PublicKey {
    /// The fingerprint as `ssh-keygen -l` prints it: `SHA256:` and base64.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The comment that stands behind the key, often a mail address. Nothing vouches for it.
    #[must_use]
    pub fn comment(&self) -> &str {
        self.0.comment()
    }

    pub(crate) fn data(&self) -> &KeyData {
        self.0.key_data()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.data() == other.data()
    }
}

impl Eq for PublicKey {}

impl std::str::FromStr for PublicKey {
    type Err = Error;

    /// Reads one line of OpenSSH's form: `ssh-ed25519 AAAA... comment`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let key = ssh_key::PublicKey::from_openssh(text.trim()).map_err(|error| Error::Key {
            why: format!("{error}; a public key is one line such as \"ssh-ed25519 AAAA... name\""),
        })?;
        supported(key.key_data())?;
        Ok(Self(key))
    }
}

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.to_openssh().map_err(|_| std::fmt::Error)?)
    }
}

fn supported(data: &KeyData) -> Result<(), Error> {
    let ok = match data {
        KeyData::Ed25519(_) => true,
        KeyData::Ecdsa(key) => matches!(key.curve(), EcdsaCurve::NistP256 | EcdsaCurve::NistP384),
        KeyData::Rsa(key) => {
            key.n.as_positive_bytes().is_some_and(|modulus| modulus.len() * 8 >= RSA_BITS)
        }
        _ => false,
    };
    if ok {
        return Ok(());
    }
    let algorithm = data.algorithm();
    Err(Error::Key {
        why: match algorithm {
            Algorithm::Rsa { .. } => format!("an RSA key needs at least {RSA_BITS} bits"),
            _ => format!(
                "{algorithm} keys are not supported; use Ed25519, ECDSA P-256 or P-384, or RSA"
            ),
        },
    })
}

/// An Ed25519 key that signs commits. `Debug` shows its fingerprint only.
#[derive(Clone)]
pub struct SigningKey(Arc<Pair>);

struct Pair {
    signer: Ed25519KeyPair,
    private: Ed25519PrivateKey,
    public: PublicKey,
}

impl SigningKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<Self, Error> {
        let mut seed = [0; 32];
        aws_lc_rs::rand::fill(&mut seed)
            .map_err(|_| Error::Key { why: "the system gave no randomness".to_owned() })?;
        Self::from_seed(&Ed25519PrivateKey::from_bytes(&seed), "")
    }

    /// Reads a private key as `ssh-keygen -t ed25519` writes it, without a passphrase.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_openssh(text: &str) -> Result<Self, Error> {
        let unusable = |why: String| Error::Key { why };
        let key = ssh_key::PrivateKey::from_openssh(text.trim()).map_err(|error| {
            unusable(format!("{error}; make one with: ssh-keygen -t ed25519 -N '' -f FILE"))
        })?;
        match key.key_data() {
            KeypairData::Ed25519(pair) => Self::from_seed(&pair.private, key.comment()),
            KeypairData::Encrypted(_) => {
                Err(unusable("it has a passphrase; store it without one in a Secret".to_owned()))
            }
            _ => {
                Err(unusable(format!("it is {}; commits are signed with Ed25519", key.algorithm())))
            }
        }
    }

    fn from_seed(private: &Ed25519PrivateKey, comment: &str) -> Result<Self, Error> {
        let wrong = || Error::Key { why: "its bytes are no Ed25519 key".to_owned() };
        let signer = Ed25519KeyPair::from_seed_unchecked(private.as_ref()).map_err(|_| wrong())?;
        let public =
            Ed25519PublicKey::try_from(signer.public_key().as_ref()).map_err(|_| wrong())?;
        let public = PublicKey(ssh_key::PublicKey::new(KeyData::Ed25519(public), comment));
        Ok(Self(Arc::new(Pair { signer, private: private.clone(), public })))
    }

    /// The private key in OpenSSH's form: secret, for a Secret.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn to_openssh(&self) -> Result<String, Error> {
        let Pair { signer, private, public } = &*self.0;
        let encode = || -> Result<String, ssh_key::Error> {
            let public_half = Ed25519PublicKey::try_from(signer.public_key().as_ref())?;
            let pair = Ed25519Keypair { public: public_half, private: private.clone() };
            let key = ssh_key::PrivateKey::new(KeypairData::Ed25519(pair), public.comment())?;
            Ok(key.to_openssh(LineEnding::LF)?.to_string())
        };
        encode().map_err(|error| Error::Key { why: error.to_string() })
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.0.public.clone()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.signer.sign(message).as_ref().to_vec()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.0.public.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_from_its_openssh_form_and_does_not_show() {
        let key = SigningKey::generate().unwrap();
        let text = key.to_openssh().unwrap();
        let again = SigningKey::from_openssh(&text).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(format!("{key:?}"), format!("SigningKey({})", key.public().fingerprint()));
    }

    #[test]
    fn a_comment_does_not_make_another_key() {
        let key = SigningKey::generate().unwrap().public();
        let named: PublicKey = format!("{key} alice@example.org\n").parse().unwrap();
        assert_eq!(named, key);
        assert_eq!(named.comment(), "alice@example.org");
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_way_out() {
        for text in ["", "ssh-ed25519", "alice ssh-ed25519 AAAA", "-----BEGIN PGP PUBLIC KEY"] {
            let error = text.parse::<PublicKey>().unwrap_err().to_string();
            assert!(error.contains("ssh-ed25519 AAAA"), "{text:?}: {error}");
        }
        let error = SigningKey::from_openssh("ssh-ed25519 AAAA").unwrap_err().to_string();
        assert!(error.contains("ssh-keygen"), "{error}");
    }
}
