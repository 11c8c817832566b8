//! SSH keys that sign commits and verify them.
//!
//! The files are OpenSSH's own, so that people use `ssh-keygen` and every Git tool
//! can check what Tidegate signed. Parsing is ssh-key's; the arithmetic is
//! aws-lc's, the one cryptographic library of this engine.

use crate::{Error, der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine as _;
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::{EcdsaPublicKey, Ed25519PublicKey, KeyData};
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

    /// An Ed25519 key by its 32 bytes.
    ///
    /// # Errors
    /// When it has not 32 bytes.
    pub fn from_ed25519(bytes: &[u8], comment: &str) -> Result<Self, Error> {
        let key = Ed25519PublicKey::try_from(bytes)
            .map_err(|_| Error::Key { why: "its bytes are no Ed25519 key".to_owned() })?;
        Ok(Self(ssh_key::PublicKey::new(KeyData::Ed25519(key), comment)))
    }

    /// An ECDSA P-256 key by its point (SEC 1, uncompressed).
    ///
    /// # Errors
    /// When it is no such point.
    pub fn from_p256(point: &[u8], comment: &str) -> Result<Self, Error> {
        let wrong = || Error::Key { why: "its bytes are no ECDSA P-256 key".to_owned() };
        let key = EcdsaPublicKey::from_sec1_bytes(point).map_err(|_| wrong())?;
        if !matches!(key, EcdsaPublicKey::NistP256(_)) {
            return Err(wrong());
        }
        Ok(Self(ssh_key::PublicKey::new(KeyData::Ecdsa(key), comment)))
    }

    /// The key as X.509's `SubjectPublicKeyInfo` (RFC 8410, RFC 5480), by which tools other than
    /// Git and SSH know it. `None` for keys that Tidegate does not sign with.
    #[must_use]
    pub fn spki(&self) -> Option<Vec<u8>> {
        match self.data() {
            KeyData::Ed25519(key) => Some([&der::ED25519[..], key.as_ref()].concat()),
            KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)) => {
                Some([&der::P256[..], point.as_bytes()].concat())
            }
            _ => None,
        }
    }

    /// [`PublicKey::spki`] as PEM.
    #[must_use]
    pub fn pem(&self) -> Option<String> {
        let text = base64::engine::general_purpose::STANDARD.encode(self.spki()?);
        let mut pem = "-----BEGIN PUBLIC KEY-----\n".to_owned();
        for line in text.as_bytes().chunks(64) {
            pem.extend([&*String::from_utf8_lossy(line), "\n"]);
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        Some(pem)
    }

    /// Whether this key made the signature that [`SigningKey::sign`] gives for these bytes.
    #[must_use]
    pub fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let by = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
        };
        match self.data() {
            KeyData::Ed25519(key) => by(&ED25519, key.as_ref()),
            KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)) => {
                by(&ECDSA_P256_SHA256_ASN1, point.as_bytes())
            }
            _ => false,
        }
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

/// What makes signatures, wherever its private half is: in memory, or in a token that never gives
/// it away. May block.
pub trait Signer: Send + Sync {
    /// The key that verifies what this one signs: Ed25519 or ECDSA P-256.
    fn public(&self) -> PublicKey;

    /// The signature: 64 bytes. Ed25519's over the message, or ECDSA's two numbers side by side
    /// over its SHA-256.
    ///
    /// # Errors
    /// Why there is none now, and the way out, in one sentence.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String>;
}

/// A key that signs commits and statements. `Debug` shows its fingerprint only.
#[derive(Clone)]
pub struct SigningKey(Half);

#[derive(Clone)]
enum Half {
    Own(Arc<Pair>),
    Elsewhere(Arc<dyn Signer>),
}

struct Pair {
    signer: Ed25519KeyPair,
    private: Ed25519PrivateKey,
    public: PublicKey,
}

impl SigningKey {
    /// A key whose private half is elsewhere.
    #[must_use]
    pub fn elsewhere(signer: Arc<dyn Signer>) -> Self {
        Self(Half::Elsewhere(signer))
    }

    /// Makes a new Ed25519 key.
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
        Ok(Self(Half::Own(Arc::new(Pair { signer, private: private.clone(), public }))))
    }

    /// The private key in OpenSSH's form: secret, for a Secret.
    ///
    /// # Errors
    /// When it cannot be encoded, or is elsewhere and stays there.
    pub fn to_openssh(&self) -> Result<String, Error> {
        let Half::Own(pair) = &self.0 else {
            return Err(Error::Key { why: "its private half cannot be read out".to_owned() });
        };
        let Pair { signer, private, public } = &**pair;
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
        match &self.0 {
            Half::Own(pair) => pair.public.clone(),
            Half::Elsewhere(signer) => signer.public(),
        }
    }

    /// The signature as DSSE and X.509 have it: Ed25519's 64 bytes, or ECDSA's two numbers in DER
    /// (RFC 3279, section 2.2.3). Blocks while a token works.
    ///
    /// # Errors
    /// [`Error::Signing`] when the token gives none.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let plain = self.sign_plain(message)?;
        match self.public().data() {
            KeyData::Ecdsa(_) => self.two_numbers(&plain).map(|(r, s)| der::two_numbers(r, s)),
            _ => Ok(plain),
        }
    }

    /// As [`Signer::sign`].
    pub(crate) fn sign_plain(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match &self.0 {
            Half::Own(pair) => Ok(pair.signer.sign(message).as_ref().to_vec()),
            Half::Elsewhere(signer) => signer.sign(message).map_err(|why| self.signing(why)),
        }
    }

    /// The halves of a plain ECDSA signature.
    pub(crate) fn two_numbers<'a>(&self, plain: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Error> {
        let halves = plain.split_at_checked(plain.len() / 2).filter(|_| plain.len() == 64);
        halves.ok_or_else(|| self.signing("its signature does not have 64 bytes".to_owned()))
    }

    pub(crate) fn signing(&self, why: String) -> Error {
        Error::Signing { fingerprint: self.public().fingerprint(), why }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public().fingerprint())
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

    /// The key of RFC 8410, section 10.1.
    #[test]
    fn a_public_key_has_the_x509_form_that_other_tools_write() {
        let pem = "-----BEGIN PUBLIC KEY-----\n\
                   MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
                   -----END PUBLIC KEY-----\n";
        let der = base64::engine::general_purpose::STANDARD.decode(pem.lines().nth(1).unwrap());
        let der = der.unwrap();
        let key = PublicKey::from_ed25519(&der[12..], "").unwrap();
        assert_eq!((key.spki(), key.pem().as_deref()), (Some(der), Some(pem)));
    }

    /// An ECDSA key in memory stands for a token.
    struct Token(aws_lc_rs::signature::EcdsaKeyPair);

    impl Signer for Token {
        fn public(&self) -> PublicKey {
            PublicKey::from_p256(self.0.public_key().as_ref(), "").unwrap()
        }

        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
            let random = aws_lc_rs::rand::SystemRandom::new();
            Ok(self.0.sign(&random, message).unwrap().as_ref().to_vec())
        }
    }

    #[test]
    fn what_an_ecdsa_key_signs_is_accepted_in_both_forms() {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let key = SigningKey::elsewhere(Arc::new(Token(pair)));
        let allowed = [key.public()];
        assert_eq!(key.public().spki().map(|spki| spki.len()), Some(91));
        // Numbers with leading zeros and high bits take their turns.
        for round in 0..64_u8 {
            let message = [round];
            let armoured = crate::signature::sign(&key, &message).unwrap();
            let found = crate::signature::verify("c", &message, Some(&armoured), &allowed);
            assert_eq!(found, Ok(&allowed[0]));
            let other = crate::signature::verify("c", b"other", Some(&armoured), &allowed);
            assert!(other.is_err());
            let der = key.sign(&message).unwrap();
            assert!(allowed[0].signed(&message, &der));
            assert!(!allowed[0].signed(b"other", &der));
        }
        assert!(key.to_openssh().is_err());
    }

    #[test]
    fn bytes_that_are_no_key_are_none() {
        assert!(PublicKey::from_ed25519(&[1; 31], "").is_err());
        assert!(PublicKey::from_p256(&[4; 97], "").is_err());
    }
}
