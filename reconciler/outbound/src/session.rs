//! Requests to one repository, wherever it is, with the credentials that each place asks for.
//!
//! Nothing is sent before it is asked for. A `Basic` challenge is answered to the registry alone.
//! A `Bearer` challenge names where to fetch a token; the credentials go there, as the protocol
//! has it (a registry that was given them could ask for them itself), and the token is asked to
//! cover this repository and nothing else, whatever scope the challenge names.
//!
//! A mirror that lacks something or does not answer is passed over. One that refuses or gives
//! something else is told: whoever set it up must know. Writes go to the last place only.

use std::fmt;
use std::sync::Arc;

use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};

use crate::challenge::Challenge;
use crate::http::{Http, Request, Response, Write, host};
use crate::token::{Access, Kept, Key, Slot, Tokens, Wish, basic, fetch};
use crate::{Credentials, Error, Keychain, RepositoryName};

/// The scheme of addresses in a repository that say nothing of where it is.
const ANYWHERE: &str = "oci";
/// The most bytes of an answer to a write that are read.
const ANSWER_CAP: usize = 64 << 10;

/// What is wanted from a repository.
pub(crate) struct Wanted<'a> {
    pub(crate) what: &'a str,
    pub(crate) accept: Option<&'static str>,
    pub(crate) cap: usize,
}

/// One place to ask.
#[derive(Clone)]
struct Place {
    name: RepositoryName,
    credentials: Option<Credentials>,
    read: Arc<Slot>,
    write: Arc<Slot>,
}

pub(crate) struct Session {
    http: Http,
    pub(crate) name: RepositoryName,
    /// In the order in which they are asked; never empty.
    places: Vec<Place>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<_> = self.places.iter().map(|p| (&p.name, &p.credentials)).collect();
        f.debug_struct("Session")
            .field("name", &self.name)
            .field("places", &places)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(
        http: Http,
        name: RepositoryName,
        places: Vec<RepositoryName>,
        keychain: &Keychain,
        tokens: &Tokens,
    ) -> Self {
        let places = places.into_iter().map(|name| {
            let credentials = keychain.find(name.address(), name.path()).cloned();
            let slot = |access| {
                tokens.slot(Key {
                    registry: name.address().to_owned(),
                    path: name.path().to_owned(),
                    access,
                    credentials: credentials.clone(),
                })
            };
            let (read, write) = (slot(Access::Read), slot(Access::Write));
            Place { name, credentials, read, write }
        });
        Self { http, name, places: places.collect() }
    }

    /// The address of something of this repository, such as `tags/list`, wherever that is.
    pub(crate) fn url(&self, rest: &str) -> Result<Url, Error> {
        address(ANYWHERE, &self.name, rest)
    }

    /// What everything of the repository is below, at the place that was asked.
    pub(crate) fn base(&self, asked: &Url) -> Result<Url, Error> {
        self.address(self.place_of(asked)?, "")
    }

    /// Gets it from the first place that has it, answering each one's challenge once. An address
    /// that a place gave, such as that of a list's next page, is asked there.
    pub(crate) async fn get(&self, url: Url, wanted: &Wanted<'_>) -> Result<Response, Error> {
        let &Wanted { what, accept, cap } = wanted;
        let request = |url| Request { accept, ..Request::get(url, what, cap) };
        let Some(rest) = url.as_str().strip_prefix(self.url("")?.as_str()) else {
            let place = self.place_of(&url)?;
            return self.ask(place, request(url), Access::Read).await;
        };
        let mut places = self.places.iter().peekable();
        while let Some(place) = places.next() {
            let answer = self.ask(place, request(self.address(place, rest)?), Access::Read).await;
            let passed_over = matches!(
                answer,
                Err(Error::NotFound { .. } | Error::Unreachable { .. } | Error::Unavailable { .. })
            );
            if !passed_over || places.peek().is_none() {
                return answer;
            }
        }
        Err(self.no_address())
    }

    /// Writes to where the repository really is. An address that it gave for an upload is asked
    /// as it is, if it is there.
    pub(crate) async fn write(
        &self,
        url: Url,
        what: &str,
        write: impl Fn() -> Write,
    ) -> Result<Response, Error> {
        let last = self.places.last().ok_or_else(|| self.no_address())?;
        let url = match url.as_str().strip_prefix(self.url("")?.as_str()) {
            Some(rest) => self.address(last, rest)?,
            None if url.origin() == self.address(last, "")?.origin() => url,
            None => {
                return Err(Error::Refused {
                    what: what.to_owned(),
                    url: format!("{}://{}{}", url.scheme(), host(&url), url.path()),
                    why: "an upload must go on at the same registry",
                });
            }
        };
        let request = Request { write: Some(write()), ..Request::get(url, what, ANSWER_CAP) };
        self.ask(last, request, Access::Write).await
    }

    /// The same with the last place only.
    pub(crate) fn without_mirrors(&self) -> Self {
        let last = self.places.last().cloned();
        let (http, name) = (self.http.clone(), self.name.clone());
        Self { http, name, places: last.into_iter().collect() }
    }

    /// The same at each place alone, in their order.
    pub(crate) fn each(&self) -> Vec<Self> {
        let alone = |place: &Place| {
            let (http, name) = (self.http.clone(), self.name.clone());
            Self { http, name, places: vec![place.clone()] }
        };
        self.places.iter().map(alone).collect()
    }

    fn place_of(&self, url: &Url) -> Result<&Place, Error> {
        for place in &self.places {
            if url.as_str().starts_with(self.address(place, "")?.as_str()) {
                return Ok(place);
            }
        }
        Err(self.no_address())
    }

    fn address(&self, place: &Place, rest: &str) -> Result<Url, Error> {
        let host = place.name.address();
        address(self.http.scheme(host), &place.name, rest)
    }

    fn no_address(&self) -> Error {
        Error::Name { text: self.name.to_string(), why: "it does not make an address" }
    }

    async fn ask(
        &self,
        place: &Place,
        mut request: Request<'_>,
        access: Access,
    ) -> Result<Response, Error> {
        let slot = match access {
            Access::Read => &place.read,
            Access::Write => &place.write,
        };
        let (url, what) = (request.url.clone(), request.what);
        request.authorization = slot.kept().await;
        let mut response = self.http.send(request.clone()).await?;
        // Only the registry itself is answered: a host it redirects to gets no credentials.
        if response.status == StatusCode::UNAUTHORIZED && response.url.origin() == url.origin() {
            let used = request.authorization.take();
            let answer = self.answer(place, &url, &response.headers, access);
            let answer = slot.renew(used.as_ref(), answer).await?;
            if answer.is_some() {
                request.authorization = answer;
                response = self.http.send(request).await?;
            }
        }
        judge(response, what, place.credentials.as_ref())
    }

    async fn answer(
        &self,
        place: &Place,
        url: &Url,
        headers: &HeaderMap,
        access: Access,
    ) -> Result<Option<Kept>, Error> {
        let credentials = place.credentials.as_ref();
        match Challenge::of(headers) {
            Some(Challenge::Basic) => Ok(credentials.and_then(basic).map(Kept::lasting)),
            Some(Challenge::Bearer { realm, service }) => {
                let what = format!("a token for {}", place.name);
                let realm = Url::parse(&realm).map_err(|_| Error::Malformed {
                    host: host(url),
                    what: what.clone(),
                    why: "the place it names for tokens is not an address".to_owned(),
                })?;
                let wish = Wish {
                    registry: url,
                    realm,
                    service: service.as_deref(),
                    scope: access.scope(place.name.path()),
                    credentials,
                    what: &what,
                };
                fetch(&self.http, wish).await.map(Some)
            }
            None => Ok(None),
        }
    }
}

fn address(scheme: &str, name: &RepositoryName, rest: &str) -> Result<Url, Error> {
    Url::parse(&format!("{scheme}://{}/v2/{}/{rest}", name.address(), name.path()))
        .map_err(|_| Error::Name { text: name.to_string(), why: "it does not make an address" })
}

/// What an answer means, if it is no success.
pub(crate) fn judge(
    response: Response,
    what: &str,
    credentials: Option<&Credentials>,
) -> Result<Response, Error> {
    let (host, what) = (host(&response.url), what.to_owned());
    match response.status.as_u16() {
        200..=299 => Ok(response),
        status @ (401 | 403) => {
            let who = credentials
                .map_or_else(|| "a request without credentials".to_owned(), Credentials::who);
            Err(Error::Unauthorized { host, what, who, status })
        }
        404 => Err(Error::NotFound { host, what }),
        status => Err(Error::Malformed { host, what, why: format!("it has the status {status}") }),
    }
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
