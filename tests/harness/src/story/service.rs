//! The service under test: the real `tidegate controller`, as a process of its own, with the
//! rights of the account that `tidegate install` makes and no others.
//!
//! The lab's supervisor starts it, so that it ends with the lab however the test ends, and so that
//! it can be killed within a fraction of a millisecond.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;

use super::Failed;
use crate::supervisor::{self, Part};
use crate::{Lab, LabError, ports};

const NAME: &str = "tidegate";
/// How often registries are looked at. No person waits for it in the story, but the story does.
pub(crate) const POLL: &str = "1s";
const LOG: [&str; 2] =
    ["TIDEGATE_LOG=info,tidegate_delivery=debug,tidegate_sync=debug", "NO_COLOR=1"];
const READY: Duration = Duration::from_mins(1);

/// A service of one lab.
#[derive(Debug)]
pub struct Service {
    folder: PathBuf,
    part: Part,
    address: String,
}

impl Service {
    /// Starts the program under the engine's own account, which must exist, and waits until it
    /// answers.
    ///
    /// # Errors
    /// When it does not start; the error shows its log.
    pub fn start(lab: &Lab, program: &Path) -> Result<Self, Failed> {
        Self::start_with(lab, program, &[], &[])
    }

    /// As [`Service::start`], with more arguments and more of an environment (`NAME=value`).
    ///
    /// # Errors
    /// When it does not start; the error shows its log.
    pub fn start_with(
        lab: &Lab,
        program: &Path,
        arguments: &[String],
        environment: &[String],
    ) -> Result<Self, Failed> {
        let kubeconfig = lab.service_account_kubeconfig("tidegate-system", "tidegate")?;
        let [free] = ports::free::<1>();
        let address = format!("127.0.0.1:{free}");
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let command_line = [
            text(program),
            "controller".into(),
            "--kubeconfig".into(),
            text(&kubeconfig),
            "--work-dir".into(),
            text(&lab.folder().join("work")),
            "--worker".into(),
            text(lab.worker()),
            "--listen".into(),
            address.clone(),
            "--image-interval".into(),
            POLL.into(),
            // The lab's registry is on this machine.
            "--plain-http-on-loopback".into(),
        ];
        let args = [&command_line[..], arguments].concat();
        let part = Part { args, env: [&LOG.map(str::to_owned)[..], environment].concat() };
        let service = Self { folder: lab.folder().to_owned(), part, address };
        service.restart()?;
        service.wait_until_ready()?;
        Ok(service)
    }

    /// Starts it again after it ended.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub fn restart(&self) -> Result<(), LabError> {
        supervisor::start(&self.folder, NAME, &self.part).map(|_| ())
    }

    /// SIGKILL: it ends between two of its instructions.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self) -> Result<(), LabError> {
        supervisor::kill(&self.folder, NAME)
    }

    /// SIGTERM, and SIGKILL when that takes too long.
    ///
    /// # Errors
    /// When the supervisor is gone.
    pub fn stop(&self) -> Result<(), LabError> {
        supervisor::stop(&self.folder, NAME)
    }

    /// The file that it logs to.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("logs").join(format!("{NAME}.log"))
    }

    /// The last lines of its log.
    #[must_use]
    pub fn end_of_log(&self, lines: usize) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let all: Vec<_> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// `host:port` of its webhooks and health.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// When it is not in time, or has ended.
    pub fn wait_until_ready(&self) -> Result<(), Failed> {
        let started = Instant::now();
        loop {
            let answer = self.request("GET", "/readyz", &[], b"");
            if answer.as_ref().is_ok_and(|answer| answer.code == 200) {
                return Ok(());
            }
            let ended = supervisor::alive(&self.folder, NAME).is_err();
            if ended || started.elapsed() > READY {
                return Err(Failed(format!(
                    "the service does not answer ({}); the end of its log:\n{}",
                    answer.map_or_else(|error| error.0, |answer| answer.code.to_string()),
                    self.end_of_log(20)
                )));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A webhook call in GitHub's form: a push to a branch, signed with the token.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn call_hook(&self, path: &str, token: &str, branch: &str) -> Result<Answer, Failed> {
        let body = format!(r#"{{"ref":"refs/heads/{branch}","repository":{{}},"commits":[]}}"#);
        self.call_hook_with(path, token, body.as_bytes())
    }

    /// A webhook call with any body, signed with the token.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn call_hook_with(&self, path: &str, token: &str, body: &[u8]) -> Result<Answer, Failed> {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes()), body);
        let signature = format!("sha256={}", crate::images::hex(tag.as_ref()));
        let headers = [
            ("content-type", "application/json"),
            ("x-github-event", "push"),
            ("x-hub-signature-256", &signature),
        ];
        self.request("POST", path, &headers, body)
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Failed> {
        let failed =
            |error: std::io::Error| Failed(format!("{method} {path} of the service: {error}"));
        let mut stream = TcpStream::connect(&self.address).map_err(failed)?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            head = head + name + ": " + value + "\r\n";
        }
        head += "\r\n";
        stream.write_all(head.as_bytes()).map_err(failed)?;
        // A body over the cap is answered before all of it was sent.
        let sent = stream.write_all(body);
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        let code = text.split(' ').nth(1).and_then(|code| code.parse().ok());
        match (code, sent.and(read)) {
            (Some(code), _) => Ok(Answer {
                code,
                body: text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned(),
            }),
            (None, Err(error)) => Err(failed(error)),
            (None, Ok(_)) => Err(Failed(format!("{method} {path} of the service: no answer"))),
        }
    }
}

/// What the service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub code: u16,
    /// The body.
    pub body: String,
}
