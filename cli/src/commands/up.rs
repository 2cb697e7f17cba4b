//! `barepod up`: this machine as a single-node cluster, in the background.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use barepod_client::types::Node;
use barepod_client::{Client, Event, Kubeconfig, Object, Selection, watch};
use barepod_netplugin::Ipv4Net;
use clap::Args;
use futures_util::StreamExt;

use crate::daemon::{self, Started};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::{demo, node};

use super::{agent, check, reset};

/// Options of `up`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Also run a demo application from an image that is built in
    #[arg(long)]
    pub demo: bool,
    /// The node's name [default: the host name]
    #[arg(long)]
    pub node_name: Option<String>,
    /// The node's address [default: that of the interface with the default route]
    #[arg(long)]
    pub node_ip: Option<Ipv4Addr>,
    /// Port of the API server
    #[arg(long, default_value_t = 6443)]
    pub port: u16,
    /// Port of the node API
    #[arg(long, default_value_t = 10250)]
    pub agent_port: u16,
    /// The addresses that Services get
    #[arg(long, default_value = node::SERVICE_CIDR)]
    pub service_cidr: Ipv4Net,
    /// How many sandboxes are kept ready for pods to come; each costs the memory of an idle pod
    #[arg(long, default_value_t = 0)]
    pub spare_sandboxes: usize,
    /// Seconds to wait for the node, and then for the demo
    #[arg(long, default_value_t = 60)]
    pub timeout: u64,
}

/// Starts what does not run yet, and waits until the node is ready.
pub fn run(paths: &Paths, options: &Options) -> Result<ExitCode> {
    check::required(paths)?;
    reset::remember_created(paths)?;
    paths.create()?;
    let progress = Progress::new();
    let ip = options.node_ip.unwrap_or_else(|| node::address(agent::BRIDGE));
    start_control(paths, options, ip, &progress)?;
    start_agent(paths, options, ip, &progress)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::of(&Kubeconfig::read(&paths.admin_kubeconfig())?)?;
        let name = options.node_name.clone().map_or_else(node::name, Ok)?;
        progress.begin(&format!("node {name} becomes ready"));
        let limit = Duration::from_secs(options.timeout);
        tokio::time::timeout(limit, node_ready(client.clone(), &name))
            .await
            .with_context(|| {
                format!(
                    "node {name} is not ready after {} s; see {}",
                    options.timeout,
                    paths.log("agent").display()
                )
            })??;
        progress.done(&format!("node {name} is ready"));
        let demo = if options.demo {
            Some(demo::run(paths, client, &progress, limit, ip).await?)
        } else {
            None
        };
        print_next(paths, demo.as_ref());
        Ok(ExitCode::SUCCESS)
    })
}

fn start_control(paths: &Paths, options: &Options, ip: Ipv4Addr, progress: &Progress) -> Result<()> {
    progress.begin("control service starts");
    let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, options.port));
    let mut command = this_program(paths)?;
    command
        .arg("control")
        .args(["--listen", &listen.to_string(), "--advertise", &ip.to_string()])
        .args(["--service-cidr", &options.service_cidr.to_string()]);
    let started = daemon::start(
        "control service",
        &mut command,
        &paths.pid_file("control"),
        &paths.log("control"),
    )?;
    progress.done(&told("control service", started));
    Ok(())
}

fn start_agent(paths: &Paths, options: &Options, ip: Ipv4Addr, progress: &Progress) -> Result<()> {
    progress.begin("agent starts");
    let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, options.agent_port));
    let mut command = this_program(paths)?;
    command
        .arg("agent")
        .args(["--api", &format!("https://127.0.0.1:{}", options.port)]);
    command.args(["--agent-listen", &listen.to_string(), "--node-ip", &ip.to_string()]);
    command.args(["--service-cidr", &options.service_cidr.to_string()]);
    command.args(["--spare-sandboxes", &options.spare_sandboxes.to_string()]);
    if let Some(name) = &options.node_name {
        command.args(["--node-name", name]);
    }
    let started = daemon::start("agent", &mut command, &paths.pid_file("agent"), &paths.log("agent"))?;
    progress.done(&told("agent", started));
    Ok(())
}

fn told(what: &str, started: Started) -> String {
    match started {
        Started::Already(pid) => format!("{what} runs already (process {pid})"),
        Started::New(pid) => format!("{what} is up (process {pid})"),
    }
}

/// This very program, told the same directories, in a session of its own so that the terminal's signals do not reach it.
fn this_program(paths: &Paths) -> Result<Command> {
    use std::os::unix::process::CommandExt;
    let program = std::env::current_exe().context("find this program's own file")?;
    let mut command = Command::new(program);
    command.process_group(0).current_dir("/");
    command
        .arg("--conf-dir")
        .arg(&paths.conf_dir)
        .arg("--state-dir")
        .arg(&paths.state_dir);
    command
        .arg("--run-dir")
        .arg(&paths.run_dir)
        .arg("--cgroup-parent")
        .arg(&paths.cgroup_parent);
    Ok(command)
}

async fn node_ready(client: Client, name: &str) -> Result<()> {
    let selection = Selection::all(Node::RESOURCE).fields(format!("metadata.name={name}"));
    let mut events = watch::<Node>(client, selection);
    while let Some(event) = events.next().await {
        if let Event::Apply(node) | Event::InitApply(node) = event
            && node
                .status
                .conditions
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True")
        {
            return Ok(());
        }
    }
    bail!("the watch of node {name} ended")
}

fn print_next(paths: &Paths, demo: Option<&demo::Demo>) {
    if let Some(demo) = demo {
        println!("\n{}", demo.table);
    }
    println!(
        "Next:\n  export KUBECONFIG={}\n  kubectl get pods -o wide",
        paths.admin_kubeconfig().display()
    );
    if let Some(demo) = demo {
        println!(
            "  curl http://{}/          # the Service's cluster IP",
            demo.cluster_address
        );
        println!("  curl http://{}/      # its NodePort", demo.node_address);
    }
    println!(
        "  barepod ps                 # pods and containers as the kernel has them\n  barepod reset              # take everything down again"
    );
}
