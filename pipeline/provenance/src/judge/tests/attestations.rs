//! What must be said about an image besides that it is signed.

use super::*;

const VULN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";

fn says(key: &KeyPair, predicate_type: &str, predicate: &Value) -> Vec<u8> {
    let mut statement = statement(image().digest, predicate_type);
    statement["predicate"] = predicate.clone();
    bundle(key, &statement)
}

fn scan(at: &str, severities: &[&str]) -> Value {
    let found = severities.iter().enumerate().map(|(n, severity)| {
        json!({"VulnerabilityID": format!("CVE-1970-{n}"), "PkgName": "libxml2",
            "InstalledVersion": "2.9", "FixedVersion": "2.10", "Severity": severity})
    });
    let found: Vec<_> = found.collect();
    json!({
        "invocation": {}, "metadata": {"scanStartedOn": at, "scanFinishedOn": at},
        "scanner": {"uri": "pkg:github/aquasecurity/trivy", "version": "0.60",
            "db": {"uri": "", "version": "1"},
            "result": {"SchemaVersion": 2, "Results": [{"Target": "odoo", "Vulnerabilities": found}]}},
    })
}

fn sbom() -> Value {
    json!({"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [
        {"type": "library", "name": "libxml2", "version": "2.9", "purl": "pkg:deb/debian/libxml2@2.9"},
    ]})
}

fn asks(key: &KeyPair, attestations: &Value) -> [TrustRule; 1] {
    let keys = [("release-key", key)];
    let spec = json!({"images": [ODOO], "require": [{"anyOf": by(&keys)}],
        "attestations": attestations});
    [stated("hospital-images", &spec, &keys).unwrap()]
}

#[test]
fn a_signature_alone_is_not_enough_where_an_sbom_is_asked_for() {
    let release = key();
    let rules = asks(&release, &json!([{"sbom": {}}]));
    let signed = signature(&release, image().digest);
    let said = reasons(&judge(std::slice::from_ref(&signed), &rules));
    assert!(said.contains("asks for an SBOM") && said.contains("stated by release-key"), "{said}");
    let cyclone = says(&release, "https://cyclonedx.org/bom", &sbom());
    let record = judge(&[signed.clone(), cyclone.clone()], &rules).record();
    assert!(record.passed, "{:?}", record.reasons);
    let counted: Vec<_> = record.statements.iter().map(|one| one.digest).collect();
    assert!(counted.contains(&Digest::of(&cyclone)), "it is recorded, to be found again");
    let strangers = says(&key(), "https://cyclonedx.org/bom", &sbom());
    assert!(!judge(&[signed.clone(), strangers], &rules).record().passed);
    assert!(!judge(&[cyclone], &rules).record().passed, "an SBOM is no signature");
}

#[test]
fn the_newest_scan_decides_and_an_older_one_excuses_nothing() {
    let release = key();
    let asked = json!([{"vulnerabilities": {"maxAge": "7d", "maxSeverity": "Medium"}}]);
    let rules = asks(&release, &asked);
    let signed = signature(&release, image().digest);
    let clean = says(&release, VULN, &scan("1969-12-30T00:00:00Z", &["LOW"]));
    let newer = says(&release, VULN, &scan("1969-12-31T00:00:00Z", &["CRITICAL", "LOW"]));
    let record = judge(&[signed.clone(), clean.clone()], &rules).record();
    assert!(record.passed, "{:?}", record.reasons);
    assert_eq!(record.until, Some("1970-01-06T00:00:00Z".parse().unwrap()));
    assert_eq!(record.scan.unwrap().findings[&tidegate_schemas::Severity::Low], 1);
    for order in [[clean.clone(), newer.clone()], [newer, clean]] {
        let bundles = [&[signed.clone()][..], &order[..]].concat();
        let said = reasons(&judge(&bundles, &rules));
        assert!(said.contains("CVE-1970-0"), "{said}");
    }
    let old = says(&release, VULN, &scan("1969-12-01T00:00:00Z", &["LOW"]));
    let said = reasons(&judge(&[signed, old], &rules));
    assert!(said.contains("scan it again"), "{said}");
}

#[test]
fn an_attestation_counts_only_by_whom_it_is_asked_of() {
    let (release, scanner) = (key(), key());
    let keys = [("release-key", &release), ("scanner", &scanner)];
    let spec = json!({"images": [ODOO], "require": [{"anyOf": by(&keys[..1])}],
        "attestations": [{"by": by(&keys[1..]), "sbom": {}}]});
    let rules = [stated("hospital-images", &spec, &keys).unwrap()];
    let signed = signature(&release, image().digest);
    let by_release = says(&release, "https://cyclonedx.org/bom", &sbom());
    assert!(!judge(&[signed.clone(), by_release], &rules).record().passed);
    let by_scanner = says(&scanner, "https://cyclonedx.org/bom", &sbom());
    let record = judge(&[signed, by_scanner], &rules).record();
    assert_eq!((record.passed, record.signers), (true, vec!["release-key".to_owned()]));
}

#[test]
fn an_image_is_built_on_what_is_approved() {
    let release = key();
    let keys = [("release-key", &release)];
    let spec = json!({"images": [ODOO], "require": [{"anyOf": by(&keys)}],
        "base": {"approved": [{"image": "docker.io/library/debian"}], "from": "Annotations"}});
    let rules = Rules::new(vec![stated("hospital-images", &spec, &keys).unwrap()]);
    let on = |base: Option<&str>| {
        let mut subject = Subject::from(image());
        let name = "org.opencontainers.image.base.name".to_owned();
        subject.annotations.extend(base.map(|base| (name, base.to_owned())));
        let signed = [Attached::bundle(signature(&release, image().digest))];
        verify(&subject, &signed, &rules, now()).verdict
    };
    assert!(on(Some("docker.io/library/debian:12")).passed().is_some());
    let said = reasons(&on(Some("docker.io/library/alpine:3")));
    assert!(said.contains("its base does not satisfy TrustPolicy hospital-images"), "{said}");
    assert!(on(None).passed().is_none(), "a base that nobody states is not approved");
}
