//! The rules, each a function from an object to the findings it gives.
//!
//! Ownership and namespace keep lanes apart; a plain Secret is refused because a
//! repository is no place for one; an image without a digest, or in a field that
//! nobody verifies, would run unproved; a Namespace without its pod-security label
//! leaves the pods in it unrestricted.

use crate::ownership::{COMPONENT_LABEL, Lane, may_back, may_hold, owner};
use tidegate_ids::{GroupKind, LaneName};
use tidegate_manifest::{ImageFields, ImageReference, Manifest, Set};
use tidegate_schemas::Finding;

const POD_SECURITY_LABEL: &str = "pod-security.kubernetes.io/enforce";

/// Judges one lane's rendered set for one environment: `target` is its namespace,
/// `others` are the sets of the other lanes there, `fields` say where its kinds hold images.
/// The findings are sorted; each one refuses the set. An object that two lanes claim is found in
/// both.
#[must_use]
pub fn check(
    lane: &LaneName,
    target: &str,
    set: &Set,
    others: &[(&LaneName, &Set)],
    fields: &ImageFields,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in set {
        let mut found = |rule: &str, message: String| {
            findings.push(Finding {
                rule: rule.to_owned(),
                object: Some(manifest.id().clone()),
                message,
            });
        };
        if let Some(message) = plain_secret(manifest) {
            found("plain-secret", message);
        } else if let Some(message) = foreign_to_lane(lane, manifest) {
            found("lane-ownership", message);
        }
        for message in claims(lane, manifest, others) {
            found("one-lane", message);
        }
        if let Some(message) = outside(target, manifest) {
            found("target-namespace", message);
        }
        if let Some(message) = unrestricted(manifest) {
            found("pod-security-label", message);
        }
        for message in unproved_images(manifest, fields) {
            found("image-digest", message);
        }
        for message in unknown_images(manifest, fields) {
            found("unknown-image-field", message);
        }
    }
    findings.sort();
    findings
}

fn is(manifest: &Manifest, group: &str, kind: &str) -> bool {
    manifest.id().group_kind == GroupKind::new(group, kind)
}

fn plain_secret(manifest: &Manifest) -> Option<String> {
    is(manifest, "", "Secret").then(|| {
        format!(
            "{} ({}) is a Secret in plain text, which no lane may hold: state an ExternalSecret in the lane security, or let an operator make it",
            manifest.id(),
            manifest.origin()
        )
    })
}

fn foreign_to_lane(lane: &LaneName, manifest: &Manifest) -> Option<String> {
    let (id, origin) = (manifest.id(), manifest.origin());
    let Some(known) = Lane::named(lane) else {
        return Some(format!(
            "{id} ({origin}) is in the lane {lane}, which may hold nothing: only the lanes app, infra and security own kinds; move it to one of them"
        ));
    };
    if may_hold(known, manifest) {
        return None;
    }
    let out = match owner(&id.group_kind) {
        None => {
            "belongs to no lane: deliver it by a Sync of its own, outside of pipelines".to_owned()
        }
        Some(owner) if known == Lane::Infra && may_back(&id.group_kind) => format!(
            "belongs to the lane {owner}, and this is {lane}: move it there, or, where it is a cache, a database or an ingress proxy, give it the label {COMPONENT_LABEL}: cache (or database, or ingress)"
        ),
        Some(owner) => format!(
            "belongs to the lane {owner}, and this is {lane}: move it to the folder of {owner}"
        ),
    };
    Some(format!("{id} ({origin}) {out}"))
}

fn claims(lane: &LaneName, manifest: &Manifest, others: &[(&LaneName, &Set)]) -> Vec<String> {
    others
        .iter()
        .filter_map(|(other, set)| Some((other, set.get(manifest.id())?)))
        .map(|(other, twin)| {
            // The same words in both lanes.
            let mut both =
                [(lane.as_str(), manifest.origin()), (other.as_str(), twin.origin())];
            both.sort_unstable();
            let [(one, one_origin), (two, two_origin)] = both;
            format!(
                "{} is claimed by two lanes, {one} ({one_origin}) and {two} ({two_origin}): remove it from one of them",
                manifest.id()
            )
        })
        .collect()
}

fn outside(target: &str, manifest: &Manifest) -> Option<String> {
    let (id, origin) = (manifest.id(), manifest.origin());
    let stated = match &id.namespace {
        Some(namespace) => namespace,
        None if is(manifest, "", "Namespace") => &id.name,
        None => return None,
    };
    (stated != target).then(|| {
        format!(
            "{id} ({origin}) is outside the target namespace {target}: leave the namespace out, or deliver it with the environment whose target that is"
        )
    })
}

fn unrestricted(manifest: &Manifest) -> Option<String> {
    (is(manifest, "", "Namespace") && manifest.label(POD_SECURITY_LABEL).is_none()).then(|| {
        format!(
            "{} ({}) has no label {POD_SECURITY_LABEL}: state restricted, baseline or, with a reason, privileged",
            manifest.id(),
            manifest.origin()
        )
    })
}

fn unproved_images(manifest: &Manifest, fields: &ImageFields) -> Vec<String> {
    let (id, origin) = (manifest.id(), manifest.origin());
    fields
        .images(manifest)
        .into_iter()
        .filter_map(|image| match image.reference.parse::<ImageReference>() {
            Ok(reference) if reference.digest.is_some() => None,
            Ok(_) => Some(format!(
                "{id} ({origin}) names the image {:?} at {} without a digest source: follow its repository in spec.images of the Pipeline, or write it as repository@sha256:…",
                image.reference, image.pointer
            )),
            Err(error) => Some(format!("{id} ({origin}) at {}: {error}", image.pointer)),
        })
        .collect()
}

fn unknown_images(manifest: &Manifest, fields: &ImageFields) -> Vec<String> {
    let (id, origin) = (manifest.id(), manifest.origin());
    fields
        .suspected(manifest)
        .into_iter()
        .map(|image| {
            format!(
                "{id} ({origin}) has {:?} at {}, which looks like an image that would run unverified, because nothing says that {} holds images there: add the kind with its paths to spec.imageFields of the Environment or its EnvironmentClass, or leave the field to the operator's default",
                image.reference, image.pointer, id.group_kind
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn object(api_version: &str, kind: &str, name: &str, labels: &Value) -> Manifest {
        let value = json!({"apiVersion": api_version, "kind": kind,
                           "metadata": {"name": name, "labels": labels}});
        let mut manifest = Manifest::from_value(value, "web.yaml").unwrap();
        manifest.scope_to("clinic-dev", |_| None).unwrap();
        manifest
    }

    fn lane(name: &str) -> LaneName {
        name.parse().unwrap()
    }

    fn set(manifests: impl IntoIterator<Item = Manifest>) -> Set {
        Set::from_manifests(manifests).unwrap()
    }

    fn findings(name: &str, manifest: Manifest) -> Vec<(String, String)> {
        check(&lane(name), "clinic-dev", &set([manifest]), &[], &ImageFields::default())
            .into_iter()
            .map(|f| (f.rule, f.message))
            .collect()
    }

    fn only(name: &str, manifest: Manifest, rule: &str, says: &str) {
        let found = findings(name, manifest);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, rule);
        assert!(found[0].1.contains(says), "{:?} does not say {says:?}", found[0].1);
    }

    #[test]
    fn a_lane_holds_only_what_it_owns() {
        let role = object("rbac.authorization.k8s.io/v1", "RoleBinding", "admin", &json!({}));
        only(
            "app",
            role.clone(),
            "lane-ownership",
            "belongs to the lane security, and this is app",
        );
        assert!(findings("security", role).is_empty());
        let robot = object("example.com/v1", "Robot", "r", &json!({}));
        only("app", robot, "lane-ownership", "belongs to no lane");
        let service = object("v1", "Service", "web", &json!({}));
        only("extra", service, "lane-ownership", "only the lanes app, infra and security");
    }

    #[test]
    fn infra_holds_caches_databases_and_proxies_that_say_so() {
        let redis = |component: &str| {
            object("apps/v1", "StatefulSet", "redis", &json!({COMPONENT_LABEL: component}))
        };
        assert!(findings("infra", redis("cache")).is_empty());
        assert!(findings("infra", redis("database")).is_empty());
        assert!(findings("infra", redis("ingress")).is_empty());
        only("infra", redis("web"), "lane-ownership", "app.kubernetes.io/component: cache");
        let job = object("batch/v1", "Job", "x", &json!({COMPONENT_LABEL: "database"}));
        only("infra", job, "lane-ownership", "belongs to the lane app");
    }

    #[test]
    fn a_plain_secret_is_refused_in_every_lane() {
        for name in ["app", "infra", "security"] {
            let secret = object("v1", "Secret", "db", &json!({}));
            only(name, secret, "plain-secret", "ExternalSecret");
        }
    }

    #[test]
    fn an_object_claimed_by_two_lanes_is_refused_in_both_with_the_same_words() {
        let redis = object("v1", "Service", "redis", &json!({COMPONENT_LABEL: "cache"}));
        let (app, infra) = (lane("app"), lane("infra"));
        let sets = (set([redis.clone()]), set([redis]));
        let in_app =
            check(&app, "clinic-dev", &sets.0, &[(&infra, &sets.1)], &ImageFields::default());
        let in_infra =
            check(&infra, "clinic-dev", &sets.1, &[(&app, &sets.0)], &ImageFields::default());
        assert_eq!(in_app, in_infra);
        assert_eq!(in_app[0].rule, "one-lane");
        assert!(
            in_app[0].message.contains("Service clinic-dev/redis is claimed by two lanes, app")
        );
    }

    #[test]
    fn nothing_lies_outside_the_target_namespace() {
        let value = json!({"apiVersion": "v1", "kind": "Service",
                           "metadata": {"name": "web", "namespace": "kube-system"}});
        let service = Manifest::from_value(value, "web.yaml").unwrap();
        only("app", service, "target-namespace", "outside the target namespace clinic-dev");
        let labels = json!({POD_SECURITY_LABEL: "restricted"});
        let other = object("v1", "Namespace", "clinic-production", &labels);
        only("infra", other, "target-namespace", "clinic-dev");
    }

    #[test]
    fn a_namespace_states_its_pod_security() {
        let bare = object("v1", "Namespace", "clinic-dev", &json!({}));
        only("infra", bare, "pod-security-label", "restricted");
        let labels = json!({POD_SECURITY_LABEL: "restricted"});
        assert!(findings("infra", object("v1", "Namespace", "clinic-dev", &labels)).is_empty());
    }

    #[test]
    fn every_image_has_a_digest() {
        let pod = |image: &str| {
            let value = json!({"apiVersion": "v1", "kind": "Pod",
                               "metadata": {"name": "web", "namespace": "clinic-dev"},
                               "spec": {"containers": [{"image": image}]}});
            Manifest::from_value(value, "web.yaml").unwrap()
        };
        only("app", pod("odoo:17.0"), "image-digest", "/spec/containers/0/image");
        only("app", pod("Odoo:"), "image-digest", "not an image reference");
        assert!(findings("app", pod(&format!("odoo@{DIGEST}"))).is_empty());
        let value = json!({"apiVersion": "cert-manager.io/v1", "kind": "Issuer",
                           "metadata": {"name": "x", "namespace": "clinic-dev"},
                           "spec": {"solver": {"image": "evil"}}});
        let issuer = Manifest::from_value(value, "x.yaml").unwrap();
        only("infra", issuer.clone(), "unknown-image-field", "/spec/solver/image");
        only("infra", issuer.clone(), "unknown-image-field", "spec.imageFields of the Environment");
        let fields = ImageFields::with([(
            GroupKind::new("cert-manager.io", "Issuer"),
            vec!["/spec/solver/image".to_owned()],
        )]);
        let found = check(&lane("infra"), "clinic-dev", &set([issuer]), &[], &fields);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].rule, "image-digest", "a known field needs a digest like any other");
    }
}
