//! The story of one change: fourteen steps from an empty cluster to production and back, on a lab, with
//! the real service and the real command line.
//!
//! It is a library because three readers tell it: the end-to-end tests, `cargo xtask demo --script`
//! for whoever wants to see that it holds, and `cargo xtask demo` for whoever wants to try it by
//! hand. Each person acts with an own client certificate and only the shipped roles. What runs is
//! compared through the API server with what Git says, and never with Tidegate's own plan.

mod arrive;
mod cluster;
mod compare;
mod drift;
mod image;
mod kills;
mod lanes;
mod outage;
mod people;
mod regress;
mod service;
mod stage;
mod tamper;
mod trust;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use cluster::{Cluster, Impersonated, Refusal, condition, name};
pub use regress::FAILING;
pub use service::{Answer, Service};
pub use stage::{Said, Stage, documents, install, until};

use crate::LabError;
use kills::{End, Replay};

/// Why a step failed, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

impl From<LabError> for Failed {
    fn from(error: LabError) -> Self {
        Self(error.to_string())
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self(format!("the API server refused: {refusal}"))
    }
}

impl From<String> for Failed {
    fn from(sentence: String) -> Self {
        Self(sentence)
    }
}

impl From<&str> for Failed {
    fn from(sentence: &str) -> Self {
        Self(sentence.to_owned())
    }
}

/// Fails with a sentence unless something holds.
pub(crate) fn must(holds: bool, sentence: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(Failed(sentence())) }
}

/// How the story is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The `tidegate` program.
    pub program: PathBuf,
    /// What the kills of step 8 are chosen by; a new one where nothing is said.
    pub seed: Option<u64>,
    /// The last step to tell.
    pub until: usize,
}

impl Options {
    /// The whole story, told by this program.
    #[must_use]
    pub fn all(program: PathBuf) -> Self {
        Self { program, seed: None, until: STEPS }
    }
}

/// How many steps there are.
pub const STEPS: usize = 14;

/// How the story went.
#[derive(Debug)]
pub struct Report {
    /// Every step that was told: its number, how long it took, and why it failed.
    pub steps: Vec<(usize, Duration, Result<(), Failed>)>,
    of: usize,
}

impl Report {
    /// How many steps held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.steps.iter().filter(|(_, _, result)| result.is_ok()).count()
    }

    /// Whether every step was told and held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.held() == self.of
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "story: {} of {}", self.held(), self.of)
    }
}

type Step = fn(&Stage) -> Result<(), Failed>;

/// Steps 2 to 7, which step 8 tells again.
const MIDDLE: [(&str, Step); 6] = [
    ("a new signed image passes dev and staging and waits for people", image::waits),
    ("images that nobody, somebody else or another digest vouches for are refused", image::refused),
    ("only people who may, in their own name, open the gate", people::open_the_gate),
    ("a security change overtakes; the app lane's approvals stay good", lanes::overtake),
    ("what somebody changes or deletes by hand comes back, with a record", drift::corrected),
    ("what fails only in production is rolled back", regress::rolled_back),
];

/// Steps 9 to 14, after the fresh lab of step 8 has come to the same end.
const LAST: [(&str, Step); 6] = [
    ("an old commit pushed again and an unsigned one change nothing", tamper::refused),
    ("without the Git server everything stays, and goes on when it is back", outage::outlived),
    ("an identity of the CI service vouches for what it built, of that repository", trust::keyless),
    ("where two must have signed, one is not enough", trust::two_signers),
    ("a revoked digest goes no further, and what runs it is told", trust::revoked),
    ("a pod made by hand with an unlisted image is refused", trust::unlisted),
];

/// Tells the story; `say` gets every line as it happens.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Report {
    let mut teller = Teller { steps: Vec::new(), say, until: options.until };
    if let Some(stage) = teller.first(options) {
        // The fresh lab of step 8 lives beside this one, so that the story takes half the time.
        let replay = (options.until > 7).then(|| Replay::start(options));
        let middle = (2..)
            .zip(MIDDLE)
            .all(|(number, (title, step))| teller.tell(number, title, || step(&stage), &stage));
        if let Some(replay) = replay.filter(|_| middle) {
            teller.replayed(replay, &stage);
            let _told = (9..)
                .zip(LAST)
                .all(|(number, (title, step))| teller.tell(number, title, || step(&stage), &stage));
        }
    }
    let report = Report { steps: teller.steps, of: options.until };
    say(&report.to_string());
    report
}

struct Teller<'a> {
    steps: Vec<(usize, Duration, Result<(), Failed>)>,
    say: &'a mut dyn FnMut(&str),
    until: usize,
}

impl Teller<'_> {
    fn first(&mut self, options: &Options) -> Option<Stage> {
        let started = Instant::now();
        let arrived = Stage::set(&options.program).map(|stage| {
            for line in stage.shortened() {
                (self.say)(&format!("shortened: {line}"));
            }
            let result = arrive::everything(&stage);
            (stage, result)
        });
        let title = "installed, pushed: all lanes arrive in dev and staging by themselves";
        match arrived {
            Ok((stage, result)) => {
                let log = result.is_err().then(|| stage.service.end_of_log(30));
                let held = self.record(1, title, started.elapsed(), result, log);
                held.then_some(stage)
            }
            Err(why) => {
                self.record(1, title, started.elapsed(), Err(why), None);
                None
            }
        }
    }

    /// Tells one step. Whether it held.
    fn tell(
        &mut self,
        number: usize,
        title: &str,
        step: impl FnOnce() -> Result<(), Failed>,
        stage: &Stage,
    ) -> bool {
        if number > self.until {
            return false;
        }
        let started = Instant::now();
        let result = step();
        let log = result.is_err().then(|| stage.service.end_of_log(30));
        self.record(number, title, started.elapsed(), result, log)
    }

    /// Tells step 8: the replay has come to the same end as this lab.
    fn replayed(&mut self, replay: Replay, stage: &Stage) {
        let expected = End::of(stage);
        (self.say)(&format!("    seed {}", replay.seed()));
        let replayed = replay.wait();
        for hit in replayed.hits() {
            (self.say)(&format!("    {hit}"));
        }
        let result = expected.and_then(|expected| replayed.comes_to(&expected));
        let title = "killed again and again, a fresh lab comes to the same end";
        self.record(8, title, replayed.took(), result, None);
    }

    fn record(
        &mut self,
        number: usize,
        title: &str,
        took: Duration,
        result: Result<(), Failed>,
        log: Option<String>,
    ) -> bool {
        let seconds = took.as_secs_f64();
        match &result {
            Ok(()) => (self.say)(&format!("{number:>2}. ok     {seconds:>5.1} s  {title}")),
            Err(why) => {
                (self.say)(&format!("{number:>2}. FAILED {seconds:>5.1} s  {title}: {why}"));
                if let Some(log) = log {
                    (self.say)(&format!("the end of the service's log:\n{log}"));
                }
            }
        }
        let held = result.is_ok();
        self.steps.push((number, took, result));
        held
    }
}
