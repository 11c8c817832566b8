//! Where something runs: the pure part of `tidegate where`.
//!
//! In the hour after an advisory the question is not "which images have it" but "where does it
//! run, since when, and what is already on its way". Images are known by verdicts of Releases and
//! by the statements that those verdicts counted; an image that nothing is known about is told as
//! such, since "not found" must never stand for "not looked at".

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use kube::ResourceExt as _;
use serde::Serialize;
use tidegate_ids::{Digest, EnvironmentName, LaneName};
use tidegate_provenance::{Finding, Inventory, Package, Scan};
use tidegate_schemas::{LanePaths, Pipeline, Release, ReleaseImage};

use crate::board::running;
use crate::objects::{Objects, journal, phase};
use crate::text::{length, safe, table};

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A vulnerability by its id, as scanners name it.
    Cve(String),
    /// A package, in any version or in one.
    Package {
        /// Its name.
        name: String,
        /// Its version.
        version: Option<String>,
    },
    /// An image by the beginning of its digest, in hexadecimal.
    Digest(String),
    /// Images that somebody signed, by a part of the name that a policy has for them.
    Signer(String),
}

impl Question {
    /// Whether statements about images have to be read for it; otherwise verdicts tell.
    pub fn needs_statements(&self) -> bool {
        matches!(self, Self::Cve(_) | Self::Package { .. })
    }
}

/// What statements say about one image.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// From its SBOMs; none where no SBOM is known.
    pub packages: Option<Inventory>,
    /// Its newest scan; none where no scan is known.
    pub scan: Option<Scan>,
    /// Why something could not be read.
    pub unreadable: Vec<String>,
}

impl Contents {
    /// Takes a scan in, if it is newer than the one that is known.
    pub fn newer(&mut self, scan: Scan) {
        if self.scan.as_ref().is_none_or(|known| known.finished < scan.finished) {
            self.scan = Some(scan);
        }
    }
}

/// Where something runs.
#[derive(Debug, Default, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Each place.
    pub places: Vec<Place>,
    /// Images that run and that it cannot be told of, one sentence each.
    pub unknown: Vec<String>,
}

/// One lane of one environment where it runs.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The namespace of the pipeline.
    pub namespace: String,
    /// The pipeline.
    pub pipeline: String,
    /// The environment.
    pub environment: EnvironmentName,
    /// The lane.
    pub lane: LaneName,
    /// The image, by repository and digest.
    pub image: String,
    /// The tag it was found by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The release that brought it.
    pub release: String,
    /// Since when this release runs there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What was found in it.
    pub found: Vec<String>,
    /// The first newer release of the lane that is known not to have it, and where that stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixed_by: Option<Fix>,
}

/// A release that does not have it.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Fix {
    /// The release.
    pub release: String,
    /// Where it stands, as `dev: Succeeded`, in the order of environments.
    pub stands: Vec<String>,
}

/// The images that it has to be known of: what runs, and what newer releases would run.
pub fn concerned(objects: &Objects) -> Vec<&ReleaseImage> {
    let mut found: BTreeMap<(&str, Digest), &ReleaseImage> = BTreeMap::new();
    for running in all_running(objects) {
        let releases = newer(objects, running.release).into_iter().chain([running.release]);
        for image in releases.flat_map(|release| &release.spec.images) {
            found.insert((&image.repository, image.digest), image);
        }
    }
    found.into_values().collect()
}

/// Where it runs, by the objects of one namespace and what is known of their images.
pub fn answer(
    question: &Question,
    objects: &Objects,
    contents: &BTreeMap<Digest, Contents>,
) -> Answer {
    let mut answer = Answer::default();
    for running in all_running(objects) {
        for image in &running.release.spec.images {
            match looked(question, image, contents.get(&image.digest)) {
                Looked::Absent => {}
                Looked::Unknown(why) => answer.unknown.extend(Some(why)),
                Looked::Present(found) => {
                    let fixed_by = fixed_by(question, objects, &running, image, contents);
                    answer.places.push(running.place(image, found, fixed_by));
                }
            }
        }
    }
    answer.unknown.sort();
    answer.unknown.dedup();
    answer
}

/// A release that runs in a lane of an environment.
struct Running<'a> {
    pipeline: &'a Pipeline,
    environment: &'a EnvironmentName,
    lane: &'a LaneName,
    since: Option<Timestamp>,
    release: &'a Release,
}

impl Running<'_> {
    fn place(&self, image: &ReleaseImage, found: Vec<String>, fixed_by: Option<Fix>) -> Place {
        Place {
            namespace: self.pipeline.namespace().unwrap_or_default(),
            pipeline: self.pipeline.name_any(),
            environment: self.environment.clone(),
            lane: self.lane.clone(),
            image: format!("{}@{}", image.repository, image.digest),
            tag: image.tag.clone(),
            release: self.release.name_any(),
            since: self.since,
            found,
            fixed_by,
        }
    }
}

fn all_running(objects: &Objects) -> Vec<Running<'_>> {
    let mut found = Vec::new();
    for pipeline in &objects.pipelines {
        for environment in &pipeline.spec.environments {
            for lane in pipeline.spec.lanes.iter().map(|lane| &lane.name) {
                found.extend(one_running(objects, pipeline, environment, lane));
            }
        }
    }
    found
}

fn one_running<'a>(
    objects: &'a Objects,
    pipeline: &'a Pipeline,
    environment: &'a EnvironmentName,
    lane: &'a LaneName,
) -> Option<Running<'a>> {
    let name = pipeline.name_any();
    let paths = LanePaths::new(&name, environment.as_str(), lane.as_str(), &pipeline.spec.path);
    let promotions = objects.promotions_of(&name, environment, lane);
    let sync = objects.sync(&paths.sync);
    let promotion = running(sync, &promotions)?;
    let release = objects.release(&promotion.spec.release)?;
    // Before it was healthy for the first time, it runs since it was applied.
    let applied = sync.and_then(|sync| Some(sync.status.as_ref()?.applied.as_ref()?.at));
    let since = journal(promotion).and_then(|j| j.applied_at).or(applied);
    Some(Running { pipeline, environment, lane, since, release })
}

/// Newer releases of the same lane, oldest first.
fn newer<'a>(objects: &'a Objects, than: &Release) -> Vec<&'a Release> {
    let mut newer: Vec<&Release> = objects
        .releases
        .iter()
        .filter(|r| r.spec.pipeline == than.spec.pipeline && r.spec.lane == than.spec.lane)
        .filter(|r| r.spec.sequence > than.spec.sequence)
        .collect();
    newer.sort_by_key(|r| r.spec.sequence);
    newer
}

fn fixed_by(
    question: &Question,
    objects: &Objects,
    running: &Running<'_>,
    image: &ReleaseImage,
    contents: &BTreeMap<Digest, Contents>,
) -> Option<Fix> {
    // A package as such is nothing to be mended.
    if matches!(question, Question::Package { version: None, .. }) {
        return None;
    }
    let free = |release: &&Release| {
        let mut same = release.spec.images.iter().filter(|i| i.repository == image.repository);
        same.all(|i| looked(question, i, contents.get(&i.digest)) == Looked::Absent)
    };
    let name = newer(objects, running.release).into_iter().find(free)?.name_any();
    let pipeline = running.pipeline.name_any();
    let stands = running.pipeline.spec.environments.iter().filter_map(|environment| {
        let promotions = objects.promotions_of(&pipeline, environment, running.lane);
        let newest = promotions.into_iter().rev().find(|p| p.spec.release == name)?;
        Some(format!("{environment}: {:?}", phase(newest)))
    });
    let stands = stands.collect();
    Some(Fix { release: name, stands })
}

#[derive(Debug, PartialEq, Eq)]
enum Looked {
    Present(Vec<String>),
    Absent,
    Unknown(String),
}

fn looked(question: &Question, image: &ReleaseImage, contents: Option<&Contents>) -> Looked {
    let found: Vec<String> = match question {
        Question::Digest(start) if image.digest.hex().starts_with(start) => {
            vec![format!("signed by {}", signers(image))]
        }
        Question::Digest(_) => Vec::new(),
        Question::Signer(name) => {
            image.verdict.signers.iter().filter(|s| s.contains(name)).cloned().collect()
        }
        Question::Package { name, version } => {
            let Some(Contents { packages: Some(inventory), .. }) = contents else {
                return unknown("SBOM", image, contents);
            };
            let wanted =
                |p: &&Package| p.name == *name && (version.is_none() || p.version == *version);
            let found = inventory.packages.iter().filter(wanted);
            found.map(|p| versioned(&p.name, p.version.as_deref())).collect()
        }
        Question::Cve(id) => {
            let Some(Contents { scan: Some(scan), .. }) = contents else {
                return unknown("scan", image, contents);
            };
            let found = scan.findings.iter().filter(|f| f.id.eq_ignore_ascii_case(id));
            found.map(sentence).collect()
        }
    };
    if found.is_empty() { Looked::Absent } else { Looked::Present(found) }
}

fn signers(image: &ReleaseImage) -> String {
    match (&image.verdict.exception, image.verdict.signers.as_slice()) {
        (Some(exception), _) => format!("nobody: an exception of {}", exception.owner),
        (None, []) => "nobody".to_owned(),
        (None, names) => names.join(" and "),
    }
}

fn sentence(finding: &Finding) -> String {
    let package = finding.package.as_deref().unwrap_or("a package that the scan does not name");
    let package = versioned(package, finding.version.as_deref());
    let fixed = match finding.fixed.as_slice() {
        [] => "no fixed version is known".to_owned(),
        versions => format!("fixed in {}", versions.join(" or ")),
    };
    format!("{:?} in {package}, {fixed}", finding.severity)
}

fn versioned(package: &str, version: Option<&str>) -> String {
    version.map_or_else(|| package.to_owned(), |version| format!("{package} {version}"))
}

fn unknown(what: &str, image: &ReleaseImage, contents: Option<&Contents>) -> Looked {
    let name = format!("{}@{}", image.repository, image.digest);
    let unreadable = contents.map(|c| c.unreadable.join("; ")).filter(|why| !why.is_empty());
    Looked::Unknown(match unreadable {
        Some(why) => format!("{name}: {why}"),
        None => format!(
            "{name}: no {what} of it was verified; ask for one under attestations of the \
             TrustPolicy that names it"
        ),
    })
}

impl Answer {
    /// Adds what another namespace has.
    pub fn take(&mut self, other: Self) {
        self.places.extend(other.places);
        self.unknown.extend(other.unknown);
    }

    /// For people.
    pub fn to_text(&self, now: Timestamp) -> String {
        let mut out = String::new();
        if self.places.is_empty() {
            out.push_str(if self.unknown.is_empty() {
                "It runs nowhere.\n"
            } else {
                "It was found nowhere, but not everything that runs could be looked at.\n"
            });
        } else {
            let rows: Vec<Vec<String>> = self.places.iter().map(|p| row(p, now)).collect();
            let headings =
                ["PIPELINE", "ENVIRONMENT", "LANE", "IMAGE", "SINCE", "FOUND", "FIXED BY"];
            out.push_str(&table(&headings, &rows));
        }
        if !self.unknown.is_empty() {
            out.push_str("\nNot known of:\n");
            for why in &self.unknown {
                let _infallible = writeln!(out, "  {}", safe(why));
            }
        }
        out
    }
}

fn row(place: &Place, now: Timestamp) -> Vec<String> {
    let (repository, digest) = place.image.split_once("@sha256:").unwrap_or((&place.image, ""));
    let short = repository.rsplit('/').next().unwrap_or_default();
    let tag = place.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest: String = digest.chars().take(10).collect();
    let fixed = match &place.fixed_by {
        None => "-".to_owned(),
        Some(fix) if fix.stands.is_empty() => format!("{}, nowhere yet", fix.release),
        Some(fix) => format!("{} ({})", fix.release, fix.stands.join(", ")),
    };
    vec![
        safe(&format!("{}/{}", place.namespace, place.pipeline)),
        place.environment.to_string(),
        place.lane.to_string(),
        safe(&format!("{short}{tag}@{digest}")),
        place.since.map_or_else(|| "not yet".to_owned(), |s| length(now.duration_since(s))),
        safe(&place.found.join("; ")),
        safe(&fixed),
    ]
}
