//! Every place where an object names an image that would run, and pinning them.
//!
//! A place that is forgotten here is an image that runs unverified, so pod specs
//! are looked at whole (init, ephemeral and sidecar containers, image volumes),
//! custom resources by a table, and fields of unknown kinds that look like images
//! are told apart by [`suspected_images`] for policy to refuse.

use crate::{Error, ImageReference, Manifest};
use serde_json::Value;
use std::collections::BTreeMap;
use tidegate_ids::{Digest, GroupKind, ObjectId};

/// An image that an object names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Image {
    /// Where in the object, as a JSON pointer (RFC 6901).
    pub pointer: String,
    /// The reference as stated.
    pub reference: String,
}

/// An image that could not be pinned to a digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unpinned {
    /// The object.
    pub object: ObjectId,
    /// Where in the object, as a JSON pointer.
    pub pointer: String,
    /// The reference as stated.
    pub reference: String,
    /// What is wrong with the reference itself, where it is no reference at all.
    pub malformed: Option<&'static str>,
}

impl std::fmt::Display for Unpinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { object, pointer, reference, malformed } = self;
        match malformed {
            Some(why) => write!(
                f,
                "{object} names {reference:?} at {pointer}, which is not an image reference: {why}"
            ),
            None => write!(
                f,
                "{object} names the image {reference:?} at {pointer} without a digest source: follow its repository in spec.images of the Pipeline, or write it as repository@sha256:…"
            ),
        }
    }
}

/// Where the pod spec of a kind is.
const POD_SPECS: &[(&str, &[&str], &str)] = &[
    ("", &["Pod"], "/spec"),
    ("", &["PodTemplate"], "/template/spec"),
    ("", &["ReplicationController"], "/spec/template/spec"),
    ("apps", &["DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"], "/spec/template/spec"),
    ("batch", &["Job"], "/spec/template/spec"),
    ("batch", &["CronJob"], "/spec/jobTemplate/spec/template/spec"),
    ("argoproj.io", &["Rollout"], "/spec/template/spec"),
    ("keda.sh", &["ScaledJob"], "/spec/jobTargetRef/template/spec"),
    ("serving.knative.dev", &["Configuration", "Service"], "/spec/template/spec"),
    ("postgresql.cnpg.io", &["Pooler"], "/spec/template/spec"),
    (
        "monitoring.coreos.com",
        &["Alertmanager", "Prometheus", "PrometheusAgent", "ThanosRuler"],
        "/spec",
    ),
];

/// Where a pod spec names images; `*` stands for every element.
const IN_POD_SPEC: [&str; 4] = [
    "/containers/*/image",
    "/initContainers/*/image",
    "/ephemeralContainers/*/image",
    "/volumes/*/image/reference",
];

/// Where else a kind names images.
const FIELDS: &[(&str, &[&str], &[&str])] = &[
    (
        "postgresql.cnpg.io",
        &["Cluster"],
        &["/spec/imageName", "/spec/postgresql/extensions/*/image/reference"],
    ),
    ("postgresql.cnpg.io", &["ClusterImageCatalog", "ImageCatalog"], &["/spec/images/*/image"]),
    (
        "monitoring.coreos.com",
        &["Alertmanager", "PrometheusAgent", "ThanosRuler"],
        &["/spec/image"],
    ),
    ("monitoring.coreos.com", &["Prometheus"], &["/spec/image", "/spec/thanos/image"]),
    (
        "redis.redis.opstreelabs.in",
        &["Redis", "RedisCluster", "RedisReplication", "RedisSentinel"],
        &["/spec/kubernetesConfig/image", "/spec/redisExporter/image"],
    ),
];

fn places(kind: &GroupKind) -> Vec<String> {
    let is =
        |group: &str, kinds: &[&str]| group == kind.group && kinds.contains(&kind.kind.as_str());
    let pods = POD_SPECS
        .iter()
        .filter(|(group, kinds, _)| is(group, kinds))
        .flat_map(|(_, _, base)| IN_POD_SPEC.iter().map(move |place| format!("{base}{place}")));
    let fields = FIELDS
        .iter()
        .filter(|(group, kinds, _)| is(group, kinds))
        .flat_map(|(_, _, places)| places.iter().map(|place| (*place).to_owned()));
    pods.chain(fields).collect()
}

/// Every image that the object names, in the order of its places.
#[must_use]
pub fn images(manifest: &Manifest) -> Vec<Image> {
    let mut found = Vec::new();
    for place in places(&manifest.id().group_kind) {
        let steps: Vec<&str> = place.split('/').skip(1).collect();
        collect(manifest.value(), &steps, String::new(), &mut found);
    }
    found
}

fn collect(value: &Value, steps: &[&str], pointer: String, found: &mut Vec<Image>) {
    let Some((step, rest)) = steps.split_first() else {
        if let Value::String(reference) = value {
            found.push(Image { pointer, reference: reference.clone() });
        }
        return;
    };
    if *step == "*" {
        for (at, item) in value.as_array().into_iter().flatten().enumerate() {
            collect(item, rest, format!("{pointer}/{at}"), found);
        }
    } else if let Some(inner) = value.get(step) {
        collect(inner, rest, format!("{pointer}/{step}"), found);
    }
}

/// Strings named `image` or `imageName` in an object whose kind is not in the
/// tables above and not one of Kubernetes' own: images that nobody would verify.
#[must_use]
pub fn suspected_images(manifest: &Manifest) -> Vec<Image> {
    let kind = &manifest.id().group_kind;
    let own = !kind.group.contains('.')
        || kind.group.ends_with(".k8s.io")
        || kind.group == "tidegate.dev"
        || !places(kind).is_empty();
    let mut found = Vec::new();
    if !own {
        suspect(manifest.value(), "", &mut found);
    }
    found
}

fn suspect(value: &Value, pointer: &str, found: &mut Vec<Image>) {
    match value {
        Value::Object(entries) => {
            for (name, inner) in entries {
                let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                match inner {
                    Value::String(text) if matches!(name.as_str(), "image" | "imageName") => {
                        found.push(Image { pointer, reference: text.clone() });
                    }
                    inner => suspect(inner, &pointer, found),
                }
            }
        }
        Value::Array(items) => {
            for (at, inner) in items.iter().enumerate() {
                suspect(inner, &format!("{pointer}/{at}"), found);
            }
        }
        _ => {}
    }
}

/// Replaces every reference to a repository of `digests` (canonical repositories)
/// by `repository@digest`; one that had another digest is moved too, because the
/// followed image is the one source of its digest. What then has no digest is
/// returned: a release with such an image cannot be made.
///
/// # Errors
/// When the object has no canonical form any more (it had one before).
pub fn pin(
    manifest: &mut Manifest,
    digests: &BTreeMap<String, Digest>,
) -> Result<Vec<Unpinned>, Error> {
    let mut unpinned = Vec::new();
    for Image { pointer, reference } in images(manifest) {
        let object = manifest.id().clone();
        match reference.parse::<ImageReference>() {
            Err(error) => {
                let why = match error {
                    Error::Reference { why, .. } => why,
                    _ => "it cannot be read",
                };
                unpinned.push(Unpinned { object, pointer, reference, malformed: Some(why) });
            }
            Ok(image) => match digests.get(&image.repository()) {
                Some(digest) => manifest
                    .replace_string(&pointer, &format!("{}@{digest}", image.repository()))?,
                None if image.digest.is_some() => {}
                None => unpinned.push(Unpinned { object, pointer, reference, malformed: None }),
            },
        }
    }
    Ok(unpinned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(api_version: &str, kind: &str, mut value: Value) -> Manifest {
        value["apiVersion"] = json!(api_version);
        value["kind"] = json!(kind);
        value["metadata"] = json!({"name": "web"});
        Manifest::from_value(value, "web.yaml").unwrap()
    }

    #[test]
    fn images_are_found_in_every_place_that_runs_them() {
        let pod = json!({
            "containers": [{"name": "a", "image": "a"}, {"name": "b", "image": "b"}],
            "initContainers": [{"image": "i"}],
            "ephemeralContainers": [{"image": "e"}],
            "volumes": [{"name": "none"}, {"image": {"reference": "v"}}],
        });
        let template = json!({"spec": {"template": {"spec": pod}}});
        for (api_version, kind, value, base) in [
            ("v1", "Pod", json!({"spec": pod}), "/spec"),
            ("v1", "PodTemplate", json!({"template": {"spec": pod}}), "/template/spec"),
            ("apps/v1", "Deployment", template.clone(), "/spec/template/spec"),
            ("apps/v1", "StatefulSet", template.clone(), "/spec/template/spec"),
            ("batch/v1", "Job", template.clone(), "/spec/template/spec"),
            (
                "batch/v1",
                "CronJob",
                json!({"spec": {"jobTemplate": template}}),
                "/spec/jobTemplate/spec/template/spec",
            ),
        ] {
            let found: Vec<(String, String)> = images(&object(api_version, kind, value))
                .into_iter()
                .map(|i| (i.pointer, i.reference))
                .collect();
            let at = |place: &str, image: &str| (format!("{base}{place}"), image.to_owned());
            let expected = [
                at("/containers/0/image", "a"),
                at("/containers/1/image", "b"),
                at("/initContainers/0/image", "i"),
                at("/ephemeralContainers/0/image", "e"),
                at("/volumes/1/image/reference", "v"),
            ];
            assert_eq!(found, expected, "{kind}");
        }
        let cluster =
            object("postgresql.cnpg.io/v1", "Cluster", json!({"spec": {"imageName": "pg:17"}}));
        assert_eq!(images(&cluster)[0].pointer, "/spec/imageName");
    }

    #[test]
    fn a_followed_repository_is_pinned_and_the_rest_is_named() {
        let digest = Digest::of(b"new");
        let old = Digest::of(b"old");
        let mut web = object(
            "v1",
            "Pod",
            json!({"spec": {"containers": [
                {"image": "registry.example.com/odoo:17.0"},
                {"image": format!("registry.example.com/odoo@{old}")},
                {"image": format!("redis@{old}")},
                {"image": "nginx"},
                {"image": "NGINX:"},
            ]}}),
        );
        let before = web.digest();
        let digests = BTreeMap::from([("registry.example.com/odoo".to_owned(), digest)]);
        let rest = pin(&mut web, &digests).unwrap();
        let now: Vec<String> = images(&web).into_iter().map(|i| i.reference).collect();
        let pinned = format!("registry.example.com/odoo@{digest}");
        assert_eq!(
            now,
            [pinned.clone(), pinned, format!("redis@{old}"), "nginx".into(), "NGINX:".into()]
        );
        assert_ne!(web.digest(), before);
        assert_eq!(rest.len(), 2);
        let message = rest[0].to_string();
        assert!(
            message.contains("Pod web names the image \"nginx\" at /spec/containers/3/image"),
            "{message}"
        );
        assert!(message.contains("spec.images"), "{message}");
        assert!(rest[1].malformed.is_some());
    }

    #[test]
    fn an_image_in_an_unknown_kind_is_suspected() {
        let value = json!({"spec": {"a/b": [{"image": "x"}], "imageName": "y", "image": {"z": 1}}});
        let found: Vec<String> =
            suspected_images(&object("example.com/v1", "Robot", value.clone()))
                .into_iter()
                .map(|i| i.pointer)
                .collect();
        assert_eq!(found, ["/spec/a~1b/0/image", "/spec/imageName"]);
        assert!(suspected_images(&object("v1", "ConfigMap", value)).is_empty());
    }
}
