//! Conditions by the Kubernetes convention: one entry for each type, whose
//! transition time moves only when its status does.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The three values a condition may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be told now.
    Unknown,
}

impl ConditionStatus {
    const fn text(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// The condition of that type, if it was ever set.
#[must_use]
pub fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == kind)
}

/// Sets one condition; its transition time moves only if the status changed.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    kind: &str,
    status: impl Into<ConditionStatus>,
    reason: &str,
    message: impl Into<String>,
    generation: Option<i64>,
    now: jiff::Timestamp,
) {
    let status = status.into().text();
    let since = condition(conditions, kind)
        .filter(|c| c.status == status)
        .map_or(Time(now), |c| c.last_transition_time.clone());
    conditions.retain(|c| c.type_ != kind);
    conditions.push(Condition {
        last_transition_time: since,
        message: message.into(),
        observed_generation: generation,
        reason: reason.to_owned(),
        status: status.to_owned(),
        type_: kind.to_owned(),
    });
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let (early, late) = (jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::MAX);
        let mut conditions = Vec::new();
        set_condition(&mut conditions, "Ready", true, "Applied", "applied", None, early);
        set_condition(&mut conditions, "Ready", true, "Applied", "again", None, late);
        assert_eq!(conditions[0].last_transition_time, Time(early));
        assert_eq!(conditions[0].message, "again");
        set_condition(&mut conditions, "Ready", false, "Failed", "failed", None, late);
        assert_eq!(conditions[0].last_transition_time, Time(late));
    }
}
