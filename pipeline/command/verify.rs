//! `tidegate verify`: may this image run, by these policies, and how does each rule come out.
//!
//! The same rules over the same evidence as in the engine; only where policies, keys and images
//! come from differs, so that a policy can be tried before it is applied, in CI or offline.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, ResourceExt as _};
use serde_json::Value;
use tidegate_delivery::{Evidence, Rules, evidence};
use tidegate_manifest::ImageReference;
use tidegate_outbound::{Images, Layout};
use tidegate_provenance::{Gathered, ImagePattern, ImageRef, KEY_ENTRY, Needed, ROOT_ENTRY};
use tidegate_schemas::{GROUP, SYSTEM_NAMESPACE, TrustPolicy, VERSION};

use crate::failure::{Code, Failure, from_api};
use crate::judged::{Asked, Judged};
use crate::outside::Outside;
use crate::session::{Connection, list, print, show};

/// Says whether an image may run under trust policies, and how each of their rules comes out.
///
/// Ends with 0 when it may run, with 3 when it may not, and with 1 when it cannot be told: the
/// registry does not answer, or a policy cannot be read.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The image: repository:tag or repository@sha256:…
    image: String,
    /// A file with TrustPolicies, and with Secrets and ConfigMaps that they name; the cluster's
    /// policies where none is given.
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// A public key for the Secret of this name.
    #[arg(long, value_name = "SECRET=FILE", value_parser = named)]
    key: Vec<(String, PathBuf)>,
    /// A Sigstore trusted root for the ConfigMap of this name.
    #[arg(long, value_name = "CONFIGMAP=FILE", value_parser = named)]
    root: Vec<(String, PathBuf)>,
    /// Look into an OCI image layout, a folder or a .tar, and at no registry.
    #[arg(long, value_name = "FOLDER")]
    layout: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The namespace of the keys and roots that the cluster's policies name.
    #[arg(long, default_value = SYSTEM_NAMESPACE)]
    system_namespace: String,
    #[command(flatten)]
    outside: Outside,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), file.into()))
        }
        _ => Err("write NAME=FILE".to_owned()),
    }
}

/// Says it.
///
/// # Errors
/// When the image may not run, or it cannot be told.
pub async fn run(connection: &Connection, args: &Args, now: Timestamp) -> Result<(), Failure> {
    let asked: ImageReference = args
        .image
        .parse()
        .map_err(|e: tidegate_manifest::Error| Failure::new(Code::Usage, e.to_string()))?;
    let (policies, materials) = stated(connection, args, &asked.repository()).await?;
    let rules = Rules::of(&policies, &materials);
    let images = images(args, &asked).await?;
    let told = |error: tidegate_outbound::Error| Failure::from(error.to_string());
    let tag = asked.tag.clone().unwrap_or_else(|| "latest".to_owned());
    let digest = match asked.digest {
        Some(digest) => digest,
        None => images.resolve(&tag).await.map_err(told)?,
    };
    let image = ImageRef { repository: asked.repository(), digest };
    let Evidence { subject, attached, index } = evidence(&images, &image).await?;
    let outcome = rules.judge(&subject, &attached, now)?;
    let tag = asked.digest.is_none().then_some(tag);
    let asked = Asked { image, tag, index, attached: attached.len() };
    let judged = Judged::new(&asked, &outcome);
    if args.json {
        let text = serde_json::to_string_pretty(&judged)
            .map_err(|error| Failure::from(format!("writing JSON: {error}")))?;
        print(&format!("{text}\n"))?;
    } else {
        show(&judged.to_text())?;
    }
    if judged.may_run {
        return Ok(());
    }
    Err(Failure::new(Code::Refused, format!("{} may not run", judged.image)))
}

async fn images(args: &Args, asked: &ImageReference) -> Result<Images, Failure> {
    let told = |error: tidegate_outbound::Error| Failure::from(error.to_string());
    if let Some(place) = &args.layout {
        return Ok(Layout::open(place).await.map_err(told)?.into());
    }
    let name = asked.repository().parse().map_err(told)?;
    Ok(args.outside.registry()?.repository(name).into())
}

/// The policies, and what they refer to.
async fn stated(
    connection: &Connection,
    args: &Args,
    repository: &str,
) -> Result<(Vec<Arc<TrustPolicy>>, Gathered), Failure> {
    let mut materials = Gathered::default();
    let mut policies = Vec::new();
    for file in &args.policy {
        from_file(file, &mut policies, &mut materials)?;
    }
    if args.policy.is_empty() {
        policies = from_cluster(connection, args, repository, &mut materials).await?;
    } else if policies.is_empty() {
        return Err(Failure::from("no file given with --policy has a TrustPolicy"));
    }
    for (name, file) in &args.key {
        materials.secrets.insert(name.clone(), text(file)?);
    }
    for (name, file) in &args.root {
        materials.config_maps.insert(name.clone(), text(file)?);
    }
    Ok((policies, materials))
}

fn from_file(
    file: &Path,
    policies: &mut Vec<Arc<TrustPolicy>>,
    materials: &mut Gathered,
) -> Result<(), Failure> {
    let place = file.display().to_string();
    let wrong = |why: serde_json::Error| Failure::from(format!("{place}: {why}"));
    let documents = tidegate_manifest::documents(text(file)?.as_bytes(), &place)
        .map_err(|error| Failure::from(error.to_string()))?;
    let api = format!("{GROUP}/{VERSION}");
    for value in documents.into_iter().flat_map(items) {
        match (value["apiVersion"].as_str(), value["kind"].as_str()) {
            (version, Some("TrustPolicy")) if version != Some(&api) => {
                return Err(Failure::from(format!(
                    "{place}: a TrustPolicy of {}, which is not read here: write apiVersion: {api}",
                    version.unwrap_or("no apiVersion")
                )));
            }
            (_, Some("TrustPolicy")) => {
                let policy = crate::policies::policy(value)
                    .map_err(|why| Failure::from(format!("{place}: {why}")))?;
                let name = policy.name_any();
                if policies.iter().any(|known| known.name_any() == name) {
                    return Err(Failure::from(format!(
                        "{place}: a TrustPolicy {name} was given before: leave one of the two out"
                    )));
                }
                policies.push(Arc::new(policy));
            }
            (_, Some("Secret")) => {
                take_key(serde_json::from_value(value).map_err(wrong)?, materials);
            }
            (_, Some("ConfigMap")) => take_root(&value, materials),
            _ => {}
        }
    }
    Ok(())
}

/// The objects of a List, as `kubectl get -o yaml` writes it; any other object as it is.
fn items(mut value: Value) -> Vec<Value> {
    match value["items"].take() {
        Value::Array(items) if value["kind"].as_str().is_some_and(|k| k.ends_with("List")) => items,
        Value::Null => vec![value],
        other => {
            value["items"] = other;
            vec![value]
        }
    }
}

fn take_key(secret: Secret, materials: &mut Gathered) {
    let name = secret.name_any();
    let stated = secret.string_data.and_then(|mut data| data.remove(KEY_ENTRY));
    let encoded = secret.data.and_then(|mut data| data.remove(KEY_ENTRY));
    let encoded = encoded.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
    materials.secrets.extend(stated.or(encoded).map(|pem| (name, pem)));
}

fn take_root(value: &Value, materials: &mut Gathered) {
    let name = value["metadata"]["name"].as_str();
    let root = value["data"][ROOT_ENTRY].as_str();
    let root = name.zip(root).map(|(name, root)| (name.to_owned(), root.to_owned()));
    materials.config_maps.extend(root);
}

async fn from_cluster(
    connection: &Connection,
    args: &Args,
    repository: &str,
    materials: &mut Gathered,
) -> Result<Vec<Arc<TrustPolicy>>, Failure> {
    let session = connection.open().await?;
    let policies: Vec<TrustPolicy> = list(&session.cluster()).await?;
    let secrets: Api<Secret> = Api::namespaced(session.client.clone(), &args.system_namespace);
    let maps: Api<ConfigMap> = Api::namespaced(session.client.clone(), &args.system_namespace);
    let given = |names: &[(String, PathBuf)], name: &str| names.iter().any(|(n, _)| n == name);
    // What other images need may well be nobody's business here; their revocations count all the same.
    let names = |policy: &&TrustPolicy| {
        let patterns = policy.spec.images.iter();
        patterns.map(|p| p.parse::<ImagePattern>()).any(|p| p.is_ok_and(|p| p.matches(repository)))
    };
    for policy in policies.iter().filter(names) {
        let needed = Needed::by(&policy.spec);
        for name in needed.secrets.iter().filter(|name| !given(&args.key, name)) {
            let doing = format!("reading the key in Secret {name} (or give it: --key {name}=FILE)");
            let secret = secrets.get_opt(name).await.map_err(|e| from_api(&doing, &e))?;
            if let Some(secret) = secret {
                take_key(secret, materials);
            }
        }
        for name in needed.config_maps.iter().filter(|name| !given(&args.root, name)) {
            let doing =
                format!("reading the root in ConfigMap {name} (or give it: --root {name}=FILE)");
            let map = maps.get_opt(name).await.map_err(|e| from_api(&doing, &e))?;
            let root = map.and_then(|map| map.data?.remove(ROOT_ENTRY));
            materials.config_maps.extend(root.map(|root| (name.clone(), root)));
        }
    }
    Ok(policies.into_iter().map(Arc::new).collect())
}

fn text(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::from(format!("reading {}: {error}", file.display())))
}
