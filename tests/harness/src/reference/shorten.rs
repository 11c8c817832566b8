//! Shorter waits for a demonstration: soak, watch and deadline, nothing else. The text is changed
//! in place, so that comments and everything unsaid stay as they are written.

use tidegate_ids::Period;

/// How long things take on the lab. A time that is shorter as written stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortened {
    /// How long content must have been healthy in the environment before.
    pub soak: Period,
    /// How long a change is watched.
    pub watch: Period,
    /// How long a change may take until it is applied and healthy.
    pub deadline: Period,
}

/// Shortens an EnvironmentClass; adds a line for each time that it shortened.
pub(super) fn class(
    class: &str,
    text: &str,
    shortened: Shortened,
    lines: &mut Vec<String>,
) -> String {
    let keys = [
        ("healthyFor: ", "soak", shortened.soak),
        ("for: ", "watch", shortened.watch),
        ("deadline: ", "deadline", shortened.deadline),
    ];
    let mut lane = String::new();
    let mut out = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("    ").and_then(|rest| rest.strip_suffix(':'))
            && !name.starts_with(' ')
        {
            lane = match name {
                "\"*\"" => "every lane".to_owned(),
                name => format!("lane {name}"),
            };
        }
        let mut short = line.to_owned();
        for (key, what, period) in keys {
            if let Some((before, after)) = shorter(&mut short, key, period) {
                lines.push(format!("{class}, {lane}: {what} {before} -> {after}"));
            }
        }
        out.push_str(&short);
        out.push('\n');
    }
    out
}

/// Replaces the time after `key`, if it is longer; both times.
fn shorter(line: &mut String, key: &str, period: Period) -> Option<(Period, Period)> {
    let start = line
        .match_indices(key)
        .map(|(at, _)| at)
        .find(|at| !line[..*at].ends_with(|c: char| c.is_ascii_alphanumeric()))?
        + key.len();
    let length =
        line[start..].find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(line.len() - start);
    let written: Period = line[start..start + length].parse().ok()?;
    if written <= period {
        return None;
    }
    line.replace_range(start..start + length, &period.to_string());
    Some((written, period))
}
