//! `tidegate keys`: the keys that environments sign with.
//!
//! `list` reads Syncs, which state every key that counts: whoever may read those may check what
//! was signed, without a right on any Secret. `rotate` and `retire` write the environment's
//! Secret in the engine's namespace; the private half of a new key is made there and then, or
//! stays in the token where it is.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use tidegate_ids::{Digest, EnvironmentName};
use tidegate_keys::{ACCEPTED, Address, FILE, PIN, PIN_FILE, PKCS11, PRIVATE_KEY, secret_name};
use tidegate_schemas::Sync;
use tidegate_source::{PublicKey, SigningKey};

use crate::failure::{Code, Failure, from_api};
use crate::session::{Connection, Session, list, print, show};
use crate::text::table;

/// Lists, rotates and retires the keys that environments sign with.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    List(List),
    Rotate(Rotate),
    Retire(Retire),
}

/// Every key whose signature counts, as the Syncs of this namespace state them.
#[derive(clap::Args, Debug)]
struct List {
    /// Only of this environment.
    #[arg(long)]
    env: Option<EnvironmentName>,
    /// As a table, as lines of OpenSSH, or as PEM for cosign and slsa-verifier.
    #[arg(short, long, value_enum, default_value_t = Form::Table)]
    output: Form,
}

#[derive(clap::ValueEnum, Debug, Clone, Copy)]
enum Form {
    Table,
    Ssh,
    Pem,
}

/// Gives an environment a new key; the one it had is accepted beside it until it is retired.
#[derive(clap::Args, Debug)]
struct Rotate {
    /// The environment.
    #[arg(long)]
    env: EnvironmentName,
    /// The new key is in a token: pkcs11:token=LABEL;object=LABEL. The Secret keeps its PIN.
    #[arg(long, value_name = "URI", conflicts_with = "file")]
    pkcs11: Option<Address>,
    /// The new key is in this file of the engine's.
    #[arg(long, value_name = "PATH")]
    file: Option<String>,
    /// A file with the token's PIN, where the Secret has none yet.
    #[arg(long, value_name = "FILE", requires = "pkcs11")]
    pin: Option<std::path::PathBuf>,
    /// The namespace of the engine.
    #[arg(long, default_value = tidegate_schemas::SYSTEM_NAMESPACE)]
    system_namespace: String,
}

/// Ends the acceptance of every key of an environment but the one that signs.
#[derive(clap::Args, Debug)]
struct Retire {
    /// The environment.
    #[arg(long)]
    env: EnvironmentName,
    /// Only this key, by its fingerprint as `tidegate keys list` shows it.
    #[arg(long, value_name = "SHA256:...")]
    key: Option<String>,
    /// The namespace of the engine.
    #[arg(long, default_value = tidegate_schemas::SYSTEM_NAMESPACE)]
    system_namespace: String,
}

/// Carries it out.
///
/// # Errors
/// When something may not be read or written, or a key is not what was said.
pub async fn run(connection: &Connection, args: Args) -> Result<(), Failure> {
    let session = connection.open().await?;
    match args.what {
        What::List(args) => {
            let keys = stated(&list::<Sync>(&session.here()).await?, args.env.as_ref())?;
            match args.output {
                Form::Table => show(&in_columns(&keys)),
                Form::Ssh => print(&in_lines(&keys, |key| Some(format!("{key}\n")))),
                Form::Pem => print(&in_lines(&keys, PublicKey::pem)),
            }
        }
        What::Rotate(args) => rotate(&session, args).await,
        What::Retire(args) => retire(&session, args).await,
    }
}

/// A key that counts.
struct Stated {
    environment: String,
    verifier: String,
    signs: bool,
    key: PublicKey,
}

/// The keys that Syncs state, each once for an environment, the one that signs first.
fn stated(syncs: &[Sync], only: Option<&EnvironmentName>) -> Result<Vec<Stated>, Failure> {
    let mut found: BTreeMap<String, Vec<Stated>> = BTreeMap::new();
    for sync in syncs {
        let Some(verify) = &sync.spec.verify else { continue };
        let Some(environment) = verify.trailers.get("Tidegate-Environment") else { continue };
        if only.is_some_and(|only| only.as_str() != environment) {
            continue;
        }
        let trailer = |name: &str| verify.trailers.get(name).cloned().unwrap_or_default();
        let verifier = tidegate_provenance::Verifier {
            cluster: trailer("Tidegate-Cluster"),
            namespace: trailer("Tidegate-Namespace"),
            environment: environment.clone(),
        };
        let known = found.entry(environment.clone()).or_default();
        for (place, text) in verify.keys.iter().enumerate() {
            let key: PublicKey = text.parse().map_err(|error: tidegate_source::Error| {
                Failure::from(format!("reading the keys of environment {environment}: {error}"))
            })?;
            if known.iter().all(|other| other.key != key) {
                let environment = environment.clone();
                known.push(Stated { environment, verifier: verifier.id(), signs: place == 0, key });
            }
        }
    }
    if found.is_empty() {
        return Err(Failure::from(
            "no Sync of this namespace states a key: name the pipelines' namespace with -n, or wait until the engine has made their Syncs",
        ));
    }
    Ok(found.into_values().flatten().collect())
}

fn in_columns(keys: &[Stated]) -> String {
    let spki = |key: &PublicKey| key.spki().map(|spki| Digest::of(&spki).to_string());
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|one| {
            vec![
                one.environment.clone(),
                if one.signs { "signs" } else { "accepted" }.to_owned(),
                one.key.fingerprint(),
                spki(&one.key).unwrap_or_default(),
                one.verifier.clone(),
            ]
        })
        .collect();
    table(&["ENVIRONMENT", "STATE", "SSH", "SPKI", "VERIFIER"], &rows)
}

/// Each key after a line that says whose it is.
fn in_lines(keys: &[Stated], form: impl Fn(&PublicKey) -> Option<String>) -> String {
    let line = |one: &Stated| {
        let state = if one.signs { "signs" } else { "is accepted" };
        let fingerprint = one.key.fingerprint();
        let form = form(&one.key)?;
        Some(format!("# {} {state} {fingerprint}\n{form}", one.environment))
    };
    keys.iter().filter_map(line).collect()
}

async fn rotate(session: &Session, args: Rotate) -> Result<(), Failure> {
    let (secrets, name) = place(session, &args.env, &args.system_namespace);
    let mut secret = read(&secrets, &name).await?;
    let entries = secret.data.get_or_insert_default();
    let current = match entries.get(PRIVATE_KEY) {
        Some(key) => SigningKey::from_openssh(&String::from_utf8_lossy(&key.0))
            .map_err(|error| {
                Failure::from(format!(
                    "reading the entry {PRIVATE_KEY} of the Secret {name}: {error}"
                ))
            })?
            .public(),
        // What is in a token or a file of the engine's, only the engine knows.
        None => current(session, &args.env).await?,
    };
    let pin = match &args.pin {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
            Failure::from(format!("reading the PIN from {}: {error}", path.display()))
        })?),
        None => None,
    };
    let place = match (&args.pkcs11, args.file) {
        (Some(address), _) => New::Token(address, pin),
        (None, Some(path)) => New::File(path),
        (None, None) => New::Made(SigningKey::generate().map_err(|e| e.to_string())?),
    };
    exchange(entries, &current, &place)?;
    replace(&secrets, &name, &secret).await?;
    let told = match &place {
        New::Made(key) => format!("the new key of {} is {}", args.env, key.public().fingerprint()),
        New::Token(address, _) => {
            format!(
                "the new key of {} is {:?} in token {}",
                args.env, address.object, address.token
            )
        }
        New::File(path) => format!("the new key of {} is in {path}", args.env),
    };
    show(&format!(
        "{told}; {} is accepted beside it until: tidegate keys retire --env {}\n",
        current.fingerprint(),
        args.env
    ))
}

/// Where a new key is.
enum New<'a> {
    Made(SigningKey),
    File(String),
    Token(&'a Address, Option<String>),
}

/// Puts a new key into the place of the current one, which is accepted from then on.
fn exchange(
    entries: &mut BTreeMap<String, ByteString>,
    current: &PublicKey,
    new: &New<'_>,
) -> Result<(), Failure> {
    let mut accepted = accepted(entries)?;
    if !accepted.contains(current) {
        accepted.push(current.clone());
    }
    let mut set = |name: &str, text: String| {
        entries.insert(name.to_owned(), ByteString(text.into_bytes()));
    };
    set(ACCEPTED, lines(&accepted));
    let here = match new {
        New::Made(key) => {
            set(PRIVATE_KEY, key.to_openssh().map_err(|error| error.to_string())?);
            PRIVATE_KEY
        }
        New::File(path) => {
            set(FILE, path.clone());
            FILE
        }
        New::Token(address, pin) => {
            let escaped = |text: &str| {
                text.bytes().fold(String::new(), |out, byte| match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                        out + &char::from(byte).to_string()
                    }
                    _ => out + &format!("%{byte:02X}"),
                })
            };
            let (token, object) = (escaped(&address.token), escaped(&address.object));
            set(PKCS11, format!("pkcs11:token={token};object={object}"));
            if let Some(pin) = pin {
                set(PIN, pin.trim().to_owned());
            }
            PKCS11
        }
    };
    for other in [PRIVATE_KEY, FILE, PKCS11].into_iter().filter(|other| *other != here) {
        entries.remove(other);
    }
    if here != PKCS11 {
        entries.remove(PIN);
        entries.remove(PIN_FILE);
    } else if !entries.contains_key(PIN) && !entries.contains_key(PIN_FILE) {
        return Err(Failure::new(
            Code::Usage,
            "the Secret has no PIN of a token yet: give a file with it by --pin",
        ));
    }
    Ok(())
}

async fn retire(session: &Session, args: Retire) -> Result<(), Failure> {
    let (secrets, name) = place(session, &args.env, &args.system_namespace);
    let mut secret = read(&secrets, &name).await?;
    let entries = secret.data.get_or_insert_default();
    let known = accepted(entries)?;
    let (kept, retired): (Vec<_>, Vec<_>) = known
        .into_iter()
        .partition(|key| args.key.as_ref().is_some_and(|only| key.fingerprint() != *only));
    if retired.is_empty() {
        return Err(Failure::from(format!(
            "environment {} accepts no such key beside the one that signs; see tidegate keys list",
            args.env
        )));
    }
    if kept.is_empty() {
        entries.remove(ACCEPTED);
    } else {
        entries.insert(ACCEPTED.to_owned(), ByteString(lines(&kept).into_bytes()));
    }
    replace(&secrets, &name, &secret).await?;
    let retired: Vec<String> = retired.iter().map(PublicKey::fingerprint).collect();
    show(&format!("{} is not accepted in {} any more\n", retired.join(", "), args.env))
}

fn accepted(entries: &BTreeMap<String, ByteString>) -> Result<Vec<PublicKey>, Failure> {
    let text = entries.get(ACCEPTED).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
    let text = text.unwrap_or_default();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .map(str::parse)
        .collect::<Result<_, tidegate_source::Error>>()
        .map_err(|error| Failure::from(format!("reading the Secret's entry {ACCEPTED}: {error}")))
}

fn lines(keys: &[PublicKey]) -> String {
    keys.iter().flat_map(|key| [key.to_string(), "\n".to_owned()]).collect()
}

/// The key that signs now, as the Syncs state it.
async fn current(session: &Session, environment: &EnvironmentName) -> Result<PublicKey, Failure> {
    let keys = stated(&list::<Sync>(&session.here()).await?, Some(environment))?;
    let signs = keys.into_iter().find(|one| one.signs);
    signs.map(|one| one.key).ok_or_else(|| Failure::from("no Sync states the key that signs"))
}

fn place(session: &Session, environment: &EnvironmentName, system: &str) -> (Api<Secret>, String) {
    let secrets = Api::namespaced(session.client.clone(), system);
    (secrets, secret_name(&session.namespace, environment.as_str()))
}

async fn read(secrets: &Api<Secret>, name: &str) -> Result<Secret, Failure> {
    secrets.get(name).await.map_err(|e| from_api(&format!("reading the Secret {name}"), &e))
}

/// Somebody who wrote it in between is not overwritten: the version that was read must stand.
async fn replace(secrets: &Api<Secret>, name: &str, secret: &Secret) -> Result<(), Failure> {
    let written = secrets.replace(name, &PostParams::default(), secret).await;
    written.map(|_| ()).map_err(|e| from_api(&format!("writing the Secret {name}"), &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(of: &[(&str, &str)]) -> BTreeMap<String, ByteString> {
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        of.iter().map(|(name, text)| ((*name).to_owned(), bytes(text))).collect()
    }

    fn names(entries: &BTreeMap<String, ByteString>) -> Vec<&str> {
        entries.keys().map(String::as_str).collect()
    }

    #[test]
    fn a_new_key_takes_over_and_the_former_ones_are_accepted() {
        let keys: Vec<_> = (0..3).map(|_| SigningKey::generate().unwrap()).collect();
        let mut secret = entries(&[(PRIVATE_KEY, &keys[0].to_openssh().unwrap())]);
        for pair in keys.windows(2) {
            exchange(&mut secret, &pair[0].public(), &New::Made(pair[1].clone())).unwrap();
        }
        let text = String::from_utf8(secret[PRIVATE_KEY].0.clone()).unwrap();
        assert_eq!(SigningKey::from_openssh(&text).unwrap().public(), keys[2].public());
        assert_eq!(accepted(&secret).unwrap(), [keys[0].public(), keys[1].public()]);
    }

    #[test]
    fn a_key_moves_into_a_token_and_leaves_nothing_behind() {
        let old = SigningKey::generate().unwrap();
        let address: Address = "pkcs11:token=hospital%20one;object=production".parse().unwrap();
        let mut secret = entries(&[(PRIVATE_KEY, &old.to_openssh().unwrap())]);
        let error = exchange(&mut secret.clone(), &old.public(), &New::Token(&address, None));
        assert_eq!(error.unwrap_err().code, Code::Usage);
        let pin = Some("1234\n".to_owned());
        exchange(&mut secret, &old.public(), &New::Token(&address, pin)).unwrap();
        assert_eq!(names(&secret), [ACCEPTED, PIN, PKCS11]);
        assert_eq!(secret[PIN].0, b"1234");
        assert_eq!(secret[PKCS11].0, b"pkcs11:token=hospital%20one;object=production",);
        let file = New::File("/var/run/keys/production".to_owned());
        exchange(&mut secret, &old.public(), &file).unwrap();
        assert_eq!(names(&secret), [ACCEPTED, FILE]);
    }
}
