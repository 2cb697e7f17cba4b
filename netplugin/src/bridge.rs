//! The bridge all pods of the node are ports of, with the gateway's address and the route to Services.
//!
//! The ports are isolated and every pod's address is a /32, so traffic between pods is routed: connection tracking and
//! the Service rules see both directions, whether or not the bridge's own packet filter is on.

use crate::files;
use crate::names::mac;
use crate::netlink::{
    Batch, Socket, address, address_list, alias, bridge, default_route_link, hardware_address, link_by_name, link_up,
    our_routes, quiet_ipv6, route,
};
use crate::{Config, Error, Ipv4Net, Result};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage::{DelAddress, DelRoute, NewAddress, NewRoute};
use nix::errno::Errno;
use std::path::{Path, PathBuf};

/// The longest alias an interface may have, with a zero after it, from linux/if.h.
const IFALIASZ: usize = 256;

/// Fails when an agent that lives has this bridge or this state directory. The bridge's alias names the state directory
/// of whoever made it, and that directory is locked as long as its agent lives; containers reach neither.
///
/// # Errors
/// [`Error::Locked`] with the other agent's state directory; otherwise when the kernel cannot be asked.
pub fn unowned(bridge: &str, state_dir: &Path) -> Result<()> {
    if files::locked(state_dir) {
        return Err(Error::Locked(state_dir.to_owned()));
    }
    not_of_another(&mut Socket::route()?, bridge, state_dir)
}

/// The same, for who has locked the state directory already.
pub(crate) fn not_of_another(socket: &mut Socket, bridge: &str, state_dir: &Path) -> Result<()> {
    let owner = link_by_name(socket, bridge)?
        .and_then(|link| link.alias)
        .map(PathBuf::from);
    match owner.filter(|owner| owner != state_dir && files::locked(owner)) {
        Some(owner) => Err(Error::Locked(owner)),
        None => Ok(()),
    }
}

/// Makes the bridge what it has to be and returns its index.
pub(crate) fn ensure(socket: &mut Socket, config: &Config, mtu: u32, ipv6: bool) -> Result<u32> {
    let name = &config.bridge;
    if link_by_name(socket, name)?.is_none() {
        let mut batch = Batch::new();
        batch.route(bridge(name, mac(config.gateway()), mtu), NLM_F_CREATE | NLM_F_EXCL);
        if ipv6 {
            batch.route(quiet_ipv6(name), 0);
        }
        socket.apply(&mut batch, &format!("create bridge {name}"))?;
    }
    let Some(link) = link_by_name(socket, name)? else {
        let operation = format!("look up bridge {name}");
        return Err(Error::Netlink {
            operation,
            detail: None,
            source: Errno::ENODEV,
        });
    };
    let index = link.index;
    let mut batch = Batch::new();
    // Pods know the gateway's hardware address without asking.
    if link.mac != mac(config.gateway()) {
        batch.route(hardware_address(index, mac(config.gateway())), 0);
    }
    if let Some(owner) = config.state_dir.to_str().filter(|dir| dir.len() < IFALIASZ) {
        batch.route(alias(index, owner), 0);
    }
    batch.route(link_up(index), 0);
    let gateway = Ipv4Net::new(config.gateway(), config.pod_cidr.prefix);
    batch.route(NewAddress(address(index, gateway)), NLM_F_CREATE | NLM_F_REPLACE);
    socket.apply(&mut batch, &format!("set up bridge {name}"))?;
    remove_former(socket, config, index, gateway)?;
    route_to_services(socket, config, index)?;
    Ok(index)
}

/// Addresses and routes of former settings.
fn remove_former(socket: &mut Socket, config: &Config, index: u32, gateway: Ipv4Net) -> Result<()> {
    let mut batch = Batch::new();
    for (link, net) in address_list(socket)? {
        if link == index && net != gateway {
            batch.route(DelAddress(address(index, net)), 0);
        }
    }
    for to in our_routes(socket, index)? {
        if to.network() != config.service_cidr.network() || to.prefix != config.service_cidr.prefix {
            batch.route(DelRoute(route(to, index, None, None)), 0);
        }
    }
    let refusals = socket
        .transact(&mut batch)
        .map_err(Error::socket("clean up the bridge"))?;
    // The kernel removes routes along with the address they use.
    let bad = refusals
        .into_iter()
        .find(|r| !matches!(r.errno, Errno::ESRCH | Errno::EADDRNOTAVAIL));
    bad.map_or(Ok(()), |r| {
        Err(r.into_error(format!("clean up bridge {}", config.bridge)))
    })
}

/// A host without a default route could not even try to reach a ClusterIP. With this route it can, and its packets have
/// the bridge's address, so that pods answer through the bridge.
fn route_to_services(socket: &mut Socket, config: &Config, index: u32) -> Result<()> {
    let mut batch = Batch::new();
    let message = route(config.service_cidr, index, None, Some(config.gateway()));
    batch.route(NewRoute(message), NLM_F_CREATE | NLM_F_EXCL);
    let operation = format!("add the route to {}", config.service_cidr);
    match socket.apply(&mut batch, &operation) {
        Err(error) if error.errno() == Some(Errno::EEXIST) => {
            if our_routes(socket, index)?.is_empty() {
                return Err(Error::Setting {
                    what: "service CIDR",
                    value: config.service_cidr.to_string(),
                    reason: "the host has another route to it",
                });
            }
            Ok(())
        }
        other => other,
    }
}

/// The MTU pods get: as asked for, else that of the interface with the default route.
pub(crate) fn mtu(socket: &mut Socket, config: &Config) -> Result<u32> {
    match config.mtu {
        Some(mtu) => Ok(mtu),
        None => Ok(default_route_link(socket)?.map_or(1500, |link| link.mtu)),
    }
}
