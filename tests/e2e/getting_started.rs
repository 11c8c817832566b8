//! The documentation is true: `docs/getting-started.md` is typed into a shell, command by command,
//! and must answer as it says; every Tidegate object in the documentation is read strictly.
//!
//! In the page, a `console` block holds commands behind `$ ` and what they print, where `…` stands
//! for anything: within a line, or for any number of lines where it stands alone. A command that
//! only looks is repeated until it answers so, as a reader would. A `console background` block
//! keeps running. A `yaml` block whose first line is a comment with a path is that file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_harness::{Binaries, Lab, repository_root};
use tidegate_schemas as schemas;

const PAGE: &str = "docs/getting-started.md";
/// How long a command that only looks may be repeated.
const PATIENCE: Duration = Duration::from_mins(2);
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Commands that change nothing.
const LOOKS: [&str; 5] =
    ["tidegate get", "tidegate explain", "tidegate diff", "kubectl get", "git ls-remote"];

#[test]
fn the_page_is_typed_and_answers_as_it_says() {
    let page = std::fs::read_to_string(repository_root().join(PAGE)).unwrap();
    let lab = Lab::start_fresh().unwrap();
    let mut shell = Shell::open(&lab);
    for block in blocks(&page) {
        match block.info.as_str() {
            "yaml" => shell.write(&block),
            "console" => {
                for command in commands(&block) {
                    shell.type_in(&command);
                }
            }
            "console background" => {
                for command in commands(&block) {
                    shell.leave_running(&command);
                }
            }
            _ => {}
        }
    }
}

#[test]
fn every_tidegate_object_in_the_documentation_is_read_strictly() {
    let mut seen = BTreeMap::<String, usize>::new();
    for file in ["README.md", "docs/concepts.md", PAGE, "docs/keys.md", "docs/operations.md"] {
        let text = std::fs::read_to_string(repository_root().join(file)).unwrap();
        for block in blocks(&text).filter(|block| block.info == "yaml") {
            let at = format!("{file}:{}", block.line);
            for object in tidegate_manifest::documents(block.text.as_bytes(), &at).unwrap() {
                let group = object["apiVersion"].as_str().unwrap_or_default();
                if group.starts_with(schemas::GROUP) {
                    read_strictly(&object, &at);
                    *seen.entry(object["kind"].to_string()).or_default() += 1;
                }
            }
        }
    }
    // A Release is made by Tidegate only, so nobody writes one.
    assert_eq!(seen.len(), 9, "the documentation shows each kind that people write: {seen:?}");
}

fn read_strictly(object: &Value, at: &str) {
    match object["kind"].as_str().unwrap_or_default() {
        "Repository" => read_as::<schemas::Repository>(object, at),
        "Sync" => read_as::<schemas::Sync>(object, at),
        "Pipeline" => read_as::<schemas::Pipeline>(object, at),
        "EnvironmentClass" => read_as::<schemas::EnvironmentClass>(object, at),
        "Environment" => read_as::<schemas::Environment>(object, at),
        "TrustPolicy" => read_as::<schemas::TrustPolicy>(object, at),
        "Roster" => read_as::<schemas::Roster>(object, at),
        "Promotion" => read_as::<schemas::Promotion>(object, at),
        "Approval" => read_as::<schemas::Approval>(object, at),
        other => panic!("{at}: nobody writes a {other}"),
    }
}

fn read_as<K: DeserializeOwned + Serialize>(object: &Value, at: &str) {
    let read: K =
        serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{at}: {error}"));
    states(&serde_json::to_value(&read).unwrap(), object, at);
}

/// Every field that is written is in what was read, but for what says the default.
fn states(read: &Value, written: &Value, at: &str) {
    match written {
        Value::Object(fields) => {
            for (name, value) in fields {
                let empty = matches!(value, Value::Bool(false))
                    || value.as_array().is_some_and(Vec::is_empty);
                assert!(empty || !read[name].is_null(), "{at}: there is no field {name}");
                if !read[name].is_null() {
                    states(&read[name], value, &format!("{at}.{name}"));
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                states(&read[index], item, &format!("{at}[{index}]"));
            }
        }
        // The type checked the value; 24h may read back as 1d.
        _ => {}
    }
}

/// A fenced block of a page.
struct Block {
    info: String,
    text: String,
    line: usize,
}

fn blocks(page: &str) -> impl Iterator<Item = Block> + '_ {
    let mut lines = page.lines().enumerate();
    std::iter::from_fn(move || {
        let (line, info) =
            lines.find_map(|(number, line)| Some((number + 1, line.strip_prefix("```")?)))?;
        let text: Vec<_> =
            lines.by_ref().map(|(_, line)| line).take_while(|l| *l != "```").collect();
        Some(Block { info: info.to_owned(), text: text.join("\n") + "\n", line })
    })
}

/// What is typed, and what it prints.
struct Typed {
    command: String,
    prints: Vec<String>,
    at: String,
}

fn commands(block: &Block) -> Vec<Typed> {
    let mut typed: Vec<Typed> = Vec::new();
    for (index, line) in block.text.lines().enumerate() {
        match (line.strip_prefix("$ "), typed.last_mut()) {
            (Some(command), _) => typed.push(Typed {
                command: command.to_owned(),
                prints: Vec::new(),
                at: format!("{PAGE}:{}", block.line + 1 + index),
            }),
            (None, Some(last)) => last.prints.push(line.to_owned()),
            (None, None) => panic!("{PAGE}:{}: output without a command", block.line),
        }
    }
    typed
}

/// A shell whose folder and variables last from command to command.
struct Shell {
    folder: tempfile::TempDir,
    path: String,
    variables: Vec<(&'static str, String)>,
    background: Vec<(Child, PathBuf)>,
}

impl Shell {
    fn open(lab: &Lab) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The page adds a user to it.
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::copy(lab.kubeconfig(), &kubeconfig).unwrap();
        std::fs::write(folder.path().join("cwd"), folder.path().to_str().unwrap()).unwrap();
        std::fs::write(folder.path().join("environment"), "").unwrap();
        let programs = lab.binaries();
        let kubectl = Binaries::kubectl().unwrap();
        let tidegate = Path::new(env!("CARGO_BIN_EXE_tidegate"));
        let paths = [tidegate, &kubectl, &programs.crane, &programs.cosign, &programs.worker];
        let folders: Vec<_> =
            paths.iter().map(|program| program.parent().unwrap().to_str().unwrap()).collect();
        let variables = vec![
            ("HOME", folder.path().to_str().unwrap().to_owned()),
            ("LAB", lab.folder().to_str().unwrap().to_owned()),
            ("KUBECONFIG", kubeconfig.to_str().unwrap().to_owned()),
            ("REGISTRY", lab.registry().to_owned()),
            ("GIT", lab.git_url("").trim_end_matches("/.git").to_owned()),
            ("COSIGN_PASSWORD", String::new()),
            ("GIT_AUTHOR_NAME", "Reader".to_owned()),
            ("GIT_AUTHOR_EMAIL", "reader@example.com".to_owned()),
            ("GIT_COMMITTER_NAME", "Reader".to_owned()),
            ("GIT_COMMITTER_EMAIL", "reader@example.com".to_owned()),
        ];
        let path = format!("{}:{}", folders.join(":"), std::env::var("PATH").unwrap());
        Self { folder, path, variables, background: Vec::new() }
    }

    fn here(&self) -> PathBuf {
        std::fs::read_to_string(self.folder.path().join("cwd")).unwrap().trim().into()
    }

    fn write(&self, block: &Block) {
        let path = block.text.lines().next().and_then(|line| line.strip_prefix("# "));
        let Some(path) = path.filter(|path| path.contains('.')) else { return };
        let path = self.here().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &block.text).unwrap();
    }

    fn bash(&self, script: &str) -> Command {
        let mut command = Command::new("setpriv");
        // What is left running must not outlive the test.
        command.args(["--pdeathsig", "KILL", "bash", "-c", script]);
        command.current_dir(self.here()).env("PATH", &self.path).stdin(Stdio::null());
        command.env("NO_COLOR", "1").envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Types a command, and again while it only looks and does not answer yet as it should.
    fn type_in(&self, typed: &Typed) {
        let looks = LOOKS.iter().any(|look| typed.command.starts_with(look));
        let started = Instant::now();
        loop {
            let (succeeded, output) = self.run(&typed.command);
            if succeeded && matches(&typed.prints, &output) {
                eprintln!(
                    "{} {} ({:.1} s)",
                    typed.at,
                    typed.command,
                    started.elapsed().as_secs_f64()
                );
                return;
            }
            assert!(
                looks && started.elapsed() < PATIENCE,
                "{}: {}\nprints\n{output}\nand not\n{}\n\n{}\n{}",
                typed.at,
                typed.command,
                typed.prints.join("\n"),
                self.run("kubectl get tidegate,deployments,pods --all-namespaces --output wide").1,
                self.background_says()
            );
            std::thread::sleep(BETWEEN_LOOKS);
        }
    }

    fn run(&self, command: &str) -> (bool, String) {
        let (cwd, environment) =
            (self.folder.path().join("cwd"), self.folder.path().join("environment"));
        let script = format!(
            "set -o pipefail; . {environment}; {{ {command}\n}} 2>&1; code=$?; \
             pwd > {cwd}; export -p > {environment}; exit $code",
            environment = environment.display(),
            cwd = cwd.display(),
        );
        let output = self.bash(&script).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn leave_running(&mut self, typed: &Typed) {
        let log = self.folder.path().join(format!("background-{}.log", self.background.len()));
        let file = std::fs::File::create(&log).unwrap();
        let mut command = self.bash(&format!("exec {}", typed.command));
        command.stdout(file.try_clone().unwrap()).stderr(file);
        self.background.push((command.spawn().unwrap(), log));
    }

    fn background_says(&self) -> String {
        let tails = self.background.iter().map(|(_, log)| {
            let log = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            lines[lines.len().saturating_sub(30)..].join("\n")
        });
        tails.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for (child, _) in &mut self.background {
            // It may have ended by itself.
            let _ended = child.kill().and_then(|()| child.wait());
        }
    }
}

/// Whether an output is what the page says.
fn matches(says: &[String], output: &str) -> bool {
    fn lines(says: &[String], output: &[&str]) -> bool {
        match says.split_first() {
            None => output.is_empty(),
            Some((first, rest)) if first.trim() == "…" => {
                (0..=output.len()).any(|skipped| lines(rest, &output[skipped..]))
            }
            Some((first, rest)) => output
                .split_first()
                .is_some_and(|(line, others)| fits(first, line) && lines(rest, others)),
        }
    }
    let output: Vec<_> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    let says: Vec<_> = says.iter().filter(|line| !line.trim().is_empty()).cloned().collect();
    says.is_empty() || lines(&says, &output)
}

/// Whether a line is what the page says; how many spaces there are does not matter.
fn fits(says: &str, line: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (says, line) = (words(says), words(line));
    let parts: Vec<_> = says.split('…').map(str::trim).collect();
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return false };
    if parts.len() == 1 {
        return says == line;
    }
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    for part in &parts[1..parts.len() - 1] {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[test]
fn an_ellipsis_stands_for_anything() {
    let says = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let output = "a/b applied\n\nc/d  applied at 12\nend\n";
    assert!(matches(&says("…\nc/d applied at …\n…"), output));
    assert!(matches(&says("a/b applied\n…"), output));
    assert!(!matches(&says("a/b applied"), output));
    assert!(!matches(&says("…\nc/d … at 13\n…"), output));
    assert!(matches(&[], output));
}
