//! Writes YAML: one value, one text, and every parser reads that value back.
//!
//! People review these bytes, the environment's key signs them, and other tools
//! may apply them, so the form is plain and fixed: keys sorted, two spaces, lists
//! flush with their key, never folded. A string stays unquoted only where no
//! parser, YAML 1.1 (booleans, octal, sexagesimal, dates) or 1.2, takes it for
//! anything else; several lines become a literal block where that is exact.
//! Characters that a reviewer could not see (controls, direction marks) are
//! escaped.

use serde_json::{Map, Number, Value};
use std::fmt::Write as _;

/// Words that some parser reads as a boolean, null or number.
const RESERVED: [&str; 11] =
    ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"];

/// The value as a YAML document.
#[must_use]
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(entries) if !entries.is_empty() => mapping(&mut out, entries, 0),
        Value::Array(items) if !items.is_empty() => sequence(&mut out, items, 0),
        Value::String(text) => out.push_str(&double_quoted(text)),
        other => out.push_str(&flow(other)),
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// Entries; the first is written where the text stands, the others at the indent.
fn mapping(out: &mut String, entries: &Map<String, Value>, indent: usize) {
    let mut sorted: Vec<(&String, &Value)> = entries.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    for (at, (name, value)) in sorted.into_iter().enumerate() {
        if at > 0 {
            spaces(out, indent);
        }
        out.push_str(&key(name));
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                spaces(out, indent + 2);
                mapping(out, inner, indent + 2);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                spaces(out, indent);
                sequence(out, items, indent);
            }
            other => leaf(out, other, indent + 2),
        }
    }
}

/// Items; the first is written where the text stands, the others at the indent.
fn sequence(out: &mut String, items: &[Value], indent: usize) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            spaces(out, indent);
        }
        out.push('-');
        match item {
            Value::Object(inner) if !inner.is_empty() => {
                out.push(' ');
                mapping(out, inner, indent + 2);
            }
            Value::Array(inner) if !inner.is_empty() => {
                out.push(' ');
                sequence(out, inner, indent + 2);
            }
            other => leaf(out, other, indent + 2),
        }
    }
}

fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

/// A space, a value without children, and the end of the line.
fn leaf(out: &mut String, value: &Value, indent: usize) {
    out.push(' ');
    match value {
        Value::String(text) if is_literal(text) => literal(out, text, indent),
        other => {
            out.push_str(&flow(other));
            out.push('\n');
        }
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(n) => number(n),
        Value::String(text) => key(text),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
    }
}

/// A mapping key or a string on one line.
pub(crate) fn key(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { double_quoted(text) }
}

/// YAML 1.1 takes a number for a float only with a dot and a signed exponent.
fn number(n: &Number) -> String {
    let text = n.to_string();
    match text.split_once('e') {
        None => text,
        Some((mantissa, exponent)) => {
            let dot = if mantissa.contains('.') { "" } else { ".0" };
            let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
            format!("{mantissa}{dot}e{sign}{exponent}")
        }
    }
}

/// Whether every parser reads these characters, unquoted, as this string.
fn is_plain(text: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_-./ @+=()<>;$^~*&!|?'\",:#".contains(c);
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_')
        && !text.ends_with([' ', ':'])
        && text.chars().all(safe)
        && !text.contains(": ")
        && !text.contains(" #")
        && !RESERVED.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether a character is written as it is, in quotes and in blocks.
fn is_visible(c: char) -> bool {
    !matches!(
        c,
        '\0'..='\x1f'
            | '\x7f'..='\u{a0}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{ffff}'
    )
}

/// Whether a literal block states exactly this text for every parser.
fn is_literal(text: &str) -> bool {
    let line = |line: &str| {
        line.is_empty()
            || (!line.starts_with('\t')
                && !line.trim().is_empty()
                && line.chars().all(|c| c == '\t' || is_visible(c)))
    };
    text.contains('\n') && !text.starts_with([' ', '\n']) && text.split('\n').all(line)
}

fn literal(out: &mut String, text: &str, indent: usize) {
    let body = text.trim_end_matches('\n');
    out.push_str(match text.len() - body.len() {
        0 => "|-\n",
        1 => "|\n",
        _ => "|+\n",
    });
    let lines = if body.len() == text.len() { text } else { &text[..text.len() - 1] };
    for line in lines.split('\n') {
        if !line.is_empty() {
            spaces(out, indent);
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_visible(c) => out.push(c),
            c => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::documents;
    use proptest::prelude::*;
    use serde_json::json;

    fn read_back(text: &str) -> Value {
        let mut values = documents(text.as_bytes(), "written.yaml").unwrap_or_else(|error| {
            panic!("{error}\n{text}");
        });
        assert_eq!(values.len(), 1, "{text}");
        values.remove(0)
    }

    #[test]
    fn a_deployment_is_written_as_people_write_it() {
        let value = json!({
            "kind": "Deployment", "apiVersion": "apps/v1",
            "metadata": {"name": "web", "labels": {}},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [
                {"name": "odoo", "image": "registry.example.com/odoo@sha256:00",
                 "args": ["--workers", "2", "-c", "echo a\nexit 0\n"]}]}}}
        });
        let text = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  labels: {}
  name: web
spec:
  replicas: 2
  template:
    spec:
      containers:
      - args:
        - \"--workers\"
        - \"2\"
        - \"-c\"
        - |
          echo a
          exit 0
        image: registry.example.com/odoo@sha256:00
        name: odoo
";
        assert_eq!(to_yaml(&value), text);
        assert_eq!(read_back(text), value);
    }

    #[test]
    fn strings_that_some_parser_takes_for_something_else_are_quoted() {
        for text in [
            "",
            "yes",
            "No",
            "ON",
            "off",
            "y",
            "N",
            "true",
            "~",
            "null",
            "Null",
            "0777",
            "0o17",
            "1_000",
            "12:30:45",
            "2026-11-20",
            "1e3",
            ".inf",
            ".5",
            "+1",
            "-",
            "---",
            "...",
            "0x1f",
            "a: b",
            "a #b",
            "#a",
            "*a",
            "&a",
            "!a",
            "@a",
            "`a",
            "%a",
            "a:",
            " a",
            "a ",
            "[",
            "{",
            "- a",
            "? a",
            "|",
            ">",
            "'a",
            "\"a\"",
            "=",
            "<<",
            "NaN",
            "Inf",
            "1.2.3",
            "500m",
        ] {
            assert!(key(text).starts_with('"'), "{text:?} was not quoted");
        }
        for text in ["web", "apps/v1", "registry.example.com:5000/a:1@x", "a b", "/data", "it's"] {
            assert_eq!(key(text), text);
        }
    }

    #[test]
    fn lines_become_literal_blocks_only_where_those_are_exact() {
        for (text, start) in [
            ("a\nb", "v: |-\n"),
            ("a\nb\n", "v: |\n"),
            ("a\n\n\n", "v: |+\n"),
            ("a  \n\n  b\n", "v: |\n"),
            (" a\nb", "v: \""),
            ("\na", "v: \""),
            ("a\n  \n", "v: \""),
            ("a\r\nb", "v: \""),
            ("a\n\u{202e}b", "v: \""),
            ("\n", "v: \""),
        ] {
            let value = json!({"v": text, "w": 1});
            let written = to_yaml(&value);
            assert!(written.starts_with(start), "{text:?} became {written}");
            assert_eq!(read_back(&written), value, "{written}");
        }
    }

    fn strings() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z0-9./:@_-]{0,12}",
            "[ -~]{0,10}",
            "[ab \\n\\t:#|-]{0,12}",
            any::<String>(),
            proptest::sample::select(vec!["yes", "0777", "1e3", "2026-01-01", "null", "~", "0:30"])
                .prop_map(str::to_owned),
        ]
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
            strings().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(strings(), inner, 0..5)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1500))]
        #[test]
        fn what_is_written_is_read_back(value in values()) {
            let value = json!({"value": value, "z": "end"});
            let written = to_yaml(&value);
            let read = read_back(&written);
            prop_assert_eq!(&read, &value, "{}", written);
            prop_assert_eq!(to_yaml(&read), written);
        }
    }
}
