//! What must be said about an image besides that it is signed, and by whom.
//!
//! Of most statements any one that satisfies the rule is enough: a build may be attested twice. Of
//! vulnerability scans only the newest speaks, since an older one that found nothing would
//! otherwise excuse what is known today.

use std::rc::Rc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate_schemas::{AttestationRequirement, BaseImages};

use crate::authority::Authority;
use crate::materials::Materials;
use crate::predicate::{AttestationRule, BaseRule, is_provenance};
use crate::proof::Proved;
use crate::requirement::{authorities, counted, earlier, ends, names};
use crate::roots::Roots;
use crate::statements::{Stated, Statements};
use crate::trust::TrustRule;
use crate::verdict::Grounds;
use crate::{Error, Reason};

/// A statement that must be there.
#[derive(Debug, Clone)]
pub(crate) struct Attestation {
    by: Vec<Authority>,
    rule: AttestationRule,
}

/// What the image may be built on.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    by: Vec<Authority>,
    rule: BaseRule,
}

/// A statement that counts, and until when by its signature.
type Counted<'a> = (&'a Proved, Option<Timestamp>);

impl Attestation {
    /// Where the requirement names nobody, `signers` are asked.
    pub(crate) fn new(
        policy: &str,
        stated: &AttestationRequirement,
        signers: &[Authority],
        roots: &Roots,
        materials: &impl Materials,
    ) -> Result<Self, Error> {
        let rule = AttestationRule::from_schema(stated)?;
        let by = match authorities(policy, &stated.by, roots, materials)? {
            stated if stated.is_empty() => signers.to_vec(),
            stated => stated,
        };
        if by.is_empty() {
            let (policy, what) = (policy.to_owned(), "spec.attestations[].by");
            return Err(Error::Empty { policy, what });
        }
        Ok(Self { by, rule })
    }

    /// What it asks for, in words.
    pub(crate) fn words(&self) -> String {
        format!("{}, stated by {}", self.rule.describe(), names(&self.by))
    }

    /// All that it asks for, for digests over policies.
    pub(crate) fn canonical(&self) -> Value {
        canonical(&self.by, self.rule.canonical())
    }

    /// What satisfies it, in a sentence, or why nothing does.
    pub(crate) fn judge(
        &self,
        rule: &TrustRule,
        statements: &Statements<'_>,
    ) -> Result<(String, Grounds), Vec<Reason>> {
        let stated = said(&self.by, rule, statements);
        let about = of_type(&stated, |kind| self.rule.is_about(kind));
        if about.is_empty() {
            let mut reasons = vec![Reason::NoStatement {
                policy: rule.policy().to_owned(),
                image: statements.subject.image.clone(),
                wanted: self.words(),
            }];
            reasons.extend(stated.iter().flat_map(|(_, one)| one.lacking.iter().cloned()));
            return Err(reasons);
        }
        let (mut best, mut reasons) = (None::<(String, Grounds)>, Vec::new());
        for (proved, until) in self.speaking(about) {
            match self.rule.judge(proved, statements.subject, statements.now) {
                Ok(accepted) => {
                    let grounds = Grounds {
                        statements: vec![counted(proved)],
                        scan: accepted.scan,
                        until: earlier(accepted.until, until),
                        ..Grounds::default()
                    };
                    let end = |g: &Grounds| g.until.unwrap_or(Timestamp::MAX);
                    if best.as_ref().is_none_or(|(_, known)| end(known) < end(&grounds)) {
                        best = Some((accepted.summary, grounds));
                    }
                }
                Err(why) => reasons.extend(why.into_iter().map(|why| Reason::Statement {
                    policy: rule.policy().to_owned(),
                    attached: proved.attached,
                    signer: proved.signer.name.clone(),
                    why,
                })),
            }
        }
        // A scan is one voice: what was found at the same moment by another run counts, too.
        match best {
            Some(best) if reasons.is_empty() || !self.rule.is_scan() => Ok(best),
            _ => Err(reasons),
        }
    }

    /// Of scans the newest, of everything else all.
    fn speaking<'a>(&self, about: Vec<Counted<'a>>) -> Vec<Counted<'a>> {
        let ended: Vec<_> =
            about.iter().map(|(proved, _)| self.rule.scan_ended(&proved.predicate)).collect();
        let Some(newest) = ended.iter().flatten().max().copied() else { return about };
        let of_newest = about.into_iter().zip(ended).filter(|(_, at)| *at == Some(newest));
        of_newest.map(|(one, _)| one).collect()
    }
}

impl Base {
    pub(crate) fn new(stated: &BaseImages, signers: &[Authority]) -> Result<Self, Error> {
        Ok(Self { by: signers.to_vec(), rule: BaseRule::from_schema(stated)? })
    }

    pub(crate) fn words(&self) -> String {
        self.rule.describe()
    }

    pub(crate) fn canonical(&self) -> Value {
        canonical(&self.by, &self.rule.canonical())
    }

    /// What it is built on, in a sentence, or why it may not be.
    pub(crate) fn judge(
        &self,
        rule: &TrustRule,
        statements: &Statements<'_>,
    ) -> Result<(String, Grounds), Vec<Reason>> {
        let stated = said(&self.by, rule, statements);
        let provenance = of_type(&stated, is_provenance);
        let proved: Vec<&Proved> = provenance.iter().map(|(proved, _)| *proved).collect();
        let because = |why| Reason::Base { policy: rule.policy().to_owned(), why };
        let built_on = self.rule.judge(&proved, statements.subject);
        let built_on = built_on.map_err(|why| why.into_iter().map(because).collect::<Vec<_>>())?;
        let mut grounds = Grounds::default();
        for (proved, until) in provenance.iter().filter(|_| self.rule.reads_provenance()) {
            grounds.statements.push(counted(proved));
            grounds.until = earlier(grounds.until, *until);
        }
        Ok((built_on, grounds))
    }
}

/// Whose statements are asked for, and what they must say.
fn canonical(by: &[Authority], rule: &Value) -> Value {
    let by: Vec<_> = by.iter().map(Authority::canonical).collect();
    json!({"by": by, "rule": rule})
}

/// What each of these authorities said about the image.
fn said<'a>(
    by: &'a [Authority],
    rule: &TrustRule,
    statements: &Statements<'_>,
) -> Vec<(&'a Authority, Rc<Stated>)> {
    by.iter().map(|authority| (authority, statements.by(authority, rule))).collect()
}

/// The statements of a type among them, each attached thing once.
fn of_type<'a>(
    stated: &'a [(&Authority, Rc<Stated>)],
    is: impl Fn(&str) -> bool,
) -> Vec<Counted<'a>> {
    let mut found: Vec<Counted<'a>> = Vec::new();
    for (authority, stated) in stated {
        for proved in stated.counted.iter().filter(|one| is(&one.predicate_type)) {
            if !found.iter().any(|(known, _)| known.attached == proved.attached) {
                found.push((proved, ends(proved, authority)));
            }
        }
    }
    found
}
