//! What became of an image on its way to an environment: the answer of `tidegate wait`.
//!
//! Pure, so that every answer that a pipeline of somebody's CI acts on has a case in a test.

use kube::ResourceExt as _;
use tidegate_ids::{Digest, EnvironmentName};
use tidegate_manifest::ImageReference;
use tidegate_schemas::{GateName, Phase, Pipeline, Promotion, Release, condition};

use crate::board::{closed, gate, standing};
use crate::failure::Code;
use crate::objects::{Objects, journal, order, phase};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Awaited {
    /// It runs there.
    Applied(String),
    /// It will not, for now, and waiting does not help.
    Ended(Code, String),
    /// It waits for people only.
    People(String),
    /// It is on its way; this is what it waits for.
    OnItsWay(String),
}

/// What is awaited.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The image's canonical repository.
    pub repository: String,
    /// Its digest.
    pub digest: Digest,
    /// Where.
    pub environment: EnvironmentName,
    /// Only in this pipeline.
    pub pipeline: Option<String>,
}

/// The image as it is compared, whatever way it is written.
pub fn canonical(repository: &str) -> String {
    repository.parse::<ImageReference>().map_or_else(|_| repository.to_owned(), |r| r.repository())
}

/// What became of it.
pub fn awaited(wanted: &Wanted, objects: &Objects) -> Awaited {
    let following: Vec<&Pipeline> = objects
        .pipelines
        .iter()
        .filter(|p| wanted.pipeline.as_ref().is_none_or(|name| p.name_any() == *name))
        .filter(|p| {
            p.spec.images.iter().any(|i| canonical(&i.repository) == wanted.repository)
                || objects
                    .releases
                    .iter()
                    .any(|r| r.spec.pipeline == *p.name_any() && holds(r, wanted))
        })
        .collect();
    let Some(pipeline) =
        following.iter().find(|p| p.spec.environments.contains(&wanted.environment))
    else {
        let why = if following.is_empty() {
            format!(
                "no pipeline here follows {}: name its namespace with -n, or follow the image in spec.images of a Pipeline",
                wanted.repository
            )
        } else {
            format!(
                "no pipeline that follows {} has the environment {}",
                wanted.repository, wanted.environment
            )
        };
        return Awaited::Ended(Code::Failed, why);
    };
    let releases: Vec<&Release> = objects
        .releases
        .iter()
        .filter(|r| r.spec.pipeline == *pipeline.name_any() && holds(r, wanted))
        .collect();
    if releases.is_empty() {
        no_release(wanted, pipeline)
    } else {
        travelling(wanted, pipeline, &releases, objects)
    }
}

fn holds(release: &Release, wanted: &Wanted) -> bool {
    release
        .spec
        .images
        .iter()
        .any(|i| canonical(&i.repository) == wanted.repository && i.digest == wanted.digest)
}

fn no_release(wanted: &Wanted, pipeline: &Pipeline) -> Awaited {
    let status = pipeline.status.clone().unwrap_or_default();
    let refused =
        status.refused.iter().rev().find(|candidate| {
            candidate.image.as_ref().and_then(|i| i.parse::<ImageReference>().ok()).is_some_and(
                |i| i.repository() == wanted.repository && i.digest == Some(wanted.digest),
            )
        });
    if let Some(candidate) = refused {
        return Awaited::Ended(Code::Refused, format!("refused: {}", candidate.reasons.join("; ")));
    }
    let trouble = ["Source", "Images", "Ready"]
        .iter()
        .filter_map(|kind| condition(&status.conditions, kind))
        .find(|c| c.status == "False")
        .map_or_else(String::new, |c| format!("; {}: {}", c.type_, c.message));
    let chosen = status.images.iter().find(|i| canonical(&i.repository) == wanted.repository);
    let other = chosen.filter(|i| i.digest != wanted.digest).map_or_else(String::new, |i| {
        format!(
            "; the version followed now is {} ({})",
            i.tag.as_deref().unwrap_or("untagged"),
            i.digest
        )
    });
    Awaited::OnItsWay(format!(
        "no release of {} has this image yet{other}{trouble}",
        pipeline.name_any()
    ))
}

fn travelling(
    wanted: &Wanted,
    pipeline: &Pipeline,
    releases: &[&Release],
    objects: &Objects,
) -> Awaited {
    let ours = |p: &&Promotion| {
        p.spec.pipeline == *pipeline.name_any()
            && releases.iter().any(|r| r.name_any() == p.spec.release)
    };
    let mut promotions: Vec<&Promotion> = objects.promotions.iter().filter(ours).collect();
    promotions.sort_by_key(|p| order(p));
    let there: Vec<&Promotion> =
        promotions.iter().filter(|p| p.spec.environment == wanted.environment).copied().collect();
    let done = there.iter().rev().find(|p| matches!(phase(p), Phase::Watching | Phase::Succeeded));
    let open = there.iter().rev().find(|p| !phase(p).is_final());
    if let Some(promotion) = done {
        // What came later to the same place counts: it may have regressed since.
        let later = there.iter().rfind(|p| order(p) > order(promotion));
        if later.is_none_or(|p| phase(p) != Phase::Regressed) {
            return Awaited::Applied(format!(
                "applied by {}, {}",
                promotion.name_any(),
                standing(promotion)
            ));
        }
    }
    if let Some(held) = held(wanted, releases, objects) {
        return Awaited::Applied(format!(
            "its content already runs there since {}",
            held.name_any()
        ));
    }
    if let Some(promotion) = open {
        return waiting(promotion);
    }
    // That something newer took its place says less than how it went before that.
    let went = there.iter().rev().find(|p| phase(p) != Phase::Superseded);
    if let Some(promotion) = went.or(there.last()) {
        return ended(promotion);
    }
    not_arrived(wanted, pipeline, releases, &promotions)
}

/// Content that is equal to what runs makes no promotion of its own.
fn held<'a>(wanted: &Wanted, releases: &[&Release], objects: &'a Objects) -> Option<&'a Promotion> {
    releases.iter().find_map(|release| {
        let content = release.spec.rendered.get(&wanted.environment)?.manifests;
        let all = objects.promotions_of(
            release.spec.pipeline.as_str(),
            &wanted.environment,
            &release.spec.lane,
        );
        let last =
            all.into_iter().rev().find(|p| journal(p).is_some_and(|j| j.commit.is_some()))?;
        let settled = matches!(phase(last), Phase::Watching | Phase::Succeeded);
        (settled && journal(last).and_then(|j| j.manifests) == Some(content)).then_some(last)
    })
}

fn waiting(promotion: &Promotion) -> Awaited {
    let words = format!("{}: {}", promotion.name_any(), standing(promotion));
    let gates = journal(promotion).map(|j| closed(&j.gates)).unwrap_or_default();
    let people = phase(promotion) == Phase::Waiting
        && !gates.is_empty()
        && gates.iter().all(|g| g.gate == GateName::Approvals);
    if people { Awaited::People(words) } else { Awaited::OnItsWay(words) }
}

fn ended(promotion: &Promotion) -> Awaited {
    let code = match phase(promotion) {
        Phase::Refused | Phase::Rejected => Code::Refused,
        Phase::Superseded => Code::Superseded,
        Phase::Regressed => Code::Regressed,
        _ => Code::Failed,
    };
    let gates = journal(promotion).map(|j| closed(&j.gates)).unwrap_or_default();
    let why = gates.iter().map(|g| gate(g)).collect::<Vec<_>>().join("; ");
    let why =
        if why.is_empty() || code != Code::Refused { String::new() } else { format!(" ({why})") };
    Awaited::Ended(code, format!("{}: {}{why}", promotion.name_any(), standing(promotion)))
}

fn not_arrived(
    wanted: &Wanted,
    pipeline: &Pipeline,
    releases: &[&Release],
    promotions: &[&Promotion],
) -> Awaited {
    let names: Vec<String> = releases.iter().map(|r| r.name_any()).collect();
    let quarantine =
        releases.iter().filter_map(|r| r.status.as_ref()).find_map(|s| s.quarantined.last());
    if let Some(entry) = quarantine {
        return Awaited::Ended(
            Code::Regressed,
            format!(
                "it regressed in {} and does not go on from there: {}",
                entry.environment, entry.reason
            ),
        );
    }
    let current = pipeline.status.as_ref().map(|s| s.releases.clone()).unwrap_or_default();
    let lane = &releases[0].spec.lane;
    if let Some(newer) = current.get(lane).filter(|name| !names.contains(name)) {
        return Awaited::Ended(
            Code::Superseded,
            format!(
                "{newer} took the place of {} before it came to {}",
                names.join(", "),
                wanted.environment
            ),
        );
    }
    match promotions.last() {
        Some(last)
            if matches!(phase(last), Phase::Refused | Phase::Rejected | Phase::NotApplied) =>
        {
            ended(last)
        }
        Some(last) => Awaited::OnItsWay(format!(
            "{} is in {}: {}",
            last.spec.release,
            last.spec.environment,
            standing(last)
        )),
        None => {
            Awaited::OnItsWay(format!("{} was made and is not on its way yet", names.join(", ")))
        }
    }
}
