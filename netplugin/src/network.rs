//! The node's network: one owner, used from one thread.

use crate::attach::{self, Request};
use crate::files::{self, Wait};
use crate::ipam::{Ipam, Reservation};
use crate::names::{host_interface, is_host_interface};
use crate::netlink::{Socket, link_by_name, links};
use crate::proxy::{HostPorts, Proxy};
use crate::reaper::Reaper;
use crate::{AddRequest, Attachment, Config, Result, ServicePort, Synced, bridge, host, netns};
use nix::fcntl::Flock;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

/// Pod networking of a node.
///
/// All methods are synchronous; adding a pod makes the calling thread visit the pod's network namespace for a moment,
/// so calls should come from one dedicated thread, never from one that runs asynchronous tasks.
#[derive(Debug)]
pub struct Network {
    pub(crate) config: Config,
    pub(crate) mtu: u32,
    pub(crate) ipv6: bool,
    pub(crate) route: Socket,
    /// The bridge's interface index.
    pub(crate) bridge: u32,
    /// The host's network namespace.
    pub(crate) home: File,
    pub(crate) ipam: Ipam,
    pub(crate) proxy: Proxy,
    pub(crate) reaper: Reaper,
    /// Dropped last: nobody else may begin before the reaper is done.
    _lock: Flock<File>,
}

impl Network {
    /// Makes the node's network, or takes over the one that is there: bridge, addresses, routes, settings of the host
    /// (recorded first), and the nf_tables table. Pods and Services that exist keep working all the time.
    ///
    /// # Errors
    /// When the settings cannot work, when another process owns the state directory, or when the kernel refuses.
    pub fn open(config: Config) -> Result<Self> {
        Self::open_with(config, Wait::No)
    }

    pub(crate) fn open_with(config: Config, wait: Wait) -> Result<Self> {
        config.check()?;
        let lock = files::lock(&config.state_dir, wait)?;
        let ipam = Ipam::open(&config.state_dir, config.pod_cidr)?;
        let mut route = Socket::route()?;
        bridge::not_of_another(&mut route, &config.bridge, &config.state_dir)?;
        host::prepare(&config, &mut route)?;
        let ipv6 = Path::new("/proc/sys/net/ipv6").exists();
        let mtu = bridge::mtu(&mut route, &config)?;
        let bridge = bridge::ensure(&mut route, &config, mtu, ipv6)?;
        host::prepare_bridge(&config.bridge)?;
        let proxy = Proxy::open(&config, &host_ports(ipam.iter()))?;
        let home = netns::current()?;
        Ok(Self {
            config,
            mtu,
            ipv6,
            route,
            bridge,
            home,
            ipam,
            proxy,
            reaper: Reaper::default(),
            _lock: lock,
        })
    }

    /// Attaches pods, one result for each in order. Calling it again for a pod that has its network changes nothing.
    /// The reservations are on disk before they are used; a pod that fails leaves nothing behind.
    pub fn add(&mut self, requests: &[AddRequest<'_>]) -> Vec<Result<Attachment>> {
        let requests: Vec<Request<'_>> = requests
            .iter()
            .map(|r| Request {
                uid: r.uid,
                netns: r.netns,
                interface: "eth0",
                host_ports: &r.host_ports,
            })
            .collect();
        self.attach(&requests)
    }

    pub(crate) fn attach(&mut self, requests: &[Request<'_>]) -> Vec<Result<Attachment>> {
        attach::attach(self, requests)
    }

    /// Takes a pod's network away: host ports, then the interface, then the address. Succeeds if there is none.
    ///
    /// The interface goes with the pod's namespace; if that outlives the pod, a thread deletes it a moment later (see
    /// [`Network::flush`]).
    ///
    /// # Errors
    /// The first failure; the other steps are carried out all the same.
    pub fn remove(&mut self, uid: &str) -> Result<()> {
        let mut results = vec![];
        if let Some(reservation) = self.ipam.get(uid).filter(|r| !r.host_ports.is_empty()) {
            results.push(
                self.proxy
                    .remove_host_ports(&host_ports([reservation]), &mut self.route),
            );
        }
        results.push(self.condemn(uid));
        results.push(self.ipam.release(uid).map(drop));
        results.into_iter().collect()
    }

    fn condemn(&mut self, uid: &str) -> Result<()> {
        match link_by_name(&mut self.route, &host_interface(uid))? {
            Some(link) if link.alias.as_deref().is_none_or(|alias| alias == uid) => self.reaper.condemn(link.index),
            _ => Ok(()),
        }
    }

    /// Waits until the interfaces of removed pods are gone.
    ///
    /// # Errors
    /// When the kernel refuses to delete one.
    pub fn flush(&mut self) -> Result<()> {
        self.reaper.flush()
    }

    /// Every pod that has an address, by UID.
    #[must_use]
    pub fn attachments(&self) -> Vec<Attachment> {
        self.ipam.iter().map(|r| self.attachment_of(r)).collect()
    }

    /// What one pod has.
    #[must_use]
    pub fn attachment(&self, uid: &str) -> Option<Attachment> {
        self.ipam.get(uid).map(|r| self.attachment_of(r))
    }

    fn attachment_of(&self, reservation: &Reservation) -> Attachment {
        Attachment {
            uid: reservation.uid.clone(),
            ip: reservation.ip,
            gateway: self.config.gateway(),
            host_interface: host_interface(&reservation.uid),
        }
    }

    /// Removes what belongs to no pod of the list: reservations, and interfaces in the kernel that no reservation
    /// knows. One result for each thing that was removed.
    pub fn gc(&mut self, live_uids: &[String]) -> Vec<Result<()>> {
        let live: BTreeSet<&str> = live_uids.iter().map(String::as_str).collect();
        let dead: Vec<String> = self
            .ipam
            .iter()
            .map(|r| r.uid.clone())
            .filter(|uid| !live.contains(uid.as_str()))
            .collect();
        let mut results: Vec<Result<()>> = dead.iter().map(|uid| self.remove(uid)).collect();
        let orphans = links(&mut self.route).map(|all| {
            let dead: BTreeSet<String> = dead.iter().map(|uid| host_interface(uid)).collect();
            all.into_iter()
                .filter(|l| l.master == Some(self.bridge) && is_host_interface(&l.name) && !dead.contains(&l.name))
                .filter(|l| l.alias.as_deref().is_none_or(|uid| !live.contains(uid)))
                .map(|l| l.index)
                .collect::<Vec<u32>>()
        });
        match orphans {
            Ok(orphans) => results.extend(orphans.into_iter().map(|index| self.reaper.condemn(index))),
            Err(error) => results.push(Err(error)),
        }
        results
    }

    /// Brings the Service rules to the desired state, which is always given whole. The change is one transaction, so
    /// Services that stay the same lose no packet; when this returns, it is in the data path. Established TCP
    /// connections to an endpoint that is gone go on; UDP flows to it are forgotten.
    ///
    /// # Errors
    /// When the kernel refuses; its rules are unchanged then.
    pub fn sync(&mut self, services: &[ServicePort]) -> Result<Synced> {
        let host_ports = host_ports(self.ipam.iter());
        self.proxy.sync(&self.config, &mut self.route, services, &host_ports)
    }

    /// The settings the network was opened with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }
}

/// The agent moves the network into the thread it is used from.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Network>();
};

fn host_ports<'a>(reservations: impl IntoIterator<Item = &'a Reservation>) -> HostPorts {
    reservations
        .into_iter()
        .flat_map(|r| r.host_ports.iter().map(|port| (r.ip, *port)))
        .collect()
}
