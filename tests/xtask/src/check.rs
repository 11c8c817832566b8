//! `cargo xtask check`: everything that can be said about the code without running it.

use std::process::Command;

use tidegate_harness::{cache_root, repository_root};

use crate::error::{XtaskError, succeed};
use crate::{rules, step};

const CARGO_DENY: &str = "0.20.2";

/// Go modules of our own; vetting those that only name tools would vet nothing.
const GO_FOLDERS: [&str; 5] = [
    "tests/lab/control-plane",
    "tests/lab/kubectl",
    "tests/lab/labd",
    "tests/lab/registry",
    "reconciler/render/worker",
];
/// Vetted with the flags of the build, so that the build's cache serves. The control plane is not:
/// it would compile Kubernetes again on a machine that has the cached program only.
const GO_VETTED: [&str; 3] = ["tests/lab/labd", "tests/lab/registry", "reconciler/render/worker"];

/// Runs every check, the quick ones first, and tells of all that failed at the end.
pub(crate) fn check() -> Result<(), XtaskError> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    // Not of the workspace, and built with flags of its own: only its form is looked at.
    let fuzz = ["fmt", "--manifest-path", "tests/fuzz/Cargo.toml", "--check"];
    let checks: [&dyn Fn() -> Result<(), XtaskError>; 6] = [
        &|| step("cargo", &["fmt", "--all", "--check"]),
        &|| step("cargo", &fuzz),
        &rules::check,
        &go,
        &deny,
        &|| step("cargo", &clippy),
    ];
    let failed: Vec<_> = checks.iter().filter_map(|check| check().err()).collect();
    if failed.is_empty() { Ok(()) } else { Err(XtaskError::Checks(failed)) }
}

fn deny() -> Result<(), XtaskError> {
    let root = cache_root().join(format!("cargo-deny-{CARGO_DENY}"));
    let program = root.join("bin/cargo-deny").to_string_lossy().into_owned();
    if !root.join("bin/cargo-deny").exists() {
        let root = root.to_string_lossy();
        step(
            "cargo",
            &["install", "--locked", "--root", &root, &format!("cargo-deny@{CARGO_DENY}")],
        )?;
    }
    step(&program, &["--config", ".cargo/deny.toml", "check", "bans", "licenses", "sources"])
}

fn go() -> Result<(), XtaskError> {
    eprintln!("> gofmt, go vet");
    for folder in GO_FOLDERS {
        let output = Command::new("gofmt").arg("-l").arg(repository_root().join(folder)).output();
        let unformatted = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        match unformatted {
            Ok(files) if files.trim().is_empty() => {}
            Ok(files) => {
                return Err(XtaskError::Rules(vec![format!("not gofmt'd: {}", files.trim())]));
            }
            Err(error) => return succeed("gofmt", Err(error)),
        }
    }
    for folder in GO_VETTED {
        let mut command = Command::new("go");
        command.args(["vet", "-trimpath", "./..."]).env("CGO_ENABLED", "0");
        command.current_dir(repository_root().join(folder));
        succeed(&format!("go vet in {folder}"), command.status())?;
    }
    Ok(())
}
