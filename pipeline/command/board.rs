//! The board: lanes by environments, what runs, how it is, and what comes next in words.
//!
//! It needs only namespaced objects, so whoever may see a pipeline sees its board without any
//! right in the whole cluster.

use std::fmt::Write as _;

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;
use tidegate_ids::{Digest, EnvironmentName, LaneName};
use tidegate_schemas::{
    Candidate, GateReport, GateState, Health, LanePaths, Phase, Pipeline, Promotion, Sync,
    condition,
};

use crate::objects::{Objects, images, journal, order, phase};
use crate::text::{length, safe, table, when};

/// How many refused candidates are shown.
const REFUSED_SHOWN: usize = 5;

/// Everything about the pipelines of a namespace at one moment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Board {
    /// By pipeline.
    pub pipelines: Vec<PipelineBoard>,
}

/// One pipeline.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineBoard {
    /// Its name.
    pub name: String,
    /// What is wrong with all of it, if anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
    /// Lanes by environments.
    pub cells: Vec<Cell>,
    /// What did not become a release lately, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Candidate>,
}

/// One lane of one environment.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// The lane.
    pub lane: LaneName,
    /// The environment.
    pub environment: EnvironmentName,
    /// What runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<Runs>,
    /// How it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What waits, moves or went wrong, in words.
    pub next: Vec<String>,
}

/// What runs somewhere.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Runs {
    /// The release.
    pub release: String,
    /// Its images, for people.
    pub images: String,
    /// Its manifests, where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Digest>,
}

/// The board of these objects.
pub fn board(objects: &Objects) -> Board {
    let mut pipelines: Vec<PipelineBoard> =
        objects.pipelines.iter().map(|pipeline| of_pipeline(objects, pipeline)).collect();
    pipelines.sort_by(|a, b| a.name.cmp(&b.name));
    Board { pipelines }
}

fn of_pipeline(objects: &Objects, pipeline: &Pipeline) -> PipelineBoard {
    let mut cells = Vec::new();
    for lane in &pipeline.spec.lanes {
        for environment in &pipeline.spec.environments {
            cells.push(cell(objects, pipeline, environment, &lane.name));
        }
    }
    let status = pipeline.status.clone().unwrap_or_default();
    let mut troubles: Vec<String> = ["Ready", "Source", "Images", "Verified", "Enforced"]
        .iter()
        .filter_map(|kind| condition(&status.conditions, kind))
        .filter(|c| c.status == "False")
        .map(|c| format!("{}: {}", c.type_, c.message))
        .collect();
    if pipeline.spec.suspend {
        troubles.push("Suspended: no releases are made and no promotions admitted".to_owned());
    }
    let refused = status.refused.iter().rev().take(REFUSED_SHOWN).cloned().collect();
    PipelineBoard { name: pipeline.name_any(), troubles, cells, refused }
}

fn cell(
    objects: &Objects,
    pipeline: &Pipeline,
    environment: &EnvironmentName,
    lane: &LaneName,
) -> Cell {
    let name = pipeline.name_any();
    let paths = LanePaths::new(&name, environment.as_str(), lane.as_str(), &pipeline.spec.path);
    let promotions = objects.promotions_of(&name, environment, lane);
    let sync = objects.sync(&paths.sync);
    let running = running(sync, &promotions);
    let health = sync.and_then(|s| s.status.as_ref()?.health.as_ref());
    let mut next = sync.map(sync_troubles).unwrap_or_default();
    let after = running.map(order);
    // What ended badly is told until something newer runs or is on its way.
    let told = |promotion: &Promotion| {
        let bad = !matches!(phase(promotion), Phase::Succeeded | Phase::Superseded);
        let newest = promotions.last().is_some_and(|last| last.name_any() == promotion.name_any());
        bad && newest && after.is_none_or(|a| order(promotion) > a)
    };
    next.extend(promotions.iter().filter(|p| !phase(p).is_final() || told(p)).map(|p| line(p)));
    Cell {
        lane: lane.clone(),
        environment: environment.clone(),
        runs: running.map(|p| Runs {
            release: p.spec.release.clone(),
            images: objects.release(&p.spec.release).map(images).unwrap_or_default(),
            manifests: journal(p).and_then(|j| j.manifests),
        }),
        health: health.map(|h| h.state),
        since: health.map(|h| h.since),
        next,
    }
}

/// The promotion whose commit the Sync applied last.
pub fn running<'a>(sync: Option<&Sync>, promotions: &[&'a Promotion]) -> Option<&'a Promotion> {
    let applied = sync?.status.as_ref()?.applied.as_ref()?;
    promotions
        .iter()
        .rev()
        .find(|p| journal(p).and_then(|j| j.commit.as_ref()) == Some(&applied.commit))
        .copied()
}

fn sync_troubles(sync: &Sync) -> Vec<String> {
    let Some(status) = &sync.status else { return Vec::new() };
    let refused = status.refused.as_ref().map(|r| {
        format!("the Sync refuses commit {} on its branch: {}", r.commit.short(), r.reason)
    });
    let failure = status.failure.as_ref().map(|f| format!("cannot be applied: {}", f.message));
    let unhealthy = status
        .health
        .as_ref()
        .filter(|h| h.state == Health::Failed)
        .and_then(|h| h.objects.first())
        .map(|o| format!("{}: {}", o.object, o.message));
    [refused, failure, unhealthy].into_iter().flatten().collect()
}

/// A promotion in one line: where it stands and on what it waits.
pub fn line(promotion: &Promotion) -> String {
    let verb = match promotion.spec.kind {
        tidegate_schemas::Kind::Promote => "brings",
        tidegate_schemas::Kind::Rollback => "rolls back to",
    };
    format!("{} {verb} {}: {}", promotion.name_any(), promotion.spec.release, standing(promotion))
}

/// Where a promotion stands, in words.
pub fn standing(promotion: &Promotion) -> String {
    let stands = phase(promotion);
    let Some(journal) = journal(promotion) else {
        return "Waiting: Tidegate has not looked at it yet".to_owned();
    };
    let closed: Vec<String> = closed(&journal.gates).iter().map(|g| gate(g)).collect();
    if stands == Phase::Waiting && !closed.is_empty() {
        return format!("Waiting for {}", closed.join("; "));
    }
    if journal.message.is_empty() {
        stands.to_string()
    } else {
        format!("{stands}: {}", journal.message)
    }
}

/// The gates that do not let a change through.
pub fn closed(gates: &[GateReport]) -> Vec<&GateReport> {
    gates.iter().filter(|g| g.state != GateState::Open).collect()
}

/// A gate in words.
pub fn gate(report: &GateReport) -> String {
    match report.opens_at {
        Some(at) => format!(
            "{}: {}, opens at {}",
            report.gate,
            report.message,
            at.strftime("%Y-%m-%dT%H:%M:%SZ")
        ),
        None => format!("{}: {}", report.gate, report.message),
    }
}

impl Board {
    /// For people.
    pub fn to_text(&self, now: Timestamp) -> String {
        if self.pipelines.is_empty() {
            return "no pipelines here: name another namespace with -n, or create a Pipeline\n"
                .to_owned();
        }
        let mut parts = Vec::new();
        for pipeline in &self.pipelines {
            parts.push(pipeline.to_text(now));
        }
        parts.join("\n")
    }
}

impl PipelineBoard {
    fn to_text(&self, now: Timestamp) -> String {
        let mut out = format!("pipeline {}\n", safe(&self.name));
        for trouble in &self.troubles {
            let _infallible = writeln!(out, "  ! {}", safe(trouble));
        }
        let mut rows = Vec::new();
        for cell in &self.cells {
            rows.extend(cell.rows(now));
        }
        out.push_str(&table(&["LANE", "ENVIRONMENT", "RUNS", "IMAGES", "HEALTH", "NEXT"], &rows));
        if !self.refused.is_empty() {
            out.push_str("refused candidates, newest first:\n");
        }
        for candidate in &self.refused {
            let _infallible = writeln!(out, "  {}", refused(candidate, now));
        }
        out
    }
}

impl Cell {
    /// One row, and one more for each further thing that is next.
    fn rows(&self, now: Timestamp) -> Vec<Vec<String>> {
        let dash = || "-".to_owned();
        let (release, images) = match &self.runs {
            Some(runs) => (safe(&runs.release), safe(&runs.images)),
            None => ("nothing yet".to_owned(), String::new()),
        };
        let health = match (self.health, self.since) {
            (Some(health), Some(since)) => {
                format!("{health:?} {}", length(now.duration_since(since)))
            }
            _ => dash(),
        };
        let mut next = self.next.iter().map(|n| safe(n));
        let mut rows = vec![vec![
            self.lane.to_string(),
            self.environment.to_string(),
            release,
            if images.is_empty() { dash() } else { images },
            health,
            next.next().unwrap_or_else(dash),
        ]];
        rows.extend(next.map(|n| {
            let mut row = vec![String::new(); 5];
            row.push(n);
            row
        }));
        rows
    }
}

/// A refused candidate in one line.
pub fn refused(candidate: &Candidate, now: Timestamp) -> String {
    let what = match (&candidate.image, &candidate.tag) {
        (Some(image), Some(tag)) => format!("image {image} (tag {tag})"),
        (Some(image), None) => format!("image {image}"),
        (None, _) => format!("commit {}", candidate.commit.short()),
    };
    safe(&format!(
        "{}: {what}, {}: {}",
        candidate.lane,
        when(candidate.at, now),
        candidate.reasons.join("; ")
    ))
}
