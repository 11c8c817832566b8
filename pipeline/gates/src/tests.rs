//! Cases in the words of release managers.

use super::*;
use std::collections::{BTreeMap, BTreeSet};
use tidegate_ids::Period;
use tidegate_schemas::{
    After, ApprovalRule, ApprovalSpec, Decision as Word, Exception, Excluded, Person, RosterSpec,
    ScanGate, ScanRecord, Severity, Subject, Verdict,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn people() -> People {
    let person = |name: &str, users: &[&str]| Person {
        name: name.into(),
        users: users.iter().map(ToString::to_string).collect(),
        ..Person::default()
    };
    let roster = RosterSpec {
        people: vec![
            person("Jane Roe", &["jane", "oidc:jane@hospital.example"]),
            person("Joe Doe", &["joe"]),
            person("Ann Author", &["ann"]),
        ],
        machines: vec![],
    };
    People::new([&roster])
}

fn facts() -> Facts {
    Facts {
        promotion: PromotionFact {
            name: "clinic-production-app-1".into(),
            uid: "u1".into(),
            created: at(100),
            environment: "production".parse().unwrap(),
            kind: Kind::Promote,
            requested_by: None,
            change: Digest::of(b"change"),
        },
        images: vec![],
        in_flight: None,
        suspended: false,
        quarantined: vec![],
        requires: vec![],
        earned: BTreeMap::new(),
        approvals: vec![],
        authors: Authors::Known(BTreeSet::from(["Ann Author".to_owned()])),
        known_good: false,
    }
}

fn two_release_managers() -> Policy {
    Policy {
        approvals: vec![ApprovalRule {
            name: "release".into(),
            from: vec![Subject { group: Some("release-managers".into()), user: None }],
            count: 2,
            not: vec![Excluded::Requester, Excluded::Author],
            valid_for: Period::seconds(1000),
        }],
        ..Policy::default()
    }
}

fn says(user: &str, decision: Word) -> ApprovalFact {
    ApprovalFact {
        name: format!("{user}-{decision:?}"),
        created: at(150),
        spec: ApprovalSpec {
            promotion: "clinic-production-app-1".into(),
            promotion_uid: "u1".into(),
            environment: "production".parse().unwrap(),
            change: Digest::of(b"change"),
            decision,
            user: user.into(),
            groups: vec!["release-managers".into()],
            reason: None,
        },
    }
}

fn approves(user: &str) -> ApprovalFact {
    says(user, Word::Approve)
}

fn outcome(approvals: Vec<ApprovalFact>) -> Decision {
    decide(&Facts { approvals, ..facts() }, &two_release_managers(), &people(), at(200))
}

#[test]
fn two_release_managers_open_the_gate() {
    let decision = outcome(vec![approves("jane"), approves("joe")]);
    assert_eq!(decision.outcome, Outcome::Admitted);
    assert_eq!(decision.admitted().unwrap().change(), Digest::of(b"change"));
}

#[test]
fn two_user_names_of_one_person_count_once() {
    let decision = outcome(vec![approves("jane"), approves("oidc:jane@hospital.example")]);
    assert_eq!(decision.outcome, Outcome::Waiting);
    assert!(decision.admitted().is_none());
    assert_eq!(
        decision.approvals[1].why.as_deref(),
        Some("Jane Roe is one person and was already counted")
    );
    assert_eq!(
        decision.sentence(),
        "approvals: rule release needs 2 approvals from release-managers; so far Jane Roe approved"
    );
}

#[test]
fn an_author_does_not_count() {
    let decision = outcome(vec![approves("jane"), approves("ann")]);
    assert_eq!(decision.outcome, Outcome::Waiting);
    assert_eq!(
        decision.approvals[1].why.as_deref(),
        Some("Ann Author is an author of this change")
    );
}

#[test]
fn unknown_authors_keep_a_gate_closed_that_excludes_them() {
    let mut facts = Facts { approvals: vec![approves("jane"), approves("joe")], ..facts() };
    facts.authors = Authors::Unknown("commit 1234 is not signed".into());
    let decision = decide(&facts, &two_release_managers(), &people(), at(200));
    assert_eq!(decision.outcome, Outcome::Waiting);
    assert!(decision.sentence().contains("commit 1234 is not signed"), "{}", decision.sentence());
}

#[test]
fn approvals_that_do_not_belong_here_do_not_count() {
    type Bend = fn(&mut ApprovalFact);
    let cases: [(&str, Bend); 6] = [
        ("another change", |a| a.spec.change = Digest::of(b"former")),
        ("an earlier promotion of the same name", |a| a.spec.promotion_uid = "u0".into()),
        ("another environment", |a| a.spec.environment = "staging".parse().unwrap()),
        ("made before the promotion", |a| a.created = at(50)),
        ("another group", |a| a.spec.groups = vec!["auditors".into()]),
        ("no group", |a| a.spec.groups.clear()),
    ];
    for (case, bend) in cases {
        let mut bent = approves("joe");
        bend(&mut bent);
        let decision = outcome(vec![approves("jane"), bent]);
        assert_eq!(decision.outcome, Outcome::Waiting, "{case} was counted");
    }
}

#[test]
fn an_old_approval_does_not_count() {
    let facts = Facts { approvals: vec![approves("jane"), approves("joe")], ..facts() };
    let decision = decide(&facts, &two_release_managers(), &people(), at(5000));
    assert_eq!(decision.outcome, Outcome::Waiting);
}

#[test]
fn one_rejection_ends_it_whatever_the_approvals() {
    let decision = outcome(vec![approves("jane"), approves("joe"), says("ann", Word::Reject)]);
    assert_eq!(decision.outcome, Outcome::Rejected);
}

#[test]
fn soak_opens_by_itself_and_says_when() {
    let mut facts = facts();
    facts.earned.insert(
        "staging".parse().unwrap(),
        Earned {
            presence: Presence::Arrived,
            healthy: jiff::SignedDuration::from_secs(40),
            counting: true,
        },
    );
    let policy = Policy {
        after: BTreeMap::from([(
            "staging".parse().unwrap(),
            After { healthy_for: Period::seconds(60), tolerance: Period::seconds(0) },
        )]),
        ..Policy::default()
    };
    let decision = decide(&facts, &policy, &people(), at(200));
    assert_eq!(decision.outcome, Outcome::Waiting);
    assert_eq!(decision.next_change, Some(at(220)));
}

#[test]
fn a_release_that_leaves_an_environment_out_does_not_thereby_pass_it() {
    let after = |by_default| Policy {
        after: BTreeMap::from([("staging".parse().unwrap(), After::default())]),
        after_by_default: by_default,
        ..Policy::default()
    };
    let found = |presence| {
        let mut facts = facts();
        facts.earned.insert("staging".parse().unwrap(), Earned { presence, ..Earned::default() });
        facts
    };
    let cases = [
        ("the class asks for it", false, Presence::Unused, Outcome::Waiting),
        ("the default, and the lane is used there", true, Presence::LeftOut, Outcome::Waiting),
        ("the default, and the lane is not used there", true, Presence::Unused, Outcome::Admitted),
    ];
    for (case, by_default, presence, expected) in cases {
        let decision = decide(&found(presence), &after(by_default), &people(), at(200));
        assert_eq!(decision.outcome, expected, "{case}");
    }
}

#[test]
fn somebody_whom_no_roster_has_does_not_count_where_persons_matter() {
    let decision = outcome(vec![approves("jane"), approves("ann-second-login")]);
    assert_eq!(decision.outcome, Outcome::Waiting);
    let why = decision.approvals[1].why.as_deref().unwrap_or_default();
    assert!(why.starts_with("no Roster has ann-second-login"), "{why}");
}

#[test]
fn what_could_not_be_learned_is_asked_for_again_soon() {
    let facts = Facts { authors: Authors::Unknown("a commit is not signed".into()), ..facts() };
    let decision = decide(&facts, &two_release_managers(), &people(), at(200));
    assert_eq!(decision.next_change, Some(at(215)));
}

#[test]
fn an_image_that_may_not_run_refuses_even_a_rollback() {
    let mut facts = facts();
    facts.promotion.kind = Kind::Rollback;
    facts.known_good = true;
    facts.images = vec![ImageFact {
        image: "r/odoo@sha256:00".into(),
        verdict: Verdict { reasons: vec!["no signature".into()], ..Verdict::default() },
        unknown: None,
    }];
    let decision = decide(&facts, &two_release_managers(), &people(), at(200));
    assert_eq!(decision.outcome, Outcome::Refused);
}

#[test]
fn a_rollback_to_known_good_needs_no_approvals_and_to_anything_else_does() {
    let mut facts = facts();
    facts.promotion.kind = Kind::Rollback;
    facts.known_good = true;
    assert_eq!(
        decide(&facts, &two_release_managers(), &people(), at(200)).outcome,
        Outcome::Admitted
    );
    facts.known_good = false;
    assert_eq!(
        decide(&facts, &two_release_managers(), &people(), at(200)).outcome,
        Outcome::Waiting
    );
}

#[test]
fn what_cannot_be_verified_now_waits_and_is_not_refused() {
    let mut facts = facts();
    facts.images = vec![ImageFact {
        image: "r/odoo@sha256:00".into(),
        verdict: Verdict::default(),
        unknown: Some("the registry does not answer".into()),
    }];
    assert_eq!(decide(&facts, &Policy::default(), &people(), at(200)).outcome, Outcome::Waiting);
}

#[test]
fn the_answer_may_change_when_a_verdict_ends() {
    let mut facts = facts();
    let verdict = |until| Verdict { passed: true, until, ..Verdict::default() };
    let image = |until| ImageFact {
        image: "r/odoo@sha256:00".into(),
        verdict: verdict(until),
        unknown: None,
    };
    facts.images =
        vec![image(None), image(Some(at(500))), image(Some(at(400))), image(Some(at(100)))];
    let decision = decide(&facts, &Policy::default(), &people(), at(200));
    assert_eq!(decision.next_change, Some(at(400)));
}

fn scanned(image: &str, ended: i64, findings: &[(Severity, u32)]) -> ImageFact {
    let scan = ScanRecord {
        at: at(ended),
        scanner: "trivy".into(),
        findings: findings.iter().copied().collect(),
    };
    let verdict = Verdict { passed: true, scan: Some(scan), ..Verdict::default() };
    ImageFact { image: image.into(), verdict, unknown: None }
}

fn scanned_within_an_hour() -> Policy {
    let scan = ScanGate { max_age: Period::seconds(3600), max_severity: Severity::Medium };
    Policy { vulnerabilities: Some(scan), ..Policy::default() }
}

/// The gate's state and sentence, and when the answer may change.
fn scans(images: Vec<ImageFact>, now: i64) -> (GateState, String, Option<Timestamp>) {
    let facts = Facts { images, ..facts() };
    let decision = decide(&facts, &scanned_within_an_hour(), &people(), at(now));
    let gate = decision.reports.iter().find(|r| r.gate == GateName::Vulnerabilities).unwrap();
    (gate.state, gate.message.clone(), decision.next_change)
}

#[test]
fn a_scan_keeps_the_gate_open_until_exactly_its_age() {
    let images = || {
        vec![scanned("r/odoo@1", 1000, &[(Severity::Medium, 2)]), scanned("r/redis@2", 2000, &[])]
    };
    let (state, said, next) = scans(images(), 4599);
    assert_eq!((state, next), (GateState::Open, Some(at(4600))));
    assert_eq!(said, "every image has a scan younger than 1h with nothing above Medium");
    let (state, said, next) = scans(images(), 4600);
    assert_eq!((state, next), (GateState::Waiting, Some(at(5600))));
    assert_eq!(
        said,
        "the newest scan of r/odoo@1 is of 1970-01-01T00:16:40Z, and must be younger than 1h; it \
         opens when it is scanned again"
    );
}

#[test]
fn a_scan_that_is_missing_bad_or_of_the_future_closes_the_gate_and_says_why() {
    let unscanned = ImageFact {
        verdict: Verdict { passed: true, ..Verdict::default() },
        ..scanned("r/odoo@1", 0, &[])
    };
    for (image, sentence) in [
        (
            unscanned,
            "no scan of r/odoo@1 counts; it opens when one is attached by somebody whom a \
             TrustPolicy names under attestations[].vulnerabilities",
        ),
        (
            scanned(
                "r/odoo@1",
                1000,
                &[(Severity::High, 3), (Severity::Critical, 1), (Severity::Low, 9)],
            ),
            "the scan of r/odoo@1 of 1970-01-01T00:16:40Z by trivy found 1 Critical, 3 High; it opens \
             when a newer scan finds nothing above Medium, or a release with fixed versions takes \
             its place",
        ),
        (
            scanned("r/odoo@1", 1601, &[]),
            "the scan of r/odoo@1 says that it ended at 1970-01-01T00:26:41Z, which is still to come; \
             set the scanner's clock and scan again",
        ),
    ] {
        let (state, said, _) = scans(vec![scanned("r/redis@2", 1200, &[]), image], 1300);
        assert_eq!((state, said.as_str()), (GateState::Waiting, sentence));
    }
    assert_eq!(scans(vec![scanned("r/odoo@1", 1600, &[])], 1300).0, GateState::Open);
}

#[test]
fn what_runs_by_an_exception_is_told_and_not_asked_for_a_scan() {
    let exception = Exception {
        policy: "static".into(),
        owner: "jane".into(),
        approved_by: "joe".into(),
        reason: "no signed build exists".into(),
        expires: at(9000),
    };
    let verdict = Verdict { passed: true, exception: Some(exception), ..Verdict::default() };
    let image = ImageFact { image: "r/redis@2".into(), verdict, unknown: None };
    let (state, said, _) = scans(vec![image, scanned("r/odoo@1", 1000, &[])], 1300);
    assert_eq!(state, GateState::Open);
    assert!(said.ends_with("; not asked of what runs by an exception: r/redis@2"), "{said}");
}

#[test]
fn a_rollback_to_known_good_is_asked_what_is_known_and_not_how_old_it_is() {
    let decided = |images, known_good| {
        let mut facts = Facts { images, known_good, ..facts() };
        facts.promotion.kind = Kind::Rollback;
        decide(&facts, &scanned_within_an_hour(), &people(), at(90_000))
    };
    let old = || vec![scanned("r/odoo@1", 1000, &[(Severity::Low, 1)])];
    assert_eq!(decided(old(), true).outcome, Outcome::Admitted);
    assert_eq!(decided(old(), true).next_change, None);
    assert_eq!(decided(old(), false).outcome, Outcome::Waiting);
    let bad = vec![scanned("r/odoo@1", 1000, &[(Severity::High, 1)])];
    assert_eq!(decided(bad, true).outcome, Outcome::Waiting);
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    const USERS: [&str; 6] = ["jane", "joe", "ann", "oidc:jane@hospital.example", "sam", "vic"];

    fn approvals() -> impl Strategy<Value = Vec<ApprovalFact>> {
        let one =
            (0..USERS.len(), any::<bool>(), 100..300_i64).prop_map(|(user, listed, created)| {
                let mut fact = approves(USERS[user]);
                fact.name = format!("{}-{created}", USERS[user]);
                fact.created = at(created);
                if !listed {
                    fact.spec.groups.clear();
                }
                fact
            });
        prop::collection::vec(one, 0..6)
    }

    fn facts_with(approvals: Vec<ApprovalFact>, suspended: bool, in_flight: bool) -> Facts {
        let in_flight = in_flight.then(|| "another".to_owned());
        Facts { in_flight, suspended, approvals, ..facts() }
    }

    fn open(facts: &Facts) -> bool {
        decide(facts, &two_release_managers(), &people(), at(400)).outcome == Outcome::Admitted
    }

    proptest! {
        #[test]
        fn one_more_reason_never_opens_what_was_closed(
            approvals in approvals(), suspended: bool, in_flight: bool, reason in 0..4,
        ) {
            let before = facts_with(approvals, suspended, in_flight);
            let mut after = before.clone();
            match reason {
                0 => after.suspended = true,
                1 => after.in_flight = Some("another".into()),
                2 => after.approvals.push(says("sam", Word::Reject)),
                _ => after.authors = Authors::Unknown("a commit is not signed".into()),
            }
            prop_assert!(open(&before) || !open(&after));
        }

        #[test]
        fn the_order_in_which_approvals_arrive_never_matters(
            approvals in approvals(), turn in 0..6_usize,
        ) {
            let before = facts_with(approvals, false, false);
            let mut after = before.clone();
            let turn = turn.min(after.approvals.len());
            after.approvals.rotate_left(turn);
            prop_assert_eq!(open(&before), open(&after));
        }

        #[test]
        fn nobody_is_admitted_without_two_distinct_listed_people_who_are_no_authors(approvals in approvals()) {
            let facts = facts_with(approvals, false, false);
            if open(&facts) {
                let people = people();
                let counting: BTreeSet<_> = facts.approvals.iter()
                    .filter(|a| a.spec.groups == ["release-managers"])
                    .map(|a| people.person(&a.spec.user).to_owned())
                    .filter(|p| p != "Ann Author")
                    .collect();
                prop_assert!(counting.len() >= 2, "{counting:?}");
            }
        }

        #[test]
        fn one_more_finding_or_one_scan_less_never_opens(
            ended in 0..5000_i64, low in 0..3_u32, high in 0..2_u32, more in 0..3_usize, gone: bool,
        ) {
            let opens = |image: &ImageFact| {
                let facts = Facts { images: vec![image.clone()], ..facts() };
                decide(&facts, &scanned_within_an_hour(), &people(), at(4000)).outcome
                    == Outcome::Admitted
            };
            let before = scanned("r/odoo@1", ended, &[(Severity::Low, low), (Severity::High, high)]);
            let mut after = before.clone();
            let severity = [Severity::Low, Severity::High, Severity::Critical][more];
            match after.verdict.scan.as_mut() {
                Some(scan) if !gone => *scan.findings.entry(severity).or_default() += 1,
                _ => after.verdict.scan = None,
            }
            prop_assert!(opens(&before) || !opens(&after));
        }
    }
}
