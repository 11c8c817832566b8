//! `cargo xtask lab`: a lab to try things in.

use tidegate_harness::{
    Binaries, Identity, LAB_VARIABLE, Lab, LabError, Proof, Workflow, repository_root,
};

use crate::error::XtaskError;

/// Starts a lab, with a private Sigstore if asked for, and keeps it until ^C.
pub(crate) fn lab(sigstore: bool) -> Result<(), XtaskError> {
    let lab = Lab::start_fresh()?;
    println!("KUBECONFIG={}", lab.kubeconfig().display());
    println!("API server     {}", lab.api_server());
    println!("registry       {} (plain HTTP)", lab.registry());
    println!("Git            {}", lab.git_url("REPOSITORY"));
    println!("               git init --bare -b main {}", lab.git_dir("REPOSITORY").display());
    println!("logs           {}", lab.folder().join("logs").display());
    println!("tests use it   {LAB_VARIABLE}={}", lab.description_file().display());
    println!("\nIn another terminal, to use it as docs/getting-started.md does:");
    println!("  {}", environment(&lab)?);
    if sigstore {
        println!("{}", keyless(&lab)?);
    }
    println!("\n^C ends the lab and removes {}", lab.folder().display());
    wait_for_interrupt().map_err(|error| XtaskError::Step {
        command: "waiting for ^C".into(),
        reason: error.to_string(),
    })
}

/// How to sign and verify with the private Sigstore.
fn keyless(lab: &Lab) -> Result<String, LabError> {
    let sigstore = lab.sigstore()?;
    let person = Identity::person("release@hospital.example");
    let workflow = Identity::Workflow(Workflow::release("hospital/odoo"));
    let (root, config) =
        (sigstore.trusted_root_file(), sigstore.signing_config(Proof::LogAndTimestamp));
    Ok(format!(
        "\nThe private Sigstore, in the same terminal (IMAGE is registry/repository@digest):\n  \
         export ROOT={} SIGNING={}\n  \
         {} > $LAB/token\n  \
         cosign sign --yes --allow-http-registry --signing-config $SIGNING --trusted-root $ROOT \
         --identity-token $LAB/token $IMAGE\n  \
         cosign verify --allow-http-registry --trusted-root $ROOT --certificate-identity {} \
         --certificate-oidc-issuer {} $IMAGE\n\
         and as a CI service does (subject {}, issuer {}):\n  \
         {} > $LAB/token",
        root.display(),
        config.display(),
        sigstore.token_command(&person),
        person.subject(),
        sigstore.issuer(&person),
        workflow.subject(),
        sigstore.issuer(&workflow),
        sigstore.token_command(&workflow),
    ))
}

/// The line that makes a shell speak to this lab.
fn environment(lab: &Lab) -> Result<String, XtaskError> {
    let programs = lab.binaries();
    let (kubectl, tidegate) =
        (Binaries::kubectl()?, repository_root().join("target/debug/tidegate"));
    let paths = [&tidegate, &kubectl, &programs.crane, &programs.cosign, &programs.worker];
    let folders: Vec<_> = paths
        .iter()
        .filter_map(|program| program.parent())
        .map(|folder| folder.display().to_string())
        .collect();
    Ok(format!(
        "export LAB={} KUBECONFIG={} REGISTRY={} GIT={} PATH={}:$PATH COSIGN_PASSWORD=",
        lab.folder().display(),
        lab.kubeconfig().display(),
        lab.registry(),
        lab.git_url("").trim_end_matches("/.git"),
        folders.join(":"),
    ))
}

pub(crate) fn wait_for_interrupt() -> std::io::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(tokio::signal::ctrl_c())
}
