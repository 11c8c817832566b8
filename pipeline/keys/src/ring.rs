//! What the Secret of an environment's keys says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_ids::Digest;
use tidegate_source::{PublicKey, SigningKey};

use crate::token::{Module, Token};
use crate::{Address, Error};

/// The entry that is the key itself, in OpenSSH's form.
pub const PRIVATE_KEY: &str = "ssh-privatekey";
/// The entry that names a file with the key, in OpenSSH's form.
pub const FILE: &str = "file";
/// The entry that names a key in a token; see [`Address`].
pub const PKCS11: &str = "pkcs11";
/// The entry with the token's PIN.
pub const PIN: &str = "pin";
/// The entry that names a file with the token's PIN.
pub const PIN_FILE: &str = "pin-file";
/// The entry with the public keys that are accepted beside the one that signs, one a line.
pub const ACCEPTED: &str = "accepted";

/// What the name of every Secret of keys begins with.
pub const PREFIX: &str = "tidegate-signing-";

/// The name of the Secret with the keys of an environment.
#[must_use]
pub fn secret_name(namespace: &str, environment: &str) -> String {
    format!("{PREFIX}{namespace}-{environment}")
}

/// The keys of an environment.
#[derive(Debug, Clone)]
pub struct Ring {
    /// The key that signs.
    pub signing: SigningKey,
    /// The keys that are accepted beside it.
    pub accepted: Vec<PublicKey>,
}

impl Ring {
    /// Every key whose signature counts, the one that signs first.
    #[must_use]
    pub fn public(&self) -> Vec<PublicKey> {
        let signing = self.signing.public();
        let others = self.accepted.iter().filter(|key| **key != signing).cloned().collect();
        [vec![signing.clone()], others].concat()
    }
}

/// Opens keys, and keeps the sessions with their tokens.
#[derive(Default)]
pub struct Vault {
    module: Option<PathBuf>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    module: Option<Arc<Module>>,
    tokens: BTreeMap<(Address, Digest), Arc<Token>>,
    /// PINs that a token refused: it locks itself after a few tries.
    refused: BTreeSet<(Address, Digest)>,
}

impl Vault {
    /// With the library through which tokens are reached, if there are any.
    #[must_use]
    pub fn new(module: Option<PathBuf>) -> Self {
        Self { module, open: Mutex::default() }
    }

    /// The keys that a Secret's entries name.
    ///
    /// # Errors
    /// When an entry is missing or wrong, or the token does not open.
    pub fn open(&self, entries: &BTreeMap<String, Vec<u8>>) -> Result<Ring, Error> {
        let text = |entry: &str| {
            entries.get(entry).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let places: Vec<&str> =
            [PRIVATE_KEY, FILE, PKCS11].into_iter().filter(|e| entries.contains_key(*e)).collect();
        let signing = match (places.as_slice(), text(places.first().copied().unwrap_or_default())) {
            ([PRIVATE_KEY], Some(key)) => private_key(PRIVATE_KEY, &key)?,
            ([FILE], Some(path)) => private_key(FILE, &file(FILE, &path)?)?,
            ([PKCS11], Some(address)) => {
                let pin = match (text(PIN), text(PIN_FILE)) {
                    (Some(pin), None) => pin,
                    (None, Some(path)) => file(PIN_FILE, &path)?,
                    _ => {
                        let why = "beside it exactly one of pin and pin-file must stand".to_owned();
                        return Err(Error::Entry { entry: PKCS11, why });
                    }
                };
                self.token(&address.parse()?, pin.trim())?
            }
            _ => {
                let found = if places.is_empty() { "none".to_owned() } else { places.join(", ") };
                return Err(Error::Place { found });
            }
        };
        let accepted = text(ACCEPTED).unwrap_or_default();
        let lines = accepted.lines().map(str::trim).filter(|line| !line.is_empty());
        let accepted = lines.map(str::parse).collect::<Result<Vec<PublicKey>, _>>();
        let accepted = accepted.map_err(|error| entry(ACCEPTED, &error))?;
        Ok(Ring { signing, accepted })
    }

    fn token(&self, address: &Address, pin: &str) -> Result<SigningKey, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (address.clone(), Digest::of(pin.as_bytes()));
        if let Some(token) = open.tokens.get(&name) {
            return Ok(SigningKey::elsewhere(Arc::clone(token) as _));
        }
        if open.refused.contains(&name) {
            let why =
                "it refused the PIN, which is not tried again before it is another one in the \
                       Secret: a token locks itself after a few wrong ones"
                    .to_owned();
            return Err(Error::Token { token: address.token.clone(), why });
        }
        let module = if let Some(module) = &open.module {
            Arc::clone(module)
        } else {
            let path: &Path = self.module.as_deref().ok_or(Error::NoModule)?;
            Arc::clone(open.module.insert(Arc::new(Module::load(path)?)))
        };
        match Token::open(module, address, pin) {
            Ok(token) => {
                let token = Arc::new(token);
                open.tokens.insert(name, Arc::clone(&token));
                Ok(SigningKey::elsewhere(token))
            }
            Err(failure) => {
                if failure.wrong_pin {
                    open.refused.insert(name);
                }
                Err(Error::Token { token: address.token.clone(), why: failure.why })
            }
        }
    }
}

fn entry(entry: &'static str, error: &tidegate_source::Error) -> Error {
    Error::Entry { entry, why: error.to_string() }
}

fn private_key(place: &'static str, text: &str) -> Result<SigningKey, Error> {
    SigningKey::from_openssh(text).map_err(|error| entry(place, &error))
}

fn file(entry: &'static str, path: &str) -> Result<String, Error> {
    let path = PathBuf::from(path.trim());
    std::fs::read_to_string(&path).map_err(|error| Error::File {
        entry,
        path,
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(of: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        of.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn the_new_key_signs_and_the_old_one_is_still_accepted() {
        let (old, new) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let accepted = format!("{}\n{}\n", old.public(), new.public());
        let text = new.to_openssh().unwrap();
        let ring = Vault::default()
            .open(&entries(&[(PRIVATE_KEY, &text), (ACCEPTED, &accepted)]))
            .unwrap();
        assert_eq!(ring.signing.public(), new.public());
        assert_eq!(ring.public(), [new.public(), old.public()]);
    }

    #[test]
    fn a_key_in_a_file_is_read_from_it() {
        let key = SigningKey::generate().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("production");
        std::fs::write(&path, key.to_openssh().unwrap()).unwrap();
        let path = path.display().to_string();
        let ring = Vault::default().open(&entries(&[(FILE, &path)])).unwrap();
        assert_eq!(ring.signing.public(), key.public());
        let error =
            Vault::default().open(&entries(&[(FILE, &format!("{path}.gone"))])).unwrap_err();
        assert!(error.to_string().contains("mount it into the engine's pod"), "{error}");
    }

    #[test]
    fn what_names_no_one_key_says_what_is_wrong() {
        let key = SigningKey::generate().unwrap().to_openssh().unwrap();
        let uri = "pkcs11:token=a;object=b";
        let cases: [(&[(&str, &str)], &str); 7] = [
            (&[], "has none"),
            (&[(PRIVATE_KEY, &key), (PKCS11, uri)], "has ssh-privatekey, pkcs11"),
            (&[(PRIVATE_KEY, "rubbish")], "its entry ssh-privatekey: "),
            (&[(PRIVATE_KEY, &key), (ACCEPTED, "rubbish")], "its entry accepted: "),
            (&[(PKCS11, uri)], "exactly one of pin and pin-file"),
            (&[(PKCS11, uri), (PIN, "1"), (PIN_FILE, "/f")], "exactly one of pin and pin-file"),
            (&[(PKCS11, uri), (PIN, "1234")], "--pkcs11-module"),
        ];
        for (of, why) in cases {
            let error = Vault::default().open(&entries(of)).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("1234") && !error.contains("PRIVATE KEY"), "{error}");
        }
        let nowhere = Vault::new(Some(PathBuf::from("/nowhere/module.so")));
        let error = nowhere.open(&entries(&[(PKCS11, uri), (PIN, "1")])).unwrap_err().to_string();
        assert!(error.starts_with("loading the PKCS #11 module /nowhere/module.so: "), "{error}");
    }
}
