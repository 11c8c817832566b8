//! Everything a step plays on: a lab, the reference repository, the service, and people.
//!
//! Waits are on conditions with deadlines. A wait that ends in vain says what was seen last, since
//! that is what somebody who repairs a step needs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_ids::Period;

use super::cluster::{Cluster, HOME, name};
use super::service::{POLL, Service};
use super::{Failed, must};
use crate::error::run;
use crate::{Lab, Reference, Shortened};

/// The lanes, in the order in which they require each other.
pub(crate) const LANES: [&str; 3] = ["security", "infra", "app"];
/// How long anything may take that the cluster and the service do between themselves.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);
const PAUSE: Duration = Duration::from_millis(40);
const FINAL: [&str; 6] =
    ["Succeeded", "Refused", "Rejected", "Superseded", "NotApplied", "Regressed"];

/// A lab on which everything is installed and the service runs.
pub struct Stage {
    /// The service under test.
    pub service: Arc<Service>,
    /// The reference repository and its people.
    pub reference: Reference,
    /// The API server, as the administrator.
    pub cluster: Cluster,
    /// The `tidegate` program.
    pub program: PathBuf,
    /// The lab; ends when this is dropped, and the service with it.
    pub lab: Lab,
}

/// What the command line said to somebody.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// What it printed, errors included.
    pub text: String,
}

/// Asks until there is an answer. The inner error says why there is none yet; the outer one ends
/// the wait.
///
/// # Errors
/// When there is no answer within the deadline: what was awaited, and what was seen last.
pub fn until<T>(
    what: &str,
    within: Duration,
    mut ask: impl FnMut() -> Result<Result<T, String>, Failed>,
) -> Result<T, Failed> {
    let started = Instant::now();
    loop {
        match ask()? {
            Ok(answer) => return Ok(answer),
            Err(last) if started.elapsed() > within => {
                let seconds = within.as_secs();
                return Err(Failed(format!("waited {seconds} s in vain until {what}: {last}")));
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

impl Stage {
    /// Starts a lab, applies exactly what `tidegate install` and `tidegate bootstrap` print, pushes
    /// the reference repository and starts the service under the rights that it has by that.
    ///
    /// # Errors
    /// When any of it fails.
    pub fn set(program: &Path) -> Result<Self, Failed> {
        let lab = Lab::start_fresh()?;
        let cluster = Cluster::open(&lab.kubeconfig())?;
        install(&cluster, program)?;
        let reference = Reference::prepare(&lab, shortened())?;
        reference.secrets(&lab)?;
        for object in reference.tidegate_objects()? {
            cluster.apply(&object)?;
        }
        bootstrap(&cluster, &lab, program)?;
        reference.prepare_targets(&lab)?;
        let service = Arc::new(Service::start(&lab, program)?);
        Ok(Self { service, reference, cluster, program: program.to_owned(), lab })
    }

    /// Brings the first commit to dev and staging, and with people's approval to production.
    ///
    /// # Errors
    /// When it does not come there, or something else runs than Git says.
    pub fn arrive(&self) -> Result<(), Failed> {
        super::arrive::everything(self)
    }

    /// Publishes a new version of Odoo, signed by the release build. Its promotion into production,
    /// once it waits there for people.
    ///
    /// # Errors
    /// When it does not come there.
    pub fn release_odoo(&self, tag: &str) -> Result<Value, Failed> {
        super::image::new_version(self, tag).map(|(_, promotion)| promotion)
    }

    /// What was made shorter than it is written.
    #[must_use]
    pub fn shortened(&self) -> Vec<String> {
        let mut lines = self.reference.shortened().to_vec();
        lines.push(format!("registries: looked at every 1m -> {POLL}"));
        lines
    }

    /// What a person is told by the command line.
    ///
    /// # Errors
    /// When nobody has this user name or the program cannot be started.
    pub fn said_to(&self, user: &str, arguments: &[&str]) -> Result<Said, Failed> {
        let kubeconfig = self.reference.kubeconfig(user)?;
        let output = Command::new(&self.program)
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["--namespace", "clinic"])
            .args(arguments)
            .output()
            .map_err(|error| Failed(format!("running tidegate {}: {error}", arguments[0])))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        Ok(Said { code: output.status.code().unwrap_or(-1), text })
    }

    /// A person approves a promotion by the command line.
    ///
    /// # Errors
    /// When the command fails.
    pub fn approve(&self, user: &str, promotion: &str) -> Result<(), Failed> {
        let said = self.said_to(user, &["approve", promotion, "--reason", "looked at the diff"])?;
        must(said.code == 0, || {
            format!("{user} could not approve {promotion} ({}): {}", said.code, said.text.trim())
        })
    }

    /// Commits what was edited, signed by somebody, pushes it, and calls the webhook as the forge
    /// would. The commit.
    ///
    /// # Errors
    /// When Git refuses or the webhook is not taken.
    pub fn push(&self, user: &str, message: &str) -> Result<String, Failed> {
        let commit = self.reference.commit_as(user, message)?;
        self.reference.push()?;
        self.call_hook("main")?;
        Ok(commit.to_string())
    }

    /// Calls the webhook for a push to a branch; again while nobody listens, as forges do.
    ///
    /// # Errors
    /// When the service does not take it.
    pub fn call_hook(&self, branch: &str) -> Result<(), Failed> {
        let path = until("the Repository says where its webhook is", PATIENCE, || {
            let repository = self.cluster.get(&format!("{HOME}/repositories/environments"))?;
            let hook = repository["status"]["hook"].as_str().map(str::to_owned);
            Ok(hook.ok_or_else(|| format!("its status is {}", repository["status"])))
        })?;
        until("the service takes the webhook", PATIENCE, || {
            let answer = self.service.call_hook(&path, self.reference.webhook_token(), branch);
            Ok(match answer {
                Ok(answer) if answer.code == 202 => Ok(()),
                Ok(answer) => Err(format!("it answered {} {}", answer.code, answer.body)),
                Err(error) => Err(error.to_string()),
            })
        })
    }

    /// The name of the release that travels in a lane, once it fits.
    ///
    /// # Errors
    /// When there is none in time.
    pub fn release(
        &self,
        lane: &str,
        what: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<String, Failed> {
        until(&format!("the {lane} lane has a release {what}"), PATIENCE, || {
            let pipeline = self.cluster.get(&format!("{HOME}/pipelines/clinic"))?;
            let status = &pipeline["status"];
            let Some(release) = status["releases"][lane].as_str() else {
                return Ok(Err(format!("it has none; conditions: {}", status["conditions"])));
            };
            let found = self.cluster.get(&format!("{HOME}/releases/{release}"))?;
            Ok(if fits(&found) {
                Ok(release.to_owned())
            } else {
                Err(format!("it still has {release}; conditions: {}", status["conditions"]))
            })
        })
    }

    /// The promotions into an environment's lane, oldest first.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn promotions(&self, environment: &str, lane: &str) -> Result<Vec<Value>, Failed> {
        let mut found = self.cluster.list(&format!("{HOME}/promotions"))?;
        found.retain(|p| p["spec"]["environment"] == environment && p["spec"]["lane"] == lane);
        found.sort_by_key(number);
        Ok(found)
    }

    /// The newest promotion of a release into an environment, once it has come to a phase.
    ///
    /// # Errors
    /// When it does not come there in time, or ended in another way.
    pub fn promotion(
        &self,
        environment: &str,
        lane: &str,
        release: &str,
        phase: &str,
    ) -> Result<Value, Failed> {
        let what = format!("{release} is {phase} in {environment}");
        until(&what, PATIENCE, || {
            let mut all = self.promotions(environment, lane)?;
            all.retain(|p| p["spec"]["release"] == release);
            let Some(newest) = all.pop() else {
                return Ok(Err("there is no promotion of it".to_owned()));
            };
            let (at, message) = (text(&newest, "phase"), text(&newest, "message"));
            let now = format!("{} is {at}: {message}", name(&newest));
            if at == phase {
                return Ok(Ok(newest));
            }
            must(!FINAL.contains(&at), || format!("{what} will not be: {now}"))?;
            Ok(Err(now))
        })
    }

    /// A release is in dev and staging, having completed its watch in both.
    ///
    /// # Errors
    /// When it does not come there.
    pub fn passes_dev_and_staging(&self, lane: &str, release: &str) -> Result<(), Failed> {
        for environment in ["dev", "staging"] {
            self.promotion(environment, lane, release, "Succeeded")?;
        }
        Ok(())
    }

    /// The promotion of a release into production, once nothing but people hold it.
    ///
    /// # Errors
    /// When something else does.
    pub fn waits_for_people(&self, lane: &str, release: &str) -> Result<Value, Failed> {
        until(&format!("{release} waits for people at production"), PATIENCE, || {
            let promotion = self.promotion("production", lane, release, "Waiting")?;
            let gates = promotion["status"]["gates"].as_array().cloned().unwrap_or_default();
            let closed: Vec<_> = gates.iter().filter(|gate| gate["state"] != "Open").collect();
            let people =
                !closed.is_empty() && closed.iter().all(|gate| gate["gate"] == "approvals");
            Ok(if people { Ok(promotion) } else { Err(format!("closed gates: {closed:?}")) })
        })
    }

    /// The newest commit of a deploy branch, or none.
    #[must_use]
    pub fn head(&self, environment: &str, lane: &str) -> Option<String> {
        let reference = format!("refs/heads/{}", branch(environment, lane));
        self.git(&["rev-parse", "--verify", "--quiet", &reference]).ok()
    }

    /// Git in the bare repository on the server.
    ///
    /// # Errors
    /// When Git fails.
    pub fn git(&self, arguments: &[&str]) -> Result<String, Failed> {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(self.lab.git_dir("environments")).args(arguments);
        let output = run("looking into the repository", &mut command)?;
        Ok(output.trim_end().to_owned())
    }
}

/// The deploy branch of an environment's lane.
pub(crate) fn branch(environment: &str, lane: &str) -> String {
    format!("deploy/clinic/{environment}/{lane}")
}

/// A text of an object's status.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["status"][field].as_str().unwrap_or_default()
}

/// The number of a promotion in its environment's lane.
pub(crate) fn number(promotion: &Value) -> u64 {
    name(promotion).rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

fn shortened() -> Shortened {
    Shortened {
        soak: Period::seconds(1),
        watch: Period::seconds(4),
        deadline: Period::seconds(180),
    }
}

/// Applies what `tidegate install` prints, but for the Deployment: the lab's nodes are pretended,
/// so the service runs beside them, with the same account.
///
/// # Errors
/// When the API server refuses an object, or does not serve the kinds in time.
pub fn install(cluster: &Cluster, program: &Path) -> Result<(), Failed> {
    let mut command = Command::new(program);
    let printed = run("printing the installation", command.arg("install"))?;
    let mut objects = documents(&printed)?;
    objects.retain(|object| object["kind"] != "Deployment");
    for object in &objects {
        cluster.apply(object)?;
    }
    until("Tidegate's kinds are served", PATIENCE, || {
        for plural in ["pipelines", "environmentclasses", "syncs", "approvals", "trustpolicies"] {
            let served = cluster.find(&format!("/apis/tidegate.dev/v1alpha1/{plural}"))?;
            if served.is_none() {
                return Ok(Err(format!("{plural} are not")));
            }
        }
        Ok(Ok(()))
    })
}

fn bootstrap(cluster: &Cluster, lab: &Lab, program: &Path) -> Result<(), Failed> {
    let mut command = Command::new(program);
    command.arg("--kubeconfig").arg(lab.kubeconfig());
    command.args(["--namespace", "clinic", "bootstrap", "clinic"]);
    let printed = run("printing what the pipeline needs", &mut command)?;
    for object in documents(&printed)? {
        cluster.apply(&object)?;
    }
    Ok(())
}

/// The objects of a YAML stream.
///
/// # Errors
/// When it is no YAML.
pub fn documents(yaml: &str) -> Result<Vec<Value>, Failed> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml)
        .map_err(|error| Failed(format!("reading YAML: {error}")))?;
    Ok(all.into_iter().filter(|object| !object.is_null()).collect())
}
