//! Requests to one repository, with the credentials that its registry asks for.
//!
//! Nothing is sent before it is asked for. A `Basic` challenge is answered to the registry alone.
//! A `Bearer` challenge names where to fetch a token; the credentials go there, as the protocol
//! has it (a registry that was given them could ask for them itself), and the token is asked to
//! cover pulling this repository and nothing else, whatever scope the challenge names.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use crate::challenge::Challenge;
use crate::http::{Http, Request, Response, Write, host};
use crate::{Error, RepositoryName};

const TOKEN_CAP: usize = 256 << 10;
/// The most bytes of the answer to a write.
const ANSWER_CAP: usize = 64 << 10;

/// A user and password of one registry. The password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Basic {
    /// The user.
    pub user: String,
    /// The password or access token.
    pub password: String,
}

impl Basic {
    fn header(&self) -> Option<HeaderValue> {
        let encoded = STANDARD.encode(format!("{}:{}", self.user, self.password));
        secret(&format!("Basic {encoded}"))
    }
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Basic").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What is wanted from a repository.
pub(crate) struct Wanted<'a> {
    pub(crate) what: &'a str,
    pub(crate) accept: Option<&'static str>,
    pub(crate) cap: usize,
}

#[derive(Debug)]
pub(crate) struct Session {
    http: Http,
    pub(crate) name: RepositoryName,
    credentials: Option<Basic>,
    authorization: Mutex<Option<HeaderValue>>,
}

impl Session {
    pub(crate) fn new(http: Http, name: RepositoryName, credentials: Option<Basic>) -> Self {
        Self { http, name, credentials, authorization: Mutex::new(None) }
    }

    /// The address of something of this repository, such as `tags/list`.
    pub(crate) fn url(&self, rest: &str) -> Result<Url, Error> {
        let address = self.name.address();
        let scheme = self.http.scheme(address);
        Url::parse(&format!("{scheme}://{address}/v2/{}/{rest}", self.name.path())).map_err(|_| {
            Error::Name { text: self.name.to_string(), why: "it does not make an address" }
        })
    }

    /// Gets it, answering the registry's challenge once.
    pub(crate) async fn get(&self, url: Url, wanted: &Wanted<'_>) -> Result<Response, Error> {
        let first = self.kept();
        let mut response = self.ask(&url, wanted, first).await?;
        // Only the registry itself is answered: a host it redirects to gets no credentials.
        if response.status == StatusCode::UNAUTHORIZED && response.url.origin() == url.origin() {
            let answer = self.answer(&url, &response.headers, wanted.what).await?;
            self.keep(answer.clone());
            if answer.is_some() {
                response = self.ask(&url, wanted, answer).await?;
            }
        }
        self.judge(response, wanted.what)
    }

    /// Writes to it, answering the registry's challenge once.
    pub(crate) async fn write(
        &self,
        url: Url,
        what: &str,
        write: impl Fn() -> Write,
    ) -> Result<Response, Error> {
        let request = |authorization| Request {
            url: url.clone(),
            what,
            accept: None,
            authorization,
            cap: ANSWER_CAP,
        };
        let mut response = self.http.write(request(self.kept()), write()).await?;
        if response.status == StatusCode::UNAUTHORIZED {
            let answer = self.answer(&url, &response.headers, what).await?;
            self.keep(answer.clone());
            if answer.is_some() {
                response = self.http.write(request(answer), write()).await?;
            }
        }
        self.judge(response, what)
    }

    fn kept(&self) -> Option<HeaderValue> {
        self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, answer: Option<HeaderValue>) {
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    async fn ask(
        &self,
        url: &Url,
        wanted: &Wanted<'_>,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, Error> {
        let &Wanted { what, accept, cap } = wanted;
        self.http.get(Request { url: url.clone(), what, accept, authorization, cap }).await
    }

    async fn answer(
        &self,
        url: &Url,
        headers: &HeaderMap,
        what: &str,
    ) -> Result<Option<HeaderValue>, Error> {
        match Challenge::of(headers) {
            Some(Challenge::Basic) => Ok(self.credentials.as_ref().and_then(Basic::header)),
            Some(Challenge::Bearer { realm, service }) => {
                let realm = Url::parse(&realm).map_err(|_| Error::Malformed {
                    host: host(url),
                    what: what.to_owned(),
                    why: "the place it names for tokens is not an address".to_owned(),
                })?;
                self.token(url, realm, service.as_deref()).await.map(Some)
            }
            None => Ok(None),
        }
    }

    async fn token(
        &self,
        registry: &Url,
        mut realm: Url,
        service: Option<&str>,
    ) -> Result<HeaderValue, Error> {
        let scope = format!("repository:{}:pull", self.name.path());
        realm.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = service {
            realm.query_pairs_mut().append_pair("service", service);
        }
        let what = format!("a token for {}", self.name);
        let authorization = self.credentials.as_ref().and_then(Basic::header);
        let request = Request {
            url: realm,
            what: &what,
            accept: Some("application/json"),
            authorization,
            cap: TOKEN_CAP,
        };
        let response = self.http.get_named_by(registry, request).await?;
        let response = self.judge(response, &what)?;
        let token: Token = read_json(&response, &what)?;
        let token =
            token.token.or(token.access_token).and_then(|token| secret(&format!("Bearer {token}")));
        token.ok_or_else(|| Error::Malformed {
            host: host(&response.url),
            what,
            why: "it has no token".to_owned(),
        })
    }

    fn judge(&self, response: Response, what: &str) -> Result<Response, Error> {
        let (host, what) = (host(&response.url), what.to_owned());
        match response.status.as_u16() {
            200..=299 => Ok(response),
            status @ (401 | 403) => Err(Error::Unauthorized {
                host,
                what,
                who: self.credentials.as_ref().map_or_else(
                    || "a request without credentials".to_owned(),
                    |basic| format!("user {:?}", basic.user),
                ),
                status,
            }),
            404 => Err(Error::NotFound { host, what }),
            status => {
                Err(Error::Malformed { host, what, why: format!("it has the status {status}") })
            }
        }
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// The JSON of an answer.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(
    response: &Response,
    what: &str,
) -> Result<T, Error> {
    serde_json::from_slice(&response.body).map_err(|error| Error::Malformed {
        host: host(&response.url),
        what: what.to_owned(),
        why: error.to_string(),
    })
}

fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
