//! Reads YAML as Kubernetes' own tools do (`sigs.k8s.io/yaml`): `yes` and `on`
//! are booleans, `0777` is octal, `<<` merges, a key twice is an error.
//!
//! Files come from people and from repositories that others can push to, so
//! every quantity is bounded: size, depth, nodes, and what aliases expand to.

use crate::{Error, Manifest};
use serde_json::Value;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 2_000_000,
            max_nodes: 1_000_000,
            max_documents: 10_000,
            max_depth: 128,
            max_aliases: 10_000,
            max_total_scalar_bytes: 16 * 1024 * 1024,
            max_recorded_anchor_bytes: 16 * 1024 * 1024,
            max_total_comment_bytes: MAX_FILE_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 200_000,
            max_replay_stack_depth: 16,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Merge,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        legacy_octal_numbers: true,
        with_snippet: false,
        emit_comments: false,
    }
}

/// The values of every document of a file, in order; empty documents are left out.
///
/// # Errors
/// When the file is too large, is not UTF-8, or is not YAML within the limits.
pub fn documents(bytes: &[u8], origin: &str) -> Result<Vec<Value>, Error> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Error::TooLarge {
            origin: origin.to_owned(),
            bytes: bytes.len(),
            limit: MAX_FILE_BYTES,
        });
    }
    let yaml = |why: String| Error::Yaml { origin: origin.to_owned(), why };
    let text = std::str::from_utf8(bytes)
        .map_err(|error| yaml(format!("it is not UTF-8 text ({error}): save it as UTF-8")))?;
    let values: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options())
        .map_err(|error| yaml(error.to_string()))?;
    Ok(values.into_iter().filter(|value| !value.is_null()).collect())
}

/// The objects of a file. A `List` (`v1`, or one of any kind that ends so and has
/// `items`) is taken apart, as kubectl does.
///
/// # Errors
/// As [`documents`], and when a document is no object that can be stated.
pub fn manifests(bytes: &[u8], origin: &str) -> Result<Vec<Manifest>, Error> {
    let mut found = Vec::new();
    for value in documents(bytes, origin)? {
        let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
        match value.get("items").and_then(Value::as_array) {
            Some(items) if kind.ends_with("List") => {
                for item in items {
                    found.push(Manifest::from_value(item.clone(), origin)?);
                }
            }
            _ => found.push(Manifest::from_value(value, origin)?),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(text: &str) -> Value {
        let mut values = documents(text.as_bytes(), "a.yaml").unwrap();
        assert_eq!(values.len(), 1, "{text}");
        values.remove(0)
    }

    fn refusal(text: &str) -> String {
        documents(text.as_bytes(), "a.yaml").unwrap_err().to_string()
    }

    #[test]
    fn scalars_are_read_as_kubectl_reads_them() {
        for (text, value) in [
            ("yes", json!(true)),
            ("on", json!(true)),
            ("Off", json!(false)),
            ("0777", json!(511)),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("0", json!(0)),
            ("-7", json!(-7)),
            ("1.50", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("~", json!(null)),
            ("null", json!(null)),
            ("", json!(null)),
            ("'yes'", json!("yes")),
            ("\"0777\"", json!("0777")),
            ("2026-11-20", json!("2026-11-20")),
            ("10:30:00", json!("10:30:00")),
            ("500m", json!("500m")),
            ("1.2.3", json!("1.2.3")),
            ("18446744073709551615", json!(u64::MAX)),
        ] {
            assert_eq!(one(&format!("v: {text}\n"))["v"], value, "{text:?}");
        }
    }

    #[test]
    fn merges_and_aliases_are_expanded() {
        let text = "base: &b {cpu: 1}\nweb:\n  <<: *b\n  memory: 2\ncron: *b\n";
        assert_eq!(
            one(text),
            json!({"base": {"cpu": 1}, "web": {"cpu": 1, "memory": 2}, "cron": {"cpu": 1}})
        );
    }

    #[test]
    fn json_and_empty_documents_are_yaml() {
        let values = documents(b"---\n---\n{\"a\": [1, \"b\"]}\n---\n# nothing\n", "a").unwrap();
        assert_eq!(values, [json!({"a": [1, "b"]})]);
        assert!(documents(b"", "a").unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_told_with_the_file_and_the_place() {
        for (text, says) in [
            ("a: 1\na: 2\n", "duplicate"),
            ("a: [1\n", "line"),
            ("a: b: c\n", "line"),
            ("a: .inf\n", ""),
        ] {
            let message = refusal(text);
            assert!(message.starts_with("reading a.yaml: "), "{message}");
            assert!(message.to_lowercase().contains(says), "{message} does not say {says}");
        }
        let message = documents(&[0xff, 0xfe, 0x00], "a.yaml").unwrap_err().to_string();
        assert!(message.contains("UTF-8"), "{message}");
    }

    #[test]
    fn bombs_are_refused() {
        use std::fmt::Write as _;
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for n in 1..9 {
            let alias = format!("*a{}", n - 1);
            writeln!(bomb, "a{n}: &a{n} [{}]", vec![alias; 10].join(",")).unwrap();
        }
        refusal(&bomb);
        let wide = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 90].join(","));
        refusal(&wide);
        refusal(&format!("a: {}{}", "[".repeat(5000), "]".repeat(5000)));
        let deep: String = (0..3000).map(|n| " ".repeat(n) + "a:\n").collect();
        refusal(&deep);
        let large = vec![b'#'; MAX_FILE_BYTES + 1];
        assert!(matches!(documents(&large, "a"), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn a_list_is_taken_apart() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: a}}\n- {apiVersion: v1, kind: Service, metadata: {name: b}}\n";
        let names: Vec<String> = manifests(text.as_bytes(), "a")
            .unwrap()
            .into_iter()
            .map(|m| m.id().name.clone())
            .collect();
        assert_eq!(names, ["a", "b"]);
    }
}
