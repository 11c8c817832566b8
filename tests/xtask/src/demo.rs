//! `cargo xtask demo`: Tidegate on a lab, to try by hand; `cargo xtask demo --script` plays the
//! whole story unattended and says of each step whether it holds.

use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_harness::story::{self, Options, Stage, name};
use tidegate_harness::{Binaries, Signing, repository_root};

use crate::error::XtaskError;

/// How the demonstration runs.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Play the story unattended; exits with 0 when every step holds.
    #[arg(long)]
    script: bool,
    /// What the kills of step 8 are chosen by, as an earlier run printed it.
    #[arg(long, requires = "script")]
    seed: Option<u64>,
    /// Use this `tidegate` instead of building one.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Play no further than this step.
    #[arg(long, requires = "script", value_name = "STEP", default_value_t = story::STEPS)]
    until: usize,
}

/// Runs the demonstration.
pub(crate) fn demo(arguments: &Arguments) -> Result<(), XtaskError> {
    let program = arguments.program.clone().map_or_else(|| program(&[]), Ok)?;
    if arguments.script {
        let options = Options { program, seed: arguments.seed, until: arguments.until };
        let report = story::run(&options, &mut |line| println!("{line}"));
        return if report.holds() { Ok(()) } else { Err(XtaskError::Story(report.to_string())) };
    }
    let kubectl = Binaries::kubectl()?;
    println!("Starting a lab and installing Tidegate on it. This takes a minute.");
    let stage = main_job(&program)?;
    println!("{}", invitation(&stage, &program, &kubectl));
    let stage = std::sync::Arc::new(stage);
    let forge = std::sync::Arc::downgrade(&stage);
    std::thread::spawn(move || calls_webhooks(&forge));
    crate::lab::wait_for_interrupt().map_err(|error| XtaskError::Step {
        command: "waiting for ^C".into(),
        reason: error.to_string(),
    })
}

/// Builds `tidegate`, with more flags where they are given; its path.
pub(crate) fn program(flags: &[&str]) -> Result<PathBuf, XtaskError> {
    let failed = |reason: String| XtaskError::Step { command: "cargo build".into(), reason };
    let output = Command::new("cargo")
        .args(["build", "--package", "tidegate", "--bin", "tidegate"])
        .args(flags)
        .arg("--message-format=json-render-diagnostics")
        .current_dir(repository_root())
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed("failed".into()));
    }
    // Of the messages, one names the executable: "executable":"/…/tidegate".
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter(|line| line.contains(r#""name":"tidegate""#))
        .filter_map(|line| line.split_once(r#""executable":""#))
        .find_map(|(_, rest)| rest.split('"').next().map(PathBuf::from))
        .ok_or_else(|| failed("it did not say where it put the program".into()))
}

/// Everything in production, and one new release that waits there for people.
fn main_job(program: &Path) -> Result<Stage, XtaskError> {
    let story = |why: story::Failed| XtaskError::Story(why.to_string());
    let stage = Stage::set(program).map_err(story)?;
    for line in stage.shortened() {
        println!("shortened: {line}");
    }
    println!("All three lanes travel to dev and staging; people let them into production …");
    stage.arrive().map_err(story)?;
    println!("A new Odoo is built and signed …");
    let promotion = stage.release_odoo("17.0.2").map_err(story)?;
    println!("{} waits: {}", name(&promotion), promotion["status"]["message"]);
    stage.reference.new_image(
        &stage.lab,
        "postgresql",
        "17.6",
        "nobody vouches for this",
        Signing::Nobody,
    )?;
    println!("And somebody pushed postgresql 17.6 without a signature. It goes nowhere.");
    Ok(stage)
}

/// The part of a forge that the lab's Git server lacks: tells Tidegate of pushes to `main`.
fn calls_webhooks(stage: &std::sync::Weak<Stage>) {
    let head = |stage: &Stage| stage.git(&["rev-parse", "refs/heads/main"]).ok();
    let mut told = stage.upgrade().and_then(|stage| head(&stage));
    while let Some(stage) = stage.upgrade() {
        let now = head(&stage);
        if now != told && stage.call_hook("main").is_ok() {
            told = now;
        }
        drop(stage);
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
}

fn invitation(stage: &Stage, program: &Path, kubectl: &Path) -> String {
    let person = |user: &str| {
        stage.reference.kubeconfig(user).unwrap_or_default().to_string_lossy().into_owned()
    };
    let (program, folder) = (program.display(), stage.reference.folder().display());
    format!(
        "
Everything is up. In another terminal:

  export KUBECONFIG={admin}
  alias tidegate='{program} -n clinic'
  alias kubectl={kubectl}
  alias jane='tidegate --kubeconfig {jane}'
  alias joe='tidegate --kubeconfig {joe}'

Look around:
  tidegate get                                       what runs where, what waits and for what
  tidegate explain pipeline clinic                   why postgresql 17.6 is nowhere
  tidegate diff clinic-production-app-2              what would change in production

Two release managers let odoo 17.0.2 into production:
  jane approve clinic-production-app-2 --reason 'looked at the diff'
  joe approve clinic-production-app-2 --reason 'fine with me'
  tidegate get

Change something by hand, and see it come back:
  kubectl -n clinic-production scale deployment odoo-events --replicas 7
  tidegate explain sync clinic-production-app

Let a release fail in production only, and watch it roll back:
  cd {folder}
  cat >> production/app/kustomization.yaml <<'END'
{failing}END
  git -c user.name='Ann Fischer' -c user.email=ann@hospital.example \\
    -c user.signingkey={key} commit -S -am 'Run scheduled jobs with a new flag' && git push origin main
  tidegate get                                       it is well in dev and staging, and waits again
  jane approve clinic-production-app-3 --reason ok
  joe approve clinic-production-app-3 --reason ok
  tidegate explain promotion clinic-production-app-3

Logs of the service: {log}
^C ends everything and removes {lab}",
        admin = stage.lab.kubeconfig().display(),
        jane = person("jane"),
        joe = person("joe"),
        failing = story::FAILING,
        key = stage.lab.folder().join("keys/ann.ssh").display(),
        kubectl = kubectl.display(),
        log = stage.service.log().display(),
        lab = stage.lab.folder().display(),
    )
}
