//! Images on disk.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::attached::{bundles, unreadable};
use super::*;

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A layout that is being written.
struct Disk {
    folder: tempfile::TempDir,
    entries: Vec<Value>,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
        fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { folder, entries: Vec::new() }
    }

    fn blob(&self, content: impl AsRef<[u8]>) -> Digest {
        let digest = Digest::of(content.as_ref());
        fs::write(self.path(digest), content).unwrap();
        digest
    }

    fn path(&self, digest: Digest) -> std::path::PathBuf {
        self.folder.path().join("blobs/sha256").join(digest.hex())
    }

    fn layers(&self, media_type: &str, content: &str) -> Value {
        let digest = self.blob(content);
        json!([{"mediaType": media_type, "digest": digest, "size": content.len()}])
    }

    fn attach(&self, image: Digest, content: &str) -> Digest {
        let layers = self.layers(BUNDLE, content);
        let manifest =
            json!({"artifactType": BUNDLE, "layers": layers, "subject": {"digest": image}});
        self.blob(manifest.to_string())
    }

    fn list(&mut self, digest: Digest, annotation: (&str, &str)) {
        let (name, value) = annotation;
        self.entries.push(json!({"digest": digest, "annotations": {name: value}}));
    }

    fn named(&mut self, digest: Digest, name: &str) {
        self.list(digest, ("org.opencontainers.image.ref.name", name));
    }

    fn close(&self) {
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        fs::write(self.folder.path().join("index.json"), index.to_string()).unwrap();
    }

    async fn open(&self) -> Layout {
        self.close();
        Layout::open(self.folder.path()).await.unwrap()
    }
}

fn archive(folder: &Path) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut archive = tar::Builder::new(file.reopen().unwrap());
    archive.follow_symlinks(false);
    archive.append_dir_all(".", folder).unwrap();
    archive.finish().unwrap();
    file
}

#[tokio::test]
async fn what_is_attached_is_found_however_it_was_written() {
    let mut disk = Disk::new();
    let image = disk.blob(json!({"layers": [], "annotations": {"a": "b"}}).to_string());
    disk.named(image, "registry.example.com:5000/hospital/odoo:17.0");
    let listed = disk.attach(image, "listed by itself");
    disk.entries.push(json!({"digest": listed, "artifactType": BUNDLE}));
    disk.attach(image, "not listed, as cosign leaves it");
    let by_tag = disk.attach(image, "listed under the tag");
    let index = json!({"manifests": [{"digest": by_tag, "artifactType": BUNDLE}]});
    let index = disk.blob(index.to_string());
    disk.named(index, &format!("sha256-{}", image.hex()));
    let att = json!({"layers": disk.layers(ENVELOPE, "by its tag")});
    let att = disk.blob(att.to_string());
    disk.named(att, &format!("sha256-{}.att", image.hex()));
    let saved = json!({"layers": disk.layers(ENVELOPE, "as cosign saves it")});
    let saved = disk.blob(saved.to_string());
    disk.list(saved, ("kind", "dev.cosignproject.cosign/atts"));
    disk.attach(Digest::of(b"other"), "of another image");
    let folder = disk.open().await;
    let packed = archive(disk.folder.path());
    let packed = Layout::open(packed.path()).await.unwrap();
    for layout in [folder, packed] {
        assert_eq!(layout.resolve("17.0").unwrap(), image);
        assert_eq!(layout.images().iter().map(|one| one.digest).collect::<Vec<_>>(), [image]);
        let images = Images::from(layout);
        assert_eq!(images.manifest(image).await.unwrap().annotations()["a"], "b");
        let found = images.attached(image).await.unwrap();
        let expected =
            ["listed by itself", "listed under the tag", "not listed, as cosign leaves it"];
        assert_eq!(bundles(&found), expected);
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(unreadable(&found).is_empty());
    }
}

#[tokio::test]
async fn what_is_broken_on_disk_is_named_and_passes_for_nothing() {
    let mut disk = Disk::new();
    let image = disk.blob("{}");
    disk.named(image, "17.0");
    disk.attach(image, "good");
    // The blob of one is another's, one is gone, one leads out of the layout, one is no file.
    let [swapped, gone, link, folder] = ["swapped", "gone", "link", "folder"].map(|content| {
        disk.attach(image, content);
        disk.path(Digest::of(content.as_bytes()))
    });
    fs::write(&swapped, "SWAPPED").unwrap();
    for path in [&gone, &link, &folder] {
        fs::remove_file(path).unwrap();
    }
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), "link").unwrap();
    std::os::unix::fs::symlink(outside.path(), &link).unwrap();
    fs::create_dir(&folder).unwrap();
    let images = Images::from(disk.open().await);
    let found = images.attached(image).await.unwrap();
    assert_eq!(bundles(&found), ["good"]);
    let reasons = unreadable(&found).join("\n");
    for expected in ["was promised", "no such thing", "leads out of the layout", "not a file"] {
        assert!(reasons.contains(expected), "{expected}: {reasons}");
    }
    // An archive has no links at all.
    fs::remove_dir(&folder).unwrap();
    let packed = Images::from(Layout::open(archive(disk.folder.path()).path()).await.unwrap());
    assert_eq!(bundles(&packed.attached(image).await.unwrap()), ["good"]);
    let error = images.blob(image, 1).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn what_is_no_layout_or_names_two_images_alike_is_refused() {
    let mut disk = Disk::new();
    let (one, two) = (disk.blob("{}"), disk.blob("{ }"));
    disk.named(one, "example.com/one:17.0");
    disk.named(two, "example.com/two:17.0");
    let layout = disk.open().await;
    assert!(layout.resolve("17.0").unwrap_err().to_string().contains("several images"));
    assert_eq!(layout.resolve("example.com/two:17.0").unwrap(), two);
    assert!(matches!(layout.resolve("18.0"), Err(Error::NotFound { .. })));
    // An index is read as such on disk, too.
    let inner = json!({"digest": one, "mediaType": "application/vnd.oci.image.manifest.v1+json"});
    let index = disk.blob(json!({"mediaType": INDEX, "manifests": [inner]}).to_string());
    let platforms = Images::from(layout).platforms(index).await.unwrap();
    assert_eq!(platforms.iter().map(|(digest, _)| *digest).collect::<Vec<_>>(), [one]);
    for (file, content, expected) in [
        ("index.json", "{", "EOF"),
        ("index.json", "{}", "missing field"),
        ("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#, "not 1.0.0"),
    ] {
        disk.close();
        fs::write(disk.folder.path().join(file), content).unwrap();
        let error = Layout::open(disk.folder.path()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    for place in ["/nowhere/at/all", "/dev/null", "/etc"] {
        Layout::open(Path::new(place)).await.unwrap_err();
    }
}
