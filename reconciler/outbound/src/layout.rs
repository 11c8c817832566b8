//! Images on disk: an OCI image layout (image specification, "Image Layout"), as a folder or as
//! an archive of one, so that an image can be judged where there is no registry.
//!
//! Tools disagree on how what is attached gets into a layout. `oras` lists each manifest in
//! `index.json`; `cosign save` lists the older signatures by a note and leaves bundles out of the
//! list altogether. So all small blobs are looked at: one that names the image as its subject
//! refers to it, listed or not. That makes nothing count that would not otherwise: who wrote the
//! layout could have listed it. Digests are computed again over what is read, and no name or link
//! leads out of the folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use tidegate_ids::Digest;

use crate::attachments::Relevance;
use crate::referrers::{Listing, OLDER, fallback_tag};
use crate::repository::MANIFEST_CAP;
use crate::{Descriptor, Error, Manifest};

const NAME: &str = "org.opencontainers.image.ref.name";
/// How `cosign save` marks what it writes.
const KIND: &str = "kind";
const KINDS: [&str; 2] = ["dev.cosignproject.cosign/sigs", "dev.cosignproject.cosign/atts"];
const BLOBS: &str = "blobs/sha256";
/// Blobs that are looked at for what refers to an image, and their bytes in all.
const SCANNED: usize = 10_000;
const SCANNED_BYTES: usize = 256 << 20;
/// Manifests of the older layout that are read.
const OLDER_READ: usize = 64;
/// Members of an archive.
const MEMBERS: usize = 100_000;

/// An OCI layout on disk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Layout(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    place: PathBuf,
    files: Files,
    entries: Vec<Descriptor>,
}

#[derive(Debug)]
enum Files {
    /// The folder, without links in its path.
    Folder(PathBuf),
    /// The archive, and where the content of each member begins, with its size.
    Archive(File, Members),
}

type Members = BTreeMap<String, (u64, u64)>;

impl Layout {
    /// Opens a folder, or a `.tar` of one.
    ///
    /// # Errors
    /// When it is not there or is no layout.
    pub async fn open(place: &Path) -> Result<Self, Error> {
        let place = place.to_owned();
        blocking(move || Opened::open(place)).await.map(|opened| Self(Arc::new(opened)))
    }

    /// The images that it lists, with their names in annotations; nothing that is attached.
    #[must_use]
    pub fn images(&self) -> Vec<&Descriptor> {
        self.0.entries.iter().filter(|entry| is_image(entry)).collect()
    }

    /// What a tag points to: an entry of that name, or of a whole reference with that tag.
    ///
    /// # Errors
    /// When no entry has it, or several that differ.
    pub fn resolve(&self, tag: &str) -> Result<Digest, Error> {
        let mut named = self.0.named(tag);
        let Some(first) = named.next() else { return Err(self.0.absent(tag)) };
        if named.all(|other| other.digest == first.digest) {
            return Ok(first.digest);
        }
        Err(self.0.malformed(tag, "several images have this name; give the digest".to_owned()))
    }

    pub(crate) async fn manifest(&self, digest: Digest) -> Result<Manifest, Error> {
        let bytes = self.blob(digest, MANIFEST_CAP).await?;
        let listed = self.0.entries.iter().find(|entry| entry.digest == digest);
        Manifest::read(bytes, listed.map(|entry| entry.media_type.as_str()))
            .map_err(|why| self.0.malformed(&format!("manifest {digest}"), why))
    }

    pub(crate) async fn blob(&self, digest: Digest, cap: usize) -> Result<Vec<u8>, Error> {
        let opened = Arc::clone(&self.0);
        blocking(move || opened.blob(digest, cap)).await
    }

    pub(crate) async fn listing(&self, image: Digest) -> Result<Listing, Error> {
        let opened = Arc::clone(&self.0);
        blocking(move || opened.listing(image)).await
    }

    pub(crate) fn place(&self) -> String {
        self.0.place.display().to_string()
    }
}

impl Opened {
    fn open(place: PathBuf) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Index {
            manifests: Vec<Descriptor>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marker {
            image_layout_version: String,
        }
        let unread = |error: std::io::Error| Error::Disk {
            what: "an OCI layout".to_owned(),
            place: place.display().to_string(),
            why: error.to_string(),
        };
        let files = if place.is_dir() {
            Files::Folder(place.canonicalize().map_err(unread)?)
        } else {
            let archive = File::open(&place).map_err(unread)?;
            let members = members(&archive).map_err(unread)?;
            Files::Archive(archive, members)
        };
        let mut opened = Self { place, files, entries: Vec::new() };
        let marker: Marker = opened.json("oci-layout")?;
        if marker.image_layout_version != "1.0.0" {
            let why = format!("its version is {:?}, not 1.0.0", marker.image_layout_version);
            return Err(opened.malformed("oci-layout", why));
        }
        opened.entries = opened.json::<Index>("index.json")?.manifests;
        Ok(opened)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        let bytes = self.read(name, MANIFEST_CAP)?;
        serde_json::from_slice(&bytes).map_err(|error| self.malformed(name, error.to_string()))
    }

    fn blob(&self, digest: Digest, cap: usize) -> Result<Vec<u8>, Error> {
        let bytes = self.read(&format!("{BLOBS}/{}", digest.hex()), cap)?;
        let found = Digest::of(&bytes);
        if found == digest {
            return Ok(bytes);
        }
        let (host, what) = (self.place.display().to_string(), format!("blob {digest}"));
        Err(Error::DigestMismatch { host, what, expected: digest.to_string(), found })
    }

    /// One file of the layout, whole.
    fn read(&self, name: &str, cap: usize) -> Result<Vec<u8>, Error> {
        let unread = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => self.absent(name),
            _ => self.unread(name, &error),
        };
        let fits = |size: u64| {
            let (host, what) = (self.place.display().to_string(), name.to_owned());
            let large = Error::TooLarge { host, what, limit: format!("{cap} bytes") };
            usize::try_from(size).ok().filter(|size| *size <= cap).ok_or(large)
        };
        match &self.files {
            Files::Folder(folder) => {
                let path = folder.join(name).canonicalize().map_err(unread)?;
                if !path.starts_with(folder) {
                    return Err(self.malformed(name, "it leads out of the layout".to_owned()));
                }
                let known = path.metadata().map_err(unread)?;
                if !known.is_file() {
                    return Err(self.malformed(name, "it is not a file".to_owned()));
                }
                let mut bytes = Vec::with_capacity(fits(known.len())?);
                let file = File::open(path).map_err(unread)?;
                file.take(known.len()).read_to_end(&mut bytes).map_err(unread)?;
                Ok(bytes)
            }
            Files::Archive(archive, members) => {
                let (at, size) = *members.get(name).ok_or_else(|| self.absent(name))?;
                let mut bytes = vec![0; fits(size)?];
                archive.read_exact_at(&mut bytes, at).map_err(unread)?;
                Ok(bytes)
            }
        }
    }

    /// The names of all blobs, sorted.
    fn blobs(&self) -> Result<Vec<Digest>, Error> {
        let names: Vec<String> = match &self.files {
            Files::Archive(_, members) => {
                let blob =
                    |name: &String| Some(name.strip_prefix(BLOBS)?.strip_prefix('/')?.to_owned());
                members.keys().filter_map(blob).collect()
            }
            Files::Folder(folder) => std::fs::read_dir(folder.join(BLOBS))
                .map_err(|error| self.unread(BLOBS, &error))?
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .collect(),
        };
        let mut digests: Vec<Digest> =
            names.iter().filter_map(|hex| format!("sha256:{hex}").parse().ok()).collect();
        digests.sort_unstable();
        Ok(digests)
    }

    fn listing(&self, image: Digest) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        self.referrers(image, &mut listing)?;
        let tag = fallback_tag(image);
        for entry in self.named(&tag) {
            match self.blob(entry.digest, MANIFEST_CAP) {
                Ok(bytes) => listing.add_index(&bytes, &format!("the entry {tag}")),
                Err(error) if error.is_of_content() => listing.note(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        let older = OLDER.map(|kind| format!("{tag}.{kind}"));
        let by_name = older.iter().flat_map(|name| self.named(name));
        let marked = |entry: &&Descriptor| kind(entry).is_some_and(|kind| KINDS.contains(&kind));
        let by_mark = self.entries.iter().filter(marked);
        let mut all: Vec<_> = by_name.chain(by_mark).map(|entry| entry.digest).collect();
        all.sort_unstable();
        all.dedup();
        if all.len() > OLDER_READ {
            listing.note(format!("of {} lists of signatures, {OLDER_READ} are read", all.len()));
        }
        for digest in all.into_iter().take(OLDER_READ) {
            let read = self.blob(digest, MANIFEST_CAP).and_then(|bytes| {
                Manifest::read(bytes, None).map_err(|why| self.malformed(&digest.to_string(), why))
            });
            match read {
                Ok(manifest) => listing.older.push(manifest),
                Err(error) if error.is_of_content() => listing.note(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(listing)
    }

    /// Looks at every blob that may be a manifest for the image as its subject.
    fn referrers(&self, image: Digest, listing: &mut Listing) -> Result<(), Error> {
        let (hex, mut left) = (image.hex(), SCANNED_BYTES);
        let blobs = self.blobs()?;
        if blobs.len() > SCANNED {
            listing.note(format!("of {} blobs, {SCANNED} are looked at", blobs.len()));
        }
        for digest in blobs.into_iter().take(SCANNED) {
            let bytes =
                match self.read(&format!("{BLOBS}/{}", digest.hex()), MANIFEST_CAP.min(left)) {
                    Ok(bytes) => bytes,
                    // Larger than any manifest, unless it is only more than is left.
                    Err(Error::TooLarge { .. }) if left >= MANIFEST_CAP => continue,
                    Err(Error::TooLarge { .. }) => {
                        listing.note(format!("of all blobs, {SCANNED_BYTES} bytes are looked at"));
                        return Ok(());
                    }
                    // Whether it would have referred to the image is not known.
                    Err(error) if error.is_of_content() => {
                        listing.note(error.to_string());
                        continue;
                    }
                    Err(error) => return Err(error),
                };
            left -= bytes.len();
            if !std::str::from_utf8(&bytes).is_ok_and(|text| text.contains(&hex)) {
                continue;
            }
            let Ok(manifest) = Manifest::read(bytes, None) else { continue };
            if manifest.subject().is_some_and(|subject| subject.digest == image) {
                let artifact_type = manifest.artifact_type().map(ToOwned::to_owned);
                listing.add(Descriptor::of(digest, artifact_type), "the layout");
            }
        }
        Ok(())
    }

    fn named(&self, tag: &str) -> impl Iterator<Item = &Descriptor> {
        let tag = tag.to_owned();
        self.entries.iter().filter(move |entry| {
            let name = entry.annotations.get(NAME).map(String::as_str);
            name.is_some_and(|name| name == tag || self::tag(name) == Some(tag.as_str()))
        })
    }

    fn absent(&self, what: &str) -> Error {
        let (host, what) = (self.place.display().to_string(), what.to_owned());
        Error::NotFound { host, what }
    }

    fn malformed(&self, what: &str, why: String) -> Error {
        let (host, what) = (self.place.display().to_string(), what.to_owned());
        Error::Malformed { host, what, why }
    }

    fn unread(&self, what: &str, error: &std::io::Error) -> Error {
        let (place, what) = (self.place.display().to_string(), what.to_owned());
        Error::Disk { what, place, why: error.to_string() }
    }
}

/// The plain files of an archive; links are not followed, so they are not there.
fn members(archive: &File) -> std::io::Result<Members> {
    let mut archive = tar::Archive::new(archive);
    let mut members = Members::new();
    for (count, entry) in archive.entries_with_seek()?.enumerate() {
        let entry = entry?;
        if count >= MEMBERS {
            return Err(std::io::Error::other(format!("it has more than {MEMBERS} members")));
        }
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path()?;
        let Some(name) = path.strip_prefix("./").unwrap_or(&path).to_str() else { continue };
        members.insert(name.to_owned(), (entry.raw_file_position(), entry.size()));
    }
    Ok(members)
}

/// The tag of a whole reference.
fn tag(name: &str) -> Option<&str> {
    name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'))
}

fn kind(entry: &Descriptor) -> Option<&str> {
    entry.annotations.get(KIND).map(String::as_str)
}

/// Whether an entry is an image, and not something that is attached to one.
fn is_image(entry: &Descriptor) -> bool {
    let name = entry.annotations.get(NAME).map(|name| tag(name).unwrap_or(name));
    let attached = Relevance::of(entry.artifact_type.as_deref()) == Relevance::Named;
    !attached
        && kind(entry).is_none_or(|kind| !KINDS.contains(&kind))
        && name.is_none_or(|name| !name.starts_with("sha256-"))
}

async fn blocking<T: Send + 'static>(
    reading: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(reading).await.unwrap_or_else(|error| {
        let (what, why) = ("an OCI layout".to_owned(), error.to_string());
        Err(Error::Disk { what, place: "disk".to_owned(), why })
    })
}
