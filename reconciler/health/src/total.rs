//! The health of many: the worst of all, and the objects that make it so.

use tidegate_ids::ObjectId;
use tidegate_schemas::{Health, ObjectHealth};

use crate::Judgement;

/// How many objects a report shows.
pub const WORST_SHOWN: usize = 10;

/// The worst state of all, and the objects that are not healthy, worst first; at most
/// [`WORST_SHOWN`]. Nothing is healthy.
pub fn total<'a>(
    judged: impl IntoIterator<Item = (&'a ObjectId, &'a Judgement)>,
) -> (Health, Vec<ObjectHealth>) {
    let mut worst = Health::Healthy;
    let mut objects = Vec::new();
    for (object, judgement) in judged {
        worst = worst.max(judgement.state);
        if judgement.state != Health::Healthy {
            objects.push(ObjectHealth {
                object: object.clone(),
                state: judgement.state,
                message: judgement.message.clone(),
            });
        }
    }
    objects.sort_by(|a, b| b.state.cmp(&a.state).then_with(|| a.object.cmp(&b.object)));
    objects.truncate(WORST_SHOWN);
    (worst, objects)
}
