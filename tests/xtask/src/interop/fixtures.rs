//! What was made on the lab, kept for tests that need none.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tidegate_harness::{LabError, repository_root};
use tidegate_ids::Digest;
use tidegate_outbound::Found;

use super::judge::Judged;
use super::stand::Stand;
use crate::error::XtaskError;

const FOLDER: &str = "pipeline/provenance/tests/fixtures/cosign";

/// Replaces the fixtures.
pub(super) fn write(stand: &Stand, judged: &[Judged]) -> Result<(), XtaskError> {
    let folder = repository_root().join(FOLDER);
    let content = folder.join("content");
    let _ = fs::remove_dir_all(&content);
    fs::create_dir_all(&content).map_err(failed("creating", &content))?;
    let mut cases = Vec::new();
    for one in judged {
        let mut attached = Vec::new();
        for found in &one.attached {
            attached.push(entry(&content, found)?);
        }
        cases.push(json!({
            "name": one.case.name,
            "image": one.case.image,
            "policy": one.case.policy,
            "now": one.now,
            "attached": attached,
            "cosign": one.cosign.as_str(),
            "tidegate": one.ours.as_str(),
            "because": one.case.because,
            "stricter": one.case.stricter,
        }));
    }
    let root = folder.join("trusted_root.json");
    fs::write(&root, stand.sigstore.trusted_root()?).map_err(failed("writing", &root))?;
    let index = folder.join("index.json");
    let text = serde_json::to_string_pretty(&cases)
        .map_err(|error| LabError::Description(error.to_string()))?;
    fs::write(&index, text + "\n").map_err(failed("writing", &index))?;
    println!("{} cases written to {FOLDER}", judged.len());
    Ok(())
}

/// Writes what is attached under its digest, and says how it is attached.
fn entry(content: &Path, found: &Found) -> Result<Value, XtaskError> {
    let keep = |digest: &Digest, bytes: &[u8]| {
        let name = digest.to_string().replace(':', "-");
        let path = content.join(&name);
        fs::write(&path, bytes).map_err(failed("writing", &path))?;
        Ok::<_, XtaskError>(name)
    };
    Ok(match found {
        Found::Bundle { digest, json } => json!({"bundle": keep(digest, json)?}),
        Found::Layer { digest, media_type, content, annotations } => json!({
            "layer": keep(digest, content)?, "mediaType": media_type, "annotations": annotations,
        }),
        Found::Unreadable { digest, why } => json!({"unreadable": digest, "why": why}),
    })
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> XtaskError {
    let path = path.to_owned();
    move |source| XtaskError::Lab(LabError::File { doing, path, source })
}
