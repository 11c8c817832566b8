//! Names that the engine gives: `{pipeline}-{environment}-{lane}-{number}`.

use kube::ResourceExt as _;
use tidegate_schemas::Promotion;

/// The number at the end of a promotion's name; 0 where there is none.
#[must_use]
pub fn number(name: &str) -> u64 {
    name.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The name of the next promotion into an environment's lane.
#[must_use]
pub fn next_promotion(stem: &str, promotions: &[Promotion]) -> String {
    let highest = promotions
        .iter()
        .filter(|p| p.name_any().rsplit_once('-').is_some_and(|(s, _)| s == stem))
        .map(|p| number(&p.name_any()))
        .max()
        .unwrap_or(0);
    format!("{stem}-{}", highest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_what_stands_behind_the_last_hyphen() {
        assert_eq!(number("clinic-production-app-42"), 42);
        assert_eq!(number("clinic"), 0);
    }

    #[test]
    fn a_promotion_gets_the_number_after_the_highest_of_its_own_lane() {
        let named = |name: &str| -> Promotion {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "tidegate.dev/v1alpha1", "kind": "Promotion", "metadata": {"name": name},
                "spec": {"pipeline": "clinic", "environment": "dev", "lane": "app", "release": "r"}
            }))
            .unwrap()
        };
        let there =
            [named("clinic-dev-app-1"), named("clinic-dev-app-9"), named("clinic-dev-apps-30")];
        assert_eq!(next_promotion("clinic-dev-app", &there), "clinic-dev-app-10");
        assert_eq!(next_promotion("clinic-staging-app", &there), "clinic-staging-app-1");
    }
}
