//! `cargo xtask fuzz`: strangers' bytes, made up by a fuzzer, for everything that reads them.
//!
//! libFuzzer with the coverage that stable Rust can instrument by flags of code generation, so that
//! no other toolchain is needed. What the targets are is in `tests/fuzz`; findings are kept there.

use std::path::Path;
use std::process::Command;

use tidegate_harness::repository_root;

use crate::error::{self, XtaskError};

/// What can be fuzzed: Sigstore bundles, layers of the older layout, what statements say, and what
/// registries answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Target {
    Bundle,
    Payload,
    Statement,
    Manifest,
}

const ALL: [Target; 4] = [Target::Bundle, Target::Payload, Target::Statement, Target::Manifest];

/// Instrumentation as libFuzzer reads it, and the entries that the crates have for it.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table --cfg fuzzing -Ccodegen-units=1";
/// With the flags, a target is named, so that build scripts are not instrumented.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

impl Target {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// Runs these targets, all where none is named, for some seconds each. Fails with the first finding.
pub(crate) fn fuzz(targets: &[Target], seconds: u32) -> Result<(), XtaskError> {
    let root = repository_root();
    let (folder, built) = (root.join("tests/fuzz"), root.join("target/fuzz"));
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--target", PLATFORM]).current_dir(&folder);
    build.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &built);
    error::succeed("cargo build of tests/fuzz", build.status())?;
    let programs = built.join(PLATFORM).join("release");
    for target in if targets.is_empty() { &ALL[..] } else { targets } {
        run(&target.name(), seconds, &programs, &folder, &built)?;
    }
    Ok(())
}

/// What is found goes into `tests/fuzz/findings`; what is learned on the way, beside the build.
fn run(
    name: &str,
    seconds: u32,
    programs: &Path,
    folder: &Path,
    built: &Path,
) -> Result<(), XtaskError> {
    let (learned, findings) = (built.join("learned").join(name), folder.join("findings"));
    for place in [&learned, &findings] {
        std::fs::create_dir_all(place).map_err(|error| XtaskError::Step {
            command: format!("creating {}", place.display()),
            reason: error.to_string(),
        })?;
    }
    eprintln!("> fuzzing {name} for {seconds} s");
    let mut fuzzer = Command::new(programs.join(name));
    fuzzer.arg(&learned).arg(folder.join("corpus").join(name));
    fuzzer.arg(format!("-max_total_time={seconds}"));
    fuzzer.arg(format!("-artifact_prefix={}/{name}-", findings.display()));
    fuzzer.args(["-max_len=65536", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    error::succeed(&format!("fuzzing {name}; see {}", findings.display()), fuzzer.status())
}
