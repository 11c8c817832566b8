//! Free loopback ports.
//!
//! Kubernetes' parts cannot report a port they chose themselves, so ports are chosen here, below
//! the range from which the kernel serves outgoing connections: nothing but another lab can take
//! one between the choice and its use, and a part that is stopped finds its port again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::TcpListener;

const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

/// Different ports on 127.0.0.1 that nobody listens on.
pub(crate) fn free<const N: usize>() -> [u16; N] {
    let mut candidate =
        u16::try_from(RandomState::new().hash_one(std::process::id()) % u64::from(COUNT))
            .unwrap_or_default();
    let mut held = Vec::with_capacity(N);
    std::array::from_fn(|_| {
        loop {
            candidate = (candidate + 1) % COUNT;
            let port = FIRST + candidate;
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
                held.push(listener);
                return port;
            }
        }
    })
}
