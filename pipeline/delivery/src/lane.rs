//! One environment's lane as it is at this moment: what it holds, what its Sync
//! says, and every promotion into it.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use tidegate_gates::earned;
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

fn holding(mirror: &Mirror, commit: CommitId) -> Result<Holding, Error> {
    let what = || format!("reading the accepted deploy commit {}", commit.short());
    let snapshot = mirror.snapshot(&commit).map_err(Error::git(what()))?;
    let trailers = DeployTrailers::parse(&snapshot.details().message)
        .map_err(|e| Error::Content(format!("{}: {e}", what())))?;
    Ok(Holding { commit, trailers })
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
        mirror: &Mirror,
        promotions: Vec<Promotion>,
    ) -> Result<Self, Error> {
        let accepted = sync.as_ref().and_then(|s| s.status.as_ref()?.accepted.clone());
        let holding = accepted.map(|accepted| holding(mirror, accepted.commit)).transpose()?;
        Ok(Self { environment, lane, sync, holding, promotions })
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
        // What was rolled back from is not brought again by itself, whoever rolled it back.
        let rolled_back = self.promotions.iter().rposition(|p| {
            p.spec.kind == Kind::Rollback
                && !matches!(phase(p), Phase::Refused | Phase::Rejected | Phase::Superseded)
        });
        let declined = self.promotions.iter().enumerate().filter(|(place, p)| {
            rolled_back.is_some_and(|rollback| *place < rollback)
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

    /// The promotion past admission, other than this one.
    #[must_use]
    pub fn in_flight(&self, except: &str) -> Option<String> {
        self.promotions
            .iter()
            .find(|p| phase(p).in_flight() && p.name_any() != except)
            .map(ResourceExt::name_any)
    }

    /// The promotions that have ended.
    #[must_use]
    pub fn past(&self) -> Vec<Past> {
        self.promotions
            .iter()
            .filter(|p| phase(p).is_final())
            .filter_map(|p| {
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
                })
            })
            .collect()
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
        let status = self.sync.as_ref().and_then(|s| s.status.as_ref());
        SyncView {
            applied: status.and_then(|s| s.applied.as_ref()),
            health: status.and_then(|s| s.health.as_ref()),
            refused: status.and_then(|s| s.refused.as_ref()),
            failure: status.and_then(|s| s.failure.as_ref()),
        }
    }

    /// How long this content was healthy here, and whether it is now.
    #[must_use]
    pub fn earned(
        &self,
        manifests: Digest,
        tolerance: Period,
        now: Timestamp,
    ) -> tidegate_gates::Earned {
        let holds = self.holding.as_ref().is_some_and(|h| h.trailers.manifests == manifests);
        let mut best = tidegate_gates::Earned { arrived: holds, ..Default::default() };
        for promotion in &self.promotions {
            let status = status(promotion);
            if status.manifests != Some(manifests) || status.phase == Phase::Regressed {
                continue;
            }
            let Some(last) = status.healthy.last() else { continue };
            best.arrived = true;
            best.counting |= last.to.is_none() && holds;
            best.healthy = best.healthy.max(earned(&status.healthy, tolerance, now));
        }
        best
    }
}
