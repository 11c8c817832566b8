//! The keys that environments sign with: deploy commits and verification summaries.
//!
//! Each environment has one Secret in the engine's namespace, and its entries say where the key
//! is: in the Secret itself, in a file of the engine's, or in a token (PKCS #11) that signs and
//! never gives the key away. The same Secret lists the keys that are accepted beside it, which is
//! what makes a rotation without a gap: the new key signs while the old one still counts.
//!
//! Everything here may block: on a file, or on a token.

mod address;
mod error;
mod ring;
mod token;

pub use address::Address;
pub use error::Error;
pub use ring::{
    ACCEPTED, FILE, PIN, PIN_FILE, PKCS11, PREFIX, PRIVATE_KEY, Ring, Vault, secret_name,
};
