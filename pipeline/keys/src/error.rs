//! Why a key cannot be used. No message holds a key or a PIN.

use std::path::PathBuf;

/// Something about an environment's key. Nothing is lost: it is tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The Secret names no place of the key, or several.
    #[error(
        "it must have exactly one of the entries ssh-privatekey, file and pkcs11, and has {found}"
    )]
    Place {
        /// The entries of these that it has.
        found: String,
    },
    /// An entry cannot be read.
    #[error("its entry {entry}: {why}")]
    Entry {
        /// The entry.
        entry: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// A file that an entry names cannot be read.
    #[error(
        "reading {}, which its entry {entry} names: {why}; mount it into the engine's pod", path.display()
    )]
    File {
        /// The entry.
        entry: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// The key is in a token, and the engine knows no way to tokens.
    #[error(
        "its entry pkcs11 names a token, and the engine was started without --pkcs11-module; give it the path of the token's library"
    )]
    NoModule,
    /// The library of tokens cannot be loaded.
    #[error("loading the PKCS #11 module {}: {why}; see docs/keys.md", path.display())]
    Module {
        /// The library.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// The token does not do it.
    #[error("token {token}: {why}")]
    Token {
        /// The token's label.
        token: String,
        /// What is wrong, and the way out.
        why: String,
    },
}
