//! Rules of the code base that the compiler cannot hold by itself (docs, architecture): which crate
//! may depend on what, and that the coverage table names real tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use tidegate_harness::repository_root;

use crate::error::XtaskError;

/// Crates without I/O, clock or randomness: time and ids come in as arguments.
const PURE: [&str; 9] = [
    "tidegate-ids",
    "tidegate-schemas",
    "tidegate-manifest",
    "tidegate-plan",
    "tidegate-health",
    "tidegate-release",
    "tidegate-policy",
    "tidegate-gates",
    "tidegate-promotion",
];
/// What would give a pure crate I/O or randomness.
const IMPURE: [&str; 14] = [
    "tokio",
    "async-std",
    "hyper",
    "reqwest",
    "tower",
    "axum",
    "kube-client",
    "kube-runtime",
    "git2",
    "oci-client",
    "rustls",
    "aws-lc-rs",
    "rand",
    "tempfile",
];
/// One cryptographic provider, and no OpenSSL for TLS.
const NOWHERE: [&str; 2] = ["ring", "native-tls"];
/// Types of these crates cross our interfaces, so that two versions would not fit.
const ONCE: [&str; 6] = ["reqwest", "hyper", "rustls", "jiff", "json-patch", "schemars"];

/// Everything of this module; all broken rules at once.
pub(crate) fn check() -> Result<(), XtaskError> {
    eprintln!("> crate rules, coverage table");
    let mut broken = Vec::new();
    for name in PURE {
        let dependencies = dependencies(name)?;
        broken.extend(IMPURE.iter().filter(|impure| dependencies.contains_key(**impure)).map(
            |impure| format!("{name} is pure but depends on {impure}: cargo tree -p {name} -e normal -i {impure}"),
        ));
    }
    let all = dependencies("--workspace")?;
    broken.extend(NOWHERE.iter().filter(|name| all.contains_key(**name)).map(|name| {
        format!("{name} is in the tree; all TLS goes through aws-lc-rs: cargo tree --workspace -i {name}")
    }));
    broken.extend(
        ONCE.iter()
            .filter_map(|name| all.get(*name).map(|versions| (name, versions)))
            .filter(|(_, versions)| versions.len() > 1)
            .map(|(name, versions)| {
                format!("{name} is there in versions {versions:?}: cargo tree -d")
            }),
    );
    broken.extend(layers()?);
    broken.extend(coverage());
    if broken.is_empty() { Ok(()) } else { Err(XtaskError::Rules(broken)) }
}

/// Names and versions of what a package (or `--workspace`) is built from.
fn dependencies(package: &str) -> Result<BTreeMap<String, BTreeSet<String>>, XtaskError> {
    let mut command = Command::new("cargo");
    command.args(["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    if package == "--workspace" {
        command.arg(package)
    } else {
        command.args(["--package", package])
    };
    let failed =
        |reason: String| XtaskError::Step { command: format!("cargo tree for {package}"), reason };
    let output = command
        .current_dir(repository_root())
        // A developer may unify features over the workspace to save builds; the rule is about what a
        // crate takes by itself. Stable cargo ignores the variable.
        .env("CARGO_RESOLVER_FEATURE_UNIFICATION", "selected")
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            found.entry(name.to_owned()).or_default().insert(version.to_owned());
        }
    }
    Ok(found)
}

/// The reconciler knows nothing of pipelines, and the schemas know neither.
fn layers() -> Result<Vec<String>, XtaskError> {
    let upper: BTreeSet<_> = crates_in("pipeline");
    let mut broken = Vec::new();
    for name in crates_in("reconciler").into_iter().chain(crates_in("schemas")) {
        let dependencies = dependencies(&name)?;
        broken.extend(upper.iter().filter(|upper| dependencies.contains_key(*upper)).map(
            |upper| {
                format!(
                    "{name} depends on {upper}: reconciler/ and schemas/ never depend on pipeline/"
                )
            },
        ));
    }
    Ok(broken)
}

fn crates_in(layer: &str) -> BTreeSet<String> {
    let folders = fs::read_dir(repository_root().join(layer)).into_iter().flatten().flatten();
    folders
        .filter(|folder| folder.path().join("Cargo.toml").exists())
        .map(|folder| format!("tidegate-{}", folder.file_name().to_string_lossy()))
        .collect()
}

/// Each `path/file.rs::function` in docs/coverage.md must be a function in that file.
fn coverage() -> Vec<String> {
    let root = repository_root();
    let Ok(table) = fs::read_to_string(root.join("docs/coverage.md")) else { return Vec::new() };
    named_tests(&table)
        .filter(|(file, function)| {
            let source = fs::read_to_string(root.join(file)).unwrap_or_default();
            !source.contains(&format!("fn {function}("))
        })
        .map(|(file, function)| {
            format!("docs/coverage.md names {file}::{function}, which does not exist")
        })
        .collect()
}

fn named_tests(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| {
            code.split_once(".rs::").map(|(file, test)| (&code[..file.len() + 3], test))
        })
        .map(|(file, test)| (file, test.rsplit("::").next().unwrap_or(test)))
}

#[cfg(test)]
mod tests {
    use super::{dependencies, named_tests};

    #[test]
    fn the_tree_shows_what_one_crate_takes_and_not_what_its_neighbours_take() {
        assert!(dependencies("xtask").unwrap().contains_key("tokio"));
        assert!(!dependencies("tidegate-ids").unwrap().contains_key("tokio"));
    }

    #[test]
    fn the_coverage_table_names_tests_by_file_and_function() {
        let table = "| drift | `tests/e2e/drift.rs::drift_is_corrected`, `cargo xtask` |\n\
                     | plan | `reconciler/plan/src/lib.rs::tests::equal_is_empty` |";
        let named: Vec<_> = named_tests(table).collect();
        assert_eq!(
            named,
            [
                ("tests/e2e/drift.rs", "drift_is_corrected"),
                ("reconciler/plan/src/lib.rs", "equal_is_empty"),
            ]
        );
    }
}
