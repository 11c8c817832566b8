//! SLSA provenance v0.2 and v1: who built the image, from what, and with which parameters.
//!
//! Where the source stands depends on who wrote the statement; the shapes that are known are those
//! of slsa-github-generator, GitHub's attestations, `BuildKit`, GitLab, Cloud Build and Tekton
//! Chains, by the documents that each publishes for its build type. A statement of another shape
//! does not name its source. What a builder says of itself unchecked (`BuildKit`'s `vcs`) is not
//! looked at.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_schemas::{SlsaRequirement, TextMatch};

use super::source::Source;
use super::{Accepted, document, few, list, parameters, text};
use crate::Error;
use crate::identity::Text;
use crate::proof::Proved;
use crate::shortcoming::printable;

/// The predicate types, v0.2 and v1.
pub(crate) const TYPES: [&str; 2] =
    ["https://slsa.dev/provenance/v0.2", "https://slsa.dev/provenance/v1"];
/// Where v1 has what the caller asked for.
const EXTERNAL: &str = "/buildDefinition/externalParameters";
/// Where v1 has what went into the build.
pub(super) const DEPENDENCIES: &str = "/buildDefinition/resolvedDependencies";
/// The build type whose source is its first dependency (slsa-github-generator's delegators).
const DELEGATOR: &str =
    "https://github.com/slsa-framework/slsa-github-generator/delegator-generic@v0";
/// The parameters that name the source, in v1. The file in the source that says how to build
/// (`path`) is a part of that source.
const NAMING: [&str; 12] = [
    "workflow.repository",
    "workflow.ref",
    "workflow.path",
    "source.uri",
    "source.digest",
    "configSource.uri",
    "configSource.digest",
    "configSource.path",
    "buildConfigSource.repository",
    "buildConfigSource.ref",
    "buildConfigSource.digest",
    "buildConfigSource.path",
];

/// Whether this is the type of provenance that is known here.
pub(crate) fn is_provenance(predicate_type: &str) -> bool {
    TYPES.contains(&predicate_type)
}

/// How an image must have been built.
#[derive(Clone)]
pub(super) struct SlsaRule {
    builder: Text,
    source: Option<(String, Option<Text>)>,
    build_type: Option<Text>,
    parameters: BTreeSet<String>,
}

impl SlsaRule {
    pub(super) fn new(stated: &SlsaRequirement) -> Result<Self, Error> {
        let source = stated.source.as_ref().map(|source| {
            let wrong = |why: &str| Error::Attestation {
                field: "slsa.source.repository".to_owned(),
                why: format!("{}: {why}", source.repository),
            };
            let repository: Source = source.repository.parse().map_err(wrong)?;
            if repository.ref_.is_some() {
                return Err(wrong("it names a ref, which belongs into ref"));
            }
            let ref_ = source.ref_.as_ref().map(|ref_| matcher("slsa.source.ref", ref_));
            Ok((repository.repository, ref_.transpose()?))
        });
        let build_type = stated.build_type.as_ref().map(|one| matcher("slsa.buildType", one));
        Ok(Self {
            builder: matcher("slsa.builder", &stated.builder)?,
            source: source.transpose()?,
            build_type: build_type.transpose()?,
            parameters: stated.parameters.iter().cloned().collect(),
        })
    }

    pub(super) fn describe(&self) -> String {
        let source = match &self.source {
            Some((repository, Some(ref_))) => format!(" from {repository} at {ref_}"),
            Some((repository, None)) => format!(" from {repository}"),
            None => String::new(),
        };
        format!("SLSA provenance by {}{source}", self.builder)
    }

    pub(super) fn judge(&self, statement: &Proved) -> Result<Accepted, Vec<String>> {
        let predicate = document(&statement.predicate)
            .map_err(|why| vec![format!("its provenance cannot be read: {why}")])?;
        let build = if statement.predicate_type == TYPES[0] {
            Build::v02(&predicate)
        } else {
            Build::v1(&predicate)
        };
        let build = build.map_err(|why| vec![format!("its provenance cannot be read: {why}")])?;
        let mut wrong = Vec::new();
        if !self.builder.matches(build.builder) {
            wrong.push(other("who built it", build.builder, &self.builder));
        }
        if let Some(wanted) = &self.build_type
            && !wanted.matches(build.kind)
        {
            wrong.push(other("of which build type it is", build.kind, wanted));
        }
        wrong.extend(self.source.as_ref().and_then(|wanted| build.objection(wanted)));
        if build.incomplete {
            wrong.push(
                "its provenance says of itself that it does not list all parameters of the build; \
                 let the builder list them (BuildKit: mode=max)"
                    .to_owned(),
            );
        }
        let unlisted = parameters::unlisted(build.parameters, build.naming, &self.parameters);
        if !unlisted.is_empty() {
            let unlisted: Vec<_> = unlisted.iter().map(|name| printable(name)).collect();
            wrong.push(format!(
                "the build was given parameters that the policy does not list: {}; build without \
                 them, or list in slsa.parameters those that may be given",
                unlisted.join(", ")
            ));
        }
        if wrong.is_empty() { Ok(Accepted::of(build.summary())) } else { Err(wrong) }
    }
}

impl std::fmt::Debug for SlsaRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlsaRule").field("asks", &self.describe()).finish_non_exhaustive()
    }
}

pub(super) fn canonical(stated: &SlsaRequirement) -> Value {
    let parameters: BTreeSet<_> = stated.parameters.iter().collect();
    json!({"slsa": {
        "builder": stated.builder,
        "source": stated.source,
        "buildType": stated.build_type,
        "parameters": parameters,
    }})
}

pub(super) fn matcher(field: &str, stated: &TextMatch) -> Result<Text, Error> {
    Text::new(field, stated).map_err(|error| match error {
        Error::Identity { field, why } => Error::Attestation { field, why },
        other => other,
    })
}

fn other(what: &str, stated: &str, wanted: &Text) -> String {
    match stated {
        "" => format!("its provenance does not say {what}, and the policy asks for {wanted}"),
        stated => format!("its provenance says {what}: {}, not {wanted}", printable(stated)),
    }
}

/// What a provenance statement says, whichever its version.
struct Build<'a> {
    builder: &'a str,
    kind: &'a str,
    /// Everywhere the source is named; where there are several, each must be right.
    sources: Result<Vec<Source>, String>,
    /// The Git repositories among what went into the build.
    materials: Vec<Source>,
    parameters: &'a Value,
    naming: &'static [&'static str],
    incomplete: bool,
}

impl<'a> Build<'a> {
    fn v02(predicate: &'a Value) -> Result<Self, String> {
        let build_type = text(predicate, "/buildType").unwrap_or_default();
        let config = text(predicate, "/invocation/configSource/uri");
        let sources = match config {
            _ if tekton(build_type) => Err(format!(
                "provenance of type {} names the pipeline's source and not the image's; let Tekton \
                 Chains write provenance v1 (slsa/v2alpha4)",
                printable(build_type)
            )),
            Some(uri) => source(uri).map(|source| vec![source]),
            None => Err("it names no source (invocation.configSource.uri)".to_owned()),
        };
        let complete = predicate.pointer("/metadata/completeness/parameters");
        Ok(Self {
            builder: text(predicate, "/builder/id").unwrap_or_default(),
            kind: build_type,
            sources,
            materials: repositories(list(predicate, "/materials")?),
            parameters: predicate.pointer("/invocation/parameters").unwrap_or(&Value::Null),
            naming: &[],
            incomplete: complete == Some(&Value::Bool(false)),
        })
    }

    fn v1(predicate: &'a Value) -> Result<Self, String> {
        let definition = predicate.pointer("/buildDefinition").and_then(Value::as_object);
        if definition.is_none() {
            return Err("it has no buildDefinition".to_owned());
        }
        let build_type = text(predicate, "/buildDefinition/buildType").unwrap_or_default();
        let dependencies = list(predicate, DEPENDENCIES)?;
        let parameters = predicate.pointer(EXTERNAL).unwrap_or(&Value::Null);
        // GitLab's `source` is the URL itself.
        let plain = parameters.get("source").is_some_and(Value::is_string);
        let complete = predicate.pointer("/runDetails/metadata/buildkit_completeness/request");
        Ok(Self {
            builder: text(predicate, "/runDetails/builder/id").unwrap_or_default(),
            kind: build_type,
            sources: named_sources(parameters, dependencies, build_type),
            materials: repositories(dependencies),
            parameters,
            naming: if plain { &["source"] } else { &NAMING },
            incomplete: complete == Some(&Value::Bool(false)),
        })
    }

    /// Why the source is not the one that is asked for.
    fn objection(&self, (repository, ref_): &(String, Option<Text>)) -> Option<String> {
        let sources = match &self.sources {
            Ok(sources) => sources,
            Err(why) => return Some(why.clone()),
        };
        for source in sources {
            if source.repository != *repository {
                let named = printable(&source.repository);
                return Some(format!("it was built from {named}, not from {repository}"));
            }
            match (ref_, &source.ref_) {
                (Some(wanted), Some(named)) if !wanted.matches(named) => {
                    return Some(format!(
                        "it was built from {} of {repository}, not from {wanted}",
                        printable(named)
                    ));
                }
                _ => {}
            }
        }
        if let Some(wanted) = ref_
            && sources.iter().all(|source| source.ref_.is_none())
        {
            return Some(format!(
                "its provenance does not say from which ref of {repository} it was built, and the \
                 policy asks for {wanted}"
            ));
        }
        let taken = |one: &Source| one.repository == *repository;
        if self.materials.is_empty() || self.materials.iter().any(taken) {
            return None;
        }
        let others = self.materials.iter().map(|one| printable(&one.repository));
        Some(format!(
            "the build was configured from {repository}, but what went into it comes from {}",
            few(others)
        ))
    }

    fn summary(&self) -> String {
        let from = match self.sources.as_deref() {
            Ok([source, ..]) => format!(" from {}", printable(&source.to_string())),
            _ => String::new(),
        };
        format!("built by {}{from}", printable(self.builder))
    }
}

/// Everywhere v1 provenance names its source, by the shapes that are known.
fn named_sources(
    parameters: &Value,
    dependencies: &[Value],
    build_type: &str,
) -> Result<Vec<Source>, String> {
    let mut found = Vec::new();
    for (repository, ref_) in [
        ("/workflow/repository", "/workflow/ref"),
        ("/source", ""),
        ("/source/uri", ""),
        ("/configSource/uri", ""),
    ] {
        if let Some(uri) = text(parameters, repository) {
            let mut source = source(uri)?;
            match text(parameters, ref_) {
                Some(_) if source.ref_.is_some() => {
                    return Err("its provenance names the source's ref in two places".to_owned());
                }
                Some(ref_) => source.ref_ = Some(ref_.to_owned()),
                None => {}
            }
            found.push(source);
        }
    }
    if tekton(build_type) || parameters.get("runSpec").is_some() {
        // `buildConfigSource` is where the pipeline comes from; the image's own source is what
        // the tasks report as their input.
        let inputs = dependencies.iter().filter(|one| {
            text(one, "/name").is_some_and(|name| {
                matches!(name, "inputs/result" | "input/result" | "input/results")
            })
        });
        let inputs = inputs.filter_map(|one| text(one, "/uri"));
        for uri in inputs.filter(|uri| uri.starts_with("git+")) {
            found.push(source(uri)?);
        }
    } else if let Some(repository) = text(parameters, "/buildConfigSource/repository") {
        let mut source = source(repository)?;
        if let Some(ref_) = text(parameters, "/buildConfigSource/ref") {
            source.ref_ = Some(ref_.to_owned());
        }
        found.push(source);
    }
    if build_type == DELEGATOR
        && let Some(uri) = dependencies.first().and_then(|one| text(one, "/uri"))
    {
        found.push(source(uri)?);
    }
    if found.is_empty() {
        return Err(format!(
            "its provenance names no source where that is known to stand; its build type is {}",
            printable(if build_type.is_empty() { "not stated" } else { build_type })
        ));
    }
    Ok(found)
}

pub(super) fn tekton(build_type: &str) -> bool {
    build_type.starts_with("tekton.dev/") || build_type.starts_with("https://tekton.dev/")
}

fn source(uri: &str) -> Result<Source, String> {
    uri.parse().map_err(|why| {
        format!("its provenance names as its source {}, which is none: {why}", printable(uri))
    })
}

/// The Git repositories among materials.
fn repositories(materials: &[Value]) -> Vec<Source> {
    let uris = materials.iter().filter_map(|one| text(one, "/uri"));
    #[allow(
        clippy::case_sensitive_file_extension_comparisons,
        reason = "forges write it in lower case, and another one is another repository"
    )]
    let git = uris.filter(|uri| {
        let plain = uri.split(['#', '@']).next().unwrap_or_default();
        uri.starts_with("git+") || (uri.starts_with("https://") && plain.ends_with(".git"))
    });
    git.filter_map(|uri| uri.parse().ok()).collect()
}
