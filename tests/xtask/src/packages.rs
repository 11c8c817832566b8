//! The commands that builds and tests need, probed as commands and not as packages: how a machine
//! came by them is its owner's business. As root on Debian what is missing is installed.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{XtaskError, succeed};

struct Need {
    what: &'static str,
    probe: &'static [&'static str],
    package: &'static str,
}

const NEEDS: [Need; 7] = [
    Need { what: "git", probe: &["git", "--version"], package: "git" },
    Need {
        what: "ssh-keygen (keys that sign commits)",
        probe: &["sh", "-c", "command -v ssh-keygen"],
        package: "openssh-client",
    },
    Need { what: "a C compiler", probe: &["cc", "--version"], package: "build-essential" },
    Need { what: "pkg-config", probe: &["pkg-config", "--version"], package: "pkg-config" },
    Need {
        what: "OpenSSL's headers (libgit2's SSH)",
        probe: &["pkg-config", "--exists", "openssl"],
        package: "libssl-dev",
    },
    Need {
        what: "SoftHSM (a token for keys, in software)",
        probe: &["sh", "-c", "command -v softhsm2-util"],
        package: "softhsm2",
    },
    Need { what: "Go", probe: &["go", "version"], package: "golang-go" },
];

/// Installs what is missing, or says how.
pub(crate) fn ensure() -> Result<(), XtaskError> {
    let missing: Vec<_> = NEEDS.iter().filter(|need| !present(need)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<_> = missing.iter().map(|need| need.package).collect();
    packages.dedup();
    if is_root() && Path::new("/etc/debian_version").exists() {
        apt_get(&["update"])?;
        let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
        arguments.extend(packages);
        return apt_get(&arguments);
    }
    let missing: Vec<_> = missing.iter().map(|need| need.what).collect();
    Err(XtaskError::Missing {
        missing: missing.join(", "),
        line: format!("sudo apt-get install --no-install-recommends {}", packages.join(" ")),
    })
}

fn present(need: &Need) -> bool {
    Command::new(need.probe[0])
        .args(&need.probe[1..])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn apt_get(arguments: &[&str]) -> Result<(), XtaskError> {
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    succeed(&format!("{command:?}"), command.status())
}
