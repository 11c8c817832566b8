//! A Git work tree in the lab's folder, used as a person does: edit, commit with an SSH signature,
//! push. Git runs without the configuration of whoever runs the lab.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidegate_ids::CommitId;

use super::{Person, wrong};
use crate::error::{LabError, file, run};

#[derive(Debug)]
pub(super) struct WorkingCopy {
    pub(super) folder: PathBuf,
}

impl WorkingCopy {
    pub(super) fn create(parent: &Path, remote: &str) -> Result<Self, LabError> {
        let folder = parent.join("environments");
        fs::create_dir(&folder).map_err(file("creating", &folder))?;
        let work = Self { folder };
        work.git(&["init", "--quiet", "--initial-branch=main"])?;
        work.git(&["config", "gpg.format", "ssh"])?;
        work.git(&["remote", "add", "origin", remote])?;
        Ok(work)
    }

    pub(super) fn read(&self, path: &str) -> Result<String, LabError> {
        let path = self.folder.join(path);
        fs::read_to_string(&path).map_err(file("reading", &path))
    }

    pub(super) fn write(&self, path: &str, text: &str) -> Result<(), LabError> {
        let path = self.folder.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(file("creating", folder))?;
        }
        fs::write(&path, text).map_err(file("writing", &path))
    }

    pub(super) fn commit(
        &self,
        person: &Person,
        key: Option<&PathBuf>,
        message: &str,
    ) -> Result<CommitId, LabError> {
        self.git(&["add", "--all"])?;
        let name = format!("user.name={}", person.name);
        let email = format!("user.email={}", person.email);
        let mut args = vec!["-c", &name, "-c", &email];
        let signing = key.map(|key| format!("user.signingkey={}", key.display()));
        match &signing {
            Some(signing) => args.extend(["-c", signing, "commit", "-S"]),
            None => args.extend(["commit", "--no-gpg-sign"]),
        }
        args.extend(["--quiet", "-m", message]);
        self.git(&args)?;
        let id = self.git(&["rev-parse", "HEAD"])?;
        id.trim().parse().map_err(|error| wrong("reading the new commit's id", format!("{error}")))
    }

    pub(super) fn push(&self) -> Result<(), LabError> {
        self.git(&["push", "--quiet", "origin", "main"]).map(|_| ())
    }

    /// Every object in the YAML files of a folder and below, by path.
    pub(super) fn objects(&self, folder: &str) -> Result<Vec<Value>, LabError> {
        let mut objects = Vec::new();
        walk(&self.folder.join(folder), &mut |path| {
            let text = fs::read_to_string(path).map_err(file("reading", path))?;
            let found: Vec<Value> = serde_saphyr::from_multiple(&text)
                .map_err(|error| wrong(format!("reading {}", path.display()), error.to_string()))?;
            objects.extend(found.into_iter().filter(|object| !object.is_null()));
            Ok(())
        })?;
        Ok(objects)
    }

    fn git(&self, args: &[&str]) -> Result<String, LabError> {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.folder).args(args);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("GIT_TERMINAL_PROMPT", "0");
        run("using the working copy of the environments", &mut command)
    }
}

/// Every file of a folder and below, in order of their paths.
pub(super) fn walk(
    folder: &Path,
    visit: &mut impl FnMut(&Path) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let entries = fs::read_dir(folder).map_err(file("listing", folder))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(file("listing", folder))?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            walk(&path, visit)?;
        } else {
            visit(&path)?;
        }
    }
    Ok(())
}
