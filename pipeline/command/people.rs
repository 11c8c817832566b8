//! The `ClusterRole`s of people, for a hoster to bind to groups in the pipelines' namespaces.
//!
//! Nobody gets anything by installing them. The verbs `approve`, `reject`, `promote` and
//! `rollback` are on `environments`; bound as they are they hold for every environment of a
//! namespace, and a Role with `resourceNames: [production]` narrows them to one.

use serde_json::json;
use tidegate_schemas::GROUP;

use crate::document::{Document, Right, cluster_role};

const READ: &str = "get list watch";
const WRITE: &str = "create update patch delete";
const NAMESPACED: &str = "approvals environments pipelines promotions releases repositories syncs";
const CLUSTER: &str = "environmentclasses rosters trustpolicies";

/// Every role of people.
pub fn roles() -> Vec<Document> {
    let read = || {
        Right::new(
            GROUP,
            &format!("{NAMESPACED} {CLUSTER}"),
            READ,
            "to see what runs, what waits and why",
        )
    };
    let decide = |verbs: &str| {
        Right::new(
            GROUP,
            "environments",
            verbs,
            "the API server asks for these when a person decides",
        )
    };
    let approvals = Right::new(
        GROUP,
        "approvals",
        "create",
        "an approval or rejection is an object of its maker",
    );
    let promotions =
        Right::new(GROUP, "promotions", "create", "asking for a promotion or a rollback makes one");
    let whole = |name: &str, what: &str, rights: &[Right]| {
        cluster_role(&format!("tidegate-{name}"), what, json!({}), rights)
    };
    vec![
        whole("viewer", "Reads Tidegate's kinds.", &[read()]),
        whole(
            "release-manager",
            "Approves and rejects, asks for promotions and rollbacks.",
            &[read(), approvals.clone(), promotions, decide("approve reject promote rollback")],
        ),
        whole(
            "security-officer",
            "Approves and rejects; decides who is trusted, where it is bound in the whole cluster.",
            &[
                read(),
                approvals,
                decide("approve reject"),
                Right::new(
                    GROUP,
                    "rosters trustpolicies",
                    WRITE,
                    "whose signatures count, and who is who",
                ),
            ],
        ),
        whole(
            "platform-engineer",
            "Sets up repositories, pipelines and environments; classes where it is bound in the whole cluster.",
            &[
                read(),
                Right::new(
                    GROUP,
                    "environments pipelines repositories syncs",
                    WRITE,
                    "what is delivered, and where to",
                ),
                Right::new(GROUP, "environmentclasses", WRITE, "how environments behave"),
            ],
        ),
        whole(
            "auditor",
            "Reads Tidegate's kinds, and the rules that decide who may do what.",
            &[
                read(),
                Right::new(
                    "rbac.authorization.k8s.io",
                    "clusterrolebindings clusterroles rolebindings roles",
                    READ,
                    "who may do what",
                ),
                Right::new(
                    "admissionregistration.k8s.io",
                    "validatingadmissionpolicies validatingadmissionpolicybindings",
                    READ,
                    "that approvals are protected",
                ),
                Right::new("", "events", READ, "what happened lately"),
            ],
        ),
    ]
}
