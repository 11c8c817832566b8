//! Base images: what an image may be built on.
//!
//! Provenance lists the images that went into a build and does not tell a base from a build stage,
//! so each of them must be approved: otherwise an approved compiler image would excuse any base.
//! Annotations name one base; they are what the builder wrote into the image that was signed.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_ids::Digest;
use tidegate_schemas::{BaseImages, BaseSource};

use super::purl::{Purl, image_name, image_of};
use super::{document, few, list, slsa, text};
use crate::proof::Proved;
use crate::shortcoming::printable;
use crate::{Error, ImagePattern, Subject};

const NAME: &str = "org.opencontainers.image.base.name";
const DIGEST: &str = "org.opencontainers.image.base.digest";

/// What an image may be built on.
#[derive(Debug, Clone)]
pub(crate) struct BaseRule {
    approved: Vec<(ImagePattern, BTreeSet<Digest>)>,
    from: BaseSource,
}

/// An image that another one is built on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Base {
    /// Its canonical name.
    pub(crate) name: String,
    pub(crate) digest: Option<Digest>,
}

impl BaseRule {
    /// Reads what is approved.
    ///
    /// # Errors
    /// When a name is none, or nothing is approved.
    pub(crate) fn from_schema(stated: &BaseImages) -> Result<Self, Error> {
        if stated.approved.is_empty() {
            return Err(Error::Attestation {
                field: "base.approved".to_owned(),
                why: "it is empty".to_owned(),
            });
        }
        let approved = stated.approved.iter().map(|one| {
            Ok((one.image.parse()?, one.digests.iter().copied().collect::<BTreeSet<_>>()))
        });
        Ok(Self { approved: approved.collect::<Result<_, Error>>()?, from: stated.from })
    }

    /// Whether statements tell the base, rather than the image's own annotations.
    pub(crate) fn reads_provenance(&self) -> bool {
        self.from == BaseSource::Provenance
    }

    /// What it asks for.
    pub(crate) fn describe(&self) -> String {
        let names: Vec<_> = self.approved.iter().map(|(name, _)| name.to_string()).collect();
        format!("built on {}", names.join(" or "))
    }

    /// Its form under the policy digest; the order of lists does not matter.
    pub(crate) fn canonical(&self) -> Value {
        let approved: BTreeSet<_> =
            self.approved.iter().map(|(name, digests)| (name.to_string(), digests)).collect();
        json!({"base": {"approved": approved, "from": self.from}})
    }

    /// Whether the provenance among these statements, or the image's own annotations, name a base,
    /// and only approved ones.
    ///
    /// # Errors
    /// The reasons, one sentence each.
    pub(crate) fn judge(
        &self,
        provenance: &[&Proved],
        subject: &Subject,
    ) -> Result<String, Vec<String>> {
        let (bases, unread) = match self.from {
            BaseSource::Provenance => in_provenance(provenance),
            BaseSource::Annotations => in_annotations(subject),
        };
        if bases.is_empty() {
            return Err(if unread.is_empty() {
                vec![format!("nothing says what it is built on ({})", self.sought())]
            } else {
                unread
            });
        }
        let mut wrong = unread;
        wrong.extend(bases.iter().filter_map(|base| self.objection(base)));
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(format!("built on {}", few(bases.iter().map(ToString::to_string))))
    }

    fn sought(&self) -> &'static str {
        match self.from {
            BaseSource::Provenance => "SLSA provenance with its images as materials",
            BaseSource::Annotations => "annotation org.opencontainers.image.base.name",
        }
    }

    fn objection(&self, base: &Base) -> Option<String> {
        let named: Vec<_> =
            self.approved.iter().filter(|(pattern, _)| pattern.matches(&base.name)).collect();
        if named.is_empty() {
            let all = match self.from {
                BaseSource::Provenance => {
                    " (provenance does not tell a base from a build stage: approve both)"
                }
                BaseSource::Annotations => "",
            };
            return Some(format!("it is built on {base}, which is not approved{all}"));
        }
        let approved = named.iter().any(|(_, digests)| {
            digests.is_empty() || base.digest.is_some_and(|digest| digests.contains(&digest))
        });
        (!approved).then(|| match base.digest {
            Some(_) => format!("it is built on {base}, and not on a digest of it that is approved"),
            None => format!("it is built on {base}, and nothing says on which digest of it"),
        })
    }
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.digest {
            Some(digest) => write!(f, "{}@{digest}", printable(&self.name)),
            None => f.write_str(&printable(&self.name)),
        }
    }
}

/// The images among the materials of every provenance statement, and why some cannot be read.
pub(crate) fn in_provenance(statements: &[&Proved]) -> (BTreeSet<Base>, Vec<String>) {
    let (mut bases, mut unread) = (BTreeSet::new(), Vec::new());
    for statement in statements.iter().filter(|one| slsa::is_provenance(&one.predicate_type)) {
        match materials(&statement.predicate) {
            Ok(found) => bases.extend(found),
            Err(why) => unread.push(format!("its provenance does not tell its base: {why}")),
        }
    }
    (bases, unread)
}

fn materials(predicate: &Value) -> Result<BTreeSet<Base>, String> {
    let predicate = document(predicate)?;
    let pointer = match predicate.pointer("/buildDefinition") {
        Some(_) => slsa::DEPENDENCIES,
        None => "/materials",
    };
    let build_type =
        text(&predicate, "/buildType").or_else(|| text(&predicate, "/buildDefinition/buildType"));
    let tekton = build_type.is_some_and(slsa::tekton);
    let mut bases = BTreeSet::new();
    for material in list(&predicate, pointer)? {
        let uri = text(material, "/uri").unwrap_or_default();
        let image = match uri.split_once("://") {
            Some(("docker-image" | "oci" | "docker", reference)) => {
                let pinned = reference.split_once('@').and_then(|(_, text)| text.parse().ok());
                image_name(reference).map(|name| (name, pinned))
            }
            None if uri.starts_with("pkg:docker/") || uri.starts_with("pkg:oci/") => {
                Purl::read(uri).as_ref().and_then(image_of)
            }
            _ => continue,
        };
        let Some((name, pinned)) = image else {
            return Err(format!("{} is no image that has a name", printable(uri)));
        };
        let stated = text(material, "/digest/sha256").map(|hex| format!("sha256:{hex}").parse());
        let stated: Option<Digest> = match stated {
            Some(Ok(digest)) => Some(digest),
            Some(Err(_)) => return Err(format!("the digest of {} is none", printable(uri))),
            None => None,
        };
        match (pinned, stated) {
            (Some(pinned), Some(stated)) if pinned != stated => {
                return Err(format!("{} is stated with digest {stated}", printable(uri)));
            }
            _ => {}
        }
        bases.insert(Base { name, digest: stated.or(pinned) });
    }
    // Tekton Chains lists the images that its steps ran in, and nothing of the image's own base.
    if tekton && !bases.is_empty() {
        return Err("Tekton Chains lists the images that its steps ran in, not what the image is \
                    built on; use base.from: Annotations"
            .to_owned());
    }
    Ok(bases)
}

/// The base that the image's own annotations name.
pub(crate) fn in_annotations(subject: &Subject) -> (BTreeSet<Base>, Vec<String>) {
    let stated = |key: &str| subject.annotations.get(key).filter(|text| !text.is_empty());
    let Some(reference) = stated(NAME) else { return (BTreeSet::new(), Vec::new()) };
    let Some(name) = image_name(reference) else {
        let why = format!("its annotation {NAME} is no image name: {}", printable(reference));
        return (BTreeSet::new(), vec![why]);
    };
    let pinned = reference.split_once('@').map(|(_, text)| text.to_owned());
    let mut digests = BTreeSet::new();
    for text in pinned.iter().chain(stated(DIGEST)) {
        let Ok(digest) = text.parse::<Digest>() else {
            let why = format!("its annotations state {} as its base's digest", printable(text));
            return (BTreeSet::new(), vec![why]);
        };
        digests.insert(digest);
    }
    if digests.len() > 1 {
        let why = format!("its annotations state two digests of {name} as its base's");
        return (BTreeSet::new(), vec![why]);
    }
    (BTreeSet::from([Base { name, digest: digests.first().copied() }]), Vec::new())
}
