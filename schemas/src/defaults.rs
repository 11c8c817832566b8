//! What a pipeline really says, once every default is filled in: the one place
//! where the conventions of `model.md` (names, paths, branches, accounts, the
//! previous environment) are.

use std::collections::{BTreeMap, BTreeSet};
use tidegate_ids::{EnvironmentName, LaneName, Period, PipelineName};

use crate::{
    After, ApprovalRule, Drift, Environment, EnvironmentClass, ImageField, LanePolicy, Pipeline,
    Rollback, ScanGate, VerifiedImages, Watch,
};

/// A pipeline with every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// Its name.
    pub name: PipelineName,
    /// Its environments, in order.
    pub environments: Vec<EffectiveEnvironment>,
}

/// One environment with every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectiveEnvironment {
    /// Its name.
    pub name: EnvironmentName,
    /// The name of its class.
    pub class: String,
    /// Whether an Environment object states it, or the class of its name alone.
    pub stated: bool,
    /// Where it runs.
    pub target: String,
    /// Whether it admits nothing.
    pub suspended: bool,
    /// What may be rolled back to.
    pub rollback: Rollback,
    /// Whether the API server refuses pods with images that were not verified.
    pub verified_images: VerifiedImages,
    /// Where custom resources name images, beside the kinds that are known.
    pub image_fields: Vec<ImageField>,
    /// What runs and no release names, as `repository@digest`, each once.
    pub also_verified: BTreeSet<String>,
    /// Its lanes, in the pipeline's order.
    pub lanes: Vec<EffectiveLane>,
}

/// One lane of one environment with every default filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectiveLane {
    /// Its name.
    pub name: LaneName,
    /// Its folder, branch, Sync and account.
    pub paths: LanePaths,
    /// The environments where content must have been healthy first.
    pub after: BTreeMap<EnvironmentName, After>,
    /// Whether `after` is the default, the previous environment, and stated by nobody.
    pub after_by_default: bool,
    /// Who must approve.
    pub approvals: Vec<ApprovalRule>,
    /// What the images' newest scans must say.
    pub vulnerabilities: Option<ScanGate>,
    /// The watch.
    pub watch: Watch,
    /// From commit to healthy.
    pub deadline: Period,
    /// What to do about drift.
    pub drift: Drift,
}

/// Where a lane of an environment is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanePaths {
    /// Its folder in the source repository.
    pub folder: String,
    /// Its deploy branch.
    pub branch: String,
    /// The name of its Sync, and of its deployer account.
    pub sync: String,
}

impl LanePaths {
    /// By the conventions of the model.
    #[must_use]
    pub fn new(pipeline: &str, environment: &str, lane: &str, template: &str) -> Self {
        let folder = template
            .replace("{pipeline}", pipeline)
            .replace("{environment}", environment)
            .replace("{lane}", lane);
        Self {
            folder,
            branch: format!("deploy/{pipeline}/{environment}/{lane}"),
            sync: format!("{pipeline}-{environment}-{lane}"),
        }
    }
}

impl Effective {
    /// An environment by name.
    #[must_use]
    pub fn environment(&self, name: &EnvironmentName) -> Option<&EffectiveEnvironment> {
        self.environments.iter().find(|e| e.name == *name)
    }
}

impl EffectiveEnvironment {
    /// A lane by name.
    #[must_use]
    pub fn lane(&self, name: &LaneName) -> Option<&EffectiveLane> {
        self.lanes.iter().find(|l| l.name == *name)
    }
}

/// Fills in every default.
///
/// # Errors
/// One sentence for each thing that is missing or does not fit, such as a class that is not there.
pub fn effective(
    pipeline: &Pipeline,
    environments: &[Environment],
    classes: &[EnvironmentClass],
) -> Result<Effective, Vec<String>> {
    let (effective, missing) = present(pipeline, environments, classes)?;
    if missing.is_empty() { Ok(effective) } else { Err(missing) }
}

/// As [`effective`], but what is missing leaves out only the environments that it concerns, so that
/// the others are still watched. Also gives one sentence for each thing that is missing.
///
/// # Errors
/// When the pipeline's own name is none.
pub fn present(
    pipeline: &Pipeline,
    environments: &[Environment],
    classes: &[EnvironmentClass],
) -> Result<(Effective, Vec<String>), Vec<String>> {
    let name_text = pipeline.metadata.name.clone().unwrap_or_default();
    let name: PipelineName =
        name_text.parse().map_err(|error: tidegate_ids::ParseError| vec![error.to_string()])?;
    let order = &pipeline.spec.environments;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (place, environment) in order.iter().enumerate() {
        let previous = place.checked_sub(1).and_then(|before| order.get(before));
        match one_environment(pipeline, &name, environment, previous, environments, classes) {
            Ok(e) => found.push(e),
            Err(error) => missing.push(error),
        }
    }
    Ok((Effective { name, environments: found }, missing))
}

fn one_environment(
    pipeline: &Pipeline,
    name: &PipelineName,
    environment: &EnvironmentName,
    previous: Option<&EnvironmentName>,
    environments: &[Environment],
    classes: &[EnvironmentClass],
) -> Result<EffectiveEnvironment, String> {
    let stated = environments.iter().find(|e| {
        e.metadata.name.as_deref() == Some(environment.as_str()) && e.spec.pipeline == *name
    });
    let class_name = stated.map_or(environment, |e| &e.spec.class);
    let class = classes.iter().find(|c| c.metadata.name.as_deref() == Some(class_name.as_str()));
    let Some(class) = class else {
        return Err(format!(
            "environment {environment} has the class {class_name}, but there is no EnvironmentClass of that name: \
             create it, or name another one in an Environment {environment}"
        ));
    };
    let target = stated
        .and_then(|e| e.spec.target.as_ref())
        .map_or_else(|| format!("{name}-{environment}"), |t| t.namespace.clone());
    let lanes = pipeline
        .spec
        .lanes
        .iter()
        .map(|lane| one_lane(pipeline, name, environment, previous, &lane.name, class))
        .collect();
    Ok(EffectiveEnvironment {
        name: environment.clone(),
        class: class_name.to_string(),
        stated: stated.is_some(),
        target,
        suspended: pipeline.spec.suspend || stated.is_some_and(|e| e.spec.suspend),
        rollback: class.spec.rollback.clone(),
        verified_images: class.spec.verified_images,
        image_fields: stated
            .iter()
            .flat_map(|e| &e.spec.image_fields)
            .chain(&class.spec.image_fields)
            .cloned()
            .collect(),
        also_verified: stated
            .iter()
            .flat_map(|e| &e.spec.also_verified)
            .chain(&class.spec.also_verified)
            .cloned()
            .collect(),
        lanes,
    })
}

fn one_lane(
    pipeline: &Pipeline,
    name: &PipelineName,
    environment: &EnvironmentName,
    previous: Option<&EnvironmentName>,
    lane: &LaneName,
    class: &EnvironmentClass,
) -> EffectiveLane {
    let policy = lane_policy(class, lane);
    let gates = policy.gates.unwrap_or_default();
    let previous_alone = || previous.map(|p| (p.clone(), After::default())).into_iter().collect();
    let after_by_default = gates.after.is_none();
    EffectiveLane {
        name: lane.clone(),
        paths: LanePaths::new(
            name.as_str(),
            environment.as_str(),
            lane.as_str(),
            &pipeline.spec.path,
        ),
        after: gates.after.unwrap_or_else(previous_alone),
        after_by_default,
        approvals: gates.approvals.unwrap_or_default(),
        vulnerabilities: gates.vulnerabilities,
        watch: policy.watch.unwrap_or_default(),
        deadline: policy.deadline.unwrap_or(Period::seconds(600)),
        drift: class.spec.drift,
    }
}

/// The rules for every lane, refined by the lane's own.
fn lane_policy(class: &EnvironmentClass, lane: &LaneName) -> LanePolicy {
    let every = class.spec.lanes.get("*").cloned().unwrap_or_default();
    let own = class.spec.lanes.get(lane.as_str()).cloned().unwrap_or_default();
    let (every_gates, own_gates) = (every.gates.unwrap_or_default(), own.gates.unwrap_or_default());
    LanePolicy {
        gates: Some(crate::Gates {
            after: own_gates.after.or(every_gates.after),
            approvals: own_gates.approvals.or(every_gates.approvals),
            vulnerabilities: own_gates.vulnerabilities.or(every_gates.vulnerabilities),
        }),
        watch: own.watch.or(every.watch),
        deadline: own.deadline.or(every.deadline),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn five_lines() -> Pipeline {
        serde_json::from_value(json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "Pipeline",
            "metadata": {"name": "clinic", "namespace": "clinic"},
            "spec": {"source": {"repository": "environments"},
                     "images": [{"repository": "registry.example.com/hospital/odoo", "follow": {"semver": "~17.0"}}]}
        }))
        .unwrap()
    }

    fn class(name: &str, spec: serde_json::Value) -> EnvironmentClass {
        let mut class = EnvironmentClass::new(name, serde_json::from_value(spec).unwrap());
        class.metadata.name = Some(name.to_owned());
        class
    }

    fn three_classes() -> Vec<EnvironmentClass> {
        vec![
            class("dev", json!({})),
            class("staging", json!({})),
            class(
                "production",
                json!({"lanes": {
                "*": {"watch": {"for": "45m"}, "gates": {"approvals": [{"from": [{"group": "release-managers"}], "count": 2}]}},
                "security": {"gates": {"approvals": [{"from": [{"group": "security-officers"}]}]}}}}),
            ),
        ]
    }

    #[test]
    fn the_five_line_pipeline_has_three_environments_and_three_lanes() {
        let effective = effective(&five_lines(), &[], &three_classes()).unwrap();
        let names: Vec<_> = effective.environments.iter().map(|e| e.name.to_string()).collect();
        assert_eq!(names, ["dev", "staging", "production"]);
        let lane = effective.environments[2].lane(&"app".parse().unwrap()).unwrap();
        assert_eq!(lane.paths.folder, "clinic/production/app");
        assert_eq!(lane.paths.branch, "deploy/clinic/production/app");
        assert_eq!(lane.paths.sync, "clinic-production-app");
        assert_eq!(effective.environments[2].target, "clinic-production");
        assert_eq!(lane.after.keys().map(ToString::to_string).collect::<Vec<_>>(), ["staging"]);
        assert_eq!(five_lines().spec.images[0].lane, "app");
    }

    #[test]
    fn a_lane_refines_what_holds_for_every_lane() {
        let effective = effective(&five_lines(), &[], &three_classes()).unwrap();
        let security = effective.environments[2].lane(&"security".parse().unwrap()).unwrap();
        assert_eq!(security.approvals[0].from[0].group.as_deref(), Some("security-officers"));
        assert_eq!(security.approvals[0].count, 1);
        assert_eq!(security.watch.length, Period::seconds(45 * 60));
    }

    #[test]
    fn a_missing_class_is_named_with_the_way_out() {
        let errors = effective(&five_lines(), &[], &three_classes()[..2]).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].contains("no EnvironmentClass of that name"), "{errors:?}");
    }
}
