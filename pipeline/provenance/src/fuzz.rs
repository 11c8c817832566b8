//! What strangers wrote, given to everything that reads it: for the fuzzer (`cargo xtask fuzz`) and
//! for the test that replays its corpora.
//!
//! Only public material is here. Whoever signed the seeds is gone with the keys, so whatever is
//! proved here was signed then, and a proof of anything else is a forgery. That, a sentence that
//! would bring a stranger's control characters to a terminal, and one without end are what the
//! fuzzer looks for beside panics, memory and time.

#![allow(clippy::expect_used, clippy::panic, reason = "what it finds is told by a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_ids::Digest;
use tidegate_schemas::{AttestationRequirement, BaseImages, KeylessAuthority, Log};

use crate::bundle::{Evidence, PAYLOAD_TYPE, SIGN_PREDICATE};
use crate::predicate::{AttestationRule, BaseRule};
use crate::proof::Proved;
use crate::{
    Attached, Authority, Gathered, ImageRef, Roots, Rules, Signer, Subject, TrustRule, verify,
};

const ROOT: &str = include_str!("fuzz/trusted_root.json");
const KEYS: [&str; 3] = [
    include_str!("fuzz/p256.pub"),
    include_str!("fuzz/p384.pub"),
    include_str!("fuzz/ed25519.pub"),
];
/// The repository of the image.
const ODOO: &str = "registry.example.com/odoo";
/// What the seeds are about.
const IMAGE: &[u8] = b"odoo 17.0.3";
/// What the seeds' signers signed: a signature, and an attestation without content.
const SIGNED: [&str; 2] = [SIGN_PREDICATE, "https://slsa.dev/provenance/v0.2"];
/// The annotations of a layer, in the order of the fields.
const ANNOTATIONS: [&str; 5] = [
    "dev.cosignproject.cosign/signature",
    "dev.sigstore.cosign/certificate",
    "dev.sigstore.cosign/chain",
    "dev.sigstore.cosign/bundle",
    "dev.sigstore.cosign/rfc3161timestamp",
];
/// The most characters of one sentence.
const SENTENCE: usize = 4096;

struct Trust {
    roots: [Roots; 2],
    authorities: Vec<Authority>,
}

static TRUST: LazyLock<Trust> = LazyLock::new(|| {
    let root = Roots::from_json("fuzz", ROOT).expect("the root was made by the tests");
    let keys = KEYS.iter().flat_map(|pem| {
        [Log::Required, Log::None].map(|log| Authority::key("release-key", pem, log, None, None))
    });
    let people = [
        json!({"issuer": "https://accounts.example.com", "subject": {"exact": "anna@hospital.example"}}),
        json!({"issuer": "https://accounts.example.com", "subject": {"regex": "[a-z]+@hospital\\.example"}}),
    ];
    let people = people.into_iter().map(|stated| {
        let stated: KeylessAuthority = serde_json::from_value(stated).expect("it is an identity");
        Authority::keyless(&stated)
    });
    let authorities = keys.chain(people).collect::<Result<_, _>>().expect("they can be asked for");
    Trust { roots: [root, Roots::default()], authorities }
});

static RULES: LazyLock<(Vec<AttestationRule>, Vec<BaseRule>)> = LazyLock::new(|| {
    let github = json!({
        "builder": {"exact": "https://builder.example/v1"},
        "source": {"repository": "https://github.com/hospital/odoo", "ref": {"exact": "refs/heads/main"}},
        "parameters": ["workflow"],
    });
    let rules = [
        json!({"slsa": {"builder": {"regex": ".+"}}}),
        json!({"slsa": github}),
        json!({"sbom": {"minPackages": 1, "minIdentified": 50}}),
        json!({"vulnerabilities": {"maxAge": "7d", "maxSeverity": "Low"}}),
        json!({"custom": {"name": "tests", "type": "https://hospital.example/tests/v1",
            "rule": "predicate.suites.all(s, s.failed == 0) && subject.digest.size() > 0"}}),
    ];
    let bases = [
        json!({"approved": [{"image": "docker.io/library/*"}]}),
        json!({"approved": [{"image": "docker.io/library/debian"}], "from": "Annotations"}),
    ];
    let rule = |stated| {
        let stated: AttestationRequirement = serde_json::from_value(stated).expect("a requirement");
        AttestationRule::from_schema(&stated).expect("it can be asked for")
    };
    let base = |stated| {
        let stated: BaseImages = serde_json::from_value(stated).expect("approved bases");
        BaseRule::from_schema(&stated).expect("they can be approved")
    };
    (rules.into_iter().map(rule).collect(), bases.into_iter().map(base).collect())
});

/// What the whole judgement is asked: whoever signed the seeds, in how many it takes one of them.
struct Asked {
    /// One of them is enough.
    one: Rules,
    /// One thing that is attached is by one signer, whatever it says: none of these may pass.
    never: Vec<(&'static str, Rules)>,
}

static ASKED: LazyLock<Asked> = LazyLock::new(|| {
    let keys = KEYS.iter().map(|pem| json!({"key": {"pem": pem, "log": "none"}}));
    let anna = json!({"keyless": {"issuer": "https://accounts.example.com",
        "subject": {"exact": "anna@hospital.example"}}});
    let signers: Vec<_> = keys.chain([anna]).collect();
    let count = |count: u32| {
        json!({"images": [ODOO], "roots": [{"configMap": "fuzz"}],
            "require": [{"anyOf": signers, "count": count}]})
    };
    let revoked = |what: &Value| json!({"images": [ODOO], "revoked": [what]});
    let digest = revoked(&json!({"digest": image(), "reason": "its build machine was taken over"}));
    let everybody = json!({"images": [ODOO], "revoked": [
        {"key": fingerprint(KEYS[0]), "reason": "lost"},
        {"key": fingerprint(KEYS[1]), "reason": "lost"},
        {"key": fingerprint(KEYS[2]), "reason": "lost"},
        {"identity": {"issuer": "https://accounts.example.com", "subject": {"regex": ".+"}},
            "reason": "the provider was taken over"},
    ]});
    let listed = json!({"images": [ODOO], "static": [{"digest": Digest::of(b"another image"),
        "owner": "ann", "approvedBy": "joe", "reason": "no vendor signs it",
        "expires": "2030-01-01T00:00:00Z"}]});
    Asked {
        one: rules(&[count(1)]),
        never: vec![
            ("two are asked for", rules(&[count(2)])),
            ("the image is revoked", rules(&[count(1), digest])),
            ("every signer is revoked", rules(&[count(1), everybody])),
            ("another image is an exception", rules(&[listed])),
        ],
    }
});

fn rules(specs: &[Value]) -> Rules {
    let config_maps = [("fuzz".to_owned(), ROOT.to_owned())].into();
    let materials = Gathered { config_maps, ..Gathered::default() };
    let rule = |(number, spec): (usize, &Value)| {
        let spec = serde_json::from_value(spec.clone()).expect("it is a policy");
        TrustRule::from_policy(&format!("policy-{number}"), &spec, &materials).expect("it can hold")
    };
    Rules::new(specs.iter().enumerate().map(rule).collect())
}

/// The SHA-256 of a key's `SubjectPublicKeyInfo`, as revocations name it.
fn fingerprint(pem: &str) -> Digest {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    Digest::of(&STANDARD.decode(body).expect("it is a key"))
}

fn now() -> Timestamp {
    Timestamp::constant(1_772_370_000, 0)
}

fn image() -> Digest {
    Digest::of(IMAGE)
}

/// A Sigstore bundle (JSON). How often something is proved by it.
#[must_use]
pub fn bundle(json: &[u8]) -> usize {
    let stated = crate::statement_of(json).map(|(_, subjects, _)| subjects);
    let proved = proofs(&[Attached::bundle(json.to_vec())]);
    assert!(proved == 0 || stated == Some(vec![image()]), "another statement is read: {stated:?}");
    proved
}

/// A layer of the older layout: the content and the five annotations, separated by zero bytes; the
/// content's first byte says whether it is an envelope. How often something is proved by it.
#[must_use]
pub fn payload(fields: &[u8]) -> usize {
    let mut fields = fields.split(|byte| *byte == 0);
    let (kind, content) = fields.next().and_then(<[u8]>::split_first).unwrap_or((&b' ', &[]));
    let media_type = match kind {
        b'e' => "application/vnd.dsse.envelope.v1+json",
        b's' => "application/vnd.dev.cosign.simplesigning.v1+json",
        _ => "text/plain",
    };
    let annotations: BTreeMap<_, _> = ANNOTATIONS
        .iter()
        .zip(fields)
        .map(|(key, text)| ((*key).to_owned(), String::from_utf8_lossy(text).into_owned()))
        .collect();
    proofs(&[Attached::Layer {
        digest: Digest::of(content),
        media_type: media_type.to_owned(),
        content: content.to_vec(),
        annotations,
    }])
}

/// A statement (JSON) that somebody trusted signed: its content is still anybody's. How many
/// readers and rules took it.
#[must_use]
pub fn statement(json: &[u8]) -> usize {
    let envelope = json!({
        "payload": STANDARD.encode(json), "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": "", "sig": "AA=="}],
    })
    .to_string();
    let read = crate::statement_of(envelope.as_bytes());
    let (predicate_type, predicate) = match read {
        Some((predicate_type, _, predicate)) => (predicate_type, predicate),
        None => (String::new(), serde_json::from_slice(json).unwrap_or_default()),
    };
    let subject = subject(&predicate);
    let mut taken = crate::inventory(&predicate_type, &predicate).map_or(0, |inventory| {
        inventory.packages.iter().for_each(|one| drop(one.key()));
        1 + inventory.identified().min(1)
    });
    match crate::scan(&predicate) {
        Ok(scan) => {
            scan.findings.iter().for_each(|one| drop(one.key()));
            fit(&[scan.record().scanner]);
            taken += 1;
        }
        Err(why) => fit(&[why]),
    }
    let statement = Proved {
        attached: Digest::of(json),
        signer: Signer { name: String::new(), fingerprint: image(), identity: None },
        subjects: BTreeSet::from([image()]),
        predicate_type,
        predicate,
        logs: BTreeSet::new(),
        timestamps: BTreeSet::new(),
        times: Vec::new(),
    };
    for rule in &RULES.0 {
        match rule.judge(&statement, &subject, now()) {
            Ok(accepted) => fit(&[accepted.summary]),
            Err(reasons) => {
                fit(&reasons);
                continue;
            }
        }
        taken += 1;
    }
    for base in &RULES.1 {
        match base.judge(&[&statement], &subject) {
            Ok(summary) => fit(&[summary]),
            Err(reasons) => {
                fit(&reasons);
                continue;
            }
        }
        taken += 1;
    }
    taken
}

/// The image, with whatever texts the predicate has on top as its annotations.
fn subject(predicate: &Value) -> Subject {
    let repository = ODOO.to_owned();
    let mut subject = Subject::from(ImageRef { repository, digest: image() });
    for (key, value) in predicate.as_object().into_iter().flatten() {
        if let Some(text) = value.as_str() {
            subject.annotations.insert(key.clone(), text.to_owned());
        }
    }
    subject
}

/// Everything that anybody is proved to have made of it, and what policies make of that.
fn proofs(attached: &[Attached]) -> usize {
    let proved = proved(attached);
    judged(attached, proved);
    proved
}

/// The whole judgement: nothing passes that nobody signed, and one thing is never enough for two,
/// for what is revoked, or for an exception that is another image's.
fn judged(attached: &[Attached], proved: usize) {
    let subject = subject(&Value::Null);
    let passes = |rules: &Rules| {
        let outcome = verify(&subject, attached, rules, now());
        fit(&outcome.verdict.record().reasons);
        outcome.verdict.passed().is_some()
    };
    assert!(!passes(&ASKED.one) || proved > 0, "it passes, and nobody made it");
    for (what, rules) in &ASKED.never {
        assert!(!passes(rules), "it passes although {what}");
    }
}

/// How often somebody is proved to have made something of it.
fn proved(attached: &[Attached]) -> usize {
    let evidence = Evidence::read(attached);
    let mut proved = 0;
    for roots in &TRUST.roots {
        for authority in &TRUST.authorities {
            let proofs = evidence.by(authority, roots, now());
            for one in &proofs.proved {
                let genuine = one.subjects == BTreeSet::from([image()])
                    && SIGNED.contains(&one.predicate_type.as_str())
                    && (one.predicate == json!({}) || one.predicate.is_null());
                assert!(genuine, "a statement that nobody made was proved: {one:?}");
            }
            let said: Vec<_> = proofs.shortcomings.iter().map(ToString::to_string).collect();
            fit(&said);
            proved += proofs.proved.len();
        }
    }
    proved
}

/// Sentences that people see hold nothing that their terminal obeys, and end.
fn fit(sentences: &[String]) {
    for said in sentences {
        let obeyed = |c: char| {
            c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!said.contains(obeyed), "control characters are shown: {said:?}");
        assert!(said.chars().count() <= SENTENCE, "a sentence is too long: {said}");
    }
}

#[cfg(test)]
mod tests;
