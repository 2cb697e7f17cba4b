//! `barepod`: the one file of an installation. It starts a node, runs its parts, takes it down again, and looks inside.

mod commands;
mod daemon;
mod demo;
mod install;
mod kubeconfig;
mod logging;
mod node;
mod output;
mod paths;
mod pki;
mod pods;
mod progress;
mod sys;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use commands::{agent, check, control, enter, images, inspect, ps, reset, store, up};

/// Kubernetes pods straight on the Linux kernel
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    paths: paths::Paths,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring up this machine as a single-node cluster
    Up(up::Options),
    /// Run the control service: API server, scheduler, controllers, store
    Control(control::Options),
    /// Run the node agent
    Agent(agent::Options),
    /// Stop everything and leave the machine as it was before
    Reset(reset::Options),
    /// Back up the store, put it back, move it to etcd
    Store(store::Options),
    /// Import and list images
    Images(images::Options),
    /// Say what this kernel and machine have and lack
    Check(check::Options),
    /// List pods and containers with their processes, from the kernel and the records alone
    Ps(ps::Options),
    /// Show a pod's namespaces, cgroups, mounts, network and proxy rules
    Inspect(inspect::Options),
    /// Run a program of this machine inside a pod's namespaces
    Enter(enter::Options),
    /// List the points at which `BAREPOD_FAULT` can make a part of barepod die, for tests
    #[command(hide = true)]
    FaultPoints,
}

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    if std::path::Path::new(&called)
        .file_name()
        .is_some_and(|name| name == "barepod-cni")
    {
        return barepod_netplugin::cni::main();
    }
    let cli = Cli::parse();
    // The services write to sockets whose other end may go at any time, which must not end them.
    if !matches!(cli.command, Command::Control(_) | Command::Agent(_)) {
        sys::default_sigpipe();
    }
    let done = match cli.command {
        Command::Up(options) => up::run(&cli.paths, &options),
        Command::Control(options) => control::run(&cli.paths, &options),
        Command::Agent(options) => agent::run(&cli.paths, &options),
        Command::Reset(options) => reset::run(&cli.paths, &options),
        Command::Store(options) => store::run(&cli.paths, &options),
        Command::Images(options) => images::run(&cli.paths, &options),
        Command::Check(options) => check::run(&cli.paths, &options),
        Command::Ps(options) => ps::run(&cli.paths, &options),
        Command::Inspect(options) => inspect::run(&cli.paths, &options),
        Command::Enter(options) => enter::run(&cli.paths, &options),
        Command::FaultPoints => {
            // A node never comes by those of the OCI command line.
            let runtime = barepod_runtime::fault::POINTS
                .iter()
                .filter(|point| !point.starts_with("oci."));
            for point in runtime.chain(barepod_agent::FAULT_POINTS) {
                println!("{point}");
            }
            Ok(ExitCode::SUCCESS)
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("barepod: {error:#}");
            let full = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::StorageFull;
            if error.chain().any(|cause| cause.downcast_ref().is_some_and(full)) {
                eprintln!("barepod: the disk is full: free some space, then try again");
            }
            ExitCode::FAILURE
        }
    }
}
