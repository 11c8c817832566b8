//! What is attached to an image, on a registry that answers as it is told.

use serde_json::{Value, json};

use super::*;
use crate::referrers::Listing;

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

impl StandIn {
    fn put(&self, kind: &str, bytes: impl Into<Vec<u8>>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.says(path(&format!("{kind}/{digest}")), ok(bytes));
        digest
    }

    /// A manifest with one layer, attached to an image.
    fn attach(
        &self,
        image: Digest,
        artifact_type: &str,
        layer_type: &str,
        content: &str,
    ) -> Digest {
        let layer = self.layer(layer_type, content);
        self.put("manifests", referrer(image, artifact_type, &[layer]).to_string())
    }

    fn layer(&self, media_type: &str, content: &str) -> Value {
        let digest = self.put("blobs", content);
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    }

    fn api(&self, image: Digest, entries: &[(Digest, &str)]) {
        self.says(path(&format!("referrers/{image}")), ok(index(entries)));
    }

    fn tag(&self, image: Digest, suffix: &str, body: impl Into<Vec<u8>>) {
        self.says(path(&format!("manifests/sha256-{}{suffix}", image.hex())), ok(body));
    }

    async fn attached(&self, image: Digest) -> Vec<Found> {
        self.repository(None).attached(image).await.unwrap()
    }
}

fn referrer(image: Digest, artifact_type: &str, layers: &[Value]) -> Value {
    json!({"artifactType": artifact_type, "layers": layers, "subject": {"digest": image}})
}

fn index(entries: &[(Digest, &str)]) -> Vec<u8> {
    let manifests: Vec<_> = entries
        .iter()
        .map(|(digest, artifact_type)| json!({"digest": digest, "artifactType": artifact_type}))
        .collect();
    json!({"manifests": manifests}).to_string().into_bytes()
}

pub(super) fn bundles(found: &[Found]) -> Vec<String> {
    let mut bundles: Vec<_> = found
        .iter()
        .filter_map(|found| match found {
            Found::Bundle { json, .. } => Some(String::from_utf8(json.clone()).unwrap()),
            _ => None,
        })
        .collect();
    bundles.sort();
    bundles
}

pub(super) fn unreadable(found: &[Found]) -> Vec<&str> {
    let mut reasons = Vec::new();
    for found in found {
        if let Found::Unreadable { why, .. } = found {
            reasons.push(why.as_str());
        }
    }
    reasons
}

fn image() -> Digest {
    Digest::of(b"image")
}

#[tokio::test]
async fn referrers_come_from_the_api_and_from_the_tag_each_once() {
    let registry = StandIn::start().await;
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    let repository = registry.repository(None);
    assert!(repository.referrers(image(), None).await.unwrap().is_empty());
    registry.tag(image(), "", index(&[(one, "sbom"), (two, "signature")]));
    assert_eq!(repository.referrers(image(), None).await.unwrap().len(), 2);
    registry.api(image(), &[(one, "sbom")]);
    assert_eq!(repository.referrers(image(), None).await.unwrap().len(), 2);
    // The filter holds whether the registry applies it or not; the tag never does.
    let filtered = path(&format!("referrers/{}?artifactType=signature", image()));
    for answer in [index(&[]), index(&[(one, "sbom")])] {
        registry.says(&filtered, ok(answer));
        let found = repository.referrers(image(), Some("signature")).await.unwrap();
        assert_eq!(found.iter().map(|found| found.digest).collect::<Vec<_>>(), [two]);
    }
}

#[tokio::test]
async fn bundles_are_found_by_the_artifacts_type_or_by_that_of_its_layer_alone() {
    let registry = StandIn::start().await;
    let old = "application/vnd.dev.sigstore.bundle+json;version=0.1";
    let empty = "application/vnd.oci.empty.v1+json";
    let put = |listed: &'static str, layer: &str, content: &str| {
        (registry.attach(image(), listed, layer, content), listed)
    };
    let entries = [
        put(BUNDLE, BUNDLE, "v0.3"),
        put(old, old, "v0.1"),
        put(empty, BUNDLE, "listed by its configuration"),
        put("", BUNDLE, "listed without type"),
        put(empty, "text/plain", "something else"),
        (Digest::of(b"never asked for"), "application/spdx+json"),
    ];
    registry.api(image(), &entries);
    let found = registry.attached(image()).await;
    let expected = ["listed by its configuration", "listed without type", "v0.1", "v0.3"];
    assert_eq!(bundles(&found), expected);
    assert!(unreadable(&found).is_empty(), "{found:?}");
}

#[tokio::test]
async fn the_older_tags_give_their_layers_with_annotations() {
    let registry = StandIn::start().await;
    let mut signatures: Vec<_> = ["MEUC", "MEQC"]
        .map(|signature| {
            let mut layer = registry.layer(SIMPLE, "payload");
            layer["annotations"] = json!({"dev.cosignproject.cosign/signature": signature});
            layer
        })
        .into();
    signatures.push(registry.layer("text/plain", "of no interest"));
    registry.tag(image(), ".sig", json!({"layers": signatures}).to_string());
    let envelope = registry.layer(ENVELOPE, "envelope");
    registry.tag(image(), ".att", json!({"layers": [envelope]}).to_string());
    registry.tag(image(), ".sbom", json!({"layers": [registry.layer(ENVELOPE, "?")]}).to_string());
    // The same as OCI 1.1 referrers, as cosign writes them when it is told to.
    let artifact = "application/vnd.dev.cosign.artifact.sig.v1+json";
    let referrer = registry.attach(image(), artifact, SIMPLE, "by referrer");
    registry.api(image(), &[(referrer, artifact)]);
    let mut layers: Vec<_> = registry
        .attached(image())
        .await
        .into_iter()
        .map(|found| match found {
            Found::Layer { media_type, content, annotations, .. } => (
                media_type,
                String::from_utf8(content).unwrap(),
                annotations.into_values().collect::<String>(),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    layers.sort();
    let layer =
        |t: &str, content: &str, note: &str| (t.to_owned(), content.to_owned(), note.into());
    assert_eq!(
        layers,
        [
            layer(SIMPLE, "by referrer", ""),
            layer(SIMPLE, "payload", "MEQC"),
            layer(SIMPLE, "payload", "MEUC"),
            layer(ENVELOPE, "envelope", ""),
        ]
    );
}

#[tokio::test]
async fn what_is_broken_is_named_and_keeps_nothing_from_being_read() {
    let registry = StandIn::start().await;
    let good = registry.attach(image(), BUNDLE, BUNDLE, "good");
    let put = |manifest: Value| registry.put("manifests", manifest.to_string());
    let other = Digest::of(b"other");
    let layer = registry.layer(BUNDLE, "of another image");
    let large = json!({"mediaType": BUNDLE, "digest": other, "size": (16 << 20) + 1});
    let absent = json!({"mediaType": BUNDLE, "digest": other, "size": 5});
    let longer = json!({"mediaType": BUNDLE, "digest": registry.put("blobs", "abc"), "size": 2});
    let both = json!({"manifests": [], "layers": [layer], "subject": {"digest": image()}});
    let swapped = Digest::of(b"swapped");
    registry.says(path(&format!("manifests/{swapped}")), ok("{}"));
    let torn = Digest::of(b"torn");
    registry.says(path(&format!("manifests/{torn}")), Says::BreaksOff);
    let cases = [
        (put(referrer(other, BUNDLE, std::slice::from_ref(&layer))), "refers to sha256:"),
        (put(json!({"layers": [layer]})), "refers to none"),
        (put(referrer(image(), BUNDLE, &[large])), "1 to 16777216 are read"),
        (put(referrer(image(), BUNDLE, &[absent])), "no such thing"),
        (put(referrer(image(), BUNDLE, &[longer])), "more than 2 bytes"),
        (put(referrer(image(), BUNDLE, &[])), "no layer of it is a bundle"),
        (put(both), "a manifest and an index at once"),
        (registry.put("manifests", r#"{"layers": ["#), "EOF"),
        (swapped, "was promised"),
        (torn, "cannot be reached"),
    ];
    for (bad, expected) in cases {
        registry.api(image(), &[(bad, BUNDLE), (good, BUNDLE)]);
        let found = registry.attached(image()).await;
        assert_eq!(bundles(&found), ["good"], "{expected}");
        let [why] = unreadable(&found)[..] else { panic!("{expected}: {found:?}") };
        assert!(why.contains(expected), "{why}");
    }
    // A tag that holds nonsense, and an entry with another digest algorithm.
    for tag in ["", ".sig", ".att"] {
        registry.tag(image(), tag, "<html>\u{7}");
    }
    let list = json!({"manifests": [{"digest": "sha512:00"}, {"digest": good}]});
    registry.says(path(&format!("referrers/{}", image())), ok(list.to_string()));
    let found = registry.attached(image()).await;
    assert_eq!((bundles(&found).len(), unreadable(&found).len()), (1, 4), "{found:?}");
}

#[tokio::test]
async fn an_error_of_a_list_is_not_an_empty_list() {
    let registry = StandIn::start().await;
    let of = |suffix: &str| path(&format!("manifests/sha256-{}{suffix}", image().hex()));
    let api = path(&format!("referrers/{}", image()));
    let repository = registry.repository(None);
    let status = |status| Says::Body(status, Vec::new(), Vec::new());
    for place in [&api, &of(""), &of(".sig"), &of(".att")] {
        for answer in [status(500), status(429), status(403), Says::BreaksOff] {
            registry.says(place, answer);
            repository.attached(image()).await.unwrap_err();
        }
        registry.says(place, status(404));
        assert!(repository.attached(image()).await.unwrap().is_empty());
    }
    registry.says(&api, ok("<html>"));
    repository.attached(image()).await.unwrap_err();
    // Listed, but nothing of it can be had: the registry is down, and not the image unsigned.
    let listed = Digest::of(b"listed");
    registry.api(image(), &[(listed, BUNDLE)]);
    registry.says(path(&format!("manifests/{listed}")), status(503));
    let error = repository.attached(image()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    let blob = json!({"mediaType": BUNDLE, "digest": listed, "size": 6});
    let manifest = registry.put("manifests", referrer(image(), BUNDLE, &[blob]).to_string());
    registry.api(image(), &[(manifest, BUNDLE)]);
    registry.says(path(&format!("blobs/{listed}")), Says::BreaksOff);
    let error = repository.attached(image()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn pages_are_followed_and_those_that_loop_end() {
    let registry = StandIn::start().await;
    let link = |to: &str| vec![("link", format!("<{to}>; rel=\"next\""))];
    let page = |entries: &[(Digest, &str)], to: &str| Says::Body(200, link(to), index(entries));
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    let api = path(&format!("referrers/{}", image()));
    let second = format!("{api}?n=2");
    let repository = registry.repository(None);
    // Relative, absolute, and an empty page between.
    let absolute = format!("http://{}{second}", registry.address);
    for to in [second.as_str(), &absolute, "?n=2"] {
        registry.says(&api, page(&[], to));
        registry.says(&second, page(&[(one, "a")], &format!("{api}?n=3")));
        registry.says(format!("{api}?n=3"), ok(index(&[(two, "a")])));
        assert_eq!(repository.referrers(image(), None).await.unwrap().len(), 2, "{to}");
    }
    // The same page again, the first page again, the same content under ever new addresses.
    for to in [&second, &api] {
        registry.says(&second, page(&[(one, "a")], to));
        let error = repository.attached(image()).await.unwrap_err();
        assert!(error.to_string().contains("in a circle"), "{error}");
    }
    registry.says(&api, page(&[(one, "a")], &second));
    registry.says(&second, page(&[(one, "a")], &format!("{api}?n=3")));
    let error = repository.attached(image()).await.unwrap_err();
    assert!(error.to_string().contains("in a circle"), "{error}");
    for to in ["http://127.0.0.1:1/v2/hospital/odoo/referrers/x", "/v2/other/referrers/x"] {
        registry.says(&second, page(&[(two, "a")], to));
        let error = repository.attached(image()).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
    }
    // A later page that is gone is no end of the list.
    registry.says(&second, Says::Body(404, Vec::new(), Vec::new()));
    repository.attached(image()).await.unwrap_err();
}

#[tokio::test]
async fn a_flood_of_referrers_is_cut_and_displaces_no_bundle_by_others() {
    let registry = StandIn::start().await;
    let good = registry.attach(image(), BUNDLE, BUNDLE, "good");
    // Many of another type cost nothing; those without a type come after bundles.
    let many: Vec<_> = (0..2000_u32).map(|n| Digest::of(&n.to_be_bytes())).collect();
    let mut entries: Vec<_> =
        many.iter().map(|digest| (*digest, "application/spdx+json")).collect();
    entries.push((good, BUNDLE));
    registry.api(image(), &entries);
    let found = registry.attached(image()).await;
    assert_eq!((bundles(&found).len(), found.len()), (1, 1));
    let mut entries: Vec<_> = many[..100].iter().map(|digest| (*digest, "")).collect();
    entries.push((good, BUNDLE));
    let mut seen = Vec::new();
    for _ in 0..2 {
        entries.reverse();
        registry.api(image(), &entries);
        seen.push(registry.attached(image()).await);
    }
    assert_eq!(seen[0], seen[1], "the order of a list matters");
    assert_eq!(bundles(&seen[0]), ["good"]);
    let cut = "37 more referrers may hold signatures, but at most 64 are read";
    assert!(unreadable(&seen[0]).iter().any(|why| why.contains(cut)), "{:?}", seen[0]);
}

#[tokio::test]
async fn large_content_displaces_no_signature() {
    let registry = StandIn::start().await;
    let good = registry.attach(image(), BUNDLE, BUNDLE, "good");
    let large = registry.layer(ENVELOPE, &" ".repeat(15 << 20));
    let layers: Vec<_> = (0..5)
        .map(|n| {
            let mut layer = large.clone();
            layer["annotations"] = json!({"n": n.to_string()});
            layer
        })
        .collect();
    let mut noted = large.clone();
    noted["annotations"] = json!({"n": " ".repeat(1 << 20)});
    let put = |layers| registry.put("manifests", referrer(image(), ENVELOPE, layers).to_string());
    let (flood, noted) = (put(&layers), put(&[noted]));
    registry.api(image(), &[(flood, ENVELOPE), (noted, ENVELOPE), (good, BUNDLE)]);
    let found = registry.attached(image()).await;
    assert_eq!(bundles(&found), ["good"]);
    let layers = found.iter().filter(|found| matches!(found, Found::Layer { .. })).count();
    assert_eq!(layers, 4, "64 MiB in all");
    let reasons = unreadable(&found).join("\n");
    assert!(reasons.contains("67108864 bytes"), "{reasons}");
    assert!(reasons.contains("1048576 bytes of annotations"), "{reasons}");
    // A list that was made too large takes the older tags with it no more than anything else.
    registry.says(path(&format!("referrers/{}", image())), Says::Endless);
    let signature = registry.layer(SIMPLE, "payload");
    registry.tag(image(), ".sig", json!({"layers": [signature]}).to_string());
    let found = registry.attached(image()).await;
    assert_eq!((found.len(), unreadable(&found).len()), (2, 1), "{found:?}");
}

#[tokio::test]
async fn an_index_tells_the_images_that_may_run_and_no_more_than_it_should() {
    let registry = StandIn::start().await;
    let oci = "application/vnd.oci.image.index.v1+json";
    let of = |os: &str, name: &str| json!({"digest": Digest::of(name.as_bytes()), "platform": {"os": os, "architecture": os}});
    let nest = |inner: Digest, more: &[Value]| {
        let mut manifests = more.to_vec();
        manifests.push(json!({"digest": inner, "mediaType": oci}));
        registry.put("manifests", json!({"manifests": manifests}).to_string())
    };
    let entries = [of("linux", "amd"), of("unknown", "attestation")];
    let innermost = json!({"manifests": entries, "annotations": {"a": "b"}}).to_string();
    let innermost = registry.put("manifests", innermost);
    let index = nest(innermost, &[of("linux", "arm")]);
    let repository = registry.repository(None);
    assert_eq!(repository.manifest(innermost).await.unwrap().annotations()["a"], "b");
    let images = Images::from(repository);
    let found: Vec<_> = images.platforms(index).await.unwrap().into_iter().map(|p| p.0).collect();
    assert_eq!(found, [Digest::of(b"arm"), Digest::of(b"amd")]);
    let too_deep = nest(nest(index, &[]), &[]);
    let error = images.platforms(too_deep).await.unwrap_err();
    assert!(error.to_string().contains("3 indexes within each other"), "{error}");
}

#[tokio::test]
async fn a_mirror_without_signatures_hides_none() {
    let (registry, mirror) = (StandIn::start().await, StandIn::start().await);
    let mirrored = format!("{}={}", registry.address, mirror.address).parse().unwrap();
    let options = Options { mirrors: vec![mirrored], ..LOOPBACK };
    let name = format!("{}/hospital/odoo", registry.address).parse().unwrap();
    let repository = Registry::new(options).unwrap().repository(name);
    let good = registry.attach(image(), BUNDLE, BUNDLE, "good");
    registry.api(image(), &[(good, BUNDLE)]);
    for stale in [ok(index(&[])), ok(index(&[(Digest::of(b"sbom"), "application/spdx+json")]))] {
        mirror.says(path(&format!("referrers/{}", image())), stale);
        assert_eq!(bundles(&repository.attached(image()).await.unwrap()), ["good"]);
    }
    // Where the registry itself cannot be asked, "none" of the mirror is no answer.
    registry.says(path(&format!("referrers/{}", image())), Says::BreaksOff);
    let error = repository.attached(image()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[test]
fn neither_order_nor_number_of_entries_decides_what_is_looked_into() {
    let of = |name: String, artifact_type: &str| {
        Descriptor::of(Digest::of(name.as_bytes()), Some(artifact_type.to_owned()))
    };
    let mut entries: Vec<_> = (0..5000).map(|n| of(format!("sbom {n}"), "text/spdx")).collect();
    entries.extend((0..5000).map(|n| of(format!("unclear {n}"), "")));
    entries.extend((0..20).map(|n| of(format!("bundle {n}"), BUNDLE)));
    // The same thing twice, once talked down.
    entries.extend((0..20).map(|n| of(format!("bundle {n}"), "text/spdx")));
    let read = |entries: &[Descriptor]| {
        let mut listing = Listing::default();
        for entry in entries {
            listing.add(entry.clone(), "a list");
        }
        assert_eq!(listing.unread.len(), 1, "{:?}", listing.unread);
        listing.relevant()
    };
    let first = read(&entries);
    let bundles: Vec<_> = (0..20).map(|n| of(format!("bundle {n}"), BUNDLE).digest).collect();
    assert!(bundles.iter().all(|bundle| first[..20].contains(bundle)));
    for step in [1, 7, 4999, 7777] {
        entries.rotate_left(step);
        assert_eq!(read(&entries), first);
        entries.reverse();
        assert_eq!(read(&entries), first);
    }
}
