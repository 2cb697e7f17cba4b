//! `barepod agent`: the node agent in the foreground.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::Result;
use barepod_agent::{DEFAULT_LOG_MAX_BYTES, DEFAULT_LOG_MAX_FILES, DEFAULT_MAX_PODS, DEFAULT_POD_PIDS_LIMIT};
use barepod_netplugin::Ipv4Net;
use clap::Args;

use crate::daemon::Running;
use crate::paths::Paths;
use crate::{install, logging, node};

/// The bridge that pods are on.
pub const BRIDGE: &str = "barepod0";

/// Options of `agent`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The node's name [default: the host name]
    #[arg(long)]
    pub node_name: Option<String>,
    /// The node's address [default: that of the interface with the default route]
    #[arg(long)]
    pub node_ip: Option<Ipv4Addr>,
    /// Address and port of the node API (logs, exec, attach, port-forward)
    #[arg(long = "agent-listen", default_value = "0.0.0.0:10250")]
    pub listen: SocketAddr,
    /// The API server
    #[arg(long, default_value = "https://127.0.0.1:6443")]
    pub api: String,
    /// The addresses that Services get, as the API server was told them
    #[arg(long, default_value = node::SERVICE_CIDR)]
    pub service_cidr: Ipv4Net,
    /// How many pods the node takes
    #[arg(long, default_value_t = DEFAULT_MAX_PODS)]
    pub max_pods: u32,
    /// How many sandboxes are kept ready for pods to come; each costs the memory of an idle pod
    #[arg(long, default_value_t = 0)]
    pub spare_sandboxes: usize,
    /// A label of the node, as key=value; may be repeated
    #[arg(long = "node-label", value_parser = key_value)]
    pub labels: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .ok_or_else(|| format!("{text:?} is not key=value"))
}

/// Runs until a signal ends it. Pods go on running.
pub fn run(paths: &Paths, options: &Options) -> Result<ExitCode> {
    logging::init();
    paths.create()?;
    let _running = Running::take("agent", &paths.pid_file("agent"))?;
    install::runtime(paths)?;
    let node_name = options.node_name.clone().map_or_else(node::name, Ok)?;
    let node_ip = options.node_ip.unwrap_or_else(|| node::address(BRIDGE));
    let tls = install::agent(paths, &node_name, node_ip, &options.api)?;
    let config = barepod_agent::Config {
        node_name,
        node_ip: Some(node_ip),
        kubeconfig: paths.agent_kubeconfig(),
        conf_dir: paths.conf_dir.clone(),
        state_dir: paths.state_dir.clone(),
        run_dir: paths.run_dir.clone(),
        cgroup_parent: paths.cgroup_parent.clone().into(),
        runtime: paths.runtime(),
        bridge: BRIDGE.to_owned(),
        listen: options.listen,
        tls,
        service_cidr: options.service_cidr,
        cluster_cidr: node::CLUSTER_CIDR.parse()?,
        static_pods: paths.manifests(),
        labels: options.labels.iter().cloned().collect(),
        max_pods: options.max_pods,
        pod_pids_limit: Some(DEFAULT_POD_PIDS_LIMIT),
        spare_sandboxes: options.spare_sandboxes,
        log_max_bytes: DEFAULT_LOG_MAX_BYTES,
        log_max_files: DEFAULT_LOG_MAX_FILES,
    };
    let ready = || {
        if let Err(error) = Running::ready() {
            tracing::warn!("cannot say that it is ready: {error:#}");
        }
    };
    let agent = barepod_agent::run(config, Box::new(ready), Box::pin(shutdown_signal()));
    barepod_agent::runtime()?.block_on(agent)?;
    Ok(ExitCode::SUCCESS)
}

/// Ends when SIGTERM or SIGINT arrives.
pub async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be caught; end this process with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
