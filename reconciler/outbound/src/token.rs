//! Bearer tokens of registries.
//!
//! The dialects differ in who asks and how: most token servers take a GET with basic credentials
//! or none (distribution project, "Token Authentication Specification"), and a refresh token goes
//! by POST (same place, on `OAuth2`; Azure's own page says the same). All answer alike. A token is kept until shortly before it ends, and used for one repository, one access
//! and one bearer of credentials.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::time::Instant;

use crate::http::{Http, Request, Write, host};
use crate::session::{judge, read_json};
use crate::{Credentials, Error};

const TOKEN_CAP: usize = 256 << 10;
/// "When omitted, this defaults to 60 seconds."
const DEFAULT_LIFE: u64 = 60;
const LONGEST_LIFE: u64 = 12 * 3600;
const CLIENT: &str = "tidegate";
/// Kept tokens; with more, those that ended are dropped.
const KEPT: usize = 4096;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Access {
    /// The scope of one repository, whatever a challenge names.
    pub(crate) fn scope(self, path: &str) -> String {
        let actions = match self {
            Self::Read => "pull",
            Self::Write => "pull,push",
        };
        format!("repository:{path}:{actions}")
    }
}

/// What is sent as `Authorization`, and until when.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) header: HeaderValue,
    until: Option<Instant>,
}

impl Kept {
    pub(crate) fn lasting(header: HeaderValue) -> Self {
        Self { header, until: None }
    }

    fn stands(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// The place of one token. Whoever renews it holds it, so that many requests ask for one token.
#[derive(Default)]
pub(crate) struct Slot(tokio::sync::Mutex<State>);

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    /// When it could not be renewed, and why: whoever waited for that has the same answer, and
    /// does not try in turn.
    failed: Option<(Instant, Error)>,
}

impl Slot {
    pub(crate) async fn kept(&self) -> Option<HeaderValue> {
        let state = self.0.lock().await;
        state.kept.as_ref().filter(|kept| kept.stands()).map(|kept| kept.header.clone())
    }

    /// Another one than what was used, made by `fetch` unless somebody else made it meanwhile.
    pub(crate) async fn renew(
        &self,
        used: Option<&HeaderValue>,
        fetch: impl Future<Output = Result<Option<Kept>, Error>>,
    ) -> Result<Option<HeaderValue>, Error> {
        let came = Instant::now();
        let mut state = self.0.lock().await;
        if let Some((_, error)) = state.failed.as_ref().filter(|(at, _)| *at >= came) {
            return Err(error.clone());
        }
        if let Some(newer) =
            state.kept.as_ref().filter(|kept| kept.stands() && Some(&kept.header) != used)
        {
            return Ok(Some(newer.header.clone()));
        }
        state.kept = None;
        match fetch.await {
            Ok(kept) => state.kept = kept,
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                return Err(error);
            }
        }
        let header = state.kept.as_ref().map(|kept| kept.header.clone());
        Ok(header.filter(|header| Some(header) != used))
    }
}

#[derive(PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) registry: String,
    pub(crate) path: String,
    pub(crate) access: Access,
    pub(crate) credentials: Option<Credentials>,
}

/// All tokens of a registry client.
#[derive(Default)]
pub(crate) struct Tokens(Mutex<HashMap<Key, Arc<Slot>>>);

impl Tokens {
    pub(crate) fn slot(&self, key: Key) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= KEPT {
            slots.retain(|_, slot| {
                Arc::strong_count(slot) > 1
                    || slot
                        .0
                        .try_lock()
                        .is_ok_and(|state| state.kept.as_ref().is_some_and(Kept::stands))
            });
            if slots.len() >= KEPT {
                slots.clear();
            }
        }
        Arc::clone(slots.entry(key).or_default())
    }
}

/// What to fetch a token for.
pub(crate) struct Wish<'a> {
    /// The registry that named the token server.
    pub(crate) registry: &'a Url,
    pub(crate) realm: Url,
    pub(crate) service: Option<&'a str>,
    pub(crate) scope: String,
    pub(crate) credentials: Option<&'a Credentials>,
    /// For messages.
    pub(crate) what: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Fetches a token.
pub(crate) async fn fetch(http: &Http, wish: Wish<'_>) -> Result<Kept, Error> {
    let Wish { registry, realm, service, scope, credentials, what } = wish;
    let mut request =
        Request { accept: Some("application/json"), ..Request::get(realm, what, TOKEN_CAP) };
    match credentials {
        Some(Credentials::Bearer(token)) => {
            return secret(&format!("Bearer {token}"))
                .map(Kept::lasting)
                .ok_or_else(|| unfit(what));
        }
        Some(Credentials::Identity(token)) => {
            let named = host(registry);
            let form = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("grant_type", "refresh_token")
                .append_pair("service", service.unwrap_or(&named))
                .append_pair("client_id", CLIENT)
                .append_pair("scope", &scope)
                .append_pair("refresh_token", token)
                .finish();
            request.write = Some(Write {
                method: reqwest::Method::POST,
                media_type: "application/x-www-form-urlencoded".to_owned(),
                body: form.into_bytes(),
            });
        }
        Some(Credentials::Basic { .. }) | None => {
            let mut query = request.url.query_pairs_mut();
            query.append_pair("scope", &scope);
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            drop(query);
            request.authorization =
                credentials.map(|c| basic(c).ok_or_else(|| unfit(what))).transpose()?;
        }
    }
    let asked = Instant::now();
    let response = judge(http.send_named_by(registry, request).await?, what, credentials)?;
    let answer: Answer = read_json(&response, what)?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
    let header = token.and_then(|token| secret(&format!("Bearer {token}")));
    let header = header.ok_or_else(|| Error::Malformed {
        host: host(&response.url),
        what: what.to_owned(),
        why: "it has no token".to_owned(),
    })?;
    let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).min(LONGEST_LIFE);
    // So that it does not end on its way.
    let margin = (life / 10).clamp(1, 30);
    Ok(Kept { header, until: Some(asked + Duration::from_secs(life.saturating_sub(margin))) })
}

/// The header of a user and password.
pub(crate) fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    let Credentials::Basic { user, password } = credentials else { return None };
    secret(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

fn unfit(what: &str) -> Error {
    let why = "they have characters that no header can carry".to_owned();
    Error::Credentials { of: format!("what is shown for {what}"), why }
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
