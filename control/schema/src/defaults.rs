//! The defaults that the published documents state.

use serde_json::Value;

use crate::{Container, TypeRef};

/// Fills absent fields that have a stated default other than a zero, such as `protocol: TCP` of a port. Defaults that
/// kube applies in code are the business of each kind's strategy.
pub fn apply(ty: TypeRef, value: &mut Value) {
    let Value::Object(map) = value else { return };
    for field in ty.fields() {
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
}
