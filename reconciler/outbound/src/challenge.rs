//! What a registry answers to a request without, or with the wrong, credentials.
//!
//! `WWW-Authenticate` of RFC 9110, as far as registries use it: `Basic`, and `Bearer` with the
//! address where a token is to be had (distribution specification, token authentication).

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// The challenge of an answer; `Bearer` is preferred.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let texts = || headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok());
        texts().find_map(bearer).or_else(|| texts().find_map(basic))
    }
}

fn basic(text: &str) -> Option<Challenge> {
    let alone = text.trim().eq_ignore_ascii_case("Basic");
    let named =
        || parameters(text).iter().any(|(name, _)| scheme_of(name).is_some_and(is("Basic")));
    (alone || named()).then_some(Challenge::Basic)
}

fn bearer(text: &str) -> Option<Challenge> {
    let (mut realm, mut service, mut inside) = (None, None, false);
    for (name, value) in parameters(text) {
        if let Some(scheme) = scheme_of(name) {
            inside = is("Bearer")(scheme);
        }
        match name.rsplit([' ', ',']).next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "realm" if inside && realm.is_none() => realm = Some(value),
            "service" if inside && service.is_none() => service = Some(value),
            _ => {}
        }
    }
    realm.map(|realm| Challenge::Bearer { realm, service })
}

fn is(wanted: &'static str) -> impl Fn(&str) -> bool {
    move |scheme| scheme.eq_ignore_ascii_case(wanted)
}

/// The scheme before a parameter's name, where a challenge begins with it. One header may have
/// several challenges.
fn scheme_of(name: &str) -> Option<&str> {
    name.rsplit(',').next()?.trim().split_once(' ').map(|(scheme, _)| scheme)
}

/// `name=value` and `name="quoted value"`, separated by commas.
fn parameters(mut text: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let name = name.trim_matches([' ', ',']);
        let (value, after) = if let Some(quoted) = rest.strip_prefix('"') {
            unquote(quoted)
        } else {
            let (value, after) = rest.split_once(',').unwrap_or((rest, ""));
            (value.trim().to_owned(), after)
        };
        found.push((name, value));
        text = after;
    }
    found
}

fn unquote(text: &str) -> (String, &str) {
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                escaped = false;
                value.push(c);
            }
            '\\' => escaped = true,
            '"' => return (value, &text[at + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let token = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.map(Into::into) })
        };
        let cases = [
            (
                r#"Bearer realm="https://auth.example.com/token",service="registry",scope="repository:a:pull,push""#,
                token("https://auth.example.com/token", Some("registry")),
            ),
            (r#"bearer scope="a,b", realm="https://a/\"t", x=y"#, token("https://a/\"t", None)),
            (r#"Basic realm="Registry Realm""#, Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                r#"Negotiate, Basic realm="a b", Bearer realm="https://a/t",service="s""#,
                token("https://a/t", Some("s")),
            ),
            (
                r#"Bearer realm="https://a/t", Basic realm="https://b/t",service="b""#,
                token("https://a/t", None),
            ),
            (r#"Digest realm="https://a/t",service="s""#, None),
            ("Bearer", None),
            ("Negotiate", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, text.parse().unwrap())]);
            assert_eq!(Challenge::of(&headers), expected, "{text}");
        }
    }
}
