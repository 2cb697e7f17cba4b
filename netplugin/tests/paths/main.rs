//! Every path a packet of a pod can take, with real sockets.
//!
//! Each case runs in a process of its own that enters new network and mount namespaces first, so nothing it makes is
//! seen by the machine. Pods are network namespaces with threads that serve TCP and UDP. Needs root.

mod attach;
mod cni;
mod flows;
mod host_ports;
mod outside;
mod restart;
mod services;
mod world;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::process::{Command, ExitCode};
use std::time::Instant;

type Case = (&'static str, fn());

const CASES: &[&[Case]] = &[
    attach::CASES,
    services::CASES,
    outside::CASES,
    flows::CASES,
    host_ports::CASES,
    restart::CASES,
    cni::CASES,
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = arguments.as_slice()
        && flag == "--inside"
    {
        inside(name);
        return ExitCode::SUCCESS;
    }
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let chosen = |name: &str| filters.is_empty() || filters.iter().any(|f| name.contains(f.as_str()));
    let all = CASES
        .iter()
        .flat_map(|c| c.iter())
        .flat_map(|(name, _)| [(*name).to_owned(), format!("{name}_strict")]);
    let cases: Vec<String> = all.filter(|name| chosen(name)).collect();
    if arguments.iter().any(|a| a == "--list") {
        cases.iter().for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let failed: Vec<&String> = cases.iter().filter(|name| !passes(name)).collect();
    println!(
        "\ntest result: {} passed; {} failed",
        cases.len() - failed.len(),
        failed.len()
    );
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn passes(name: &str) -> bool {
    let start = Instant::now();
    let output = Command::new("/proc/self/exe")
        .args(["--inside", name])
        .output()
        .expect("the test starts itself");
    let verdict = if output.status.success() { "ok" } else { "FAILED" };
    println!("test {name} ... {verdict} ({} ms)", start.elapsed().as_millis());
    if !output.status.success() {
        println!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    output.status.success()
}

fn inside(name: &str) {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("these tests need root");
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("make mounts private");
    // A loopback interface that has never been up shows another queue than one that is down again.
    world::sh("ip link set lo up && ip link set lo down");
    // The bridge's packet filter and strict source checks, where a distribution turns them on, must change nothing.
    let strict = if name.ends_with("_strict") { "1" } else { "0" };
    world::sh(&format!(
        "echo {strict} > /proc/sys/net/ipv4/conf/all/rp_filter
         if [ -e /proc/sys/net/bridge ]; then echo {strict} > /proc/sys/net/bridge/bridge-nf-call-iptables; fi"
    ));
    let name = name.strip_suffix("_strict").unwrap_or(name);
    let case = CASES
        .iter()
        .flat_map(|c| c.iter())
        .find(|(n, _)| *n == name)
        .expect("a case of that name")
        .1;
    case();
}
