//! Where a key is in a token: a PKCS #11 URI (RFC 7512), of which the attributes `token` and
//! `object` are understood. Any other one is refused instead of ignored: it would narrow what is
//! meant. A PIN never stands in it; URIs end up in logs.

use crate::Error;
use crate::ring::PKCS11;

/// A key in a token, by the labels of both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The token's label.
    pub token: String,
    /// The label of both halves of the key.
    pub object: String,
}

impl std::str::FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Entry {
            entry: PKCS11,
            why: format!("{why}; write pkcs11:token=LABEL;object=LABEL (RFC 7512)"),
        };
        let path =
            text.trim().strip_prefix("pkcs11:").ok_or_else(|| wrong("it is no URI of a key"))?;
        if path.contains('?') {
            return Err(wrong(
                "the PIN belongs into the entry pin, and the module into the engine's --pkcs11-module",
            ));
        }
        let (mut token, mut object) = (None, None);
        for attribute in path.split(';').filter(|attribute| !attribute.is_empty()) {
            let (name, value) =
                attribute.split_once('=').ok_or_else(|| wrong("an attribute has no value"))?;
            let place = match name {
                "token" => &mut token,
                "object" => &mut object,
                _ => return Err(wrong("only the attributes token and object are understood")),
            };
            let value = decoded(value).filter(|value| !value.is_empty());
            let value =
                value.ok_or_else(|| wrong("a value is empty or no percent-encoded text"))?;
            if place.replace(value).is_some() {
                return Err(wrong("an attribute stands twice"));
            }
        }
        match (token, object) {
            (Some(token), Some(object)) => Ok(Self { token, object }),
            _ => Err(wrong("token and object must both be named")),
        }
    }
}

/// Percent-decoding (RFC 3986, section 2.1).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn a_key_is_named_by_token_and_object() {
        let address: Address = "pkcs11:token=hospital%20one;object=production\n".parse().unwrap();
        assert_eq!((&*address.token, &*address.object), ("hospital one", "production"));
    }

    #[test]
    fn what_names_no_one_key_is_refused_with_the_form_that_does() {
        let cases = [
            "",
            "token=a;object=b",
            "pkcs11:token=a",
            "pkcs11:token=a;object=",
            "pkcs11:token=a;token=a;object=b",
            "pkcs11:token=a;object=b;serial=1",
            "pkcs11:token=a;object=%zz",
            "pkcs11:token=a;object=%0a",
            "pkcs11:token=a;object=b?pin-value=1234",
        ];
        for text in cases {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("pkcs11:token=LABEL;object=LABEL"), "{text}: {error}");
            assert!(!error.contains("1234"), "{error}");
        }
    }
}
