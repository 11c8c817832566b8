//! Package URLs (`pkg:type/namespace/name@version?qualifiers#subpath`, ECMA-427) and image names.

use std::collections::BTreeMap;

use tidegate_ids::Digest;

/// A package URL, taken apart and percent-decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Purl {
    pub(crate) type_: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    pub(crate) qualifiers: BTreeMap<String, String>,
}

impl Purl {
    /// Reads one; `None` where it is none.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("pkg:")?.trim_start_matches('/');
        let rest = rest.split('#').next()?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (type_, rest) = rest.split_once('/')?;
        // The version follows the last `@` after the last slash: a scope is written `%40scope`.
        let (path, version) = match rest.rsplit_once('@') {
            Some((path, version)) if !version.contains('/') => (path, Some(decoded(version)?)),
            _ => (rest, None),
        };
        let path = path.trim_end_matches('/');
        let (namespace, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut qualifiers = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=')?;
            qualifiers.insert(key.to_ascii_lowercase(), decoded(value)?);
        }
        let (namespace, name) = (decoded(namespace)?, decoded(name)?);
        if type_.is_empty() || name.is_empty() {
            return None;
        }
        let version = version.filter(|version| !version.is_empty());
        Some(Self { type_: type_.to_ascii_lowercase(), namespace, name, version, qualifiers })
    }

    /// The package, whichever its version: type, namespace and name.
    pub(crate) fn package(&self) -> String {
        match self.namespace.as_str() {
            "" => format!("pkg:{}/{}", self.type_, self.name),
            namespace => format!("pkg:{}/{namespace}/{}", self.type_, self.name),
        }
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// The canonical name (registry and repository) of an image reference as people and builders
/// write it, without tag and digest; `None` where it is none. A first part with a dot, a port or
/// `localhost` is a registry, and `docker.io/library` is left out by those who know it (the
/// reference grammar of the distribution project).
pub(crate) fn image_name(reference: &str) -> Option<String> {
    let name = reference.split('@').next()?;
    let (name, last) = match name.rsplit_once('/') {
        Some((path, last)) => (Some(path), last),
        None => (None, name),
    };
    let last = last.split(':').next()?;
    let name = name.map_or_else(|| last.to_owned(), |path| format!("{path}/{last}"));
    let registry = |part: &str| part.contains(['.', ':']) || part == "localhost";
    let canonical = match name.split_once('/') {
        Some(("docker.io" | "index.docker.io", path)) => docker(path),
        Some((first, _)) if registry(first) => name.clone(),
        _ => docker(&name),
    };
    let known = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-' | ':' | '/');
    let whole = canonical.split('/').all(|part| !part.is_empty());
    (whole && canonical.chars().all(known)).then_some(canonical)
}

fn docker(path: &str) -> String {
    if path.contains('/') {
        format!("docker.io/{path}")
    } else {
        format!("docker.io/library/{path}")
    }
}

/// An image that a package URL names (types `docker` and `oci`), with its digest where it has one.
pub(crate) fn image_of(purl: &Purl) -> Option<(String, Option<Digest>)> {
    let repository = purl
        .qualifiers
        .get("repository_url")
        .map(|url| url.strip_prefix("https://").unwrap_or(url).trim_end_matches('/').to_owned());
    let name = match (purl.type_.as_str(), repository) {
        // With a repository_url, `oci` names the whole repository in it; `docker` only the registry.
        ("oci", Some(repository)) => repository,
        ("docker", Some(registry)) if purl.namespace.is_empty() => {
            format!("{registry}/{}", purl.name)
        }
        ("docker", Some(registry)) => format!("{registry}/{}/{}", purl.namespace, purl.name),
        ("docker", None) if purl.namespace.is_empty() => purl.name.clone(),
        ("docker", None) => format!("{}/{}", purl.namespace, purl.name),
        _ => return None,
    };
    Some((image_name(&name)?, digest_of(purl)))
}

/// The digest in the URL of an image.
pub(crate) fn digest_of(purl: &Purl) -> Option<Digest> {
    if !matches!(purl.type_.as_str(), "oci" | "docker") {
        return None;
    }
    let stated = [purl.version.as_ref(), purl.qualifiers.get("digest")];
    stated.into_iter().flatten().find_map(|text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{Purl, image_name, image_of};

    #[test]
    fn a_package_url_is_taken_apart() {
        let purl = Purl::read("pkg:npm/%40angular/core@12.3.1?repository_url=x#src").unwrap();
        assert_eq!(
            (purl.type_.as_str(), purl.namespace.as_str(), purl.name.as_str()),
            ("npm", "@angular", "core")
        );
        assert_eq!(purl.version.as_deref(), Some("12.3.1"));
        assert_eq!(purl.package(), "pkg:npm/@angular/core");
        let purl =
            Purl::read("pkg:deb/debian/openssl@3.0.11-1~deb12u2?arch=amd64&epoch=1").unwrap();
        assert_eq!(purl.version.as_deref(), Some("3.0.11-1~deb12u2"));
        assert_eq!(purl.qualifiers["epoch"], "1");
        assert_eq!(
            Purl::read("pkg:golang/github.com/a/b").unwrap().package(),
            "pkg:golang/github.com/a/b"
        );
        for none in ["", "pkg:", "pkg:deb", "pkg:deb/", "pkg:deb/%zz", "deb/openssl", "pkg:x/y?z"] {
            assert_eq!(Purl::read(none), None, "{none}");
        }
    }

    #[test]
    fn an_image_has_one_canonical_name() {
        for (text, name) in [
            ("alpine", "docker.io/library/alpine"),
            ("alpine:3.17", "docker.io/library/alpine"),
            ("docker.io/alpine@sha256:00", "docker.io/library/alpine"),
            ("index.docker.io/library/alpine", "docker.io/library/alpine"),
            ("moby/buildkit:v1", "docker.io/moby/buildkit"),
            ("ghcr.io/hospital/base:1", "ghcr.io/hospital/base"),
            ("localhost/base", "localhost/base"),
            ("127.0.0.1:5000/hospital/base:1@sha256:00", "127.0.0.1:5000/hospital/base"),
        ] {
            assert_eq!(image_name(text).as_deref(), Some(name), "{text}");
        }
        for none in ["", "Alpine", "a//b", "ghcr.io/", "https://ghcr.io/base", "a b"] {
            assert_eq!(image_name(none), None, "{none}");
        }
    }

    #[test]
    fn builders_name_images_by_package_urls() {
        let hex = "8914eb54f968791faf6a8638949e480fef81e697984fba772b3976835194c6d4";
        for (text, name, pinned) in [
            (
                "pkg:docker/alpine@3.17?platform=linux%2Famd64".to_owned(),
                "docker.io/library/alpine",
                false,
            ),
            (
                format!("pkg:docker/ghcr.io/hospital/base@1?digest=sha256:{hex}"),
                "ghcr.io/hospital/base",
                true,
            ),
            ("pkg:docker/localhost%3A5000/base@1".to_owned(), "localhost:5000/base", false),
            (
                format!("pkg:oci/base@sha256%3A{hex}?repository_url=ghcr.io/hospital/base"),
                "ghcr.io/hospital/base",
                true,
            ),
        ] {
            let (found, digest) = image_of(&Purl::read(&text).unwrap()).unwrap();
            assert_eq!((found.as_str(), digest.is_some()), (name, pinned), "{text}");
        }
        assert_eq!(image_of(&Purl::read("pkg:oci/base@sha256:00").unwrap()), None);
        assert_eq!(image_of(&Purl::read("pkg:deb/debian/base").unwrap()), None);
    }
}
