//! On `SoftHSM`, a token in software: the module that tests and CI have.
//!
//! Its place is told by an environment variable when it is loaded, and a process can have one such
//! place only; so the tests run as one, in a process of its own.

use std::process::Command;

use cryptoki::object::KeyType;
use tidegate_source::SigningKey;

use super::*;
use crate::{PIN, PKCS11, Ring, Vault};

const INSIDE: &str = "TIDEGATE_TEST_TOKEN";
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

#[test]
fn keys_in_a_token_sign_and_stay_there() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let conf = folder.path().join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    std::fs::write(&conf, text).unwrap();
    for label in ["hospital", "other"] {
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", label, "--so-pin", "12345678"])
            .args(["--pin", "1234"])
            .env("SOFTHSM2_CONF", &conf)
            .output()
            .expect("softhsm2-util: apt-get install softhsm2");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "token::tests::inside", "--ignored", "--nocapture"])
        .env("SOFTHSM2_CONF", &conf)
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{told}{}", String::from_utf8_lossy(&run.stderr));
    assert!(told.contains("1 passed"), "{told}");
}

#[test]
#[ignore = "run by keys_in_a_token_sign_and_stay_there, with a place for tokens"]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    wrong_pins_are_told_and_tried_once();
    make("hospital", "production", &Mechanism::EccKeyPairGen, P256, b"\x01");
    make("hospital", "staging", &Mechanism::EccEdwardsKeyPairGen, ED25519[1], b"\x02");
    let vault = Vault::new(Some(MODULE.into()));
    for label in ["production", "staging"] {
        let ring = open(&vault, "hospital", label, "1234").unwrap();
        signs(&ring.signing);
        assert!(ring.signing.to_openssh().is_err());
    }
    stays_in_the_token();
    a_lost_session_is_opened_again();
    what_is_not_there_is_named(&vault);
    a_key_that_was_exchanged_is_noticed();
}

fn open(vault: &Vault, token: &str, object: &str, pin: &str) -> Result<Ring, Error> {
    let uri = format!("pkcs11:token={token};object={object}");
    let entries = [(PKCS11, uri.as_str()), (PIN, pin)];
    vault.open(&entries.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into())
}

fn module() -> Arc<Module> {
    Arc::new(Module::load(Path::new(MODULE)).unwrap())
}

fn address(token: &str, object: &str) -> Address {
    Address { token: token.to_owned(), object: object.to_owned() }
}

/// Makes a key as a hoster does with the token's own tools.
fn make(token: &str, label: &str, mechanism: &Mechanism, curve: &[u8], id: &[u8]) {
    let module = module();
    let slot = slot(&module, &address(token, label)).unwrap();
    let session = module.0.open_rw_session(slot).unwrap();
    match session.login(UserType::User, Some(&AuthPin::from("1234".to_owned()))) {
        Ok(()) | Err(Failed::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
        Err(error) => panic!("{error}"),
    }
    let both = |private: bool| {
        vec![
            Attribute::Token(true),
            Attribute::Private(private),
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Id(id.to_vec()),
        ]
    };
    let mut public = both(false);
    public.extend([Attribute::Verify(true), Attribute::EcParams(curve.to_vec())]);
    let mut private = both(true);
    private.extend([
        Attribute::Sign(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
    ]);
    session.generate_key_pair(mechanism, &public, &private).unwrap();
}

/// What it signs is checked by Git's own tool, with nothing but the public key.
fn signs(key: &SigningKey) {
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("key.pem");
    std::fs::write(&pem, key.public().pem().unwrap()).unwrap();
    let message = folder.path().join("message");
    std::fs::write(&message, b"what was said").unwrap();
    let signature = folder.path().join("signature");
    std::fs::write(&signature, key.sign(b"what was said").unwrap()).unwrap();
    let raw = key.public().to_string().starts_with("ssh-ed25519");
    let mut check = Command::new("openssl");
    check.args(["pkeyutl", "-verify", "-pubin", "-inkey"]).arg(&pem);
    check.arg("-rawin").arg("-in").arg(&message).arg("-sigfile").arg(&signature);
    if !raw {
        check.args(["-digest", "sha256"]);
    }
    let checked = check.output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

fn stays_in_the_token() {
    let (module, address) = (module(), address("hospital", "production"));
    let session = log_in(&module, &address, &AuthPin::from("1234".to_owned())).unwrap();
    let key = the_key(&session, &address, ObjectClass::PRIVATE_KEY).unwrap();
    let read = session.get_attributes(key, &[AttributeType::Value]).unwrap_or_default();
    assert!(read.is_empty(), "the private key came out of the token");
    let kind = session.get_attributes(key, &[AttributeType::KeyType]).unwrap();
    assert!(matches!(kind.as_slice(), [Attribute::KeyType(KeyType::EC)]), "{kind:?}");
}

fn a_lost_session_is_opened_again() {
    let address = address("hospital", "production");
    let token = Token::open(module(), &address, "1234").unwrap();
    token.sign(b"before").unwrap();
    token.seat.lock().unwrap().as_ref().unwrap().session.logout().unwrap();
    token.sign(b"after").unwrap();
    let after = token.seat.lock().unwrap().is_some();
    assert!(after, "the new session is kept");
}

/// Must come first: who is logged in once is logged in for the whole process.
fn wrong_pins_are_told_and_tried_once() {
    make("other", "key", &Mechanism::EccKeyPairGen, P256, b"\x01");
    let (module, other) = (module(), address("other", "key"));
    let session = module.0.open_ro_session(slot(&module, &other).unwrap()).unwrap();
    session.login(UserType::User, Some(&AuthPin::from("1234".to_owned()))).ok();
    session.logout().unwrap();
    let vault = Vault::new(Some(MODULE.into()));
    let told = |pin| open(&vault, "other", "key", pin).unwrap_err().to_string();
    assert_eq!(
        told("9999"),
        "token other: the PIN is wrong; correct it in the environment's Secret"
    );
    assert!(told("9999").contains("not tried again"), "{}", told("9999"));
    open(&vault, "other", "key", "1234").unwrap();
}

fn what_is_not_there_is_named(vault: &Vault) {
    let told = |token, object| open(vault, token, object, "1234").unwrap_err().to_string();
    assert!(told("nowhere", "key").contains("there is no such token; there are: "));
    assert_eq!(told("hospital", "gone"), "token hospital: it has no public key labelled \"gone\"");
}

fn a_key_that_was_exchanged_is_noticed() {
    let address = address("hospital", "exchanged");
    make("hospital", "exchanged", &Mechanism::EccKeyPairGen, P256, b"\x07");
    let token = Token::open(module(), &address, "1234").unwrap();
    let rw = module().0.open_rw_session(slot(&token.module, &address).unwrap()).unwrap();
    for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
        rw.destroy_object(the_key(&rw, &address, class).unwrap()).unwrap();
    }
    make("hospital", "exchanged", &Mechanism::EccKeyPairGen, P256, b"\x08");
    let why = token.sign(b"message").unwrap_err();
    assert!(why.contains("is another one than before"), "{why}");
}
