//! Attaching pods: the hot path.
//!
//! For a batch of pods: one write of all reservations to disk, one send that makes every veth pair, then for each pod
//! one send over a socket inside its namespace, then one send for the host's routes to all, and one nf_tables
//! transaction for their host ports.

use crate::ipam::{Reservation, Wish};
use crate::names::{host_interface, mac};
use crate::netlink::{
    Batch, BridgePort, Refusal, Socket, Veth, address, delete_link, link_by_name, link_exists, link_up, neighbour,
    port, push_link_request, route,
};
use crate::proxy::HostPorts;
use crate::{Attachment, Error, HostPort, Ipv4Net, Network, Result, netns};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage::{NewAddress, NewRoute};
use nix::errno::Errno;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use tracing::warn;

/// The loopback interface is the first of every network namespace.
const LOOPBACK: u32 = 1;

/// A pod that wants an interface.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) uid: &'a str,
    pub(crate) netns: BorrowedFd<'a>,
    /// Name of the interface in the pod.
    pub(crate) interface: &'a str,
    pub(crate) host_ports: &'a [HostPort],
}

/// A request on its way, with what it has got so far.
struct Job<'a> {
    request: Request<'a>,
    host: String,
    state: Result<(Reservation, bool)>,
}

impl Job<'_> {
    fn reservation(&self) -> Option<&Reservation> {
        self.state.as_ref().ok().map(|(reservation, _)| reservation)
    }
}

/// Attaches the pods and returns one result for each, in order. A pod that fails leaves nothing behind.
pub(crate) fn attach(network: &mut Network, requests: &[Request<'_>]) -> Vec<Result<Attachment>> {
    let wishes: Vec<Wish<'_>> = requests
        .iter()
        .map(|r| Wish {
            uid: r.uid,
            host_ports: r.host_ports,
        })
        .collect();
    let states = network.ipam.reserve(&wishes);
    let mut jobs: Vec<Job<'_>> = requests
        .iter()
        .zip(states)
        .map(|(request, state)| Job {
            request: *request,
            host: host_interface(request.uid),
            state,
        })
        .collect();
    let fresh: Vec<bool> = jobs.iter().map(|j| matches!(j.state, Ok((_, true)))).collect();
    make_pairs(network, &mut jobs);
    let mut ends = vec![];
    for (number, job) in jobs.iter_mut().enumerate() {
        let Some(reservation) = job.reservation() else { continue };
        match configure_inside(network, &job.request, reservation.ip) {
            Ok(end) => ends.push((number, end)),
            Err(error) => job.state = Err(error),
        }
    }
    route_to_pods(network, &mut jobs, &ends);
    open_host_ports(network, &mut jobs);
    let gateway = network.config.gateway();
    jobs.into_iter()
        .zip(fresh)
        .map(|(job, fresh)| match job.state {
            Ok((reservation, _)) => Ok(Attachment {
                uid: reservation.uid,
                ip: reservation.ip,
                gateway,
                host_interface: job.host,
            }),
            Err(error) => {
                if fresh && let Err(error) = network.remove(job.request.uid) {
                    warn!(uid = job.request.uid, %error, "what a failed attachment made stays until garbage collection");
                }
                Err(error)
            }
        })
        .collect()
}

/// Two messages for each pod, all in one send.
fn make_pairs(network: &mut Network, jobs: &mut [Job<'_>]) {
    let mut batch = Batch::new();
    let mut owners = vec![];
    for (number, job) in jobs.iter().enumerate() {
        if let Some(reservation) = job.reservation() {
            push_pair(network, &mut batch, job, reservation.ip);
            owners.push(number);
        }
    }
    let refusals = match network.route.transact(&mut batch) {
        Ok(refusals) => refusals,
        Err(error) => {
            for number in owners {
                jobs[number].state = Err(again(&error, &format!("create interface {}", jobs[number].host)));
            }
            return;
        }
    };
    let mut settled = None;
    for refusal in refusals {
        let Some(number) = owners.get(refusal.message / 2) else {
            continue;
        };
        // When the first message of a pod was refused, the second one met another interface, or none.
        if settled.replace(*number) == Some(*number) {
            continue;
        }
        let job = &mut jobs[*number];
        let is_create = refusal.message.is_multiple_of(2);
        let Some(reservation) = job.reservation() else { continue };
        let ip = reservation.ip;
        let result = match refusal.errno {
            Errno::EEXIST if is_create => settle_existing(network, job, ip, refusal),
            _ if is_create => Err(refusal.into_error(format!("create interface {}", job.host))),
            _ => Err(refusal.into_error(format!("set up interface {}", job.host))),
        };
        if let Err(error) = result {
            job.state = Err(error);
        }
    }
}

fn push_pair(network: &Network, batch: &mut Batch, job: &Job<'_>, ip: Ipv4Addr) {
    let veth = Veth {
        host: &job.host,
        bridge: network.bridge,
        mtu: network.mtu,
        peer: job.request.interface,
        peer_mac: mac(ip),
        netns: job.request.netns,
    };
    batch.route(veth.create(), NLM_F_CREATE | NLM_F_EXCL);
    batch.route(
        port(&BridgePort {
            name: &job.host,
            alias: job.request.uid,
            ipv6: network.ipv6,
        }),
        0,
    );
}

/// The pair is there: from an earlier call for the same namespace and address (then it is right), or of an earlier
/// namespace of the same pod that is about to end (then it goes now, and a new one is made).
fn settle_existing(network: &mut Network, job: &Job<'_>, ip: Ipv4Addr, refusal: Refusal) -> Result<()> {
    let operation = format!("create interface {}", job.host);
    if let Some(link) = link_by_name(&mut network.route, &job.host)? {
        let owner = link.alias.as_deref().unwrap_or(job.request.uid);
        if owner != job.request.uid && network.ipam.get(owner).is_some() {
            return Err(Error::InterfaceTaken {
                name: job.host.clone(),
                uid: owner.to_owned(),
            });
        }
        let inside = netns::within(job.request.netns, &network.home, || {
            link_by_name(&mut Socket::route()?, job.request.interface)
        })?;
        let is_pair = inside
            .is_some_and(|peer| Some(peer.index) == link.peer && peer.peer == Some(link.index) && peer.mac == mac(ip));
        if is_pair && owner == job.request.uid && link.master == Some(network.bridge) {
            // Removed a moment ago, and wanted again.
            network.reaper.spare(link.index)?;
            if link_exists(&mut network.route, link.index)? {
                return Ok(());
            }
        }
        let mut batch = Batch::new();
        batch.route(delete_link(link.index), 0);
        match network
            .route
            .apply(&mut batch, &format!("delete interface {}", job.host))
        {
            Err(error) if !error.is_missing() => return Err(error),
            _ => {}
        }
    }
    let mut batch = Batch::new();
    push_pair(network, &mut batch, job, ip);
    let again = network
        .route
        .transact(&mut batch)
        .map_err(Error::socket(operation.clone()))?;
    let detail = refusal.detail;
    again.into_iter().next().map_or(Ok(()), |mut r| {
        r.detail = r.detail.or(detail);
        Err(r.into_error(operation))
    })
}

/// An I/O error that several pods have.
fn again(error: &std::io::Error, operation: &str) -> Error {
    let copy = error
        .raw_os_error()
        .map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error);
    Error::socket(operation)(copy)
}

/// Everything inside the pod's namespace, in one send. Returns the index of the host's end.
fn configure_inside(network: &Network, request: &Request<'_>, ip: Ipv4Addr) -> Result<u32> {
    let gateway = network.config.gateway();
    let (mut socket, link) = netns::within(request.netns, &network.home, || {
        let mut socket = Socket::route()?;
        let link = link_by_name(&mut socket, request.interface)?;
        Ok((socket, link))
    })?;
    let operation = format!("set up {} of pod {}", request.interface, request.uid);
    let Some((index, end)) = link.and_then(|l| Some((l.index, l.peer?))) else {
        return Err(Error::Netlink {
            operation,
            detail: None,
            source: Errno::ENODEV,
        });
    };
    let everywhere = Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0);
    let to_gateway = route(Ipv4Net::new(gateway, 32), index, None, Some(ip));
    let mut batch = Batch::new();
    batch.route(link_up(LOOPBACK), 0);
    batch.route(link_up(index), 0);
    batch.route(
        NewAddress(address(index, Ipv4Net::new(ip, 32))),
        NLM_F_CREATE | NLM_F_REPLACE,
    );
    batch.route(NewRoute(to_gateway), NLM_F_CREATE | NLM_F_REPLACE);
    batch.route(
        NewRoute(route(everywhere, index, Some(gateway), Some(ip))),
        NLM_F_CREATE | NLM_F_REPLACE,
    );
    batch.route(neighbour(index, gateway, mac(gateway)), NLM_F_CREATE | NLM_F_REPLACE);
    socket.apply(&mut batch, &operation)?;
    Ok(end)
}

/// The host reaches a pod straight by its own end of the pair, not by the bridge. Where the bridge's packet filter is
/// on (`bridge-nf-call-iptables`, the default of kernels that have it), a packet from a pod whose destination is
/// translated to one behind the same bridge is bridged, not routed: to an isolated port, where it ends. With another
/// interface in the route it is always routed. The neighbour entry is fixed, as answers would arrive on the bridge.
///
/// The host's end got its carrier when the pod's end came up, but the kernel acts on that in a work item of its own,
/// and until then drops what is sent: the first connection would wait a second for its second try. Asking for the link
/// makes it act at once (Linux 6.8 and later; earlier ones do it a moment later).
fn route_to_pods(network: &mut Network, jobs: &mut [Job<'_>], ends: &[(usize, u32)]) {
    let gateway = network.config.gateway();
    // The answers, a description of each link, have to fit into the socket's receive buffer.
    for ends in ends.chunks(16) {
        let mut batch = Batch::new();
        let mut owners = vec![];
        for (number, end) in ends {
            if let Some(reservation) = jobs[*number].reservation() {
                let to_pod = route(Ipv4Net::new(reservation.ip, 32), *end, None, Some(gateway));
                batch.route(NewRoute(to_pod), NLM_F_CREATE | NLM_F_REPLACE);
                batch.route(
                    neighbour(*end, reservation.ip, mac(reservation.ip)),
                    NLM_F_CREATE | NLM_F_REPLACE,
                );
                push_link_request(&mut batch, *end);
                owners.push(*number);
            }
        }
        match network.route.transact(&mut batch) {
            Ok(refusals) => {
                for refusal in refusals {
                    if let Some(number) = owners.get(refusal.message / 3) {
                        let operation = format!("add the route to pod {}", jobs[*number].request.uid);
                        jobs[*number].state = Err(refusal.into_error(operation));
                    }
                }
            }
            Err(error) => {
                for number in owners {
                    jobs[number].state = Err(again(&error, "add the routes to pods"));
                }
            }
        }
    }
}

fn open_host_ports(network: &mut Network, jobs: &mut [Job<'_>]) {
    let mut ports: HostPorts = vec![];
    for job in jobs.iter() {
        if let Some(reservation) = job.reservation() {
            ports.extend(reservation.host_ports.iter().map(|port| (reservation.ip, *port)));
        }
    }
    if ports.is_empty() {
        return;
    }
    let Err(error) = network.proxy.add_host_ports(&ports, &mut network.route) else {
        return;
    };
    warn!(%error, "host ports could not be opened together, opening them pod by pod");
    for job in jobs {
        let Some(reservation) = job.reservation() else { continue };
        let ports: HostPorts = reservation
            .host_ports
            .iter()
            .map(|port| (reservation.ip, *port))
            .collect();
        if let Err(error) = network.proxy.add_host_ports(&ports, &mut network.route) {
            job.state = Err(error);
        }
    }
}
