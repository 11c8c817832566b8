//! Names that the engine gives: `{pipeline}-{environment}-{lane}-{number}`.

/// The number at the end of a promotion's name; 0 where there is none.
#[must_use]
pub fn number(name: &str) -> u64 {
    name.rsplit('-').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// The name of the next promotion into an environment's lane, given every name that is taken.
#[must_use]
pub fn next_promotion(stem: &str, taken: &[String]) -> String {
    let highest = taken
        .iter()
        .filter(|name| name.rsplit_once('-').is_some_and(|(s, _)| s == stem))
        .map(|name| number(name))
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
        let there =
            ["clinic-dev-app-1", "clinic-dev-app-9", "clinic-dev-apps-30"].map(ToOwned::to_owned);
        assert_eq!(next_promotion("clinic-dev-app", &there), "clinic-dev-app-10");
        assert_eq!(next_promotion("clinic-staging-app", &there), "clinic-staging-app-1");
    }
}
