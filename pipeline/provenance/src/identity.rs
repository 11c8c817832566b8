//! Whether a certificate's identity is the one that a policy means.
//!
//! Exact, or a regular expression over the whole text: known breaks were all of the kind "it
//! matched more than it said". A claim that is absent or empty matches nothing. A certificate of
//! a CI service names the repository it ran for, and since one workflow can be called from any
//! repository, such a certificate never satisfies somebody who did not name it.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde_json::{Value, json};
use sigstore_verify::crypto::{CertificateInfo, SubjectAltName};
use tidegate_schemas::{KeylessAuthority, TextMatch};

use crate::Error;
use crate::shortcoming::printable;

const GITHUB: &str = "https://token.actions.githubusercontent.com";
/// How large a compiled expression may be, in bytes.
const COMPILED: usize = 1 << 20;

/// Who signs without a key of their own: what the certificate must state.
#[derive(Clone)]
pub(crate) struct Identity {
    issuer: String,
    subject: Text,
    source: Option<Source>,
    workflow: Option<Text>,
    trigger: Option<String>,
    runner: Option<String>,
}

#[derive(Clone)]
struct Source {
    repository: String,
    id: Option<String>,
    ref_: Text,
}

/// A text, or an expression that the whole of a text must match.
#[derive(Clone)]
pub(crate) enum Text {
    Exact(String),
    Pattern(Box<Regex>, String),
}

/// Why a certificate is not by whom the policy means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// It states another value, or none.
    Claim {
        /// What of it.
        claim: &'static str,
        /// What it states.
        stated: Option<String>,
        /// What is asked for.
        wanted: String,
    },
    /// It was issued to a CI workload, and the policy does not say for which repository.
    SourceNotNamed {
        /// The repository it states.
        repository: String,
    },
}

impl Identity {
    pub(crate) fn new(stated: &KeylessAuthority) -> Result<Self, Error> {
        let empty = |what: &str| Error::Identity {
            field: what.to_owned(),
            why: "it is empty, which would match anything or nothing".to_owned(),
        };
        let nonempty = |what: &str, text: &Option<String>| match text.as_deref() {
            Some("") => Err(empty(what)),
            _ => Ok(text.clone()),
        };
        if stated.issuer.is_empty() {
            return Err(empty("issuer"));
        }
        let source = stated.source.as_ref().map(|source| {
            let repository = repository(&stated.issuer, &source.repository)?;
            let id = nonempty("source.repositoryId", &source.repository_id)?;
            Ok(Source { repository, id, ref_: Text::new("source.ref", &source.ref_)? })
        });
        let workflow = stated.workflow.as_ref().map(|text| Text::new("workflow", text));
        Ok(Self {
            issuer: stated.issuer.clone(),
            subject: Text::new("subject", &stated.subject)?,
            source: source.transpose()?,
            workflow: workflow.transpose()?,
            trigger: nonempty("trigger", &stated.trigger)?,
            runner: nonempty("runner", &stated.runner)?,
        })
    }

    /// How people call it where it has no other name.
    pub(crate) fn name(&self) -> String {
        format!("{} ({})", self.subject, self.issuer)
    }

    /// Everything that is asked for.
    pub(crate) fn canonical(&self) -> Value {
        let text = |text: &Text| text.canonical();
        json!({
            "issuer": self.issuer,
            "subject": text(&self.subject),
            "source": self.source.as_ref().map(|source| json!({
                "repository": source.repository,
                "repositoryId": source.id,
                "ref": text(&source.ref_),
            })),
            "workflow": self.workflow.as_ref().map(text),
            "trigger": self.trigger,
            "runner": self.runner,
        })
    }

    /// Whether a verified certificate is by this identity.
    pub(crate) fn accepts(&self, certificate: &CertificateInfo) -> Result<(), Mismatch> {
        let subject = certificate.identity.as_ref().map(SubjectAltName::as_str);
        exactly("issuer", certificate.issuer.as_deref(), &self.issuer)?;
        self.subject.accepts("subject", subject)?;
        let claims = Claims::of(certificate);
        match &self.source {
            Some(source) => {
                exactly("source repository", claims.repository.as_deref(), &source.repository)?;
                if let Some(id) = &source.id {
                    exactly("source repository id", claims.id.as_deref(), id)?;
                }
                source.ref_.accepts("source ref", claims.ref_.as_deref())?;
            }
            None if claims.workload => {
                let repository = claims.repository.unwrap_or_default();
                return Err(Mismatch::SourceNotNamed { repository });
            }
            None => {}
        }
        if let Some(workflow) = &self.workflow {
            workflow.accepts("workflow (build signer)", claims.workflow.as_deref())?;
        }
        if let Some(trigger) = &self.trigger {
            exactly("trigger", claims.trigger.as_deref(), trigger)?;
        }
        match &self.runner {
            Some(runner) => exactly("runner", claims.runner.as_deref(), runner),
            None => Ok(()),
        }
    }
}

/// A repository without a scheme is that path at the issuer's forge; where the issuer is no known
/// forge, only a URL says which one is meant.
fn repository(issuer: &str, stated: &str) -> Result<String, Error> {
    let wrong = |why: &str| {
        Err(Error::Identity { field: "source.repository".to_owned(), why: why.to_owned() })
    };
    if stated.is_empty() {
        return wrong("it is empty, which would match anything or nothing");
    }
    if stated.contains("://") {
        return Ok(stated.to_owned());
    }
    match issuer {
        GITHUB => Ok(format!("https://github.com/{stated}")),
        "https://gitlab.com" => Ok(format!("https://gitlab.com/{stated}")),
        _ => wrong("this issuer's forge is not known, so write the repository's whole URL"),
    }
}

/// What a certificate says of the workload it was issued to. The extensions that only GitHub had
/// count where none of the newer ones is there: they are of the time before those.
struct Claims {
    workload: bool,
    repository: Option<String>,
    id: Option<String>,
    ref_: Option<String>,
    workflow: Option<String>,
    trigger: Option<String>,
    runner: Option<String>,
}

impl Claims {
    fn of(certificate: &CertificateInfo) -> Self {
        let new = &certificate.ci_claims;
        let old = &new.deprecated_github;
        let mut only_new = new.clone();
        only_new.deprecated_github = sigstore_verify::crypto::DeprecatedGitHubClaims::default();
        let workload = new.source_repository_uri.is_some()
            || new.source_repository_identifier.is_some()
            || old.workflow_repository.is_some();
        if only_new.is_empty() && certificate.issuer.as_deref() == Some(GITHUB) {
            let path = old.workflow_repository.as_ref().filter(|path| !path.is_empty());
            return Self {
                workload,
                repository: path.map(|path| format!("https://github.com/{path}")),
                id: None,
                ref_: old.workflow_ref.clone(),
                workflow: None,
                trigger: old.workflow_trigger.clone(),
                runner: None,
            };
        }
        Self {
            workload,
            repository: new.source_repository_uri.clone(),
            id: new.source_repository_identifier.clone(),
            ref_: new.source_repository_ref.clone(),
            workflow: new.build_signer_uri.clone(),
            trigger: new.build_trigger.clone(),
            runner: new.runner_environment.clone(),
        }
    }
}

fn exactly(claim: &'static str, stated: Option<&str>, wanted: &str) -> Result<(), Mismatch> {
    match stated {
        Some(text) if !text.is_empty() && text == wanted => Ok(()),
        _ => Err(Mismatch::Claim {
            claim,
            stated: stated.map(str::to_owned),
            wanted: wanted.to_owned(),
        }),
    }
}

impl Text {
    /// Reads a matcher. An expression must be one by itself (`a)|(b` would leave its anchors), and
    /// must not match the empty text.
    pub(crate) fn new(field: &str, stated: &TextMatch) -> Result<Self, Error> {
        let wrong = |why: String| Error::Identity { field: field.to_owned(), why };
        let pattern = match (&stated.exact, &stated.regex) {
            (Some(text), None) if !text.is_empty() => return Ok(Self::Exact(text.clone())),
            (None, Some(pattern)) => pattern,
            _ => {
                return Err(wrong("name exactly one of exact and regex, and not empty".to_owned()));
            }
        };
        let compiled = |pattern: &str| {
            RegexBuilder::new(pattern).size_limit(COMPILED).dfa_size_limit(COMPILED).build()
        };
        compiled(pattern).map_err(|error| wrong(error.to_string()))?;
        let anchored =
            compiled(&format!(r"\A(?:{pattern})\z")).map_err(|error| wrong(error.to_string()))?;
        if anchored.is_match("") {
            return Err(wrong("it matches the empty text, so it asks for nothing".to_owned()));
        }
        Ok(Self::Pattern(Box::new(anchored), pattern.clone()))
    }

    /// Whether it is this text, from its first character to its last.
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(wanted) => !text.is_empty() && text == wanted,
            Self::Pattern(pattern, _) => !text.is_empty() && pattern.is_match(text),
        }
    }

    /// Its JSON form, as a `TextMatch` has it.
    pub(crate) fn canonical(&self) -> Value {
        match self {
            Self::Exact(text) => json!({"exact": text}),
            Self::Pattern(_, pattern) => json!({"regex": pattern}),
        }
    }

    fn accepts(&self, claim: &'static str, stated: Option<&str>) -> Result<(), Mismatch> {
        match stated {
            Some(text) if self.matches(text) => Ok(()),
            _ => {
                let stated = stated.map(str::to_owned);
                Err(Mismatch::Claim { claim, stated, wanted: self.to_string() })
            }
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Pattern(_, pattern) => write!(f, "/{pattern}/"),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim { claim, stated, wanted } => {
                match stated.as_deref() {
                    None => write!(f, "its certificate states no {claim}")?,
                    Some("") => write!(f, "its certificate states an empty {claim}")?,
                    Some(stated) => write!(f, "its {claim} is {}", printable(stated))?,
                }
                write!(f, ", not {wanted}")
            }
            Self::SourceNotNamed { repository } => write!(
                f,
                "its certificate is a CI service's for {}, and the policy names no source \
                 repository, so that any repository could call the same workflow",
                printable(repository)
            ),
        }
    }
}
