//! YAML documents with a comment: what `install` and `bootstrap` print.
//!
//! Every right that is handed out is printed with its reason, because the reader is
//! somebody who has to answer for granting it.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// One object and what its reader should know.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Lines of comment.
    pub comment: Vec<String>,
    /// The object.
    pub value: Value,
}

impl Document {
    /// An object with one line of comment.
    pub fn new(comment: &str, value: Value) -> Self {
        Self { comment: vec![comment.to_owned()], value }
    }
}

/// All of them as one YAML stream.
pub fn stream(documents: &[Document]) -> String {
    let mut out = String::new();
    for document in documents {
        out.push_str("---\n");
        for line in &document.comment {
            let _infallible = writeln!(out, "# {line}");
        }
        out.push_str(&tidegate_manifest::to_yaml(&document.value));
    }
    out
}

/// One rule of a role, and why it is needed.
#[derive(Debug, Clone)]
pub struct Right {
    group: String,
    resources: Vec<String>,
    names: Vec<String>,
    verbs: Vec<String>,
    why: String,
}

impl Right {
    /// On these resources of an API group, as `a b c`.
    pub fn new(group: &str, resources: &str, verbs: &str, why: &str) -> Self {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Self {
            group: group.to_owned(),
            resources: words(resources),
            names: Vec::new(),
            verbs: words(verbs),
            why: why.to_owned(),
        }
    }

    /// Only on objects of these names.
    pub fn named<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Its API group.
    pub fn group(&self) -> &str {
        &self.group
    }

    fn value(&self) -> Value {
        let mut rule = json!({
            "apiGroups": [self.group], "resources": self.resources, "verbs": self.verbs,
        });
        if !self.names.is_empty() {
            rule["resourceNames"] = json!(self.names);
        }
        rule
    }

    fn reason(&self) -> String {
        let names = if self.names.is_empty() {
            String::new()
        } else {
            format!(" {}", self.names.join(", "))
        };
        format!("{} {}{names}: {}", self.verbs.join(","), self.resources.join(","), self.why)
    }
}

/// A ClusterRole.
pub fn cluster_role(name: &str, what: &str, labels: Value, rights: &[Right]) -> Document {
    role_of("ClusterRole", &json!({"name": name, "labels": labelled(labels)}), what, rights)
}

/// A Role.
pub fn role(namespace: &str, name: &str, what: &str, rights: &[Right]) -> Document {
    let metadata = json!({"name": name, "namespace": namespace, "labels": labelled(json!({}))});
    role_of("Role", &metadata, what, rights)
}

fn role_of(kind: &str, metadata: &Value, what: &str, rights: &[Right]) -> Document {
    let rules: Vec<Value> = rights.iter().map(Right::value).collect();
    let mut comment = vec![what.to_owned()];
    comment.extend(rights.iter().map(|right| format!("- {}", right.reason())));
    let value = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "rules": rules,
    });
    Document { comment, value }
}

/// Binds a ClusterRole everywhere.
pub fn cluster_role_binding(name: &str, role: &str, account: (&str, &str)) -> Document {
    let value = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": labelled(json!({}))},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [subject(account)],
    });
    Document { comment: Vec::new(), value }
}

/// Binds a role (kind and name) in one namespace to a service account (namespace and name).
pub fn role_binding(
    namespace: &str,
    name: &str,
    role: (&str, &str),
    account: (&str, &str),
) -> Document {
    let value = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace, "labels": labelled(json!({}))},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1},
        "subjects": [subject(account)],
    });
    Document { comment: Vec::new(), value }
}

/// A namespace whose pods are held to the `restricted` profile (Pod Security Standards).
pub fn namespace(name: &str, comment: &str, labels: Value) -> Document {
    let mut all = labelled(labels);
    for mode in ["enforce", "audit", "warn"] {
        all[format!("pod-security.kubernetes.io/{mode}")] = Value::from("restricted");
    }
    Document::new(
        comment,
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": all}}),
    )
}

/// A service account that no pod gets a token of unasked.
pub fn service_account(namespace: &str, name: &str, comment: &str) -> Document {
    Document::new(
        comment,
        json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": false,
            "metadata": {"name": name, "namespace": namespace, "labels": labelled(json!({}))},
        }),
    )
}

fn subject((namespace, name): (&str, &str)) -> Value {
    json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
}

/// With the labels of everything that this program prints.
pub fn labelled(labels: Value) -> Value {
    let mut all =
        Map::from_iter([("app.kubernetes.io/part-of".to_owned(), Value::from("tidegate"))]);
    if let Value::Object(own) = labels {
        all.extend(own);
    }
    Value::Object(all)
}
