//! Which lane a kind belongs to.
//!
//! The table is closed: a kind that it does not name belongs to no lane and is
//! refused, so that an operator's new kind cannot slip in unjudged. One exception
//! widens the infra lane: a cache, a database or an ingress proxy is infrastructure
//! even where it is a plain Deployment with a Service, and says so by its label
//! `app.kubernetes.io/component: cache`, `database` or `ingress`.

use tidegate_ids::{GroupKind, LaneName};
use tidegate_manifest::Manifest;

/// The label by which a workload says that it is a cache, a database or an ingress proxy.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";

/// The lanes that own kinds by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Workloads and what belongs to them.
    App,
    /// Namespaces, storage, databases, caches, routes, certificates, quotas, backups.
    Infra,
    /// Network rules, rights, accounts, admission, secret references, TLS options.
    Security,
}

impl Lane {
    /// The lane's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Infra => "infra",
            Self::Security => "security",
        }
    }

    /// The lane of this name, where it owns kinds.
    #[must_use]
    pub fn named(name: &LaneName) -> Option<Self> {
        [Self::App, Self::Infra, Self::Security].into_iter().find(|lane| *name == lane.as_str())
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

use Lane::{App, Infra, Security};

const OWNERS: &[(Lane, &str, &[&str])] = &[
    (App, "", &["ConfigMap", "Pod", "PodTemplate", "Service"]),
    (App, "apps", &["DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"]),
    (App, "batch", &["CronJob", "Job"]),
    (App, "autoscaling", &["HorizontalPodAutoscaler"]),
    (App, "autoscaling.k8s.io", &["VerticalPodAutoscaler"]),
    (App, "policy", &["PodDisruptionBudget"]),
    (App, "monitoring.coreos.com", &["PodMonitor", "Probe", "PrometheusRule", "ServiceMonitor"]),
    (App, "keda.sh", &["ScaledJob", "ScaledObject"]),
    (App, "argoproj.io", &["AnalysisTemplate", "Rollout"]),
    (
        Infra,
        "",
        &["LimitRange", "Namespace", "PersistentVolume", "PersistentVolumeClaim", "ResourceQuota"],
    ),
    (Infra, "storage.k8s.io", &["StorageClass", "VolumeAttributesClass"]),
    (Infra, "snapshot.storage.k8s.io", &["VolumeSnapshot", "VolumeSnapshotClass"]),
    (
        Infra,
        "postgresql.cnpg.io",
        &[
            "Backup",
            "Cluster",
            "Database",
            "ImageCatalog",
            "Pooler",
            "Publication",
            "ScheduledBackup",
            "Subscription",
        ],
    ),
    (Infra, "barmancloud.cnpg.io", &["ObjectStore"]),
    (
        Infra,
        "redis.redis.opstreelabs.in",
        &["Redis", "RedisCluster", "RedisReplication", "RedisSentinel"],
    ),
    (Infra, "networking.k8s.io", &["Ingress", "IngressClass"]),
    (
        Infra,
        "gateway.networking.k8s.io",
        &[
            "BackendTLSPolicy",
            "GRPCRoute",
            "Gateway",
            "HTTPRoute",
            "TCPRoute",
            "TLSRoute",
            "UDPRoute",
        ],
    ),
    (
        Infra,
        "traefik.io",
        &[
            "IngressRoute",
            "IngressRouteTCP",
            "IngressRouteUDP",
            "Middleware",
            "MiddlewareTCP",
            "ServersTransport",
            "ServersTransportTCP",
            "TraefikService",
        ],
    ),
    (Infra, "cert-manager.io", &["Certificate", "Issuer"]),
    (Infra, "velero.io", &["Backup", "Schedule"]),
    (Security, "", &["ServiceAccount"]),
    (Security, "networking.k8s.io", &["NetworkPolicy"]),
    (Security, "cilium.io", &["CiliumNetworkPolicy"]),
    (
        Security,
        "rbac.authorization.k8s.io",
        &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    ),
    (
        Security,
        "admissionregistration.k8s.io",
        &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ],
    ),
    (Security, "external-secrets.io", &["ExternalSecret", "SecretStore"]),
    (Security, "traefik.io", &["TLSOption", "TLSStore"]),
];

/// What a cache, a database or an ingress proxy that is a plain workload consists of.
const BACKING: &[(&str, &[&str])] = &[
    ("", &["ConfigMap", "Service"]),
    ("apps", &["Deployment", "StatefulSet"]),
    ("policy", &["PodDisruptionBudget"]),
    ("monitoring.coreos.com", &["PodMonitor", "ServiceMonitor"]),
];

/// The lane that owns a kind; none when no lane may hold it.
#[must_use]
pub fn owner(kind: &GroupKind) -> Option<Lane> {
    OWNERS
        .iter()
        .find(|(_, group, kinds)| *group == kind.group && kinds.contains(&kind.kind.as_str()))
        .map(|(lane, _, _)| *lane)
}

/// Every kind that a lane may hold, sorted: what its Sync may apply.
#[must_use]
pub fn kinds(lane: &LaneName) -> Vec<GroupKind> {
    let Some(lane) = Lane::named(lane) else { return Vec::new() };
    let backing = if lane == Lane::Infra { BACKING } else { &[] };
    let owned =
        OWNERS.iter().filter(|(owner, ..)| *owner == lane).map(|(_, group, kinds)| (group, kinds));
    let mut found: Vec<GroupKind> = owned
        .chain(backing.iter().map(|(group, kinds)| (group, kinds)))
        .flat_map(|(group, kinds)| kinds.iter().map(|kind| GroupKind::new(*group, *kind)))
        .collect();
    found.sort();
    found
}

/// Whether an infra lane may hold objects of this kind that say by their label that
/// they are a cache, a database or an ingress proxy.
pub(crate) fn may_back(kind: &GroupKind) -> bool {
    BACKING.iter().any(|(group, kinds)| *group == kind.group && kinds.contains(&kind.kind.as_str()))
}

/// Whether the lane may hold the object.
#[must_use]
pub fn may_hold(lane: Lane, manifest: &Manifest) -> bool {
    let kind = &manifest.id().group_kind;
    owner(kind) == Some(lane)
        || (lane == Infra
            && may_back(kind)
            && matches!(manifest.label(COMPONENT_LABEL), Some("cache" | "database" | "ingress")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_owner() {
        for (kind, lane) in [
            ("Deployment.apps", Some(App)),
            ("StatefulSet.apps", Some(App)),
            ("Job.batch", Some(App)),
            ("Service", Some(App)),
            ("ConfigMap", Some(App)),
            ("ServiceMonitor.monitoring.coreos.com", Some(App)),
            ("Namespace", Some(Infra)),
            ("PersistentVolumeClaim", Some(Infra)),
            ("ResourceQuota", Some(Infra)),
            ("Cluster.postgresql.cnpg.io", Some(Infra)),
            ("ScheduledBackup.postgresql.cnpg.io", Some(Infra)),
            ("IngressRoute.traefik.io", Some(Infra)),
            ("Middleware.traefik.io", Some(Infra)),
            ("Certificate.cert-manager.io", Some(Infra)),
            ("TLSOption.traefik.io", Some(Security)),
            ("NetworkPolicy.networking.k8s.io", Some(Security)),
            ("RoleBinding.rbac.authorization.k8s.io", Some(Security)),
            ("ServiceAccount", Some(Security)),
            ("ExternalSecret.external-secrets.io", Some(Security)),
            ("ValidatingAdmissionPolicy.admissionregistration.k8s.io", Some(Security)),
            ("Secret", None),
            ("CustomResourceDefinition.apiextensions.k8s.io", None),
            ("Deployment.example.com", None),
            ("Environment.tidegate.dev", None),
        ] {
            assert_eq!(owner(&kind.parse().unwrap()), lane, "{kind}");
        }
        let mut seen = std::collections::BTreeSet::new();
        for (_, group, kinds) in OWNERS {
            for kind in *kinds {
                assert!(seen.insert((group, kind)), "{kind}.{group} has two owners");
            }
        }
    }
}
