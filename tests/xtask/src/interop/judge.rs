//! One case, and what cosign and Tidegate say of it.

use jiff::Timestamp;
use serde_json::Value;
use tidegate_outbound::{Found, Options, Registry};
use tidegate_provenance::{
    Attached, Gathered, ImageRef, Outcome, Rules, Subject, TrustRule, verify,
};

use super::stand::{Stand, now};
use crate::error::XtaskError;

/// The ConfigMap that policies name the lab's trusted root by.
pub(super) const ROOT: &str = "lab";

/// What was said of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Accepted,
    Refused,
}

impl Word {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepts",
            Self::Refused => "refuses",
        }
    }

    const fn of(accepted: bool) -> Self {
        if accepted { Self::Accepted } else { Self::Refused }
    }
}

/// An image with what is attached to it, and what both are asked about it.
pub(super) struct Case {
    /// What was done, as people say it.
    pub(super) name: &'static str,
    /// `registry/repository@digest`.
    pub(super) image: String,
    /// The `spec` of the `TrustPolicy`.
    pub(super) policy: Value,
    /// Arguments of cosign's commands; all of them have to succeed.
    pub(super) cosign: Vec<Vec<String>>,
    /// What Tidegate must say.
    pub(super) expected: Word,
    /// Words that its reasons must have, where it refuses.
    pub(super) because: &'static str,
    /// Why Tidegate refuses what cosign accepts.
    pub(super) stricter: Option<&'static str>,
    /// How many hours later Tidegate is asked.
    pub(super) hours: i64,
}

/// A case with the answers.
pub(super) struct Judged {
    pub(super) case: Case,
    pub(super) cosign: Word,
    pub(super) ours: Word,
    pub(super) reasons: Vec<String>,
    pub(super) attached: Vec<Found>,
    pub(super) now: Timestamp,
    said: String,
}

impl Judged {
    pub(super) fn agree(&self) -> bool {
        self.cosign == self.ours
    }

    /// What is not as it must be.
    pub(super) fn wrong(&self) -> Option<String> {
        let Case { name, expected, because, stricter, .. } = &self.case;
        let reasons = self.reasons.join("; ");
        if self.ours != *expected {
            return Some(format!("{name}: Tidegate {} it: {reasons}", self.ours.as_str()));
        }
        if *expected == Word::Refused && !reasons.contains(because) {
            return Some(format!("{name}: not refused for \"{because}\" but: {reasons}"));
        }
        match (self.agree(), stricter) {
            (true, None) => None,
            (true, Some(_)) => {
                Some(format!("{name}: a difference is documented, but cosign says the same"))
            }
            (false, Some(_)) if self.ours == Word::Refused => None,
            (false, _) => {
                let (cosign, said) = (self.cosign.as_str(), &self.said);
                Some(format!("{name}: cosign {cosign} it, Tidegate does not agree: {said}"))
            }
        }
    }
}

impl Stand {
    /// Asks both.
    pub(super) fn judge(&self, case: Case) -> Result<Judged, XtaskError> {
        let mut said = String::new();
        let mut accepted = true;
        for command in &case.cosign {
            let arguments: Vec<_> = command.iter().map(String::as_str).collect();
            if let Err(error) = self.sigstore.verify(&arguments, &case.image) {
                said = error.to_string();
                accepted = false;
            }
        }
        let failed = |why: String| XtaskError::Story(format!("judging \"{}\": {why}", case.name));
        let image = image(&case.image).map_err(&failed)?;
        let attached = attached(&image).map_err(&failed)?;
        let now = now() + jiff::SignedDuration::from_hours(case.hours);
        let root = self.sigstore.trusted_root()?;
        let outcome = outcome(&image, &case.policy, root, &attached, now).map_err(&failed)?;
        let ours = Word::of(outcome.verdict.passed().is_some());
        let reasons = outcome.verdict.record().reasons;
        let cosign = Word::of(accepted);
        Ok(Judged { case, cosign, ours, reasons, attached, now, said })
    }
}

/// An image by its name for people.
pub(super) fn image(name: &str) -> Result<ImageRef, String> {
    let (repository, digest) = name.split_once('@').ok_or("it has no digest")?;
    let digest = digest.parse().map_err(|error| format!("{error}"))?;
    Ok(ImageRef { repository: repository.to_owned(), digest })
}

/// What the registry has beside the image, as the product reads it.
fn attached(image: &ImageRef) -> Result<Vec<Found>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let options = Options { plain_http_on_loopback: true, ..Options::default() };
    let registry = Registry::new(options).map_err(|error| error.to_string())?;
    let name = image.repository.parse().map_err(|error| format!("{error}"))?;
    let found = registry.repository(name);
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(found.attached(image.digest)).map_err(|error| error.to_string())
}

fn outcome(
    image: &ImageRef,
    policy: &Value,
    root: String,
    attached: &[Found],
    now: Timestamp,
) -> Result<Outcome, String> {
    let spec = serde_json::from_value(policy.clone()).map_err(|error| error.to_string())?;
    let materials =
        Gathered { config_maps: [(ROOT.to_owned(), root)].into(), ..Gathered::default() };
    let rule = TrustRule::from_policy("hospital-images", &spec, &materials)
        .map_err(|error| error.to_string())?;
    let attached: Vec<_> = attached.iter().cloned().map(as_attached).collect();
    Ok(verify(&Subject::from(image.clone()), &attached, &Rules::new(vec![rule]), now))
}

fn as_attached(found: Found) -> Attached {
    match found {
        Found::Bundle { digest, json } => Attached::Bundle { digest, json },
        Found::Layer { digest, media_type, content, annotations } => {
            Attached::Layer { digest, media_type, content, annotations }
        }
        Found::Unreadable { digest, why } => Attached::Unreadable { digest, why },
    }
}
