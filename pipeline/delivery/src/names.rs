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
