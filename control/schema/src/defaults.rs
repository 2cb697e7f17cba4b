//! What is not given: zeros that say nothing, and the defaults that the published documents state.

use serde_json::{Map, Value};

use crate::{Container, TypeRef};

/// As [`apply`], of a whole object, which has a specification if its kind has one, be it empty.
pub fn apply_to_object(ty: TypeRef, object: &mut Value) {
    if ty.field("spec").is_some_and(|field| field.always)
        && let Value::Object(map) = object
    {
        map.entry("spec").or_insert_with(|| Value::Object(Map::new()));
    }
    apply(ty, object);
}

/// Leaves out the empty texts, zeros and `false` that mean "not given", as a Go API server does, whose types have no
/// pointer there (encoding/json, `omitempty`); where it has one, `""` stays and is a value. Then fills absent fields that
/// have a stated default other than a zero, such as `protocol: TCP` of a port. Defaults that kube applies in code are the
/// business of each kind's strategy.
fn apply(ty: TypeRef, value: &mut Value) {
    let Value::Object(map) = value else { return };
    for field in ty.fields() {
        if map.get(field.name).is_some_and(|value| field.means_absent(value)) {
            map.remove(field.name);
        }
        match map.get_mut(field.name) {
            None if matches!(field.default, "" | "\"\"" | "0" | "false" | "{}") => {}
            None => {
                let default = serde_json::from_str(field.default).expect("a default of the table is JSON");
                map.insert(field.name.to_owned(), default);
            }
            Some(value) => {
                let Some(ty) = field.item_type() else { continue };
                match (field.container, value) {
                    (Container::One, value) => apply(ty, value),
                    (Container::List, Value::Array(items)) => items.iter_mut().for_each(|item| apply(ty, item)),
                    (Container::Map, Value::Object(items)) => items.values_mut().for_each(|item| apply(ty, item)),
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::type_of;

    #[test]
    fn ports_get_their_protocol_and_zeros_stay_absent() {
        let mut pod = json!({"spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]}]}});
        super::apply(type_of("", "v1", "Pod").unwrap(), &mut pod);
        assert_eq!(
            pod,
            json!({"spec": {"containers": [{"name": "a", "ports": [
                {"containerPort": 80, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]}]}})
        );
    }

    #[test]
    fn zeros_that_say_nothing_are_left_out() {
        let mut pod = json!({"spec": {"hostNetwork": false, "hostname": "", "preemptionPolicy": "", "priority": 0,
            "containers": [{"name": "", "tty": false, "ports": [{"containerPort": 0, "hostPort": 0, "protocol": ""}]}]}});
        super::apply(type_of("", "v1", "Pod").unwrap(), &mut pod);
        assert_eq!(
            pod,
            json!({"spec": {"preemptionPolicy": "", "priority": 0,
                "containers": [{"name": "", "ports": [{"containerPort": 0, "protocol": "TCP"}]}]}})
        );
    }
}
