//! Bundles that somebody changed who may push to the registry.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_harness::LabError;

use super::judge::Case;
use super::stand::Stand;

const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

type Change<'a> = &'a dyn Fn(&mut Value, &Value, &str) -> Result<(), LabError>;

/// One case for each way of changing a bundle that both accept as it is. A change gets the
/// bundle, that of another image by the same person, and the digest of the image in hexadecimal.
pub(super) fn all(stand: &Stand) -> Result<Vec<Case>, LabError> {
    let material = |part: &'static str| {
        move |bundle: &mut Value, other: &Value, _: &str| {
            bundle["verificationMaterial"][part] = other["verificationMaterial"][part].clone();
            Ok(())
        }
    };
    let changes: [(&str, &'static str, &'static str, Change<'_>); 8] = [
        ("payload", "tampered: the statement names another image", "", &repoint),
        ("signature", "tampered: the signature of another statement", "", &|bundle, other, _| {
            bundle["dsseEnvelope"]["signatures"] = other["dsseEnvelope"]["signatures"].clone();
            Ok(())
        }),
        ("entry", "tampered: the log entry of another signature", "", &material("tlogEntries")),
        (
            "stamp",
            "tampered: the timestamp of another signature",
            "",
            &material("timestampVerificationData"),
        ),
        (
            "certificate",
            "tampered: the certificate of another signature",
            "",
            &material("certificate"),
        ),
        ("no-entry", "tampered: without its log entry", "inclusion proof", &|bundle, _, _| {
            bundle["verificationMaterial"]["tlogEntries"] = json!([]);
            Ok(())
        }),
        (
            "no-stamp",
            "tampered: without its timestamp",
            "no verified timestamp",
            &|bundle, _, _| {
                bundle["verificationMaterial"]["timestampVerificationData"] = json!({});
                Ok(())
            },
        ),
        ("no-proof", "tampered: the log entry without its proof", "", &|bundle, _, _| {
            let entry = &mut bundle["verificationMaterial"]["tlogEntries"][0];
            if let Some(entry) = entry.as_object_mut() {
                entry.remove("inclusionProof");
            }
            Ok(())
        }),
    ];
    let source = stand.image("tampered-source")?;
    let other = read(&stand.sigstore.sign_keyless(&source, &stand.person)?)?;
    let mut cases = Vec::new();
    for (tag, name, because, change) in changes {
        let image = stand.image(&format!("tampered-{tag}"))?;
        // Signed for a twin that only the repointed statement is meant to leave.
        let twin = if tag == "payload" { source.clone() } else { image.clone() };
        let mut bundle = read(&stand.sigstore.sign_detached(&twin, &stand.person)?)?;
        let digest = image.rsplit(':').next().unwrap_or_default();
        change(&mut bundle, &other, digest)?;
        stand.lab.attach_bundle(bundle.to_string().as_bytes(), SIGN, &image)?;
        let policy = stand.by(&stand.keyless(&stand.person));
        let asked = stand.asks_for(&stand.person);
        cases.push(Case::refused(name, because, image, policy, asked).a_day_later());
    }
    Ok(cases)
}

/// Writes another image's digest into the signed statement.
fn repoint(bundle: &mut Value, _: &Value, digest: &str) -> Result<(), LabError> {
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap_or_default();
    let bytes = STANDARD.decode(payload).map_err(unreadable)?;
    let mut statement = read(&bytes)?;
    statement["subject"][0]["digest"]["sha256"] = json!(digest);
    bundle["dsseEnvelope"]["payload"] = json!(STANDARD.encode(statement.to_string()));
    Ok(())
}

fn read(json: &[u8]) -> Result<Value, LabError> {
    serde_json::from_slice(json).map_err(unreadable)
}

fn unreadable(error: impl std::fmt::Display) -> LabError {
    LabError::Description(format!("a bundle that cosign made cannot be read: {error}"))
}
