use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use barepod_store::EtcdOptions;

/// What objects are kept in.
#[derive(Debug, Clone)]
pub enum Backend {
    /// Files in `store/` below the state directory, for one control service.
    Embedded,
    /// etcd, for one or several control services.
    Etcd(EtcdOptions),
}

/// The configuration of the control service.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the control service keeps what is its own.
    pub state_dir: PathBuf,
    /// What objects are kept in.
    pub store: Backend,
    /// The address and port that the API server listens on.
    pub listen: SocketAddr,
    /// The address under which pods and nodes reach the API server.
    pub advertise: Ipv4Addr,
    /// Certificates and keys.
    pub pki: Pki,
    /// Service addresses: network address and prefix length.
    pub service_cidr: (Ipv4Addr, u8),
    /// Pod addresses: network address and prefix length.
    pub cluster_cidr: (Ipv4Addr, u8),
    /// Ports that Services of type NodePort get.
    pub node_port_range: RangeInclusive<u16>,
    /// What of which requests is written down, and where.
    pub audit: Option<AuditConfig>,
    /// Whether the scheduler and the controllers run in this process.
    pub controllers: bool,
}

/// The audit log.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// The policy, as YAML or JSON.
    pub policy: PathBuf,
    /// The log, one event in JSON a line; `-` for the standard output.
    pub log: PathBuf,
    /// The size in bytes that a log does not grow beyond: then it gets the time behind its name and a new one begins. 0
    /// for no limit.
    pub max_bytes: u64,
    /// How many such logs are kept; 0 for all.
    pub max_backups: usize,
}

/// Paths of PEM files of a certificate that says "I am the API server, and the one I speak for is in the headers". Its
/// authority signs nothing else: who has a certificate of it can be anybody.
#[derive(Debug, Clone)]
pub struct FrontProxy {
    /// The authority.
    pub ca: PathBuf,
    /// The certificate, whose common name is [`FrontProxy::NAME`].
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl FrontProxy {
    /// The common name that aggregated API servers expect.
    pub const NAME: &str = "front-proxy-client";
}

/// Paths of PEM files.
#[derive(Debug, Clone)]
pub struct Pki {
    /// The authority that signed client and node certificates.
    pub ca: PathBuf,
    /// The key of that authority, with which certificate requests are signed; without it nobody signs them.
    pub ca_key: Option<PathBuf>,
    /// The key that signs tokens of service accounts; made if there is none.
    pub service_account_key: PathBuf,
    /// The API server's certificate.
    pub server_cert: PathBuf,
    /// The key of the API server's certificate.
    pub server_key: PathBuf,
    /// The certificate with which the API server calls nodes.
    pub kubelet_client_cert: PathBuf,
    /// The key of that certificate.
    pub kubelet_client_key: PathBuf,
    /// What aggregated API servers know the API server by; without it they believe nothing it says about users.
    pub front_proxy: Option<FrontProxy>,
}

impl Config {
    /// The first address of the service network, which the `kubernetes` Service has.
    pub fn kubernetes_service_address(&self) -> Ipv4Addr {
        let (network, prefix) = self.service_cidr;
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
        Ipv4Addr::from((u32::from(network) & mask).wrapping_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_service_address() {
        let pki = Pki {
            ca: PathBuf::new(),
            ca_key: None,
            service_account_key: PathBuf::new(),
            server_cert: PathBuf::new(),
            server_key: PathBuf::new(),
            kubelet_client_cert: PathBuf::new(),
            kubelet_client_key: PathBuf::new(),
            front_proxy: None,
        };
        let config = Config {
            state_dir: PathBuf::new(),
            store: Backend::Embedded,
            listen: ([127, 0, 0, 1], 0).into(),
            advertise: Ipv4Addr::LOCALHOST,
            pki,
            service_cidr: (Ipv4Addr::new(10, 96, 3, 0), 16),
            cluster_cidr: (Ipv4Addr::new(10, 244, 0, 0), 16),
            node_port_range: 30_000..=32_767,
            audit: None,
            controllers: false,
        };
        assert_eq!(config.kubernetes_service_address(), Ipv4Addr::new(10, 96, 0, 1));
    }
}
