//! What an agent is told when it starts.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use barepod_netplugin::Ipv4Net;

/// Configuration of a node agent. Every path is absolute.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's name in the cluster.
    pub node_name: String,
    /// How to reach the API server, with the node's client certificate.
    pub kubeconfig: PathBuf,
    /// Configuration directory, such as `/etc/barepod`.
    pub conf_dir: PathBuf,
    /// What survives a reboot, such as `/var/lib/barepod`.
    pub state_dir: PathBuf,
    /// What does not survive a reboot, such as `/run/barepod`.
    pub run_dir: PathBuf,
    /// The cgroup below which pods live, such as `/barepod`.
    pub cgroup_parent: PathBuf,
    /// The `barepod-runtime` program.
    pub runtime: PathBuf,
    /// The node's address; the one of the default route, or else of the first interface that is up, when absent.
    pub node_ip: Option<Ipv4Addr>,
    /// Where the node API listens, such as `0.0.0.0:10250`.
    pub listen: SocketAddr,
    /// Certificates of the node API.
    pub tls: Tls,
    /// Addresses of Services.
    pub service_cidr: Ipv4Net,
    /// Addresses of pods, of every node.
    pub cluster_cidr: Ipv4Net,
    /// The bridge pods are connected to.
    pub bridge: String,
    /// Directory of static pods' manifests.
    pub static_pods: PathBuf,
    /// Labels of the Node object beside the usual ones.
    pub labels: BTreeMap<String, String>,
    /// How many pods the node takes.
    pub max_pods: u32,
    /// How many processes and threads one pod may have; `None` leaves it to the kernel.
    pub pod_pids_limit: Option<i64>,
    /// How many sandboxes are kept ready for pods to come.
    pub spare_sandboxes: usize,
    /// When a container's log is rotated, in bytes.
    pub log_max_bytes: u64,
    /// How many files of a container's log are kept, the current one among them.
    pub log_max_files: u32,
}

/// Certificates of the node API, in PEM files.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Server certificate, with its chain.
    pub cert: PathBuf,
    /// Private key of the server certificate.
    pub key: PathBuf,
    /// Authority that signs the clients' certificates.
    pub client_ca: PathBuf,
}

/// How many pods a node takes unless it is told otherwise: the usual figure of Kubernetes nodes.
pub const DEFAULT_MAX_PODS: u32 = 110;
/// How many processes and threads one pod may have unless it is told otherwise.
pub const DEFAULT_POD_PIDS_LIMIT: i64 = 16_384;
/// When a container's log is rotated unless it is told otherwise, in bytes.
pub const DEFAULT_LOG_MAX_BYTES: u64 = 10 * 1024 * 1024;
/// How many files of a container's log are kept unless it is told otherwise.
pub const DEFAULT_LOG_MAX_FILES: u32 = 5;
/// The bridge pods are connected to unless it is told otherwise.
pub const DEFAULT_BRIDGE: &str = "barepod0";

impl Config {
    /// Directory of one pod's lasting state.
    #[must_use]
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.state_dir.join("pods").join(uid)
    }

    /// Where files lie that are being removed.
    #[must_use]
    pub(crate) fn trash(&self) -> PathBuf {
        self.state_dir.join("trash")
    }

    /// Directory of one pod's sandbox: records and the monitor's socket.
    #[must_use]
    pub fn sandbox_dir(&self, uid: &str) -> PathBuf {
        self.run_dir.join("pods").join(uid)
    }

    /// The pod's cgroup below every controller's mount.
    #[must_use]
    pub fn pod_cgroup(&self, uid: &str) -> PathBuf {
        self.cgroup_parent.join(format!("pod{uid}"))
    }
}
