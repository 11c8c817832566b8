//! Why something that is attached proves nothing, in sentences: what, why, and the way out.
//!
//! Texts taken from bundles were written by whoever could push to the registry: they are cut and
//! their control characters escaped.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use tidegate_ids::Digest;

use crate::identity::Mismatch;

/// Why something attached is not proved to be by somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortcoming {
    /// The registry could not give it.
    Unreadable {
        /// What it is attached by.
        attached: Digest,
        /// Why not.
        why: String,
    },
    /// It is not of a form that can be read.
    Malformed {
        /// What it is attached by.
        attached: Digest,
        /// What is wrong with it.
        why: String,
    },
    /// It signs bytes and says nothing of an image.
    Message {
        /// What it is attached by.
        attached: Digest,
    },
    /// Its envelope holds no in-toto statement.
    NotAStatement {
        /// What it is attached by.
        attached: Digest,
        /// What it holds, as it says.
        payload_type: String,
    },
    /// A statement about something else.
    OtherSubject {
        /// What it is attached by.
        attached: Digest,
        /// What it is about.
        signed: BTreeSet<Digest>,
        /// What it should be about.
        digest: Digest,
    },
    /// Signed with a certificate, where a key is asked for.
    ByCertificate {
        /// What it is attached by.
        attached: Digest,
        /// Who is asked for.
        authority: String,
    },
    /// Signed with a key, where an identity is asked for.
    ByKey {
        /// What it is attached by.
        attached: Digest,
        /// Who is asked for.
        authority: String,
    },
    /// Signed by another key.
    OtherKey {
        /// What it is attached by.
        attached: Digest,
        /// The fingerprint the bundle states; it is not authenticated.
        claimed: Option<Digest>,
        /// Who is asked for.
        authority: String,
    },
    /// The bundle names this Ed25519 key, which did not make the signature as Ed25519.
    NotPureEd25519 {
        /// What it is attached by.
        attached: Digest,
        /// Whose key.
        authority: String,
    },
    /// Signed by another identity.
    OtherIdentity {
        /// What it is attached by.
        attached: Digest,
        /// Who signed.
        subject: String,
        /// Who is asked for.
        authority: String,
        /// Where they differ.
        why: Box<Mismatch>,
    },
    /// Signed by who is asked for, but in no transparency log.
    NoLogEntry {
        /// What it is attached by.
        attached: Digest,
        /// Who is asked for.
        authority: String,
    },
    /// What has to be verified with a trusted root, where there is none.
    NoRoots {
        /// What it is attached by.
        attached: Digest,
        /// Who is asked for.
        authority: String,
    },
    /// Certificate, log entries or timestamps do not verify under any root.
    NotProved {
        /// What it is attached by.
        attached: Digest,
        /// Who is asked for.
        authority: String,
        /// The name of each root, and why not under it.
        under: Vec<(String, String)>,
    },
    /// Signed before the key was valid, or after.
    OutsideWindow {
        /// What it is attached by.
        attached: Digest,
        /// Whose key.
        authority: String,
        /// When it was signed, or now.
        at: Timestamp,
        /// Whether a log or timestamp authority proves that time.
        proved: bool,
        /// Whether it was too early, and not too late.
        early: bool,
        /// From when, or until when, it is valid.
        edge: Timestamp,
    },
    /// A log or timestamp authority says it was signed later than now.
    Future {
        /// What it is attached by.
        attached: Digest,
        /// When it says so.
        at: Timestamp,
    },
}

impl Shortcoming {
    /// What it is about.
    #[must_use]
    pub fn attached(&self) -> Digest {
        match self {
            Self::Unreadable { attached, .. }
            | Self::Malformed { attached, .. }
            | Self::Message { attached }
            | Self::NotAStatement { attached, .. }
            | Self::OtherSubject { attached, .. }
            | Self::ByCertificate { attached, .. }
            | Self::ByKey { attached, .. }
            | Self::OtherKey { attached, .. }
            | Self::NotPureEd25519 { attached, .. }
            | Self::OtherIdentity { attached, .. }
            | Self::NoLogEntry { attached, .. }
            | Self::NoRoots { attached, .. }
            | Self::NotProved { attached, .. }
            | Self::OutsideWindow { attached, .. }
            | Self::Future { attached, .. } => *attached,
        }
    }
}

impl fmt::Display for Shortcoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attached = self.attached().short();
        match self {
            Self::Unreadable { why, .. } => write!(
                f,
                "{attached} is attached and cannot be fetched: {}; mend the registry or remove it",
                printable(why)
            ),
            Self::Malformed { why, .. } => write!(
                f,
                "bundle {attached} cannot be read: {}; remove it or sign again",
                printable(why)
            ),
            Self::Message { .. } => write!(
                f,
                "bundle {attached} signs plain bytes and makes no statement about an image; sign \
                 with `cosign sign`, not `cosign sign-blob`"
            ),
            Self::NotAStatement { payload_type, .. } => write!(
                f,
                "bundle {attached} holds {} and no in-toto statement; attest with `cosign attest`",
                printable(payload_type)
            ),
            Self::OtherSubject { signed, digest, .. } => {
                let signed: Vec<_> = signed.iter().take(4).map(ToString::to_string).collect();
                let signed = signed.join(", ");
                write!(
                    f,
                    "bundle {attached} is about {signed}, not about {digest}; sign that digest"
                )
            }
            Self::ByCertificate { authority, .. } => write!(
                f,
                "bundle {attached} is signed with a certificate, and {authority} is a key; sign \
                 with that key, or name the identity in the policy"
            ),
            Self::ByKey { authority, .. } => write!(
                f,
                "bundle {attached} is signed with a key, and {authority} is an identity; sign as \
                 it, or name the key in the policy"
            ),
            Self::OtherKey { claimed, authority, .. } => {
                write!(f, "bundle {attached} is signed by another key than {authority}")?;
                if let Some(claimed) = claimed {
                    write!(f, " (it says by {claimed})")?;
                }
                write!(f, "; sign with that key")
            }
            Self::NotPureEd25519 { authority, .. } => write!(
                f,
                "bundle {attached} says it is signed by {authority}, whose Ed25519 signature this \
                 is not; of imported Ed25519 keys cosign makes Ed25519ph signatures, which are not \
                 accepted: sign with an ECDSA key, as `cosign generate-key-pair` makes it"
            ),
            Self::OtherIdentity { subject, authority, why, .. } => write!(
                f,
                "bundle {attached} is signed by {}, who is not {authority}: {why}; sign as whom \
                 the policy names, or mend the policy",
                printable(subject)
            ),
            Self::NoLogEntry { authority, .. } => write!(
                f,
                "bundle {attached} is signed by {authority}, but brings no transparency log entry; \
                 sign again with a log, or say log: none in the policy"
            ),
            Self::NoRoots { authority, .. } => write!(
                f,
                "bundle {attached} cannot be verified for {authority}: the policy names no trusted \
                 root; name one in spec.roots"
            ),
            Self::NotProved { authority, under, .. } => {
                write!(f, "bundle {attached} does not prove that {authority} signed: ")?;
                for (index, (root, why)) in under.iter().enumerate() {
                    let and = if index == 0 { "" } else { ", and " };
                    write!(f, "{and}under {root}: {}", printable(why))?;
                }
                write!(f, "; sign again, or name the root it was made with in spec.roots")
            }
            Self::OutsideWindow { authority, at, proved, early, edge, .. } => {
                let valid = if *early { "is valid from" } else { "was valid until" };
                write!(f, "bundle {attached} is signed by {authority}, which {valid} {edge}, ")?;
                if *proved {
                    write!(f, "at {at}; sign again with the key that is valid now")
                } else {
                    write!(
                        f,
                        "and nothing proves that it was not signed just now ({at}); sign again \
                         with the key that is valid now, or with a timestamp authority"
                    )
                }
            }
            Self::Future { at, .. } => write!(
                f,
                "bundle {attached} was signed at {at} by its own proof, which is still to come; \
                 set the clocks of this engine, the log and the timestamp authority"
            ),
        }
    }
}

/// A text from outside, cut and escaped.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each, as people read it.
    #[test]
    fn every_shortcoming_says_what_why_and_the_way_out() {
        let (attached, other) = (Digest::of(b"attached"), Digest::of(b"other"));
        let authority = || "release-key".to_owned();
        let evil = || "\u{1b}[2Jall good\n".to_owned();
        let claim = |stated: Option<&str>| Mismatch::Claim {
            claim: "source ref",
            stated: stated.map(str::to_owned),
            wanted: "refs/heads/main".to_owned(),
        };
        let identity = |why| Shortcoming::OtherIdentity {
            attached,
            subject: "evil@example.com".to_owned(),
            authority: "anna@hospital.example (https://accounts.example.com)".to_owned(),
            why: Box::new(why),
        };
        let time: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let after = |hours| time + jiff::SignedDuration::from_hours(hours);
        let window = |hours, proved| {
            let (at, early) = (after(hours), hours < 0);
            let (authority, edge) = (authority(), if early { time } else { after(24) });
            Shortcoming::OutsideWindow { attached, authority, at, proved, early, edge }
        };
        let under = vec![
            ("lab".to_owned(), "invalid checkpoint: no valid signature".to_owned()),
            ("elsewhere".to_owned(), evil()),
        ];
        let all = [
            Shortcoming::Unreadable { attached, why: "it is larger than 1 MiB".to_owned() },
            Shortcoming::Malformed { attached, why: evil() },
            Shortcoming::Message { attached },
            Shortcoming::NotAStatement { attached, payload_type: "text/plain".to_owned() },
            Shortcoming::OtherSubject { attached, signed: [other].into(), digest: attached },
            Shortcoming::ByCertificate { attached, authority: authority() },
            Shortcoming::ByKey { attached, authority: authority() },
            Shortcoming::OtherKey { attached, claimed: None, authority: authority() },
            Shortcoming::OtherKey { attached, claimed: Some(other), authority: authority() },
            Shortcoming::NotPureEd25519 { attached, authority: authority() },
            identity(claim(Some("refs/heads/evil"))),
            identity(claim(Some(""))),
            identity(claim(None)),
            identity(Mismatch::SourceNotNamed { repository: "https://forge.example/x".to_owned() }),
            Shortcoming::NoLogEntry { attached, authority: authority() },
            Shortcoming::NoRoots { attached, authority: authority() },
            Shortcoming::NotProved { attached, authority: authority(), under },
            window(-1, true),
            window(25, true),
            window(25, false),
            Shortcoming::Future { attached, at: time },
        ];
        let said: Vec<_> = all.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn a_text_from_outside_is_cut_and_moves_no_cursor() {
        let said = printable(&"\u{1b}[2J\u{202e}".repeat(1000));
        assert!(said.len() < 2000 && !said.contains(['\u{1b}', '\u{202e}']), "{said}");
    }
}
