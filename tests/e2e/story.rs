//! The whole story, as `cargo xtask demo --script` plays it.

use std::path::PathBuf;

use tidegate_harness::story::{Options, run};

#[test]
fn one_change_travels_from_a_commit_to_production_and_back() {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_tidegate"));
    let report = run(&Options::all(program), &mut |line| println!("{line}"));
    let failed: Vec<_> = report
        .steps
        .iter()
        .filter_map(|(number, _, result)| {
            Some(format!("step {number}: {}", result.as_ref().err()?))
        })
        .collect();
    assert!(report.holds(), "{report}\n{}", failed.join("\n"));
}
