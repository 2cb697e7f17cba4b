//! EndpointSlices.

use serde::{Deserialize, Serialize};

use super::{ObjectMeta, ObjectReference, nullable};

api_struct! {
    /// Some of the endpoints of a Service.
    #[derive(Deserialize)]
    pub struct EndpointSlice {
        metadata: ObjectMeta,
        address_type: String,
        #[serde(deserialize_with = "nullable")]
        endpoints: Vec<Endpoint>,
        #[serde(deserialize_with = "nullable")]
        ports: Vec<EndpointPort>,
    }
}

crate::object!(EndpointSlice, "discovery.k8s.io", "v1", "endpointslices");

api_struct! {
    /// An endpoint.
    #[derive(Eq, Serialize, Deserialize)]
    pub struct Endpoint {
        addresses: Vec<String>,
    } optional {
        conditions: EndpointConditions,
        hostname: String,
        node_name: String,
        target_ref: ObjectReference,
        zone: String,
    }
}

api_struct! {
    /// What an endpoint is good for.
    #[derive(Eq, Serialize, Deserialize)]
    pub struct EndpointConditions {} optional {
        ready: bool,
        serving: bool,
        terminating: bool,
    }
}

api_struct! {
    /// A port of all endpoints of a slice.
    #[derive(Eq, Serialize, Deserialize)]
    pub struct EndpointPort {} optional {
        name: String,
        port: i32,
        protocol: String,
        app_protocol: String,
    }
}
