//! Webhooks: somebody pushed, so look now instead of at the next interval.
//!
//! A call proves by its signature (GitHub's `X-Hub-Signature-256`: HMAC-SHA-256
//! over the raw body, <https://docs.github.com/webhooks>) that it comes from the
//! forge. That is checked in constant time before anything is parsed, and the body
//! is only a hint to look. A call that proves nothing gets one answer, whatever
//! exists: the path tells nobody which repositories there are.

use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use tidegate_sync::Sources;
use tower_http::timeout::TimeoutLayer;

/// The largest body that is read, in bytes.
pub const BODY_CAP: usize = 1024 * 1024;
/// How long a call may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);
/// The header of GitHub's signature.
const SIGNATURE: &str = "x-hub-signature-256";
/// The header of GitHub's event name.
const EVENT: &str = "x-github-event";

/// Why the endpoint cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be had.
    #[error("listening on {address}: {source}; name a free address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        source: std::io::Error,
    },
    /// Serving ended.
    #[error("serving webhooks: {0}")]
    Serve(std::io::Error),
}

/// Serves webhooks and health until the task is dropped.
///
/// # Errors
/// When the address cannot be had, or serving ends.
pub async fn serve(address: SocketAddr, sources: Sources) -> Result<(), Error> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .map_err(|source| Error::Listen { address, source })?;
    if let Ok(bound) = listener.local_addr() {
        tracing::info!(address = %bound, "webhooks are served");
    }
    axum::serve(listener, router(sources)).await.map_err(Error::Serve)
}

/// The routes.
fn router(sources: Sources) -> Router {
    Router::new()
        .route("/hooks/{token}", post(hook))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ok\n" }))
        .layer(DefaultBodyLimit::max(BODY_CAP))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, ARRIVAL))
        .with_state(sources)
}

async fn hook(
    State(sources): State<Sources>,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let known = sources.hook(&token);
    // An unknown path takes as long as a known one.
    let secret = known.as_ref().map_or("no hook has this secret", |(_, secret)| secret);
    let genuine = signed(secret.as_bytes(), &body, &headers);
    let Some((repository, _)) = known.filter(|_| genuine) else {
        return (StatusCode::UNAUTHORIZED, UNPROVED);
    };
    match event(&headers, &body) {
        Event::Push => {
            sources.nudge(&repository);
            (StatusCode::ACCEPTED, "the repository is fetched now\n")
        }
        Event::Other => (StatusCode::OK, "nothing follows this event\n"),
        Event::Malformed => (StatusCode::BAD_REQUEST, MALFORMED),
    }
}

const UNPROVED: &str = "no hook here has this path and signature: copy the path from the Repository's \
    status.hook, and the secret from the entry `token` of the Secret that spec.webhook names\n";
const MALFORMED: &str =
    "the body is no JSON push event: set the webhook's content type to application/json\n";

/// Whether the signature header is that of this body under this secret.
fn signed(secret: &[u8], body: &[u8], headers: &HeaderMap) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let stated = headers
        .get(SIGNATURE)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.strip_prefix("sha256="));
    let tag = stated.and_then(unhex).unwrap_or_default();
    hmac::verify(&key, body, &tag).is_ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    (0..32).map(|i| u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Push,
    Other,
    Malformed,
}

/// What a genuine call says. Only its name and that it names a reference matter: the fetch sees the rest.
fn event(headers: &HeaderMap, body: &[u8]) -> Event {
    #[derive(serde::Deserialize)]
    struct Push {
        #[serde(rename = "ref")]
        _reference: String,
    }
    match headers.get(EVENT).and_then(|v| v.to_str().ok()) {
        Some("push") if serde_json::from_slice::<Push>(body).is_ok() => Event::Push,
        Some("push") | None => Event::Malformed,
        Some(_) => Event::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of GitHub's documentation, "Validating webhook deliveries": secret, payload and signature.
    const SECRET: &[u8] = b"It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const HEADER: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn the_documented_signature_is_genuine_and_no_other() {
        assert!(signed(SECRET, BODY, &headers(SIGNATURE, HEADER)));
        assert!(!signed(b"another secret", BODY, &headers(SIGNATURE, HEADER)));
        assert!(!signed(SECRET, b"another body", &headers(SIGNATURE, HEADER)));
        for header in ["", "sha256=", "sha1=757107ea", &HEADER[..40]] {
            assert!(!signed(SECRET, BODY, &headers(SIGNATURE, header)), "{header} passed");
        }
        assert!(!signed(SECRET, BODY, &HeaderMap::new()));
    }

    #[test]
    fn only_a_push_causes_a_fetch() {
        assert_eq!(event(&headers(EVENT, "push"), br#"{"ref": "refs/heads/main"}"#), Event::Push);
        assert_eq!(event(&headers(EVENT, "ping"), b"{}"), Event::Other);
        assert_eq!(event(&headers(EVENT, "push"), b"not json"), Event::Malformed);
    }
}
