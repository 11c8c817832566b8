//! Which promotions should exist: the newest release of a lane travels to every
//! environment whose earlier environments hold its content.

use tidegate_ids::{Digest, EnvironmentName};
use tidegate_schemas::{EffectiveLane, Kind, Phase, Release};

/// What one environment's lane holds and what is on its way there.
#[derive(Debug, Clone, Default)]
pub struct LaneContent {
    /// The manifests that its deploy branch holds, as accepted by the Sync.
    pub holds: Option<Digest>,
    /// The promotions that have not ended: name, what they bring, kind and phase.
    pub open: Vec<(String, Digest, Kind, Phase)>,
    /// What a person has to look at before anything is brought by itself: content that was refused,
    /// rejected, or could not be applied here.
    pub declined: Vec<Digest>,
}

/// A promotion that should be there and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where to.
    pub environment: EnvironmentName,
    /// The release.
    pub release: String,
    /// Its manifests there.
    pub manifests: Digest,
}

/// Whether a promotion of this release into this environment should be created now.
///
/// Not where the content already runs, is on its way, regressed here or earlier, or was declined
/// by somebody; and only once every environment of the `after` gate holds this content.
#[must_use]
pub fn wanted(
    release: &Release,
    environment: &EnvironmentName,
    lane: &EffectiveLane,
    here: &LaneContent,
    holds: &dyn Fn(&EnvironmentName) -> Option<Digest>,
    earlier: &[EnvironmentName],
) -> Option<Wanted> {
    let manifests = release.spec.rendered.get(environment)?.manifests;
    let on_its_way = here.open.iter().any(|(_, brings, _, _)| *brings == manifests);
    let in_flight = here.open.iter().find(|(_, _, _, phase)| phase.in_flight());
    let runs =
        here.holds == Some(manifests) && in_flight.is_none_or(|(_, m, _, _)| *m == manifests);
    if runs || on_its_way || here.declined.contains(&manifests) {
        return None;
    }
    let status = release.status.as_ref();
    let quarantined = status.is_some_and(|s| {
        s.quarantined
            .iter()
            .any(|q| q.environment == *environment || earlier.contains(&q.environment))
    });
    if quarantined {
        return None;
    }
    let arrived = lane.after.keys().all(|e| match release.spec.rendered.get(e) {
        None => true,
        Some(set) => holds(e) == Some(set.manifests),
    });
    arrived.then(|| Wanted {
        environment: environment.clone(),
        release: release.metadata.name.clone().unwrap_or_default(),
        manifests,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;
    use tidegate_schemas::{Drift, LanePaths, Watch};

    fn release() -> Release {
        let set =
            |content: &str| json!({"manifests": Digest::of(content.as_bytes()), "objects": 1});
        serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "Release", "metadata": {"name": "clinic-app-1"},
            "spec": {"pipeline": "clinic", "lane": "app", "id": Digest::of(b"id"), "sequence": 1,
                "source": {"commit": "0".repeat(40), "author": "a", "title": "t", "time": "1970-01-01T00:00:00Z"},
                "rendered": {"dev": set("d"), "production": set("p")}}}))
        .unwrap()
    }

    fn after_dev() -> EffectiveLane {
        EffectiveLane {
            name: "app".parse().unwrap(),
            paths: LanePaths::new("clinic", "production", "app", "{environment}/{lane}"),
            after: BTreeMap::from([(dev(), tidegate_schemas::After::default())]),
            after_by_default: true,
            approvals: vec![],
            vulnerabilities: None,
            watch: Watch::default(),
            deadline: tidegate_ids::Period::seconds(600),
            drift: Drift::Correct,
        }
    }

    fn dev() -> EnvironmentName {
        "dev".parse().unwrap()
    }

    fn ask(release: &Release, here: &LaneContent, dev_holds: &str) -> bool {
        let holds = |_: &EnvironmentName| Some(Digest::of(dev_holds.as_bytes()));
        wanted(release, &"production".parse().unwrap(), &after_dev(), here, &holds, &[dev()])
            .is_some()
    }

    #[test]
    fn a_promotion_is_made_once_the_earlier_environment_holds_the_content() {
        assert!(ask(&release(), &LaneContent::default(), "d"));
        assert!(!ask(&release(), &LaneContent::default(), "something else"));
    }

    #[test]
    fn what_runs_is_on_its_way_or_was_declined_is_not_brought_again() {
        let p = Digest::of(b"p");
        let runs = LaneContent { holds: Some(p), ..LaneContent::default() };
        let open = LaneContent {
            open: vec![("x".into(), p, Kind::Promote, Phase::Waiting)],
            ..LaneContent::default()
        };
        let declined = LaneContent { declined: vec![p], ..LaneContent::default() };
        for here in [runs, open, declined] {
            assert!(!ask(&release(), &here, "d"), "{here:?}");
        }
    }

    #[test]
    fn content_that_regressed_on_the_way_does_not_go_on() {
        let mut release = release();
        release.status = Some(
            serde_json::from_value(
                json!({"quarantined": [{"environment": "dev", "manifests": Digest::of(b"d"),
                "promotion": "p", "reason": "r", "since": "1970-01-01T00:00:00Z"}]}),
            )
            .unwrap(),
        );
        assert!(!ask(&release, &LaneContent::default(), "d"));
    }
}
