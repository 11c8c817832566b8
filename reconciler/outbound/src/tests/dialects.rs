//! The token dialects of well-known registries. Each stand-in is what its page says, has the
//! registry's own names, and refuses what the page does not allow.
//!
//! Common to all: <https://distribution.github.io/distribution/spec/auth/token/> (GET, `service`,
//! `scope` from the challenge, `token` or `access_token`, `expires_in` of 60 s by default) and
//! <https://distribution.github.io/distribution/spec/auth/oauth/> (POST with a refresh token).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::web::{Asked, Says, Web};
use crate::*;

/// How a token server is asked.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// GET, with this as `Authorization`, or without any.
    Get,
    /// POST of a form with a refresh token, and no `Authorization`.
    Refresh,
}

/// A registry with a token server, as a page states it.
#[derive(Clone)]
struct Dialect {
    registry: &'static str,
    /// Host and path of the token server.
    realm: (&'static str, &'static str),
    service: &'static str,
    way: Way,
    /// `user:password`, or the refresh token; nothing where anonymous pulls are allowed.
    secret: Option<&'static str>,
    /// What the answer is called, and what else it says.
    answer: (&'static str, &'static str),
    /// What this credential may do.
    may: &'static [&'static str],
}

/// Tokens that stand, with their scope.
type Tokens = Arc<Mutex<HashMap<String, String>>>;

impl Dialect {
    async fn start(self, web: &mut Web) -> Tokens {
        let tokens = Tokens::default();
        let issued = Arc::clone(&tokens);
        let mut names = vec![self.registry];
        if self.realm.0 != self.registry {
            names.push(self.realm.0);
        }
        let count = AtomicUsize::new(0);
        let answers = move |asked: &Asked| {
            if (asked.host.as_str(), asked.path.as_str()) == self.realm {
                let number = count.fetch_add(1, Ordering::SeqCst);
                return self.token(asked, &mut issued.lock().unwrap(), number);
            }
            if asked.host != self.registry {
                return Says::status(404);
            }
            self.resource(asked, &issued.lock().unwrap())
        };
        web.serve(&names, answers).await;
        tokens
    }

    fn repository(asked: &Asked) -> Option<&str> {
        let path = asked.path.strip_prefix("/v2/")?;
        ["/tags/list", "/blobs/", "/manifests/"]
            .iter()
            .find_map(|part| path.split_once(part))
            .map(|p| p.0)
    }

    fn resource(&self, asked: &Asked, tokens: &HashMap<String, String>) -> Says {
        let Some(repository) = Self::repository(asked) else { return Says::status(404) };
        let wanted = match asked.method.as_str() {
            "GET" | "HEAD" => "pull",
            _ => "pull,push",
        };
        let scope = format!("repository:{repository}:{wanted}");
        let bearer = asked.header("authorization").strip_prefix("Bearer ");
        let covered = bearer.and_then(|token| tokens.get(token)).is_some_and(|granted| {
            granted
                .strip_prefix(scope.as_str())
                .is_some_and(|rest| rest.is_empty() || rest == ",push")
        });
        if covered && asked.method == "HEAD" {
            return Says::status(404);
        }
        if covered {
            return Says::ok(r#"{"name":"x","tags":["17.0"]}"#);
        }
        let (host, path) = self.realm;
        let service = self.service;
        let challenge =
            format!(r#"Bearer realm="https://{host}{path}",service="{service}",scope="{scope}""#);
        Says(401, vec![("www-authenticate", challenge)], String::new())
    }

    fn token(&self, asked: &Asked, tokens: &mut HashMap<String, String>, number: usize) -> Says {
        let (method, fields) = match self.way {
            Way::Get => ("GET", asked.query.clone()),
            Way::Refresh => ("POST", asked.form()),
        };
        if asked.method != method {
            return Says::status(405);
        }
        let authorization = asked.header("authorization");
        let mut known = vec!["service", "scope"];
        let proven = match (self.way, self.secret) {
            (Way::Get, None) => authorization.is_empty(),
            (Way::Get, Some(secret)) => {
                authorization == format!("Basic {}", STANDARD.encode(secret))
            }
            (Way::Refresh, secret) => {
                known.extend(["grant_type", "client_id", "refresh_token"]);
                let form = asked.header("content-type") == "application/x-www-form-urlencoded";
                form && authorization.is_empty()
                    && asked.query.is_empty()
                    && field(&fields, "grant_type") == Some("refresh_token")
                    && field(&fields, "client_id").is_some_and(|id| !id.is_empty())
                    && field(&fields, "refresh_token") == secret
            }
        };
        if !proven {
            return Says::status(401);
        }
        let others = fields.iter().any(|(name, _)| !known.contains(&name.as_str()));
        let scope = field(&fields, "scope").unwrap_or_default();
        let allowed = self.may.contains(&scope);
        if others || field(&fields, "service") != Some(self.service) || !allowed {
            return Says::status(400);
        }
        let token = format!("token-{number}");
        tokens.insert(token.clone(), scope.to_owned());
        let (name, more) = self.answer;
        Says::ok(format!(r#"{{"{name}":"{token}"{more}}}"#))
    }
}

/// A field that is there exactly once.
fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
    values.next().filter(|_| values.next().is_none())
}

fn basic(user: &str, password: &str) -> Credentials {
    Credentials::Basic { user: user.to_owned(), password: password.to_owned() }
}

const IDENTITY: &str = "eyJhbGciOiJ.refresh";

/// An image, its registry, and where which credentials are shown.
type Case = (&'static str, Dialect, Option<(&'static str, Credentials)>);

/// Each dialect, the name of an image there, and what its pages say to show.
fn dialects() -> Vec<Case> {
    // <https://docs.docker.com/docker-hub/usage/pulls/>: anonymous and by user.
    let hub = Dialect {
        registry: "registry-1.docker.io",
        realm: ("auth.docker.io", "/token"),
        service: "registry.docker.io",
        way: Way::Get,
        secret: None,
        answer: (
            "token",
            r#","access_token":"other","expires_in":300,"issued_at":"2026-11-25T04:00:00Z""#,
        ),
        may: &["repository:library/postgres:pull"],
    };
    let hub_user = Dialect { secret: Some("clinic:dckr_pat_x"), ..hub.clone() };
    // <https://docs.github.com/en/packages/working-with-a-github-packages-registry/working-with-the-container-registry>:
    // a user with a personal access token (classic); its answer tells no end.
    let ghcr = Dialect {
        registry: "ghcr.io",
        realm: ("ghcr.io", "/token"),
        service: "ghcr.io",
        way: Way::Get,
        secret: Some("clinic:ghp_x"),
        answer: ("token", ""),
        may: &["repository:hospital/odoo:pull"],
    };
    // <https://goharbor.io/docs/2.13.0/working-with-projects/project-configuration/create-robot-accounts/>:
    // a robot account, whose name has a dollar sign.
    let harbor = Dialect {
        registry: "harbor.example.com",
        realm: ("harbor.example.com", "/service/token"),
        service: "harbor-registry",
        secret: Some("robot$clinic+puller:s3cret"),
        answer: ("token", r#","access_token":"","expires_in":1800"#),
        ..ghcr.clone()
    };
    // <https://docs.quay.io/glossary/robot-accounts.html>: a robot account, organisation+name.
    let quay = Dialect {
        registry: "quay.io",
        realm: ("quay.io", "/v2/auth"),
        service: "quay.io",
        secret: Some("hospital+puller:ROBOT"),
        ..ghcr.clone()
    };
    // <https://cloud.google.com/artifact-registry/docs/docker/authentication>: an access token or
    // a key file as the password of a fixed user.
    let google = Dialect {
        registry: "europe-west1-docker.pkg.dev",
        realm: ("europe-west1-docker.pkg.dev", "/v2/token"),
        service: "europe-west1-docker.pkg.dev",
        secret: Some("oauth2accesstoken:ya29.x"),
        answer: ("token", r#","expires_in":3600"#),
        may: &["repository:clinic/hospital/odoo:pull"],
        ..ghcr.clone()
    };
    let google_key =
        Dialect { secret: Some(r#"_json_key:{"type":"service_account"}"#), ..google.clone() };
    // <https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md>: a refresh token by POST, or the
    // password of a service principal by GET; the answer is an access_token.
    let azure = Dialect {
        registry: "contosoregistry.azurecr.io",
        realm: ("contosoregistry.azurecr.io", "/oauth2/token"),
        service: "contosoregistry.azurecr.io",
        way: Way::Refresh,
        secret: Some(IDENTITY),
        answer: ("access_token", ""),
        ..ghcr.clone()
    };
    let principal = Dialect { way: Way::Get, secret: Some("principal:s3cret"), ..azure.clone() };
    vec![
        ("postgres", hub, None),
        (
            "docker.io/library/postgres",
            hub_user,
            Some(("https://index.docker.io/v1/", basic("clinic", "dckr_pat_x"))),
        ),
        ("ghcr.io/hospital/odoo", ghcr, Some(("ghcr.io", basic("clinic", "ghp_x")))),
        (
            "harbor.example.com/hospital/odoo",
            harbor,
            Some(("harbor.example.com/hospital", basic("robot$clinic+puller", "s3cret"))),
        ),
        ("quay.io/hospital/odoo", quay, Some(("quay.io", basic("hospital+puller", "ROBOT")))),
        (
            "europe-west1-docker.pkg.dev/clinic/hospital/odoo",
            google,
            Some(("https://europe-west1-docker.pkg.dev", basic("oauth2accesstoken", "ya29.x"))),
        ),
        (
            "europe-west1-docker.pkg.dev/clinic/hospital/odoo",
            google_key,
            Some((
                "europe-west1-docker.pkg.dev",
                basic("_json_key", r#"{"type":"service_account"}"#),
            )),
        ),
        (
            "contosoregistry.azurecr.io/hospital/odoo",
            azure,
            Some(("contosoregistry.azurecr.io", Credentials::Identity(IDENTITY.into()))),
        ),
        (
            "contosoregistry.azurecr.io/hospital/odoo",
            principal,
            Some(("*.azurecr.io", basic("principal", "s3cret"))),
        ),
    ]
}

fn keychain(credentials: Option<(&str, Credentials)>) -> Keychain {
    credentials.into_iter().fold(Keychain::default(), |all, (place, one)| all.with(place, one))
}

#[tokio::test]
async fn each_registry_is_pulled_from_as_its_pages_say() {
    for (name, dialect, credentials) in dialects() {
        let mut web = Web::new();
        dialect.clone().start(&mut web).await;
        let registry = web.registry(web.options()).with_keychain(keychain(credentials));
        let repository = registry.repository(name.parse().unwrap());
        let tags = repository.tags().await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(tags, ["17.0"], "{name}");
        // The token is kept, also for whoever asks for the repository anew.
        registry.repository(name.parse().unwrap()).tags().await.unwrap();
        let paths: Vec<_> = web.asked().iter().map(|a| a.path.clone()).collect();
        assert_eq!(paths.iter().filter(|path| *path == dialect.realm.1).count(), 1, "{name}");
        assert_eq!(web.asked().len(), 4, "{name}: {paths:?}");
        // Credentials are shown to the token server only.
        for asked in web.asked().iter().filter(|asked| asked.path != dialect.realm.1) {
            let shown = asked.header("authorization");
            assert!(shown.is_empty() || shown.starts_with("Bearer token-"), "{name}: {shown}");
        }
    }
}

#[tokio::test]
async fn with_other_credentials_each_registry_refuses_and_is_named() {
    for (name, dialect, credentials) in dialects() {
        let Some((place, _)) = credentials else { continue };
        let mut web = Web::new();
        dialect.clone().start(&mut web).await;
        let wrong = [
            None,
            Some((place, basic("someone", "hunter2"))),
            Some((place, Credentials::Identity("hunter2".into()))),
            Some((place, Credentials::Bearer("hunter2".into()))),
        ];
        for credentials in wrong {
            let registry = web.registry(web.options()).with_keychain(keychain(credentials));
            let error = registry.repository(name.parse().unwrap()).tags().await.unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(!said.contains("hunter2"), "{said}");
            // A way of asking that is not spoken there is no refusal of who asks, but no success.
            assert!(said.contains(dialect.realm.0) || said.contains(dialect.registry), "{said}");
        }
    }
}

/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>: the user AWS with
/// a token of twelve hours, as basic credentials on each request to the registry itself.
#[tokio::test]
async fn aws_takes_basic_credentials_on_each_request() {
    let host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
    let mut web = Web::new();
    let answers = move |asked: &Asked| {
        let granted = format!("Basic {}", STANDARD.encode("AWS:eyJwYXlsb2FkIjoi"));
        if asked.header("authorization") == granted {
            return Says::ok(r#"{"tags":["17.0"]}"#);
        }
        let challenge = format!(r#"Basic realm="https://{host}/",service="ecr.amazonaws.com""#);
        Says(401, vec![("www-authenticate", challenge)], String::new())
    };
    web.serve(&[host], answers).await;
    let name: RepositoryName = format!("{host}/hospital/odoo").parse().unwrap();
    let place = "*.dkr.ecr.*.amazonaws.com";
    let secret = Keychain::default().with(place, basic("AWS", "eyJwYXlsb2FkIjoi"));
    let repository = web.registry(web.options()).with_keychain(secret).repository(name.clone());
    assert_eq!(repository.tags().await.unwrap(), ["17.0"]);
    assert_eq!(repository.tags().await.unwrap(), ["17.0"]);
    assert_eq!(web.asked().len(), 3, "it is challenged once");
    for ended in [basic("AWS", "ended"), Credentials::Identity("eyJwYXlsb2FkIjoi".into())] {
        let secret = Keychain::default().with(place, ended);
        let registry = web.registry(web.options()).with_keychain(secret);
        let error = registry.repository(name.clone()).tags().await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized { status: 401, .. }), "{error}");
    }
}

#[tokio::test]
async fn a_token_that_ends_or_is_withdrawn_is_renewed() {
    let harbor = dialects().swap_remove(3);
    let (name, dialect, credentials) = harbor;
    for (more, expected) in [(r#","expires_in":1"#, 2), (r#","expires_in":1800"#, 1)] {
        let mut web = Web::new();
        let dialect = Dialect { answer: ("token", more), ..dialect.clone() };
        let tokens = dialect.start(&mut web).await;
        let registry = web.registry(web.options()).with_keychain(keychain(credentials.clone()));
        let repository = registry.repository(name.parse().unwrap());
        let fetched = || web.asked().iter().filter(|a| a.path == "/service/token").count();
        repository.tags().await.unwrap();
        repository.tags().await.unwrap();
        assert_eq!(fetched(), expected, "{more}");
        tokens.lock().unwrap().clear();
        repository.tags().await.unwrap();
        assert_eq!(fetched(), expected + 1, "{more}");
    }
}

#[tokio::test]
async fn credentials_that_are_replaced_are_shown_from_then_on() {
    let (name, dialect, credentials) = dialects().swap_remove(3);
    let mut web = Web::new();
    dialect.start(&mut web).await;
    let registry = web.registry(web.options());
    let engine = registry.clone();
    engine.repository(name.parse().unwrap()).tags().await.unwrap_err();
    registry.replace_keychain(keychain(credentials));
    engine.repository(name.parse().unwrap()).tags().await.unwrap();
}

#[tokio::test]
async fn many_requests_fetch_one_token() {
    let (name, dialect, credentials) = dialects().swap_remove(3);
    let mut web = Web::new();
    dialect.start(&mut web).await;
    let registry = web.registry(web.options()).with_keychain(keychain(credentials));
    let asking = (0..40).map(|_| {
        let repository = registry.repository(name.parse().unwrap());
        tokio::spawn(async move { repository.tags().await })
    });
    for one in asking.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap().unwrap(), ["17.0"]);
    }
    let fetched = web.asked().iter().filter(|a| a.path == "/service/token").count();
    assert_eq!(fetched, 1);
}

#[tokio::test]
async fn pushing_is_asked_for_only_to_push() {
    let (name, dialect, credentials) = dialects().swap_remove(3);
    let both = &["repository:hospital/odoo:pull", "repository:hospital/odoo:pull,push"];
    let mut web = Web::new();
    Dialect { may: both, ..dialect }.start(&mut web).await;
    let registry = web.registry(web.options()).with_keychain(keychain(credentials));
    let repository = registry.repository(name.parse().unwrap());
    repository.tags().await.unwrap();
    let scopes = || -> Vec<String> {
        let asked = web.asked();
        let tokens = asked.iter().filter(|a| a.path == "/service/token");
        tokens.filter_map(|a| field(&a.query, "scope").map(ToOwned::to_owned)).collect()
    };
    assert_eq!(scopes(), [both[0]]);
    let put = || crate::http::Write {
        method: reqwest::Method::PUT,
        media_type: "text/plain".into(),
        body: b"x".to_vec(),
    };
    let url = repository.url("manifests/17.0").unwrap();
    repository.write(url, "a manifest", put).await.unwrap();
    assert_eq!(scopes(), both);
}
