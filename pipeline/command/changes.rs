//! What a promotion would change, object by object: a summary first, then the lines.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use similar::TextDiff;
use tidegate_ids::ObjectId;
use tidegate_manifest::{Manifest, Set};

use crate::text::{safe, safe_lines};

/// Lines of context around a change.
const CONTEXT: usize = 3;

/// The difference between two sets; equal objects are left out.
pub struct Changes<'a>(Vec<(&'a ObjectId, Option<&'a Manifest>, Option<&'a Manifest>)>);

impl<'a> Changes<'a> {
    /// From what runs to what would run.
    pub fn between(old: &'a Set, new: &'a Set) -> Self {
        let ids: BTreeSet<&ObjectId> = old.iter().chain(new.iter()).map(Manifest::id).collect();
        let pairs = ids.into_iter().map(|id| (id, old.get(id), new.get(id)));
        Self(
            pairs
                .filter(|(_, old, new)| old.map(Manifest::digest) != new.map(Manifest::digest))
                .collect(),
        )
    }

    /// How many objects are created, changed and deleted, and which.
    pub fn summary(&self) -> String {
        let named = |wanted: &dyn Fn(bool, bool) -> bool| -> Vec<String> {
            self.0
                .iter()
                .filter(|(_, old, new)| wanted(old.is_some(), new.is_some()))
                .map(|(id, ..)| safe(&id.to_string()))
                .collect()
        };
        let parts = [
            ("created", named(&|old, new| !old && new)),
            ("changed", named(&|old, new| old && new)),
            ("deleted", named(&|old, new| old && !new)),
        ];
        let mut out = String::new();
        for (word, names) in parts {
            if !names.is_empty() {
                let _infallible = writeln!(out, "{} {word}: {}", names.len(), names.join(", "));
            }
        }
        if out.is_empty() { "nothing changes\n".to_owned() } else { out }
    }

    /// A unified diff of each object.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for (id, old, new) in &self.0 {
            let name = safe(&id.to_string());
            if id.group_kind.kind == "Secret" && id.group_kind.group.is_empty() {
                let _infallible = writeln!(out, "\n{name}: a Secret, its content is not shown");
                continue;
            }
            let yaml = |m: Option<&Manifest>| m.map(Manifest::to_yaml).unwrap_or_default();
            let (before, after) = (safe_lines(&yaml(*old)), safe_lines(&yaml(*new)));
            let side = |present: bool| if present { name.as_str() } else { "nothing" };
            let diff = TextDiff::from_lines(&before, &after);
            let text = diff
                .unified_diff()
                .context_radius(CONTEXT)
                .header(side(old.is_some()), side(new.is_some()))
                .to_string();
            let _infallible = write!(out, "\n{text}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(yaml: &str) -> Set {
        let manifests = tidegate_manifest::manifests(yaml.as_bytes(), "test").unwrap();
        Set::from_manifests(manifests).unwrap()
    }

    #[test]
    fn a_change_is_summed_up_and_shown_line_by_line_without_secrets() {
        let old = set(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1', y: keep}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: gone}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: old}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: same}\n",
        );
        let new = set(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: \"2\\e[2J\", y: keep}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: new}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: new}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: same}\n",
        );
        let changes = Changes::between(&old, &new);
        insta::assert_snapshot!(format!("{}{}", changes.summary(), changes.to_text()));
        assert_eq!(Changes::between(&old, &old).summary(), "nothing changes\n");
    }
}
