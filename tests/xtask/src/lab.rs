//! `cargo xtask lab`: a lab to try things in.

use tidegate_harness::{LAB_VARIABLE, Lab};

use crate::error::XtaskError;

/// Starts a lab and keeps it until ^C.
pub(crate) fn lab() -> Result<(), XtaskError> {
    let lab = Lab::start_fresh()?;
    println!("KUBECONFIG={}", lab.kubeconfig().display());
    println!("API server     {}", lab.api_server());
    println!("registry       {} (plain HTTP)", lab.registry());
    println!("Git            {}", lab.git_url("REPOSITORY"));
    println!("               git init --bare -b main {}", lab.git_dir("REPOSITORY").display());
    println!("logs           {}", lab.folder().join("logs").display());
    println!("tests use it   {LAB_VARIABLE}={}", lab.description_file().display());
    println!("^C ends the lab and removes {}", lab.folder().display());
    wait_for_interrupt().map_err(|error| XtaskError::Step {
        command: "waiting for ^C".into(),
        reason: error.to_string(),
    })
}

fn wait_for_interrupt() -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(tokio::signal::ctrl_c())
}
