//! Vulnerability scans.

use super::*;

fn record(result: &Value) -> Value {
    json!({
        "invocation": {"parameters": null, "uri": "", "event_id": "", "builder.id": ""},
        "scanner": {
            "uri": "pkg:github/aquasecurity/trivy@0.58.0",
            "version": "0.58.0",
            "db": {"uri": "ghcr.io/aquasecurity/trivy-db", "version": "2-20261125"},
            "result": result,
        },
        "metadata": {"scanStartedOn": "2026-11-25T09:59:00Z", "scanFinishedOn": "2026-11-25T10:00:00Z"},
    })
}

fn trivy(severity: &str) -> Value {
    record(&json!({
        "SchemaVersion": 2,
        "ArtifactName": "ghcr.io/hospital/odoo",
        "Results": [{
            "Target": "odoo (debian 12)", "Class": "os-pkgs", "Type": "debian",
            "Vulnerabilities": [{
                "VulnerabilityID": "CVE-2026-0001", "PkgName": "openssl",
                "PkgIdentifier": {"PURL": "pkg:deb/debian/openssl@3.0.11-1"},
                "InstalledVersion": "3.0.11-1", "FixedVersion": "3.0.11-2, 3.0.12-1",
                "Severity": severity,
            }],
        }],
    }))
}

fn grype(severity: &str) -> Value {
    record(&json!({
        "matches": [{
            "vulnerability": {"id": "GHSA-1", "severity": severity, "fix": {"versions": ["5.1.1"], "state": "fixed"}},
            "artifact": {"name": "lxml", "version": "5.1.0", "type": "python", "purl": "pkg:pypi/lxml@5.1.0"},
        }],
        "source": {"type": "image"},
        "descriptor": {"name": "grype", "version": "0.85.0", "db": {"checksum": "sha256:00"}},
    }))
}

fn sarif(score: &str) -> Value {
    record(&json!({
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "clair", "rules": [{"id": "CVE-1", "properties": {"security-severity": score}}]}},
            "results": [{"ruleId": "CVE-1"}],
        }],
    }))
}

pub(super) fn scans(worst: &str) -> Value {
    json!({"vulnerabilities": {"maxAge": "24h", "maxSeverity": worst}})
}

#[test]
fn a_scan_counts_until_it_is_too_old() {
    let accepted = judged(scans("Medium"), VULN, trivy("MEDIUM")).unwrap();
    assert_eq!(
        accepted.summary,
        "scanned by pkg:github/aquasecurity/trivy@0.58.0 at 2026-11-25T10:00:00Z: 1 findings, the \
         worst Medium"
    );
    let until: Timestamp = "2026-11-26T10:00:00Z".parse().unwrap();
    assert_eq!(accepted.until, Some(until));
    let scan = accepted.scan.unwrap();
    assert_eq!(scan.findings[&Severity::Medium], 1);
    let rule = rule(scans("Medium"));
    let one = proved(VULN, trivy("MEDIUM"));
    let second = jiff::SignedDuration::from_secs(1);
    assert!(rule.judge(&one, &subject(), until - second).is_ok());
    assert!(rule.judge(&one, &subject(), until).is_err());
}

#[test]
fn every_known_report_says_how_bad_it_is() {
    for (document, worst) in [
        (trivy("LOW"), Severity::Low),
        (trivy("UNKNOWN"), Severity::Critical),
        (trivy(""), Severity::Critical),
        (grype("Negligible"), Severity::Negligible),
        (grype("Unknown"), Severity::Critical),
        (sarif("7.5"), Severity::High),
        (sarif("none"), Severity::Critical),
        (sarif("-1"), Severity::Critical),
    ] {
        assert_eq!(crate::scan(&document).unwrap().worst(), Some(worst), "{document}");
    }
    let clean =
        record(&json!({"SchemaVersion": 2, "Results": [{"Class": "os-pkgs", "Type": "debian"}]}));
    assert_eq!(crate::scan(&clean).unwrap().worst(), None);
    let found = crate::scan(&trivy("HIGH")).unwrap().findings.pop_first().unwrap();
    assert_eq!(found.fixed, ["3.0.11-2", "3.0.12-1"]);
    let found = crate::scan(&grype("High")).unwrap().findings.pop_first().unwrap();
    assert_eq!(found.key().as_deref(), Some("pkg:pypi/lxml"));
}

#[test]
fn a_scan_that_is_old_bad_or_unreadable_is_refused() {
    let finished = "/metadata/scanFinishedOn";
    let result = "/scanner/result";
    let vuln = |document| refused(scans("Medium"), VULN, document);
    let mut other = scans("Critical");
    other["vulnerabilities"]["scanner"] = json!({"exact": "pkg:github/anchore/grype@0.85.0"});
    let started = "/metadata/scanStartedOn";
    let old = at(trivy("LOW"), started, json!("2026-11-24T11:59:00Z"));
    let old = at(old, finished, json!("2026-11-24T12:00:00Z"));
    let mut early = proved(VULN, trivy("LOW"));
    early.times = vec!["2026-11-25T09:00:00Z".parse().unwrap()];
    let early = rule(scans("Low")).judge(&early, &subject(), now()).unwrap_err().join("\n");
    let cases = [
        vuln(trivy("HIGH")),
        vuln(trivy("UNKNOWN")),
        refused(scans("None"), VULN, trivy("LOW")),
        vuln(old),
        vuln(at(trivy("LOW"), finished, json!("2026-11-25T12:05:01Z"))),
        vuln(at(trivy("LOW"), finished, json!("yesterday"))),
        vuln(at(trivy("LOW"), finished, json!("2026-11-25T09:00:00Z"))),
        vuln(without(trivy("LOW"), "/metadata", "scanFinishedOn")),
        vuln(at(trivy("LOW"), result, json!({}))),
        vuln(at(trivy("LOW"), result, json!(null))),
        vuln(at(trivy("LOW"), result, json!({"SchemaVersion": 2}))),
        vuln(at(
            trivy("LOW"),
            result,
            json!({"SchemaVersion": 2, "Results": [{"Class": "secret"}]}),
        )),
        vuln(at(trivy("LOW"), result, json!({"SchemaVersion": 3, "Results": []}))),
        vuln(at(trivy("LOW"), result, json!({"matches": []}))),
        vuln(at(trivy("LOW"), result, json!({"version": "2.1.0", "runs": []}))),
        vuln(without(trivy("LOW"), "", "scanner")),
        refused(other, VULN, trivy("LOW")),
        early,
    ];
    insta::assert_snapshot!(cases.join("\n\n"));
}
