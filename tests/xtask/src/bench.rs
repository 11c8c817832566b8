//! `cargo xtask bench`: how long things take, as ratios to bare work measured in the same run,
//! since absolute times say more about the machine.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_harness::story::{Failed, Stage, until};

use crate::demo::program;
use crate::error::XtaskError;

/// What can be measured.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum What {
    /// From a commit to its object accepted by the API server in dev.
    Line,
    /// Verifications of signatures beside the bare checks, and two hundred images at once.
    Provenance,
}

const REPETITIONS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks whether the change is there.
const LOOKS: Duration = Duration::from_millis(5);

/// Measures, and prints.
pub(crate) fn bench(what: What) -> Result<(), XtaskError> {
    match what {
        What::Line => line().map_err(|why| XtaskError::Story(why.to_string())),
        What::Provenance => crate::step(
            "cargo",
            &["run", "--quiet", "--release", "-p", "tidegate-provenance", "--example", "bench"],
        ),
    }
}

fn line() -> Result<(), Failed> {
    let program = program(&["--release"]).map_err(|error| Failed(error.to_string()))?;
    let stage = Stage::set(&program)?;
    stage.arrive()?;
    let (mut bare, mut whole) = (Vec::new(), Vec::new());
    for repetition in 0..REPETITIONS {
        bare.push(bare_work(&stage, repetition)?);
        whole.push(through_the_line(&stage, repetition)?);
    }
    let (bare, whole) = (median(&mut bare), median(&mut whole));
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("fetch + push + one apply, by git and the API alone   {:>7.0} ms", ms(bare));
    println!("commit -> accepted by the API server in dev          {:>7.0} ms", ms(whole));
    println!("ratio                                                {:>7.2}", ms(whole) / ms(bare));
    println!(
        "(medians of {REPETITIONS}; the clock starts when the push of the commit is done and the webhook is called)"
    );
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// What nobody can do without: fetch the commit, push one to a deploy branch, apply one object.
fn bare_work(stage: &Stage, repetition: usize) -> Result<Duration, Failed> {
    let folder = stage.lab.folder().join("bare");
    let remote = Command::new("git")
        .arg("-C")
        .arg(stage.reference.folder())
        .args(["remote", "get-url", "origin"])
        .output()
        .map_err(|error| Failed(format!("running git: {error}")))?;
    let remote = String::from_utf8_lossy(&remote.stdout).trim().to_owned();
    if !folder.exists() {
        git(stage.lab.folder(), &["init", "--quiet", "bare"])?;
        git(&folder, &["remote", "add", "origin", &remote])?;
    }
    stage.reference.write("bench/bare.txt", &format!("{repetition}\n"))?;
    stage.reference.commit_as("ann", "Write a note")?;
    stage.reference.push()?;
    let started = Instant::now();
    git(&folder, &["fetch", "--quiet", "origin", "main"])?;
    let reference = format!("FETCH_HEAD:refs/heads/bench/{repetition}");
    git(&folder, &["push", "--quiet", "origin", &reference])?;
    stage.cluster.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "bench", "namespace": "default"},
        "data": {"repetition": repetition.to_string()},
    }))?;
    Ok(started.elapsed())
}

fn git(folder: &std::path::Path, arguments: &[&str]) -> Result<(), Failed> {
    let output = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .output()
        .map_err(|error| Failed(format!("running git: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failed(format!("git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

/// A change of one object of dev, from the webhook to the API server.
fn through_the_line(stage: &Stage, repetition: usize) -> Result<Duration, Failed> {
    let path = "/apis/apps/v1/namespaces/clinic-dev/deployments/odoo-events";
    // Another number each time, so that each makes a release; as written there is one.
    let former = 1 + repetition;
    let replicas = former + 1;
    stage.reference.edit("dev/app/kustomization.yaml", |text| {
        text.replace(&format!("replicas: {former}\n"), &format!("replicas: {replicas}\n"))
    })?;
    stage.reference.commit_as("ann", "Change the number of event servers in dev")?;
    stage.reference.push()?;
    let started = Instant::now();
    stage.call_hook("main")?;
    while stage.cluster.get(path)?["spec"]["replicas"] != replicas {
        if started.elapsed() > PATIENCE {
            return Err(Failed("the change did not come to dev".to_owned()));
        }
        std::thread::sleep(LOOKS);
    }
    let took = started.elapsed();
    // The next one must not find this one under way.
    until("the change completed its watch in dev", PATIENCE, || {
        let newest = stage.promotions("dev", "app")?.pop().unwrap_or_default();
        let phase = newest["status"]["phase"].clone();
        Ok(if phase == "Succeeded" { Ok(()) } else { Err(phase.to_string()) })
    })?;
    Ok(took)
}
