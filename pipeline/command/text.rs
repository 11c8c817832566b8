//! Text for people: times, tables, and what keeps a terminal safe.
//!
//! Names and messages come from clusters, Git and registries, so a control character in one of
//! them must not move a cursor, forge a line or hide what is approved.

use jiff::{SignedDuration, Timestamp};
use std::fmt::Write as _;

/// One line of foreign text: control and bidirectional characters become visible escapes.
pub fn safe(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if hostile(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

/// The same for many lines, whose ends stay.
pub fn safe_lines(text: &str) -> String {
    text.split('\n').map(safe).collect::<Vec<_>>().join("\n")
}

fn hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A length of time in its largest unit: `45s`, `5m`, `3h`, `2d`.
pub fn length(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (size, unit) = [(86400, "d"), (3600, "h"), (60, "m")]
        .into_iter()
        .find(|(size, _)| seconds >= *size)
        .unwrap_or((1, "s"));
    format!("{}{unit}", seconds / size)
}

/// A time as `5m ago (2026-11-25T01:39:00Z)`, or `in 5m (…)`.
pub fn when(at: Timestamp, now: Timestamp) -> String {
    let absolute = at.strftime("%Y-%m-%dT%H:%M:%SZ");
    if at > now {
        format!("in {} ({absolute})", length(at.duration_since(now)))
    } else {
        format!("{} ago ({absolute})", length(now.duration_since(at)))
    }
}

/// Columns under headings, two spaces apart; the last one is as wide as it is.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut out = String::new();
    let head = headings.iter().map(|h| (*h).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _infallible = write!(line, "{cell:<width$}  ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Words that say how something is, and their colours (ECMA-48, select graphic rendition).
const WORDS: [(&str, &str); 14] = [
    ("Healthy", "32"),
    ("Succeeded", "32"),
    ("Watching", "36"),
    ("Applied", "36"),
    ("Committed", "36"),
    ("Admitted", "36"),
    ("Progressing", "33"),
    ("Waiting", "33"),
    ("Failed", "31"),
    ("Regressed", "31"),
    ("Refused", "31"),
    ("Rejected", "31"),
    ("NotApplied", "31"),
    ("Superseded", "2"),
];

/// Colours for a terminal: words of state, and the lines of a diff.
pub fn paint(text: &str) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let (body, end) = line.strip_suffix('\n').map_or((line, ""), |b| (b, "\n"));
        let code = match body.as_bytes() {
            [b'+', ..] => Some("32"),
            [b'-', ..] => Some("31"),
            [b'@', b'@', ..] => Some("36"),
            _ => None,
        };
        if let Some(code) = code {
            let _infallible = write!(out, "\x1b[{code}m{body}\x1b[0m{end}");
        } else {
            out.push_str(&words(body));
            out.push_str(end);
        }
    }
    out
}

fn words(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(letters);
        match WORDS.iter().find(|(known, _)| *known == word) {
            Some((_, code)) => {
                let _infallible = write!(out, "\x1b[{code}m{word}\x1b[0m");
            }
            None => out.push_str(word),
        }
        let others = after.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(after.len());
        out.push_str(&after[..others]);
        rest = &after[others..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_move_a_cursor_or_hide_text_becomes_visible() {
        assert_eq!(safe("a\x1b[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb\\nc\\u{202e}d");
        assert_eq!(safe("Größe 5 µm"), "Größe 5 µm");
        assert_eq!(safe_lines("a\r\nb"), "a\\r\nb");
    }

    #[test]
    fn times_are_told_relative_and_absolute() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        let told = |seconds| when(now + SignedDuration::from_secs(seconds), now);
        assert_eq!(told(-90), "1m ago (2026-11-25T11:58:30Z)");
        assert_eq!(told(7200), "in 2h (2026-11-25T14:00:00Z)");
        assert_eq!(told(0), "0s ago (2026-11-25T12:00:00Z)");
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let text = "Healthy NotHealthy\n+ added\n";
        let painted = paint(text);
        assert_eq!(painted, "\x1b[32mHealthy\x1b[0m NotHealthy\n\x1b[32m+ added\x1b[0m\n");
    }
}
