//! SPDX 2.2 and 2.3, JSON (the specification's JSON schema).

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_ids::Digest;

use super::sbom::Sbom;
use super::{Purl, list, purl, text};
use crate::inventory::{Inventory, Package};
use crate::shortcoming::printable;

pub(super) fn read(document: &Value) -> Result<Sbom, String> {
    match text(document, "/spdxVersion") {
        Some("SPDX-2.2" | "SPDX-2.3") => {}
        Some(other) => {
            let other = printable(other);
            return Err(format!("it is {other}; SPDX-2.2 and SPDX-2.3 are read"));
        }
        None => return Err("it is no SPDX 2 document in JSON (no spdxVersion)".to_owned()),
    }
    let described = described(document)?;
    let (mut packages, mut about) = (BTreeSet::new(), BTreeSet::new());
    for package in list(document, "/packages")? {
        let name = text(package, "/name").ok_or("a package in it has no name")?;
        let purpose = text(package, "/primaryPackagePurpose").unwrap_or_default();
        let version = text(package, "/versionInfo").filter(|text| *text != "NOASSERTION");
        let references = list(package, "/externalRefs")?;
        let url = references.iter().find(|one| text(one, "/referenceType") == Some("purl"));
        let url = url.and_then(|one| text(one, "/referenceLocator"));
        let image = url.and_then(Purl::read).filter(|one| matches!(&*one.type_, "oci" | "docker"));
        let is_described = text(package, "/SPDXID").is_some_and(|id| described.contains(id));
        if is_described && (purpose == "CONTAINER" || image.is_some()) {
            let stated = version.and_then(|text| text.parse::<Digest>().ok());
            about.extend(image.as_ref().and_then(purl::digest_of).or(stated));
            continue;
        }
        let thing = matches!(purpose, "FILE" | "OPERATING-SYSTEM" | "SOURCE");
        let unidentified_application =
            purpose == "APPLICATION" && url.is_none() && version.is_none();
        if !thing && !unidentified_application {
            packages.insert(Package::new(name, version, url));
        }
    }
    Ok(Sbom { inventory: Inventory { packages }, about })
}

/// The ids of what the document describes, in both ways of saying so.
fn described(document: &Value) -> Result<BTreeSet<&str>, String> {
    let mut ids: BTreeSet<_> =
        list(document, "/documentDescribes")?.iter().filter_map(Value::as_str).collect();
    for relation in list(document, "/relationships")? {
        if text(relation, "/relationshipType") == Some("DESCRIBES")
            && text(relation, "/spdxElementId") == Some("SPDXRef-DOCUMENT")
        {
            ids.extend(text(relation, "/relatedSpdxElement"));
        }
    }
    Ok(ids)
}
