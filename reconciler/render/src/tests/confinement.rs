use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::{Repository, alias_bomb, config_map, names, repository, worker};
use crate::{Entry, FaultKind, Files, Kind, Limits, RenderError, Renderer};

#[tokio::test]
async fn a_worker_can_do_nothing_but_render() {
    let test = Renderer::new(worker(), 1).self_test(Path::new("/etc/passwd")).await.unwrap();
    assert!(test.protections.seccomp && test.protections.no_new_privs, "{test:?}");
    let attempts: Vec<_> = test.probes.iter().map(|probe| probe.attempt.as_str()).collect();
    for expected in ["read a file", "write a file", "connect over TCP", "start a program"] {
        assert!(attempts.contains(&expected), "{expected} in {attempts:?}");
    }
    for probe in &test.probes {
        assert!(probe.refused, "{}: {}", probe.attempt, probe.outcome);
    }
}

/// A snapshot that sends a signal to the worker while it waits for `trigger`.
struct Disturbed {
    repository: Repository,
    program: PathBuf,
    signal: &'static str,
}

impl Files for Disturbed {
    fn entry(&self, path: &str) -> Result<Entry, String> {
        if path == "trigger/a.yaml" {
            let pid = pid_of(&self.program).ok_or("the worker runs")?;
            Command::new("kill").args([self.signal, &pid]).status().map_err(|e| e.to_string())?;
        }
        self.repository.entry(path)
    }
}

/// The only process of a program.
fn pid_of(program: &Path) -> Option<String> {
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let running = std::fs::read_link(entry.path().join("exe")).ok()?;
        (running == program).then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

/// Copies a program by another process: while this one has it open for writing, a child that
/// another test forks would hold it open too, and it could not be executed.
fn install(from: &Path, to: &Path) {
    assert!(
        Command::new("install").args(["-m", "755"]).args([from, to]).status().unwrap().success()
    );
}

/// A renderer whose worker is a program of its own, so that its process can be found, and a
/// snapshot that disturbs it.
fn disturbed(signal: &'static str) -> (tempfile::TempDir, Renderer, Arc<Disturbed>) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().canonicalize().unwrap().join("render-worker");
    install(&worker(), &program);
    let map = config_map("a");
    let repository = repository(&[("good/a.yaml", &map), ("trigger/a.yaml", &map)]);
    let renderer = Renderer::new(program.clone(), 1)
        .with_limits(Limits { deadline: Duration::from_secs(3), ..Limits::default() });
    (folder, renderer, Arc::new(Disturbed { repository, program, signal }))
}

#[tokio::test]
async fn a_crash_fails_one_render_and_no_other() {
    let (_folder, renderer, files) = disturbed("-KILL");
    let error = renderer.render(files.clone(), "trigger", Kind::Auto).await.unwrap_err();
    assert!(matches!(error, RenderError::Crashed { .. }), "{error}");
    let next = renderer.render(files, "good", Kind::Auto).await.unwrap();
    assert_eq!(names(&next), ["ConfigMap a"]);
}

#[tokio::test]
async fn a_hang_ends_at_the_deadline_and_its_worker_with_it() {
    let (_folder, renderer, files) = disturbed("-STOP");
    let before = renderer.render(files.clone(), "good", Kind::Auto).await;
    assert!(before.is_ok(), "{before:?}");
    let stopped = pid_of(&files.program);
    let error = renderer.render(files.clone(), "trigger", Kind::Auto).await.unwrap_err();
    assert!(matches!(error, RenderError::Deadline { .. }), "{error}");
    let next = renderer.render(files.clone(), "good", Kind::Auto).await.unwrap();
    assert_eq!(names(&next), ["ConfigMap a"]);
    assert_ne!(pid_of(&files.program), stopped);
}

#[tokio::test]
async fn a_refused_commit_costs_no_worker() {
    let (_folder, renderer, files) = disturbed("-KILL");
    renderer.render(files.clone(), "good", Kind::Auto).await.unwrap();
    let first = pid_of(&files.program);
    renderer.render(files.clone(), "none", Kind::Auto).await.unwrap_err();
    renderer.render(files.clone(), "good", Kind::Auto).await.unwrap();
    assert_eq!(pid_of(&files.program), first);
}

#[tokio::test]
async fn a_worker_that_grows_is_ended() {
    // An alias bomb in an inline patch: kustomize unfolds it without end.
    let map = config_map("a");
    let bombed = map.clone() + &alias_bomb();
    let patch: Vec<_> = bombed.lines().map(|line| format!("    {line}")).collect();
    let patch = patch.join("\n");
    let kustomization = format!("resources: [a.yaml]\npatches:\n- patch: |\n{patch}");
    let files = repository(&[("kustomization.yaml", &kustomization), ("a.yaml", &map)]);
    let renderer = Renderer::new(worker(), 1)
        .with_limits(Limits { memory_bytes: 128 << 20, ..Limits::default() });
    let error = renderer.render(Arc::new(files), "", Kind::Auto).await.unwrap_err();
    assert!(matches!(error, RenderError::Memory { .. }), "{error}");
}

#[tokio::test]
async fn reading_is_bounded() {
    let map = config_map("a");
    let limits = Limits::default();
    for (limits, words) in [
        (Limits { file_bytes: 16, ..limits }, "it is larger than"),
        (Limits { total_bytes: map.len(), ..limits }, "were read"),
        (Limits { paths: 5, ..limits }, "more than 5 paths"),
    ] {
        let files = repository(&[("app/a.yaml", &map), ("app/b.yaml", &config_map("b"))]);
        let renderer = Renderer::new(worker(), 1).with_limits(limits);
        let error = renderer.render(Arc::new(files), "app", Kind::Auto).await.unwrap_err();
        let RenderError::Refused { fault, .. } = &error else { panic!("{error}") };
        assert_eq!(fault.kind, FaultKind::Limit);
        assert!(fault.message.contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_says_so() {
    struct Unreadable;
    impl Files for Unreadable {
        fn entry(&self, _: &str) -> Result<Entry, String> {
            Err("object 1234 is missing".to_owned())
        }
    }
    let error = Renderer::new(worker(), 1)
        .render(Arc::new(Unreadable), "app", Kind::Auto)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("object 1234 is missing"), "{error}");
}

#[tokio::test]
async fn what_is_no_worker_is_an_error_not_a_hang() {
    let limits = Limits { deadline: Duration::from_millis(300), ..Limits::default() };
    for (program, words) in [
        ("/nowhere/render-worker", "is it installed"),
        ("/bin/true", "ended without an answer"),
        ("/bin/cat", "took longer than 0.3 s"),
    ] {
        let renderer = Renderer::new(PathBuf::from(program), 1).with_limits(limits);
        let files = Arc::new(repository(&[]));
        let error = renderer.render(files, "app", Kind::Auto).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn an_unconfined_worker_renders_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (source, program) = (folder.path().join("source"), folder.path().join("unconfined"));
    let hello = r#"{"hello":{"protocol":1,"protections":{"noNewPrivs":true,"seccomp":false,"landlock":0}}}"#;
    let length = format!("\\000\\000\\000\\{:03o}", hello.len());
    let script = format!("#!/bin/sh\nprintf '{length}%s' '{hello}'\nread -r _\n");
    std::fs::write(&source, script).unwrap();
    install(&source, &program);
    let files = Arc::new(repository(&[]));
    let error = Renderer::new(program, 1).render(files, "app", Kind::Auto).await.unwrap_err();
    assert!(error.to_string().contains("not confined (seccomp"), "{error}");
}
