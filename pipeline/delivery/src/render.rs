//! From a source commit to rendered, pinned sets of one lane, with what is wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_ids::{Digest, EnvironmentName, GroupKind, LaneName};
use tidegate_manifest::{ImageFields, Manifest, Set};
use tidegate_render::{Entry, Files, Kind, RenderError, Renderer};
use tidegate_schemas::{Effective, EffectiveEnvironment, EffectiveLane, Finding};
use tidegate_source::Snapshot;

/// The sets of one lane, by environment; an environment without a folder has none.
pub type LaneSets = BTreeMap<EnvironmentName, Set>;

/// One lane as it came out of the source.
pub struct Rendered {
    /// Its sets.
    pub sets: LaneSets,
    /// What cannot be rendered or read, one sentence each.
    pub faults: Vec<String>,
    /// Whether a fault is the engine's and may pass, so that the candidate is not to blame.
    pub passing: bool,
}

/// A snapshot as the renderer reads it.
struct Tree(Snapshot);

impl Files for Tree {
    fn entry(&self, path: &str) -> Result<Entry, String> {
        match self.0.entry(path).map_err(|e| e.to_string())? {
            tidegate_source::Entry::File(bytes) => Ok(Entry::File(bytes)),
            tidegate_source::Entry::Directory(names) => Ok(Entry::Directory(names)),
            _ => Ok(Entry::Missing),
        }
    }
}

/// Renders one lane for every environment, as many at once as there are workers.
pub async fn lane(
    workers: &Renderer,
    snapshot: &Snapshot,
    effective: &Effective,
    lane: &LaneName,
    images: &BTreeMap<String, Digest>,
) -> Rendered {
    let mut rendered = Rendered { sets: BTreeMap::new(), faults: Vec::new(), passing: false };
    let environments = effective.environments.iter().filter_map(|e| Some((e, e.lane(lane)?)));
    let renders = environments.map(async |(environment, rules)| {
        let fields = fields(environment);
        (environment, one(workers, snapshot, rules, &environment.target, images, &fields).await)
    });
    for (environment, outcome) in futures::future::join_all(renders).await {
        match outcome {
            Ok(Some(set)) => {
                rendered.sets.insert(environment.name.clone(), set);
            }
            Ok(None) => {}
            Err((fault, passing)) => {
                rendered.faults.push(format!("{}: {fault}", environment.name));
                rendered.passing |= passing;
            }
        }
    }
    rendered
}

/// Where objects of an environment name images.
#[must_use]
pub fn fields(environment: &EffectiveEnvironment) -> ImageFields {
    let added = environment.image_fields.iter();
    ImageFields::with(
        added.map(|f| (GroupKind::new(f.group.clone(), f.kind.clone()), f.paths.clone())),
    )
}

async fn one(
    workers: &Renderer,
    snapshot: &Snapshot,
    lane: &EffectiveLane,
    target: &str,
    images: &BTreeMap<String, Digest>,
    fields: &ImageFields,
) -> Result<Option<Set>, (String, bool)> {
    let folder = &lane.paths.folder;
    let tree: Arc<dyn Files> = Arc::new(Tree(snapshot.clone()));
    let probe = tree.clone();
    let path = folder.clone();
    let there = tokio::task::spawn_blocking(move || probe.entry(&path))
        .await
        .map_err(|e| (e.to_string(), true))?
        .map_err(|e| (e, true))?;
    match there {
        Entry::Directory(_) => {}
        Entry::Missing => return Ok(None),
        Entry::File(_) => return Err((format!("{folder} is a file; a lane is a folder"), false)),
    }
    let rendered = workers
        .render(tree, folder, Kind::Auto)
        .await
        .map_err(|e: RenderError| (e.to_string(), !e.is_refusal()))?;
    set(rendered.objects, folder, target, images, fields).map(Some).map_err(|e| (e, false))
}

/// Objects to a set: placed in the target namespace, every followed image by digest.
fn set(
    objects: Vec<serde_json::Value>,
    folder: &str,
    target: &str,
    images: &BTreeMap<String, Digest>,
    fields: &ImageFields,
) -> Result<Set, String> {
    let mut manifests = Vec::with_capacity(objects.len());
    for object in objects {
        let mut manifest = Manifest::from_value(object, folder).map_err(|e| e.to_string())?;
        manifest.scope_to(target, |_| None).map_err(|e| e.to_string())?;
        manifests.push(manifest);
    }
    let mut set = Set::from_manifests(manifests).map_err(|e| e.to_string())?;
    // What stays without a digest is a policy finding, named there with its way out.
    set.pin(images, fields).map_err(|e| e.to_string())?;
    Ok(set)
}

/// What policy finds in one lane's sets, beside the other lanes' sets of the same environments.
#[must_use]
pub fn findings(
    lane: &LaneName,
    all: &BTreeMap<LaneName, Rendered>,
    effective: &Effective,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(own) = all.get(lane) else { return found };
    for (environment, set) in &own.sets {
        let Some(rules) = effective.environment(environment) else { continue };
        let others: Vec<(&LaneName, &Set)> = all
            .iter()
            .filter(|(name, _)| *name != lane)
            .filter_map(|(name, rendered)| Some((name, rendered.sets.get(environment)?)))
            .collect();
        found.extend(tidegate_policy::check(lane, &rules.target, set, &others, &fields(rules)));
    }
    found.sort();
    found.dedup();
    found
}
