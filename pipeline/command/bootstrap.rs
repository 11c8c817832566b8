//! `tidegate bootstrap`: what the environments of one pipeline need before anything can
//! run there, printed: target namespaces, deployer accounts, and exactly their rights.
//!
//! Creating a namespace is a right that RBAC cannot limit to a name, so no account gets it:
//! the namespaces are made here, and the infra lane may only change its own.

use std::path::{Path, PathBuf};

use kube::ResourceExt as _;
use serde_json::json;
use tidegate_ids::LaneName;
use tidegate_schemas::admission::{ENFORCE, VERIFIED_IMAGES, VERIFIED_IMAGES_LABEL};
use tidegate_schemas::{
    DEPLOYERS_NAMESPACE, Effective, EffectiveEnvironment, Environment, Pipeline, Repository,
    SYSTEM_NAMESPACE, VerifiedImages, effective,
};

use crate::document::{
    Document, Right, cluster_role, cluster_role_binding, namespace, role, role_binding,
    service_account,
};
use crate::failure::Failure;
use crate::install::ENGINE;
use crate::lanes;
use crate::objects::Objects;
use crate::session::{Connection, list};

/// Prints the namespaces, accounts and bindings that a pipeline's environments need.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The pipeline: its name, or a file that holds it.
    pub pipeline: String,
    /// Read Tidegate's objects from this folder (all YAML below it) instead of the cluster.
    #[arg(short, long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// Where the engine runs.
    #[arg(long, default_value = SYSTEM_NAMESPACE)]
    pub system_namespace: String,
}

/// The YAML that is to be applied.
///
/// # Errors
/// When the pipeline is not found or its environments do not fit together.
pub async fn run(connection: &Connection, args: &Args) -> Result<String, Failure> {
    let (objects, name) = gather(connection, args).await?;
    let pipeline = pick(&objects, &name, connection.namespace.as_deref())?;
    let documents = documents(&args.system_namespace, pipeline, &objects)
        .map_err(|errors| Failure::from(format!("the pipeline {name}: {}", errors.join("; "))))?;
    Ok(crate::document::stream(&documents))
}

async fn gather(connection: &Connection, args: &Args) -> Result<(Objects, String), Failure> {
    let file = Path::new(&args.pipeline);
    let offline = args.folder.is_some() || file.is_file();
    if !offline {
        let session = connection.open().await?;
        let objects = Objects {
            pipelines: list(&session.here()).await?,
            environments: list(&session.here()).await?,
            classes: list(&session.cluster()).await?,
            repositories: list(&session.here()).await?,
            ..Objects::default()
        };
        return Ok((objects, args.pipeline.clone()));
    }
    let mut files = Vec::new();
    if let Some(folder) = &args.folder {
        yaml_files(folder, &mut files)?;
    }
    let mut name = args.pipeline.clone();
    if file.is_file() {
        let mut own = Objects::default();
        read_into(&mut own, file)?;
        match own.pipelines.as_slice() {
            [one] => name = one.metadata.name.clone().unwrap_or_default(),
            _ => {
                return Err(Failure::from(format!(
                    "{} holds {} pipelines: name one by its name, and the folder with -f",
                    file.display(),
                    own.pipelines.len()
                )));
            }
        }
        let known = |path: &PathBuf| {
            path.canonicalize().ok().is_some_and(|p| file.canonicalize().is_ok_and(|f| f == p))
        };
        if !files.iter().any(known) {
            files.push(file.to_owned());
        }
    }
    let mut objects = Objects::default();
    for path in &files {
        read_into(&mut objects, path)?;
    }
    Ok((objects, name))
}

fn yaml_files(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error| Failure::from(format!("reading the folder {}: {error}", folder.display()));
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.is_symlink() {
            yaml_files(&path, into)?;
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            into.push(path);
        }
    }
    Ok(())
}

fn read_into(objects: &mut Objects, path: &Path) -> Result<(), Failure> {
    let name = path.display().to_string();
    let bytes =
        std::fs::read(path).map_err(|error| Failure::from(format!("reading {name}: {error}")))?;
    let values = tidegate_manifest::documents(&bytes, &name)
        .map_err(|error| Failure::from(error.to_string()))?;
    for value in values {
        objects.add(value).map_err(|error| Failure::from(format!("{name}: {error}")))?;
    }
    Ok(())
}

fn pick<'a>(
    objects: &'a Objects,
    name: &str,
    namespace: Option<&str>,
) -> Result<&'a Pipeline, Failure> {
    let fits = |p: &&Pipeline| {
        p.metadata.name.as_deref() == Some(name)
            && (namespace.is_none() || p.metadata.namespace.as_deref() == namespace)
    };
    let found: Vec<&Pipeline> = objects.pipelines.iter().filter(fits).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::from(format!(
            "there is no Pipeline {name} here: name its file, a folder that holds it with -f, or its namespace with -n"
        ))),
        _ => Err(Failure::from(format!(
            "there are {} Pipelines {name}: name the namespace with -n",
            found.len()
        ))),
    }
}

/// What the pipeline's environments need.
///
/// # Errors
/// What is missing or does not fit, a sentence each.
pub fn documents(
    system: &str,
    pipeline: &Pipeline,
    objects: &Objects,
) -> Result<Vec<Document>, Vec<String>> {
    let home = pipeline.metadata.namespace.as_deref().unwrap_or("default");
    let here = |namespace: Option<&str>| namespace.unwrap_or("default") == home;
    let environments: Vec<Environment> = objects
        .environments
        .iter()
        .filter(|e| here(e.metadata.namespace.as_deref()))
        .cloned()
        .collect();
    let effective = effective(pipeline, &environments, &objects.classes)?;
    let mut all = Vec::new();
    for environment in &effective.environments {
        all.extend(of_environment(system, &effective, environment));
    }
    all.extend(engines_secrets(system, home, pipeline, &objects.repositories));
    all.extend(pull_secrets(system, home, pipeline));
    Ok(all)
}

fn of_environment(
    system: &str,
    effective: &Effective,
    environment: &EffectiveEnvironment,
) -> Vec<Document> {
    let target = environment.target.as_str();
    let mut labels = json!({
        "tidegate.dev/pipeline": effective.name,
        "tidegate.dev/environment": environment.name,
        "tidegate.dev/class": environment.class,
    });
    let mut comment =
        format!("Where the environment {} of {} runs.", environment.name, effective.name);
    if environment.verified_images == VerifiedImages::Enforce {
        labels[VERIFIED_IMAGES_LABEL] = json!(ENFORCE);
        comment += " Pods run verified images only (verifiedImages of the class).";
    }
    let list = Right::new(
        "",
        "configmaps",
        "get create patch update",
        "the list of verified images, by which the API server lets pods in",
    )
    .named([VERIFIED_IMAGES]);
    let mut all = vec![
        namespace(target, &comment, labels),
        role(
            target,
            VERIFIED_IMAGES,
            "The engine keeps this list here, and nothing else.",
            &[list],
        ),
        role_binding(target, VERIFIED_IMAGES, ("Role", VERIFIED_IMAGES), (system, ENGINE)),
    ];
    for lane in &environment.lanes {
        all.extend(of_lane(target, environment, &lane.name, &lane.paths.sync));
    }
    all
}

fn of_lane(
    target: &str,
    environment: &EffectiveEnvironment,
    lane: &LaneName,
    sync: &str,
) -> Vec<Document> {
    let account = (DEPLOYERS_NAMESPACE, sync);
    let inventory = format!("tidegate-{sync}");
    let own = [
        Right::new("", "configmaps", "get patch update", "the list of what it applied")
            .named([&inventory]),
        Right::new(
            "",
            "configmaps",
            "create",
            "the same, once: a creation cannot be limited by name",
        ),
    ];
    let mut all = vec![
        service_account(
            DEPLOYERS_NAMESPACE,
            sync,
            &format!("Applies the lane {lane} in {}.", environment.name),
        ),
        role(target, &inventory, &format!("What {sync} records in its target."), &own),
        role_binding(target, &inventory, ("Role", &inventory), account),
    ];
    if let Some(role) = lanes::role_name(lane.as_str()) {
        let name = format!("{inventory}-lane");
        all.push(role_binding(target, &name, ("ClusterRole", &role), account));
    }
    if *lane == "infra" {
        let name = format!("tidegate-namespace-{target}");
        let right = Right::new("", "namespaces", "get patch update", "its labels come from Git")
            .named([target]);
        all.push(cluster_role(
            &name,
            &format!("Changes the namespace {target}."),
            json!({}),
            &[right],
        ));
        all.push(cluster_role_binding(&inventory, &name, account));
    }
    all
}

/// The engine reads exactly the Secrets that the pipeline's repository names.
fn engines_secrets(
    system: &str,
    home: &str,
    pipeline: &Pipeline,
    repositories: &[Repository],
) -> Vec<Document> {
    let stated = pipeline.spec.source.repository.as_str();
    let (place, name) = stated.split_once('/').unwrap_or((home, stated));
    let found = repositories.iter().find(|r| {
        r.metadata.name.as_deref() == Some(name)
            && r.metadata.namespace.as_deref().unwrap_or("default") == place
    });
    let Some(repository) = found else { return Vec::new() };
    let secrets: Vec<String> = [&repository.spec.credentials, &repository.spec.webhook]
        .into_iter()
        .flatten()
        .map(|r| r.secret.clone())
        .collect();
    if secrets.is_empty() {
        return Vec::new();
    }
    let name = format!("tidegate-repository-{name}");
    let right = Right::new("", "secrets", "get", "signing in to Git, and webhook signatures")
        .named(secrets);
    vec![
        role(place, &name, "The engine reads these Secrets here, and no others.", &[right]),
        role_binding(place, &name, ("Role", &name), (system, ENGINE)),
    ]
}

/// The engine reads exactly the pull secrets that the pipeline names.
fn pull_secrets(system: &str, home: &str, pipeline: &Pipeline) -> Vec<Document> {
    let names = &pipeline.spec.pull_secrets;
    if names.is_empty() {
        return Vec::new();
    }
    let name = format!("tidegate-pull-{}", pipeline.name_any());
    let right = Right::new("", "secrets", "get", "reading images and signatures in registries")
        .named(names.clone());
    vec![
        role(home, &name, "The engine shows these to registries, and no others.", &[right]),
        role_binding(home, &name, ("Role", &name), (system, ENGINE)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clinic() -> Objects {
        let mut objects = Objects::default();
        let api = "tidegate.dev/v1alpha1";
        for value in [
            json!({"apiVersion": api, "kind": "Pipeline", "metadata": {"name": "clinic", "namespace": "clinic"},
                   "spec": {"pullSecrets": ["registry"], "source": {"repository": "environments"}, "environments": ["dev", "production"]}}),
            json!({"apiVersion": api, "kind": "EnvironmentClass", "metadata": {"name": "dev"}, "spec": {}}),
            json!({"apiVersion": api, "kind": "EnvironmentClass", "metadata": {"name": "production"}, "spec": {}}),
            json!({"apiVersion": api, "kind": "Environment", "metadata": {"name": "production", "namespace": "clinic"},
                   "spec": {"class": "production", "pipeline": "clinic", "target": {"namespace": "ward"}}}),
            json!({"apiVersion": api, "kind": "Repository", "metadata": {"name": "environments", "namespace": "clinic"},
                   "spec": {"url": "https://git.example.com/e.git", "credentials": {"secret": "git-deploy"}, "webhook": {"secret": "git-webhook"}}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}),
        ] {
            objects.add(value).unwrap();
        }
        objects
    }

    #[test]
    fn a_pipeline_gets_namespaces_accounts_and_exactly_their_rights() {
        let objects = clinic();
        let documents = documents(SYSTEM_NAMESPACE, &objects.pipelines[0], &objects).unwrap();
        let text = crate::document::stream(&documents);
        let read = tidegate_manifest::manifests(text.as_bytes(), "bootstrap").unwrap();
        tidegate_manifest::Set::from_manifests(read).expect("no object is printed twice");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_class_that_only_reports_gets_no_label() {
        let mut objects = clinic();
        objects.classes[1].spec.verified_images = VerifiedImages::Report;
        let documents = documents(SYSTEM_NAMESPACE, &objects.pipelines[0], &objects).unwrap();
        let labels: Vec<_> = documents
            .iter()
            .filter(|d| d.value["kind"] == "Namespace")
            .map(|d| d.value["metadata"]["labels"][VERIFIED_IMAGES_LABEL].clone())
            .collect();
        assert_eq!(labels, [json!(ENFORCE), json!(null)]);
    }

    #[test]
    fn a_missing_class_is_told_instead_of_half_a_set() {
        let mut objects = clinic();
        objects.classes.clear();
        let errors = documents(SYSTEM_NAMESPACE, &objects.pipelines[0], &objects).unwrap_err();
        assert_eq!(errors.len(), 2);
    }
}
