//! The story of one object, in the order in which a person asks: what is it, how is it, why,
//! and what can be done.

use jiff::Timestamp;
use kube::ResourceExt as _;
use std::fmt::Write as _;
use tidegate_schemas::{
    Condition, Decision, GateState, Kind, Phase, Promotion, PromotionStatus, Release, Repository,
    ScanRecord, Sync, Verdict,
};

use crate::board::gate;
use crate::objects::{Objects, journal, order, phase};
use crate::text::{safe, when};

/// The label of a rollback that names the promotion it answers.
const BECAUSE_LABEL: &str = "tidegate.dev/because";

/// A page that is written line by line; every line is made safe.
#[derive(Default)]
pub struct Page(String);

impl Page {
    /// A line.
    pub fn line(&mut self, text: &str) {
        let _infallible = writeln!(self.0, "{}", safe(text));
    }

    /// A heading with what stands under it; nothing where there is nothing.
    pub fn section(&mut self, heading: &str, lines: impl IntoIterator<Item = String>) {
        let mut lines = lines.into_iter().peekable();
        if lines.peek().is_none() {
            return;
        }
        self.line("");
        self.line(heading);
        for line in lines {
            self.line(&format!("  {line}"));
        }
    }

    /// All of it.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// The story of a promotion.
pub fn promotion(promotion: &Promotion, objects: &Objects, now: Timestamp) -> String {
    let mut page = Page::default();
    let spec = &promotion.spec;
    page.line(&format!("promotion {}", headline(promotion)));
    page.line(&match &spec.requested_by {
        Some(person) => format!(
            "asked for by {person}: {}",
            spec.reason.as_deref().unwrap_or("no reason given")
        ),
        None => format!(
            "made by Tidegate{}",
            spec.reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default()
        ),
    });
    let Some(journal) = journal(promotion) else {
        page.line("Waiting: Tidegate has not looked at it yet");
        return page.into_text();
    };
    page.line(&format!("{}: {}", journal.phase, journal.message));
    page.section("what changes", what_changes(promotion, journal, objects));
    page.section(
        "gates",
        journal.gates.iter().map(|report| {
            let state = match report.state {
                GateState::Open => "open   ",
                GateState::Waiting => "waiting",
                GateState::Refused => "refused",
            };
            format!("{state}  {}", gate(report))
        }),
    );
    page.section(
        "approvals",
        journal.approvals.iter().map(|approval| {
            let word = match approval.decision {
                Decision::Approve => "approved",
                Decision::Reject => "rejected",
            };
            let person = if approval.person == approval.user {
                approval.user.clone()
            } else {
                format!("{} (as {})", approval.person, approval.user)
            };
            match &approval.why {
                _ if approval.counts => format!("{person} {word}: counts"),
                Some(why) => format!("{person} {word}: does not count, because {why}"),
                None => format!("{person} {word}: does not count"),
            }
        }),
    );
    if let Some(watch) = &journal.watch {
        page.section("watch", [format!("until {}: {}", when(watch.until, now), watch.message)]);
    }
    page.section(
        "journal",
        journal.journal.iter().map(|entry| {
            format!(
                "{}  {:<10}  {}",
                entry.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                entry.phase.to_string(),
                entry.message
            )
        }),
    );
    page.section("rollback", rollback_story(promotion, journal, objects, now));
    page.section("what you can do", way_out(promotion, journal));
    page.into_text()
}

/// What a promotion does, in one line.
pub fn headline(promotion: &Promotion) -> String {
    let spec = &promotion.spec;
    let verb = match spec.kind {
        Kind::Promote => "brings",
        Kind::Rollback => "rolls back to",
    };
    format!(
        "{} {verb} {} in {}, lane {}",
        promotion.name_any(),
        spec.release,
        spec.environment,
        spec.lane
    )
}

fn what_changes(
    promotion: &Promotion,
    journal: &PromotionStatus,
    objects: &Objects,
) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(release) = objects.release(&promotion.spec.release) {
        let source = &release.spec.source;
        lines.push(format!(
            "commit {} by {}: {}",
            source.commit.short(),
            source.author,
            source.title
        ));
        lines.push(match &source.signer {
            Some(signer) => format!("signed by {signer}"),
            None => "its signer is not known".to_owned(),
        });
        lines.extend(image_changes(
            release,
            journal.replaces.as_ref().and_then(|r| objects.release(&r.release)),
        ));
    }
    if let Some(replaces) = &journal.replaces {
        lines.push(format!("replaces {} (commit {})", replaces.release, replaces.commit.short()));
    }
    lines.extend(journal.commit.as_ref().map(|c| format!("deploy commit {c}")));
    lines.extend(journal.change.map(|c| format!("change {c}")));
    lines
}

/// By whose word an image runs, where anybody's is known.
fn by(verdict: &Verdict) -> Option<String> {
    match (&verdict.exception, verdict.signers.as_slice()) {
        (Some(exception), _) => Some(format!(
            "without a signature until {} by an exception of {} and {}",
            exception.expires, exception.owner, exception.approved_by
        )),
        (None, []) => None,
        (None, signers) => Some(format!("signed by {}", signers.join(", "))),
    }
}

/// What the newest scan found, the worst first.
fn scanned(scan: &ScanRecord) -> String {
    let found: Vec<_> = scan
        .findings
        .iter()
        .rev()
        .map(|(severity, count)| format!("{count} {severity:?}"))
        .collect();
    let found = if found.is_empty() { "nothing found".to_owned() } else { found.join(", ") };
    format!(", scanned at {}: {found}", scan.at)
}

/// Images between what runs and what would run, a line each.
pub fn image_changes(new: &Release, old: Option<&Release>) -> Vec<String> {
    let named = |tag: &Option<String>, digest: tidegate_ids::Digest| match tag {
        Some(tag) => format!("{tag} (sha256:{})", digest.short()),
        None => format!("sha256:{}", digest.short()),
    };
    new.spec
        .images
        .iter()
        .filter_map(|image| {
            let before =
                old.and_then(|o| o.spec.images.iter().find(|i| i.repository == image.repository));
            let now = named(&image.tag, image.digest);
            let signed = by(&image.verdict).map(|by| format!(", {by}")).unwrap_or_default();
            match before {
                Some(b) if b.digest == image.digest => None,
                Some(b) => Some(format!(
                    "image {}: {} -> {now}{signed}",
                    image.repository,
                    named(&b.tag, b.digest)
                )),
                None => Some(format!("image {}: {now}{signed}", image.repository)),
            }
        })
        .collect()
}

fn rollback_story(
    promotion: &Promotion,
    journal: &PromotionStatus,
    objects: &Objects,
    now: Timestamp,
) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(cause) = promotion.labels().get(BECAUSE_LABEL) {
        let why = objects
            .promotions
            .iter()
            .find(|p| p.name_any() == *cause)
            .and_then(|p| p.status.as_ref())
            .map_or_else(String::new, |s| format!(": {}", s.message));
        lines.push(format!("it answers {cause}, which regressed{why}"));
    }
    let answer = objects
        .promotions
        .iter()
        .find(|p| p.labels().get(BECAUSE_LABEL) == Some(&promotion.name_any()));
    if let Some(answer) = answer {
        lines.push(format!(
            "it was answered by {}, which rolls back to {} ({})",
            answer.name_any(),
            answer.spec.release,
            phase(answer)
        ));
    } else if journal.phase == Phase::Regressed {
        lines.push("nothing was rolled back by Tidegate; the journal says why".to_owned());
    }
    let quarantined = objects.release(&promotion.spec.release).and_then(|r| r.status.as_ref());
    for entry in quarantined.iter().flat_map(|s| &s.quarantined) {
        lines.push(format!(
            "its release is quarantined since {}: it regressed in {} ({}); it does not go on from there",
            when(entry.since, now), entry.environment, entry.reason
        ));
    }
    lines
}

fn way_out(promotion: &Promotion, journal: &PromotionStatus) -> Vec<String> {
    let name = promotion.name_any();
    let spec = &promotion.spec;
    match journal.phase {
        Phase::Waiting => vec![
            format!("tidegate diff {name}      what would change, object by object"),
            format!("tidegate approve {name}   or reject it with --reason"),
        ],
        Phase::Watching | Phase::Succeeded => vec![format!(
            "tidegate rollback {} --env {} --lane {} --reason …   goes back to what ran before",
            spec.pipeline, spec.environment, spec.lane
        )],
        Phase::NotApplied | Phase::Refused | Phase::Rejected => vec![format!(
            "tidegate promote {} --env {}   asks again, once the cause is gone",
            spec.release, spec.environment
        )],
        _ => Vec::new(),
    }
}

fn conditions(page: &mut Page, conditions: &[Condition], now: Timestamp) {
    page.section(
        "conditions",
        conditions.iter().map(|c| {
            format!(
                "{}={} ({}), {}: {}",
                c.type_,
                c.status,
                c.reason,
                when(c.last_transition_time.0, now),
                c.message
            )
        }),
    );
}

/// The story of a release.
pub fn release(release: &Release, objects: &Objects, now: Timestamp) -> String {
    let mut page = Page::default();
    let (spec, name) = (&release.spec, release.name_any());
    page.line(&format!("release {name} of the pipeline {}, lane {}", spec.pipeline, spec.lane));
    page.line(&format!("identity {}", spec.id));
    let source = &spec.source;
    page.section(
        "source",
        [
            format!("commit {}, {}", source.commit, when(source.time, now)),
            format!("by {}: {}", source.author, source.title),
            source
                .signer
                .as_ref()
                .map_or_else(|| "its signer is not known".to_owned(), |s| format!("signed by {s}")),
        ],
    );
    page.section(
        "images",
        spec.images.iter().map(|image| {
            let tag = image.tag.as_ref().map(|t| format!(" (tag {t})")).unwrap_or_default();
            let verdict = if image.verdict.passed {
                let by = by(&image.verdict).map(|by| format!(", {by}")).unwrap_or_default();
                let scan = image.verdict.scan.as_ref().map(scanned).unwrap_or_default();
                format!("verified under {}{by}{scan}", image.verdict.policies.join(", "))
            } else {
                format!("not verified: {}", image.verdict.reasons.join("; "))
            };
            format!("{}@{}{tag}: {verdict}", image.repository, image.digest)
        }),
    );
    page.section(
        "content",
        spec.rendered.iter().map(|(environment, set)| {
            format!("{environment}: {} objects, {}", set.objects, set.manifests)
        }),
    );
    page.section("requires", spec.requires.iter().map(|(lane, name)| format!("{lane}: {name}")));
    let mut promotions: Vec<&Promotion> =
        objects.promotions.iter().filter(|p| p.spec.release == name).collect();
    promotions.sort_by_key(|p| order(p));
    page.section(
        "its way",
        promotions.iter().map(|p| format!("{}: {}", p.spec.environment, crate::board::line(p))),
    );
    if let Some(status) = &release.status {
        page.section(
            "quarantined",
            status.quarantined.iter().map(|q| {
                format!(
                    "in {} since {} by {}: {}",
                    q.environment,
                    when(q.since, now),
                    q.promotion,
                    q.reason
                )
            }),
        );
    }
    page.into_text()
}

/// The story of a Sync.
pub fn sync(sync: &Sync, now: Timestamp) -> String {
    let mut page = Page::default();
    let spec = &sync.spec;
    page.line(&format!(
        "sync {}: {} of {} at {} runs in {} as {}",
        sync.name_any(),
        if spec.source.path.is_empty() { "everything" } else { &spec.source.path },
        spec.source.repository,
        spec.source.branch,
        spec.target.namespace,
        spec.account
    ));
    if spec.suspend {
        page.line("suspended: it does nothing until spec.suspend is false again");
    }
    let Some(status) = &sync.status else {
        page.line("Tidegate has not looked at it yet");
        return page.into_text();
    };
    let mut state = Vec::new();
    if let Some(accepted) = &status.accepted {
        let place = accepted.sequence.map(|s| format!(", number {s}")).unwrap_or_default();
        state.push(format!("accepted commit {}{place}", accepted.commit));
    }
    if let Some(applied) = &status.applied {
        state.push(format!(
            "applied commit {}: {} objects, {}",
            applied.commit,
            applied.objects,
            when(applied.at, now)
        ));
    }
    if let Some(health) = &status.health {
        state.push(format!("{:?} since {}", health.state, when(health.since, now)));
        state.extend(
            health.objects.iter().map(|o| format!("{:?}: {}: {}", o.state, o.object, o.message)),
        );
    }
    page.section("state", state);
    page.section(
        "refused",
        status
            .refused
            .iter()
            .map(|r| format!("commit {} since {}: {}", r.commit, when(r.since, now), r.reason)),
    );
    page.section(
        "failure",
        status.failure.iter().map(|f| {
            format!(
                "commit {} since {} ({:?}): {}",
                f.commit,
                when(f.since, now),
                f.cause,
                f.message
            )
        }),
    );
    page.section(
        "differences that somebody else caused, newest last",
        status.drift.iter().map(|d| {
            format!(
                "{}: {}{}",
                when(d.at, now),
                d.message,
                if d.corrected { " (corrected)" } else { "" }
            )
        }),
    );
    conditions(&mut page, &status.conditions, now);
    page.into_text()
}

/// The story of a repository.
pub fn repository(repository: &Repository, now: Timestamp) -> String {
    let mut page = Page::default();
    let spec = &repository.spec;
    page.line(&format!("repository {}: {}", repository.name_any(), spec.url));
    page.line(match spec.verify {
        Some(_) => "commits count that somebody of a Roster signed",
        None => "every commit counts, signed or not",
    });
    if !spec.allow.is_empty() {
        page.line(&format!("used by the namespaces {} too", spec.allow.join(", ")));
    }
    let Some(status) = &repository.status else {
        page.line("Tidegate has not looked at it yet");
        return page.into_text();
    };
    page.line(&match &status.hook {
        Some(path) => format!("its webhook is {path} on the engine's address"),
        None => format!("it has no webhook: it is looked at every {}", spec.interval),
    });
    page.section(
        "heads",
        status.heads.iter().map(|(branch, commit)| format!("{branch}: {}", commit.short())),
    );
    conditions(&mut page, &status.conditions, now);
    page.into_text()
}
