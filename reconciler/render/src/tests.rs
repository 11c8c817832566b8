//! The client and the real worker together. Snapshots are maps; what a test is about is said by
//! the files in it.

mod confinement;
mod kustomize;
mod plain;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::{Entry, Fault, Files, Kind, RenderError, Rendered, Renderer};

/// The worker's program: `TIDEGATE_RENDER_WORKER`, else built into the cache.
fn worker() -> PathBuf {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        std::env::var_os("TIDEGATE_RENDER_WORKER")
            .map_or_else(|| tidegate_harness::Binaries::worker().unwrap(), PathBuf::from)
    });
    PROGRAM.clone()
}

/// A snapshot in memory.
#[derive(Clone, Default)]
struct Repository(BTreeMap<String, Vec<u8>>);

impl Files for Repository {
    fn entry(&self, path: &str) -> Result<Entry, String> {
        if let Some(content) = self.0.get(path) {
            return Ok(Entry::File(content.clone()));
        }
        let inside = if path.is_empty() { String::new() } else { format!("{path}/") };
        let mut names: Vec<_> = self
            .0
            .keys()
            .filter_map(|file| file.strip_prefix(&inside))
            .map(|rest| rest.split_inclusive('/').next().unwrap_or(rest).to_owned())
            .collect();
        names.dedup();
        Ok(if names.is_empty() { Entry::Missing } else { Entry::Directory(names) })
    }
}

fn repository(files: &[(&str, &str)]) -> Repository {
    let owned = |(path, content): &(&str, &str)| ((*path).to_owned(), content.as_bytes().to_vec());
    Repository(files.iter().map(owned).collect())
}

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n")
}

/// A few hundred bytes of YAML that unfold to 9^11 values.
fn alias_bomb() -> String {
    let first = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    (b'b'..=b'k').fold(first, |text, name| {
        let (name, before) = (char::from(name), char::from(name - 1));
        let aliases = vec![format!("*{before}"); 9].join(", ");
        format!("{text}{name}: &{name} [{aliases}]\n")
    })
}

async fn render(files: &[(&str, &str)], path: &str) -> Result<Rendered, RenderError> {
    render_as(files, path, Kind::Auto).await
}

async fn render_as(
    files: &[(&str, &str)],
    path: &str,
    kind: Kind,
) -> Result<Rendered, RenderError> {
    Renderer::new(worker(), 1).render(Arc::new(repository(files)), path, kind).await
}

/// Why the repository's content was refused.
async fn refusal(files: &[(&str, &str)], path: &str) -> Fault {
    match render(files, path).await {
        Err(RenderError::Refused { fault, .. }) => fault,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn names(rendered: &Rendered) -> Vec<String> {
    let name = |object: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
    };
    rendered.objects.iter().map(name).collect()
}
