//! The network configuration.

use super::SUPPORTED;
use super::failure::Failure;
use crate::{Config, HostPort, Ipv4Net, Protocol};
use serde::Deserialize;
use serde_json::Value;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The configuration of one network, as the runtime hands it over.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NetworkConfig {
    pub(super) cni_version: String,
    #[serde(default = "default_bridge")]
    bridge: String,
    #[serde(rename = "podCIDR")]
    pod_cidr: Ipv4Net,
    /// The pod CIDR if missing: everything beyond it is masqueraded.
    #[serde(default, rename = "clusterCIDR")]
    cluster_cidr: Option<Ipv4Net>,
    #[serde(default = "default_service_cidr", rename = "serviceCIDR")]
    service_cidr: Ipv4Net,
    #[serde(default = "default_state_dir")]
    state_dir: PathBuf,
    #[serde(default)]
    mtu: Option<u32>,
    #[serde(default)]
    runtime_config: RuntimeConfig,
    #[serde(default)]
    pub(super) prev_result: Option<Value>,
    #[serde(default)]
    pub(super) dns: Option<Value>,
    #[serde(default, rename = "cni.dev/valid-attachments")]
    pub(super) valid_attachments: Option<Vec<ValidAttachment>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuntimeConfig {
    port_mappings: Vec<PortMapping>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PortMapping {
    host_port: u16,
    container_port: u16,
    #[serde(default)]
    protocol: String,
    #[serde(default, rename = "hostIP")]
    host_ip: String,
}

/// An attachment that the runtime knows of (GC).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ValidAttachment {
    #[serde(rename = "containerID")]
    pub(super) container_id: String,
    pub(super) ifname: String,
}

fn default_bridge() -> String {
    "barepod0".into()
}

fn default_service_cidr() -> Ipv4Net {
    Ipv4Net::new(Ipv4Addr::new(10, 96, 0, 0), 16)
}

fn default_state_dir() -> PathBuf {
    "/var/lib/cni/barepod".into()
}

impl NetworkConfig {
    pub(super) fn parse(input: &[u8]) -> Result<Self, Failure> {
        let value: Value =
            serde_json::from_slice(input).map_err(|e| Failure::decode(format!("the configuration is no JSON: {e}")))?;
        let version = value["cniVersion"].as_str().unwrap_or_default();
        if !SUPPORTED.contains(&version) {
            return Err(Failure::version(version));
        }
        Self::deserialize(value).map_err(|e| Failure::config(format!("the configuration cannot be used: {e}")))
    }

    pub(super) fn network(&self) -> Config {
        Config {
            bridge: self.bridge.clone(),
            pod_cidr: self.pod_cidr,
            cluster_cidr: self.cluster_cidr.unwrap_or(self.pod_cidr),
            service_cidr: self.service_cidr,
            state_dir: self.state_dir.clone(),
            mtu: self.mtu,
        }
    }

    /// The port mappings; one without a host port asks for nothing.
    pub(super) fn host_ports(&self) -> Result<Vec<HostPort>, Failure> {
        let mut ports = vec![];
        for mapping in self.runtime_config.port_mappings.iter().filter(|m| m.host_port != 0) {
            let protocol = match mapping.protocol.to_ascii_lowercase().as_str() {
                "" | "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                "sctp" => Protocol::Sctp,
                other => {
                    return Err(Failure::config(format!(
                        "port mapping: protocol {other:?} is not known"
                    )));
                }
            };
            let host_ip = match mapping.host_ip.as_str() {
                "" | "0.0.0.0" => None,
                ip => Some(
                    ip.parse()
                        .map_err(|_| Failure::config(format!("port mapping: {ip:?} is no IPv4 address")))?,
                ),
            };
            ports.push(HostPort {
                host_ip,
                host_port: mapping.host_port,
                container_port: mapping.container_port,
                protocol,
            });
        }
        Ok(ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_full_configuration() {
        let config = NetworkConfig::parse(
            br#"{"cniVersion":"1.1.0","name":"pods","type":"barepod-cni","bridge":"br7","podCIDR":"10.1.2.0/24",
                 "clusterCIDR":"10.1.0.0/16","serviceCIDR":"10.2.0.0/16","stateDir":"/s","mtu":1400,
                 "runtimeConfig":{"portMappings":[
                    {"hostPort":80,"containerPort":8080,"protocol":"TCP","hostIP":"192.0.2.1"},
                    {"hostPort":53,"containerPort":53,"protocol":"udp","hostIP":""},
                    {"hostPort":0,"containerPort":9}]},
                 "cni.dev/valid-attachments":[{"containerID":"c","ifname":"eth0"}]}"#,
        )
        .unwrap();
        assert_eq!(config.network().bridge, "br7");
        assert_eq!(config.network().mtu, Some(1400));
        let ports = config.host_ports().unwrap();
        assert_eq!(ports.len(), 2);
        assert_eq!(ports[0].host_ip, Some("192.0.2.1".parse().unwrap()));
        assert_eq!((ports[1].protocol, ports[1].host_ip), (Protocol::Udp, None));
        assert_eq!(config.valid_attachments.unwrap()[0].ifname, "eth0");
    }

    #[test]
    fn little_is_needed() {
        let config = NetworkConfig::parse(br#"{"cniVersion":"1.0.0","podCIDR":"10.1.2.0/24"}"#).unwrap();
        let network = config.network();
        assert_eq!(network.cluster_cidr, network.pod_cidr);
        assert_eq!(network.bridge, "barepod0");
        network.check().unwrap();
    }
}
