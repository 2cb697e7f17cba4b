//! Who may write which part of the status of a ResourceClaim, beyond writing it at all: what is allocated and reserved is
//! the business of schedulers, the state of devices that of their drivers (KEP-4817, granular status authorization).

use std::collections::BTreeSet;

use barepod_auth::attributes::{Attributes, Object, Resource};
use barepod_auth::user::User;
use barepod_kinds::Denied;
use barepod_kinds::path::{Errors, Path};
use barepod_kinds::value::{at, list_at, str_at, strings, text};
use serde_json::Value;

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

const GROUP: &str = "resource.k8s.io";
const CLAIMS: &str = "resourceclaims";
/// What the token of a pod says about the node that it runs on.
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";

/// The plugin.
pub(crate) struct ClaimStatus;

impl Plugin for ClaimStatus {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.is(GROUP, CLAIMS)
            && request.subresource == "status"
            && request.operation == Operation::Update
            && !request.user.is_master()
    }

    fn validate(&self, world: &dyn World, request: &Request<'_>, new: &Value, _: &mut Notes) -> Result<(), Refusal> {
        let old = request.old.unwrap_or(&Value::Null);
        let (path, mut errors) = (Path::new("status"), Errors::new());
        let changed = |key: &str| at(new, &["status", key]) != at(old, &["status", key]);
        if changed("allocation") || changed("reservedFor") {
            let verb = request.verb;
            if let Err(why) = may(world, request.user, verb, "binding", "", "") {
                let what = "changing status.allocation or status.reservedFor requires \
                            resource=\"resourceclaims/binding\"";
                errors.forbidden(&path, format!("{what}, verb=\"{verb}\" permission: {why}"));
            }
        }
        let mut verbs = vec![format!("arbitrary-node:{}", request.verb)];
        if is_beside(request.user, new) {
            verbs.insert(0, format!("associated-node:{}", request.verb));
        }
        for driver in changed_drivers(new, old) {
            let asked = verbs
                .iter()
                .map(|verb| may(world, request.user, verb, "driver", request.namespace, driver));
            let refused: Vec<String> = asked.map_while(Result::err).collect();
            if refused.len() == verbs.len() {
                let verbs = verbs.join(" ");
                errors.forbidden(
                    &path,
                    format!(
                        "changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[{verbs}]\" \
                         permission: {}",
                        refused[0]
                    ),
                );
            }
        }
        match errors.is_empty() {
            true => Ok(()),
            false => Err(Refusal::Denied(Denied::Invalid(errors.into_vec()))),
        }
    }
}

/// Whether somebody may, or in the words of a refusal why not.
fn may(
    world: &dyn World,
    user: &User,
    verb: &str,
    subresource: &str,
    namespace: &str,
    name: &str,
) -> Result<(), String> {
    let asked = Attributes {
        user,
        verb,
        object: Object::Resource(Resource {
            group: GROUP,
            version: "v1",
            resource: CLAIMS,
            subresource,
            namespace,
            name,
            ..Resource::default()
        }),
    };
    if world.may(&asked) {
        return Ok(());
    }
    let named = if name.is_empty() {
        String::new()
    } else {
        format!(" {name:?}")
    };
    Err(format!("{CLAIMS}.{GROUP}{named} is forbidden: {}", asked.refusal()))
}

/// Whether this is a pod's service account on the one node that the claim is allocated on.
fn is_beside(user: &User, claim: &Value) -> bool {
    let allocated = at(claim, &["status", "allocation"]).and_then(allocated_node);
    let own = matches!(user.extra(NODE_NAME), [own] if Some(own.as_str()) == allocated);
    own && user.as_service_account().is_some()
}

fn allocated_node(allocation: &Value) -> Option<&str> {
    let [term] = list_at(allocation, &["nodeSelector", "nodeSelectorTerms"]) else {
        return None;
    };
    let ([], [field]) = (list_at(term, &["matchExpressions"]), list_at(term, &["matchFields"])) else {
        return None;
    };
    let mut values = strings(field, &["values"]);
    let by_name = text(field, "key") == "metadata.name" && text(field, "operator") == "In";
    match (values.next(), values.next()) {
        (Some(node), None) if by_name => Some(node),
        _ => None,
    }
}

/// The drivers of devices whose state is another than it was, or that came or went.
fn changed_drivers<'a>(new: &'a Value, old: &'a Value) -> BTreeSet<&'a str> {
    let devices = |claim: &'a Value| list_at(claim, &["status", "devices"]);
    let lacks = |all: &[Value], device: &Value| !all.contains(device);
    let came = devices(new).iter().filter(|device| lacks(devices(old), device));
    let went = devices(old).iter().filter(|device| lacks(devices(new), device));
    came.chain(went)
        .filter_map(|device| str_at(device, &["driver"]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Small, handle, request};
    use barepod_auth::rbac::Source;
    use serde_json::json;

    fn world(resource: &str, verb: &str, name: &str) -> Small {
        let mut world = Small::default();
        let mut rule = json!({"verbs": [verb], "apiGroups": [GROUP], "resources": [resource]});
        if !name.is_empty() {
            rule["resourceNames"] = json!([name]);
        }
        let role = json!({"metadata": {"name": "r"}, "rules": [rule]});
        let binding = json!({"roleRef": {"kind": "ClusterRole", "name": "r"},
            "subjects": [{"kind": "Group", "name": "system:authenticated"}]});
        world.1.set(Source::ClusterRole, "", "r", Some(&role));
        world.1.set(Source::ClusterRoleBinding, "", "b", Some(&binding));
        world
    }

    fn claim(driver: &str) -> Value {
        let node = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]});
        json!({"status": {"allocation": {"nodeSelector": {"nodeSelectorTerms": [node]}},
            "devices": [{"driver": driver, "pool": "p", "device": "d"}]}})
    }

    #[test]
    fn schedulers_allocate() {
        let old = json!({});
        let new = json!({"status": {"reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}]}});
        let update = request(Operation::Update, GROUP, "resourceclaims/status", Some(&old));
        let refused = handle(&ClaimStatus, &Small::default(), &update, new.clone()).unwrap_err();
        let why = r#"User \"bob\" cannot update resource \"resourceclaims/binding\" in API group \"resource.k8s.io\" at the cluster scope"#;
        assert!(refused.contains(why), "{refused}");
        assert!(
            handle(
                &ClaimStatus,
                &world("resourceclaims/binding", "update", ""),
                &update,
                new.clone()
            )
            .is_ok()
        );
        // What stays as it was is nobody's business.
        let same = request(Operation::Update, GROUP, "resourceclaims/status", Some(&new));
        assert!(handle(&ClaimStatus, &Small::default(), &same, new.clone()).is_ok());
    }

    #[test]
    fn drivers_tell_of_their_devices() {
        let mut old = claim("d.example.com");
        old["status"]["devices"] = json!([]);
        let mut update = request(Operation::Update, GROUP, "resourceclaims/status", Some(&old));
        let new = || claim("d.example.com");
        let anywhere = world("resourceclaims/driver", "arbitrary-node:update", "d.example.com");
        assert!(handle(&ClaimStatus, &anywhere, &update, new()).is_ok());
        assert!(handle(&ClaimStatus, &anywhere, &update, claim("other.example.com")).is_err());
        let beside = world("resourceclaims/driver", "associated-node:update", "d.example.com");
        assert!(handle(&ClaimStatus, &beside, &update, new()).is_err());
        let on = |node: &str| {
            let mut user = User::service_account("ns", "driver", "");
            user.extra = vec![(NODE_NAME.to_owned(), vec![node.to_owned()])];
            user
        };
        let (here, there) = (on("n1"), on("n2"));
        update.user = &here;
        assert!(handle(&ClaimStatus, &beside, &update, new()).is_ok());
        update.user = &there;
        assert!(handle(&ClaimStatus, &beside, &update, new()).is_err());
    }
}
