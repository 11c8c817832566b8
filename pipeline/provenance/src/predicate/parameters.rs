//! The parameters that a build was given, by name, so that none goes unseen.
//!
//! SLSA says of external parameters that an unrecognised one must be refused. A parameter's name
//! is the path to it, joined by dots (`inputs.environment`, `args.build-arg:VERSION`); an element
//! of a list that has a `name` goes by it, as Tekton's do. A listed name lets what is below it
//! pass, too. An absent, null or empty object or list is no parameter; an empty text is one.

use std::collections::BTreeSet;

use serde_json::Value;

/// How many parameters are told apart; whoever gives more gives one too many.
const MOST: usize = 2000;
/// How many unlisted ones are named.
const NAMED: usize = 5;

/// The names of the parameters in `given` that are neither listed nor under one of `known`.
pub(crate) fn unlisted(given: &Value, known: &[&str], listed: &BTreeSet<String>) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![(String::new(), given)];
    while let Some((name, value)) = open.pop() {
        if !name.is_empty() && (listed.contains(&name) || known.contains(&name.as_str())) {
            continue;
        }
        let below =
            |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
        match value {
            Value::Null => {}
            Value::Object(fields) => open.extend(fields.iter().map(|(key, v)| (below(key), v))),
            Value::Array(items) if items.iter().all(named) => {
                for item in items {
                    let key = item.get("name").and_then(Value::as_str).unwrap_or_default();
                    let rest = item.as_object().into_iter().flatten().filter(|(k, _)| *k != "name");
                    let key = below(key);
                    if listed.contains(&key) {
                        continue;
                    }
                    let mut alone = true;
                    for (field, value) in rest {
                        alone = false;
                        // `value` is what the parameter is given, not a parameter of its own.
                        let field =
                            if field == "value" { key.clone() } else { format!("{key}.{field}") };
                        open.push((field, value));
                    }
                    if alone {
                        found.insert(key);
                    }
                }
            }
            Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                found.insert(if name.is_empty() { "(all of them)".to_owned() } else { name });
            }
        }
        if found.len() + open.len() > MOST {
            return vec![format!("more than {MOST} of them")];
        }
    }
    let more = found.len().saturating_sub(NAMED);
    let mut names: Vec<_> = found.into_iter().take(NAMED).collect();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names
}

fn named(item: &Value) -> bool {
    item.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::unlisted;
    use serde_json::{Value, json};

    fn names(given: &Value, listed: &[&str]) -> Vec<String> {
        unlisted(given, &["workflow.repository"], &listed.iter().map(|s| (*s).to_owned()).collect())
    }

    #[test]
    fn every_parameter_goes_by_its_path() {
        let cases = [
            (json!(null), vec![]),
            (json!({"inputs": {}, "vars": null, "locals": []}), vec![]),
            (json!({"workflow": {"repository": "x"}}), vec![]),
            (json!({"workflow": {"repository": "x", "sha": "y"}}), vec!["workflow.sha"]),
            (json!({"inputs": {"deploy": ""}}), vec!["inputs.deploy"]),
            (json!({"debug": false, "level": 0}), vec!["debug", "level"]),
            (json!({"args": {"build-arg:VERSION": "1"}}), vec!["args.build-arg:VERSION"]),
            (json!({"locals": [{"name": "context"}]}), vec!["locals.context"]),
            (json!({"params": [{"name": "url", "value": "x"}]}), vec!["params.url"]),
            (json!({"flags": ["--fast"]}), vec!["flags"]),
            (json!([1]), vec!["(all of them)"]),
            (json!("x"), vec!["(all of them)"]),
        ];
        for (given, wanted) in cases {
            assert_eq!(names(&given, &[]), wanted, "{given}");
        }
    }

    #[test]
    fn a_listed_name_lets_pass_what_is_below_it_and_nothing_beside_it() {
        let given = json!({"inputs": {"a": 1, "b": {"c": 2}}, "inputs2": 1});
        assert_eq!(names(&given, &["inputs"]), ["inputs2"]);
        assert_eq!(names(&given, &["inputs.b", "inputs2"]), ["inputs.a"]);
        assert_eq!(names(&json!({"inputs.evil": 1}), &["inputs"]), ["inputs.evil"]);
        let list = json!({"params": [{"name": "url", "value": "x"}, {"name": "x", "value": 1}]});
        assert_eq!(names(&list, &["params.url"]), ["params.x"]);
    }

    #[test]
    fn too_many_are_refused_and_few_are_named() {
        let many: serde_json::Map<String, Value> =
            (0..3000).map(|n| (format!("p{n}"), json!(1))).collect();
        assert_eq!(names(&Value::Object(many), &[]), ["more than 2000 of them"]);
        let some: serde_json::Map<String, Value> =
            (0..7).map(|n| (format!("p{n}"), json!(1))).collect();
        assert_eq!(names(&Value::Object(some), &[]), ["p0", "p1", "p2", "p3", "p4", "2 more"]);
    }
}
