//! Services.

use serde::Deserialize;

use super::{IntOrString, Labels, ObjectMeta, nullable};

api_struct! {
    /// A Service.
    #[derive(Deserialize)]
    pub struct Service {
        metadata: ObjectMeta,
        #[serde(deserialize_with = "nullable")]
        spec: ServiceSpec,
        #[serde(deserialize_with = "nullable")]
        status: ServiceStatus,
    }
}

crate::object!(Service, "", "v1", "services");

api_struct! {
    /// What a Service is to be.
    #[derive(Deserialize)]
    pub struct ServiceSpec {
        #[serde(deserialize_with = "nullable")]
        ports: Vec<ServicePort>,
    } optional {
        selector: Labels,
        #[serde(rename = "type")]
        type_: String,
        #[serde(rename = "clusterIP")]
        cluster_ip: String,
        #[serde(rename = "externalIPs")]
        external_ips: Vec<String>,
        ip_families: Vec<String>,
        session_affinity: String,
        session_affinity_config: SessionAffinityConfig,
        external_traffic_policy: String,
        internal_traffic_policy: String,
        publish_not_ready_addresses: bool,
    }
}

api_struct! {
    /// A port of a Service.
    #[derive(Deserialize)]
    pub struct ServicePort {
        port: i32,
    } optional {
        name: String,
        protocol: String,
        app_protocol: String,
        target_port: IntOrString,
        node_port: i32,
    }
}

api_struct! {
    /// How long a client stays with its endpoint.
    #[derive(Deserialize)]
    pub struct SessionAffinityConfig {} optional {
        #[serde(rename = "clientIP")]
        client_ip: ClientIpConfig,
    }
}

api_struct! {
    /// How long a client of an address stays with its endpoint.
    #[derive(Deserialize)]
    pub struct ClientIpConfig {} optional {
        timeout_seconds: i32,
    }
}

api_struct! {
    /// What became of a Service.
    #[derive(Deserialize)]
    pub struct ServiceStatus {
        #[serde(deserialize_with = "nullable")]
        load_balancer: LoadBalancerStatus,
    }
}

api_struct! {
    /// Where a load balancer takes traffic.
    #[derive(Deserialize)]
    pub struct LoadBalancerStatus {
        #[serde(deserialize_with = "nullable")]
        ingress: Vec<LoadBalancerIngress>,
    }
}

api_struct! {
    /// An address of a load balancer.
    #[derive(Deserialize)]
    pub struct LoadBalancerIngress {} optional {
        ip: String,
    }
}
