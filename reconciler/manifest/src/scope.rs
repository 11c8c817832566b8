//! Which kinds have no namespace, known without asking a cluster.
//!
//! A release is rendered before any cluster is asked, so identity cannot depend
//! on discovery. The table names the cluster-scoped kinds of Kubernetes itself
//! and of the operators that hosters use; every other kind is namespaced.

use tidegate_ids::GroupKind;

const CLUSTER_SCOPED: &[(&str, &[&str])] = &[
    ("", &["Namespace", "Node", "PersistentVolume"]),
    (
        "admissionregistration.k8s.io",
        &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
    ),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", &["APIService"]),
    ("certificates.k8s.io", &["CertificateSigningRequest", "ClusterTrustBundle"]),
    ("flowcontrol.apiserver.k8s.io", &["FlowSchema", "PriorityLevelConfiguration"]),
    ("networking.k8s.io", &["IngressClass", "IPAddress", "ServiceCIDR"]),
    ("node.k8s.io", &["RuntimeClass"]),
    ("rbac.authorization.k8s.io", &["ClusterRole", "ClusterRoleBinding"]),
    ("resource.k8s.io", &["DeviceClass", "ResourceSlice"]),
    ("scheduling.k8s.io", &["PriorityClass"]),
    (
        "storage.k8s.io",
        &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"],
    ),
    ("snapshot.storage.k8s.io", &["VolumeSnapshotClass", "VolumeSnapshotContent"]),
    ("gateway.networking.k8s.io", &["GatewayClass"]),
    ("policy.networking.k8s.io", &["AdminNetworkPolicy", "BaselineAdminNetworkPolicy"]),
    ("cert-manager.io", &["ClusterIssuer"]),
    ("trust.cert-manager.io", &["Bundle"]),
    ("external-secrets.io", &["ClusterExternalSecret", "ClusterPushSecret", "ClusterSecretStore"]),
    ("postgresql.cnpg.io", &["ClusterImageCatalog"]),
    ("keda.sh", &["ClusterTriggerAuthentication"]),
    ("cilium.io", &["CiliumClusterwideNetworkPolicy"]),
    ("kyverno.io", &["ClusterPolicy"]),
    ("kwok.x-k8s.io", &["Stage", "ClusterAttach", "ClusterExec", "ClusterLogs", "Metric"]),
    ("tidegate.dev", &["EnvironmentClass", "Roster", "TrustPolicy"]),
];

/// Whether objects of this kind live in a namespace. A kind that is not in the
/// table does.
#[must_use]
pub fn is_namespaced(kind: &GroupKind) -> bool {
    !CLUSTER_SCOPED
        .iter()
        .any(|(group, kinds)| *group == kind.group && kinds.contains(&kind.kind.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_scoped_kinds_are_told_from_namespaced_ones() {
        for text in ["Namespace", "ClusterRole.rbac.authorization.k8s.io", "Roster.tidegate.dev"] {
            assert!(!is_namespaced(&text.parse().unwrap()), "{text}");
        }
        for text in ["Service", "Deployment.apps", "Cluster.postgresql.cnpg.io", "Node.example.com"]
        {
            assert!(is_namespaced(&text.parse().unwrap()), "{text}");
        }
    }
}
