//! How the world outside the cluster is reached: the options of a network, as flags.
//!
//! Proxies are taken from the environment, too, as other programs do, since an address with a
//! password in it does not belong on a command line.

use std::path::{Path, PathBuf};

use tidegate_outbound::{Allowed, Direct, Keychain, Mirror, Options, Registry};

use crate::failure::{Code, Failure};

/// How often kept credentials are read again; some registries give them for hours only.
const REREAD: std::time::Duration = std::time::Duration::from_mins(1);

/// How registries are reached.
#[derive(clap::Args, Debug, Default)]
#[command(next_help_heading = "Registries and the network")]
pub struct Outside {
    /// Ask another place for everything of a registry, such as ghcr.io=harbor.example.com/ghcr;
    /// names in policies, verdicts and manifests stay those of the registry.
    #[arg(long, value_name = "FROM=TO")]
    pub registry_alias: Vec<Mirror>,
    /// Ask another place first, and the registry itself where that has nothing or is down.
    #[arg(long, value_name = "FROM=TO")]
    pub registry_mirror: Vec<Mirror>,
    /// Credentials of registries: Docker's config.json, or .dockerconfigjson of a pull secret. It
    /// is read again every minute.
    #[arg(long, value_name = "FILE")]
    pub registry_config: Option<PathBuf>,
    /// Certificate authorities that are trusted beside the machine's own, as PEM.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Vec<PathBuf>,
    /// The proxy, as http://[user:password@]host:port; `HTTPS_PROXY` of the environment where nothing is said.
    #[arg(long, value_name = "URL", value_parser = Hidden::parse)]
    pub proxy: Option<Hidden>,
    /// What is reached without the proxy, by commas: domains, addresses, networks; `NO_PROXY` where
    /// nothing is said.
    #[arg(long, value_name = "LIST")]
    pub no_proxy: Option<String>,
    /// Reach a loopback, link-local or otherwise special address all the same: a name or address
    /// with or without a port, or a network. Private addresses (10.0.0.0/8 and the like) need none.
    #[arg(long, value_name = "ADDRESS")]
    pub allow_address: Vec<Allowed>,
    /// Reach registries at loopback addresses by plain HTTP.
    #[arg(long)]
    pub plain_http_on_loopback: bool,
}

/// A text that may hold a password, so that no message shows it.
#[derive(Clone)]
pub struct Hidden(String);

impl Hidden {
    #[allow(clippy::unnecessary_wraps, reason = "the signature of a value parser")]
    fn parse(text: &str) -> Result<Self, std::convert::Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Outside {
    /// The client that these flags ask for, with the environment's proxy where they name none.
    ///
    /// # Errors
    /// When a flag makes no sense or a file cannot be read.
    pub fn registry(&self) -> Result<Registry, Failure> {
        let options =
            self.options(|names| names.iter().find_map(|name| std::env::var(name).ok()))?;
        let registry = Registry::new(options).map_err(|e| told(&e))?;
        Ok(match &self.registry_config {
            Some(file) => registry.with_keychain(keychain(file)?),
            None => registry,
        })
    }

    fn options(&self, env: impl Fn(&[&str]) -> Option<String>) -> Result<Options, Failure> {
        let stated = self.proxy.as_ref().map(|proxy| proxy.0.clone());
        let proxy = stated.or_else(|| env(&["HTTPS_PROXY", "https_proxy"]));
        let proxy = proxy.filter(|proxy| !proxy.is_empty());
        let no_proxy = self.no_proxy.clone().or_else(|| env(&["NO_PROXY", "no_proxy"]));
        let no_proxy: Vec<Direct> = no_proxy
            .unwrap_or_default()
            .split(',')
            .filter(|one| !one.trim().is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|e| told(&e))?;
        let mut authorities = Vec::new();
        for file in &self.ca_file {
            authorities.extend(read(file)?);
            authorities.push(b'\n');
        }
        Ok(Options {
            plain_http_on_loopback: self.plain_http_on_loopback,
            allow: self.allow_address.clone(),
            proxy: proxy.map(|proxy| proxy.parse()).transpose().map_err(|e| told(&e))?,
            no_proxy,
            authorities,
            aliases: self.registry_alias.clone(),
            mirrors: self.registry_mirror.clone(),
        })
    }

    /// Reads kept credentials again, for as long as this is polled.
    pub async fn keep_credentials_fresh(&self, registry: &Registry) {
        let Some(file) = &self.registry_config else { return std::future::pending().await };
        loop {
            tokio::time::sleep(REREAD).await;
            match keychain(file) {
                Ok(keychain) => registry.replace_keychain(keychain),
                // A file that is being written is whole a minute later.
                Err(failure) => tracing::warn!("{failure}; what was read before still counts"),
            }
        }
    }
}

fn keychain(file: &Path) -> Result<Keychain, Failure> {
    Keychain::docker_config(&read(file)?, &file.display().to_string()).map_err(|e| told(&e))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file)
        .map_err(|error| Failure::new(Code::Usage, format!("reading {}: {error}", file.display())))
}

fn told(error: &tidegate_outbound::Error) -> Failure {
    Failure::new(Code::Usage, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        outside: Outside,
    }

    fn parse(flags: &[&str]) -> Result<Outside, clap::Error> {
        Line::try_parse_from(["tidegate"].iter().chain(flags)).map(|line| line.outside)
    }

    #[test]
    fn flags_come_before_the_environment_and_passwords_are_not_told() {
        let env = |names: &[&str]| match names[0] {
            "HTTPS_PROXY" => Some("http://clinic:hunter2@env.example.com:3128".to_owned()),
            _ => Some("localhost, .example.com,10.0.0.0/8".to_owned()),
        };
        let options = Outside::default().options(env).unwrap();
        assert_eq!(options.proxy.as_ref().unwrap().to_string(), "http://env.example.com:3128");
        assert_eq!(options.no_proxy.len(), 3);
        let flags = ["--proxy", "http://u:hunter2@flag.example.com:1", "--no-proxy", ""];
        let outside = parse(&flags).unwrap();
        assert!(!format!("{outside:?}").contains("hunter2"));
        let options = outside.options(env).unwrap();
        assert_eq!(options.proxy.unwrap().to_string(), "http://flag.example.com:1");
        assert!(options.no_proxy.is_empty());
        let wrong = parse(&["--proxy", "ftp://u:hunter2@a"]).unwrap().options(env).unwrap_err();
        assert!(wrong.message.contains("the proxy") && !wrong.message.contains("hunter2"));
        assert!(parse(&["--proxy", ""]).unwrap().options(env).unwrap().proxy.is_none());
    }

    #[test]
    fn a_flag_that_makes_no_sense_is_told_with_the_way_out() {
        for (flag, value, way_out) in [
            ("--registry-alias", "ghcr.io", "write from=to"),
            ("--registry-mirror", "a=https://b", "write from=to"),
            ("--allow-address", "10.0.0.0/99", "10.0.0.0/8"),
        ] {
            let error = parse(&[flag, value]).err().unwrap().to_string();
            assert!(error.contains(way_out), "{error}");
        }
        let missing = parse(&["--registry-config", "/nowhere/config.json"]).unwrap();
        let failure = missing.registry().unwrap_err();
        assert!(failure.message.contains("/nowhere/config.json"), "{failure}");
    }
}
