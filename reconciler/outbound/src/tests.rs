//! The registry reader against a stand-in that misbehaves, as a registry or what is before it
//! may.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tidegate_ids::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::*;

mod attached;
mod dialects;
mod faults;
mod lab;
mod layout;
mod places;
mod push;
mod web;

const LOOPBACK: Options = Options {
    plain_http_on_loopback: true,
    allow: Vec::new(),
    proxy: None,
    no_proxy: Vec::new(),
    authorities: Vec::new(),
    aliases: Vec::new(),
    mirrors: Vec::new(),
};

/// What the stand-in says to one path.
#[derive(Clone)]
enum Says {
    Body(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// A body without end.
    Endless,
    /// The head, then the connection breaks.
    BreaksOff,
    /// The body only with this `Authorization`; otherwise 401 with this challenge.
    Guarded {
        challenge: String,
        wants: String,
        body: Vec<u8>,
    },
}

fn ok(body: impl Into<Vec<u8>>) -> Says {
    Says::Body(200, Vec::new(), body.into())
}

type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A registry that answers as it is told and remembers what it was asked.
struct StandIn {
    address: String,
    answers: Arc<Mutex<BTreeMap<String, Says>>>,
    /// Path with query, and the `Authorization` that came with it.
    asked: Asked,
}

impl StandIn {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (answers, asked) = (Arc::<Mutex<BTreeMap<_, _>>>::default(), Arc::default());
        let this = Self { address, answers: Arc::clone(&answers), asked: Arc::clone(&asked) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answers), Arc::clone(&asked)));
            }
        });
        this
    }

    fn says(&self, path: impl Into<String>, answer: Says) -> &Self {
        self.answers.lock().unwrap().insert(path.into(), answer);
        self
    }

    fn asked(&self) -> Vec<(String, Option<String>)> {
        self.asked.lock().unwrap().clone()
    }

    fn repository(&self, credentials: Option<Credentials>) -> Repository {
        let name = format!("{}/hospital/odoo", self.address).parse().unwrap();
        let keychain = credentials
            .into_iter()
            .fold(Keychain::default(), |keychain, one| keychain.with(&self.address, one));
        Registry::new(LOOPBACK).unwrap().with_keychain(keychain).repository(name)
    }
}

async fn serve(
    mut stream: TcpStream,
    answers: Arc<Mutex<BTreeMap<String, Says>>>,
    asked: Asked,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
        // Not HTTP (a TLS greeting): hang up, as a plain server does.
        head[0].is_ascii_uppercase().then_some(())?;
    }
    let head = String::from_utf8(head).ok()?;
    let path = head.split(' ').nth(1)?.to_owned();
    let authorization = head.lines().find_map(|line| line.strip_prefix("authorization: "));
    asked.lock().unwrap().push((path.clone(), authorization.map(ToOwned::to_owned)));
    let known = answers.lock().unwrap().get(&path).cloned();
    let (status, headers, body) = match known {
        None => (404, Vec::new(), b"{}".to_vec()),
        Some(Says::Body(status, headers, body)) => (status, headers, body),
        Some(Says::Guarded { wants, body, .. }) if authorization == Some(&wants) => {
            (200, Vec::new(), body)
        }
        Some(Says::Guarded { challenge, .. }) => {
            (401, vec![("www-authenticate", challenge)], Vec::new())
        }
        Some(Says::BreaksOff) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf";
            return stream.write_all(head.as_bytes()).await.ok();
        }
        Some(Says::Endless) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
            loop {
                stream.write_all(&[b' '; 8192]).await.ok()?;
            }
        }
    };
    let headers: Vec<_> = headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
    let answer = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{}\r\n",
        body.len(),
        headers.concat()
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.write_all(&body).await.ok()
}

fn path(rest: &str) -> String {
    format!("/v2/hospital/odoo/{rest}")
}

fn basic() -> Credentials {
    Credentials::Basic { user: "puller".to_owned(), password: "hunter2".to_owned() }
}

#[tokio::test]
async fn an_endless_body_is_cut_at_its_cap() {
    let registry = StandIn::start().await;
    let digest = Digest::of(b"odoo");
    registry.says(path(&format!("blobs/{digest}")), Says::Endless);
    registry.says(path(&format!("manifests/{digest}")), Says::Endless);
    let repository = registry.repository(None);
    let blob = repository.blob(digest, 1000).await.unwrap_err();
    assert!(matches!(blob, Error::TooLarge { .. }), "{blob}");
    let manifest = repository.manifest(digest).await.unwrap_err();
    assert!(manifest.to_string().contains("4194304 bytes"), "{manifest}");
}

#[tokio::test]
async fn bytes_of_another_digest_are_not_accepted() {
    let registry = StandIn::start().await;
    let digest = Digest::of(b"odoo");
    registry.says(path(&format!("blobs/{digest}")), ok("not odoo"));
    registry.says(path(&format!("manifests/{digest}")), ok("{}"));
    let promised = vec![("docker-content-digest", digest.to_string())];
    registry.says(path("manifests/17.0"), Says::Body(200, promised, b"{}".to_vec()));
    let repository = registry.repository(None);
    for error in [
        repository.blob(digest, 1000).await.unwrap_err(),
        repository.manifest(digest).await.unwrap_err(),
        repository.resolve("17.0").await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    }
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let (registry, elsewhere) = (StandIn::start().await, StandIn::start().await);
    let digest = Digest::of(b"odoo");
    let to = format!("http://{}/bucket", elsewhere.address);
    let wants = "Basic cHVsbGVyOmh1bnRlcjI=".to_owned();
    let challenge = r#"Basic realm="x""#.to_owned();
    registry.says(
        path("tags/list?n=1000"),
        Says::Guarded {
            challenge: challenge.clone(),
            wants: wants.clone(),
            body: br#"{"tags":["17.0"]}"#.to_vec(),
        },
    );
    registry.says(
        path(&format!("blobs/{digest}")),
        Says::Body(307, vec![("location", to)], Vec::new()),
    );
    elsewhere.says("/bucket", ok("odoo"));
    let repository = registry.repository(Some(basic()));
    assert_eq!(repository.tags().await.unwrap(), ["17.0"]);
    assert_eq!(repository.blob(digest, 1000).await.unwrap(), b"odoo");
    let asked = registry.asked();
    assert_eq!(asked[0].1, None, "credentials were sent before they were asked for");
    assert_eq!(asked[2].1, Some(wants.clone()));
    assert_eq!(elsewhere.asked(), [("/bucket".to_owned(), None)]);
    // Nor does the other host get them by asking.
    elsewhere.says("/bucket", Says::Guarded { challenge, wants, body: b"odoo".to_vec() });
    let error = repository.blob(digest, 1000).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert!(elsewhere.asked().iter().all(|(_, authorization)| authorization.is_none()));
}

#[tokio::test]
async fn redirects_do_not_lead_to_plain_http_link_local_or_in_a_circle() {
    let registry = StandIn::start().await;
    let digest = Digest::of(b"odoo");
    let blob = path(&format!("blobs/{digest}"));
    let cases = [
        ("http://registry.example.com/x", "plain HTTP"),
        ("https://169.254.169.254/latest", "link-local"),
        ("https://[fe80::1]/", "link-local"),
        ("ftp://127.0.0.1/", "only HTTPS"),
        ("https://user:secret@127.0.0.1/", "credentials in it"),
        (blob.as_str(), "sixth redirect"),
    ];
    for (to, expected) in cases {
        let redirect = Says::Body(302, vec![("location", to.to_owned())], Vec::new());
        registry.says(&blob, redirect);
        let error = registry.repository(None).blob(digest, 1000).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{to}: {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_token_challenge_is_answered_for_pulling_this_repository_only() {
    let registry = StandIn::start().await;
    let challenge = format!(
        r#"Bearer realm="http://{}/token",service="hospital",scope="repository:other:push""#,
        registry.address
    );
    registry.says(
        path("tags/list?n=1000"),
        Says::Guarded {
            challenge,
            wants: "Bearer t0ken".to_owned(),
            body: br#"{"tags":null}"#.to_vec(),
        },
    );
    let token = "/token?scope=repository%3Ahospital%2Fodoo%3Apull&service=hospital";
    registry.says(token, ok(r#"{"token":"t0ken"}"#));
    let repository = registry.repository(Some(basic()));
    assert!(repository.tags().await.unwrap().is_empty());
    assert!(repository.tags().await.unwrap().is_empty());
    let asked = registry.asked();
    let paths: Vec<_> = asked.iter().map(|(path, _)| path.as_str()).collect();
    let tags = path("tags/list?n=1000");
    assert_eq!(paths, [&tags, token, &tags, &tags], "the token is fetched once and kept");
    assert!(asked[1].1.as_ref().unwrap().starts_with("Basic "));
}

#[tokio::test]
async fn wrong_credentials_name_the_user_and_never_the_password() {
    let registry = StandIn::start().await;
    let challenge = r#"Basic realm="x""#.to_owned();
    let guarded = Says::Guarded { challenge, wants: "Basic other".to_owned(), body: Vec::new() };
    registry.says(path("tags/list?n=1000"), guarded);
    let error = registry.repository(Some(basic())).tags().await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }));
    let said = format!("{error} {error:?} {:?}", basic());
    assert!(said.contains("puller") && !said.contains("hunter2"), "{said}");
    let error = registry.repository(None).tags().await.unwrap_err();
    assert!(error.to_string().contains("without credentials"), "{error}");
}

#[tokio::test]
async fn lists_are_read_page_by_page_within_the_repository() {
    let registry = StandIn::start().await;
    let link = |to: &str| vec![("link", format!("<{to}>; rel=\"next\""))];
    let last = path("tags/list?n=1000&last=a");
    registry.says(
        path("tags/list?n=1000"),
        Says::Body(200, link(&last), br#"{"tags":["a"]}"#.to_vec()),
    );
    registry.says(&last, ok(r#"{"tags":["b"]}"#));
    let repository = registry.repository(None);
    assert_eq!(repository.tags().await.unwrap(), ["a", "b"]);
    for to in ["http://127.0.0.1:1/v2/hospital/odoo/tags/list", "/v2/other/tags/list"] {
        registry.says(&last, Says::Body(200, link(to), br#"{"tags":[]}"#.to_vec()));
        let error = repository.tags().await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
    }
    registry.says(&last, Says::Body(200, link(&last), br#"{"tags":[]}"#.to_vec()));
    let error = repository.tags().await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_registry_that_is_away_is_unreachable_by_name() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let name = format!("{address}/hospital/odoo").parse().unwrap();
    let repository = Registry::new(LOOPBACK).unwrap().repository(name);
    let error = repository.tags().await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { host, .. } if *host == address), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    // Where loopback is only listed, HTTPS is spoken there.
    let registry = StandIn::start().await;
    let name = format!("{}/hospital/odoo", registry.address).parse().unwrap();
    let allow = vec![registry.address.parse().unwrap()];
    let listed = Registry::new(Options { allow, ..Options::default() }).unwrap();
    let error = listed.repository(name).tags().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_fault_that_passes_is_tried_once_more() {
    let registry = StandIn::start().await;
    registry.says(path("tags/list?n=1000"), Says::Body(503, Vec::new(), Vec::new()));
    let error = registry.repository(None).tags().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { status: 503, .. }), "{error}");
    assert_eq!(registry.asked().len(), 2);
}

#[tokio::test]
async fn the_configuration_of_an_index_is_that_of_its_image_for_a_platform() {
    let registry = StandIn::start().await;
    let put = |kind: &str, bytes: String| {
        let digest = Digest::of(bytes.as_bytes());
        registry.says(path(&format!("{kind}/{digest}")), ok(bytes));
        digest
    };
    let config =
        put("blobs", r#"{"created":"2026-03-01T10:00:00Z","config":{"Labels":{"a":"b"}}}"#.into());
    let image = put("manifests", serde_json::json!({"config": {"digest": config}}).to_string());
    let attestation = put("manifests", "{}".to_owned());
    let of = |os: &str, digest| serde_json::json!({"digest": digest, "platform": {"os": os, "architecture": os}});
    let index = serde_json::json!({"manifests": [of("unknown", attestation), of("linux", image)]});
    let index = put("manifests", index.to_string());
    let repository = registry.repository(None);
    let found = repository.image_config(index).await.unwrap();
    assert_eq!(found.created.unwrap().to_string(), "2026-03-01T10:00:00Z");
    assert_eq!(found.labels["a"], "b");
    assert_eq!(repository.image_config(image).await.unwrap(), found);
    let error = repository.created(attestation).await.unwrap_err();
    assert!(error.to_string().contains("it is not an image"), "{error}");
    assert!(matches!(repository.resolve("../x").await, Err(Error::Tag { .. })));
}
