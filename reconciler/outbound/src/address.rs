//! Which addresses may be reached.
//!
//! A name in somebody's pipeline, or an answer of a registry, must not lead into the machine, to
//! its neighbours on the link, or to a cloud's metadata service, which hands out credentials.
//! Addresses are judged after they are resolved and before they are connected to, so no name can
//! mean one thing to the check and another to the connection. Private ranges (10/8 and its like)
//! are allowed: the registries of hospitals are there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use reqwest::Url;

use crate::Error;

/// Where clouds answer with credentials of the machine, outside of the link-local ranges: AWS,
/// Google, Alibaba, Azure and Oracle.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Why an address is not reached unless it is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Danger {
    Loopback,
    LinkLocal,
    Metadata,
    Multicast,
    Reserved,
}

impl Danger {
    pub(crate) fn of(ip: IpAddr) -> Option<Self> {
        let ip = judged(ip);
        if METADATA.contains(&ip) {
            return Some(Self::Metadata);
        }
        match ip {
            IpAddr::V4(v4) if v4.is_loopback() => Some(Self::Loopback),
            IpAddr::V4(v4) if v4.is_link_local() => Some(Self::LinkLocal),
            IpAddr::V4(v4) if v4.is_multicast() => Some(Self::Multicast),
            // 0/8 is "this network", 240/4 is reserved (RFC 6890).
            IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.octets()[0] >= 240 => Some(Self::Reserved),
            IpAddr::V6(v6) if v6.is_loopback() => Some(Self::Loopback),
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Some(Self::LinkLocal),
            IpAddr::V6(v6) if v6.is_multicast() => Some(Self::Multicast),
            IpAddr::V6(v6) if v6.is_unspecified() || wraps_unseen(v6) => Some(Self::Reserved),
            _ => None,
        }
    }

    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::Loopback => "it leads to a loopback address; list it where it may be reached",
            Self::LinkLocal => "it leads to a link-local address; list it where it may be reached",
            Self::Metadata => {
                "it leads to the metadata service of a cloud; list it where it may be reached"
            }
            Self::Multicast => "it leads to a multicast address; list it where it may be reached",
            Self::Reserved => "it leads to a reserved address; list it where it may be reached",
        }
    }
}

/// The address that counts: of an IPv6 address that carries an IPv4 one, that one.
fn judged(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let v4 = |high: u16, low: u16| {
        IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
    };
    match v6.segments() {
        // Mapped and translated (RFC 4291, RFC 2765), NAT64 (RFC 6052), 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        // "Compatible" (RFC 4291), but not :: and ::1.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => v4(high, low),
        _ => ip,
    }
}

/// Teredo and NAT64 prefixes of a network: they carry an address in a form that is not read here.
fn wraps_unseen(v6: Ipv6Addr) -> bool {
    matches!(v6.segments(), [0x2001, 0, ..] | [0x64, 0xff9b, 1, ..])
}

/// An address and how many of its bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    ip: IpAddr,
    bits: u8,
}

impl Network {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let ip: IpAddr = ip.trim_matches(['[', ']']).parse().ok()?;
        let all = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        (bits <= all).then_some(Self { ip, bits })
    }

    pub(crate) fn contains(self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                (own.to_bits() ^ ip.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                (own.to_bits() ^ ip.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

/// What may be reached nevertheless: `registry.local`, `registry.local:5000`, `127.0.0.1:5000` or
/// `169.254.0.0/16`.
///
/// An address with a port is for addresses that are asked by number. A name may lead to a
/// loopback or reserved address, but to link-local addresses and metadata services only where
/// these are listed by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed(Entry);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Network(Network),
    Address(IpAddr, u16),
    Name(String, Option<u16>),
}

impl FromStr for Allowed {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(network) = Network::parse(text) {
            return Ok(Self(Entry::Network(network)));
        }
        if let Ok(address) = text.parse::<std::net::SocketAddr>() {
            return Ok(Self(Entry::Address(address.ip(), address.port())));
        }
        let text = text.to_ascii_lowercase();
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, port.parse().map(Some)),
            None => (text.as_str(), Ok(None)),
        };
        match port {
            Ok(port) if crate::name::valid_host(name) => {
                Ok(Self(Entry::Name(name.to_owned(), port)))
            }
            _ => Err(Error::Option {
                what: "an address that may be reached",
                text: text.chars().take(300).collect(),
                way_out: "write a name or address, with or without :port, or a network such as \
                     10.0.0.0/8",
            }),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Entry::Network(network) => write!(f, "{}/{}", network.ip, network.bits),
            Entry::Address(ip, port) => write!(f, "{}", std::net::SocketAddr::new(*ip, *port)),
            Entry::Name(name, Some(port)) => write!(f, "{name}:{port}"),
            Entry::Name(name, None) => f.write_str(name),
        }
    }
}

/// The rule for addresses, with what is listed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard {
    pub(crate) allowed: Vec<Allowed>,
    /// Loopback addresses are listed, by number and as `localhost`.
    pub(crate) loopback: bool,
}

impl Guard {
    /// Why an address that is asked by number may not be.
    pub(crate) fn stated(&self, ip: IpAddr, port: u16) -> Option<Danger> {
        let exactly = |one: &Allowed| matches!(one.0, Entry::Address(own, p) if own == judged(ip) && p == port);
        if self.allowed.iter().any(exactly) {
            return None;
        }
        let danger = self.found(ip, false)?;
        (danger != Danger::Loopback || !self.loopback).then_some(danger)
    }

    /// Why an address that a name leads to may not be connected to.
    pub(crate) fn found(&self, ip: IpAddr, name_is_listed: bool) -> Option<Danger> {
        let danger = Danger::of(ip)?;
        let within = |one: &Allowed| match one.0 {
            Entry::Network(network) => network.contains(ip) || network.contains(judged(ip)),
            _ => false,
        };
        let harmless = matches!(danger, Danger::Loopback | Danger::Reserved);
        let listed = (name_is_listed && harmless) || self.allowed.iter().any(within);
        (!listed).then_some(danger)
    }

    /// Whether a name is listed.
    pub(crate) fn lists(&self, name: &str, port: u16) -> bool {
        let is = |one: &Allowed| match &one.0 {
            Entry::Name(own, own_port) => own == name && own_port.is_none_or(|p| p == port),
            _ => false,
        };
        (self.loopback && name == "localhost") || self.allowed.iter().any(is)
    }
}

/// The address in a URL, where its host is one. The URL's parser knows every way of writing one.
pub(crate) fn stated(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_matches(['[', ']']).parse().ok()
}

/// Whether a URL states this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    url.host_str() == Some("localhost")
        || stated(url).is_some_and(|ip| Danger::of(ip) == Some(Danger::Loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_judged_by_what_they_lead_to() {
        let cases = [
            ("127.0.0.1", Some(Danger::Loopback)),
            ("127.9.9.9", Some(Danger::Loopback)),
            ("::1", Some(Danger::Loopback)),
            ("::ffff:127.0.0.1", Some(Danger::Loopback)),
            ("::127.0.0.1", Some(Danger::Loopback)),
            ("::ffff:0:127.0.0.1", Some(Danger::Loopback)),
            ("169.254.169.254", Some(Danger::LinkLocal)),
            ("169.254.170.2", Some(Danger::LinkLocal)),
            ("::ffff:169.254.169.254", Some(Danger::LinkLocal)),
            ("64:ff9b::169.254.169.254", Some(Danger::LinkLocal)),
            ("2002:a9fe:a9fe::1", Some(Danger::LinkLocal)),
            ("fe80::1", Some(Danger::LinkLocal)),
            ("fd00:ec2::254", Some(Danger::Metadata)),
            ("fd20:ce::254", Some(Danger::Metadata)),
            ("100.100.100.200", Some(Danger::Metadata)),
            ("168.63.129.16", Some(Danger::Metadata)),
            ("64:ff9b::100.100.100.200", Some(Danger::Metadata)),
            ("0.0.0.0", Some(Danger::Reserved)),
            ("0.1.2.3", Some(Danger::Reserved)),
            ("::", Some(Danger::Reserved)),
            ("255.255.255.255", Some(Danger::Reserved)),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Some(Danger::Reserved)),
            ("64:ff9b:1::7f00:1", Some(Danger::Reserved)),
            ("224.0.0.1", Some(Danger::Multicast)),
            ("ff02::1", Some(Danger::Multicast)),
            // Hospitals' own networks, and the world.
            ("10.1.2.3", None),
            ("172.16.0.1", None),
            ("192.168.1.1", None),
            ("100.64.0.1", None),
            ("fd12:3456::1", None),
            ("2002:0a01:0203::1", None),
            ("93.184.216.34", None),
            ("2606:2800:220:1::1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Danger::of(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_listed_may_be_reached_and_no_more() {
        let guard = |listed: &[&str]| Guard {
            allowed: listed.iter().map(|text| text.parse().unwrap()).collect(),
            loopback: false,
        };
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let port = guard(&["127.0.0.1:5000", "registry.local:5000", "cache.local"]);
        assert_eq!(port.stated(ip("127.0.0.1"), 5000), None);
        assert_eq!(port.stated(ip("::ffff:127.0.0.1"), 5000), None);
        assert_eq!(port.stated(ip("127.0.0.1"), 6443), Some(Danger::Loopback));
        assert_eq!(port.found(ip("127.0.0.1"), false), Some(Danger::Loopback));
        assert!(port.lists("registry.local", 5000) && !port.lists("registry.local", 443));
        assert!(port.lists("cache.local", 443) && !port.lists("a.cache.local", 443));
        assert_eq!(port.found(ip("127.0.0.1"), true), None);
        // A listed name is still no way to the metadata service.
        assert_eq!(port.found(ip("169.254.169.254"), true), Some(Danger::LinkLocal));
        assert_eq!(port.found(ip("fd00:ec2::254"), true), Some(Danger::Metadata));
        let network = guard(&["169.254.10.0/24", "fe80::/10"]);
        assert_eq!(network.found(ip("169.254.10.9"), false), None);
        assert_eq!(network.stated(ip("64:ff9b::169.254.10.9"), 443), None);
        assert_eq!(network.stated(ip("fe80::1"), 443), None);
        assert_eq!(network.stated(ip("169.254.11.9"), 443), Some(Danger::LinkLocal));
        assert!(!guard(&[]).lists("localhost", 443));
    }

    #[test]
    fn what_is_no_address_is_not_listed() {
        for text in ["", "a b", "10.0.0.0/33", "registry.local:x", "https://a", "a/b", "*", "a:1:2"]
        {
            assert!(text.parse::<Allowed>().is_err(), "{text} was accepted");
        }
        for text in ["10.0.0.0/8", "127.0.0.1:5000", "[::1]:5000", "fe80::/10", "a.example:1", "a"]
        {
            assert_eq!(text.parse::<Allowed>().unwrap().to_string(), text);
        }
    }
}
