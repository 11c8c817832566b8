use super::*;
use std::collections::BTreeMap;
use tidegate_gates::{Authors, Facts, People, Policy, PromotionFact, decide};
use tidegate_ids::Digest;
use tidegate_schemas::{JournalEntry, Kind, WatchReport};

const PHASES: [Phase; 11] = [
    Phase::Waiting,
    Phase::Admitted,
    Phase::Committed,
    Phase::Applied,
    Phase::Watching,
    Phase::Succeeded,
    Phase::Refused,
    Phase::Rejected,
    Phase::Superseded,
    Phase::NotApplied,
    Phase::Regressed,
];

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn commit(digit: &str) -> CommitId {
    digit.repeat(40).parse().unwrap()
}

fn decision(suspended: bool) -> Decision {
    let facts = Facts {
        promotion: PromotionFact {
            name: "p".into(),
            uid: "u".into(),
            created: at(0),
            environment: "dev".parse().unwrap(),
            kind: Kind::Promote,
            requested_by: None,
            change: Digest::of(b"c"),
        },
        images: vec![],
        in_flight: None,
        suspended,
        quarantined: vec![],
        requires: vec![],
        earned: BTreeMap::new(),
        approvals: vec![],
        authors: Authors::Unknown(String::new()),
        known_good: false,
    };
    decide(&facts, &Policy::default(), &People::default(), at(0))
}

fn live(decision: Option<&Decision>) -> Live<'_> {
    Live {
        decision,
        moved: false,
        needless: None,
        looked: true,
        since: at(0),
        branch: Branch { accepted: Some((commit("a"), 7)), ours: None },
        sync: SyncView::default(),
        watch: Watch { length: Period::seconds(60), ..Watch::default() },
        deadline: Period::seconds(600),
    }
}

fn journal(phase: Phase) -> PromotionStatus {
    PromotionStatus {
        phase,
        planned: Some(PlannedCommit {
            sequence: 8,
            parent: Some(commit("a")),
            at: at(0),
            not_after: at(9000),
        }),
        commit: Some(commit("b")),
        journal: vec![JournalEntry { phase: Phase::Committed, at: at(0), message: String::new() }],
        applied_at: Some(at(10)),
        watch: Some(WatchReport { until: at(70), message: String::new() }),
        ..PromotionStatus::default()
    }
}

fn health(state: Health) -> HealthReport {
    HealthReport { state, since: at(0), commit: commit("b"), objects: vec![] }
}

fn failure(cause: Cause) -> SyncFailure {
    SyncFailure { commit: commit("b"), cause, message: "why".into(), since: at(0) }
}

fn applied() -> Applied {
    Applied { commit: commit("b"), tree: String::new(), objects: 1, at: at(5) }
}

#[test]
fn an_open_gate_plans_a_commit_on_what_was_last_accepted() {
    let open = decision(false);
    let Step::Admit(planned) = next(&journal(Phase::Waiting), &live(Some(&open)), at(0)) else {
        panic!("not admitted")
    };
    assert_eq!((planned.sequence, planned.parent), (8, Some(commit("a"))));
}

#[test]
fn a_closed_gate_waits_with_its_sentence() {
    let closed = decision(true);
    let Step::Wait { message, .. } = next(&journal(Phase::Waiting), &live(Some(&closed)), at(0))
    else {
        panic!("did not wait")
    };
    assert!(message.starts_with("suspended: "), "{message}");
}

#[test]
fn a_newer_release_takes_the_place_of_one_that_waits_and_of_no_other() {
    for phase in PHASES {
        let open = decision(false);
        let mut live = live(Some(&open));
        live.needless = Some(Needless::Newer("clinic-dev-app-9".into()));
        let ended = matches!(
            next(&journal(phase), &live, at(0)),
            Step::End { phase: Phase::Superseded, .. }
        );
        assert_eq!(ended, phase == Phase::Waiting, "{phase}");
    }
}

#[test]
fn an_admission_that_no_longer_holds_goes_back_to_the_gates() {
    let closed = decision(true);
    assert!(matches!(
        next(&journal(Phase::Admitted), &live(Some(&closed)), at(0)),
        Step::Readmit(_)
    ));
}

#[test]
fn a_commit_that_is_already_there_is_not_made_again() {
    let closed = decision(true);
    for decision in [None, Some(&closed)] {
        let mut live = live(decision);
        live.branch.ours = Some(commit("b"));
        assert_eq!(next(&journal(Phase::Admitted), &live, at(0)), Step::Committed(commit("b")));
    }
}

#[test]
fn nothing_is_committed_without_an_admission_of_now() {
    for phase in PHASES {
        for decision in [None, Some(&decision(true))] {
            let step = next(&journal(phase), &live(decision), at(0));
            assert!(!matches!(step, Step::Commit(_) | Step::Admit(_)), "{phase}: {step:?}");
        }
    }
}

#[test]
fn a_plan_whose_parent_moved_is_made_anew() {
    let open = decision(false);
    let mut live = live(Some(&open));
    live.branch.accepted = Some((commit("c"), 9));
    let Step::Admit(planned) = next(&journal(Phase::Admitted), &live, at(1)) else {
        panic!("not planned anew")
    };
    assert_eq!((planned.sequence, planned.parent), (10, Some(commit("c"))));
}

#[test]
fn from_the_commit_on_the_cluster_decides() {
    let (healthy, progressing, failed) =
        (health(Health::Healthy), health(Health::Progressing), health(Health::Failed));
    let (runs, cluster, workload, content) =
        (applied(), failure(Cause::Cluster), failure(Cause::Workload), failure(Cause::Content));
    let cases: [(&str, SyncView<'_>, i64, Option<Phase>); 8] = [
        (
            "healthy",
            SyncView { applied: Some(&runs), health: Some(&healthy), ..SyncView::default() },
            1,
            Some(Phase::Applied),
        ),
        (
            "on its way",
            SyncView { applied: Some(&runs), health: Some(&progressing), ..SyncView::default() },
            1,
            None,
        ),
        (
            "too slow",
            SyncView { applied: Some(&runs), health: Some(&progressing), ..SyncView::default() },
            600,
            Some(Phase::Regressed),
        ),
        (
            "failed",
            SyncView { applied: Some(&runs), health: Some(&failed), ..SyncView::default() },
            1,
            Some(Phase::Regressed),
        ),
        (
            "workload failure",
            SyncView { failure: Some(&workload), ..SyncView::default() },
            1,
            Some(Phase::Regressed),
        ),
        (
            "bad content",
            SyncView { failure: Some(&content), ..SyncView::default() },
            1,
            Some(Phase::Regressed),
        ),
        ("cluster trouble", SyncView { failure: Some(&cluster), ..SyncView::default() }, 1, None),
        (
            "cluster trouble to the end",
            SyncView { failure: Some(&cluster), ..SyncView::default() },
            600,
            Some(Phase::NotApplied),
        ),
    ];
    for (case, sync, now, expected) in cases {
        let step = next(&journal(Phase::Committed), &Live { sync, ..live(None) }, at(now));
        let found = match step {
            Step::End { phase, .. } => Some(phase),
            Step::Applied(_) => Some(Phase::Applied),
            _ => None,
        };
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn the_watch_ends_well_only_in_good_health_and_at_its_end() {
    let (healthy, failed, other) = (
        health(Health::Healthy),
        health(Health::Failed),
        HealthReport { commit: commit("c"), ..health(Health::Healthy) },
    );
    let cases: [(&str, &HealthReport, i64, Option<Phase>); 4] = [
        ("healthy before the end", &healthy, 30, None),
        ("healthy at the end", &healthy, 70, Some(Phase::Succeeded)),
        ("failed", &failed, 30, Some(Phase::Regressed)),
        ("the health of another commit says nothing", &other, 70, None),
    ];
    for (case, report, now, expected) in cases {
        let sync = SyncView { health: Some(report), ..SyncView::default() };
        let found = match next(&journal(Phase::Watching), &Live { sync, ..live(None) }, at(now)) {
            Step::End { phase, .. } => Some(phase),
            _ => None,
        };
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn what_cannot_be_told_passes_no_watch_and_is_nobodys_fault() {
    let unknown = health(Health::Unknown);
    for report in [None, Some(&unknown)] {
        let sync = SyncView { health: report, ..SyncView::default() };
        let live = Live { sync, ..live(None) };
        assert!(matches!(next(&journal(Phase::Watching), &live, at(100)), Step::Wait { .. }));
        let late = next(&journal(Phase::Watching), &live, at(100_000));
        assert!(matches!(late, Step::End { phase: Phase::NotApplied, .. }), "{late:?}");
    }
}

#[test]
fn an_admission_of_another_change_than_now_is_none() {
    let open = decision(false);
    let live = Live { moved: true, ..live(Some(&open)) };
    assert!(matches!(next(&journal(Phase::Admitted), &live, at(0)), Step::Readmit(_)));
}

#[test]
fn a_plan_that_could_not_be_carried_out_in_time_is_made_anew() {
    let open = decision(false);
    let Step::Admit(planned) = next(&journal(Phase::Admitted), &live(Some(&open)), at(601)) else {
        panic!("an old plan was kept")
    };
    assert_eq!(planned.at, at(601));
}

#[test]
fn what_the_sync_wrote_before_a_restart_decides_nothing() {
    for (phase, state) in [
        (Phase::Committed, Health::Healthy),
        (Phase::Committed, Health::Failed),
        (Phase::Watching, Health::Healthy),
        (Phase::Watching, Health::Failed),
    ] {
        let (report, runs) = (health(state), applied());
        let sync = SyncView { health: Some(&report), applied: Some(&runs), ..SyncView::default() };
        let live = Live { sync, looked: false, ..live(None) };
        let step = next(&journal(phase), &live, at(100_000));
        assert!(matches!(step, Step::Wait { .. }), "{phase}: {step:?}");
    }
}

#[test]
fn what_an_outage_took_does_not_count_against_the_deadline() {
    let late = Live { since: at(5000), ..live(None) };
    let step = next(&journal(Phase::Committed), &late, at(5001));
    assert!(matches!(step, Step::Wait { .. }), "{step:?}");
}

#[test]
fn what_has_ended_stays_ended() {
    for phase in PHASES.into_iter().filter(|p| p.is_final()) {
        let open = decision(false);
        assert!(matches!(
            next(&journal(phase), &live(Some(&open)), at(99)),
            Step::Wait { until: None, .. }
        ));
    }
}
