//! Environment variables and where they come from.

use barepod_client::api_struct;
use barepod_client::types::Quantity;
use serde::Deserialize;

api_struct! {
    /// A variable.
    #[derive(Deserialize)]
    pub struct EnvVar {
        name: String,
    } optional {
        value: String,
        value_from: EnvVarSource,
    }
}

api_struct! {
    /// Where a variable's value comes from.
    #[derive(Deserialize)]
    pub struct EnvVarSource {} optional {
        config_map_key_ref: KeySelector,
        field_ref: ObjectFieldSelector,
        resource_field_ref: ResourceFieldSelector,
        secret_key_ref: KeySelector,
    }
}

api_struct! {
    /// All keys of an object, as variables.
    #[derive(Deserialize)]
    pub struct EnvFromSource {} optional {
        config_map_ref: EnvSource,
        prefix: String,
        secret_ref: EnvSource,
    }
}

api_struct! {
    /// A ConfigMap or Secret.
    #[derive(Deserialize)]
    pub struct EnvSource {
        name: String,
    } optional {
        optional: bool,
    }
}

api_struct! {
    /// A key of a ConfigMap or Secret.
    #[derive(Deserialize)]
    pub struct KeySelector {
        name: String,
        key: String,
    } optional {
        optional: bool,
    }
}

api_struct! {
    /// A field of the pod.
    #[derive(Deserialize)]
    pub struct ObjectFieldSelector {
        field_path: String,
    }
}

api_struct! {
    /// A request or limit of a container.
    #[derive(Deserialize)]
    pub struct ResourceFieldSelector {
        resource: String,
    } optional {
        container_name: String,
        divisor: Quantity,
    }
}
