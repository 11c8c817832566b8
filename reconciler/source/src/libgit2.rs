//! Process-wide settings of libgit2: the only unsafe code here.
//!
//! libgit2 keeps its network timeouts and the places where it looks for
//! configuration in C globals, and git2 marks setting them unsafe because nothing
//! synchronises them. They are set exactly once, before this crate makes its first
//! other call into libgit2: [`crate::Mirrors::new`] cannot be passed without it.
//! The first call also points OpenSSL to the system's certificates by environment
//! variables, which is why `main` calls [`initialise`] before it starts threads.
#![allow(
    unsafe_code,
    reason = "git2 offers libgit2's process-wide settings as unsafe functions only"
)]

use crate::Error;
use git2::{ConfigLevel, opts};
use std::sync::OnceLock;

const CONNECT_MILLISECONDS: i32 = 10_000;
const SILENCE_MILLISECONDS: i32 = 30_000;

/// Prepares libgit2: certificate paths, network timeouts (10 s to connect, 30 s of
/// silence), and no configuration but a mirror's own. Call it in `main` before any
/// thread starts; later calls do nothing.
///
/// # Errors
/// When libgit2 refuses a setting, which means that it was built without it.
pub fn initialise() -> Result<(), Error> {
    static DONE: OnceLock<Result<(), Error>> = OnceLock::new();
    DONE.get_or_init(|| {
        set().map_err(|error| Error::Git {
            doing: "prepare libgit2",
            url: "the process".to_owned(),
            why: error.message().to_owned(),
        })
    })
    .clone()
}

fn set() -> Result<(), git2::Error> {
    // SAFETY: inside OnceLock, so by one thread and once; and no other thread is inside libgit2,
    // because this crate is its only user and enters it only through `Mirrors`, whose constructor
    // waits for this function.
    unsafe {
        opts::set_server_connect_timeout_in_milliseconds(CONNECT_MILLISECONDS)?;
        opts::set_server_timeout_in_milliseconds(SILENCE_MILLISECONDS)?;
        for level in [ConfigLevel::System, ConfigLevel::Global, ConfigLevel::XDG] {
            opts::set_search_path(level, "")?;
        }
    }
    Ok(())
}
