//! Step 8: a fresh lab lives through steps 2 to 7 while the service is killed, each time with a
//! promotion's journal in flight; it has to come to the same end as the lab without kills.
//!
//! A watch on promotions pulls the trigger as soon as a journal enters the phase that is aimed at.
//! What was hit is what the journal says after the kill. Which phases, how often and which of the
//! chances to take follows from the seed.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::watcher;

use super::stage::{LANES, Stage, branch};
use super::{Failed, MIDDLE, Options, Service, arrive, must};
use crate::Lab;

/// The phases of a journal in flight.
const PHASES: [&str; 4] = ["Admitted", "Committed", "Applied", "Watching"];
/// How many times more than once a phase may be hit.
const MORE: u64 = 2;

/// The life of the fresh lab, on a thread of its own.
pub(super) struct Replay {
    seed: u64,
    thread: std::thread::JoinHandle<Replayed>,
}

/// What became of the fresh lab.
pub(super) struct Replayed {
    took: Duration,
    hits: Vec<Hit>,
    end: Result<End, Failed>,
}

impl Replay {
    pub(super) fn start(options: &Options) -> Self {
        let unchosen = || RandomState::new().hash_one(std::process::id());
        let seed = options.seed.unwrap_or_else(unchosen);
        let program = options.program.clone();
        Self { seed, thread: std::thread::spawn(move || replay(&program, seed)) }
    }

    pub(super) const fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn wait(self) -> Replayed {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Replayed {
    pub(super) const fn took(&self) -> Duration {
        self.took
    }

    pub(super) fn hits(&self) -> impl Iterator<Item = String> {
        self.hits.iter().map(|hit| {
            format!("SIGKILL aimed at {}: {} was {}", hit.aimed, hit.promotion, hit.found)
        })
    }

    /// Whether every kill hit a journal in flight, one of each phase, and the end is the same.
    pub(super) fn comes_to(&self, expected: &End) -> Result<(), Failed> {
        let end = self.end.as_ref().map_err(Clone::clone)?;
        for hit in &self.hits {
            must(PHASES.contains(&hit.found.as_str()), || {
                format!("a kill hit {}, which was {}", hit.promotion, hit.found)
            })?;
        }
        for phase in PHASES {
            let hit = self.hits.iter().any(|hit| hit.found == phase);
            must(hit, || format!("no kill hit {phase}"))?;
        }
        expected.compare(end)
    }
}

fn replay(program: &Path, seed: u64) -> Replayed {
    let started = Instant::now();
    let mut hits = Vec::new();
    let end = Stage::set(program).and_then(|stage| {
        arrive::everything(&stage)?;
        let killer = Killer::start(&stage, seed);
        let told = MIDDLE.iter().zip(2..).try_for_each(|((_, step), number)| {
            step(&stage).map_err(|why| Failed(format!("step {number}, with kills: {why}")))
        });
        hits = killer.end();
        told.and_then(|()| End::of(&stage)).map_err(|why| {
            let log = stage.service.end_of_log(30);
            Failed(format!("{why}\nthe end of its service's log:\n{log}"))
        })
    });
    Replayed { took: started.elapsed(), hits, end }
}

/// What the service was doing when it was killed.
struct Hit {
    promotion: String,
    aimed: String,
    found: String,
}

struct Killer {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<Hit>>,
}

impl Killer {
    fn start(stage: &Stage, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let aim = Aim::new(seed);
        let (kubeconfig, service) = (stage.lab.kubeconfig(), stage.service.clone());
        let ended = stop.clone();
        let thread = std::thread::spawn(move || watch(&kubeconfig, &service, aim, &ended));
        Self { stop, thread }
    }

    fn end(self) -> Vec<Hit> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// Kills until it is told to stop.
fn watch(kubeconfig: &Path, service: &Service, mut aim: Aim, stop: &AtomicBool) -> Vec<Hit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let mut hits = Vec::new();
    let Ok(runtime) = runtime else { return hits };
    runtime.block_on(async {
        let Ok(client) = Lab::client(kubeconfig).await else { return };
        let kind = GroupVersionKind::gvk("tidegate.dev", "v1alpha1", "Promotion");
        let resource = ApiResource::from_gvk_with_plural(&kind, "promotions");
        let promotions: Api<DynamicObject> = Api::namespaced_with(client, "clinic", &resource);
        let mut events = watcher(promotions.clone(), watcher::Config::default()).boxed();
        let mut known = BTreeMap::new();
        while !stop.load(Ordering::Relaxed) {
            let next = tokio::time::timeout(Duration::from_millis(100), events.next()).await;
            let Ok(Some(Ok(event))) = next else { continue };
            let (object, new) = match event {
                watcher::Event::Apply(object) => (object, true),
                watcher::Event::InitApply(object) => (object, false),
                _ => continue,
            };
            let name = object.metadata.name.clone().unwrap_or_default();
            let phase = phase_of(&object);
            let entered = known.insert(name.clone(), phase.clone()).as_ref() != Some(&phase);
            if !(new && entered && aim.takes(&phase)) {
                continue;
            }
            let killed = service.kill().is_ok();
            let found = promotions.get(&name).await.map(|p| phase_of(&p)).unwrap_or_default();
            let _the_lab_is_gone = service.restart();
            if killed {
                aim.hit(&found);
                hits.push(Hit { promotion: name, aimed: phase, found });
            }
        }
    });
    hits
}

fn phase_of(promotion: &DynamicObject) -> String {
    promotion.data["status"]["phase"].as_str().unwrap_or_default().to_owned()
}

/// Which chances are taken.
struct Aim {
    random: u64,
    wanted: BTreeMap<&'static str, u64>,
}

impl Aim {
    fn new(seed: u64) -> Self {
        let mut aim = Self { random: seed.max(1), wanted: BTreeMap::new() };
        for phase in PHASES {
            let times = 1 + aim.below(MORE);
            aim.wanted.insert(phase, times);
        }
        aim
    }

    /// Whether the service is killed now. Applied lasts a few milliseconds: every chance is taken.
    fn takes(&mut self, phase: &str) -> bool {
        let wanted = self.wanted.get(phase).is_some_and(|times| *times > 0);
        wanted && (phase == "Applied" || self.below(3) > 0)
    }

    fn hit(&mut self, phase: &str) {
        if let Some(times) = self.wanted.get_mut(phase) {
            *times = times.saturating_sub(1);
        }
    }

    /// The next number of Marsaglia's xorshift64, below a bound.
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }
}

/// What a lab came to.
pub(super) struct End {
    /// The manifests of every commit of every deploy branch, oldest first.
    branches: BTreeMap<String, Vec<BTreeMap<String, String>>>,
    /// Kind and end of every promotion, by environment and lane.
    promotions: BTreeMap<String, Vec<String>>,
}

impl End {
    pub(super) fn of(stage: &Stage) -> Result<Self, Failed> {
        let (mut branches, mut promotions) = (BTreeMap::new(), BTreeMap::new());
        for environment in ["dev", "staging", "production"] {
            for lane in LANES {
                let branch = branch(environment, lane);
                let mut commits = Vec::new();
                for commit in stage.git(&["rev-list", "--reverse", &branch])?.lines() {
                    let mut files = stage.manifests(commit)?;
                    // The labs' registries are at different ports.
                    for text in files.values_mut() {
                        *text = text.replace(stage.lab.registry(), "registry");
                    }
                    commits.push(files);
                }
                let mut ends: Vec<_> = stage
                    .promotions(environment, lane)?
                    .iter()
                    .map(|p| format!("{} {}", p["spec"]["kind"], p["status"]["phase"]))
                    .collect();
                ends.sort();
                promotions.insert(branch.clone(), ends);
                branches.insert(branch, commits);
            }
        }
        Ok(Self { branches, promotions })
    }

    fn compare(&self, other: &Self) -> Result<(), Failed> {
        for (branch, ends) in &self.promotions {
            let others = other.promotions.get(branch);
            must(others == Some(ends), || {
                format!("the promotions of {branch} ended as {others:?}, without kills as {ends:?}")
            })?;
        }
        for (branch, commits) in &self.branches {
            let others = other.branches.get(branch).map(Vec::as_slice).unwrap_or_default();
            must(others.len() == commits.len(), || {
                format!("{branch} has {} commits, without kills {}", others.len(), commits.len())
            })?;
            for (place, (one, other)) in commits.iter().zip(others).enumerate() {
                must(one == other, || format!("commit {} of {branch} differs", place + 1))?;
            }
        }
        Ok(())
    }
}
