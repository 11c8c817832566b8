//! From a name to the addresses that may be connected to.
//!
//! The HTTP client connects to what it is given here and looks nothing up by itself: the checked
//! address is the one that is used.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::address::{Danger, Guard};

type Found = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
/// Where names are looked up. A port other than 0 replaces the one that a scheme has by default.
pub(crate) type Lookup = Arc<dyn Fn(String) -> Found + Send + Sync>;

/// The machine's own resolver.
pub(crate) fn system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
    })
}

/// A name leads to nothing that may be reached.
#[derive(Debug, thiserror::Error)]
#[error("{ip}: {}", danger.why())]
pub(crate) struct Forbidden {
    pub(crate) ip: IpAddr,
    pub(crate) danger: Danger,
}

pub(crate) struct Resolver {
    pub(crate) lookup: Lookup,
    pub(crate) guard: Arc<Guard>,
    /// Whether the names that are asked for are listed.
    pub(crate) listed: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (found, guard) = ((self.lookup)(name.as_str().to_owned()), Arc::clone(&self.guard));
        let listed = self.listed;
        Box::pin(async move {
            let (mut forbidden, mut reachable) = (None, Vec::new());
            for address in found.await? {
                match guard.found(address.ip(), listed) {
                    Some(danger) => forbidden = Some(Forbidden { ip: address.ip(), danger }),
                    None => reachable.push(address),
                }
            }
            match forbidden {
                Some(forbidden) if reachable.is_empty() => Err(forbidden.into()),
                _ => Ok(Box::new(reachable.into_iter()) as Addrs),
            }
        })
    }
}
