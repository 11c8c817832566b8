//! One guarded request.
//!
//! Every limit is here: 10 s a try, from the first byte sent to the last one read, over all its
//! redirects; one retry; five redirects; the body's cap; so many requests to a host at a time.
//! Redirects are followed by hand, because the rules (another host never sees the credentials,
//! HTTPS never becomes HTTP, no address that `address` forbids) must hold at each step.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Method, StatusCode, Url};
use tokio::time::{Instant, timeout};

use crate::address::{Danger, Guard, is_loopback, stated};
use crate::resolve::{Forbidden, Lookup, Resolver, system};
use crate::turns::{AT_ONCE, Turns};
use crate::{Direct, Error, Options};

const DEADLINE: Duration = Duration::from_secs(10);
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(250);
const REDIRECTS: usize = 5;

/// What is asked for.
#[derive(Clone)]
pub(crate) struct Request<'a> {
    pub(crate) url: Url,
    /// For messages: what is being read.
    pub(crate) what: &'a str,
    pub(crate) accept: Option<&'static str>,
    pub(crate) authorization: Option<HeaderValue>,
    /// What is written; nothing for a GET.
    pub(crate) write: Option<Write>,
    /// The most bytes that are read.
    pub(crate) cap: usize,
}

/// What is written, and how.
#[derive(Clone)]
pub(crate) struct Write {
    pub(crate) method: Method,
    pub(crate) media_type: String,
    pub(crate) body: Vec<u8>,
}

impl<'a> Request<'a> {
    pub(crate) fn get(url: Url, what: &'a str, cap: usize) -> Self {
        Self { url, what, accept: None, authorization: None, write: None, cap }
    }

    fn method(&self) -> Method {
        self.write.as_ref().map_or(Method::GET, |write| write.method.clone())
    }

    /// Whether asking changes nothing.
    fn reads(&self) -> bool {
        matches!(self.method(), Method::GET | Method::HEAD)
    }
}

/// An answer. Only a successful one has its body read.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Who was asked at first.
    pub(crate) asked: Url,
    /// Who answered in the end.
    pub(crate) url: Url,
}

/// The client. Cheap to clone; clones share connections and turns.
#[derive(Clone)]
pub(crate) struct Http {
    /// For names that are not listed, and for addresses.
    strict: reqwest::Client,
    /// For names that are listed: their addresses are judged otherwise.
    listed: reqwest::Client,
    proxied: Option<reqwest::Client>,
    no_proxy: Arc<Vec<Direct>>,
    guard: Arc<Guard>,
    turns: Arc<Turns>,
    /// For one try.
    pub(crate) deadline: Duration,
}

impl Http {
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        Self::looking_up(options, &system())
    }

    /// With another resolver than the machine's.
    pub(crate) fn looking_up(options: &Options, lookup: &Lookup) -> Result<Self, Error> {
        let guard = Arc::new(Guard {
            allowed: options.allow.clone(),
            loopback: options.plain_http_on_loopback,
        });
        let authorities = authorities(&options.authorities)?;
        let client = |listed: bool, proxy: Option<reqwest::Proxy>| {
            let lookup = Arc::clone(lookup);
            let builder = reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .no_proxy()
                .connect_timeout(CONNECT_DEADLINE)
                .pool_max_idle_per_host(AT_ONCE)
                .tls_certs_merge(authorities.clone())
                .dns_resolver(Resolver { lookup, guard: Arc::clone(&guard), listed })
                .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")));
            let builder = match proxy {
                Some(proxy) => builder.proxy(proxy),
                None => builder,
            };
            builder.build().map_err(|error| Error::Client(cause(&error)))
        };
        let proxied = match &options.proxy {
            None => None,
            Some(proxy) => {
                let url = proxy.url();
                let port = url.port_or_known_default().unwrap_or_default();
                if let Some(danger) = stated(url).and_then(|ip| guard.stated(ip, port)) {
                    let (what, url) = ("through the proxy".to_owned(), proxy.to_string());
                    return Err(Error::Refused { what, url, why: danger.why() });
                }
                let listed = guard.lists(url.host_str().unwrap_or_default(), port);
                let proxy = reqwest::Proxy::all(url.as_str())
                    .map_err(|error| Error::Client(cause(&error)))?;
                Some(client(listed, Some(proxy))?)
            }
        };
        Ok(Self {
            strict: client(false, None)?,
            listed: client(true, None)?,
            proxied,
            no_proxy: Arc::new(options.no_proxy.clone()),
            guard: Arc::clone(&guard),
            turns: Arc::default(),
            deadline: DEADLINE,
        })
    }

    /// The scheme to speak to a host and port.
    pub(crate) fn scheme(&self, address: &str) -> &'static str {
        let loopback = Url::parse(&format!("http://{address}/")).is_ok_and(|url| is_loopback(&url));
        if loopback && self.guard.loopback { "http" } else { "https" }
    }

    /// Asks, following redirects. Any status that is neither a redirect nor "try later" is the
    /// caller's to judge.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<Response, Error> {
        let named_by = request.url.clone();
        self.send_named_by(&named_by, request).await
    }

    /// Asks for what another address named: that one's being loopback or not decides where this
    /// may lead.
    pub(crate) async fn send_named_by(
        &self,
        named_by: &Url,
        request: Request<'_>,
    ) -> Result<Response, Error> {
        let error = match self.attempt(named_by, request.clone(), self.deadline).await {
            Err(error) => error,
            answered => return answered,
        };
        let Some(pause) = pause(request.reads(), &error, self.deadline) else { return Err(error) };
        tokio::time::sleep(pause).await;
        self.attempt(named_by, request, self.deadline.saturating_sub(pause)).await
    }

    /// One try, over all its redirects.
    async fn attempt(
        &self,
        named_by: &Url,
        mut request: Request<'_>,
        mut left: Duration,
    ) -> Result<Response, Error> {
        let start = request.url.clone();
        for _ in 0..=REDIRECTS {
            self.permit(&request, named_by)?;
            // Waiting for a turn is not the host's fault and takes nothing from its time.
            let turn = self.turns.take(host(&request.url)).await;
            let asked = Instant::now();
            let response = timeout(left, self.ask(&request)).await.unwrap_or_else(|_| {
                Err(unreachable(&request, "it did not answer in full in time".to_owned()))
            })?;
            drop(turn);
            left = left.saturating_sub(asked.elapsed());
            let location = response.headers.get(LOCATION);
            let Some(location) = location.filter(|_| response.status.is_redirection()) else {
                return Ok(Response { asked: start, ..response });
            };
            let next = location.to_str().ok().and_then(|to| response.url.join(to).ok());
            let next = next.ok_or_else(|| Error::Malformed {
                host: host(&response.url),
                what: request.what.to_owned(),
                why: "it redirects to something that is not an address".to_owned(),
            })?;
            if !request.reads() {
                return Err(refused(&request, "what is written is not sent on by redirects"));
            }
            if next.origin() != start.origin() {
                request.authorization = None;
            }
            request.url = next;
        }
        Err(refused(&request, "it is the sixth redirect in a row"))
    }

    fn permit(&self, request: &Request<'_>, named_by: &Url) -> Result<(), Error> {
        let url = &request.url;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused(request, "it has credentials in it"));
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(url) && self.guard.loopback => {}
            "http" => {
                return Err(refused(request, "plain HTTP is spoken to loopback addresses only"));
            }
            _ => return Err(refused(request, "only HTTPS is spoken here")),
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if let Some(danger) = stated(url).and_then(|ip| self.guard.stated(ip, port)) {
            return Err(refused(request, danger.why()));
        }
        if is_loopback(url) && !is_loopback(named_by) {
            return Err(refused(request, "an outside host may not send us to this machine"));
        }
        Ok(())
    }

    /// The way to an address.
    fn way(&self, url: &Url) -> &reqwest::Client {
        let direct = is_loopback(url) || self.no_proxy.iter().any(|direct| direct.covers(url));
        if let Some(proxied) = self.proxied.as_ref().filter(|_| !direct) {
            return proxied;
        }
        let port = url.port_or_known_default().unwrap_or_default();
        let listed = url.host_str().is_some_and(|name| self.guard.lists(name, port));
        if listed { &self.listed } else { &self.strict }
    }

    async fn ask(&self, request: &Request<'_>) -> Result<Response, Error> {
        let url = request.url.clone();
        let mut asking = self.way(&url).request(request.method(), url);
        if let Some(accept) = request.accept {
            asking = asking.header(ACCEPT, accept);
        }
        if let Some(authorization) = &request.authorization {
            asking = asking.header(AUTHORIZATION, authorization);
        }
        if let Some(Write { media_type, body, .. }) = request.write.clone() {
            asking = asking.header(CONTENT_TYPE, media_type).body(body);
        }
        let mut answer = asking.send().await.map_err(|error| failed(request, &error))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(Error::Unavailable {
                host: host(&request.url),
                what: request.what.to_owned(),
                status: status.as_u16(),
                retry_after: retry_after(&headers),
            });
        }
        let mut body = Vec::new();
        while status.is_success()
            && let Some(chunk) = answer.chunk().await.map_err(|error| failed(request, &error))?
        {
            if body.len() + chunk.len() > request.cap {
                return Err(Error::TooLarge {
                    host: host(&request.url),
                    what: request.what.to_owned(),
                    limit: format!("{} bytes", request.cap),
                });
            }
            body.extend_from_slice(&chunk);
        }
        let url = request.url.clone();
        Ok(Response { status, headers, body, asked: url.clone(), url })
    }
}

/// The certificates of a PEM bundle.
fn authorities(pem: &[u8]) -> Result<Vec<reqwest::Certificate>, Error> {
    let wrong = || Error::Option {
        what: "the certificate authorities",
        text: String::from_utf8_lossy(pem)
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(60)
            .collect(),
        way_out: "give certificates as PEM, one after the other",
    };
    if pem.is_empty() {
        return Ok(Vec::new());
    }
    let found = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| wrong())?;
    if found.is_empty() { Err(wrong()) } else { Ok(found) }
}

/// How long to wait before the one retry; nothing when there is none.
fn pause(reads: bool, error: &Error, deadline: Duration) -> Option<Duration> {
    match error {
        // It is not tried before the host wants it.
        Error::Unavailable { retry_after: Some(after), .. } => {
            (*after < deadline).then(|| RETRY_PAUSE.max(*after))
        }
        Error::Unavailable { status: 429 | 503, .. } => Some(RETRY_PAUSE),
        // What was written may have arrived although no answer did.
        Error::Unavailable { .. } | Error::Unreachable { .. } if reads => Some(RETRY_PAUSE),
        _ => None,
    }
}

/// `Retry-After` (RFC 9110, 10.2.3): seconds, or a date, which is measured by the host's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let date = |name| {
        let text = headers.get(name)?.to_str().ok()?;
        jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
    };
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let wait = date(RETRY_AFTER)?.duration_since(date(DATE)?);
    Some(Duration::try_from(wait).unwrap_or_default())
}

/// Host and port of an address, for messages.
pub(crate) fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

fn refused(request: &Request<'_>, why: &'static str) -> Error {
    let url = format!("{}://{}{}", request.url.scheme(), host(&request.url), request.url.path());
    Error::Refused { what: request.what.to_owned(), url, why }
}

fn unreachable(request: &Request<'_>, why: String) -> Error {
    Error::Unreachable { host: host(&request.url), what: request.what.to_owned(), why }
}

fn failed(request: &Request<'_>, error: &reqwest::Error) -> Error {
    forbidden(error)
        .map_or_else(|| unreachable(request, cause(error)), |danger| refused(request, danger.why()))
}

/// The rule that kept an address from being connected to, where that was it.
fn forbidden(error: &(dyn std::error::Error + 'static)) -> Option<Danger> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(Forbidden { danger, .. }) = error.downcast_ref() {
            return Some(*danger);
        }
        next = error.source();
    }
    None
}

/// An error with its causes, without the address (it may carry a token).
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = Vec::new();
    let mut next = error.source();
    while let Some(error) = next {
        words.push(error.to_string());
        next = error.source();
    }
    if words.is_empty() {
        let plain = error.downcast_ref::<reqwest::Error>();
        let timeout = plain.is_some_and(reqwest::Error::is_timeout);
        return if timeout { "no answer in time" } else { "the request failed" }.to_owned();
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_says_in_seconds_or_by_date_when_to_ask_again() {
        let now = Some("Sun, 06 Nov 1994 08:49:00 GMT");
        let cases = [
            ("120", now, Some(120)),
            ("0", None, Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", now, Some(37)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", now, Some(0)),
            // It does not tell what time it is there.
            ("Sun, 06 Nov 1994 08:49:37 GMT", None, None),
            ("soon", now, None),
            ("-1", now, None),
        ];
        for (text, date, expected) in cases {
            let mut headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            headers.extend(date.map(|date| (DATE, date.parse().unwrap())));
            let expected = expected.map(Duration::from_secs);
            assert_eq!(retry_after(&headers), expected, "{text}");
        }
    }
}
