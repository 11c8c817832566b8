//! `cargo xtask conformance sigstore FOLDER`: the Sigstore project's client conformance suite.
//!
//! FOLDER is a checkout of `sigstore/sigstore-conformance`; nothing of it is committed here. Every
//! case of `test/assets/bundle-verify` is run as the suite runs it (its README and `test/client.py`
//! say how): once with the artifact, once with its digest, by the code that judges images.

use std::path::{Path, PathBuf};

use tidegate_ids::Digest;
use tidegate_provenance::{Artifact, Authority, Roots, verify_bundle};
use tidegate_schemas::{KeylessAuthority, Log, SourceMatch, TextMatch};

use crate::error::XtaskError;

/// What a case is about where it says nothing else (`test/client.py`).
const IDENTITY: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// Whose suite.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum Suite {
    /// `sigstore/sigstore-conformance`, its cases for verifying bundles.
    Sigstore,
}

/// One case: what is given, and whether it is to verify.
struct Case {
    bundle: Vec<u8>,
    artifact: Vec<u8>,
    authorities: Vec<Authority>,
    roots: Roots,
    verifies: bool,
}

/// Runs every case, prints those that go wrong and how many went right.
pub(crate) fn conformance(suite: Suite, folder: &Path) -> Result<(), XtaskError> {
    let Suite::Sigstore = suite;
    let cases = folder.join("test/assets/bundle-verify");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(&cases)
        .map_err(|error| wrong(&cases, &error))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    if folders.is_empty() {
        return Err(wrong(&cases, &"there is no case in it"));
    }
    let (mut right, mut all) = (0, 0);
    for folder in &folders {
        for (form, outcome) in Case::read(folder)?.run() {
            all += 1;
            match outcome {
                None => right += 1,
                Some(why) => println!("{} ({form}): {why}", name(folder)),
            }
        }
    }
    println!("{right} of {all}");
    if right == all {
        return Ok(());
    }
    Err(XtaskError::Story(format!("{} of the suite's cases went wrong", all - right)))
}

impl Case {
    fn read(folder: &Path) -> Result<Self, XtaskError> {
        let bytes = |path: PathBuf| std::fs::read(&path).map_err(|error| wrong(&path, &error));
        let artifact = Some(folder.join("artifact")).filter(|path| path.exists());
        let artifact = artifact.unwrap_or_else(|| folder.with_file_name("a.txt"));
        // A root that cannot be read is one under which nothing verifies.
        let roots = match text(folder, "trusted_root.json")? {
            Some(json) => Roots::from_json("trusted_root.json", &json).unwrap_or_default(),
            None => Roots::public_good().map_err(|error| wrong(folder, &error))?,
        };
        let authorities = if let Some(pem) = text(folder, "key.pub")? {
            vec![Authority::key("key.pub", &pem, Log::Required, None, None)]
        } else {
            let stated = |file, default: &str| {
                text(folder, file).map(|text| {
                    text.map_or_else(|| default.to_owned(), |text| text.trim().to_owned())
                })
            };
            identities(&stated("issuer", ISSUER)?, &stated("identity", IDENTITY)?)
        };
        // Nor does anything by a key that cannot be read.
        let authorities = authorities.into_iter().filter_map(Result::ok).collect();
        Ok(Self {
            bundle: bytes(folder.join("bundle.sigstore.json"))?,
            artifact: bytes(artifact)?,
            authorities,
            roots,
            verifies: !name(folder).ends_with("fail"),
        })
    }

    /// What went wrong with each form of the artifact, if anything.
    fn run(&self) -> [(&'static str, Option<String>); 2] {
        let forms = [
            ("bytes", Artifact::Bytes(&self.artifact)),
            ("digest", Artifact::Digest(Digest::of(&self.artifact))),
        ];
        forms.map(|(form, artifact)| (form, self.outcome(artifact)))
    }

    #[allow(clippy::disallowed_methods, reason = "the suite asks what verifies now")]
    fn outcome(&self, artifact: Artifact<'_>) -> Option<String> {
        let now = jiff::Timestamp::now();
        let verify = |authority| verify_bundle(&self.bundle, artifact, authority, &self.roots, now);
        let outcomes: Vec<_> = self.authorities.iter().map(verify).collect();
        let said = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        match (self.verifies, outcomes.iter().any(Result::is_ok)) {
            (true, false) => {
                let said: Vec<_> = said.map(ToString::to_string).collect();
                Some(format!("refused: {}", said.join(" | ")))
            }
            (false, true) => Some("accepted, and it must not be".to_owned()),
            _ => None,
        }
    }
}

/// The suite names an issuer and a subject only. A certificate of a CI service counts here only for
/// who names its repository and ref too, so both are asked: that identity with its workflow's own
/// repository, and without any.
fn identities(issuer: &str, subject: &str) -> Vec<Result<Authority, tidegate_provenance::Error>> {
    let exact = |text: &str| TextMatch { exact: Some(text.to_owned()), regex: None };
    let workload = subject.strip_prefix("https://github.com/").and_then(|path| {
        let (path, ref_) = path.split_once('@')?;
        let repository: Vec<_> = path.split('/').take(2).collect();
        let repository = format!("https://github.com/{}", repository.join("/"));
        Some(SourceMatch { repository, repository_id: None, ref_: exact(ref_) })
    });
    let authority = |source| {
        let (issuer, subject) = (issuer.to_owned(), exact(subject));
        let (workflow, trigger, runner) = (None, None, None);
        Authority::keyless(&KeylessAuthority { issuer, subject, source, workflow, trigger, runner })
    };
    let mut all = vec![authority(None)];
    all.extend(workload.map(|source| authority(Some(source))));
    all
}

fn text(folder: &Path, file: &str) -> Result<Option<String>, XtaskError> {
    let path = folder.join(file);
    if !path.exists() {
        return Ok(None);
    }
    std::fs::read_to_string(&path).map(Some).map_err(|error| wrong(&path, &error))
}

fn name(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn wrong(path: &Path, why: &dyn std::fmt::Display) -> XtaskError {
    XtaskError::Story(format!(
        "reading {}: {why}; name a checkout of sigstore/sigstore-conformance",
        path.display()
    ))
}
