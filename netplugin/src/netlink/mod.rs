//! Netlink: several messages in one send, answered before the send returns.
//!
//! The kernel handles a request within `sendmsg(2)`, so when the call returns every answer is queued: no waiting, and
//! one acknowledgement, that of the last message, is enough (refusals come in any case).

mod attribute;
mod batch;
mod link;
mod socket;
mod view;

pub(crate) use attribute::{Attributes, Message};
pub(crate) use batch::Batch;
pub(crate) use link::{
    BridgePort, Veth, address, alias, bridge, delete_group, delete_link, hardware_address, link_down, link_up,
    neighbour, port, quiet_ipv6, route, set_group,
};
pub(crate) use socket::{Refusal, Socket};
pub(crate) use view::{
    Link, address_list, default_route_link, link_by_name, link_exists, links, our_routes, push_link_request,
};

/// The protocol number our routes carry, so that they can be told from others (`rtm_protocol`; 4 is "static", numbers
/// above it are free for programs).
pub(crate) const ROUTE_PROTOCOL: u8 = 98;
