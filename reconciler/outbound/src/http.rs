//! One guarded request.
//!
//! Every limit is here: 10 s a try, one retry, five redirects, the body's cap. Redirects are
//! followed by hand, because the rule (another host never sees the credentials, HTTPS never
//! becomes HTTP, no link-local address) must hold at each step.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};

use crate::Error;

const DEADLINE: Duration = Duration::from_secs(10);
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(250);
const REDIRECTS: usize = 5;

/// What the client may do beyond HTTPS to public names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Speak plain HTTP to registries at loopback addresses, for a registry on the same machine.
    pub plain_http_on_loopback: bool,
}

/// What is asked for.
pub(crate) struct Request<'a> {
    pub(crate) url: Url,
    /// For messages: what is being read.
    pub(crate) what: &'a str,
    pub(crate) accept: Option<&'static str>,
    pub(crate) authorization: Option<HeaderValue>,
    /// The most bytes that are read.
    pub(crate) cap: usize,
}

/// What is written, and how.
pub(crate) struct Write {
    pub(crate) method: Method,
    pub(crate) media_type: String,
    pub(crate) body: Vec<u8>,
}

/// An answer. Only a successful one has its body read.
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Who answered in the end.
    pub(crate) url: Url,
}

#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: reqwest::Client,
    options: Options,
}

impl Http {
    pub(crate) fn new(options: Options) -> Result<Self, Error> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .timeout(DEADLINE)
            .connect_timeout(CONNECT_DEADLINE)
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Client(cause(&error)))?;
        Ok(Self { client, options })
    }

    /// The scheme to speak to a host and port.
    pub(crate) fn scheme(&self, address: &str) -> &'static str {
        let loopback = Url::parse(&format!("http://{address}/")).is_ok_and(|url| is_loopback(&url));
        if loopback && self.options.plain_http_on_loopback { "http" } else { "https" }
    }

    /// Gets, following redirects. Any status that is neither a redirect nor "try later" is the
    /// caller's to judge.
    pub(crate) async fn get(&self, request: Request<'_>) -> Result<Response, Error> {
        let named_by = request.url.clone();
        self.get_named_by(&named_by, request).await
    }

    /// Writes, once: what was written may have arrived although no answer did, so that trying
    /// again is for who knows what it was. A redirect is an answer like any other.
    pub(crate) async fn write(
        &self,
        request: Request<'_>,
        write: Write,
    ) -> Result<Response, Error> {
        self.permit(&request, &request.url)?;
        self.try_once(&request, Some(write)).await
    }

    /// Gets what another address named: that one's being loopback or not decides where this may
    /// lead.
    pub(crate) async fn get_named_by(
        &self,
        named_by: &Url,
        mut request: Request<'_>,
    ) -> Result<Response, Error> {
        let start = request.url.clone();
        for _ in 0..=REDIRECTS {
            self.permit(&request, named_by)?;
            let response = self.try_twice(&request).await?;
            let location = response.headers.get(LOCATION);
            let Some(location) = location.filter(|_| response.status.is_redirection()) else {
                return Ok(response);
            };
            let next = location.to_str().ok().and_then(|to| response.url.join(to).ok());
            let next = next.ok_or_else(|| Error::Malformed {
                host: host(&response.url),
                what: request.what.to_owned(),
                why: "it redirects to something that is not an address".to_owned(),
            })?;
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
            "http" if is_loopback(url) && self.options.plain_http_on_loopback => {}
            "http" => {
                return Err(refused(request, "plain HTTP is spoken to loopback addresses only"));
            }
            _ => return Err(refused(request, "only HTTPS is spoken here")),
        }
        if is_link_local(url) {
            return Err(refused(request, "it is a link-local address"));
        }
        if is_loopback(url) && !is_loopback(named_by) {
            return Err(refused(request, "an outside host may not send us to this machine"));
        }
        Ok(())
    }

    async fn try_twice(&self, request: &Request<'_>) -> Result<Response, Error> {
        match self.try_once(request, None).await {
            Err(Error::Unreachable { .. } | Error::Unavailable { .. }) => {
                tokio::time::sleep(RETRY_PAUSE).await;
                self.try_once(request, None).await
            }
            answered => answered,
        }
    }

    async fn try_once(
        &self,
        request: &Request<'_>,
        write: Option<Write>,
    ) -> Result<Response, Error> {
        let unreachable = |error: reqwest::Error| Error::Unreachable {
            host: host(&request.url),
            what: request.what.to_owned(),
            why: cause(&error),
        };
        let method = write.as_ref().map_or(Method::GET, |write| write.method.clone());
        let mut asking = self.client.request(method, request.url.clone());
        if let Some(accept) = request.accept {
            asking = asking.header(ACCEPT, accept);
        }
        if let Some(authorization) = &request.authorization {
            asking = asking.header(AUTHORIZATION, authorization);
        }
        if let Some(write) = write {
            asking = asking.header(CONTENT_TYPE, write.media_type).body(write.body);
        }
        let mut answer = asking.send().await.map_err(unreachable)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Err(Error::Unavailable {
                host: host(&request.url),
                what: request.what.to_owned(),
                status: status.as_u16(),
            });
        }
        let mut body = Vec::new();
        while status.is_success()
            && let Some(chunk) = answer.chunk().await.map_err(unreachable)?
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
        Ok(Response { status, headers, body, url: request.url.clone() })
    }
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

fn address(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

fn is_loopback(url: &Url) -> bool {
    url.host_str() == Some("localhost") || address(url).is_some_and(|ip| ip.is_loopback())
}

fn is_link_local(url: &Url) -> bool {
    address(url).is_some_and(|ip| match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_unspecified(),
    })
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
