//! SSH signatures of commits (OpenSSH's PROTOCOL.sshsig, namespace `git`).
//!
//! The signer must be one of the keys that the caller allows: the key that a
//! signature brings along proves nothing. SHA-1 (`ssh-rsa`) is not accepted.

use crate::{Error, PublicKey, SigningKey};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use ssh_key::public::{EcdsaPublicKey, KeyData};
use ssh_key::{Algorithm, HashAlg, LineEnding, Mpint, Signature, SshSig};

const NAMESPACE: &str = "git";

/// Why a commit's signature was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It has none.
    #[error(
        "commit {0} is not signed; sign it with an SSH key: git commit -S, with gpg.format ssh"
    )]
    Unsigned(String),
    /// Its key is not among those allowed.
    #[error(
        "commit {commit} is signed with the key {fingerprint}, which is not among the allowed keys"
    )]
    UnknownKey {
        /// The commit.
        commit: String,
        /// The key's fingerprint.
        fingerprint: String,
    },
    /// Its signature does not hold.
    #[error("the signature of commit {commit} is not valid: {why}")]
    Invalid {
        /// The commit.
        commit: String,
        /// What is wrong with it.
        why: String,
    },
    /// It is signed in another form.
    #[error(
        "commit {0} is signed with OpenPGP or X.509, which is not supported yet; sign with an SSH key: gpg.format ssh"
    )]
    OtherForm(String),
}

/// The SSHSIG of these bytes, armoured, as Git stores it in a commit.
pub(crate) fn sign(key: &SigningKey, payload: &[u8]) -> Result<String, Error> {
    let wrong = |error: ssh_key::Error| key.signing(error.to_string());
    let data = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, payload).map_err(wrong)?;
    let public = key.public().data().clone();
    let plain = key.sign_plain(&data)?;
    let bytes = match &public {
        KeyData::Ecdsa(_) => {
            let (r, s) = key.two_numbers(&plain)?;
            [mpint(r), mpint(s)].concat()
        }
        _ => plain,
    };
    let signature = Signature::new(public.algorithm(), bytes).map_err(wrong)?;
    let sshsig = SshSig::new(public, NAMESPACE, HashAlg::Sha512, signature).map_err(wrong)?;
    let armoured = sshsig.to_pem(LineEnding::LF).map_err(wrong)?;
    Ok(armoured.trim_end().to_owned())
}

/// A positive number as SSH writes it, with its length before it (RFC 4251, section 5).
fn mpint(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = bytes.get(zeros..).unwrap_or_default();
    let sign: &[u8] = if digits.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    let length = u32::try_from(sign.len() + digits.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), sign, digits].concat()
}

/// The allowed key that signed these bytes.
pub(crate) fn verify<'a>(
    commit: &str,
    payload: &[u8],
    signature: Option<&str>,
    allowed: &'a [PublicKey],
) -> Result<&'a PublicKey, SignatureError> {
    let invalid =
        |why: &str| SignatureError::Invalid { commit: commit.to_owned(), why: why.to_owned() };
    let Some(text) = signature else {
        return Err(SignatureError::Unsigned(commit.to_owned()));
    };
    if !text.trim_start().starts_with("-----BEGIN SSH SIGNATURE-----") {
        return Err(SignatureError::OtherForm(commit.to_owned()));
    }
    let parsed =
        SshSig::from_pem(text.trim().as_bytes()).map_err(|error| invalid(&error.to_string()))?;
    if parsed.namespace() != NAMESPACE {
        return Err(invalid(
            "it was made for another purpose than Git (its namespace is not \"git\")",
        ));
    }
    let Some(key) = allowed.iter().find(|key| key.data() == parsed.public_key()) else {
        let fingerprint = parsed.public_key().fingerprint(HashAlg::Sha256).to_string();
        return Err(SignatureError::UnknownKey { commit: commit.to_owned(), fingerprint });
    };
    let data = SshSig::signed_data(NAMESPACE, parsed.hash_alg(), payload)
        .map_err(|error| invalid(&error.to_string()))?;
    check(key.data(), &data, parsed.signature()).map_err(invalid)?;
    Ok(key)
}

const CHANGED: &str = "the commit was changed after it was signed";

fn check(key: &KeyData, data: &[u8], signature: &Signature) -> Result<(), &'static str> {
    let bytes = signature.as_bytes();
    match (key, signature.algorithm()) {
        (KeyData::Ed25519(key), Algorithm::Ed25519) => plain(&ED25519, key.as_ref(), data, bytes),
        (KeyData::Ecdsa(key), Algorithm::Ecdsa { curve }) if key.curve() == curve => match key {
            EcdsaPublicKey::NistP256(point) => {
                plain(&ECDSA_P256_SHA256_FIXED, point.as_bytes(), data, &fixed::<32>(bytes)?)
            }
            EcdsaPublicKey::NistP384(point) => {
                plain(&ECDSA_P384_SHA384_FIXED, point.as_bytes(), data, &fixed::<48>(bytes)?)
            }
            EcdsaPublicKey::NistP521(_) => Err("its algorithm is not supported"),
        },
        (KeyData::Rsa(key), Algorithm::Rsa { hash: Some(hash) }) => {
            let parameters = match hash {
                HashAlg::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
                HashAlg::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
                _ => return Err("its hash algorithm is not supported"),
            };
            let part = |number: &Mpint| number.as_positive_bytes().map(<[u8]>::to_vec);
            let (Some(n), Some(e)) = (part(&key.n), part(&key.e)) else {
                return Err("its RSA key is malformed");
            };
            RsaPublicKeyComponents { n, e }.verify(parameters, data, bytes).map_err(|_| CHANGED)
        }
        _ => Err("its algorithm is not supported, or is not the one of its key"),
    }
}

fn plain(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    data: &[u8],
    signature: &[u8],
) -> Result<(), &'static str> {
    UnparsedPublicKey::new(algorithm, key).verify(data, signature).map_err(|_| CHANGED)
}

/// SSH writes ECDSA's two numbers as multiple-precision integers (RFC 5656, section 3.1.2); aws-lc
/// takes them side by side, each at full width.
fn fixed<const WIDTH: usize>(bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    let malformed = "its ECDSA numbers are malformed";
    let mut rest = bytes;
    let mut out = Vec::with_capacity(2 * WIDTH);
    for _ in 0..2 {
        let (length, after) = rest.split_first_chunk().ok_or(malformed)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| malformed)?;
        let (number, after) = after.split_at_checked(length).ok_or(malformed)?;
        let number = Mpint::from_bytes(number).map_err(|_| malformed)?;
        let digits = number.as_positive_bytes().ok_or(malformed)?;
        let padding = WIDTH.checked_sub(digits.len()).ok_or(malformed)?;
        out.resize(out.len() + padding, 0);
        out.extend_from_slice(digits);
        rest = after;
    }
    Ok(out)
}
