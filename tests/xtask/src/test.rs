//! `cargo xtask test`: the checks, then every test in a lab.

use std::process::Command;

use tidegate_harness::{LAB_VARIABLE, Lab, repository_root};

use crate::check;
use crate::error::{XtaskError, succeed};

/// Runs everything, or only the tests that the arguments select.
pub(crate) fn test(arguments: &[String]) -> Result<(), XtaskError> {
    if arguments.is_empty() {
        check::check()?;
    }
    let lab = Lab::start_fresh()?;
    let mut command = Command::new("cargo");
    command.arg("test");
    if !arguments.iter().any(|argument| argument == "-p" || argument.starts_with("--package")) {
        command.arg("--workspace");
    }
    command.args(arguments).current_dir(repository_root());
    command.env(LAB_VARIABLE, lab.description_file());
    eprintln!("> {command:?}");
    let status = command.status();
    drop(lab);
    succeed("cargo test", status)
}
