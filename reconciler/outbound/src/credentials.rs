//! Credentials of registries, as Kubernetes and Docker keep them.
//!
//! Pull secrets and Docker's configuration are read as bytes; nothing is looked up and no program
//! is started, so credential helpers are refused by name. An entry is for the registry that it
//! names, or for what is below its path there, and the longest path wins. What is secret is in no
//! message and no debug output.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use crate::Error;
use crate::name::DOCKER_HUB;

/// The user name that says "the password is a refresh token" (Azure Container Registry).
const NULL_USER: &str = "00000000-0000-0000-0000-000000000000";
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What proves who asks. Secrets are never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// A user with a password or access token, such as `AWS`, `_json_key` or a robot account.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token, which the registry's token server exchanges for short-lived ones.
    Identity(String),
    /// A bearer token that the registry takes as it is.
    Bearer(String),
}

impl Credentials {
    /// Who asks, without the secret.
    pub(crate) fn who(&self) -> String {
        match self {
            Self::Basic { user, .. } => {
                format!("user {:?}", user.chars().take(100).collect::<String>())
            }
            Self::Identity(_) => "an identity token".to_owned(),
            Self::Bearer(_) => "a registry token".to_owned(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.who())
    }
}

/// Credentials by registry and path.
#[derive(Debug, Clone, Default)]
pub struct Keychain {
    entries: Arc<Vec<Entry>>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// The host with its port; `*` stands for any part of one label.
    registry: String,
    path: String,
    credentials: Credentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    auths: Option<BTreeMap<String, Auth>>,
    creds_store: Option<String>,
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
struct Auth {
    #[serde(rename = "auth")]
    pair: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Keychain {
    /// Reads `.dockerconfigjson` of a Secret of type `kubernetes.io/dockerconfigjson`, or Docker's
    /// `config.json`. `of` names it in messages.
    ///
    /// # Errors
    /// When it cannot be read, or asks for a credential helper.
    pub fn docker_config(bytes: &[u8], of: &str) -> Result<Self, Error> {
        let config: Config = read(bytes, of)?;
        let helpers = config.cred_helpers.unwrap_or_default().into_values();
        let mut programs = config.creds_store.into_iter().chain(helpers);
        if let Some(program) = programs.find(|program| !program.is_empty()) {
            let program: String = program.escape_debug().take(60).collect();
            let why = format!(
                "it keeps credentials with the program docker-credential-{program}, and no program \
                 is started for them; put them into auths, or use a pull secret"
            );
            return Err(Error::Credentials { of: of.to_owned(), why });
        }
        Self::of(config.auths.unwrap_or_default(), of)
    }

    /// Reads `.dockercfg` of a Secret of type `kubernetes.io/dockercfg`. `of` names it in messages.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn docker_cfg(bytes: &[u8], of: &str) -> Result<Self, Error> {
        Self::of(read(bytes, of)?, of)
    }

    fn of(auths: BTreeMap<String, Auth>, of: &str) -> Result<Self, Error> {
        let mut entries = Vec::new();
        for (key, auth) in auths {
            let (registry, path) = place(&key);
            let wrong = |why: &str| {
                let key: String = key.escape_debug().take(300).collect();
                Error::Credentials { of: of.to_owned(), why: format!("the entry {key:?} {why}") }
            };
            if registry.is_empty() {
                return Err(wrong("names no registry"));
            }
            if let Some(credentials) = auth.credentials().map_err(wrong)? {
                entries.push(Entry { registry, path, credentials });
            }
        }
        Ok(Self { entries: Arc::new(entries) })
    }

    /// These, and behind them those of another keychain.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        Arc::make_mut(&mut self.entries).extend(other.entries.iter().cloned());
        self
    }

    /// Credentials for a registry (`host[:port]`), or for what is below a path there
    /// (`host[:port]/path`).
    #[must_use]
    pub fn with(mut self, place_of: &str, credentials: Credentials) -> Self {
        let (registry, path) = place(place_of);
        Arc::make_mut(&mut self.entries).push(Entry { registry, path, credentials });
        self
    }

    /// What to show to a registry for a repository: of the longest path, the first.
    pub(crate) fn find(&self, registry: &str, path: &str) -> Option<&Credentials> {
        let registry = canonical(registry);
        let fits = |entry: &&Entry| fits(&entry.registry, registry) && below(&entry.path, path);
        let longest = |best: &'_ Entry, one: &'_ Entry| {
            (one.path.len(), one.registry == registry)
                > (best.path.len(), best.registry == registry)
        };
        let found = self.entries.iter().filter(fits);
        found
            .reduce(|best, one| if longest(best, one) { one } else { best })
            .map(|e| &e.credentials)
    }
}

impl Auth {
    fn credentials(self) -> Result<Option<Credentials>, &'static str> {
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = some(self.registrytoken) {
            return Ok(Some(Credentials::Bearer(token)));
        }
        if let Some(token) = some(self.identitytoken) {
            return Ok(Some(Credentials::Identity(token)));
        }
        let (user, password) = if let Some(auth) = some(self.pair) {
            let unreadable = "has an auth that is not user:password in Base64";
            let bytes = ANY_PADDING.decode(auth.trim()).map_err(|_| unreadable)?;
            let text = String::from_utf8(bytes).map_err(|_| unreadable)?;
            let (user, password) = text.split_once(':').ok_or(unreadable)?;
            // Docker pads what it encodes.
            (user.to_owned(), password.trim_matches('\0').to_owned())
        } else if let (Some(user), Some(password)) = (some(self.username), some(self.password)) {
            (user, password)
        } else {
            return Ok(None);
        };
        Ok(Some(match user.as_str() {
            NULL_USER => Credentials::Identity(password),
            _ => Credentials::Basic { user, password },
        }))
    }
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8], of: &str) -> Result<T, Error> {
    // The parser's own message may quote a secret.
    serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let why = format!("it is not a Docker configuration: line {line}, column {column}");
        Error::Credentials { of: of.to_owned(), why }
    })
}

/// Registry and path of a key, which may have a scheme and, of old, an API version.
fn place(key: &str) -> (String, String) {
    let key = key.trim();
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (registry, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = path.trim_matches('/');
    let versioned = |version: &str| match path.strip_prefix(version)? {
        "" => Some(""),
        rest => rest.strip_prefix('/'),
    };
    let path = versioned("v1").or_else(|| versioned("v2")).unwrap_or(path);
    (canonical(&registry.to_ascii_lowercase()).to_owned(), path.to_owned())
}

/// Docker Hub has several names.
fn canonical(registry: &str) -> &str {
    match registry.strip_suffix(":443").unwrap_or(registry) {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => DOCKER_HUB,
        other => other,
    }
}

/// Whether a registry is meant by a pattern: label by label, and the port exactly.
fn fits(pattern: &str, registry: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == registry;
    }
    let split = |text: &str| text.rsplit_once(':').map(|(a, b)| (a.to_owned(), b.to_owned()));
    let of = |text: &str| split(text).unwrap_or((text.to_owned(), String::new()));
    let ((pattern, own_port), (registry, port)) = (of(pattern), of(registry));
    own_port == port
        && pattern.split('.').count() == registry.split('.').count()
        && pattern.split('.').zip(registry.split('.')).all(|(p, label)| glob(p, label))
}

/// One `*` in a label; more of them could take long to match.
fn glob(pattern: &str, label: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == label };
    label.strip_prefix(head).is_some_and(|rest| rest.ends_with(tail))
}

fn below(prefix: &str, path: &str) -> bool {
    prefix.is_empty()
        || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str, password: &str) -> Credentials {
        Credentials::Basic { user: user.to_owned(), password: password.to_owned() }
    }

    fn config(json: &serde_json::Value) -> Keychain {
        Keychain::docker_config(json.to_string().as_bytes(), "Secret clinic/pull").unwrap()
    }

    #[test]
    fn each_way_of_writing_credentials_is_read() {
        let keychain = config(&serde_json::json!({"auths": {
            // user:pa:ss, without padding
            "a.example": {"auth": "dXNlcjpwYTpzcw"},
            "b.example": {"username": "robot$clinic", "password": "hunter2"},
            "c.example": {"auth": "dXNlcjpwYTpzcw==", "identitytoken": "refresh"},
            "d.example": {"registrytoken": "bearer"},
            "clinic.azurecr.io": {"username": NULL_USER, "password": "refresh"},
            "e.example": {},
            "f.example": {"auth": "dXNlcjpwYXNzAAA=", "email": "a@b"},
        }}));
        let cases = [
            ("a.example", Some(basic("user", "pa:ss"))),
            ("b.example", Some(basic("robot$clinic", "hunter2"))),
            ("c.example", Some(Credentials::Identity("refresh".into()))),
            ("d.example", Some(Credentials::Bearer("bearer".into()))),
            ("clinic.azurecr.io", Some(Credentials::Identity("refresh".into()))),
            ("e.example", None),
            ("f.example", Some(basic("user", "pass"))),
            ("unknown.example", None),
        ];
        for (registry, expected) in cases {
            assert_eq!(keychain.find(registry, "odoo"), expected.as_ref(), "{registry}");
        }
        let older = br#"{"https://index.docker.io/v1/": {"auth": "dXNlcjpwYTpzcw=="}}"#;
        let older = Keychain::docker_cfg(older, "Secret clinic/old").unwrap();
        assert_eq!(older.find("docker.io", "library/redis"), Some(&basic("user", "pa:ss")));
    }

    #[test]
    fn credentials_go_to_the_registry_and_path_that_they_are_for() {
        let written = [
            "https://index.docker.io/v1/",
            "quay.io",
            "quay.io/hospital",
            "quay.io/hospital/odoo",
            "http://registry.example.com:5000/v2/",
            "*.azurecr.io",
            "exact.azurecr.io",
            "*.dkr.ecr.*.amazonaws.com",
        ];
        let keychain = written.into_iter().fold(Keychain::default(), |keychain, key| {
            keychain.with(key, Credentials::Bearer(key.to_owned()))
        });
        let cases = [
            ("docker.io", "library/redis", Some("https://index.docker.io/v1/")),
            ("registry-1.docker.io", "library/redis", Some("https://index.docker.io/v1/")),
            ("quay.io", "other/odoo", Some("quay.io")),
            ("quay.io", "hospital/erp", Some("quay.io/hospital")),
            ("quay.io", "hospitality/erp", Some("quay.io")),
            ("quay.io", "hospital/odoo", Some("quay.io/hospital/odoo")),
            ("quay.io:8443", "hospital/odoo", None),
            ("evil-quay.io", "hospital/odoo", None),
            ("registry.example.com:5000", "odoo", Some("http://registry.example.com:5000/v2/")),
            ("registry.example.com", "odoo", None),
            ("clinic.azurecr.io", "odoo", Some("*.azurecr.io")),
            ("exact.azurecr.io", "odoo", Some("exact.azurecr.io")),
            ("a.b.azurecr.io", "odoo", None),
            ("azurecr.io", "odoo", None),
            ("1.dkr.ecr.eu-central-1.amazonaws.com", "odoo", Some("*.dkr.ecr.*.amazonaws.com")),
        ];
        for (registry, path, expected) in cases {
            let expected = expected.map(|key| Credentials::Bearer(key.to_owned()));
            assert_eq!(keychain.find(registry, path), expected.as_ref(), "{registry}/{path}");
        }
    }

    #[test]
    fn of_several_secrets_the_first_that_fits_counts() {
        let first = config(&serde_json::json!({"auths": {"a.example": {"registrytoken": "1"}}}));
        let second = config(&serde_json::json!({"auths": {
            "a.example": {"registrytoken": "2"}, "b.example": {"registrytoken": "2"}}}));
        let both = first.and(&second);
        assert_eq!(both.find("a.example", "x"), Some(&Credentials::Bearer("1".into())));
        assert_eq!(both.find("b.example", "x"), Some(&Credentials::Bearer("2".into())));
    }

    #[test]
    fn what_starts_programs_or_cannot_be_read_is_refused_without_the_secret() {
        let cases = [
            (r#"{"credsStore":"desktop"}"#, "docker-credential-desktop"),
            (
                r#"{"credHelpers":{"a.example":"ecr-login"},"auths":{}}"#,
                "docker-credential-ecr-login",
            ),
            (r#"{"auths":{"a.example":{"auth":"hunter2"}}}"#, "a.example"),
            (r#"{"auths":{"a.example":{"auth":["hunter2"]}}}"#, "line 1"),
            (r#"{"auths":{"a.example":"hunter2"}}"#, "line 1"),
            (r#"{"auths":{"https://":{"registrytoken":"hunter2"}}}"#, "names no registry"),
            ("hunter2", "line 1"),
        ];
        for (text, expected) in cases {
            let error = Keychain::docker_config(text.as_bytes(), "Secret clinic/pull").unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(said.contains(expected) && said.contains("clinic/pull"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        let keychain = Keychain::default().with("a.example", basic("puller", "hunter2"));
        let said = format!("{keychain:?}");
        assert!(said.contains("puller") && !said.contains("hunter2"), "{said}");
    }
}
