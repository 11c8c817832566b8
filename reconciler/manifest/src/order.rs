//! In which order kinds are applied.
//!
//! What others are defined by comes first: a namespace before what lies in it,
//! a custom resource's definition before the resource, an account and its rights
//! and the network rules before the pods that live under them, configuration
//! before its readers. What stands in the way of every write when its back end
//! is not there yet (webhooks, aggregated APIs) comes last. Pruning goes the
//! other way round.

use tidegate_ids::GroupKind;

/// The highest stage.
pub const LAST_STAGE: u8 = 5;

/// The stage of everything that no rule names: workloads, Services, custom resources.
const ORDINARY: u8 = 4;

const STAGES: &[(u8, &str, &[&str])] = &[
    (0, "", &["Namespace"]),
    (0, "apiextensions.k8s.io", &["CustomResourceDefinition"]),
    (1, "", &["PersistentVolume"]),
    (1, "admissionregistration.k8s.io", &["MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"]),
    (1, "rbac.authorization.k8s.io", &["ClusterRole"]),
    (1, "storage.k8s.io", &["CSIDriver", "StorageClass", "VolumeAttributesClass"]),
    (1, "snapshot.storage.k8s.io", &["VolumeSnapshotClass"]),
    (1, "scheduling.k8s.io", &["PriorityClass"]),
    (1, "node.k8s.io", &["RuntimeClass"]),
    (1, "networking.k8s.io", &["IngressClass"]),
    (1, "gateway.networking.k8s.io", &["GatewayClass"]),
    (1, "cert-manager.io", &["ClusterIssuer"]),
    (1, "external-secrets.io", &["ClusterSecretStore"]),
    (1, "tidegate.dev", &["EnvironmentClass", "Roster", "TrustPolicy"]),
    (2, "", &["LimitRange", "ResourceQuota", "ServiceAccount"]),
    (2, "rbac.authorization.k8s.io", &["ClusterRoleBinding", "Role", "RoleBinding"]),
    (2, "networking.k8s.io", &["NetworkPolicy"]),
    (2, "cert-manager.io", &["Issuer"]),
    (2, "external-secrets.io", &["SecretStore"]),
    (3, "", &["ConfigMap", "PersistentVolumeClaim", "Secret"]),
    (3, "external-secrets.io", &["ClusterExternalSecret", "ExternalSecret"]),
    (
        3,
        "admissionregistration.k8s.io",
        &["MutatingAdmissionPolicyBinding", "ValidatingAdmissionPolicyBinding"],
    ),
    (
        LAST_STAGE,
        "admissionregistration.k8s.io",
        &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
    ),
    (LAST_STAGE, "apiregistration.k8s.io", &["APIService"]),
];

/// The stage in which a kind is applied, from 0 to [`LAST_STAGE`].
#[must_use]
pub fn stage(kind: &GroupKind) -> u8 {
    STAGES
        .iter()
        .find(|(_, group, kinds)| *group == kind.group && kinds.contains(&kind.kind.as_str()))
        .map_or(ORDINARY, |(stage, _, _)| *stage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_need_is_applied_before_them() {
        let order = [
            "Namespace",
            "ClusterRole.rbac.authorization.k8s.io",
            "ServiceAccount",
            "ConfigMap",
            "Deployment.apps",
            "ValidatingWebhookConfiguration.admissionregistration.k8s.io",
        ];
        let stages: Vec<u8> = order.iter().map(|k| stage(&k.parse().unwrap())).collect();
        assert_eq!(stages, [0, 1, 2, 3, 4, LAST_STAGE]);
        assert_eq!(stage(&"Cluster.postgresql.cnpg.io".parse().unwrap()), ORDINARY);
    }
}
