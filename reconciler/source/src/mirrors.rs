//! All mirrors of one engine: one for each repository and credentials.
//!
//! Users with different credentials have different mirrors, because what one may
//! read, another may not. The folder's name comes from both, by a slow hash: who
//! sees the names learns nothing that helps to guess a password.

use crate::address::Address;
use crate::site::Site;
use crate::{Credentials, Error, Limits, Mirror, initialise};
use aws_lc_rs::pbkdf2;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_ids::Digest;
use tokio::sync::Semaphore;

const ROUNDS: NonZeroU32 = NonZeroU32::new(50_000).unwrap();

/// The mirrors below one folder.
pub struct Mirrors {
    folder: PathBuf,
    limits: Limits,
    transfers: Arc<Semaphore>,
    known: Mutex<HashMap<(String, Digest), Arc<Mirror>>>,
}

impl Mirrors {
    /// Mirrors below this folder, which belongs to them alone and may be emptied at any time.
    ///
    /// # Errors
    /// When libgit2 cannot be prepared ([`initialise`]) or the folder cannot be made.
    pub fn new(folder: PathBuf, limits: Limits) -> Result<Self, Error> {
        initialise()?;
        std::fs::create_dir_all(&folder).map_err(|error| failed(&folder, "create it", &error))?;
        let transfers = Arc::new(Semaphore::new(limits.transfers));
        Ok(Self { folder, limits, transfers, known: Mutex::default() })
    }

    /// The mirror of a repository. Nothing is fetched.
    ///
    /// # Errors
    /// When the URL may not be a source.
    pub fn mirror(&self, url: &str, credentials: Credentials) -> Result<Arc<Mirror>, Error> {
        let address = Address::parse(url, &self.limits)?;
        let secret = credentials.header().unwrap_or_default();
        let key = (address.url().to_owned(), Digest::of(secret.as_bytes()));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mirror) = known.get(&key) {
            return Ok(Arc::clone(mirror));
        }
        let folder = self.folder.join(folder_name(address.url(), &secret));
        let site = Site::new(address, credentials, folder, self.limits.clone());
        let mirror = Arc::new(Mirror::new(site, Arc::clone(&self.transfers)));
        known.insert(key, Arc::clone(&mirror));
        Ok(mirror)
    }

    /// Forgets the mirrors that nobody holds any more and removes their folders, and those of former
    /// runs that were not asked for since: call it now and then, for instance after credentials were
    /// renewed. Blocks while it deletes.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sweep(&self) -> Result<(), Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, mirror| Arc::strong_count(mirror) > 1);
        let used: HashSet<PathBuf> =
            known.values().map(|mirror| mirror.site().folder.clone()).collect();
        let failed = |error: std::io::Error| failed(&self.folder, "sweep it", &error);
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if !used.contains(&path.with_extension("git")) {
                std::fs::remove_dir_all(&path).map_err(failed)?;
            }
        }
        Ok(())
    }
}

fn failed(folder: &Path, doing: &'static str, error: &std::io::Error) -> Error {
    Error::Mirror { url: folder.display().to_string(), doing, why: error.to_string() }
}

fn folder_name(url: &str, secret: &str) -> String {
    let mut hash = [0; 16];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ROUNDS,
        url.as_bytes(),
        secret.as_bytes(),
        &mut hash,
    );
    let mut name = hash.iter().fold(String::new(), |mut name, byte| {
        let _infallible = write!(name, "{byte:02x}");
        name
    });
    name.push_str(".git");
    name
}
