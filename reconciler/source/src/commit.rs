//! One commit, read from the bytes that its signature covers.
//!
//! Git and libgit2 parse commits leniently. A verifier must not look at one thing
//! while the reader uses another, so the raw object is parsed here, strictly, and
//! tree, parents, message and trailers come from what is left after the signature
//! header was taken out: exactly what was signed.

use crate::{Error, PublicKey, SignatureError, signature};
use jiff::Timestamp;
use std::collections::BTreeMap;
use tidegate_ids::CommitId;

/// Who wrote or made a commit. Nothing vouches for it but the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The mail address.
    pub email: String,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// Its parents, the first one first.
    pub parents: Vec<CommitId>,
    /// The id of its tree: 40 hexadecimal digits.
    pub tree_id: String,
    /// Who wrote the change.
    pub author: Person,
    /// When the change was written.
    pub authored: Timestamp,
    /// Who made the commit.
    pub committer: Person,
    /// When the commit was made.
    pub time: Timestamp,
    /// The whole message, trailers included.
    pub message: String,
    /// The values of each trailer of the message's last paragraph, in order.
    pub trailers: BTreeMap<String, Vec<String>>,
    /// The signature as it stands in the commit.
    pub signature: Option<String>,
    /// The bytes that the signature covers.
    pub payload: Vec<u8>,
}

impl Commit {
    /// The allowed key that signed this commit (SSHSIG, namespace `git`).
    ///
    /// # Errors
    /// When it is unsigned, signed by another key or in another form, or was changed.
    pub fn verify<'a>(&self, allowed: &'a [PublicKey]) -> Result<&'a PublicKey, SignatureError> {
        signature::verify(self.id.as_str(), &self.payload, self.signature.as_deref(), allowed)
    }

    /// The only value of this trailer; `None` where it is missing or stands more than once.
    #[must_use]
    pub fn trailer(&self, key: &str) -> Option<&str> {
        match self.trailers.get(key).map(Vec::as_slice) {
            Some([value]) => Some(value),
            _ => None,
        }
    }

    /// The first line of the message.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }

    /// Parses the raw object.
    pub(crate) fn parse(id: &CommitId, raw: &[u8]) -> Result<Self, Error> {
        let wrong = |why| Error::Commit { commit: id.clone(), why };
        let split = raw.windows(2).position(|pair| pair == b"\n\n");
        let split = split.ok_or_else(|| wrong("it has no message"))?;
        let (header, message) = (&raw[..=split], &raw[split + 2..]);
        let (kept, signature) = take_signature(header).map_err(wrong)?;
        let message = String::from_utf8_lossy(message).into_owned();
        let text = String::from_utf8_lossy(&kept);
        let mut lines = text.lines().peekable();

        let tree = lines.next().and_then(|line| line.strip_prefix("tree "));
        let tree: CommitId =
            tree.and_then(|hex| hex.parse().ok()).ok_or_else(|| wrong("it names no tree"))?;
        let mut parents = Vec::new();
        while let Some(hex) = lines.peek().and_then(|line| line.strip_prefix("parent ")) {
            parents.push(hex.parse().map_err(|_| wrong("a parent is malformed"))?);
            lines.next();
        }
        let author = lines.next().and_then(|line| person(line.strip_prefix("author ")?));
        let (author, authored) = author.ok_or_else(|| wrong("its author is malformed"))?;
        let committer = lines.next().and_then(|line| person(line.strip_prefix("committer ")?));
        let (committer, time) = committer.ok_or_else(|| wrong("its committer is malformed"))?;

        let mut payload = kept.clone();
        payload.extend_from_slice(&raw[split + 1..]);
        Ok(Self {
            id: id.clone(),
            parents,
            tree_id: tree.as_str().to_owned(),
            author,
            authored,
            committer,
            time,
            trailers: trailers(&message),
            message,
            signature,
            payload,
        })
    }
}

/// Splits the header lines into those that are signed and the signature. Lines that start with a
/// blank continue the one before.
fn take_signature(header: &[u8]) -> Result<(Vec<u8>, Option<String>), &'static str> {
    let mut kept = Vec::with_capacity(header.len());
    let mut signature: Option<String> = None;
    let mut inside = false;
    for line in header.split_inclusive(|byte| *byte == b'\n') {
        let first = line.strip_prefix(b"gpgsig ");
        if first.is_some() && signature.is_some() {
            return Err("it has two signatures");
        }
        inside = first.is_some() || (inside && line.starts_with(b" "));
        if inside {
            let part = first.unwrap_or(line.get(1..).unwrap_or_default());
            let part = std::str::from_utf8(part).map_err(|_| "its signature is no text")?;
            signature.get_or_insert_default().push_str(part);
        } else {
            kept.extend_from_slice(line);
        }
    }
    Ok((kept, signature))
}

fn person(line: &str) -> Option<(Person, Timestamp)> {
    let (who, when) = line.rsplit_once("> ")?;
    let (name, email) = who.split_once('<')?;
    let (seconds, _zone) = when.split_once(' ')?;
    let time = Timestamp::from_second(seconds.parse().ok()?).ok()?;
    Some((Person { name: name.trim().to_owned(), email: email.to_owned() }, time))
}

/// The trailers of a message: its last paragraph, if that is not its first and has nothing else.
fn trailers(message: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: Vec<(String, String)> = Vec::new();
    let body = message.trim_end();
    let Some((_, last)) = body.rsplit_once("\n\n") else {
        return BTreeMap::new();
    };
    for line in last.lines() {
        if line.starts_with([' ', '\t']) {
            let Some((_, value)) = found.last_mut() else {
                return BTreeMap::new();
            };
            value.push(' ');
            value.push_str(line.trim());
        } else if let Some((key, value)) = line.split_once(':').filter(|(key, _)| is_key(key)) {
            found.push((key.to_owned(), value.trim().to_owned()));
        } else {
            return BTreeMap::new();
        }
    }
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in found {
        out.entry(key).or_default().push(value);
    }
    out
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A message with these trailers as its last paragraph. Line breaks in values become blanks, so that
/// no value can add a trailer.
#[must_use]
pub fn with_trailers<'a>(
    text: &str,
    trailers: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut out = text.trim().to_owned();
    out.push_str("\n\n");
    for (key, value) in trailers {
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ");
        out.extend([key, ": ", &value, "\n"]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected = &'static [(&'static str, &'static [&'static str])];

    #[test]
    fn trailers_are_the_last_paragraph_only() {
        let cases: &[(&str, Expected)] = &[
            ("Tidegate-Sequence: 4", &[]),
            (
                "Deploy shop\n\nTidegate-Sequence: 4\nTidegate-Lane: app\n",
                &[("Tidegate-Lane", &["app"]), ("Tidegate-Sequence", &["4"])],
            ),
            ("Deploy shop\n\nTidegate-Sequence: 4\n\nRefs: 7", &[("Refs", &["7"])]),
            ("Deploy shop\n\nTidegate-Sequence: 4\nand prose", &[]),
            ("Deploy shop\n\nRefs: 1\nRefs: 2", &[("Refs", &["1", "2"])]),
            ("Deploy shop\n\nNote: one\n  two", &[("Note", &["one two"])]),
        ];
        for (message, expected) in cases {
            let expected: BTreeMap<_, Vec<_>> = expected
                .iter()
                .map(|(key, values)| {
                    ((*key).to_owned(), values.iter().map(|v| (*v).to_owned()).collect())
                })
                .collect();
            assert_eq!(trailers(message), expected, "{message:?}");
        }
    }

    #[test]
    fn a_value_cannot_add_a_trailer() {
        let message = with_trailers(
            "Deploy\n\nLane: app",
            [("Source", "abc\n\nLane: security"), ("Lane", "app")],
        );
        let read = trailers(&message);
        assert_eq!(read["Lane"], ["app"]);
        assert_eq!(read["Source"], ["abc Lane: security"]);
    }

    #[test]
    fn a_commit_with_two_trees_or_two_signatures_is_not_read_two_ways() {
        let id: CommitId = "0123456789012345678901234567890123456789".parse().unwrap();
        let who = "A <a@b> 1 +0000";
        let raw = format!(
            "tree {id}\nauthor {who}\ncommitter {who}\ngpgsig one\n two\ntree {}\n\nm\n",
            "f".repeat(40)
        );
        let commit = Commit::parse(&id, raw.as_bytes()).unwrap();
        assert_eq!(commit.tree_id, id.as_str());
        assert_eq!(commit.signature.as_deref(), Some("one\ntwo\n"));
        assert!(!commit.payload.windows(6).any(|w| w == b"gpgsig"));
        let raw =
            format!("tree {id}\nauthor {who}\ncommitter {who}\ngpgsig one\ngpgsig two\n\nm\n");
        assert!(Commit::parse(&id, raw.as_bytes()).is_err());
    }
}
