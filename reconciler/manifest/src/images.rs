//! Every place where an object names an image that would run, and pinning them.
//!
//! A place that is forgotten here is an image that runs unverified, so pod specs
//! are looked at whole (init, ephemeral and sidecar containers, image volumes),
//! custom resources by a table that an Environment or its class extends, and fields
//! of unknown kinds that look like images are told apart by
//! [`ImageFields::suspected`] for policy to refuse.

use crate::{Error, ImageReference, Manifest};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
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
        "argoproj.io",
        &["AnalysisTemplate"],
        &[
            "/spec/metrics/*/provider/job/spec/template/spec/containers/*/image",
            "/spec/metrics/*/provider/job/spec/template/spec/initContainers/*/image",
        ],
    ),
    (
        "redis.redis.opstreelabs.in",
        &["Redis", "RedisCluster", "RedisReplication", "RedisSentinel"],
        &[
            "/spec/kubernetesConfig/image",
            "/spec/redisExporter/image",
            "/spec/initContainer/image",
            "/spec/sidecars/*/image",
        ],
    ),
];

/// Which fields of which kinds hold images: the tables above, and what an Environment or its class
/// adds for the operators that run there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageFields {
    added: Vec<(GroupKind, Vec<String>)>,
}

impl ImageFields {
    /// The tables with these kinds added, each with its places: JSON pointers (RFC 6901) in which a
    /// step `*` stands for every element of a list or mapping.
    #[must_use]
    pub fn with(added: impl IntoIterator<Item = (GroupKind, Vec<String>)>) -> Self {
        Self { added: added.into_iter().collect() }
    }

    fn places(&self, kind: &GroupKind) -> Vec<String> {
        let mut places = built_in(kind);
        places.extend(self.added.iter().filter(|(k, _)| k == kind).flat_map(|(_, p)| p.clone()));
        places
    }

    /// Every image that the object names, in the order of its places.
    #[must_use]
    pub fn images(&self, manifest: &Manifest) -> Vec<Image> {
        let mut found = Vec::new();
        for place in self.places(&manifest.id().group_kind) {
            let steps: Vec<&str> = place.split('/').skip(1).collect();
            collect(manifest.value(), &steps, String::new(), &mut found);
        }
        let mut seen = BTreeSet::new();
        found.retain(|image| seen.insert(image.pointer.clone()));
        found
    }

    /// Strings named `image` or `imageName` that nobody would verify: in an operator's kind, all but
    /// those at known places. A kind in the tables may have grown another such field.
    #[must_use]
    pub fn suspected(&self, manifest: &Manifest) -> Vec<Image> {
        let kind = &manifest.id().group_kind;
        let own = !kind.group.contains('.')
            || kind.group.ends_with(".k8s.io")
            || kind.group == "tidegate.dev";
        let mut found = Vec::new();
        if !own {
            suspect(manifest.value(), "", &mut found);
            let known = self.images(manifest);
            found.retain(|image| !known.contains(image));
        }
        found
    }

    /// Replaces every reference to a repository of `digests` (canonical repositories)
    /// by `repository@digest`; one that had another digest is moved too, because the
    /// followed image is the one source of its digest. What then has no digest is
    /// returned: a release with such an image cannot be made.
    ///
    /// # Errors
    /// When the object has no canonical form any more (it had one before).
    pub fn pin(
        &self,
        manifest: &mut Manifest,
        digests: &BTreeMap<String, Digest>,
    ) -> Result<Vec<Unpinned>, Error> {
        let mut unpinned = Vec::new();
        for Image { pointer, reference } in self.images(manifest) {
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
}

fn built_in(kind: &GroupKind) -> Vec<String> {
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

fn collect(value: &Value, steps: &[&str], pointer: String, found: &mut Vec<Image>) {
    let Some((step, rest)) = steps.split_first() else {
        if let Value::String(reference) = value {
            found.push(Image { pointer, reference: reference.clone() });
        }
        return;
    };
    if *step == "*" {
        match value {
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    collect(item, rest, format!("{pointer}/{at}"), found);
                }
            }
            Value::Object(entries) => {
                for (name, inner) in entries {
                    collect(inner, rest, format!("{pointer}/{}", escaped(name)), found);
                }
            }
            _ => {}
        }
    } else if let Some(inner) = value.get(step.replace("~1", "/").replace("~0", "~")) {
        collect(inner, rest, format!("{pointer}/{step}"), found);
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn suspect(value: &Value, pointer: &str, found: &mut Vec<Image>) {
    match value {
        Value::Object(entries) => {
            for (name, inner) in entries {
                let pointer = format!("{pointer}/{}", escaped(name));
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
            let found: Vec<(String, String)> = ImageFields::default()
                .images(&object(api_version, kind, value))
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
        assert_eq!(ImageFields::default().images(&cluster)[0].pointer, "/spec/imageName");
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
        let rest = ImageFields::default().pin(&mut web, &digests).unwrap();
        let now: Vec<String> =
            ImageFields::default().images(&web).into_iter().map(|i| i.reference).collect();
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
        let found: Vec<String> = ImageFields::default()
            .suspected(&object("example.com/v1", "Robot", value.clone()))
            .into_iter()
            .map(|i| i.pointer)
            .collect();
        assert_eq!(found, ["/spec/a~1b/0/image", "/spec/imageName"]);
        assert!(ImageFields::default().suspected(&object("v1", "ConfigMap", value)).is_empty());
        let plugin =
            json!({"spec": {"imageName": "pg:17", "plugins": [{"parameters": {"image": "p"}}]}});
        let found =
            ImageFields::default().suspected(&object("postgresql.cnpg.io/v1", "Cluster", plugin));
        let found: Vec<_> = found.into_iter().map(|i| i.pointer).collect();
        assert_eq!(found, ["/spec/plugins/0/parameters/image"], "a known kind has unknown fields");
    }

    #[test]
    fn an_added_kind_is_pinned_and_hides_no_other_image() {
        let value = json!({"spec": {"arm": {"image": "robot:1"}, "tools": {"saw/x": {"image": "saw:2"}},
                                    "hidden": {"image": "evil"}}});
        let mut robot = object("example.com/v1", "Robot", value);
        let fields = ImageFields::with([(
            GroupKind::new("example.com", "Robot"),
            vec!["/spec/arm/image".to_owned(), "/spec/tools/*/image".to_owned()],
        )]);
        let digest = Digest::of(b"robot");
        let digests = BTreeMap::from([
            ("docker.io/library/robot".to_owned(), digest),
            ("docker.io/library/saw".to_owned(), digest),
        ]);
        assert_eq!(fields.pin(&mut robot, &digests).unwrap(), []);
        let now: Vec<String> = fields.images(&robot).into_iter().map(|i| i.reference).collect();
        assert_eq!(
            now,
            [
                format!("docker.io/library/robot@{digest}"),
                format!("docker.io/library/saw@{digest}")
            ]
        );
        let left: Vec<String> = fields.suspected(&robot).into_iter().map(|i| i.pointer).collect();
        assert_eq!(left, ["/spec/hidden/image"]);
    }
}
