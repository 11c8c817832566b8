//! Statements about images, and what a policy asks of them.

use serde_json::{Value, json};
use tidegate_harness::{By, LabError, Proof};

use super::judge::Case;
use super::stand::{Stand, key, logged, now, words};

const BUILDER: &str = "https://forge.hospital.example/builder/v1";
const SOURCE: &str = "https://forge.hospital.example/hospital/odoo";
const ONLY_TYPE: &str = "cosign asks for a statement of this type only, whatever it says; the policy \
                         asks for what it must say";

/// A statement with what is asked of it.
struct Stated {
    tag: &'static str,
    name: &'static str,
    asked: Value,
    kind: &'static str,
    predicate: Value,
    /// Words of the refusal, where it does not say what is asked.
    because: Option<&'static str>,
}

/// Every case of a statement.
pub(super) fn all(stand: &Stand) -> Result<Vec<Case>, LabError> {
    let (sigstore, by, proof) = (stand.sigstore, By::Key(&stand.key), Proof::LogAndTimestamp);
    let asking = |what: &Value| {
        let mut policy = stand.by(&key(&stand.key, "required"));
        policy["attestations"] = json!([what]);
        policy
    };
    let mut cases = Vec::new();
    for one in stated() {
        let image = stand.image(one.tag)?;
        sigstore.sign_with_key(&image, &stand.key)?;
        sigstore.attest(&image, by, proof, one.kind, &one.predicate)?;
        let (policy, asked) = (asking(&one.asked), of_type(one.kind, &logged(&stand.key)));
        cases.push(match one.because {
            None => Case::accepted(one.name, image, policy, asked),
            Some(because) => {
                Case::refused(one.name, because, image, policy, asked).stricter(ONLY_TYPE)
            }
        });
    }

    let image = stand.image("attested-by-other")?;
    sigstore.sign_with_key(&image, &stand.key)?;
    sigstore.attest(&image, By::Key(&stand.other_key), proof, "spdxjson", &spdx())?;
    let asked = of_type("spdxjson", &logged(&stand.key));
    let name = "SPDX SBOM by another key";
    cases.push(Case::refused(name, "", image, asking(&sbom()), asked));

    let image = stand.image("not-attested")?;
    sigstore.sign_with_key(&image, &stand.key)?;
    let asked = of_type("spdxjson", &logged(&stand.key));
    cases.push(Case::refused("no SBOM, but signed", "", image, asking(&sbom()), asked));
    Ok(cases)
}

fn stated() -> [Stated; 5] {
    let slsa = |builder: &str| json!({"slsa": {"builder": {"exact": builder}, "source": {"repository": SOURCE}}});
    let scan = json!({"vulnerabilities": {"maxAge": "7d", "maxSeverity": "Medium"}});
    [
        Stated {
            tag: "attested-slsa",
            name: "SLSA provenance v1",
            asked: slsa(BUILDER),
            kind: "slsaprovenance1",
            predicate: provenance(),
            because: None,
        },
        Stated {
            tag: "attested-slsa-other",
            name: "SLSA provenance v1 of another builder",
            asked: slsa("https://forge.hospital.example/other"),
            kind: "slsaprovenance1",
            predicate: provenance(),
            because: Some("builder"),
        },
        Stated {
            tag: "attested-spdx",
            name: "SPDX SBOM",
            asked: sbom(),
            kind: "spdxjson",
            predicate: spdx(),
            because: None,
        },
        Stated {
            tag: "attested-vuln",
            name: "vulnerability scan",
            asked: scan.clone(),
            kind: "vuln",
            predicate: vuln("MEDIUM"),
            because: None,
        },
        Stated {
            tag: "attested-vuln-critical",
            name: "vulnerability scan with a critical finding",
            asked: scan,
            kind: "vuln",
            predicate: vuln("CRITICAL"),
            because: Some("CVE-2026-0001"),
        },
    ]
}

fn sbom() -> Value {
    json!({"sbom": {"minPackages": 1}})
}

/// cosign's question for a statement instead of a signature.
pub(super) fn of_type(kind: &str, question: &[String]) -> Vec<String> {
    let mut words = words(&["verify-attestation", "--type", kind]);
    words.extend_from_slice(&question[1..]);
    words
}

fn provenance() -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://forge.hospital.example/workflow/v1",
            "externalParameters": {"workflow": {
                "repository": SOURCE,
                "ref": "refs/heads/main",
                "path": ".forge/workflows/release.yml",
            }},
            "internalParameters": {},
            "resolvedDependencies": [{
                "uri": "git+https://forge.hospital.example/hospital/odoo@refs/heads/main",
                "digest": {"gitCommit": "1111111111111111111111111111111111111111"},
            }],
        },
        "runDetails": {"builder": {"id": BUILDER}},
    })
}

pub(super) fn spdx() -> Value {
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "odoo",
        "documentNamespace": "https://hospital.example/sbom/odoo",
        "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: lab"]},
        "packages": [{
            "SPDXID": "SPDXRef-Package-openssl",
            "name": "openssl",
            "versionInfo": "3.0.17-1",
            "downloadLocation": "NOASSERTION",
            "externalRefs": [{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": "pkg:deb/debian/openssl@3.0.17-1",
            }],
        }],
        "relationships": [{
            "spdxElementId": "SPDXRef-DOCUMENT",
            "relationshipType": "DESCRIBES",
            "relatedSpdxElement": "SPDXRef-Package-openssl",
        }],
    })
}

/// cosign's vulnerability record with one finding, in the shape of Trivy's report.
fn vuln(severity: &str) -> Value {
    let time = now();
    json!({
        "invocation": {"parameters": [], "uri": "", "event_id": "", "builder.id": ""},
        "scanner": {
            "uri": "pkg:github/aquasecurity/trivy@0.60.0",
            "version": "0.60.0",
            "db": {"uri": "", "version": ""},
            "result": {
                "SchemaVersion": 2,
                "Results": [{
                    "Target": "odoo (debian 12)",
                    "Class": "os-pkgs",
                    "Type": "debian",
                    "Vulnerabilities": [{
                        "VulnerabilityID": "CVE-2026-0001",
                        "PkgName": "openssl",
                        "InstalledVersion": "3.0.17-1",
                        "Severity": severity,
                    }],
                }],
            },
        },
        "metadata": {"scanStartedOn": time, "scanFinishedOn": time},
    })
}
