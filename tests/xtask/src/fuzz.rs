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

/// What a run tells at its end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    executions: u64,
    per_second: u64,
    /// Edges and their counts that were reached: libFuzzer's `cov` and `ft`.
    coverage: u64,
    features: u64,
    /// The slowest input, in whole seconds.
    slowest: u64,
}

/// Runs these targets, all where none is named, for some seconds each, and tells of each. What
/// crashes, hangs or fills the memory is kept, and fails at the end.
pub(crate) fn fuzz(targets: &[Target], seconds: u32) -> Result<(), XtaskError> {
    let root = repository_root();
    let (folder, built) = (root.join("tests/fuzz"), root.join("target/fuzz"));
    let mut compile = Command::new("cargo");
    compile.args(["build", "--release", "--target", PLATFORM]).current_dir(&folder);
    compile.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &built);
    error::succeed("cargo build of tests/fuzz", compile.status())?;
    let mut failed = Vec::new();
    for target in if targets.is_empty() { &ALL[..] } else { targets } {
        failed.extend(run(&target.name(), seconds, &folder, &built).err());
    }
    if failed.is_empty() { Ok(()) } else { Err(XtaskError::Checks(failed)) }
}

/// What is found goes into `tests/fuzz/findings`; what is learned on the way, beside the build.
fn run(name: &str, seconds: u32, folder: &Path, built: &Path) -> Result<(), XtaskError> {
    let (learned, findings) = (built.join("learned").join(name), folder.join("findings"));
    let log = built.join(format!("{name}.log"));
    let failed = |what: &Path, error: std::io::Error| XtaskError::Step {
        command: format!("writing {}", what.display()),
        reason: error.to_string(),
    };
    for place in [&learned, &findings] {
        std::fs::create_dir_all(place).map_err(|error| failed(place, error))?;
    }
    let written = std::fs::File::create(&log).map_err(|error| failed(&log, error))?;
    eprintln!("> fuzzing {name} for {seconds} s");
    let mut fuzzer = Command::new(built.join(PLATFORM).join("release").join(name));
    fuzzer.arg(&learned).arg(folder.join("corpus").join(name));
    fuzzer.arg(format!("-dict={}", folder.join("words.dict").display()));
    fuzzer.arg(format!("-max_total_time={seconds}"));
    fuzzer.arg(format!("-artifact_prefix={}/{name}-", findings.display()));
    fuzzer.args(["-max_len=65536", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    let status = fuzzer.stderr(written).status();
    let told = Told::read(&String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()));
    println!(
        "{name:<10} {:>10} executions, {:>6} a second; coverage {:>6}, features {:>6}; slowest {} s",
        told.executions, told.per_second, told.coverage, told.features, told.slowest
    );
    let what = format!("fuzzing {name}: {}; findings in {}", log.display(), findings.display());
    error::succeed(&what, status)
}

impl Told {
    fn read(log: &str) -> Self {
        let stat = |name: &str| {
            let line = log.lines().rev().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        let last = |name: &str| {
            let mut lines = log.lines().rev().filter(|line| line.starts_with('#'));
            let value = lines.find_map(|line| line.split_once(name)?.1.split(' ').next());
            value.and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        Self {
            executions: stat("stat::number_of_executed_units:"),
            per_second: stat("stat::average_exec_per_sec:"),
            coverage: last(" cov: "),
            features: last(" ft: "),
            slowest: stat("stat::slowest_unit_time_sec:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Told;

    #[test]
    fn the_end_of_a_run_is_read() {
        let log = "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 40Mb\n\
                   #900\tNEW    cov: 120 ft: 340 corp: 9/80b lim: 8 exec/s: 300 rss: 41Mb L: 3/9\n\
                   #901\tDONE   cov: 121 ft: 341 corp: 9/80b lim: 8 exec/s: 300 rss: 41Mb\n\
                   Done 901 runs in 3 second(s)\n\
                   stat::number_of_executed_units: 901\n\
                   stat::average_exec_per_sec:     300\n\
                   stat::slowest_unit_time_sec:    0\n";
        let expected =
            Told { executions: 901, per_second: 300, coverage: 121, features: 341, slowest: 0 };
        assert_eq!(Told::read(log), expected);
        assert_eq!(Told::read("Segmentation fault"), Told::default());
    }
}
