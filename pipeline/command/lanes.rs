//! What the deployer accounts of each lane may do in their target namespace, and what
//! the engine watches for them.
//!
//! The kinds are those that `tidegate-policy` lets a lane hold (a test compares them),
//! without the cluster-scoped ones: a lane's account has rights in its own namespace
//! and nowhere else. Who wants a lane to hold a `StorageClass` or an admission policy
//! grants that by a binding of their own, or delivers it by a Sync of its own.

use serde_json::json;

use crate::document::{Document, Right, cluster_role};

/// Group, resource and kind.
type Resource = (&'static str, &'static str, &'static str);

const EVERYTHING: &str = "get list watch create patch update delete";

/// The label of the `ClusterRole`s whose rules the engine's `tidegate-watch` gets.
pub const AGGREGATE: &str = "tidegate.dev/aggregate-to-watch";

const APP: &[Resource] = &[
    ("", "configmaps", "ConfigMap"),
    ("", "pods", "Pod"),
    ("", "podtemplates", "PodTemplate"),
    ("", "services", "Service"),
    ("apps", "daemonsets", "DaemonSet"),
    ("apps", "deployments", "Deployment"),
    ("apps", "replicasets", "ReplicaSet"),
    ("apps", "statefulsets", "StatefulSet"),
    ("argoproj.io", "analysistemplates", "AnalysisTemplate"),
    ("argoproj.io", "rollouts", "Rollout"),
    ("autoscaling", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    ("autoscaling.k8s.io", "verticalpodautoscalers", "VerticalPodAutoscaler"),
    ("batch", "cronjobs", "CronJob"),
    ("batch", "jobs", "Job"),
    ("keda.sh", "scaledjobs", "ScaledJob"),
    ("keda.sh", "scaledobjects", "ScaledObject"),
    ("monitoring.coreos.com", "podmonitors", "PodMonitor"),
    ("monitoring.coreos.com", "probes", "Probe"),
    ("monitoring.coreos.com", "prometheusrules", "PrometheusRule"),
    ("monitoring.coreos.com", "servicemonitors", "ServiceMonitor"),
    ("policy", "poddisruptionbudgets", "PodDisruptionBudget"),
];

const INFRA: &[Resource] = &[
    ("", "limitranges", "LimitRange"),
    ("", "persistentvolumeclaims", "PersistentVolumeClaim"),
    ("", "resourcequotas", "ResourceQuota"),
    ("barmancloud.cnpg.io", "objectstores", "ObjectStore"),
    ("cert-manager.io", "certificates", "Certificate"),
    ("cert-manager.io", "issuers", "Issuer"),
    ("gateway.networking.k8s.io", "backendtlspolicies", "BackendTLSPolicy"),
    ("gateway.networking.k8s.io", "gateways", "Gateway"),
    ("gateway.networking.k8s.io", "grpcroutes", "GRPCRoute"),
    ("gateway.networking.k8s.io", "httproutes", "HTTPRoute"),
    ("gateway.networking.k8s.io", "tcproutes", "TCPRoute"),
    ("gateway.networking.k8s.io", "tlsroutes", "TLSRoute"),
    ("gateway.networking.k8s.io", "udproutes", "UDPRoute"),
    ("networking.k8s.io", "ingresses", "Ingress"),
    ("postgresql.cnpg.io", "backups", "Backup"),
    ("postgresql.cnpg.io", "clusters", "Cluster"),
    ("postgresql.cnpg.io", "databases", "Database"),
    ("postgresql.cnpg.io", "imagecatalogs", "ImageCatalog"),
    ("postgresql.cnpg.io", "poolers", "Pooler"),
    ("postgresql.cnpg.io", "publications", "Publication"),
    ("postgresql.cnpg.io", "scheduledbackups", "ScheduledBackup"),
    ("postgresql.cnpg.io", "subscriptions", "Subscription"),
    ("redis.redis.opstreelabs.in", "redis", "Redis"),
    ("redis.redis.opstreelabs.in", "redisclusters", "RedisCluster"),
    ("redis.redis.opstreelabs.in", "redisreplications", "RedisReplication"),
    ("redis.redis.opstreelabs.in", "redissentinels", "RedisSentinel"),
    ("snapshot.storage.k8s.io", "volumesnapshots", "VolumeSnapshot"),
    ("traefik.io", "ingressroutes", "IngressRoute"),
    ("traefik.io", "ingressroutetcps", "IngressRouteTCP"),
    ("traefik.io", "ingressrouteudps", "IngressRouteUDP"),
    ("traefik.io", "middlewares", "Middleware"),
    ("traefik.io", "middlewaretcps", "MiddlewareTCP"),
    ("traefik.io", "serverstransports", "ServersTransport"),
    ("traefik.io", "serverstransporttcps", "ServersTransportTCP"),
    ("traefik.io", "traefikservices", "TraefikService"),
    ("velero.io", "backups", "Backup"),
    ("velero.io", "schedules", "Schedule"),
];

/// A cache or a database that is a plain workload belongs to infra; RBAC knows no labels, so
/// that only such ones are held is the policy's part.
const BACKING: &[Resource] = &[
    ("", "configmaps", "ConfigMap"),
    ("", "services", "Service"),
    ("apps", "deployments", "Deployment"),
    ("apps", "statefulsets", "StatefulSet"),
    ("monitoring.coreos.com", "podmonitors", "PodMonitor"),
    ("monitoring.coreos.com", "servicemonitors", "ServiceMonitor"),
    ("policy", "poddisruptionbudgets", "PodDisruptionBudget"),
];

const SECURITY: &[Resource] = &[
    ("", "serviceaccounts", "ServiceAccount"),
    ("cilium.io", "ciliumnetworkpolicies", "CiliumNetworkPolicy"),
    ("external-secrets.io", "externalsecrets", "ExternalSecret"),
    ("external-secrets.io", "secretstores", "SecretStore"),
    ("networking.k8s.io", "networkpolicies", "NetworkPolicy"),
    ("rbac.authorization.k8s.io", "rolebindings", "RoleBinding"),
    ("rbac.authorization.k8s.io", "roles", "Role"),
    ("traefik.io", "tlsoptions", "TLSOption"),
    ("traefik.io", "tlsstores", "TLSStore"),
];

/// Cluster-scoped kinds and bystanders that Syncs may hold or whose state explains health.
const CLUSTER_WIDE: &[Resource] = &[
    ("", "endpoints", "Endpoints"),
    ("", "events", "Event"),
    ("", "namespaces", "Namespace"),
    ("", "persistentvolumes", "PersistentVolume"),
    ("", "replicationcontrollers", "ReplicationController"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies", ""),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", ""),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", ""),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", ""),
    ("apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition"),
    ("discovery.k8s.io", "endpointslices", "EndpointSlice"),
    ("networking.k8s.io", "ingressclasses", "IngressClass"),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "clusterroles", "ClusterRole"),
    ("scheduling.k8s.io", "priorityclasses", "PriorityClass"),
    ("storage.k8s.io", "storageclasses", "StorageClass"),
    ("storage.k8s.io", "volumeattributesclasses", "VolumeAttributesClass"),
];

/// The lanes that have a role.
pub const LANES: [&str; 3] = ["app", "infra", "security"];

/// The name of a lane's role; none for a lane that may hold nothing.
pub fn role_name(lane: &str) -> Option<String> {
    LANES.contains(&lane).then(|| format!("tidegate-lane-{lane}"))
}

fn rights(resources: &[Resource], verbs: &str, why: &str) -> Vec<Right> {
    let mut groups: Vec<&str> = resources.iter().map(|r| r.0).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
        .into_iter()
        .map(|group| {
            let names: Vec<&str> = resources.iter().filter(|r| r.0 == group).map(|r| r.1).collect();
            Right::new(group, &names.join(" "), verbs, why)
        })
        .collect()
}

/// The `ClusterRole`s of the lanes; `bootstrap` binds them in each target namespace.
pub fn lane_roles() -> Vec<Document> {
    let read = |group: &str, resources: &str| {
        Right::new(group, resources, "get list watch", "says why workloads are not healthy")
    };
    let mut app = rights(APP, EVERYTHING, "what the app lane may hold");
    app.push(read("", "events"));
    let mut infra = rights(INFRA, EVERYTHING, "what the infra lane may hold");
    infra.extend(rights(BACKING, EVERYTHING, "a cache or database that is a plain workload"));
    infra.extend([read("", "events pods"), read("apps", "replicasets")]);
    let mut security = rights(SECURITY, EVERYTHING, "what the security lane may hold");
    security.push(Right::new(
        "rbac.authorization.k8s.io",
        "roles",
        "bind escalate",
        "roles in Git may grant what the account itself does not hold, within the target only",
    ));
    [("app", app), ("infra", infra), ("security", security)]
        .into_iter()
        .map(|(lane, rights)| {
            let what = format!(
                "The lane {lane}'s accounts, in their target namespace only (bootstrap binds this)."
            );
            cluster_role(&format!("tidegate-lane-{lane}"), &what, json!({}), &rights)
        })
        .collect()
}

fn built_in(group: &str) -> bool {
    !group.contains('.')
        || (group.ends_with(".k8s.io")
            && !group.starts_with("gateway.")
            && !group.starts_with("snapshot.")
            && group != "autoscaling.k8s.io")
}

/// What the engine watches: one ClusterRole that aggregates, one for Kubernetes' own kinds and
/// one for each operator's.
pub fn watch_roles() -> Vec<Document> {
    let all: Vec<Resource> =
        [APP, INFRA, SECURITY, CLUSTER_WIDE].iter().flat_map(|l| l.iter().copied()).collect();
    let (own, foreign): (Vec<Resource>, Vec<Resource>) =
        all.into_iter().partition(|r| built_in(r.0));
    let labels = json!({AGGREGATE: "true"});
    let verbs = "get list watch";
    let mut watch = Document::new(
        &format!(
            "Everything the engine watches: drift is an event, never a poll. Secrets are not in it. Another operator's kinds join by a ClusterRole with the label {AGGREGATE}: \"true\"."
        ),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "tidegate-watch", "labels": crate::document::labelled(json!({}))},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": labels}]},
            "rules": [],
        }),
    );
    watch.comment.push("The API server fills in its rules.".to_owned());
    let kubernetes = rights(&own, verbs, "drift and health of what lanes hold");
    let mut documents = vec![
        watch,
        cluster_role(
            "tidegate-watch-kubernetes",
            "Kubernetes' own kinds.",
            labels.clone(),
            &kubernetes,
        ),
    ];
    for right in rights(&foreign, verbs, "drift and health of what lanes hold") {
        let group = right.group().to_owned();
        documents.push(cluster_role(
            &format!("tidegate-watch-{group}"),
            &format!("Kinds of {group}, where that operator is installed."),
            labels.clone(),
            &[right],
        ));
    }
    documents
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_ids::GroupKind;
    use tidegate_policy::{Lane, owner};

    #[test]
    fn a_lanes_account_may_write_only_what_the_policy_lets_the_lane_hold() {
        for (lane, resources) in
            [(Lane::App, APP), (Lane::Infra, INFRA), (Lane::Security, SECURITY)]
        {
            for (group, _, kind) in resources {
                assert_eq!(owner(&GroupKind::new(*group, *kind)), Some(lane), "{kind}.{group}");
            }
        }
        for (group, _, kind) in BACKING {
            assert_eq!(owner(&GroupKind::new(*group, *kind)), Some(Lane::App), "{kind}.{group}");
        }
    }

    #[test]
    fn no_role_of_a_lane_and_nothing_that_is_watched_holds_secrets() {
        for document in lane_roles().iter().chain(&watch_roles()) {
            let rules = document.value["rules"].to_string();
            assert!(!rules.contains("\"secrets\"") && !rules.contains('*'), "{rules}");
        }
    }
}
