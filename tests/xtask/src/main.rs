//! The developer's command, `cargo xtask`: the lab, the checks and the tests, as CI runs them.
//!
//! Nothing but a Rust toolchain, Go and a C compiler has to be there before it; what else is
//! missing it installs (as root on Debian) or names.

mod bench;
mod check;
mod conformance;
mod demo;
mod error;
mod fuzz;
mod interop;
mod lab;
mod packages;
mod rules;
mod test;

use clap::{Parser, Subcommand};

use crate::error::XtaskError;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The developer's command")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a lab (Kubernetes, registry, Git server) and keep it until ^C.
    Lab {
        /// With a private Sigstore: certificates, logs, timestamps and identities.
        #[arg(long)]
        sigstore: bool,
    },
    /// Tidegate on a lab, to try by hand; with --script, the whole story unattended.
    Demo(demo::Arguments),
    /// Measure, in ratios within one run.
    Bench {
        /// What to measure.
        #[arg(value_enum)]
        what: bench::What,
    },
    /// Run a public suite's cases through our own code, from a checkout of it.
    Conformance {
        /// Whose.
        #[arg(value_enum)]
        suite: conformance::Suite,
        /// The checkout.
        folder: std::path::PathBuf,
    },
    /// Compare what Tidegate says of images with what another tool says, on a lab.
    Interop {
        /// The other tool.
        #[arg(value_enum)]
        tool: interop::Tool,
        /// Keep what was made as fixtures for the ordinary tests.
        #[arg(long)]
        write: bool,
    },
    /// Format, lints, crate rules, licences and bans, Go sources, coverage table.
    Check,
    /// Everything of `check`, then all tests in a lab. With arguments: only those tests, no check.
    Test {
        /// Passed to `cargo test`, as `-p tidegate-plan` or a part of a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Give made-up bytes to everything that reads what strangers wrote.
    Fuzz {
        /// What reads them; everything where nothing is named.
        #[arg(value_enum)]
        targets: Vec<fuzz::Target>,
        /// How long, for each.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Install the Debian packages that builds and tests need, or name them.
    Packages,
}

fn main() -> std::process::ExitCode {
    let result = match Arguments::parse().command {
        Command::Lab { sigstore } => packages::ensure().and_then(|()| lab::lab(sigstore)),
        Command::Demo(arguments) => packages::ensure().and_then(|()| demo::demo(&arguments)),
        Command::Bench { what } => packages::ensure().and_then(|()| bench::bench(what)),
        Command::Conformance { suite, folder } => conformance::conformance(suite, &folder),
        Command::Interop { tool, write } => {
            packages::ensure().and_then(|()| interop::interop(tool, write))
        }
        Command::Check => packages::ensure().and_then(|()| check::check()),
        Command::Test { arguments } => packages::ensure().and_then(|()| test::test(&arguments)),
        Command::Fuzz { targets, seconds } => fuzz::fuzz(&targets, seconds),
        Command::Packages => packages::ensure(),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// Runs a step in the checkout's root, its output shown to the developer.
fn step(program: &str, arguments: &[&str]) -> Result<(), XtaskError> {
    eprintln!("> {program} {}", arguments.join(" "));
    let status = std::process::Command::new(program)
        .args(arguments)
        .current_dir(tidegate_harness::repository_root())
        .status();
    error::succeed(&format!("{program} {}", arguments.join(" ")), status)
}
