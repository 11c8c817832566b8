//! Reading a repository of a registry (OCI distribution specification 1.1).
//!
//! A tag is only ever turned into a digest; everything else is asked for by digest, and its
//! bytes are digested again.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LINK};
use serde::Deserialize;
use tidegate_ids::Digest;
use tokio::sync::Mutex;

use crate::content::ConfigFile;
use crate::http::{Http, Response, Write, host};
use crate::mirrors::places;
use crate::session::{Session, Wanted, read_json};
use crate::token::Tokens;
use crate::{Error, ImageConfig, Keychain, Manifest, Mirror, Options, RepositoryName};

/// The most bytes of a manifest, index or page that are read.
pub(crate) const MANIFEST_CAP: usize = 4 << 20;
const CONFIG_CAP: usize = 4 << 20;
const TAG_PAGES: usize = 100;
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// The way to registries. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Registry {
    http: Http,
    mirrors: Arc<Vec<Mirror>>,
    aliases: Arc<Vec<Mirror>>,
    keychain: Arc<RwLock<Keychain>>,
    tokens: Arc<Tokens>,
    /// Lists under tags are written one at a time; see `push`.
    tag_writes: Arc<Mutex<()>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("keychain", &self.keychain()).finish_non_exhaustive()
    }
}

impl Registry {
    /// A client that shows no credentials.
    ///
    /// # Errors
    /// [`Error::Client`] when TLS cannot be set up; [`Error::Option`] when the certificate
    /// authorities cannot be read; [`Error::Refused`] when the proxy may not be reached.
    pub fn new(options: Options) -> Result<Self, Error> {
        let http = Http::new(&options)?;
        Ok(Self::over(http, options.mirrors, options.aliases))
    }

    pub(crate) fn over(http: Http, mirrors: Vec<Mirror>, aliases: Vec<Mirror>) -> Self {
        Self {
            http,
            mirrors: mirrors.into(),
            aliases: aliases.into(),
            keychain: Arc::default(),
            tokens: Arc::default(),
            tag_writes: Arc::default(),
        }
    }

    /// The same client with these credentials and no others. Connections are shared, and the
    /// tokens that were given for the same credentials.
    #[must_use]
    pub fn with_keychain(&self, keychain: Keychain) -> Self {
        Self { keychain: Arc::new(RwLock::new(keychain)), ..self.clone() }
    }

    /// Shows these credentials from now on, for repositories that are named later; clones do, too.
    pub fn replace_keychain(&self, keychain: Keychain) {
        *self.keychain.write().unwrap_or_else(PoisonError::into_inner) = keychain;
    }

    fn keychain(&self) -> Keychain {
        self.keychain.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same client with these credentials before its own.
    #[must_use]
    pub fn showing(&self, keychain: Keychain) -> Self {
        self.with_keychain(keychain.and(&self.keychain()))
    }

    /// One repository. It is asked for where aliases and mirrors say, at each place with the
    /// credentials that the keychain has for it.
    #[must_use]
    pub fn repository(&self, name: RepositoryName) -> Repository {
        let places = places(&name, &self.mirrors, &self.aliases);
        let session = Session::new(self.http.clone(), name, places, &self.keychain(), &self.tokens);
        Repository { session: Arc::new(session), tag_writes: Arc::clone(&self.tag_writes) }
    }
}

/// A repository of a registry. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Repository {
    session: Arc<Session>,
    pub(crate) tag_writes: Arc<Mutex<()>>,
}

impl Repository {
    /// Its canonical name.
    #[must_use]
    pub fn name(&self) -> &RepositoryName {
        &self.session.name
    }

    /// All tags, in the registry's order.
    ///
    /// # Errors
    /// When the registry does not answer well, or has more than a hundred pages of them.
    pub async fn tags(&self) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let what = format!("the tags of {}", self.name());
        let mut tags = Vec::new();
        let mut next = Some(self.session.url("tags/list?n=1000")?);
        for _ in 0..TAG_PAGES {
            let Some(url) = next else { return Ok(tags) };
            let response = self.get(url, &what, None, MANIFEST_CAP).await?;
            tags.extend(read_json::<Page>(&response, &what)?.tags.unwrap_or_default());
            next = self.next_page(&response, &what)?;
        }
        let limit = format!("{TAG_PAGES} pages of tags");
        Err(Error::TooLarge { host: self.name().registry().to_owned(), what, limit })
    }

    /// What a tag points to now, by the bytes it gives.
    ///
    /// # Errors
    /// When the tag is not there, or the registry does not answer well.
    pub async fn resolve(&self, tag: &str) -> Result<Digest, Error> {
        Ok(self.tagged(tag).await?.digest)
    }

    /// The manifest or index with this digest; at most 4 MiB.
    ///
    /// # Errors
    /// When it is not there, is too large, or is not what was asked for.
    pub async fn manifest(&self, digest: Digest) -> Result<Manifest, Error> {
        let what = format!("manifest {}@{digest}", self.name());
        let url = self.session.url(&format!("manifests/{digest}"))?;
        let response = self.get(url, &what, Some(MANIFESTS), MANIFEST_CAP).await?;
        same_digest(&response, &what, digest)?;
        manifest(response, &what)
    }

    /// The blob with this digest.
    ///
    /// # Errors
    /// When it is not there, has more than `cap` bytes, or is not what was asked for.
    pub async fn blob(&self, digest: Digest, cap: usize) -> Result<Vec<u8>, Error> {
        let what = format!("blob {}@{digest}", self.name());
        let url = self.session.url(&format!("blobs/{digest}"))?;
        let response = self.get(url, &what, None, cap).await?;
        same_digest(&response, &what, digest)?;
        Ok(response.body)
    }

    /// What an image's configuration says: of an index, that of its linux/amd64 image, or else
    /// its first.
    ///
    /// # Errors
    /// When it cannot be read, or what has this digest is not an image.
    pub async fn image_config(&self, digest: Digest) -> Result<ImageConfig, Error> {
        let no_image = |why: &str| Error::Malformed {
            host: self.name().registry().to_owned(),
            what: format!("the configuration of {}@{digest}", self.name()),
            why: why.to_owned(),
        };
        let mut manifest = self.manifest(digest).await?;
        if manifest.is_index() {
            let image = manifest.representative().ok_or_else(|| no_image("its index is empty"))?;
            manifest = self.manifest(image.digest).await?;
        }
        let config = manifest.parts.config.ok_or_else(|| no_image("it is not an image"))?;
        let bytes = self.blob(config.digest, CONFIG_CAP).await?;
        let file: ConfigFile =
            serde_json::from_slice(&bytes).map_err(|error| no_image(&error.to_string()))?;
        Ok(file.into())
    }

    /// When an image was built, as its configuration says.
    ///
    /// # Errors
    /// As [`Repository::image_config`].
    pub async fn created(&self, digest: Digest) -> Result<Option<jiff::Timestamp>, Error> {
        Ok(self.image_config(digest).await?.created)
    }

    pub(crate) async fn tagged(&self, tag: &str) -> Result<Manifest, Error> {
        let response = self.tagged_bytes(tag).await?;
        manifest(response, &format!("{}:{tag}", self.name()))
    }

    /// What has a tag, whatever it is; its bytes are those of the digest that came with them.
    pub(crate) async fn tagged_bytes(&self, tag: &str) -> Result<Response, Error> {
        if !valid_tag(tag) {
            let text = tag.chars().take(300).collect();
            return Err(Error::Tag { repository: self.name().to_string(), text });
        }
        let what = format!("{}:{tag}", self.name());
        let url = self.session.url(&format!("manifests/{tag}"))?;
        let response = self.get(url, &what, Some(MANIFESTS), MANIFEST_CAP).await?;
        let promised = response.headers.get("docker-content-digest");
        if let Some(promised) = promised.and_then(|value| value.to_str().ok()) {
            let found = Digest::of(&response.body);
            // A registry may digest with another algorithm; then there is nothing to compare.
            if promised.starts_with("sha256:") && promised != found.to_string() {
                let (host, expected) = (host(&response.url), promised.to_owned());
                return Err(Error::DigestMismatch { host, what, expected, found });
            }
        }
        Ok(response)
    }

    /// The same without mirrors: what is read before it is written must be the last word.
    pub(crate) fn without_mirrors(&self) -> Self {
        let session = Arc::new(self.session.without_mirrors());
        Self { session, tag_writes: Arc::clone(&self.tag_writes) }
    }

    /// The same at each mirror alone, and where it really is.
    pub(crate) fn places(&self) -> Vec<Self> {
        let of =
            |session| Self { session: Arc::new(session), tag_writes: Arc::clone(&self.tag_writes) };
        self.session.each().into_iter().map(of).collect()
    }

    pub(crate) fn url(&self, rest: &str) -> Result<Url, Error> {
        self.session.url(rest)
    }

    pub(crate) async fn get(
        &self,
        url: Url,
        what: &str,
        accept: Option<&'static str>,
        cap: usize,
    ) -> Result<Response, Error> {
        // Boxed: it stands in many futures, several times in some.
        Box::pin(self.session.get(url, &Wanted { what, accept, cap })).await
    }

    pub(crate) async fn write(
        &self,
        url: Url,
        what: &str,
        write: impl Fn() -> Write,
    ) -> Result<Response, Error> {
        Box::pin(self.session.write(url, what, write)).await
    }

    /// The next page that an answer names (RFC 8288); it must be of this repository.
    pub(crate) fn next_page(&self, response: &Response, what: &str) -> Result<Option<Url>, Error> {
        let Some(target) = next_link(&response.headers) else { return Ok(None) };
        let own = self.session.base(&response.asked)?;
        let next =
            response.url.join(&target).ok().filter(|next| {
                next.origin() == own.origin() && next.path().starts_with(own.path())
            });
        next.map(Some).ok_or_else(|| Error::Refused {
            what: what.to_owned(),
            url: target.split('?').next().unwrap_or_default().to_owned(),
            why: "the next page of a list must be of the same repository",
        })
    }
}

/// The target of `rel="next"`, wherever it stands among several links.
pub(crate) fn next_link(headers: &HeaderMap) -> Option<String> {
    let next = |parameter: &str| matches!(parameter.trim(), "rel=\"next\"" | "rel=next");
    let links = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    links.flat_map(|value| value.split('<').skip(1)).find_map(|link| {
        let (target, parameters) = link.split_once('>')?;
        parameters.trim_end_matches([',', ' ']).split(';').any(next).then(|| target.to_owned())
    })
}

fn valid_tag(tag: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(plain)
        && tag.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'-'))
}

fn same_digest(response: &Response, what: &str, expected: Digest) -> Result<(), Error> {
    let found = Digest::of(&response.body);
    if found == expected {
        return Ok(());
    }
    let (host, expected) = (host(&response.url), expected.to_string());
    Err(Error::DigestMismatch { host, what: what.to_owned(), expected, found })
}

fn manifest(response: Response, what: &str) -> Result<Manifest, Error> {
    let host = host(&response.url);
    let said = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Manifest::read(response.body, said).map_err(|why| Error::Malformed {
        host,
        what: what.to_owned(),
        why,
    })
}
