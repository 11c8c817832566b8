//! Deleting what Git no longer states. Only after everything was applied, in reverse stages, each
//! object as it was looked at: what changed meanwhile, or is not ours, is left alone.

use futures::{StreamExt as _, stream};
use tidegate_cluster::{Deployer, Error};
use tidegate_ids::ObjectId;
use tidegate_plan::{Prunable, prunable};

use super::actor::Actor;
use super::pass::{IN_FLIGHT, Stop};
use super::state::Failure;

/// What became of an object.
enum Outcome {
    /// It is gone, or was never ours.
    Gone,
    /// It stays because somebody asked for it.
    Kept,
    /// It is going.
    Going,
}

impl Actor {
    pub(super) async fn prune(&mut self, stages: &[Vec<ObjectId>]) -> Result<(), Stop> {
        let applyset = self.new_parent().applyset();
        for ids in stages {
            let prunes: Vec<_> = ids
                .iter()
                .map(|id| prune_one(self.deployer(), id.clone(), applyset.clone()))
                .collect();
            let outcomes: Vec<(ObjectId, Result<Outcome, Error>)> =
                stream::iter(prunes).buffer_unordered(IN_FLIGHT).collect().await;
            let (mut failure, mut going) = (None, None);
            for (id, outcome) in outcomes {
                match outcome {
                    Ok(Outcome::Gone) => self.forget(&id),
                    Ok(Outcome::Kept) => {}
                    Ok(Outcome::Going) => going = Some(id),
                    Err(error) => failure = Some(Failure::from(error)),
                }
            }
            self.record().await?;
            if let Some(failure) = failure {
                return Err(Stop::Fail(failure));
            }
            if let Some(id) = going {
                return Err(Stop::Wait(format!("{id} is being deleted")));
            }
        }
        Ok(())
    }

    fn forget(&mut self, id: &ObjectId) {
        if let Some(parent) = self.state.parent.as_mut() {
            parent.inventory.remove(id);
        }
        self.state.known.remove(id);
        self.state.health.remove(id);
        self.state.observed.remove(id);
        self.state.fights.remove(id);
    }
}

async fn prune_one(
    deployer: Deployer,
    id: ObjectId,
    applyset: String,
) -> (ObjectId, Result<Outcome, Error>) {
    let outcome = try_prune(&deployer, &id, &applyset).await;
    (id, outcome)
}

async fn try_prune(deployer: &Deployer, id: &ObjectId, applyset: &str) -> Result<Outcome, Error> {
    // A kind that is not served any more has no objects either.
    let live = match deployer.get(id).await {
        Err(Error::UnknownKind { .. }) | Ok(None) => return Ok(Outcome::Gone),
        Ok(Some(live)) => live,
        Err(error) => return Err(error),
    };
    match prunable(&live, applyset) {
        Prunable::NotOurs => Ok(Outcome::Gone),
        Prunable::Kept => Ok(Outcome::Kept),
        Prunable::Going => Ok(Outcome::Going),
        Prunable::Delete { uid, resource_version } => {
            match deployer.delete(id, &uid, &resource_version).await {
                Ok(()) => {}
                Err(Error::Conflict { .. }) => return Ok(Outcome::Going),
                Err(error) => return Err(error),
            }
            let gone = deployer.get(id).await?.is_none();
            Ok(if gone { Outcome::Gone } else { Outcome::Going })
        }
    }
}
