//! Kinds without a rule of their own, by the conditions that most controllers set.

use serde_json::Value;

use crate::Judgement;
use crate::fields::{condition, holds};

/// kstatus' abnormal-true conditions, which come before everything a kind says itself.
pub(crate) fn stalled_or_reconciling(object: &Value) -> Option<Judgement> {
    if let Some(stalled) = condition(object, "Stalled").filter(|c| c.status == "True") {
        return Some(Judgement::failed(format!("it is stalled: {}", stalled.words())));
    }
    let reconciling = condition(object, "Reconciling").filter(|c| c.status == "True")?;
    Some(Judgement::progressing(format!("it is being reconciled: {}", reconciling.words())))
}

/// By the condition `Ready`; an object without one is healthy.
pub(crate) fn ready(object: &Value) -> Judgement {
    match condition(object, "Ready") {
        None => Judgement::healthy("it is there"),
        Some(_) if holds(object, "Ready") => Judgement::healthy("it is ready"),
        Some(not_yet) => Judgement::progressing(format!("it is not ready: {}", not_yet.words())),
    }
}
