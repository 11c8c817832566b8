//! A key in a token (PKCS #11): it is asked to sign, and the key never leaves it.
//!
//! A session can end at any time: the token is taken out, its network is away, somebody logs out.
//! Then it is opened and logged in once again, and what was to be signed is signed; where that
//! fails, too, the caller is told and tries again later. The module is loaded with dlopen and
//! initialised once a process; `cryptoki` does both, so that there is no unsafe code here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Failed, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use tidegate_ids::Digest;
use tidegate_source::{PublicKey, Signer};

use crate::{Address, Error};

/// The curves, as tokens name them: P-256 and Ed25519 by object identifier, Ed25519 by name too.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519: [&[u8]; 2] = [&[0x06, 0x03, 0x2b, 0x65, 0x70], b"\x13\x0cedwards25519"];
const OCTET_STRING: u8 = 0x04;

/// A module must be loaded once and stays loaded.
static LOADED: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// The library through which tokens are reached.
pub(crate) struct Module(Pkcs11);

impl Module {
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let wrong = |error: Failed| Error::Module { path: path.to_owned(), why: error.to_string() };
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded.get(path) {
            return Ok(Self(module.clone()));
        }
        let module = Pkcs11::new(path).map_err(wrong)?;
        initialise(&module).map_err(wrong)?;
        loaded.insert(path.to_owned(), module.clone());
        Ok(Self(module))
    }
}

fn initialise(module: &Pkcs11) -> Result<(), Failed> {
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(Failed::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        other => other,
    }
}

/// Why a token did not do it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) why: String,
    /// The PIN is wrong: trying it again would lock the token.
    pub(crate) wrong_pin: bool,
    /// The session is gone: another one may do it.
    lost: bool,
}

impl Failure {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), wrong_pin: false, lost: false }
    }
}

impl From<Failed> for Failure {
    fn from(error: Failed) -> Self {
        let Failed::Pkcs11(code, _) = &error else { return Self::new(error.to_string()) };
        let lost = matches!(
            code,
            RvError::SessionHandleInvalid
                | RvError::SessionClosed
                | RvError::UserNotLoggedIn
                | RvError::ObjectHandleInvalid
                | RvError::KeyHandleInvalid
                | RvError::DeviceRemoved
                | RvError::DeviceError
                | RvError::TokenNotPresent
                | RvError::TokenNotRecognized
                | RvError::CryptokiNotInitialized
        );
        match code {
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => Self {
                wrong_pin: true,
                ..Self::new("the PIN is wrong; correct it in the environment's Secret")
            },
            RvError::PinLocked => Self {
                wrong_pin: true,
                ..Self::new(
                    "the PIN is locked after too many wrong ones; unlock it with the token's own tool and the security officer's PIN",
                )
            },
            _ => Self {
                lost,
                ..Self::new(format!("{error}; see whether the token is there and awake"))
            },
        }
    }
}

#[derive(Clone, Copy)]
enum Curve {
    P256,
    Ed25519,
}

/// A session that is logged in, and the key in it.
struct Seat {
    session: Session,
    key: ObjectHandle,
}

/// A key in a token.
pub(crate) struct Token {
    module: Arc<Module>,
    address: Address,
    pin: AuthPin,
    public: PublicKey,
    curve: Curve,
    seat: Mutex<Option<Seat>>,
}

impl Token {
    pub(crate) fn open(module: Arc<Module>, address: &Address, pin: &str) -> Result<Self, Failure> {
        let pin = AuthPin::from(pin.to_owned());
        let session = log_in(&module, address, &pin)?;
        let (public, curve) = public_key(&session, address)?;
        let key = the_key(&session, address, ObjectClass::PRIVATE_KEY)?;
        let id = |object| session.get_attributes(object, &[AttributeType::Id]);
        let public_half = the_key(&session, address, ObjectClass::PUBLIC_KEY)?;
        let (one, other) = (id(key)?, id(public_half)?);
        if format!("{one:?}") != format!("{other:?}") {
            return Err(Failure::new(format!(
                "the private and the public key labelled {:?} have different ids and do not belong together",
                address.object
            )));
        }
        let seat = Mutex::new(Some(Seat { session, key }));
        Ok(Self { module, address: address.clone(), pin, public, curve, seat })
    }

    fn sit_down(&self) -> Result<Seat, Failure> {
        let session = log_in(&self.module, &self.address, &self.pin)?;
        let (public, _) = public_key(&session, &self.address)?;
        if public != self.public {
            return Err(Failure::new(format!(
                "the key labelled {:?} is another one than before; use a new label for a new key",
                self.address.object
            )));
        }
        let key = the_key(&session, &self.address, ObjectClass::PRIVATE_KEY)?;
        Ok(Seat { session, key })
    }

    fn ask(&self, seat: &Seat, message: &[u8]) -> Result<Vec<u8>, Failure> {
        let signature = match self.curve {
            Curve::P256 => {
                let hash = Digest::of(message);
                seat.session.sign(&Mechanism::Ecdsa, seat.key, hash.bytes())
            }
            Curve::Ed25519 => {
                let pure = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure));
                seat.session.sign(&pure, seat.key, message)
            }
        };
        Ok(signature?)
    }
}

impl Signer for Token {
    fn public(&self) -> PublicKey {
        self.public.clone()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let mut place = self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |failure: Failure| format!("token {}: {}", self.address.token, failure.why);
        if let Some(seat) = &*place {
            match self.ask(seat, message) {
                Err(failure) if failure.lost => *place = None,
                other => return other.map_err(told),
            }
        }
        let seat = self.sit_down().map_err(told)?;
        let signature = self.ask(&seat, message).map_err(told)?;
        *place = Some(seat);
        Ok(signature)
    }
}

fn log_in(module: &Module, address: &Address, pin: &AuthPin) -> Result<Session, Failure> {
    let slot = match slot(module, address) {
        Err(failure) if failure.lost => {
            initialise(&module.0)?;
            slot(module, address)?
        }
        other => other?,
    };
    let session = module.0.open_ro_session(slot)?;
    match session.login(UserType::User, Some(pin)) {
        // All sessions of a process with a token are logged in together.
        Ok(()) | Err(Failed::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
        Err(error) => Err(error.into()),
    }
}

fn slot(module: &Module, address: &Address) -> Result<Slot, Failure> {
    let mut labels = Vec::new();
    let mut found = Vec::new();
    for slot in module.0.get_slots_with_initialized_token()? {
        let label = module.0.get_token_info(slot)?.label().trim_end().to_owned();
        if label == address.token {
            found.push(slot);
        }
        labels.push(label);
    }
    match found.as_slice() {
        [slot] => Ok(*slot),
        [] => Err(Failure::new(format!(
            "there is no such token; there are: {}",
            if labels.is_empty() { "none".to_owned() } else { labels.join(", ") }
        ))),
        _ => Err(Failure::new("several tokens have this label; give them different ones")),
    }
}

/// The only object of a class with the key's label.
fn the_key(
    session: &Session,
    address: &Address,
    class: ObjectClass,
) -> Result<ObjectHandle, Failure> {
    let label = Attribute::Label(address.object.clone().into_bytes());
    let found = session.find_objects(&[Attribute::Class(class), label])?;
    let half = if class == ObjectClass::PUBLIC_KEY { "public" } else { "private" };
    match found.as_slice() {
        [key] => Ok(*key),
        [] => Err(Failure::new(format!("it has no {half} key labelled {:?}", address.object))),
        _ => Err(Failure::new(format!(
            "it has several {half} keys labelled {:?}; give them different labels",
            address.object
        ))),
    }
}

fn public_key(session: &Session, address: &Address) -> Result<(PublicKey, Curve), Failure> {
    let key = the_key(session, address, ObjectClass::PUBLIC_KEY)?;
    let wanted = [AttributeType::EcParams, AttributeType::EcPoint];
    let (mut curve, mut point) = (Vec::new(), Vec::new());
    for attribute in session.get_attributes(key, &wanted)? {
        match attribute {
            Attribute::EcParams(bytes) => curve = bytes,
            Attribute::EcPoint(bytes) => point = bytes,
            _ => {}
        }
    }
    // The point is wrapped in an octet string; some tokens leave that out.
    let bare = match point.as_slice() {
        [OCTET_STRING, length, rest @ ..] if usize::from(*length) == rest.len() => rest,
        all => all,
    };
    let (public, curve) = if curve == P256 {
        (PublicKey::from_p256(bare, &address.object), Curve::P256)
    } else if ED25519.contains(&curve.as_slice()) {
        (PublicKey::from_ed25519(bare, &address.object), Curve::Ed25519)
    } else {
        return Err(Failure::new(format!(
            "the key labelled {:?} is neither an Ed25519 nor an ECDSA P-256 key",
            address.object
        )));
    };
    Ok((public.map_err(|error| Failure::new(error.to_string()))?, curve))
}

#[cfg(test)]
mod tests;
