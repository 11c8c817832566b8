//! One environment's lane as it is at this moment: what it holds, what its Sync
//! says, and every promotion into it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use kube::ResourceExt;
use tidegate_gates::{Earned, Presence, earned};
use tidegate_ids::{CommitId, Digest, EnvironmentName, LaneName, Period};
use tidegate_promotion::{Branch, LaneContent, Past, SyncView};
use tidegate_release::deploy::DeployTrailers;
use tidegate_schemas::{
    EffectiveEnvironment, EffectiveLane, Held, Kind, Phase, Promotion, PromotionStatus, Sync,
};
use tidegate_source::Mirror;

use crate::Error;

/// What an environment's lane holds by its last accepted deploy commit.
#[derive(Debug, Clone)]
pub struct Holding {
    /// The commit.
    pub commit: CommitId,
    /// What it states.
    pub trailers: DeployTrailers,
}

/// One environment's lane.
pub struct LaneState<'a> {
    /// The environment.
    pub environment: &'a EffectiveEnvironment,
    /// The lane in it.
    pub lane: &'a EffectiveLane,
    /// Its Sync.
    pub sync: Option<Arc<Sync>>,
    /// What it holds.
    pub holding: Option<Holding>,
    /// Promotions into it, oldest first.
    pub promotions: Vec<Promotion>,
    /// Whether the Sync has looked at its target since this process began.
    pub looked: bool,
}

/// Every lane of every environment.
pub type Lanes<'a> = HashMap<(EnvironmentName, LaneName), LaneState<'a>>;

/// Where a promotion stands; Waiting where nothing was written yet.
#[must_use]
pub fn phase(promotion: &Promotion) -> Phase {
    promotion.status.as_ref().map_or(Phase::Waiting, |s| s.phase)
}

fn status(promotion: &Promotion) -> PromotionStatus {
    promotion.status.clone().unwrap_or_default()
}

/// Deploy commits that were read before: what one states never changes.
#[derive(Default)]
pub struct Stated(Mutex<HashMap<CommitId, DeployTrailers>>);

/// How many are kept.
const STATED_KEPT: usize = 10_000;

impl Stated {
    fn by(&self, mirror: &Mirror, commit: CommitId) -> Result<Holding, Error> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(trailers) = known().get(&commit).cloned() {
            return Ok(Holding { commit, trailers });
        }
        let what = || format!("reading the accepted deploy commit {}", commit.short());
        let snapshot = mirror.snapshot(&commit).map_err(Error::git(what()))?;
        let trailers = DeployTrailers::parse(&snapshot.details().message)
            .map_err(|e| Error::Content(format!("{}: {e}", what())))?;
        let mut known = known();
        if known.len() >= STATED_KEPT {
            known.clear();
        }
        known.insert(commit.clone(), trailers.clone());
        Ok(Holding { commit, trailers })
    }
}

impl<'a> LaneState<'a> {
    /// Reads what the lane holds from the commit that its Sync last accepted.
    ///
    /// # Errors
    /// When that commit cannot be read: what is not known must not be taken for nothing.
    pub fn new(
        environment: &'a EffectiveEnvironment,
        lane: &'a EffectiveLane,
        sync: Option<Arc<Sync>>,
        stated: &Stated,
        mirror: &Mirror,
        promotions: Vec<Promotion>,
        looked_at: Option<u64>,
    ) -> Result<Self, Error> {
        let accepted = sync.as_ref().and_then(|s| s.status.as_ref()?.accepted.clone());
        let holding = accepted.map(|accepted| stated.by(mirror, accepted.commit)).transpose()?;
        let version = sync.as_ref().and_then(|s| s.resource_version()?.parse().ok()).unwrap_or(0);
        let looked = looked_at.is_some_and(|at| version >= at);
        Ok(Self { environment, lane, sync, holding, promotions, looked })
    }

    /// What it holds, as promotions record it.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        self.holding.as_ref().map(|h| Held {
            release: h.trailers.release.clone(),
            manifests: h.trailers.manifests,
            commit: h.commit.clone(),
        })
    }

    /// What it holds and what is on its way.
    #[must_use]
    pub fn content(&self) -> LaneContent {
        let brings = |p: &Promotion| status(p).manifests;
        let open = self.promotions.iter().filter(|p| !phase(p).is_final());
        // What somebody went back from is not brought again by itself: neither after a rollback nor
        // after a person brought a release of their own choice.
        let chosen = self.promotions.iter().rposition(|p| {
            (p.spec.kind == Kind::Rollback || p.spec.requested_by.is_some())
                && !matches!(phase(p), Phase::Refused | Phase::Rejected | Phase::Superseded)
        });
        let declined = self.promotions.iter().enumerate().filter(|(place, p)| {
            chosen.is_some_and(|chosen| *place < chosen)
                || matches!(phase(p), Phase::Refused | Phase::Rejected | Phase::NotApplied)
        });
        LaneContent {
            holds: self.holding.as_ref().map(|h| h.trailers.manifests),
            open: open
                .filter_map(|p| Some((p.name_any(), brings(p)?, p.spec.kind, phase(p))))
                .collect(),
            declined: declined.filter_map(|(_, p)| brings(p)).collect(),
        }
    }

    /// Whether a person's promotion into it has not ended: nothing else is brought by itself then.
    #[must_use]
    pub fn awaits_a_person(&self) -> bool {
        self.promotions.iter().any(|p| p.spec.requested_by.is_some() && !phase(p).is_final())
    }

    /// The promotion that comes before this one: one past admission, or, before a forward one, a
    /// rollback that has not ended.
    #[must_use]
    pub fn comes_first(&self, promotion: &Promotion) -> Option<String> {
        let forward = promotion.spec.kind == Kind::Promote;
        self.promotions
            .iter()
            .filter(|p| p.name_any() != promotion.name_any())
            .find(|p| {
                let rollback = p.spec.kind == Kind::Rollback && !phase(p).is_final();
                phase(p).in_flight() || (forward && rollback)
            })
            .map(ResourceExt::name_any)
    }

    /// The promotions that have ended; `refused` says of which releases an image may no longer run.
    #[must_use]
    pub fn past(&self, now: Timestamp, refused: impl Fn(&str) -> bool) -> Vec<Past> {
        self.promotions
            .iter()
            .enumerate()
            .filter(|(_, p)| phase(p).is_final())
            .filter_map(|(place, p)| {
                let status = status(p);
                Some(Past {
                    name: p.name_any(),
                    release: p.spec.release.clone(),
                    manifests: status.manifests?,
                    kind: p.spec.kind,
                    by_person: p.spec.requested_by.is_some(),
                    phase: status.phase,
                    known_good: status.known_good,
                    ended: status.ended_at?,
                    ran_until: self.replaced_at(place).unwrap_or(now),
                    refused: refused(&p.spec.release),
                })
            })
            .collect()
    }

    /// When the content of a promotion was replaced: when the next commit was made.
    fn replaced_at(&self, place: usize) -> Option<Timestamp> {
        let later = self.promotions.get(place + 1..)?.iter().filter_map(|p| p.status.as_ref());
        later.filter(|s| s.commit.is_some()).find_map(|s| s.planned.as_ref().map(|p| p.at))
    }

    /// The deploy branch, as the state machine looks at it.
    #[must_use]
    pub fn branch(&self, ours: Option<CommitId>) -> Branch {
        let accepted = self.holding.as_ref().map(|h| (h.commit.clone(), h.trailers.sequence));
        Branch { accepted, ours }
    }

    /// The Sync, as the state machine looks at it.
    #[must_use]
    pub fn view(&self) -> SyncView<'_> {
        let seen = self.sync.as_ref().filter(|_| self.looked);
        let status = seen.and_then(|s| s.status.as_ref());
        SyncView {
            applied: status.and_then(|s| s.applied.as_ref()),
            health: status.and_then(|s| s.health.as_ref()),
            refused: status.and_then(|s| s.refused.as_ref()),
            failure: status.and_then(|s| s.failure.as_ref()),
        }
    }

    /// How long this content was healthy here, and whether it is now. While the lane holds it and it
    /// has been unhealthy for longer than the tolerance, what it earned is lost; when newer content
    /// replaced it, it stays.
    #[must_use]
    pub fn earned(&self, manifests: Digest, tolerance: Period, now: Timestamp) -> Earned {
        let holds = self.holding.as_ref().is_some_and(|h| h.trailers.manifests == manifests);
        let presence = if holds { Presence::Arrived } else { Presence::Expected };
        let mut best = Earned { presence, ..Earned::default() };
        for promotion in &self.promotions {
            let status = status(promotion);
            if status.manifests != Some(manifests) || status.phase == Phase::Regressed {
                continue;
            }
            let Some(last) = status.healthy.last() else { continue };
            best.presence = Presence::Arrived;
            best.counting |= last.to.is_none() && holds;
            let unhealthy =
                last.to.is_some_and(|to| now.duration_since(to) > tolerance.to_signed());
            if !(holds && unhealthy) {
                best.healthy = best.healthy.max(earned(&status.healthy, tolerance, now));
            }
        }
        best
    }
}
