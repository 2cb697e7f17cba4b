//! The commands.

use super::config::NetworkConfig;
use super::failure::Failure;
use super::outcome::{added, mac_text};
use crate::attach::Request;
use crate::files::Wait;
use crate::names::host_interface;
use crate::netlink::{Socket, link_by_name};
use crate::{Network, inspect};
use serde_json::Value;
use std::fs::File;
use std::os::fd::AsFd;

/// What the runtime says by environment variables.
#[derive(Debug, Clone, Default)]
pub(super) struct Environment {
    pub(super) command: Option<String>,
    pub(super) container_id: Option<String>,
    pub(super) netns: Option<String>,
    pub(super) interface: Option<String>,
}

impl Environment {
    pub(super) fn from_process() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        Self {
            command: variable("CNI_COMMAND"),
            container_id: variable("CNI_CONTAINERID"),
            netns: variable("CNI_NETNS"),
            interface: variable("CNI_IFNAME"),
        }
    }

    fn container_id(&self) -> Result<&str, Failure> {
        let id = self
            .container_id
            .as_deref()
            .ok_or_else(|| Failure::environment("CNI_CONTAINERID is not set"))?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !id.starts_with(|c: char| c.is_ascii_alphanumeric()) || !id.chars().all(fits) {
            return Err(Failure::environment(format!(
                "CNI_CONTAINERID {id:?} has other than letters, digits, '_.-'"
            )));
        }
        Ok(id)
    }

    fn interface(&self) -> Result<&str, Failure> {
        let name = self
            .interface
            .as_deref()
            .ok_or_else(|| Failure::environment("CNI_IFNAME is not set"))?;
        let bad = |c: char| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control();
        if name.len() > 15 || matches!(name, "." | "..") || name.contains(bad) {
            return Err(Failure::environment(format!(
                "CNI_IFNAME {name:?} is no interface name"
            )));
        }
        Ok(name)
    }

    /// Every attachment's key.
    fn key(&self) -> Result<String, Failure> {
        Ok(key(self.container_id()?, self.interface()?))
    }

    fn netns(&self) -> Result<(&str, File), Failure> {
        let path = self
            .netns
            .as_deref()
            .ok_or_else(|| Failure::environment("CNI_NETNS is not set"))?;
        let file = File::open(path).map_err(|e| Failure::unknown_container(format!("cannot open {path}: {e}")))?;
        Ok((path, file))
    }
}

fn key(container_id: &str, interface: &str) -> String {
    format!("{container_id}/{interface}")
}

fn open(config: &NetworkConfig) -> Result<Network, Failure> {
    Ok(Network::open_with(config.network(), Wait::Yes)?)
}

pub(super) fn add(environment: &Environment, config: &NetworkConfig) -> Result<Value, Failure> {
    let uid = environment.key()?;
    let interface = environment.interface()?;
    let (path, netns) = environment.netns()?;
    let host_ports = config.host_ports()?;
    let mut network = open(config)?;
    let request = Request {
        uid: &uid,
        netns: netns.as_fd(),
        interface,
        host_ports: &host_ports,
    };
    let attachment = network.attach(&[request]).remove(0)?;
    Ok(added(config, network.config(), &attachment, (interface, path)))
}

pub(super) fn delete(environment: &Environment, config: &NetworkConfig) -> Result<(), Failure> {
    let uid = environment.key()?;
    let mut network = open(config)?;
    network.remove(&uid)?;
    Ok(network.flush()?)
}

pub(super) fn gc(config: &NetworkConfig) -> Result<(), Failure> {
    let valid = config
        .valid_attachments
        .as_ref()
        .ok_or_else(|| Failure::config("cni.dev/valid-attachments is missing, which GC needs"))?;
    let live: Vec<String> = valid.iter().map(|a| key(&a.container_id, &a.ifname)).collect();
    let mut network = open(config)?;
    network.gc(&live).into_iter().collect::<Result<(), _>>()?;
    Ok(network.flush()?)
}

/// Whether ADD could succeed; nothing is changed.
pub(super) fn status(config: &NetworkConfig) -> Result<(), Failure> {
    config.network().check()?;
    let sockets = Socket::route().and_then(|_| Socket::netfilter());
    sockets
        .map(drop)
        .map_err(|e| Failure::unavailable(format!("the kernel cannot be talked to: {e}")))
}

/// Whether everything is as ADD left it.
pub(super) fn check(environment: &Environment, config: &NetworkConfig) -> Result<(), Failure> {
    let uid = environment.key()?;
    let interface = environment.interface()?;
    let (_, netns) = environment.netns()?;
    let mut network = open(config)?;
    let Some(attachment) = network.attachment(&uid) else {
        return Err(Failure::unknown_container(format!("{uid} has no address")));
    };
    let address = format!("{}/32", attachment.ip);
    if let Some(previous) = &config.prev_result
        && !previous["ips"]
            .as_array()
            .is_some_and(|ips| ips.iter().any(|ip| ip["address"] == address))
    {
        return Err(Failure::differs(format!(
            "prevResult does not have the address {address}"
        )));
    }
    let bridge = network.bridge;
    let host = link_by_name(&mut network.route, &host_interface(&uid))?;
    if !host.is_some_and(|l| l.up && l.master == Some(bridge)) {
        return Err(Failure::differs(format!(
            "{} is not up on its bridge",
            attachment.host_interface
        )));
    }
    let view = inspect(Some(netns.as_fd()))?;
    let Some(link) = view.links.iter().find(|l| l.name == interface) else {
        return Err(Failure::differs(format!("{interface} is missing")));
    };
    if !link.up || link.mac != mac_text(attachment.ip) || !link.addresses.contains(&address) {
        return Err(Failure::differs(format!(
            "{interface} is down, or lacks its address {address}"
        )));
    }
    let default = |r: &&crate::RouteView| r.destination == "default" && r.interface == interface;
    match view.routes.iter().find(default) {
        Some(route) if route.gateway == Some(attachment.gateway) => Ok(()),
        _ => Err(Failure::differs(format!(
            "the default route by {} is missing",
            attachment.gateway
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_refused() {
        let environment = |id: &str, interface: &str| Environment {
            container_id: Some(id.into()),
            interface: Some(interface.into()),
            ..Environment::default()
        };
        assert_eq!(environment("c1", "eth0").key().unwrap(), "c1/eth0");
        for (id, interface) in [
            ("../c", "eth0"),
            ("", "eth0"),
            ("c/d", "eth0"),
            ("c", "a/b"),
            ("c", ".."),
            ("c", "e h"),
        ] {
            assert!(environment(id, interface).key().is_err(), "{id:?} {interface:?}");
        }
    }
}
