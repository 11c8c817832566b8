//! The cases: what is signed how, and what must be said of it.

use serde_json::{Value, json};
use tidegate_harness::{Algorithm, By, Identity, LabError, Proof, Workflow};

use super::attested::{self, of_type, spdx};
use super::judge::Case;
use super::stand::{Stand, any_of, key, logged, now, unlogged, words};
use super::tampered;

type Cases = Result<Vec<Case>, LabError>;

/// Every case, each with an image of its own.
pub(super) fn all(stand: &Stand) -> Cases {
    let groups =
        [keys, keyless, identities, several, misplaced, times, older, attested::all, tampered::all];
    let mut cases = Vec::new();
    for group in groups {
        cases.extend(group(stand)?);
    }
    Ok(cases)
}

fn keys(stand: &Stand) -> Cases {
    let (lab, sigstore) = (stand.lab, stand.sigstore);
    let rsa = lab.imported_key("interop-rsa", Algorithm::Rsa)?;
    let ed25519 = lab.imported_key("interop-ed25519", Algorithm::Ed25519)?;
    let mut cases = Vec::new();

    let image = stand.image("key-ecdsa")?;
    sigstore.sign(&image, By::Key(&stand.key), Proof::None)?;
    let policy = stand.by(&key(&stand.key, "none"));
    cases.push(Case::accepted("key (ECDSA), no log", image, policy, unlogged(&stand.key)));

    let image = stand.image("key-rsa")?;
    sigstore.sign(&image, By::Key(&rsa), Proof::None)?;
    let policy = stand.by(&key(&rsa, "none"));
    cases.push(Case::accepted("key (RSA), no log", image, policy, unlogged(&rsa)));

    // cosign signs with Ed25519ph and does not verify that itself (3.1.3).
    let image = stand.image("key-ed25519ph")?;
    lab.sign(&image, &ed25519)?;
    let policy = stand.by(&key(&ed25519, "none"));
    let name = "key (Ed25519ph, as cosign signs), no log";
    cases.push(Case::refused(name, "", image, policy.clone(), unlogged(&ed25519)));

    let image = stand.image("key-ed25519")?;
    lab.sign_ed25519(&image, "interop-ed25519")?;
    cases.push(Case::accepted("key (Ed25519), no log", image, policy, unlogged(&ed25519)));

    let image = stand.image("key-logged")?;
    sigstore.sign_with_key(&image, &stand.key)?;
    let policy = stand.by(&key(&stand.key, "required"));
    cases.push(Case::accepted("key, log and timestamp", image, policy, logged(&stand.key)));

    let image = stand.image("key-rsa-logged")?;
    sigstore.sign_with_key(&image, &rsa)?;
    let policy = stand.by(&key(&rsa, "required"));
    cases.push(Case::accepted("key (RSA), log and timestamp", image, policy, logged(&rsa)));

    let image = stand.image("key-unlogged")?;
    sigstore.sign(&image, By::Key(&stand.key), Proof::Timestamp)?;
    let policy = stand.by(&key(&stand.key, "required"));
    let name = "key, no log although one is asked for";
    cases.push(Case::refused(name, "log", image, policy, logged(&stand.key)));
    Ok(cases)
}

fn keyless(stand: &Stand) -> Cases {
    let sigstore = stand.sigstore;
    let mut cases = Vec::new();

    let image = stand.image("keyless")?;
    sigstore.sign_keyless(&image, &stand.person)?;
    let policy = stand.by(&stand.keyless(&stand.person));
    let asked = stand.asks_for(&stand.person);
    cases.push(Case::accepted("keyless, e-mail", image, policy, asked).a_day_later());

    let workflow = Identity::Workflow(stand.workflow.clone());
    let image = stand.image("keyless-workflow")?;
    sigstore.sign_keyless(&image, &workflow)?;
    let policy = stand.by(&stand.workflow(&stand.workflow));
    let asked = [stand.asks_for(&workflow), source(&stand.workflow)].concat();
    let name = "keyless, CI workflow with its source";
    cases.push(Case::accepted(name, image, policy, asked).a_day_later());

    let image = stand.image("keyless-unlogged")?;
    sigstore.sign(&image, By::Keyless(&stand.person), Proof::Timestamp)?;
    let policy = stand.by(&stand.keyless(&stand.person));
    let asked = stand.asks_for(&stand.person);
    cases.push(Case::refused(
        "keyless, timestamp but no log",
        "inclusion proof",
        image,
        policy,
        asked,
    ));
    Ok(cases)
}

/// What cosign can ask of a workflow's source.
fn source(workflow: &Workflow) -> Vec<String> {
    words(&[
        "--certificate-github-workflow-repository",
        &workflow.repository,
        "--certificate-github-workflow-ref",
        &workflow.ref_,
        "--certificate-github-workflow-trigger",
        &workflow.trigger,
    ])
}

fn identities(stand: &Stand) -> Cases {
    let sigstore = stand.sigstore;
    let policy = stand.by(&stand.keyless(&stand.person));
    let asked = stand.asks_for(&stand.person);
    let mut cases = Vec::new();

    let image = stand.image("wrong-identity")?;
    sigstore.sign_keyless(&image, &Identity::person("intern@hospital.example"))?;
    let name = "another person of the same issuer";
    cases.push(Case::refused(name, "intern@", image, policy.clone(), asked.clone()));

    let image = stand.image("wrong-issuer")?;
    sigstore.sign_keyless(&image, &Identity::Partner(stand.person.subject()))?;
    let name = "the same address by another issuer";
    cases.push(Case::refused(name, "partners", image, policy, asked));

    let image = stand.image("longer-identity")?;
    sigstore.sign_keyless(&image, &Identity::person("release@hospital.example.org"))?;
    let issuer = sigstore.issuer(&stand.person);
    let pattern = "release@hospital[.]example";
    let authority = json!({"keyless": {"issuer": issuer, "subject": {"regex": pattern}}});
    let asked = words(&[
        "verify",
        "--certificate-identity-regexp",
        pattern,
        "--certificate-oidc-issuer",
        &issuer,
    ]);
    let name = "an address that only begins as the pattern says";
    let case = Case::refused(name, "hospital.example.org", image, stand.by(&authority), asked);
    cases.push(case.stricter(
        "cosign looks for the pattern anywhere in the subject; here it is anchored at both ends",
    ));

    let borrowed = Workflow {
        instructions: stand.workflow.instructions.clone(),
        repository_id: "666".to_owned(),
        ..Workflow::release("stranger/tools")
    };
    let (own, borrowed) =
        (Identity::Workflow(stand.workflow.clone()), Identity::Workflow(borrowed));
    let image = stand.image("borrowed-workflow")?;
    sigstore.sign_keyless(&image, &borrowed)?;
    let policy = stand.by(&stand.workflow(&stand.workflow));
    let asked = [stand.asks_for(&own), source(&stand.workflow)].concat();
    let name = "our workflow, called from a stranger's repository";
    cases.push(Case::refused(name, "stranger/tools", image.clone(), policy, asked));
    let policy = stand.by(&stand.keyless(&own));
    let name = "the same, and only the workflow is asked for";
    let case = Case::refused(name, "source", image, policy, stand.asks_for(&own));
    cases.push(case.stricter(
        "a shared workflow can be called from any repository: a certificate of a CI service counts \
         only for an authority that names source.repository and source.ref",
    ));
    Ok(cases)
}

fn several(stand: &Stand) -> Cases {
    let sigstore = stand.sigstore;
    let two = |authorities: &[Value]| stand.policy(&[json!({"anyOf": authorities, "count": 2})]);
    let of_two = two(&[key(&stand.key, "required"), stand.keyless(&stand.person)]);
    let mut cases = Vec::new();

    let image = stand.image("two")?;
    sigstore.sign_with_key(&image, &stand.key)?;
    sigstore.sign_keyless(&image, &stand.person)?;
    let case = Case::accepted("two of two", image, of_two.clone(), logged(&stand.key));
    cases.push(case.and(stand.asks_for(&stand.person)).a_day_later());

    let image = stand.image("two-by-one")?;
    sigstore.sign_with_key(&image, &stand.key)?;
    sigstore.sign_with_key(&image, &stand.key)?;
    let name = "two of two, but one signed twice";
    let case = Case::refused(name, "2 of", image, of_two, logged(&stand.key));
    cases.push(case.and(stand.asks_for(&stand.person)));

    let image = stand.image("one-of-many")?;
    sigstore.sign_with_key(&image, &stand.other_key)?;
    sigstore.sign_keyless(&image, &Identity::person("intern@hospital.example"))?;
    sigstore.sign_keyless(&image, &stand.person)?;
    let policy = stand.by(&stand.keyless(&stand.person));
    let asked = stand.asks_for(&stand.person);
    let name = "one that counts among several that do not";
    cases.push(Case::accepted(name, image, policy, asked).a_day_later());
    Ok(cases)
}

fn misplaced(stand: &Stand) -> Cases {
    let (lab, sigstore) = (stand.lab, stand.sigstore);
    let policy = stand.by(&key(&stand.key, "required"));
    let mut cases = Vec::new();

    let image = stand.image("unsigned")?;
    let asked = logged(&stand.key);
    cases.push(Case::refused("not signed", "", image, policy.clone(), asked));

    let (signed, image) = (stand.image("signed")?, stand.image("copied-to")?);
    let bundle = sigstore.sign_with_key(&signed, &stand.key)?;
    lab.attach_bundle(&bundle, "https://sigstore.dev/cosign/sign/v1", &image)?;
    let asked = logged(&stand.key);
    let name = "a signature of another image (wrong digest)";
    cases.push(Case::refused(name, "not about this image", image, policy.clone(), asked));

    let image = stand.image("attested-only")?;
    let proof = Proof::LogAndTimestamp;
    sigstore.attest(&image, By::Key(&stand.key), proof, "spdxjson", &spdx())?;
    let name = "an attestation where a signature is asked for";
    let case = Case::refused(name, "spdx", image, policy.clone(), logged(&stand.key));
    cases.push(case.stricter(
        "cosign 3.1 takes any statement about the digest by this key for a signature; here only one \
         of the type https://sigstore.dev/cosign/sign/v1 is a signature",
    ));

    let image = stand.image("other-key")?;
    sigstore.sign_with_key(&image, &stand.other_key)?;
    let asked = logged(&stand.key);
    cases.push(Case::refused("signed with another key", "key", image, policy, asked));
    Ok(cases)
}

fn times(stand: &Stand) -> Cases {
    let sigstore = stand.sigstore;
    let policy = stand.by(&stand.keyless(&stand.person));
    let mut asked = stand.asks_for(&stand.person);
    asked.extend(words(&["--insecure-ignore-sct"]));
    let mut cases = Vec::new();

    for (tag, name, proof, because) in [
        (
            "expired",
            "expired certificate, log but no timestamp",
            Proof::Log,
            "no verified timestamp",
        ),
        (
            "expired-stamped",
            "signed after the certificate ended",
            Proof::LogAndTimestamp,
            "CertExpired",
        ),
    ] {
        let image = stand.image(tag)?;
        sigstore.sign_expired(&image, &stand.person, proof)?;
        cases.push(Case::refused(name, because, image, policy.clone(), asked.clone()));
    }

    let image = stand.image("rotated")?;
    sigstore.sign_with_key(&image, &stand.key)?;
    let rotated = stand.by(&key(&stand.other_key, "required"));
    let name = "rotated key: only the new one is trusted";
    let asked = logged(&stand.other_key);
    cases.push(Case::refused(name, "key", image.clone(), rotated, asked));

    let window = |field: &str, hours: i64| {
        let time = now() + jiff::SignedDuration::from_hours(hours);
        let mut old = key(&stand.key, "required");
        old["key"][field] = json!(time);
        stand.policy(&[any_of(&[old, key(&stand.other_key, "required")])])
    };
    let name = "rotated key: the old one signed in its time";
    let in_time = window("validUntil", 1);
    let case = Case::accepted(name, image.clone(), in_time, logged(&stand.key));
    cases.push(case.a_day_later());

    let name = "rotated key: the old one signs after its end";
    let case = Case::refused(name, "", image, window("validUntil", -1), logged(&stand.key));
    cases.push(case.stricter(
        "cosign's keys have no end; here a key with validUntil counts only for signatures that a \
         log or timestamp authority proves to be older",
    ));
    Ok(cases)
}

fn older(stand: &Stand) -> Cases {
    let sigstore = stand.sigstore;
    let mut cases = Vec::new();

    let image = stand.image("older-key")?;
    sigstore.sign_older(&image, By::Key(&stand.key), Proof::None)?;
    let policy = stand.by(&key(&stand.key, "none"));
    let asked = unlogged(&stand.key);
    cases.push(Case::accepted("older layout (.sig), key", image, policy, asked));

    let image = stand.image("older-other-key")?;
    sigstore.sign_older(&image, By::Key(&stand.other_key), Proof::None)?;
    let policy = stand.by(&key(&stand.key, "none"));
    let asked = unlogged(&stand.key);
    let name = "older layout (.sig), another key";
    cases.push(Case::refused(name, "key", image, policy, asked));

    let image = stand.image("older-keyless")?;
    sigstore.sign_older(&image, By::Keyless(&stand.person), Proof::Timestamp)?;
    let policy = stand.by(&stand.keyless(&stand.person));
    let mut asked = stand.asks_for(&stand.person);
    asked.extend(words(&["--insecure-ignore-tlog", "--use-signed-timestamps"]));
    let name = "older layout (.sig), keyless, timestamp but no log";
    let case = Case::refused(name, "inclusion promise", image, policy, asked);
    cases.push(case.stricter(
        "cosign was told to ignore the log; here a certificate counts only with an entry in a log, \
         since nobody else would notice a key that was stolen",
    ));

    let image = stand.image("older-attested")?;
    let by = By::Key(&stand.key);
    sigstore.attest_older(&image, by, Proof::None, "spdxjson", &spdx())?;
    let policy = stand.by(&key(&stand.key, "none"));
    let name = "older layout (.att) where a signature is asked for";
    let asked = unlogged(&stand.key);
    cases.push(Case::refused(name, "spdx", image, policy, asked));

    let image = stand.image("older-signed-and-attested")?;
    sigstore.attest_older(&image, by, Proof::None, "spdxjson", &spdx())?;
    sigstore.sign_older(&image, by, Proof::None)?;
    let mut policy = stand.by(&key(&stand.key, "none"));
    policy["attestations"] = json!([{"sbom": {}}]);
    let asked = unlogged(&stand.key);
    let statement = of_type("spdxjson", &unlogged(&stand.key));
    let name = "older layout (.sig and .att), key, SBOM";
    cases.push(Case::accepted(name, image, policy, asked).and(statement));
    Ok(cases)
}
