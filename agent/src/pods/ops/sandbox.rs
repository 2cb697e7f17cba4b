//! Makes a pod's sandbox: its directory and files, its monitor, its network.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use crate::kinds::Pod;
use barepod_netplugin::{HostPort, Protocol};
use barepod_runtime::protocol::{Event, NamespaceMode, SandboxConfig};
use tokio::sync::{mpsc, watch};

use super::remove;
use crate::drivers::monitor::{self, Monitor};
use crate::drivers::network::{self, chain};
use crate::laps::Laps;
use crate::pods::shape;
use crate::pods::spares::Spare;
use crate::pods::store::Store;
use crate::shared::{SharedRef, blocking};
use crate::spec::{dns, resources};
use crate::{fault, files};

/// A sandbox that can take containers. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// Its monitor.
    pub monitor: Monitor,
    /// Its network namespace.
    pub netns: Option<Arc<OwnedFd>>,
    /// The pod's address.
    pub ip: Option<Ipv4Addr>,
}

/// A new sandbox with the channel of its events.
pub type Made = (Sandbox, mpsc::Receiver<Event>);

/// How a sandbox begins.
enum Beginning {
    /// It is there.
    Spare(Spare),
    New(monitor::Beginning),
}

/// Makes the sandbox. What was made is removed again when a later step fails. `None` when the pod is to end first.
pub async fn create(
    shared: SharedRef,
    pod: Arc<Pod>,
    store: Arc<Store>,
    cancel: watch::Receiver<bool>,
) -> Option<Result<Made, String>> {
    let uid = shape::uid(&pod).to_owned();
    let result = attempt(&shared, &pod, &store, cancel).await;
    if !matches!(result, Some(Ok(_))) {
        for error in remove::kernel(&shared, &uid, None, shape::host_network(&pod)).await {
            tracing::warn!(pod = uid, error, "half-made sandbox not removed");
        }
    }
    result
}

async fn attempt(
    shared: &SharedRef,
    pod: &Arc<Pod>,
    store: &Arc<Store>,
    cancel: watch::Receiver<bool>,
) -> Option<Result<Made, String>> {
    let laps = Laps::begin(shape::uid(pod));
    let config = config(shared, pod);
    let dir = config.dir.clone();
    let prepared = {
        let (pod, store, dir, hostname) = (Arc::clone(pod), Arc::clone(store), dir.clone(), config.hostname.clone());
        blocking(move || prepare(&pod, &store, &dir, &hostname)).await
    };
    if let Err(error) = prepared {
        return Some(Err(format!("prepare the pod's directory: {error}")));
    }
    fault::point("agent.pod-recorded");
    laps.done("directories");
    let beginning = match shared.spares.take(shared, &config) {
        Some(spare) => Beginning::Spare(spare),
        None => match shared.program.spawn(&config).await {
            Ok(beginning) => Beginning::New(beginning),
            Err(error) => return Some(Err(chain(&error))),
        },
    };
    laps.done("begun");
    let netns = match &beginning {
        Beginning::Spare(spare) => Some(Arc::clone(&spare.netns)),
        Beginning::New(beginning) => beginning.netns.clone(),
    };
    // The network is there when the sandbox is, or nearly.
    let (ready, address) = tokio::join!(
        async {
            let connected = match beginning {
                Beginning::Spare(spare) => spare.claim(shared, &config).await?,
                Beginning::New(beginning) => {
                    beginning.ready().await.map_err(|error| chain(&error))?;
                    let (monitor, events, _) = connect(&dir).await?;
                    (monitor, events)
                }
            };
            fault::point("agent.sandbox-ready");
            laps.done("sandbox");
            Ok(connected)
        },
        address(shared, pod, netns.clone(), cancel)
    );
    let (monitor, events) = match ready {
        Ok(connected) => connected,
        Err(error) => return Some(Err(error)),
    };
    let ip = match address? {
        Ok(ip) => Some(ip),
        Err(error) => return Some(Err(error)),
    };
    fault::point("agent.network-added");
    laps.done("network");
    let written = {
        let (pod, store) = (Arc::clone(pod), Arc::clone(store));
        blocking(move || write_hosts(&pod, &store, ip, &config.hostname)).await
    };
    if let Err(error) = written {
        return Some(Err(format!("write the pod's hosts file: {error}")));
    }
    laps.done("hosts");
    Some(Ok((Sandbox { monitor, netns, ip }, events)))
}

/// The pod's address, once it is connected to the network; `None` when the pod is to end first.
async fn address(
    shared: &SharedRef,
    pod: &Pod,
    netns: Option<Arc<OwnedFd>>,
    cancel: watch::Receiver<bool>,
) -> Option<Result<Ipv4Addr, String>> {
    if shape::host_network(pod) {
        return Some(Ok(shared.host.ip));
    }
    let Some(netns) = netns else {
        return Some(Err("the sandbox has no network namespace".into()));
    };
    let handle = network_handle(shared.network.clone(), cancel).await?;
    let added = handle.add(shape::uid(pod), netns, host_ports(pod)).await;
    Some(match added {
        Ok(attachment) => Ok(attachment.ip),
        Err(error) => Err(format!("connect the pod to the network: {error}")),
    })
}

/// Connects to a monitor and learns the network namespace. The channel carries every event from then on.
pub async fn connect(dir: &Path) -> Result<(Monitor, mpsc::Receiver<Event>, Option<Arc<OwnedFd>>), String> {
    let (monitor, events) = Monitor::connect(dir).map_err(|error| chain(&error))?;
    let (subscribed, described) = tokio::join!(monitor.subscribe(), monitor.describe());
    subscribed.map_err(|error| chain(&error))?;
    let described = described.map_err(|error| chain(&error))?;
    Ok((monitor, events, described.netns.map(Arc::new)))
}

/// The network, as soon as the node has one; `None` when the pod is to end first.
async fn network_handle(
    mut network: watch::Receiver<Option<network::Handle>>,
    mut cancel: watch::Receiver<bool>,
) -> Option<network::Handle> {
    tokio::select! {
        biased;
        handle = network.wait_for(Option::is_some) => handle.ok().as_deref().cloned().flatten(),
        _ = cancel.wait_for(|it| *it) => None,
    }
}

fn prepare(pod: &Pod, store: &Store, sandbox_dir: &Path, hostname: &str) -> std::io::Result<()> {
    store.write_pod(pod)?;
    files::make_private_dir(sandbox_dir)?;
    // Readable by every user of the container it is mounted in.
    let etc = store.dir().join("etc");
    std::fs::create_dir_all(&etc)?;
    let node_resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    write_in_place(&store.etc("resolv.conf"), &dns::resolv_conf(pod, &node_resolv))?;
    write_in_place(&store.etc("hostname"), &format!("{hostname}\n"))
}

fn write_hosts(pod: &Pod, store: &Store, ip: Option<Ipv4Addr>, hostname: &str) -> std::io::Result<()> {
    let node_hosts = if shape::host_network(pod) {
        std::fs::read_to_string("/etc/hosts").unwrap_or_default()
    } else {
        String::new()
    };
    write_in_place(&store.etc("hosts"), &dns::hosts(pod, ip, hostname, &node_hosts))
}

/// Writes the hosts file if an agent before this one did not come to it. Blocking.
pub fn write_missing_hosts(pod: &Pod, store: &Store, ip: Option<Ipv4Addr>, hostname: &str) -> std::io::Result<()> {
    if store.etc("hosts").exists() {
        Ok(())
    } else {
        write_hosts(pod, store, ip, hostname)
    }
}

/// Containers hold bind mounts of these files, which renaming would cut off.
fn write_in_place(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let mut file = std::fs::File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

fn config(shared: &SharedRef, pod: &Pod) -> SandboxConfig {
    let spec = shape::spec(pod);
    let uid = shape::uid(pod);
    let of_node = |node: Option<bool>| {
        if node == Some(true) {
            NamespaceMode::Node
        } else {
            NamespaceMode::Pod
        }
    };
    let pid = match (spec.host_pid, spec.share_process_namespace) {
        (Some(true), _) => NamespaceMode::Node,
        (_, Some(false)) => NamespaceMode::Container,
        _ => NamespaceMode::Pod,
    };
    let sysctls = spec.security_context.iter().flat_map(|it| it.sysctls.iter().flatten());
    let meta = [
        ("io.kubernetes.pod.name", shape::name(pod)),
        ("io.kubernetes.pod.namespace", shape::namespace(pod)),
        ("io.kubernetes.pod.uid", uid),
    ];
    let controllers = shared.host.controllers;
    let pids = shared.config.pod_pids_limit.filter(|_| controllers.pids);
    let mut limits = resources::pod_limits(pod, pids);
    if !controllers.cpu {
        resources::leave_out_least_weight(&mut limits);
    }
    SandboxConfig {
        id: uid.to_owned(),
        name: shape::full_name(pod),
        dir: shared.config.sandbox_dir(uid),
        hostname: dns::hostname(pod, &shared.config.node_name),
        cgroup: shared.config.pod_cgroup(uid),
        resources: Some(limits),
        network: of_node(spec.host_network),
        pid,
        ipc: of_node(spec.host_ipc),
        uts: of_node(spec.host_network),
        sysctls: sysctls.map(|it| (it.name.clone(), it.value.clone())).collect(),
        annotations: meta
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
        spare: false,
    }
}

/// Ports of the node that lead to the pod.
fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let ports = shape::containers(pod).flat_map(|(_, container)| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = |it: i32| u16::try_from(it).ok().filter(|it| *it != 0);
            Some(HostPort {
                host_ip: port
                    .host_ip
                    .as_deref()
                    .and_then(|ip| ip.parse().ok())
                    .filter(|ip: &Ipv4Addr| !ip.is_unspecified()),
                host_port: number(port.host_port?)?,
                container_port: number(port.container_port)?,
                protocol: match port.protocol.as_deref() {
                    Some("UDP") => Protocol::Udp,
                    Some("SCTP") => Protocol::Sctp,
                    _ => Protocol::Tcp,
                },
            })
        })
        .collect()
}
