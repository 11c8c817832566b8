//! The admission policies that ship with the CRDs.
//!
//! They make the API server itself enforce who may say what: an Approval is its maker's own
//! word, a Release and every status are the engine's, a Sync applies as an account that its
//! maker could be. No webhook server stands behind them, so they hold while Tidegate is down.
//!
//! Two rules shape them. Nothing matches a plain UPDATE of Approvals, Promotions or Releases:
//! their spec is immutable by a CRD rule, and a policy on every UPDATE blocks the garbage
//! collector's finalizers. And an impersonated request is told from an own one by a key of
//! `userInfo.extra` that authentication sets and impersonation lacks (KEP-4193).

mod images;

use serde_json::{Value, json};

use crate::{DEPLOYERS_NAMESPACE, GROUP};

pub use images::{ENFORCE, VERIFIED_IMAGES, VERIFIED_IMAGES_LABEL};

/// The `userInfo.extra` key that certificates and bound service account tokens carry, and
/// OpenID Connect tokens with a `jti` claim.
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// The label of Syncs that a pipeline made. Only the engine sets it.
pub const PIPELINE_LABEL: &str = "tidegate.dev/pipeline";

/// Identities of Kubernetes' own controllers that delete what a namespace or an owner leaves
/// behind; the last one where the controller manager runs without an account for each.
const COLLECTORS: [&str; 3] = [
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:namespace-controller",
    "system:kube-controller-manager",
];

/// Whom the policies trust with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    engine: String,
    credential: String,
}

impl Admission {
    /// For an engine that runs as this service account. `credential` is the `userInfo.extra` key
    /// that proves a person's own credential: [`CREDENTIAL_ID`], or another one that the API
    /// server's authentication sets.
    #[must_use]
    pub fn new(namespace: &str, account: &str, credential: &str) -> Self {
        Self {
            engine: format!("system:serviceaccount:{namespace}:{account}"),
            credential: credential.to_owned(),
        }
    }

    /// Every ValidatingAdmissionPolicy, each followed by its binding.
    #[must_use]
    pub fn policies(&self) -> Vec<Value> {
        let policies = [
            self.approvals(),
            self.promotions(),
            self.syncs(),
            self.records_made(),
            self.records_deleted(),
            self.pipeline_syncs_deleted(),
            self.statuses(),
        ];
        policies
            .into_iter()
            .flat_map(|policy| {
                let binding = binding(&policy);
                [policy, binding]
            })
            .chain(self.on_images())
            .collect()
    }

    fn approvals(&self) -> Value {
        let validations = [
            no_machine("an approval"),
            rule(
                "object.spec.user == variables.user",
                "'spec.user is ' + object.spec.user + ', but this request was made by ' + variables.user + ': an approval is its maker\\'s own word; set spec.user to your own user name, or use tidegate approve'",
            ),
            rule(
                "!has(object.spec.groups) || object.spec.groups.all(g, g in variables.groups)",
                "variables.user + ' is not in the group ' + object.spec.groups.filter(g, !(g in variables.groups)).join(', ') + ' that spec.groups claims: name only groups that you are in (kubectl auth whoami)'",
            ),
            rule(
                "!has(object.spec.groups) || object.spec.groups.all(g, !g.startsWith('system:'))",
                "'spec.groups names a group that starts with system:, which are machines\\' groups: name only groups of people'",
            ),
            self.own_credential("an approval"),
            rule(
                "authorizer.group('tidegate.dev').resource('environments').namespace(request.namespace).name(object.spec.environment).check(variables.verb).allowed()",
                "variables.user + ' may not ' + variables.verb + ' changes to the environment ' + object.spec.environment + ' of the namespace ' + request.namespace + ': ask whoever manages roles there for the verb ' + variables.verb + ' on environments/' + object.spec.environment",
            ),
        ];
        let variables = [
            user(),
            groups(),
            variable("verb", "object.spec.decision == 'Reject' ? 'reject' : 'approve'"),
        ];
        policy("approvals", "CREATE", &["approvals"], &variables, &validations)
    }

    fn promotions(&self) -> Value {
        let by_person = |rule: Value| exempting("variables.engine", rule);
        let validations = [
            rule(
                "!variables.engine || !has(object.spec.requestedBy)",
                "'a promotion that Tidegate makes has no requestedBy: leave it out'",
            ),
            by_person(no_machine("a promotion")),
            by_person(rule(
                "has(object.spec.requestedBy) && object.spec.requestedBy == variables.user",
                "'spec.requestedBy must be ' + variables.user + ', who makes this request: a promotion is asked for in one\\'s own name; set it so, or use tidegate promote or tidegate rollback'",
            )),
            by_person(self.own_credential("a promotion")),
            by_person(rule(
                "authorizer.group('tidegate.dev').resource('environments').namespace(request.namespace).name(object.spec.environment).check(variables.verb).allowed()",
                "variables.user + ' may not ' + variables.verb + ' in the environment ' + object.spec.environment + ' of the namespace ' + request.namespace + ': ask whoever manages roles there for the verb ' + variables.verb + ' on environments/' + object.spec.environment",
            )),
        ];
        let variables = [
            user(),
            self.is_engine(),
            variable(
                "verb",
                "object.spec.?kind.orValue('Promote') == 'Rollback' ? 'rollback' : 'promote'",
            ),
        ];
        policy("promotions", "CREATE", &["promotions"], &variables, &validations)
    }

    fn syncs(&self) -> Value {
        let label = format!(
            "has(o.metadata.labels) && '{PIPELINE_LABEL}' in o.metadata.labels ? o.metadata.labels['{PIPELINE_LABEL}'] : ''"
        );
        let of = |object: &str| label.replace("o.metadata", &format!("{object}.metadata"));
        let (new, old) = (of("object"), format!("oldObject == null ? '' : ({})", of("oldObject")));
        let validations = [
            rule(
                "variables.engine || (variables.pipeline == '' && variables.pipelineBefore == '')",
                &format!(
                    "'this Sync belongs to a pipeline (label {PIPELINE_LABEL}), and only Tidegate writes those: change the Pipeline, Environment or EnvironmentClass, or make a Sync without that label'"
                ),
            ),
            exempting(
                "variables.engine",
                rule(
                    &format!(
                        "authorizer.group('').resource('serviceaccounts').namespace('{DEPLOYERS_NAMESPACE}').name(object.spec.account).check('impersonate').allowed()"
                    ),
                    &format!(
                        "variables.user + ' may not use the account ' + object.spec.account + ': a Sync applies everything as that account, so its maker needs the verb impersonate on serviceaccounts/' + object.spec.account + ' in the namespace {DEPLOYERS_NAMESPACE}; ask a platform engineer for it'"
                    ),
                ),
            ),
        ];
        let variables = [
            user(),
            self.is_engine(),
            variable("pipeline", &new),
            variable("pipelineBefore", &old),
        ];
        let mut policy = policy("syncs", "CREATE", &["syncs"], &variables, &validations);
        let operations = &mut policy["spec"]["matchConstraints"]["resourceRules"][0]["operations"];
        *operations = json!(["CREATE", "UPDATE"]);
        policy["spec"]["matchConditions"] = json!([{
            "name": "what-it-does-changes",
            "expression": format!("request.operation == 'CREATE' || object.spec != oldObject.spec || ({}) != ({})", new, of("oldObject")),
        }]);
        policy
    }

    /// What Tidegate alone makes.
    fn records_made(&self) -> Value {
        let validations = [rule(
            "variables.engine",
            "variables.user + ' may not make a Release: Tidegate makes one from each verified candidate; push to the source repository or the registry, and see tidegate get for what became of it'",
        )];
        policy("releases", "CREATE", &["releases"], &[user(), self.is_engine()], &validations)
    }

    /// What stays as it was written.
    fn records_deleted(&self) -> Value {
        let collectors = COLLECTORS.map(|name| format!("variables.user == '{name}'")).join(" || ");
        let validations = [rule(
            &format!("variables.engine || {collectors}"),
            "variables.user + ' may not delete ' + request.resource.resource + ': they are the record of what was decided; Tidegate deletes them when their time is over, and so does deleting the whole namespace'",
        )];
        policy(
            "records",
            "DELETE",
            &["approvals", "promotions", "releases"],
            &[user(), self.is_engine()],
            &validations,
        )
    }

    /// A pipeline's Sync knows which commit it accepted last; made anew, it would accept older ones.
    fn pipeline_syncs_deleted(&self) -> Value {
        let collectors = COLLECTORS.map(|name| format!("variables.user == '{name}'")).join(" || ");
        let validations = [rule(
            &format!("variables.engine || {collectors}"),
            "variables.user + ' may not delete this Sync: it belongs to a pipeline and remembers which commit it accepted last; take the environment or lane out of the Pipeline instead'",
        )];
        let mut policy = policy(
            "pipeline-syncs",
            "DELETE",
            &["syncs"],
            &[user(), self.is_engine()],
            &validations,
        );
        policy["spec"]["matchConditions"] = json!([{
            "name": "belongs-to-a-pipeline",
            "expression": format!("has(oldObject.metadata.labels) && '{PIPELINE_LABEL}' in oldObject.metadata.labels"),
        }]);
        policy
    }

    fn statuses(&self) -> Value {
        let validations = [rule(
            "variables.engine",
            "variables.user + ' may not write the status of ' + request.resource.resource + ': it says what Tidegate saw and decided, and only its account ' + variables.account + ' writes it'",
        )];
        let variables =
            [user(), self.is_engine(), variable("account", &format!("'{}'", self.engine))];
        let resources = ["releases", "promotions", "pipelines", "syncs", "repositories"]
            .map(|kind| format!("{kind}/status"));
        let resources: Vec<&str> = resources.iter().map(String::as_str).collect();
        policy("statuses", "UPDATE", &resources, &variables, &validations)
    }

    /// The engine by its own token: nobody becomes it by impersonation. Its tokens are bound
    /// ones, which carry [`CREDENTIAL_ID`] whatever proves a person's credential.
    fn is_engine(&self) -> Value {
        variable(
            "engine",
            &format!(
                "request.userInfo.username == '{}' && has(request.userInfo.extra) && '{CREDENTIAL_ID}' in request.userInfo.extra",
                self.engine
            ),
        )
    }

    fn own_credential(&self, what: &str) -> Value {
        rule(
            &format!(
                "has(request.userInfo.extra) && '{}' in request.userInfo.extra",
                self.credential
            ),
            &format!(
                "'{what} must be made with ' + variables.user + '\\'s own credential: this request is impersonated, or its credential carries no {}; sign in as yourself (an OpenID Connect token needs a jti claim, or name another key by tidegate install --credential-extra)'",
                self.credential
            ),
        )
    }
}

fn no_machine(what: &str) -> Value {
    rule(
        "!variables.user.startsWith('system:')",
        &format!(
            "variables.user + ' is a machine: {what} is a person\\'s word; make it with the credential of a person'"
        ),
    )
}

fn user() -> Value {
    variable("user", "request.userInfo.username")
}

fn groups() -> Value {
    variable("groups", "has(request.userInfo.groups) ? request.userInfo.groups : []")
}

fn variable(name: &str, expression: &str) -> Value {
    json!({"name": name, "expression": expression})
}

/// One validation; `message` is a CEL expression.
fn rule(expression: &str, message: &str) -> Value {
    json!({"expression": expression, "messageExpression": message, "reason": "Forbidden"})
}

fn exempting(condition: &str, mut rule: Value) -> Value {
    let expression = rule["expression"].as_str().unwrap_or("false");
    rule["expression"] = Value::from(format!("{condition} || ({expression})"));
    rule
}

fn policy(
    name: &str,
    operation: &str,
    resources: &[&str],
    variables: &[Value],
    validations: &[Value],
) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": format!("tidegate-{name}")},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [GROUP],
                "apiVersions": ["*"],
                "operations": [operation],
                "resources": resources,
            }]},
            "variables": variables,
            "validations": validations,
        },
    })
}

fn binding(policy: &Value) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": policy["metadata"]["name"]},
        "spec": {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::admissionregistration::v1::{
        ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    };

    fn shipped() -> Vec<Value> {
        Admission::new("tidegate-system", "tidegate", CREDENTIAL_ID).policies()
    }

    fn parsed() -> Vec<ValidatingAdmissionPolicy> {
        shipped()
            .into_iter()
            .filter(|p| p["kind"] == "ValidatingAdmissionPolicy")
            .map(|p| serde_json::from_value(p).unwrap())
            .collect()
    }

    #[test]
    fn each_policy_denies_by_a_binding_of_its_own() {
        let bindings: Vec<ValidatingAdmissionPolicyBinding> = shipped()
            .into_iter()
            .filter(|p| p["kind"] == "ValidatingAdmissionPolicyBinding")
            .map(|p| serde_json::from_value(p).unwrap())
            .collect();
        let bound: Vec<_> = bindings.iter().map(|b| b.spec.policy_name.clone()).collect();
        let names: Vec<_> = parsed().iter().filter_map(|p| p.metadata.name.clone()).collect();
        assert_eq!(bound, names);
        assert!(bindings.iter().all(|b| { b.spec.validation_actions == ["Deny"] }));
    }

    #[test]
    fn no_policy_stands_in_the_way_of_the_garbage_collectors_finalizers() {
        for policy in parsed() {
            let spec = policy.spec.unwrap();
            let guarded = spec.match_conditions.is_some();
            for rule in spec.match_constraints.unwrap().resource_rules.unwrap() {
                let updates = rule.operations.unwrap().iter().any(|o| o == "UPDATE" || o == "*");
                let plain = rule.resources.unwrap().iter().any(|r| !r.ends_with("/status"));
                assert!(!(updates && plain) || guarded, "{:?}", policy.metadata.name);
            }
        }
    }

    #[test]
    fn another_credential_key_replaces_the_default_for_people_only() {
        let policies = Admission::new("tg", "engine", "example.com/session").policies();
        let approvals = policies[0].to_string();
        assert!(approvals.contains("example.com/session") && !approvals.contains(CREDENTIAL_ID));
        let promotions = policies[2].to_string();
        assert!(promotions.contains("system:serviceaccount:tg:engine"));
        assert!(promotions.contains(CREDENTIAL_ID), "the engine's own token is a bound one");
    }
}
