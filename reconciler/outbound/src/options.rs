//! What an installation says about its network: which addresses may be reached, through which
//! proxy, with whose certificates, and where registries are mirrored.
//!
//! All of it is given: the process's environment is never read here, so that nothing sends
//! credentials through a proxy that nobody stated.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

use crate::address::{Network, stated};
use crate::{Allowed, Error, Mirror};

/// What the client may do beyond HTTPS to public and private addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Speak plain HTTP to registries at loopback addresses, for a registry on the same machine.
    pub plain_http_on_loopback: bool,
    /// Loopback, link-local, metadata, multicast and reserved addresses that may be reached.
    pub allow: Vec<Allowed>,
    /// The proxy for everything that is not at a loopback address. Names are looked up by it; its
    /// own address is checked as any other.
    pub proxy: Option<Proxy>,
    /// What is reached without the proxy.
    pub no_proxy: Vec<Direct>,
    /// Certificate authorities beside those of the machine, as PEM.
    pub authorities: Vec<u8>,
    /// Registries that are asked instead of the one in a name, and it alone (`from=to`).
    pub aliases: Vec<Mirror>,
    /// Registries that are asked before the one in a name, in this order.
    pub mirrors: Vec<Mirror>,
}

/// The address of a proxy, with or without credentials. These are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy(Url);

impl Proxy {
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl FromStr for Proxy {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        // The text may hold a password: it is not told.
        let wrong = || Error::Option {
            what: "the proxy",
            text: "(not shown, it may hold a password)".to_owned(),
            way_out: "write http://host:port or https://host:port, with user:password@ before the \
                 host where it asks for them",
        };
        let with_scheme =
            if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&with_scheme).map_err(|_| wrong())?;
        let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let known = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
        if plain && known { Ok(Self(url)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), crate::http::host(&self.0))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// What is reached without the proxy: `*`, a domain with all below it, an address or a network.
/// The form is that of `NO_PROXY`, one entry at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Direct(Way);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Everything,
    Network(Network),
    Domain(String, Option<u16>),
}

impl Direct {
    pub(crate) fn covers(&self, url: &Url) -> bool {
        let ip: Option<IpAddr> = stated(url);
        match &self.0 {
            Way::Everything => true,
            Way::Network(network) => ip.is_some_and(|ip| network.contains(ip.to_canonical())),
            Way::Domain(domain, port) => {
                let name = url.host_str().unwrap_or_default().trim_end_matches('.');
                let below = name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
                (name == domain || below)
                    && port.is_none_or(|p| url.port_or_known_default() == Some(p))
            }
        }
    }
}

impl FromStr for Direct {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" {
            return Ok(Self(Way::Everything));
        }
        if let Some(network) = Network::parse(&text) {
            return Ok(Self(Way::Network(network)));
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, port.parse().map(Some)),
            None => (text.as_str(), Ok(None)),
        };
        let domain = name.strip_prefix("*.").unwrap_or(name).trim_matches('.');
        match port {
            Ok(port) if crate::name::valid_host(domain) => {
                Ok(Self(Way::Domain(domain.to_owned(), port)))
            }
            _ => Err(Error::Option {
                what: "what is reached without the proxy",
                text: text.chars().take(300).collect(),
                way_out: "write a domain, an address, a network such as 10.0.0.0/8, or *",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_password_is_never_shown() {
        let proxy: Proxy = "http://clinic:hunter2@proxy.example.com:3128".parse().unwrap();
        let options = Options { proxy: Some(proxy.clone()), ..Options::default() };
        let refused = "ftp://clinic:hunter2@proxy.example.com".parse::<Proxy>().unwrap_err();
        let said = format!("{proxy} {proxy:?} {options:?} {refused} {refused:?}");
        assert!(said.contains("http://proxy.example.com:3128"), "{said}");
        assert!(!said.contains("hunter2") && !said.contains("clinic"), "{said}");
        assert_eq!("proxy:3128".parse::<Proxy>().unwrap().to_string(), "http://proxy:3128");
    }

    #[test]
    fn what_is_stated_as_direct_takes_no_proxy() {
        let cases = [
            ("example.com", "https://example.com/", true),
            ("example.com", "https://registry.example.com/", true),
            (".example.com", "https://registry.example.com/", true),
            ("*.example.com", "https://registry.example.com/", true),
            ("example.com", "https://evilexample.com/", false),
            ("example.com:5000", "https://example.com/", false),
            ("example.com:443", "https://example.com/", true),
            ("10.0.0.0/8", "https://10.1.2.3/", true),
            ("10.0.0.0/8", "https://[::ffff:10.1.2.3]/", true),
            ("10.0.0.0/8", "https://11.1.2.3/", false),
            ("10.0.0.0/8", "https://ten.example.com/", false),
            ("*", "https://anything.example.com/", true),
        ];
        for (direct, url, expected) in cases {
            let covers = direct.parse::<Direct>().unwrap().covers(&Url::parse(url).unwrap());
            assert_eq!(covers, expected, "{direct} {url}");
        }
        assert!("a b".parse::<Direct>().is_err());
    }
}
