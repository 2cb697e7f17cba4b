//! `barepod control`: the control service in the foreground.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use barepod_netplugin::Ipv4Net;
use clap::Args;

use crate::daemon::Running;
use crate::paths::Paths;
use crate::{install, logging, node};

use super::agent::shutdown_signal;
use super::store;

/// Options of `control`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Address and port of the API server
    #[arg(long, default_value = "0.0.0.0:6443")]
    pub listen: SocketAddr,
    /// Address at which pods and other nodes reach the API server [default: this node's address]
    #[arg(long)]
    pub advertise: Option<Ipv4Addr>,
    /// Addresses of pods
    #[arg(long, default_value = node::CLUSTER_CIDR)]
    pub cluster_cidr: Ipv4Net,
    /// Addresses of Services
    #[arg(long, default_value = node::SERVICE_CIDR)]
    pub service_cidr: Ipv4Net,
    #[command(flatten)]
    place: store::Place,
    #[command(flatten)]
    audit: Audit,
}

#[derive(Debug, Clone, Args)]
struct Audit {
    /// File with the audit policy; without it nothing is written
    #[arg(long, requires = "audit_log_path")]
    audit_policy_file: Option<PathBuf>,
    /// The audit log; - for the standard output
    #[arg(long, requires = "audit_policy_file")]
    audit_log_path: Option<PathBuf>,
    /// Megabytes after which the audit log is set aside and a new one begins; 0 for never
    #[arg(long, default_value_t = 100)]
    audit_log_maxsize: u64,
    /// How many audit logs that were set aside are kept; 0 for all
    #[arg(long, default_value_t = 0)]
    audit_log_maxbackup: usize,
}

impl Audit {
    fn config(&self) -> Option<barepod_control::AuditConfig> {
        let (policy, log) = (self.audit_policy_file.clone()?, self.audit_log_path.clone()?);
        Some(barepod_control::AuditConfig {
            policy,
            log,
            max_bytes: self.audit_log_maxsize.saturating_mul(1 << 20),
            max_backups: self.audit_log_maxbackup,
        })
    }
}

/// Runs until a signal ends it.
pub fn run(paths: &Paths, options: &Options) -> Result<ExitCode> {
    logging::init();
    paths.create()?;
    let _running = Running::take("control service", &paths.pid_file("control"))?;
    let advertise = match (options.advertise, options.listen.ip()) {
        (Some(given), _) => given,
        (None, IpAddr::V4(ip)) if !ip.is_unspecified() && !ip.is_loopback() => ip,
        (None, _) => node::address(super::agent::BRIDGE),
    };
    if advertise.is_loopback() || advertise.is_unspecified() {
        bail!("--advertise {advertise}: pods do not reach this machine there; give one of its other addresses");
    }
    let api = node::Api {
        listen: options.listen,
        advertise,
        service: options.service_cidr.first(),
    };
    let pki = install::control(paths, &node::name()?, api)?;
    let config = barepod_control::Config {
        state_dir: paths.state_dir.clone(),
        store: options.place.backend()?,
        listen: options.listen,
        advertise,
        pki,
        service_cidr: (options.service_cidr.addr, options.service_cidr.prefix),
        cluster_cidr: (options.cluster_cidr.addr, options.cluster_cidr.prefix),
        node_port_range: 30_000..=32_767,
        audit: options.audit.config(),
        controllers: true,
    };
    let runtime = barepod_control::runtime()?;
    let ready = |_| {
        if let Err(error) = Running::ready() {
            tracing::warn!("cannot say that it is ready: {error:#}");
        }
    };
    runtime.block_on(barepod_control::run_until(config, ready, shutdown_signal()))?;
    Ok(ExitCode::SUCCESS)
}
