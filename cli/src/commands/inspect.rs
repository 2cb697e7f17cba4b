//! `barepod inspect POD`: a pod as the kernel has it.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::{Context, Result};
use barepod_netplugin::{LinkView, NamespaceView};
use barepod_runtime::cgroup::stats::{self, Usage};
use barepod_runtime::cgroup::{Cgroup, Layout};
use barepod_runtime::records::SandboxRecord;
use clap::Args;
use serde::Serialize;

use crate::output::{Output, columns};
use crate::paths::Paths;
use crate::pods;

/// Options of `inspect`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// namespace/name, name, UID or container id
    pod: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Serialize)]
struct Pod {
    name: String,
    uid: String,
    monitor_pid: i32,
    pause_pid: Option<i32>,
    namespaces: BTreeMap<String, String>,
    /// What the pod's network namespace holds.
    network: Option<NamespaceView>,
    /// The host's end of the pod's veth pair.
    host_link: Option<LinkView>,
    proxy_rules: Vec<String>,
    containers: Vec<Container>,
}

#[derive(Debug, Serialize)]
struct Container {
    name: String,
    id: String,
    phase: &'static str,
    pids: Vec<i32>,
    cgroups: Vec<String>,
    usage: Usage,
    /// The limit files of the kernel, as they are.
    limits: BTreeMap<String, String>,
    mounts: Vec<Mount>,
    log_path: String,
}

#[derive(Debug, Serialize)]
struct Mount {
    target: String,
    kind: String,
    source: String,
    options: String,
}

/// Shows the pod.
pub fn run(paths: &Paths, options: &Options) -> Result<ExitCode> {
    let record = pods::find(paths, &options.pod)?;
    let pod = look(&record)?;
    options.output.print(&pod, table)?;
    Ok(ExitCode::SUCCESS)
}

fn look(record: &SandboxRecord) -> Result<Pod> {
    let state = &record.state;
    let layout = Layout::detect().context("look at the cgroups")?;
    let holder = pods::holder(record).ok();
    let network = holder.map(network).transpose()?;
    let host_links = barepod_netplugin::inspect(None)
        .context("look at this machine's links")?
        .links;
    let host_link = host_links
        .into_iter()
        .find(|l| l.alias.as_deref() == Some(&*state.config.id));
    let mut proxy_rules = Vec::new();
    for ip in network
        .iter()
        .flat_map(|n| &n.links)
        .filter(|l| l.name != "lo")
        .flat_map(|l| &l.addresses)
    {
        if let Some(ip) = ip.split('/').next().and_then(|ip| ip.parse::<Ipv4Addr>().ok()) {
            proxy_rules.extend(barepod_netplugin::rules_for(ip).context("read the proxy rules")?);
        }
    }
    let containers = state
        .containers
        .iter()
        .map(|c| {
            let pids = record.pids.get(&c.id).cloned().unwrap_or_default();
            let cgroup = Cgroup::new(&layout, &c.cgroup);
            Container {
                name: c.name.clone(),
                id: c.id.clone(),
                phase: pods::phase(c.phase),
                cgroups: layout.all().map(|h| cgroup.dir(h).display().to_string()).collect(),
                usage: stats::usage(&c.cgroup),
                limits: limits(&cgroup),
                mounts: c.pid.filter(|pid| pids.contains(pid)).map(mounts).unwrap_or_default(),
                log_path: c.log_path.display().to_string(),
                pids,
            }
        })
        .collect();
    Ok(Pod {
        name: state.config.name.clone(),
        uid: state.config.id.clone(),
        monitor_pid: state.monitor_pid,
        pause_pid: state.pause_pid,
        namespaces: holder.map(namespaces).unwrap_or_default(),
        network,
        host_link,
        proxy_rules,
        containers,
    })
}

fn namespaces(pid: i32) -> BTreeMap<String, String> {
    let read = |name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).map(|l| l.display().to_string());
    ["net", "ipc", "uts", "pid", "mnt", "cgroup", "user", "time"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), read(name).ok()?)))
        .collect()
}

fn network(pid: i32) -> Result<NamespaceView> {
    let path = format!("/proc/{pid}/ns/net");
    let netns = fs::File::open(&path).with_context(|| format!("open {path}"))?;
    barepod_netplugin::inspect(Some(netns.as_fd())).context("look at the pod's network")
}

/// The files that hold limits, on whichever version of cgroups the controller is.
fn limits(cgroup: &Cgroup<'_>) -> BTreeMap<String, String> {
    let files = [
        (
            "cpu",
            &[
                "cpu.max",
                "cpu.weight",
                "cpu.shares",
                "cpu.cfs_quota_us",
                "cpu.cfs_period_us",
            ][..],
        ),
        ("memory", &["memory.max", "memory.limit_in_bytes"]),
        ("pids", &["pids.max"]),
    ];
    let mut found = BTreeMap::new();
    for (controller, names) in files {
        let Some(dir) = cgroup.controller(controller) else {
            continue;
        };
        for name in names {
            if let Ok(text) = fs::read_to_string(dir.join(name)) {
                found.insert((*name).to_owned(), text.trim().to_owned());
            }
        }
    }
    found
}

/// proc_pid_mountinfo(5): the optional fields end with a lone hyphen.
fn mounts(pid: i32) -> Vec<Mount> {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    table
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let before: Vec<&str> = before.split(' ').collect();
            let after: Vec<&str> = after.split(' ').collect();
            Some(Mount {
                target: (*before.get(4)?).to_owned(),
                options: (*before.get(5)?).to_owned(),
                kind: (*after.first()?).to_owned(),
                source: if *before.get(3)? == "/" {
                    (*after.get(1)?).to_owned()
                } else {
                    (*before.get(3)?).to_owned()
                },
            })
        })
        .collect()
}

fn table(pod: &Pod) -> String {
    let pause = pod.pause_pid.map_or_else(|| "-".to_owned(), |p| p.to_string());
    let mut text = format!(
        "pod         {}\nuid         {}\nmonitor     {}\npause       {pause}\n",
        pod.name, pod.uid, pod.monitor_pid
    );
    let namespaces: Vec<&str> = pod.namespaces.values().map(String::as_str).collect();
    text.push_str(&format!("namespaces  {}\n", namespaces.join(" ")));
    for link in pod.network.iter().flat_map(|n| &n.links) {
        text.push_str(&format!(
            "link        {} {} {}\n",
            link.name,
            link.mac,
            link.addresses.join(" ")
        ));
    }
    if let Some(link) = &pod.host_link {
        let (name, received, sent) = (&link.name, link.received_bytes, link.sent_bytes);
        text.push_str(&format!("host side   {name}: received {received}, sent {sent} bytes\n"));
    }
    for rule in &pod.proxy_rules {
        text.push_str(&format!("proxy       {rule}\n"));
    }
    for container in &pod.containers {
        text.push_str(&format!("\ncontainer {} ({})\n", container.name, container.phase));
        let pids: Vec<String> = container.pids.iter().map(ToString::to_string).collect();
        let usage = &container.usage;
        let limits: Vec<String> = container.limits.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let mut rows = vec![
            vec!["  id".to_owned(), container.id.clone()],
            vec!["  pids".to_owned(), pids.join(" ")],
            vec![
                "  use".to_owned(),
                format!(
                    "memory {} KiB, cpu {} ms, pids {}",
                    usage.memory_bytes / 1024,
                    usage.cpu_ns / 1_000_000,
                    usage.pids
                ),
            ],
            vec!["  limits".to_owned(), limits.join(" ")],
            vec!["  log".to_owned(), container.log_path.clone()],
        ];
        rows.extend(container.cgroups.iter().map(|c| vec!["  cgroup".to_owned(), c.clone()]));
        rows.extend(container.mounts.iter().map(|m| {
            vec![
                "  mount".to_owned(),
                format!("{} {} {} {}", m.target, m.kind, m.source, m.options),
            ]
        }));
        text.push_str(&columns(&rows));
    }
    text
}
