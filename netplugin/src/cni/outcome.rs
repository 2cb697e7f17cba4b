//! Answers of the plugin.

use super::SUPPORTED;
use super::config::NetworkConfig;
use crate::names::mac;
use crate::{Attachment, Config};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// The answer to VERSION.
pub(super) fn versions(version: &str) -> Value {
    json!({"cniVersion": version, "supportedVersions": SUPPORTED})
}

/// The answer to ADD: the bridge, the host's end, the container's end, its address and its route.
pub(super) fn added(
    config: &NetworkConfig,
    network: &Config,
    attachment: &Attachment,
    (interface, netns): (&str, &str),
) -> Value {
    let mut ip = json!({
        "address": format!("{}/32", attachment.ip),
        "gateway": attachment.gateway.to_string(),
        "interface": 2,
    });
    if config.cni_version.starts_with("0.") {
        ip["version"] = json!("4");
    }
    json!({
        "cniVersion": config.cni_version,
        "interfaces": [
            {"name": network.bridge, "mac": mac_text(attachment.gateway)},
            {"name": attachment.host_interface},
            {"name": interface, "mac": mac_text(attachment.ip), "sandbox": netns},
        ],
        "ips": [ip],
        "routes": [{"dst": "0.0.0.0/0", "gw": attachment.gateway.to_string()}],
        "dns": config.dns.clone().unwrap_or_else(|| json!({})),
    })
}

pub(super) fn mac_text(ip: Ipv4Addr) -> String {
    mac(ip).iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}
