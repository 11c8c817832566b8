//! A security fix, and everything that is none.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tidegate_ids::Digest;
use tidegate_schemas::Severity;

use super::{ImageEvidence, Missing, remediation};
use crate::inventory::{Database, Ecosystem, Finding, Inventory, Package, Scan, Scanner};
use crate::{ImageRef, Person};

fn finding(id: &str, package: &str, severity: Severity) -> Finding {
    Finding {
        id: id.to_owned(),
        package: Some(package.to_owned()),
        purl: Some(format!("pkg:deb/debian/{package}@3.0.11-1")),
        ecosystem: Ecosystem::Deb,
        version: Some("3.0.11-1".to_owned()),
        fixed: vec!["3.0.11-2".to_owned()],
        severity,
    }
}

fn package(name: &str, version: &str) -> Package {
    Package::new(name, Some(version), Some(&format!("pkg:deb/debian/{name}@{version}?arch=amd64")))
}

fn image(version: &str, openssl: &str, findings: &[Finding]) -> ImageEvidence {
    let scanner = Scanner {
        uri: "pkg:github/aquasecurity/trivy@0.58.0".to_owned(),
        version: "0.58.0".to_owned(),
        database: Some(Database { uri: String::new(), version: "2-20261125".to_owned() }),
    };
    ImageEvidence {
        image: ImageRef {
            repository: "ghcr.io/hospital/odoo".to_owned(),
            digest: Digest::of(version.as_bytes()),
        },
        version: Some(version.to_owned()),
        source: Some("https://github.com/hospital/odoo".to_owned()),
        bases: BTreeSet::from(["docker.io/library/debian".to_owned()]),
        inventory: Inventory {
            packages: BTreeSet::from([package("openssl", openssl), package("zlib", "1.3-1")]),
        },
        scan: Some(Scan {
            scanner,
            started: None,
            finished: "2026-11-25T10:00:00Z".parse().unwrap(),
            findings: findings.iter().cloned().collect(),
        }),
        scanned_by: Some(Person::Key(Digest::of(b"scanner"))),
        built_by: Some(Person::Key(Digest::of(b"builder"))),
    }
}

fn running() -> ImageEvidence {
    let critical = finding("CVE-2026-0001", "openssl", Severity::Critical);
    image("17.0.3", "3.0.11-1", &[critical, finding("CVE-2026-0002", "zlib", Severity::Low)])
}

fn fixed() -> ImageEvidence {
    image("17.0.4", "3.0.11-2", &[finding("CVE-2026-0002", "zlib", Severity::Low)])
}

fn missing(new: &ImageEvidence) -> Vec<Missing> {
    remediation(true, &running(), new, Severity::High).unwrap_err()
}

#[test]
fn the_same_image_with_the_fixed_package_is_a_remediation() {
    let remedied = remediation(true, &running(), &fixed(), Severity::High).unwrap();
    let [fix] = remedied.findings.as_slice() else { panic!("{remedied:?}") };
    assert_eq!((fix.finding.id.as_str(), fix.by.as_str()), ("CVE-2026-0001", "3.0.11-2"));
}

#[test]
fn each_part_that_is_missing_is_told() {
    type Bend = fn(&mut ImageEvidence);
    let cases: [(&str, Bend); 19] = [
        ("another image", |new| new.image.repository = "ghcr.io/evil/odoo".into()),
        ("no scan", |new| new.scan = None),
        ("another who scans", |new| new.scanned_by = Some(Person::Key(Digest::of(b"other")))),
        ("nobody known who scans", |new| new.scanned_by = None),
        ("scanned by the builder", |new| new.built_by = new.scanned_by.clone()),
        ("nobody known who builds", |new| new.built_by = None),
        ("another database", |new| {
            new.scan.as_mut().unwrap().scanner.database.as_mut().unwrap().version = "1".into();
        }),
        ("no database", |new| new.scan.as_mut().unwrap().scanner.database = None),
        ("another version of the scanner", |new| {
            new.scan.as_mut().unwrap().scanner.version = "0.1".into();
        }),
        ("nothing goes", |new| new.scan = running().scan),
        ("the package is as it was", |new| new.inventory = running().inventory),
        ("the package is renamed", |new| {
            new.inventory.packages.pop_first();
            new.inventory.packages.insert(package("openssl3", "3.0.11-2"));
        }),
        ("one of two copies is as it was", |new| {
            new.inventory.packages.insert(package("openssl", "3.0.11-1"));
        }),
        ("a package is gone", |new| drop(new.inventory.packages.pop_last())),
        ("no SBOM", |new| new.inventory = Inventory::default()),
        ("a finding appears", |new| {
            let one = finding("CVE-2026-0003", "zlib", Severity::Negligible);
            new.scan.as_mut().unwrap().findings.insert(one);
        }),
        ("another source", |new| new.source = Some("https://github.com/hospital/odoo-fork".into())),
        ("another base", |new| new.bases = BTreeSet::from(["docker.io/library/alpine".into()])),
        ("a minor version", |new| new.version = Some("17.1.0".into())),
    ];
    let mut said = vec![];
    for (what, bend) in cases {
        let mut new = fixed();
        bend(&mut new);
        let reasons: Vec<_> = missing(&new).iter().map(ToString::to_string).collect();
        said.push(format!("{what}:\n  {}", reasons.join("\n  ")));
    }
    let other = remediation(false, &running(), &fixed(), Severity::High).unwrap_err();
    assert_eq!(other, [Missing::OtherChanges]);
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn a_version_moves_by_a_patch_at_most() {
    for (version, opens) in [
        ("17.0.3", true),
        ("17.0.10", true),
        ("v17.0.4", true),
        ("17.0.4-rc1", true),
        ("17.0.2", false),
        ("17.1.0", false),
        ("18.0.3", false),
        ("17.0", false),
        ("latest", false),
        ("17.0.x", false),
    ] {
        let mut new = fixed();
        new.version = Some(version.to_owned());
        let said = remediation(true, &running(), &new, Severity::High);
        assert_eq!(said.is_ok(), opens, "{version}: {said:?}");
    }
}

#[test]
fn where_the_order_of_versions_is_unknown_only_the_fix_itself_explains() {
    let mut running = running();
    let scan = running.scan.as_mut().unwrap();
    scan.findings = scan
        .findings
        .iter()
        .cloned()
        .map(|one| Finding { ecosystem: Ecosystem::Other, ..one })
        .collect();
    assert!(remediation(true, &running, &fixed(), Severity::High).is_ok());
    let mut later = fixed();
    later.inventory.packages =
        BTreeSet::from([package("openssl", "3.0.11-3"), package("zlib", "1.3-1")]);
    assert!(remediation(true, &running, &later, Severity::High).is_err());
}

fn any_finding() -> impl Strategy<Value = Finding> {
    let severity = prop_oneof![Just(Severity::Low), Just(Severity::High), Just(Severity::Critical)];
    ("CVE-2026-000[0-4]", "(openssl|zlib|curl)", severity, any::<bool>()).prop_map(
        |(id, package, severity, named)| {
            let one = finding(&id, &package, severity);
            if named { one } else { Finding { package: None, purl: None, ..one } }
        },
    )
}

fn any_image() -> impl Strategy<Value = ImageEvidence> {
    let findings = prop::collection::vec(any_finding(), 0..4);
    ("17[.]0[.][3-5]", "3[.]0[.]11-[1-3]", findings)
        .prop_map(|(version, openssl, findings)| image(&version, &openssl, &findings))
}

proptest! {
    /// One that stays from before may: it no longer goes without an explanation.
    #[test]
    fn one_more_finding_in_what_would_run_never_opens(
        running in any_image(), new in any_image(), more in any_finding(),
    ) {
        let there = &running.scan.as_ref().unwrap().findings;
        prop_assume!(there.iter().all(|one| (&one.id, one.key()) != (&more.id, more.key())));
        let before = remediation(true, &running, &new, Severity::High);
        let mut worse = new;
        worse.scan.as_mut().unwrap().findings.insert(more);
        let after = remediation(true, &running, &worse, Severity::High);
        prop_assert!(before.is_ok() || after.is_err(), "{:?}", before);
    }

    #[test]
    fn the_order_in_which_findings_come_never_matters(
        findings in prop::collection::vec(any_finding(), 0..5), turn in 0..5_usize, new in any_image(),
    ) {
        let mut turned = findings.clone();
        turned.rotate_left(turn.min(findings.len()));
        let said = |findings: &[Finding]| {
            remediation(true, &image("17.0.3", "3.0.11-1", findings), &new, Severity::High)
        };
        prop_assert_eq!(said(&findings), said(&turned));
    }
}
