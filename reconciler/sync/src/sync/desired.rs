//! What Git states: rendered, placed into the target, checked, made members of the set.

use std::collections::BTreeSet;

use tidegate_ids::{CommitId, GroupKind};
use tidegate_manifest::{Manifest, Set};
use tidegate_plan::{Parent, as_member, check_kinds};
use tidegate_render::{Closure, Kind};
use tidegate_schemas::Render;
use tidegate_source::Snapshot;

use super::actor::Actor;
use super::state::{Desired, Failure};

impl Actor {
    /// Makes `desired` that of the commit. Nothing is rendered when nothing that was read changed.
    pub(super) async fn prepare(&mut self, commit: &CommitId) -> Result<(), Failure> {
        let generation = self.state.object.metadata.generation;
        let current = self.state.desired.as_ref().filter(|d| d.generation == generation);
        if current.is_some_and(|d| d.commit == *commit) {
            return Ok(());
        }
        let Some(mirror) = self.state.mirror.clone() else { return Ok(()) };
        let reads = current.map(|desired| desired.reads.clone());
        let path = self.state.object.spec.source.path.clone();
        let wanted = commit.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let snapshot = mirror.snapshot(&wanted)?;
            let tree = snapshot.tree_id(&path)?;
            let paths = reads.into_iter().flatten().map(|(path, _)| path);
            Ok::<_, tidegate_source::Error>((ids(&snapshot, paths)?, tree, snapshot))
        });
        let (ids, tree, snapshot) = looked
            .await
            .map_err(|error| Failure::cluster("SourceUnreadable", &error))?
            .map_err(|error| Failure::cluster("SourceUnreadable", &error))?;
        let spec = &self.state.object.spec.source;
        let Some(tree) = tree else {
            let message = format!(
                "commit {} has no folder {:?}; nothing is changed. Correct spec.source.path, or bring the folder back",
                commit.short(),
                spec.path
            );
            return Err(Failure::content("FolderMissing", &message));
        };
        if let Some(desired) = self.state.desired.as_mut()
            && desired.generation == generation
            && desired.reads == ids
        {
            desired.commit = commit.clone();
            desired.tree = tree;
            return Ok(());
        }
        let (set, closure) = self.render(snapshot.clone()).await?;
        let folder = spec.path.clone();
        let reads = tokio::task::spawn_blocking(move || depends_on(&snapshot, &folder, &closure))
            .await
            .map_err(|error| Failure::cluster("SourceUnreadable", &error))?
            .map_err(|error| Failure::cluster("SourceUnreadable", &error))?;
        self.state.desired = Some(Desired { commit: commit.clone(), generation, tree, reads, set });
        Ok(())
    }

    async fn render(&self, snapshot: Snapshot) -> Result<(Set, Closure), Failure> {
        let spec = &self.state.object.spec;
        let kind = match spec.render {
            Render::Auto => Kind::Auto,
            Render::Plain => Kind::Plain,
            Render::Kustomize => Kind::Kustomize,
        };
        let origin = format!("{} at {}", spec.source.path, snapshot.commit().short());
        let rendered = self
            .engine
            .renderer
            .render(crate::files(snapshot), &spec.source.path, kind)
            .await
            .map_err(|error| {
                if error.is_refusal() {
                    Failure::content("RenderRefused", &error)
                } else {
                    Failure::cluster("RenderFailed", &error)
                }
            })?;
        let invalid = |error: tidegate_manifest::Error| Failure::content("ManifestInvalid", &error);
        let mut manifests = Vec::with_capacity(rendered.objects.len());
        for object in rendered.objects {
            manifests.push(Manifest::from_value(object, &origin).map_err(invalid)?);
        }
        let kinds: BTreeSet<GroupKind> =
            manifests.iter().map(|m| m.id().group_kind.clone()).collect();
        let scopes = self.scopes(kinds).await?;
        let applyset = self.new_parent().applyset();
        let mut members = Vec::with_capacity(manifests.len());
        for mut manifest in manifests {
            let known = |kind: &GroupKind| scopes.iter().find(|(k, _)| k == kind).map(|(_, n)| *n);
            manifest.scope_to(&spec.target.namespace, known).map_err(invalid)?;
            members.push(as_member(manifest, &applyset)?);
        }
        let set = Set::from_manifests(members).map_err(invalid)?;
        check_kinds(&set, &spec.kinds)?;
        Ok((set, rendered.closure))
    }

    /// Which kinds are namespaced; a kind that is not served is left out, since the set itself may
    /// bring its definition.
    async fn scopes(&self, kinds: BTreeSet<GroupKind>) -> Result<Vec<(GroupKind, bool)>, Failure> {
        let mut scopes = Vec::with_capacity(kinds.len());
        for kind in kinds {
            match self.engine.cluster.resource(&kind).await {
                Ok(resource) => scopes.push((kind, resource.namespaced)),
                Err(tidegate_cluster::Error::UnknownKind { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(scopes)
    }

    /// The record of what is deployed, empty.
    pub(super) fn new_parent(&self) -> Parent {
        let target = &self.state.object.spec.target.namespace;
        Parent::new(target, &self.namespace, &self.name, &self.engine.hub)
    }
}

/// What a render depends on: the folder as a whole, and each path outside of it.
fn depends_on(
    snapshot: &Snapshot,
    folder: &str,
    closure: &Closure,
) -> Result<Vec<(String, Option<String>)>, tidegate_source::Error> {
    let folder = folder.trim_matches('/');
    let below = format!("{folder}/");
    let outside =
        |path: &&String| !folder.is_empty() && path.as_str() != folder && !path.starts_with(&below);
    let all = closure.files.iter().chain(&closure.missing).chain(&closure.listed);
    let paths: BTreeSet<String> = all.filter(outside).cloned().collect();
    ids(snapshot, std::iter::once(folder.to_owned()).chain(paths))
}

fn ids(
    snapshot: &Snapshot,
    paths: impl Iterator<Item = String>,
) -> Result<Vec<(String, Option<String>)>, tidegate_source::Error> {
    paths.map(|path| Ok((path.clone(), snapshot.tree_id(&path)?))).collect()
}
