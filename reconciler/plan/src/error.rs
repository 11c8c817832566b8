//! Why there is no plan, in words for the one who wrote the files or the Sync.

use tidegate_ids::ObjectId;

/// Why nothing is applied or pruned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Git states nothing, and the target has objects.
    #[error(
        "the folder holds no objects, and {tracked} are deployed from it: an empty folder is taken for a mistake and nothing is deleted. Restore the folder or correct spec.source.path; to delete everything, leave one object (such as a ConfigMap), or delete the objects and then the Sync"
    )]
    Empty {
        /// How many objects the target has.
        tracked: usize,
    },
    /// Kinds that this Sync may not hold.
    #[error(
        "{} of a kind that spec.kinds does not allow (allowed: {}): move it to a Sync or lane that may hold it",
        list(objects),
        allowed.join(", ")
    )]
    Kinds {
        /// The objects.
        objects: Vec<ObjectId>,
        /// What is allowed.
        allowed: Vec<String>,
    },
    /// The record of what is deployed belongs to somebody else.
    #[error(
        "ConfigMap {namespace}/{name} records what {owner} deployed here, so this Sync may not: give the Sync another name, or delete the ConfigMap to let this Sync take over"
    )]
    Foreign {
        /// The target.
        namespace: String,
        /// The ConfigMap.
        name: String,
        /// Whose it is.
        owner: String,
    },
    /// The record of what is deployed cannot be read.
    #[error(
        "ConfigMap {namespace}/{name} should record what is deployed here and cannot be read ({why}): restore it, or delete it; then objects that are no longer in Git stay until somebody deletes them"
    )]
    Unreadable {
        /// The target.
        namespace: String,
        /// The ConfigMap.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A manifest that cannot be made a member.
    #[error(transparent)]
    Manifest(#[from] tidegate_manifest::Error),
}

/// Some objects as a phrase that starts a sentence.
fn list(objects: &[ObjectId]) -> String {
    const NAMED: usize = 5;
    let named: Vec<String> = objects.iter().take(NAMED).map(ToString::to_string).collect();
    let more = objects.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let verb = if objects.len() == 1 { "is" } else { "are" };
    format!("{}{more} {verb}", named.join(", "))
}
