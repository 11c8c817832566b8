//! Everything that holds for a pipeline, and where it comes from: the objects say little,
//! because everything has a default, so this says all of it.

use jiff::Timestamp;
use kube::ResourceExt as _;
use tidegate_ids::EnvironmentName;
use tidegate_schemas::{
    ApprovalRule, DEPLOYERS_NAMESPACE, Effective, EffectiveEnvironment, EffectiveLane,
    EnvironmentClass, LanePolicy, Pipeline, VerifiedImages,
};

use crate::board::refused;
use crate::objects::Objects;
use crate::story::Page;
use crate::text::when;

const DEFAULT: &str = "default";
const PIPELINE: &str = "Pipeline";

/// Every effective value of a pipeline with its origin, and what it refused.
///
/// `effective` is what the classes make of it, or why that cannot be told.
pub fn pipeline(
    pipeline: &Pipeline,
    effective: Result<&Effective, &[String]>,
    objects: &Objects,
    now: Timestamp,
) -> String {
    let mut page = Page::default();
    let spec = &pipeline.spec;
    page.line(&format!("pipeline {}", pipeline.name_any()));
    let status = pipeline.status.clone().unwrap_or_default();
    let path = from(spec.path == "{pipeline}/{environment}/{lane}", PIPELINE);
    let branch = from(spec.source.branch == "main", PIPELINE);
    page.section(
        "source",
        [
            format!("repository {} (Pipeline)", spec.source.repository),
            format!("branch {} ({branch})", spec.source.branch),
            format!("path {} ({path})", spec.path),
            status.commit.as_ref().map_or_else(
                || "no commit looked at yet".to_owned(),
                |c| format!("commit {c} looked at last"),
            ),
        ],
    );
    page.section(
        "images",
        spec.images.iter().map(|image| {
            let follow = &image.follow;
            let rule = match (&follow.semver, &follow.newest, follow.digest) {
                (Some(range), ..) => format!("the highest version in {range}"),
                (_, Some(newest), _) => format!("the newest tag like {}", newest.pattern),
                (_, _, Some(digest)) => format!("exactly {digest}"),
                _ => "nothing".to_owned(),
            };
            let lane = from(image.lane == "app", PIPELINE);
            format!("{}: {rule} (Pipeline), lane {} ({lane})", image.repository, image.lane)
        }),
    );
    page.section(
        "versions found",
        status.images.iter().map(|image| {
            let tag = image.tag.as_ref().map(|t| format!(":{t}")).unwrap_or_default();
            format!("{}{tag} is {}", image.repository, image.digest)
        }),
    );
    page.section(
        "releases that travel now",
        status.releases.iter().map(|(lane, name)| format!("{lane}: {name}")),
    );
    match effective {
        Ok(effective) => {
            for environment in &effective.environments {
                let class = objects.classes.iter().find(|c| c.name_any() == environment.class);
                let target = objects
                    .environments
                    .iter()
                    .find(|e| e.name_any() == environment.name.as_str())
                    .is_some_and(|e| e.spec.target.is_some());
                environment_section(&mut page, environment, class, target);
            }
        }
        Err(reasons) => page.section("environments", reasons.iter().cloned()),
    }
    page.section(
        "what runs and is not verified",
        status.unverified.iter().map(|u| {
            let pods = if u.pods == 0 { String::new() } else { format!(", pods: {}", u.pods) };
            format!(
                "{} since {}: {} in {} ({}{pods}): {}",
                u.reason,
                when(u.since, now),
                u.image,
                u.environment,
                u.object,
                u.message
            )
        }),
    );
    page.section(
        "refused candidates, newest first",
        status.refused.iter().rev().map(|c| refused(c, now)),
    );
    page.section(
        "conditions",
        status
            .conditions
            .iter()
            .map(|c| format!("{}={} ({}): {}", c.type_, c.status, c.reason, c.message)),
    );
    page.into_text()
}

fn from(is_default: bool, otherwise: &str) -> String {
    if is_default { DEFAULT.to_owned() } else { otherwise.to_owned() }
}

fn environment_section(
    page: &mut Page,
    environment: &EffectiveEnvironment,
    class: Option<&EnvironmentClass>,
    target_stated: bool,
) {
    let name = &environment.name;
    let origin = if environment.stated {
        format!("Environment {name}")
    } else {
        format!("{DEFAULT}: the class of its name")
    };
    let rollback = from(
        environment.rollback == tidegate_schemas::Rollback::default(),
        &class_name(environment),
    );
    let mut lines = vec![
        format!("class {} ({origin})", environment.class),
        format!(
            "runs in {} ({})",
            environment.target,
            from(!target_stated, &format!("Environment {name}"))
        ),
        format!(
            "may roll back to {} known good contents, not older than {} ({rollback})",
            environment.rollback.keep, environment.rollback.max_age
        ),
    ];
    lines.push(verified_images(environment));
    lines.extend(
        environment
            .image_fields
            .iter()
            .map(|f| format!("images of {}.{} are at {}", f.kind, f.group, f.paths.join(", "))),
    );
    lines.extend(environment.also_verified.iter().map(|i| format!("also verified: {i}")));
    if environment.suspended {
        lines.push("suspended: admits nothing".to_owned());
    }
    for lane in &environment.lanes {
        lines.extend(lane_lines(environment, lane, class));
    }
    page.section(&format!("environment {name}"), lines);
}

fn verified_images(environment: &EffectiveEnvironment) -> String {
    let mode = environment.verified_images;
    let origin = from(mode == VerifiedImages::default(), &class_name(environment));
    match mode {
        VerifiedImages::Enforce => {
            format!("pods with images that are not verified are refused ({origin})")
        }
        VerifiedImages::Report => {
            format!("pods with images that are not verified run and are told ({origin})")
        }
    }
}

fn class_name(environment: &EffectiveEnvironment) -> String {
    format!("EnvironmentClass {}", environment.class)
}

/// Where a lane's value comes from: the class's entry for it, the one for every lane, or nowhere.
fn origin(
    environment: &EffectiveEnvironment,
    lane: &EffectiveLane,
    class: Option<&EnvironmentClass>,
    states: impl Fn(&LanePolicy) -> bool,
) -> String {
    let Some(class) = class else { return DEFAULT.to_owned() };
    for key in [lane.name.as_str(), "*"] {
        if class.spec.lanes.get(key).is_some_and(&states) {
            return format!("{} lanes[{key:?}]", class_name(environment));
        }
    }
    DEFAULT.to_owned()
}

fn lane_lines(
    environment: &EffectiveEnvironment,
    lane: &EffectiveLane,
    class: Option<&EnvironmentClass>,
) -> Vec<String> {
    let of = |states: &dyn Fn(&LanePolicy) -> bool| origin(environment, lane, class, states);
    let gates = |p: &LanePolicy| p.gates.clone().unwrap_or_default();
    let paths = &lane.paths;
    let after = lane.after.iter().map(|(e, a)| after(e, a)).collect::<Vec<_>>();
    let approvals = lane.approvals.iter().map(rule).collect::<Vec<_>>();
    vec![
        format!("lane {}", lane.name),
        format!("  folder {} -> branch {} (default)", paths.folder, paths.branch),
        format!("  Sync {}, account {DEPLOYERS_NAMESPACE}/{} (default)", paths.sync, paths.sync),
        format!("  after: {} ({})", or_nothing(&after), of(&|p| gates(p).after.is_some())),
        format!(
            "  approvals: {} ({})",
            or_nothing(&approvals),
            of(&|p| gates(p).approvals.is_some())
        ),
        format!(
            "  vulnerabilities: {} ({})",
            lane.vulnerabilities.as_ref().map_or_else(
                || "nothing".to_owned(),
                |scan| format!(
                    "scans younger than {}, nothing above {:?}",
                    scan.max_age, scan.max_severity
                )
            ),
            of(&|p| gates(p).vulnerabilities.is_some())
        ),
        format!(
            "  watched for {}, then on regression {:?} ({})",
            lane.watch.length,
            lane.watch.on_regression,
            of(&|p| p.watch.is_some())
        ),
        format!(
            "  applied and healthy within {} ({})",
            lane.deadline,
            of(&|p| p.deadline.is_some())
        ),
        format!(
            "  drift: {:?} ({})",
            lane.drift,
            from(lane.drift == tidegate_schemas::Drift::default(), &class_name(environment))
        ),
    ]
}

fn or_nothing(parts: &[String]) -> String {
    if parts.is_empty() { "nothing".to_owned() } else { parts.join("; ") }
}

fn after(environment: &EnvironmentName, after: &tidegate_schemas::After) -> String {
    format!(
        "healthy in {environment} for {} (interruptions up to {} do not count)",
        after.healthy_for, after.tolerance
    )
}

fn rule(rule: &ApprovalRule) -> String {
    let from: Vec<String> = rule
        .from
        .iter()
        .map(|s| match (&s.group, &s.user) {
            (Some(group), _) => format!("group {group}"),
            (_, Some(user)) => format!("user {user}"),
            _ => "nobody".to_owned(),
        })
        .collect();
    let not: Vec<String> = rule.not.iter().map(|n| format!("{n:?}").to_lowercase()).collect();
    let not =
        if not.is_empty() { String::new() } else { format!(", not the {}", not.join(" or the ")) };
    format!(
        "{}: {} of {}{not}, each for {}",
        rule.name,
        rule.count,
        from.join(" or "),
        rule.valid_for
    )
}
