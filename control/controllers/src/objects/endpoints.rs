//! What the controllers read and write of Endpoints, the older form of EndpointSlices.

use barepod_client::types::{ObjectMeta, ObjectReference};
use barepod_client::{api_struct, object};
use serde::{Deserialize, Serialize};

api_struct! {
    /// The endpoints of a Service.
    #[derive(Deserialize)]
    pub(crate) struct Endpoints {
        metadata: ObjectMeta,
    } optional {
        subsets: Vec<EndpointSubset>,
    }
}

object!(Endpoints, "", "v1", "endpoints");

api_struct! {
    /// Addresses that have the same ports.
    #[derive(Serialize, Deserialize)]
    pub(crate) struct EndpointSubset {} optional {
        addresses: Vec<EndpointAddress>,
        not_ready_addresses: Vec<EndpointAddress>,
        ports: Vec<EndpointPort>,
    }
}

api_struct! {
    /// An address and what is behind it.
    #[derive(Serialize, Deserialize)]
    pub(crate) struct EndpointAddress {
        ip: String,
    } optional {
        hostname: String,
        node_name: String,
        target_ref: ObjectReference,
    }
}

api_struct! {
    /// A port of all addresses of a subset.
    #[derive(Serialize, Deserialize)]
    pub(crate) struct EndpointPort {
        port: i32,
    } optional {
        name: String,
        protocol: String,
        app_protocol: String,
    }
}
