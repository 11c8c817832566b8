//! What `cargo xtask bench provenance` measures: verifications on one core beside the signature
//! checks that nobody can do without, a verdict that is known, and two hundred images of one
//! release against a real registry.
//!
//! The bundles are those of `tests/fixtures/cosign`. Times of one run are compared with each other
//! only: absolute ones say more about the machine.

#![allow(clippy::unwrap_used, reason = "a measurement that meets an error has no result")]

use std::collections::HashMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, ED25519, EcdsaKeyPair, EcdsaVerificationAlgorithm,
    Ed25519KeyPair, KeyPair as _, ParsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_harness::Lab;
use tidegate_ids::Digest;
use tidegate_outbound::{Found, Options, Referrer, Registry, Repository};
use tidegate_provenance::{Attached, Gathered, ImageRef, Rules, Subject, TrustRule, verify};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

const REPETITIONS: usize = 7;
const EACH: Duration = Duration::from_millis(300);
const IMAGES: u32 = 200;
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A kept case, and the checks that nobody can do without for it.
struct Case {
    name: &'static str,
    kept: &'static str,
    checks: &'static [Check],
}

/// One check; the numbers are the lengths of what is hashed, as the kept bundles have them.
#[derive(Clone, Copy)]
enum Check {
    P256(usize),
    /// By a key that comes with the bundle: it has to be read, too.
    P256Brought(usize),
    P384(usize),
    Ed25519(usize),
    /// A leaf, and the nodes on its way to the root of a log.
    Inclusion {
        leaf: usize,
        nodes: usize,
    },
}

use Check::{Ed25519, Inclusion, P256, P256Brought, P384};

/// The statement; the log's proof and checkpoint; the stamp and its authority's certificate.
const LOGGED_AND_STAMPED: [Check; 5] =
    [P256(280), Inclusion { leaf: 489, nodes: 0 }, Ed25519(70), P256(110), P384(400)];
/// The same, the certificate by its authority, and the promise of a certificate log.
const KEYLESS: [Check; 7] = [
    P256Brought(280),
    P256(1600),
    P256(1500),
    Inclusion { leaf: 2643, nodes: 2 },
    Ed25519(70),
    P256(110),
    P384(400),
];
const CASES: [Case; 4] = [
    Case { name: "key, P-256", kept: "key (ECDSA), no log", checks: &[P256(280)] },
    Case { name: "key, Ed25519", kept: "key (Ed25519), no log", checks: &[Ed25519(260)] },
    Case {
        name: "key, with log and stamp",
        kept: "key, log and timestamp",
        checks: &LOGGED_AND_STAMPED,
    },
    Case {
        name: "keyless, log and stamp",
        kept: "keyless, CI workflow with its source",
        checks: &KEYLESS,
    },
];

fn main() {
    // To look at one case alone, with a profiler for example.
    let only = std::env::args().nth(1);
    println!("one core, medians of {REPETITIONS}          verified/s     bare/s   ratio");
    for case in CASES.iter().filter(|case| only.as_ref().is_none_or(|only| case.name == only)) {
        on_one_core(case);
    }
    if only.is_some() {
        return;
    }
    known();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(a_release());
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cosign")
}

struct Kept {
    subject: Subject,
    attached: Vec<Attached>,
    rules: Rules,
    now: jiff::Timestamp,
}

fn kept(name: &str) -> Kept {
    let index = std::fs::read_to_string(folder().join("index.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&index).unwrap();
    let case = cases.into_iter().find(|case| case["name"] == name).unwrap();
    let (repository, digest) = case["image"].as_str().unwrap().split_once('@').unwrap();
    let image = ImageRef { repository: repository.into(), digest: digest.parse().unwrap() };
    let root = std::fs::read_to_string(folder().join("trusted_root.json")).unwrap();
    let config_maps = [("lab".to_owned(), root)].into();
    let materials = Gathered { config_maps, ..Gathered::default() };
    let spec = serde_json::from_value(case["policy"].clone()).unwrap();
    let rule = TrustRule::from_policy("hospital-images", &spec, &materials).unwrap();
    let bundle = |one: &Value| {
        let file = folder().join("content").join(one["bundle"].as_str().unwrap());
        Attached::bundle(std::fs::read(file).unwrap())
    };
    Kept {
        subject: image.into(),
        attached: case["attached"].as_array().unwrap().iter().map(bundle).collect(),
        rules: Rules::new(vec![rule]),
        now: case["now"].as_str().unwrap().parse().unwrap(),
    }
}

fn on_one_core(case: &Case) {
    let kept = kept(case.kept);
    let whole = || {
        let outcome = verify(&kept.subject, &kept.attached, &kept.rules, kept.now);
        assert!(outcome.verdict.passed().is_some());
    };
    let bare = bare(case);
    let (mut ours, mut least) = (Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        ours.push(per_second(whole));
        least.push(per_second(&bare));
    }
    let (ours, least) = (median(&mut ours), median(&mut least));
    println!("{:<28} {ours:>10.0} {least:>10.0} {:>7.2}", case.name, least / ours);
}

/// The same checks by the library alone, over as many bytes.
fn bare(case: &Case) -> impl Fn() {
    let random = SystemRandom::new();
    let checks: Vec<Box<dyn Fn()>> = case.checks.iter().map(|check| one(*check, &random)).collect();
    move || checks.iter().for_each(|check| check())
}

fn one(check: Check, random: &SystemRandom) -> Box<dyn Fn()> {
    let ecdsa = |signing, verifying: &'static EcdsaVerificationAlgorithm, length| {
        let (key, message) = (EcdsaKeyPair::generate(signing).unwrap(), vec![7_u8; length]);
        let signature = key.sign(random, &message).unwrap();
        checked(verifying, key.public_key().as_ref(), message, signature.as_ref())
    };
    match check {
        P256Brought(length) => {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
            let message = vec![7_u8; length];
            let signature = key.sign(random, &message).unwrap().as_ref().to_vec();
            let public = key.public_key().as_ref().to_vec();
            Box::new(move || {
                let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, black_box(&public));
                key.unwrap().verify_sig(&message, &signature).unwrap();
            })
        }
        P256(length) => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_ASN1, length),
        P384(length) => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1, length),
        Ed25519(length) => {
            let (key, message) = (Ed25519KeyPair::generate().unwrap(), vec![7_u8; length]);
            let signature = key.sign(&message);
            checked(&ED25519, key.public_key().as_ref(), message, signature.as_ref())
        }
        Inclusion { leaf, nodes } => {
            let leaf = vec![7_u8; leaf];
            Box::new(move || {
                let mut root = digest(&SHA256, black_box(&leaf));
                for _ in 0..nodes {
                    root = digest(&SHA256, &[root.as_ref(), root.as_ref(), &[1]].concat());
                }
                black_box(root);
            })
        }
    }
}

fn checked(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: Vec<u8>,
    signature: &[u8],
) -> Box<dyn Fn()> {
    // Read once, as the engine reads its keys.
    let key = ParsedPublicKey::new(algorithm, key).unwrap();
    let signature = signature.to_vec();
    Box::new(move || key.verify_sig(black_box(&message), &signature).unwrap())
}

fn per_second(work: impl Fn()) -> f64 {
    let (started, mut done) = (Instant::now(), 0_u32);
    while started.elapsed() < EACH {
        work();
        done += 1;
    }
    f64::from(done) / started.elapsed().as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A verdict that is remembered: the digest of the rules, and one look into a map.
fn known() {
    let kept = kept(CASES[3].kept);
    let verdict = verify(&kept.subject, &kept.attached, &kept.rules, kept.now).verdict.record();
    let image = &kept.subject.image;
    let key = |rules| (image.repository.clone(), image.digest, rules);
    let known = HashMap::from([(key(kept.rules.digest_for(image).unwrap()), verdict)]);
    let look = || {
        let rules = kept.rules.digest_for(image).unwrap();
        assert!(black_box(known.get(&key(rules)).cloned()).is_some());
    };
    let mut values: Vec<_> = (0..REPETITIONS).map(|_| per_second(look)).collect();
    println!("{:<28} {:>10.0}", "a verdict that is known", median(&mut values));
}

/// Two hundred signed images in the lab's registry, behind a relay that counts connections.
async fn a_release() {
    let lab = Lab::attach_or_start().unwrap();
    let relay = Relay::to(lab.registry().to_owned()).await;
    let options = Options { plain_http_on_loopback: true, ..Options::default() };
    let key = Ed25519KeyPair::generate().unwrap();
    let direct: Registry = Registry::new(options.clone()).unwrap();
    let repository = direct.repository(format!("{}/bench/odoo", lab.registry()).parse().unwrap());
    let mut digests = Vec::new();
    for n in 0..IMAGES {
        let tag = format!("bench-{n}");
        let pushed = lab.push_image("bench/odoo", &tag, &tag, &[]).unwrap();
        let digest: Digest = pushed.parse().unwrap();
        sign(&repository, digest, &key).await;
        digests.push(digest);
    }
    let name = format!("{}/bench/odoo", relay.address);
    let rules = Arc::new(by_key(&name, &key));
    println!();
    for at_once in [1, 8, 32] {
        // A client of its own, so that no connection is there before.
        let registry = Registry::new(options.clone()).unwrap();
        relay.most.store(0, Ordering::SeqCst);
        let started = Instant::now();
        all(&registry.repository(name.parse().unwrap()), &name, &digests, &rules, at_once).await;
        let took = started.elapsed().as_secs_f64();
        let (per_second, most) = (f64::from(IMAGES) / took, relay.most.load(Ordering::SeqCst));
        println!(
            "{IMAGES} images, {at_once:>3} at a time: {per_second:>6.0} images/s, at most {most} connections"
        );
    }
}

async fn all(
    repository: &Repository,
    name: &str,
    digests: &[Digest],
    rules: &Arc<Rules>,
    at_once: usize,
) {
    let turns = Arc::new(tokio::sync::Semaphore::new(at_once));
    let mut looks = tokio::task::JoinSet::new();
    for digest in digests.iter().copied() {
        let (repository, rules, turns) = (repository.clone(), rules.clone(), turns.clone());
        let name = name.to_owned();
        looks.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let (manifest, found) =
                tokio::try_join!(repository.manifest(digest), repository.attached(digest)).unwrap();
            let attached: Vec<_> = found.into_iter().filter_map(bundle).collect();
            let annotations = manifest.annotations().clone();
            let image = ImageRef { repository: name, digest };
            let subject = Subject { image, annotations };
            let outcome = verify(&subject, &attached, &rules, jiff::Timestamp::UNIX_EPOCH);
            assert!(outcome.verdict.passed().is_some(), "{:?}", outcome.verdict.record().reasons);
        });
    }
    while let Some(done) = looks.join_next().await {
        done.unwrap();
    }
}

fn bundle(found: Found) -> Option<Attached> {
    match found {
        Found::Bundle { digest, json } => Some(Attached::Bundle { digest, json }),
        _ => None,
    }
}

/// A signature as cosign makes it, without a log.
async fn sign(repository: &Repository, digest: Digest, key: &Ed25519KeyPair) {
    const KIND: &str = "application/vnd.in-toto+json";
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1", "predicate": {},
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "subject": [{"digest": {"sha256": digest.hex()}}],
    });
    let payload = statement.to_string();
    let signed = format!("DSSEv1 {} {KIND} {} {payload}", KIND.len(), payload.len());
    let signature = key.sign(signed.as_bytes());
    let bundle = json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": STANDARD.encode(Digest::of(&spki(key)).bytes())}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(&payload), "payloadType": KIND,
            "signatures": [{"sig": STANDARD.encode(signature.as_ref())}],
        },
    });
    let referrer = Referrer {
        artifact_type: BUNDLE.to_owned(),
        annotations: std::collections::BTreeMap::new(),
        media_type: BUNDLE.to_owned(),
        content: bundle.to_string().into_bytes(),
    };
    repository.push_referrer(digest, &referrer).await.unwrap();
}

/// RFC 8410: the `SubjectPublicKeyInfo` of an Ed25519 key is this prefix and the 32 bytes.
fn spki(key: &Ed25519KeyPair) -> Vec<u8> {
    let prefix = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
    [&prefix[..], key.public_key().as_ref()].concat()
}

fn by_key(repository: &str, key: &Ed25519KeyPair) -> Rules {
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(spki(key))
    );
    let spec = json!({"images": [repository], "require": [{"anyOf": [{"key": {"pem": pem, "log": "none"}}]}]});
    let spec = serde_json::from_value(spec).unwrap();
    Rules::new(vec![TrustRule::from_policy("bench", &spec, &Gathered::default()).unwrap()])
}

/// Passes connections on, and knows how many there were at the same time.
struct Relay {
    address: String,
    most: Arc<AtomicUsize>,
}

impl Relay {
    async fn to(registry: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counted = most.clone();
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let (registry, open, most) = (registry.clone(), open.clone(), counted.clone());
                tokio::spawn(async move {
                    most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let mut to = TcpStream::connect(registry).await.unwrap();
                    let _ended = copy_bidirectional(&mut from, &mut to).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, most }
    }
}
