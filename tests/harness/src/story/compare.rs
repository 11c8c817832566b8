//! Whether what runs is what Git says, object by object, asked of the API server.
//!
//! An object of the deploy branch runs when applying it once more would change nothing; the API
//! server itself says so in a dry run. And nothing may run beside: every object of those kinds in
//! the target is on a deploy branch, but for what Kubernetes and `tidegate bootstrap` make.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::Failed;
use super::stage::{LANES, Stage, branch, documents, until};

/// What a cluster's own controllers may still be writing.
const SETTLED: Duration = Duration::from_secs(20);

impl Stage {
    /// Everything that an environment's lane runs is what its deploy branch says.
    ///
    /// # Errors
    /// The first object that is not.
    pub fn runs_what_git_says(&self, environment: &str, lane: &str) -> Result<(), Failed> {
        let branch = branch(environment, lane);
        let what = format!("what runs equals {branch} object by object");
        until(&what, SETTLED, || {
            let stated = self.stated(&branch)?;
            if stated.is_empty() {
                return Ok(Err("the branch states nothing".to_owned()));
            }
            for object in &stated {
                if let Some(difference) = self.differs(object)? {
                    return Ok(Err(difference));
                }
            }
            Ok(Ok(()))
        })
    }

    /// No object of a kind that deploy branches state runs in a target without being stated.
    ///
    /// # Errors
    /// The first one.
    pub fn runs_nothing_else(&self, environment: &str) -> Result<(), Failed> {
        let mut stated = BTreeSet::new();
        let mut collections = BTreeMap::new();
        for lane in LANES {
            for object in self.stated(&branch(environment, lane))? {
                stated.insert(self.cluster.path_of(&object)?);
                if object["metadata"]["namespace"].is_string() {
                    collections.insert(self.cluster.collection_of(&object)?, object);
                }
            }
        }
        for collection in collections.keys() {
            for object in self.cluster.list(collection)? {
                let path = format!("{collection}/{}", super::name(&object));
                if !stated.contains(&path) && !of_others(&object) {
                    return Err(Failed(format!("{path} runs, and no deploy branch states it")));
                }
            }
        }
        Ok(())
    }

    /// The objects that a deploy branch states now.
    pub(crate) fn stated(&self, branch: &str) -> Result<Vec<Value>, Failed> {
        let mut objects = Vec::new();
        for text in self.manifests(branch)?.into_values() {
            objects.extend(documents(&text)?);
        }
        Ok(objects)
    }

    /// The manifests of a commit or branch, by path.
    pub(crate) fn manifests(&self, revision: &str) -> Result<BTreeMap<String, String>, Failed> {
        let paths = self.git(&["ls-tree", "-r", "--name-only", revision, "manifests/"])?;
        let mut files = BTreeMap::new();
        for path in paths.lines() {
            files.insert(path.to_owned(), self.git(&["show", &format!("{revision}:{path}")])?);
        }
        Ok(files)
    }

    fn differs(&self, object: &Value) -> Result<Option<String>, Failed> {
        let path = self.cluster.path_of(object)?;
        let Some(live) = self.cluster.find(&path)? else {
            return Ok(Some(format!("{path} is not there")));
        };
        let (live, wanted) = (content(live), content(self.cluster.dry_run(object)?));
        Ok((live != wanted).then(|| format!("{path} is\n{live}\nand should be\n{wanted}")))
    }

    /// Every object of a target that deploy branches state, as it is: to see that nothing changed.
    pub(crate) fn live(&self, environment: &str) -> Result<BTreeMap<String, Value>, Failed> {
        let mut live = BTreeMap::new();
        for lane in LANES {
            for object in self.stated(&branch(environment, lane))? {
                let path = self.cluster.path_of(&object)?;
                if let Some(found) = self.cluster.find(&path)? {
                    live.insert(path, content(found));
                }
            }
        }
        Ok(live)
    }
}

/// An object without what the API server and controllers write on their own.
fn content(mut object: Value) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(field);
        }
    }
    object
}

/// Whether Kubernetes or `tidegate bootstrap` made it.
fn of_others(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let owned = metadata["ownerReferences"].as_array().is_some_and(|owners| !owners.is_empty());
    let name = super::name(object);
    owned
        || matches!(name, "kube-root-ca.crt" | "default")
        || name.starts_with("tidegate-")
        || metadata["labels"]["app.kubernetes.io/part-of"] == "tidegate"
}
