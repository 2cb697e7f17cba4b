//! Expressions that do not compile are refused with the object that has them, as kube-apiserver's validation does.

use barepod_cel::Env;
use barepod_kinds::value::{at, list_at, str_at, text};
use barepod_kinds::{Denied, Invalid, Kind};
use serde_json::Value;

use super::definition::{Sees, env};
use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// The look at policies and at the conditions of webhooks.
pub(crate) struct Expressions;

struct Found(Vec<Invalid>);

impl Found {
    fn check(&mut self, env: &Env, source: &str, field: String) {
        if source.trim().is_empty() {
            return;
        }
        if let Err(issues) = env.compile(source) {
            self.0.push(Invalid {
                field,
                kind: Kind::Invalid,
                value: source.into(),
                detail: format!("compilation failed: {issues}"),
            });
        }
    }

    fn each(&mut self, env: &Env, holder: &Value, key: &str, source: &str, path: &str) {
        for (i, item) in list_at(holder, &[key]).iter().enumerate() {
            self.check(env, text(item, source), format!("{path}{key}[{i}].{source}"));
        }
    }
}

impl Plugin for Expressions {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.group == "admissionregistration.k8s.io"
            && request.subresource.is_empty()
            && request.operation != Operation::Delete
    }

    fn validate(&self, _: &dyn World, request: &Request<'_>, object: &Value, _: &mut Notes) -> Result<(), Refusal> {
        // What is stored stays as it is, whatever is thought of it by now.
        if request.old.is_some_and(|old| {
            at(old, &["spec"]) == at(object, &["spec"]) && at(old, &["webhooks"]) == at(object, &["webhooks"])
        }) {
            return Ok(());
        }
        let mut found = Found(Vec::new());
        let (conditions, all) = (env(Sees::Request), env(Sees::Everything));
        let empty = Value::Null;
        let spec = at(object, &["spec"]).unwrap_or(&empty);
        match request.resource {
            "validatingadmissionpolicies" => {
                found.each(&conditions, spec, "matchConditions", "expression", "spec.");
                found.each(&all, spec, "variables", "expression", "spec.");
                found.each(&all, spec, "validations", "expression", "spec.");
                found.each(&env(Sees::Words), spec, "validations", "messageExpression", "spec.");
                found.each(&all, spec, "auditAnnotations", "valueExpression", "spec.");
            }
            "mutatingadmissionpolicies" => {
                let objects = env(Sees::Objects);
                found.each(&conditions, spec, "matchConditions", "expression", "spec.");
                found.each(&objects, spec, "variables", "expression", "spec.");
                for (i, change) in list_at(spec, &["mutations"]).iter().enumerate() {
                    for key in ["applyConfiguration", "jsonPatch"] {
                        if let Some(source) = str_at(change, &[key, "expression"]) {
                            found.check(&objects, source, format!("spec.mutations[{i}].{key}.expression"));
                        }
                    }
                }
            }
            "validatingwebhookconfigurations" | "mutatingwebhookconfigurations" => {
                for (i, webhook) in list_at(object, &["webhooks"]).iter().enumerate() {
                    let path = format!("webhooks[{i}].");
                    found.each(&conditions, webhook, "matchConditions", "expression", &path);
                }
            }
            _ => {}
        }
        if found.0.is_empty() {
            return Ok(());
        }
        Err(Refusal::Denied(Denied::Invalid(found.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Small, request};
    use serde_json::json;

    #[test]
    fn what_does_not_compile_is_refused() {
        let world = Small::default();
        let group = "admissionregistration.k8s.io";
        let refused = |resource: &str, object: Value| {
            let create = request(Operation::Create, group, resource, None);
            match Expressions.validate(&world, &create, &object, &mut Notes::default()) {
                Ok(()) => Vec::new(),
                Err(Refusal::Denied(Denied::Invalid(errors))) => errors.into_iter().map(|error| error.field).collect(),
                Err(other) => panic!("{other:?}"),
            }
        };
        let policy = |expression: &str, message: &str| {
            json!({"spec": {"matchConditions": [{"name": "a", "expression": "request.operation == 'CREATE'"}],
                "variables": [{"name": "v", "expression": "object.spec"}],
                "validations": [{"expression": expression, "messageExpression": message}]}})
        };
        let policies = "validatingadmissionpolicies";
        assert_eq!(
            refused(policies, policy("variables.v.replicas < params.max", "'no'")),
            [""; 0]
        );
        assert_eq!(
            refused(policies, policy("object.spec.", "'no'")),
            ["spec.validations[0].expression"]
        );
        assert_eq!(
            refused(
                policies,
                policy("true", "string(authorizer.path('/').check('get').allowed())")
            ),
            ["spec.validations[0].messageExpression"]
        );
        let condition =
            |expression: &str| json!({"webhooks": [{"matchConditions": [{"name": "a", "expression": expression}]}]});
        let hooks = "mutatingwebhookconfigurations";
        assert_eq!(refused(hooks, condition("!('a' in object.metadata.labels)")), [""; 0]);
        assert_eq!(
            refused(hooks, condition("params.x")),
            ["webhooks[0].matchConditions[0].expression"]
        );
        let mutation = json!({"spec": {"mutations": [{"patchType": "JSONPatch",
            "jsonPatch": {"expression": "[JSONPatch{op: 'add', path: '/a', value: 1}]"}}]}});
        assert_eq!(refused("mutatingadmissionpolicies", mutation), [""; 0]);
    }
}
