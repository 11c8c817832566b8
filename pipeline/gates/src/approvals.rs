//! Counting people. An approval counts when it names this promotion and exactly
//! this change, arrived after the promotion, is young enough, and its maker is a
//! distinct person whom the rule lists and does not exclude. One rejection ends it.

use jiff::Timestamp;
use std::collections::BTreeSet;
use tidegate_schemas::{
    ApprovalRule, ApprovalSpec, CountedApproval, Decision, Excluded, GateName, GateReport,
};

use crate::{ApprovalFact, Authors, Facts, People, Policy, open, waiting};

/// What the people said.
pub(crate) struct Counted {
    pub(crate) approvals: Vec<CountedApproval>,
    pub(crate) reports: Vec<GateReport>,
    pub(crate) rejected: Option<String>,
}

pub(crate) fn count(facts: &Facts, policy: &Policy, people: &People, now: Timestamp) -> Counted {
    let mut approvals = Vec::new();
    let rejected = rejection(facts, people, &mut approvals);
    let mut reports = Vec::new();
    let mut used = std::collections::BTreeMap::<&str, Option<String>>::new();
    for rule in &policy.approvals {
        let (report, verdicts) = one_rule(facts, rule, people, now);
        reports.push(report);
        for (name, why) in verdicts {
            let entry = used.entry(name).or_insert_with(|| why.clone());
            if why.is_none() {
                *entry = None;
            }
        }
    }
    for fact in approving(facts) {
        let why = match used.get(fact.name.as_str()) {
            Some(why) => why.clone(),
            None => Some("no rule asks for approvals here".to_owned()),
        };
        approvals.push(counted(fact, people, why));
    }
    if policy.approvals.is_empty() {
        reports.push(open(GateName::Approvals, "nobody has to approve"));
    }
    Counted { approvals, reports, rejected }
}

/// The first valid rejection. Also records every rejection.
pub(crate) fn rejection(
    facts: &Facts,
    people: &People,
    recorded: &mut Vec<CountedApproval>,
) -> Option<String> {
    let mut first = None;
    for fact in facts.approvals.iter().filter(|a| a.spec.decision == Decision::Reject) {
        let why = misdirected(facts, fact, None);
        if why.is_none() && first.is_none() {
            first = Some(fact.spec.user.clone());
        }
        recorded.push(counted(fact, people, why));
    }
    first
}

fn approving(facts: &Facts) -> impl Iterator<Item = &ApprovalFact> {
    facts.approvals.iter().filter(|a| a.spec.decision == Decision::Approve)
}

fn counted(fact: &ApprovalFact, people: &People, why: Option<String>) -> CountedApproval {
    CountedApproval {
        name: fact.name.clone(),
        user: fact.spec.user.clone(),
        person: people.person(&fact.spec.user).to_owned(),
        decision: fact.spec.decision,
        counts: why.is_none(),
        why,
    }
}

/// Why an approval does not belong to this promotion and change at all.
/// A rejection is for the promotion, whatever moved since: only the uid has to fit.
fn misdirected(
    facts: &Facts,
    fact: &ApprovalFact,
    rule: Option<(&ApprovalRule, Timestamp)>,
) -> Option<String> {
    let (spec, promotion) = (&fact.spec, &facts.promotion);
    if spec.promotion_uid != promotion.uid {
        return Some("it names an earlier promotion of the same name".to_owned());
    }
    if spec.environment != promotion.environment {
        return Some(format!("it names the environment {}", spec.environment));
    }
    if fact.created < promotion.created {
        return Some("it is older than the promotion".to_owned());
    }
    let (rule, now) = rule?;
    if spec.change != promotion.change {
        return Some("it was given for another change digest: what would change has moved since (see the journal)".to_owned());
    }
    let age = now.duration_since(fact.created);
    (age > rule.valid_for.to_signed()).then(|| format!("it is older than {}", rule.valid_for))
}

/// One rule's report, and for each approval why it does not count (or `None`).
fn one_rule<'a>(
    facts: &'a Facts,
    rule: &ApprovalRule,
    people: &People,
    now: Timestamp,
) -> (GateReport, Vec<(&'a str, Option<String>)>) {
    let mut counting = BTreeSet::new();
    let mut verdicts = Vec::new();
    for fact in approving(facts) {
        let person = people.person(&fact.spec.user);
        let why = misdirected(facts, fact, Some((rule, now)))
            .or_else(|| unlisted(rule, &fact.spec))
            .or_else(|| unknown(rule, &fact.spec.user, people))
            .or_else(|| excluded(facts, rule, person, people))
            .or_else(|| {
                counting
                    .contains(person)
                    .then(|| format!("{person} is one person and was already counted"))
            });
        if why.is_none() {
            counting.insert(person.to_owned());
        }
        verdicts.push((fact.name.as_str(), why));
    }
    (report(facts, rule, &counting), verdicts)
}

fn report(facts: &Facts, rule: &ApprovalRule, counting: &BTreeSet<String>) -> GateReport {
    let gate = GateName::Approvals;
    let needed = usize::try_from(rule.count).unwrap_or(usize::MAX);
    let (from, who) = (listed(rule), join(counting));
    if let (Authors::Unknown(why), true) = (&facts.authors, rule.not.contains(&Excluded::Author)) {
        return waiting(
            gate,
            format!(
                "rule {} leaves out the change's authors, and who they are cannot be told: {why}",
                rule.name
            ),
        );
    }
    if counting.len() >= needed {
        return open(gate, format!("rule {}: approved by {who}", rule.name));
    }
    let so_far = if counting.is_empty() { "nobody".to_owned() } else { who };
    let people = if needed == 1 { "approval" } else { "approvals" };
    waiting(
        gate,
        format!("rule {} needs {needed} {people} from {from}; so far {so_far} approved", rule.name),
    )
}

fn join(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn listed(rule: &ApprovalRule) -> String {
    let names: Vec<_> =
        rule.from.iter().filter_map(|s| s.group.as_deref().or(s.user.as_deref())).collect();
    names.join(" or ")
}

fn unlisted(rule: &ApprovalRule, spec: &ApprovalSpec) -> Option<String> {
    let lists = rule.from.iter().any(|subject| {
        subject.group.as_ref().is_some_and(|g| spec.groups.contains(g))
            || subject.user.as_ref().is_some_and(|u| *u == spec.user)
    });
    (!lists)
        .then(|| format!("{} is not of {}, whom rule {} asks", spec.user, listed(rule), rule.name))
}

/// Whoever no Roster has may be anybody: an author, or somebody who was counted already.
fn unknown(rule: &ApprovalRule, user: &str, people: &People) -> Option<String> {
    let matters = rule.count > 1 || rule.not.contains(&Excluded::Author);
    (matters && !people.knows(user)).then(|| {
        format!("no Roster has {user}, so it cannot be told who that is; add the user name to its person")
    })
}

fn excluded(facts: &Facts, rule: &ApprovalRule, person: &str, people: &People) -> Option<String> {
    rule.not.iter().find_map(|excluded| match excluded {
        Excluded::Requester => {
            let requester = facts.promotion.requested_by.as_deref().map(|u| people.person(u))?;
            (requester == person).then(|| format!("{person} asked for this promotion"))
        }
        Excluded::Author => match &facts.authors {
            Authors::Known(authors) => {
                authors.contains(person).then(|| format!("{person} is an author of this change"))
            }
            Authors::Unknown(why) => Some(format!("the change's authors cannot be told: {why}")),
        },
    })
}
