//! Which certificates an identity of a policy accepts.

use super::*;

const GITHUB: &str = "https://token.actions.githubusercontent.com";
const WORKFLOW: &str =
    "https://github.com/hospital/odoo/.github/workflows/release.yml@refs/heads/main";
/// What GitHub's certificates state today, as far as it is asked for.
const CLAIMS: [(u8, &str); 6] = [
    (9, WORKFLOW),
    (11, "github-hosted"),
    (12, "https://github.com/hospital/odoo"),
    (14, "refs/heads/main"),
    (15, "4711"),
    (20, "push"),
];

fn workload() -> KeylessAuthority {
    KeylessAuthority {
        issuer: GITHUB.to_owned(),
        subject: exact(WORKFLOW),
        source: Some(SourceMatch {
            repository: "hospital/odoo".to_owned(),
            repository_id: Some("4711".to_owned()),
            ref_: exact("refs/heads/main"),
        }),
        workflow: Some(exact(WORKFLOW)),
        trigger: Some("push".to_owned()),
        runner: Some("github-hosted".to_owned()),
    }
}

/// Whether somebody with this certificate is who is asked for.
fn accepted(by: &Identity<'_>, stated: &KeylessAuthority) -> Result<(), String> {
    let instance = Instance::new(1, 0);
    let signed = instance.log(0, instance.keyless(&statement(), by, at(0)), at(1)).attached();
    let authority = Authority::keyless(stated).map_err(|error| error.to_string())?;
    proof(signed, &authority, &instance.roots("lab")).map(|_| ())
}

/// A workload whose certificate has one claim changed, or without it.
fn workload_with(number: u8, text: Option<&str>) -> Result<(), String> {
    let mut claims: Vec<_> = CLAIMS.into_iter().filter(|(other, _)| *other != number).collect();
    claims.extend(text.map(|text| (number, text)));
    let by = Identity { issuer: GITHUB, subject: WORKFLOW, claims: &claims };
    accepted(&by, &workload())
}

#[test]
fn a_workload_is_accepted_by_all_its_claims() {
    workload_with(0, None).unwrap();
    let stated_by_url = KeylessAuthority {
        source: Some(SourceMatch {
            repository: "https://github.com/hospital/odoo".to_owned(),
            repository_id: None,
            ref_: TextMatch { exact: None, regex: Some("refs/tags/v.+|refs/heads/main".into()) },
        }),
        ..workload()
    };
    let by = Identity { issuer: GITHUB, subject: WORKFLOW, claims: &CLAIMS };
    accepted(&by, &stated_by_url).unwrap();
}

#[test]
fn a_claim_that_differs_or_is_not_there_is_refused_by_name() {
    let cases = [
        (9, "https://github.com/evil/odoo/.github/workflows/x.yml@refs/heads/main", "workflow"),
        (11, "self-hosted", "runner is self-hosted, not github-hosted"),
        (12, "https://github.com/evil/odoo", "source repository is https://github.com/evil/odoo"),
        (12, "https://gitlab.com/hospital/odoo", "source repository is https://gitlab.com"),
        (14, "refs/heads/main-evil", "source ref is refs/heads/main-evil, not refs/heads/main"),
        (15, "4712", "source repository id is 4712, not 4711"),
        (20, "pull_request_target", "trigger is pull_request_target, not push"),
    ];
    for (number, text, because) in cases {
        let said = workload_with(number, Some(text)).unwrap_err();
        assert!(said.contains(because), "{said}");
        workload_with(number, None).unwrap_err();
    }
}

#[test]
fn known_break_in_empty_claims() {
    for (number, _) in CLAIMS {
        let said = workload_with(number, Some("")).unwrap_err();
        assert!(said.contains("states an empty"), "{number}: {said}");
    }
    let nobody = Identity { issuer: "", subject: "", claims: &[] };
    let said = accepted(&nobody, &anna()).unwrap_err();
    assert!(said.contains("states an empty issuer"), "{said}");
    let no_subject = Identity { issuer: ISSUER, subject: "", claims: &[] };
    accepted(&no_subject, &anna()).unwrap_err();
}

#[test]
fn a_policy_that_asks_for_an_empty_text_is_refused() {
    let text = |regex: &str| TextMatch { exact: None, regex: Some(regex.to_owned()) };
    let source = |repository: &str, id: Option<&str>, ref_| {
        let repository_id = id.map(str::to_owned);
        Some(SourceMatch { repository: repository.to_owned(), repository_id, ref_ })
    };
    let github = || KeylessAuthority { issuer: GITHUB.to_owned(), ..workload() };
    let cases = [
        KeylessAuthority { issuer: String::new(), ..anna() },
        KeylessAuthority { subject: exact(""), ..anna() },
        KeylessAuthority { subject: TextMatch { exact: None, regex: None }, ..anna() },
        KeylessAuthority { subject: text(""), ..anna() },
        KeylessAuthority { subject: text(".*"), ..anna() },
        KeylessAuthority { subject: text("anna@hospital.example|"), ..anna() },
        KeylessAuthority { subject: text("("), ..anna() },
        KeylessAuthority { subject: text("(a{1000}){1000}"), ..anna() },
        KeylessAuthority { source: source("", None, exact("x")), ..github() },
        KeylessAuthority { source: source("hospital/odoo", Some(""), exact("x")), ..github() },
        KeylessAuthority { source: source("hospital/odoo", None, exact("")), ..github() },
        // Which forge is meant, nobody knows.
        KeylessAuthority { source: source("hospital/odoo", None, exact("x")), ..anna() },
        KeylessAuthority { workflow: Some(exact("")), ..github() },
        KeylessAuthority { trigger: Some(String::new()), ..github() },
        KeylessAuthority { runner: Some(String::new()), ..github() },
    ];
    for (index, stated) in cases.iter().enumerate() {
        assert!(matches!(Authority::keyless(stated), Err(Error::Identity { .. })), "case {index}");
    }
}

#[test]
fn known_break_in_unanchored_regex() {
    let cases = [
        ("anna@hospital[.]example", "anna@hospital.example", true),
        ("anna@hospital[.]example|bert@.*", "anna@hospital.example", true),
        ("a|anna@hospital[.]example", "anna@hospital.example", true),
        ("anna@hospital[.]example", "evil-anna@hospital.example", false),
        ("anna@hospital[.]example", "anna@hospital.example.evil.example", false),
        ("anna@.*[.]example|x", "anna@hospital.example.evil", false),
        ("x|anna", "anna@hospital.example", false),
        ("(?m)anna@evil[.]example$", "anna@evil.example\nx", false),
        ("(?i)anna@hospital[.]example", "ANNA@hospital.example", true),
    ];
    for (regex, subject, accepts) in cases {
        let subject_of = TextMatch { exact: None, regex: Some(regex.to_owned()) };
        let stated = KeylessAuthority { subject: subject_of, ..anna() };
        let by = Identity { issuer: ISSUER, subject, claims: &[] };
        assert_eq!(accepted(&by, &stated).is_ok(), accepts, "{regex} and {subject}");
    }
    // Closing the group that anchors it.
    for regex in ["anna)|(?:.*", "anna)|(.", "(?x)anna#"] {
        let subject = TextMatch { exact: None, regex: Some(regex.to_owned()) };
        assert!(Authority::keyless(&KeylessAuthority { subject, ..anna() }).is_err(), "{regex}");
    }
}

#[test]
fn an_issuer_is_exactly_the_one_named() {
    for issuer in ["https://accounts.example.com/", "https://accounts.example.com.evil.example"] {
        let said = accepted(&Identity { issuer, ..ANNA }, &anna()).unwrap_err();
        assert!(said.contains("its issuer is"), "{said}");
    }
}

#[test]
fn a_workload_counts_only_for_who_names_its_repository() {
    let person = KeylessAuthority { source: None, workflow: None, ..workload() };
    let person = KeylessAuthority { trigger: None, runner: None, ..person };
    for claims in [&CLAIMS[..], &[(12, "https://github.com/x/y")], &[(5, "hospital/odoo")]] {
        let by = Identity { issuer: GITHUB, subject: WORKFLOW, claims };
        let said = accepted(&by, &person).unwrap_err();
        assert!(said.contains("any repository could call the same workflow"), "{said}");
    }
}

#[test]
fn the_older_claims_of_github_count_where_no_newer_ones_are() {
    let stated = KeylessAuthority {
        source: Some(SourceMatch {
            repository: "hospital/odoo".to_owned(),
            repository_id: None,
            ref_: exact("refs/heads/main"),
        }),
        workflow: None,
        runner: None,
        ..workload()
    };
    let old = [(2, "push"), (5, "hospital/odoo"), (6, "refs/heads/main")];
    let by = |issuer, claims| accepted(&Identity { issuer, subject: WORKFLOW, claims }, &stated);
    by(GITHUB, &old).unwrap();
    let other = [(2, "push"), (5, "evil/odoo"), (6, "refs/heads/main")];
    by(GITHUB, &other).unwrap_err();
    let mixed = [(2, "push"), (5, "hospital/odoo"), (6, "refs/heads/main"), (14, "refs/heads/x")];
    by(GITHUB, &mixed).unwrap_err();
    let elsewhere = KeylessAuthority {
        issuer: ISSUER.to_owned(),
        source: Some(SourceMatch {
            repository: "https://github.com/hospital/odoo".to_owned(),
            repository_id: None,
            ref_: exact("refs/heads/main"),
        }),
        ..stated.clone()
    };
    let by = Identity { issuer: ISSUER, subject: WORKFLOW, claims: &old };
    accepted(&by, &elsewhere).unwrap_err();
}
