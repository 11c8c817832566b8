//! CycloneDX 1.4 and later, JSON (ECMA-424).

use std::collections::BTreeSet;

use serde_json::Value;
use tidegate_ids::Digest;

use super::sbom::Sbom;
use super::{Purl, list, purl, text};
use crate::inventory::{Inventory, Package};
use crate::shortcoming::printable;

pub(super) fn read(document: &Value) -> Result<Sbom, String> {
    if text(document, "/bomFormat") != Some("CycloneDX") {
        return Err("it is no CycloneDX document in JSON (no bomFormat)".to_owned());
    }
    let version = text(document, "/specVersion").unwrap_or_default();
    let minor = version.strip_prefix("1.").and_then(|minor| minor.parse::<u32>().ok());
    if minor.is_none_or(|minor| minor < 4) {
        let version = printable(version);
        return Err(format!("it is CycloneDX {version}; 1.4 and later are read"));
    }
    let mut packages = BTreeSet::new();
    let mut open: Vec<_> = list(document, "/components")?.iter().collect();
    while let Some(component) = open.pop() {
        open.extend(list(component, "/components")?);
        let name = text(component, "/name").ok_or("a component in it has no name")?;
        let (version, url) = (text(component, "/version"), text(component, "/purl"));
        match text(component, "/type").unwrap_or_default() {
            "library" | "framework" => {}
            "application" | "container" | "firmware" if version.is_some() || url.is_some() => {}
            _ => continue,
        }
        packages.insert(Package::new(name, version, url));
    }
    let mut about = BTreeSet::new();
    if let Some(subject) = document.pointer("/metadata/component")
        && text(subject, "/type") == Some("container")
    {
        let image = text(subject, "/purl").and_then(Purl::read);
        let stated = text(subject, "/version").and_then(|text| text.parse::<Digest>().ok());
        about.extend(image.as_ref().and_then(purl::digest_of).or(stated));
    }
    Ok(Sbom { inventory: Inventory { packages }, about })
}
