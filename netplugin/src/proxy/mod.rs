//! The Service proxy: Services, their endpoints and host ports as maps of one nf_tables table.
//!
//! `plan` computes what the kernel is to hold (pure), `change` turns two plans into one transaction (pure), [`Proxy`]
//! commits it and remembers it. The table belongs to this crate alone; when it is not the one that was last written,
//! it is built anew in one transaction, so packets always meet either the old rules or the new ones.
//!
//! A packet's way: `prerouting` and `output` look the destination up in the `services` map and, for addresses of the
//! host, in `node_ports` and the host port maps; the verdict leads to a chain per service port, which picks an endpoint
//! in turn and translates the destination. Connection tracking applies that choice to the rest of the connection.
//! `postrouting` masquerades what has to come back through this host. The filter chains refuse what has no endpoint.

mod balancer;
mod change;
mod flows;
mod host_ports;
mod plan;
mod rules;
mod table;

pub use rules::rules_for;
pub(crate) use table::TABLE;

use crate::conntrack::{self, StaleFlows};
use crate::netlink::{Socket, address_list};
use crate::nft::{self, Transaction};
use crate::{Config, HostPort, Protocol, Result, ServicePort, Synced};
use flows::FlowTarget;
use nix::errno::Errno;
use plan::Plan;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use tracing::warn;

/// A pod's host ports with the pod's address.
pub(crate) type HostPorts = Vec<(Ipv4Addr, HostPort)>;

/// Owner of the nf_tables table.
#[derive(Debug)]
pub(crate) struct Proxy {
    socket: Socket,
    applied: Option<Applied>,
}

/// What was last written.
#[derive(Debug)]
struct Applied {
    /// Handle of the table it was written to.
    handle: u64,
    plan: Plan,
    flows: BTreeMap<String, FlowTarget>,
}

impl Proxy {
    /// Makes the table unless there is one of this layout and these settings. An existing one keeps its services, so
    /// that a restart of the caller interrupts nothing; the first `sync` then replaces it.
    pub(crate) fn open(config: &Config, host_ports: &HostPorts) -> Result<Self> {
        let mut socket = Socket::netfilter()?;
        let comment = table::comment(config);
        let existing = nft::table(&mut socket, TABLE)?;
        if existing.is_none_or(|t| t.comment.as_deref() != Some(&comment)) {
            let transaction = rebuild(config, host_ports, &Plan::default());
            transaction.commit(&mut socket, "make the nf_tables table of the pod network")?;
        }
        Ok(Self { socket, applied: None })
    }

    /// Brings the kernel to the desired state; when this returns, the change is in the data path.
    pub(crate) fn sync(
        &mut self,
        config: &Config,
        route: &mut Socket,
        services: &[ServicePort],
        host_ports: &HostPorts,
    ) -> Result<Synced> {
        let needs_locals = services
            .iter()
            .any(|s| s.local_endpoints_only_external || s.protocol == Protocol::Udp);
        let locals = locals(route, needs_locals)?;
        let flows = flows::targets(services);
        let handle = nft::table(&mut self.socket, TABLE)?.map(|t| t.handle);
        let before = self.applied.take_if(|a| Some(a.handle) == handle);
        let known = before.is_some();
        let (old_plan, old_flows) = before.map_or_else(Default::default, |a| (a.plan, a.flows));
        let (plan, conflicts) = Plan::compile(services, config, &locals);
        let mut synced = Synced {
            conflicts,
            ..Synced::default()
        };
        if known {
            let mut transaction = Transaction::new(TABLE);
            change::write(&mut transaction, &old_plan, &plan, config);
            synced.messages = transaction.len();
            synced.changed = !transaction.is_empty();
            match transaction.commit(&mut self.socket, "update the service rules") {
                Ok(()) => {}
                Err(error) if matches!(error.errno(), Some(Errno::ENOENT | Errno::EEXIST | Errno::EBUSY)) => {
                    warn!(%error, "the nf_tables table was changed by somebody else, building it anew");
                    synced.rebuilt = true;
                }
                Err(error) => {
                    // Nothing of the transaction took effect, so the kernel still has the old plan.
                    self.applied = handle.map(|handle| Applied {
                        handle,
                        plan: old_plan,
                        flows: old_flows,
                    });
                    return Err(error);
                }
            }
        } else {
            synced.rebuilt = true;
        }
        if synced.rebuilt {
            let transaction = rebuild(config, host_ports, &plan);
            synced.messages = transaction.len();
            synced.changed = true;
            transaction.commit(&mut self.socket, "build the service rules")?;
        }
        // A new table has a new handle; an updated one keeps its own.
        let handle = if synced.rebuilt {
            nft::table(&mut self.socket, TABLE)?.map(|t| t.handle)
        } else {
            handle
        };
        let stale = flows::stale(known.then_some(&old_flows), &flows, &locals);
        self.applied = handle.map(|handle| Applied { handle, plan, flows });
        synced.flushed_flows = self.flush(&stale)?;
        Ok(synced)
    }

    /// Adds host ports of pods that were just attached.
    pub(crate) fn add_host_ports(&mut self, ports: &HostPorts, route: &mut Socket) -> Result<()> {
        let mut transaction = Transaction::new(TABLE);
        host_ports::add(&mut transaction, ports);
        transaction.commit(&mut self.socket, "add host ports")?;
        let locals = locals(route, ports.iter().any(|(_, p)| p.protocol == Protocol::Udp))?;
        self.flush(&host_ports::flows(ports, &[], &locals))?;
        Ok(())
    }

    /// Takes the host ports of a removed pod out of the data path.
    pub(crate) fn remove_host_ports(&mut self, ports: &HostPorts, route: &mut Socket) -> Result<()> {
        for transaction in host_ports::remove(TABLE, ports) {
            match transaction.commit(&mut self.socket, "remove host ports") {
                Err(error) if !error.is_missing() => return Err(error),
                _ => {}
            }
        }
        let locals = locals(route, ports.iter().any(|(_, p)| p.protocol == Protocol::Udp))?;
        self.flush(&host_ports::flows(&[], ports, &locals))?;
        Ok(())
    }

    fn flush(&mut self, stale: &StaleFlows) -> Result<usize> {
        if stale.is_empty() {
            Ok(0)
        } else {
            conntrack::flush(&mut self.socket, stale)
        }
    }
}

/// The host's own addresses, if they matter.
fn locals(route: &mut Socket, needed: bool) -> Result<Vec<Ipv4Addr>> {
    if needed {
        Ok(address_list(route)?.into_iter().map(|(_, net)| net.addr).collect())
    } else {
        Ok(vec![])
    }
}

/// The whole table in one transaction: whatever was there goes in the same instant.
fn rebuild(config: &Config, host_ports: &HostPorts, plan: &Plan) -> Transaction {
    let mut transaction = Transaction::new(TABLE);
    // Deleting what may not exist: make it first.
    transaction.add_table(None);
    transaction.delete_table();
    table::write(&mut transaction, config);
    host_ports::add(&mut transaction, host_ports);
    change::write(&mut transaction, &Plan::default(), plan, config);
    transaction
}

/// Deletes the table.
pub(crate) fn remove_table() -> Result<()> {
    let mut socket = Socket::netfilter()?;
    if nft::table(&mut socket, TABLE)?.is_none() {
        return Ok(());
    }
    let mut transaction = Transaction::new(TABLE);
    transaction.delete_table();
    transaction.commit(&mut socket, "delete the nf_tables table of the pod network")
}

/// `address . protocol . port` as the sets have it: each part fills whole registers.
fn key(ip: Ipv4Addr, protocol: Protocol, port: u16) -> Vec<u8> {
    let mut key = ip.octets().to_vec();
    key.extend_from_slice(&port_key(protocol, port));
    key
}

/// `protocol . port`.
fn port_key(protocol: Protocol, port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![protocol.number(), 0, 0, 0, high, low, 0, 0]
}

/// `address . port`.
fn endpoint_data(endpoint: SocketAddrV4) -> Vec<u8> {
    let mut data = endpoint.ip().octets().to_vec();
    let [high, low] = endpoint.port().to_be_bytes();
    data.extend_from_slice(&[high, low, 0, 0]);
    data
}

/// The reverse of [`endpoint_data`].
fn read_endpoint(data: &[u8]) -> Option<SocketAddrV4> {
    let ip: [u8; 4] = data.get(..4)?.try_into().ok()?;
    let port = u16::from_be_bytes(data.get(4..6)?.try_into().ok()?);
    Some(SocketAddrV4::new(ip.into(), port))
}
