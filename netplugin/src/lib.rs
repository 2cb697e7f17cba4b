//! Pod networking of a node: veth pairs on a bridge, addresses, the Service proxy, and the CNI plugin over both.
//!
//! Entry points: [`Network`] is the node's network for a caller that stays (the agent); [`cni::main`] is the CNI
//! program; [`reset`] removes everything; [`rules_for`] and [`inspect`] look at the kernel without touching anything.
//!
//! All of it speaks netlink to the kernel: rtnetlink for links, addresses and routes, nf_tables for Services and host
//! ports, and the connection tracking interface. No program is run.
//!
//! Long-lived tasks: one thread, `reaper`, started with the first removed pod, owned by [`Network`] and ended with it.
//! It receives interface indices over a channel and sends nothing but the answer to a flush.
//!
//! Where things are: `attach` is the way of a pod into the network, with `ipam` for its address and `reaper` for its
//! end; `bridge` and `host` are what a node has once; `proxy` is Services and host ports; `netlink` and `nft` are the
//! languages spoken; `reset`, `inspect` and `cni` stand on all of these. Packet policies will be tables of their own
//! beside `proxy`, ways to other nodes a module beside `bridge`.
//!
//! Invariants:
//! 1. A reservation is on disk before its address is used; a host setting is recorded before it is changed.
//! 2. Everything made can be found again without a record: interfaces carry the pod's UID as their alias and a name
//!    that follows from it, rules live in one table, routes carry our protocol number.
//! 3. Removal runs every step, collects failures, and can be run again.
//! 4. A change of the Service rules is one transaction; while it is made, packets meet the old rules or the new ones.
//! 5. No device is moved between namespaces, and nothing on the way to a pod's start waits for the network stack.

mod attach;
mod bridge;
mod cidr;
pub mod cni;
mod config;
mod conntrack;
mod error;
mod files;
mod host;
mod inspect;
mod ipam;
mod names;
mod netlink;
mod netns;
mod network;
mod nft;
mod proxy;
mod reaper;
mod reset;

pub use bridge::unowned;
pub use cidr::{Ipv4Net, ParseNetError};
pub use config::{AddRequest, Attachment, Config, HostPort, Protocol, ServicePort, Synced};
pub use error::{Error, Result};
pub use inspect::{LinkView, NamespaceView, RouteView, inspect};
pub use network::Network;
pub use proxy::rules_for;
pub use reset::reset;
