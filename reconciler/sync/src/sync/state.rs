//! What a Sync's task holds in memory: identities, digests and versions, never live objects.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_cluster::{Fingerprint, Observed};
use tidegate_health::Judgement;
use tidegate_ids::{CommitId, Digest, ObjectId};
use tidegate_manifest::Set;
use tidegate_plan::Parent;
use tidegate_schemas::{Cause, Sync, SyncStatus};
use tidegate_source::Mirror;

/// Everything that is known of one Sync.
pub(super) struct State {
    pub(super) object: Arc<Sync>,
    /// As it is to be written; what is written is in `object`.
    pub(super) status: SyncStatus,
    pub(super) mirror: Option<Arc<Mirror>>,
    /// Why the branch cannot be followed.
    pub(super) problem: Option<Problem>,
    pub(super) desired: Option<Desired>,
    /// The record in the target, once it was read.
    pub(super) parent: Option<Parent>,
    /// The record as it was last written.
    pub(super) recorded: BTreeSet<ObjectId>,
    pub(super) known: BTreeMap<ObjectId, Known>,
    pub(super) observed: BTreeMap<ObjectId, Observed>,
    pub(super) health: BTreeMap<ObjectId, Judgement>,
    /// Whose health is to be looked at.
    pub(super) unsure: BTreeSet<ObjectId>,
    pub(super) look_again: Option<Instant>,
    pub(super) look_pause: Duration,
    /// Why the last pass failed.
    pub(super) failure: Option<Failure>,
    /// The pass waits for something that takes a moment.
    pub(super) waiting: Option<String>,
    pub(super) waiting_since: Option<Instant>,
    /// What must not be pruned, and is no longer stated.
    pub(super) blocked: Vec<ObjectId>,
    pub(super) fights: BTreeMap<ObjectId, Fight>,
    /// The kinds whose changes are not seen now, in words.
    pub(super) degraded: Option<String>,
    /// The commit and generation of the last attempt.
    pub(super) attempt: Option<(CommitId, Option<i64>)>,
    pub(super) retry: Retry,
    pub(super) drift_retry: Retry,
    pub(super) write_retry: Retry,
}

/// What Git states, ready to be applied.
pub(super) struct Desired {
    pub(super) commit: CommitId,
    pub(super) generation: Option<i64>,
    /// The id of the folder's tree.
    pub(super) tree: String,
    /// What was read, by path: the tree or file ids. While they stay, so do the objects.
    pub(super) reads: Vec<(String, Option<String>)>,
    pub(super) set: Set,
}

/// An object as it was last applied or looked at.
pub(super) struct Known {
    pub(super) digest: Digest,
    pub(super) version: String,
    pub(super) fingerprint: Fingerprint,
}

impl Known {
    pub(super) fn of(digest: Digest, object: &Value) -> Self {
        let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        Self {
            digest,
            version: version.unwrap_or_default().to_owned(),
            fingerprint: Fingerprint::of(object),
        }
    }

    /// Whether an event tells of nothing newer than this. Versions of one kind are numbers that
    /// rise (KEP-5504); any other text is newer.
    pub(super) fn covers(&self, version: &str) -> bool {
        match (self.version.parse::<u64>(), version.parse::<u64>()) {
            (Ok(known), Ok(seen)) => seen <= known,
            _ => self.version == version,
        }
    }
}

/// Why a branch cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// Whether a person must act.
    pub(super) stalled: bool,
}

/// Why a pass failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn content(reason: &'static str, message: &impl ToString) -> Self {
        Self { cause: Cause::Content, reason, message: message.to_string() }
    }

    pub(super) fn cluster(reason: &'static str, message: &impl ToString) -> Self {
        Self { cause: Cause::Cluster, reason, message: message.to_string() }
    }
}

impl From<tidegate_cluster::Error> for Failure {
    fn from(error: tidegate_cluster::Error) -> Self {
        let reason = match error.cause() {
            Cause::Content => "Refused",
            _ => "ClusterUnable",
        };
        Self { cause: error.cause(), reason, message: error.to_string() }
    }
}

impl From<tidegate_plan::Error> for Failure {
    fn from(error: tidegate_plan::Error) -> Self {
        use tidegate_plan::Error as E;
        let reason = match &error {
            E::Empty { .. } => "EmptyFolder",
            E::Kinds { .. } => "KindNotAllowed",
            E::Foreign { .. } => "TargetTaken",
            E::Unreadable { .. } => "RecordUnreadable",
            E::Manifest(_) => "ManifestInvalid",
        };
        Self::content(reason, &error)
    }
}

/// When to try again: twice as long after each failure.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
    pub(super) not_before: Option<Instant>,
}

impl Retry {
    /// Waits 1, 2, 4 … seconds, at most five minutes.
    pub(super) fn later(&mut self) {
        let pause = Duration::from_secs(1 << self.failures.min(8)).min(Duration::from_mins(5));
        self.failures += 1;
        self.not_before = Some(Instant::now() + pause);
    }

    /// Waits a moment: 0.1 seconds, growing to 2.
    pub(super) fn soon(&mut self) {
        let pause = Duration::from_millis(100 << self.failures.min(5)).min(Duration::from_secs(2));
        self.failures += 1;
        self.not_before = Some(Instant::now() + pause);
    }

    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(super) fn holds(&self) -> bool {
        self.not_before.is_some_and(|at| at > Instant::now())
    }
}

/// How often one object was corrected lately.
#[derive(Debug, Default)]
pub(super) struct Fight {
    corrections: VecDeque<Instant>,
    /// Until when it is left alone, and why.
    pub(super) held: Option<(Instant, String)>,
}

impl Fight {
    const WINDOW: Duration = Duration::from_mins(1);
    const MOST: usize = 5;

    /// Notes a correction; true when there were too many.
    pub(super) fn corrected(&mut self) -> bool {
        let now = Instant::now();
        self.corrections.retain(|at| now.duration_since(*at) < Self::WINDOW);
        self.corrections.push_back(now);
        self.corrections.len() > Self::MOST
    }

    pub(super) fn hold(&mut self, why: String) {
        self.held = Some((Instant::now() + Self::WINDOW, why));
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.as_ref().is_some_and(|(until, _)| *until > Instant::now())
    }
}

/// How soon pods of a workload that is not healthy are looked at again; it doubles up to the longest.
pub(super) const FIRST_LOOK: Duration = Duration::from_secs(1);
pub(super) const LONGEST_LOOK: Duration = Duration::from_secs(10);

impl State {
    pub(super) fn new(object: Arc<Sync>) -> Self {
        Self {
            status: object.status.clone().unwrap_or_default(),
            object,
            mirror: None,
            problem: None,
            desired: None,
            parent: None,
            recorded: BTreeSet::new(),
            known: BTreeMap::new(),
            observed: BTreeMap::new(),
            health: BTreeMap::new(),
            unsure: BTreeSet::new(),
            look_again: None,
            look_pause: FIRST_LOOK,
            failure: None,
            waiting: None,
            waiting_since: None,
            degraded: None,
            blocked: Vec::new(),
            fights: BTreeMap::new(),
            attempt: None,
            retry: Retry::default(),
            drift_retry: Retry::default(),
            write_retry: Retry::default(),
        }
    }

    /// Takes in a newer version of the object. What was applied is forgotten when it goes elsewhere.
    pub(super) fn adopt(&mut self, object: Arc<Sync>) {
        let version = |object: &Sync| -> Option<u64> {
            object.metadata.resource_version.as_ref()?.parse().ok()
        };
        // The watch lags behind our own status writes.
        if object.metadata.generation == self.object.metadata.generation
            && version(&object) <= version(&self.object)
        {
            return;
        }
        if object.metadata.generation != self.object.metadata.generation {
            self.retry.reset();
            let (old, new) = (&self.object.spec, &object.spec);
            if old.target != new.target || old.account != new.account {
                let status = std::mem::take(&mut self.status);
                *self = Self::new(Arc::clone(&object));
                self.status = status;
            }
        }
        self.object = object;
    }

    /// Forgets the times that have come: this step does what they stand for.
    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        let retries = [&mut self.retry, &mut self.drift_retry, &mut self.write_retry];
        for retry in retries {
            retry.not_before = retry.not_before.filter(|at| *at > now);
        }
        for fight in self.fights.values_mut() {
            fight.held = fight.held.take().filter(|(until, _)| *until > now);
        }
    }

    /// The next time at which something is to be done without an event.
    pub(super) fn next_wake(&self, deadline: Option<Instant>) -> Option<Instant> {
        let held = self.fights.values().filter_map(|f| f.held.as_ref().map(|(until, _)| *until));
        [
            self.retry.not_before,
            self.drift_retry.not_before,
            self.write_retry.not_before,
            self.look_again,
            deadline,
        ]
        .into_iter()
        .flatten()
        .chain(held)
        .min()
    }
}
