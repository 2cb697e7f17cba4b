//! Nobody writes roles and bindings that give more than the writer has.

use barepod_auth::rbac::{BindingError, GROUP, Source, check_binding, check_role};
use serde_json::Value;

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// The plugin.
pub(crate) struct RbacEscalation;

impl Plugin for RbacEscalation {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.group == GROUP && request.operation != Operation::Delete && !request.user.is_master()
    }

    fn validate(&self, world: &dyn World, request: &Request<'_>, new: &Value, _: &mut Notes) -> Result<(), Refusal> {
        let Some(source) = Source::of_resource(request.resource) else {
            return Ok(());
        };
        let mut result = Ok(());
        world.policy(&mut |policy| {
            result = match source {
                Source::ClusterRole | Source::Role => {
                    let checked = check_role(policy, request.user, source, request.namespace, new, request.old);
                    checked.map_err(Refusal::forbidden)
                }
                Source::ClusterRoleBinding | Source::RoleBinding => {
                    let checked = check_binding(policy, request.user, request.namespace, new, request.old);
                    checked.map_err(|error| match error {
                        BindingError::NoRole { resource, name } => Refusal::NotFound {
                            group: GROUP,
                            resource,
                            name,
                        },
                        BindingError::Escalation(why) => Refusal::forbidden(why),
                    })
                }
            };
        });
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Small, handle, request};
    use serde_json::json;

    #[test]
    fn nobody_gives_more_than_they_have() {
        let mut world = Small::default();
        let create = request(Operation::Create, GROUP, "roles", None);
        let role =
            json!({"metadata": {"name": "x"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
        assert!(
            handle(&RbacEscalation, &world, &create, role.clone())
                .unwrap_err()
                .contains("not currently held")
        );
        world.1.set(Source::Role, "ns", "own", Some(&role));
        let binding =
            json!({"roleRef": {"kind": "Role", "name": "own"}, "subjects": [{"kind": "User", "name": "bob"}]});
        world.1.set(Source::RoleBinding, "ns", "own", Some(&binding));
        assert!(handle(&RbacEscalation, &world, &create, role).is_ok());
        let create = request(Operation::Create, GROUP, "rolebindings", None);
        let missing = json!({"roleRef": {"kind": "Role", "name": "none"}});
        assert!(
            handle(&RbacEscalation, &world, &create, missing)
                .unwrap_err()
                .starts_with("NotFound")
        );
    }
}
