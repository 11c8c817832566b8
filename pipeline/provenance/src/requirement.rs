//! How many of whom must have signed.
//!
//! Two signatures count as two only if they are by different people and satisfy different
//! entries of the policy: neither a key listed twice, nor one identity that two entries match,
//! nor two identities that one entry matches make two. That is a matching between the two.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_schemas::CountedStatement;

use crate::authority::{Authority, Who};
use crate::bundle::SIGN_PREDICATE;
use crate::materials::Materials;
use crate::proof::Proved;
use crate::roots::Roots;
use crate::statements::Statements;
use crate::trust::TrustRule;
use crate::verdict::{Grounds, Person};
use crate::{Error, Reason};

/// Some of these authorities must have signed.
#[derive(Debug, Clone)]
pub(crate) struct Requirement {
    any_of: Vec<Authority>,
    count: usize,
    logs: usize,
    timestamps: usize,
}

/// A signature, and until when it counts without being judged again.
type Counted = (Proved, Option<Timestamp>);

impl Requirement {
    pub(crate) fn new(
        policy: &str,
        stated: &tidegate_schemas::Requirement,
        roots: &Roots,
        materials: &impl Materials,
    ) -> Result<Self, Error> {
        let impossible = |what, why| Error::Impossible { policy: policy.to_owned(), what, why };
        let any_of = authorities(policy, &stated.any_of, roots, materials)?;
        if any_of.is_empty() {
            let what = "spec.require[].anyOf";
            return Err(Error::Empty { policy: policy.to_owned(), what });
        }
        let mut different: Vec<_> = any_of.iter().map(Authority::fingerprint).collect();
        different.sort_unstable();
        different.dedup();
        let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let (count, logs) = (number(stated.count), number(stated.logs));
        let timestamps = number(stated.timestamps);
        if count == 0 {
            return Err(impossible("spec.require[].count", "it is 0, so that nobody has to sign"));
        }
        if count > different.len() {
            let why = "it is more than there are different authorities in anyOf";
            return Err(impossible("spec.require[].count", why));
        }
        if (logs > 0 || timestamps > 0) && roots.is_empty() {
            let why = "logs and timestamps need spec.roots, which describe them";
            return Err(impossible("spec.require[]", why));
        }
        Ok(Self { any_of, count, logs, timestamps })
    }

    pub(crate) fn any_of(&self) -> &[Authority] {
        &self.any_of
    }

    /// What it asks for, in words.
    pub(crate) fn words(&self) -> String {
        let names = names(&self.any_of);
        if self.count > 1 { format!("{} of {names}", self.count) } else { names }
    }

    /// All that it asks for, for digests over policies.
    pub(crate) fn canonical(&self) -> Value {
        let any_of: Vec<_> = self.any_of.iter().map(Authority::canonical).collect();
        let (count, logs, timestamps) = (self.count, self.logs, self.timestamps);
        json!({"anyOf": any_of, "count": count, "logs": logs, "timestamps": timestamps})
    }

    /// Who signed, or why too few did.
    pub(crate) fn judge(
        &self,
        rule: &TrustRule,
        statements: &Statements<'_>,
    ) -> Result<Grounds, Vec<Reason>> {
        let mut people: BTreeMap<Person, BTreeMap<usize, Counted>> = BTreeMap::new();
        let (mut lacking, mut proved) = (Vec::new(), Vec::new());
        for (index, authority) in self.any_of.iter().enumerate() {
            let stated = statements.by(authority, rule);
            lacking.extend(stated.lacking.iter().cloned());
            for one in &stated.counted {
                proved.push(one.attached);
                match self.objection(one) {
                    Some(reason) => lacking.push(reason),
                    None => keep_longest(
                        people.entry(one.signer.person()).or_default().entry(index),
                        (one.clone(), ends(one, authority)),
                    ),
                }
            }
        }
        let people: Vec<_> = people.into_values().collect();
        let matched = matching(&people, self.count);
        if matched.len() >= self.count {
            return Ok(grounds(matched));
        }
        // What another entry of the policy accepts needs no excuse before this one.
        lacking.retain(|reason| match reason {
            Reason::Shortcoming(shortcoming) => !proved.contains(&shortcoming.attached()),
            _ => true,
        });
        let found = matched.iter().map(|(one, _)| one.signer.name.clone()).collect();
        let mut reasons = vec![self.too_few(rule.policy(), found, statements)];
        reasons.extend(lacking);
        Err(reasons)
    }

    fn too_few(&self, policy: &str, found: Vec<String>, statements: &Statements<'_>) -> Reason {
        let (policy, wanted) = (policy.to_owned(), self.words());
        if self.count > 1 && !found.is_empty() {
            return Reason::TooFew { policy, wanted, found };
        }
        let (image, attached) = (statements.subject.image.clone(), statements.attached);
        Reason::NotSigned { image, attached, policy, wanted }
    }

    /// Why a statement about this image by an authority is not a signature that counts here.
    fn objection(&self, proved: &Proved) -> Option<Reason> {
        let (attached, signer) = (proved.attached, proved.signer.name.clone());
        if proved.predicate_type != SIGN_PREDICATE {
            let predicate_type = proved.predicate_type.clone();
            return Some(Reason::Attestation { attached, signer, predicate_type });
        }
        let (has, wanted) = (proved.logs.len(), self.logs);
        if has < wanted {
            return Some(Reason::Logs { attached, signer, has, wanted });
        }
        let (has, wanted) = (proved.timestamps.len(), self.timestamps);
        (has < wanted).then_some(Reason::Timestamps { attached, signer, has, wanted })
    }

    /// The next time from now at which another authority's signatures may begin to count.
    pub(crate) fn begins(&self, now: Timestamp) -> Option<Timestamp> {
        self.any_of.iter().filter_map(Authority::valid_from).filter(|from| *from > now).min()
    }
}

/// Reads authorities; one that needs a root where there is none can never sign.
pub(crate) fn authorities(
    policy: &str,
    stated: &[tidegate_schemas::Authority],
    roots: &Roots,
    materials: &impl Materials,
) -> Result<Vec<Authority>, Error> {
    let read = |one: &tidegate_schemas::Authority| {
        let authority = match (&one.key, &one.keyless) {
            (Some(key), None) => by_key(policy, key, materials)?,
            (None, Some(keyless)) => Authority::keyless(keyless)?,
            _ => {
                let (what, why) = ("anyOf[]", "name exactly one of key and keyless");
                return Err(Error::Impossible { policy: policy.to_owned(), what, why });
            }
        };
        let rootless = match &authority.who {
            Who::Key(key) => key.log == tidegate_schemas::Log::None,
            Who::Keyless(_) => false,
        };
        if roots.is_empty() && !rootless {
            let what = "spec.roots";
            let why = "keyless authorities and keys with log: required need a trusted root";
            return Err(Error::Impossible { policy: policy.to_owned(), what, why });
        }
        Ok(authority)
    };
    stated.iter().map(read).collect()
}

fn by_key(
    policy: &str,
    key: &tidegate_schemas::KeyAuthority,
    materials: &impl Materials,
) -> Result<Authority, Error> {
    let read =
        |name: &str, pem: &str| Authority::key(name, pem, key.log, key.valid_from, key.valid_until);
    match (&key.pem, &key.secret) {
        (Some(pem), None) => {
            Ok(read("in spec.require[].anyOf[].key.pem", pem)?.named_by_fingerprint())
        }
        (None, Some(secret)) => {
            let missing = || Error::Secret { policy: policy.to_owned(), secret: secret.clone() };
            read(secret, &materials.secret(secret).ok_or_else(missing)?)
        }
        _ => {
            let (what, why) = ("anyOf[].key", "name exactly one of secret and pem");
            Err(Error::Impossible { policy: policy.to_owned(), what, why })
        }
    }
}

/// The names of some authorities, for people.
pub(crate) fn names(authorities: &[Authority]) -> String {
    let mut names: Vec<_> = authorities.iter().map(Authority::name).collect();
    names.dedup();
    names.join(" or ")
}

/// Until when a statement counts: with a trusted time for good, without it as long as the key.
pub(crate) fn ends(proved: &Proved, authority: &Authority) -> Option<Timestamp> {
    authority.valid_until().filter(|_| proved.times.is_empty())
}

/// The earlier of two ends, none being never.
pub(crate) fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

fn keep_longest(entry: std::collections::btree_map::Entry<'_, usize, Counted>, new: Counted) {
    use std::collections::btree_map::Entry;
    match entry {
        Entry::Vacant(vacant) => {
            vacant.insert(new);
        }
        Entry::Occupied(mut known) if longer(new.1, known.get().1) => {
            known.insert(new);
        }
        Entry::Occupied(_) => {}
    }
}

fn longer(a: Option<Timestamp>, b: Option<Timestamp>) -> bool {
    match (a, b) {
        (None, Some(_)) => true,
        (Some(a), Some(b)) => a > b,
        (_, None) => false,
    }
}

/// As many people as there can be, up to `count`, each for an authority of their own; those first
/// whose signatures count longest.
fn matching(people: &[BTreeMap<usize, Counted>], count: usize) -> Vec<&Counted> {
    let mut order: Vec<usize> = (0..people.len()).collect();
    let end = |person: &usize| {
        let ends = people[*person].values().map(|(_, until)| until.unwrap_or(Timestamp::MAX));
        std::cmp::Reverse(ends.max())
    };
    order.sort_by_key(end);
    let mut by_authority = BTreeMap::new();
    for person in order {
        if by_authority.len() >= count {
            break;
        }
        augment(person, people, &mut by_authority, &mut Vec::new());
    }
    by_authority.iter().filter_map(|(authority, person)| people[*person].get(authority)).collect()
}

/// Finds an authority for one more person, moving others where needed (Kuhn's algorithm).
fn augment(
    person: usize,
    people: &[BTreeMap<usize, Counted>],
    by_authority: &mut BTreeMap<usize, usize>,
    visited: &mut Vec<usize>,
) -> bool {
    for authority in people[person].keys() {
        if visited.contains(authority) {
            continue;
        }
        visited.push(*authority);
        let free = match by_authority.get(authority).copied() {
            Some(other) => augment(other, people, by_authority, visited),
            None => true,
        };
        if free {
            by_authority.insert(*authority, person);
            return true;
        }
    }
    false
}

fn grounds(matched: Vec<&Counted>) -> Grounds {
    let mut grounds = Grounds::default();
    for (proved, until) in matched {
        grounds.signers.push(proved.signer.clone());
        grounds.statements.push(counted(proved));
        grounds.until = earlier(grounds.until, *until);
    }
    grounds
}

/// A statement as a verdict records it.
pub(crate) fn counted(proved: &Proved) -> CountedStatement {
    CountedStatement {
        type_: proved.predicate_type.clone(),
        digest: proved.attached,
        signer: proved.signer.name.clone(),
    }
}
