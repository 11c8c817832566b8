//! The lab's Git server: bare repositories on disk, served over smart HTTP.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::Lab;
use crate::error::{LabError, file, run};

/// Read by the lab's Git server at every request.
const ACCESS_FILE: &str = "lab-access";

impl Lab {
    /// URL of a repository, without credentials.
    #[must_use]
    pub fn git_url(&self, repository: &str) -> String {
        format!("{}/{repository}.git", self.description.git)
    }

    /// The bare repository on disk, for looking at what was pushed or tampering with it.
    #[must_use]
    pub fn git_dir(&self, repository: &str) -> PathBuf {
        self.folder().join("git").join(format!("{repository}.git"))
    }

    /// Creates an empty repository whose default branch is `main`; with a user and a password it
    /// can only be read and pushed with them. Its URL.
    ///
    /// # Errors
    /// When Git cannot create it.
    pub fn create_repo(
        &self,
        repository: &str,
        access: Option<(&str, &str)>,
    ) -> Result<String, LabError> {
        let folder = self.git_dir(repository);
        let mut command = Command::new("git");
        command.args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&folder);
        run(format!("creating the repository {repository}"), &mut command)?;
        if let Some((user, password)) = access {
            let path = folder.join(ACCESS_FILE);
            fs::write(&path, format!("{user}:{password}")).map_err(file("writing", &path))?;
        }
        Ok(self.git_url(repository))
    }

    /// Commits files on top of a branch, as a person's push would have: `None` deletes the path.
    /// Creates the branch when it is missing. The id of the new commit.
    ///
    /// # Errors
    /// When Git refuses.
    pub fn commit(
        &self,
        repository: &str,
        branch: &str,
        files: &[(&str, Option<&str>)],
        message: &str,
    ) -> Result<String, LabError> {
        let index = tempfile::TempDir::new_in(self.folder())
            .map_err(file("creating a folder in", self.folder()))?;
        let git = |args: &[&str]| {
            let mut command = Command::new("git");
            command
                .arg("--git-dir")
                .arg(self.git_dir(repository))
                .arg("--work-tree")
                .arg(index.path())
                .args(args)
                .current_dir(index.path())
                .env("GIT_INDEX_FILE", index.path().join("index"));
            for role in ["AUTHOR", "COMMITTER"] {
                command.env(format!("GIT_{role}_NAME"), "Lab");
                command.env(format!("GIT_{role}_EMAIL"), "lab@example.org");
            }
            run(format!("committing to {repository}"), &mut command)
                .map(|output| output.trim().to_owned())
        };
        let reference = format!("refs/heads/{branch}");
        let parent = git(&["rev-parse", "--verify", "--quiet", &reference]).ok();
        if let Some(parent) = &parent {
            git(&["read-tree", parent])?;
        }
        for (path, content) in files {
            if let Some(content) = content {
                let source = index.path().join("content");
                fs::write(&source, content).map_err(file("writing", &source))?;
                let blob = git(&["hash-object", "-w", &source.to_string_lossy()])?;
                git(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{path}")])?;
            } else {
                git(&["update-index", "--force-remove", path])?;
            }
        }
        let tree = git(&["write-tree"])?;
        let mut commit = vec!["commit-tree", tree.as_str(), "-m", message];
        if let Some(parent) = &parent {
            commit.extend(["-p", parent.as_str()]);
        }
        let commit = git(&commit)?;
        git(&["update-ref", &reference, &commit])?;
        Ok(commit)
    }
}
