//! Whoever takes all he can get gets no more than his share: neighbours, the monitor and the node stay well.
//!
//! Nothing depends on it that the limit holds: each bomb stops by itself, and all are in a cgroup of the test's that
//! the machine can spare.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use barepod_runtime::cgroup::{Cgroup, Layout};
use barepod_runtime::protocol::{ContainerConfig, Exit};
use oci_spec::runtime::{
    LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResourcesBuilder, PosixRlimitBuilder, PosixRlimitType,
};

use crate::bundle::pod_container;
use crate::escaped;
use crate::support::{Pod, output, patience};

const PIDS: usize = 30;
const MEMORY_MB: usize = 32;

pub fn attack() {
    let mut pod = Pod::new("bombs");
    fence(&pod);
    let mut neighbour = Neighbour::new();
    let mut bomb = |pod: &mut Pod, kind: &str, limit: usize| {
        let container = limited(pod, &["bomb", kind, &limit.to_string()]);
        pod.run(&container).unwrap();
        neighbour.is_well(kind);
        let exit = pod.wait(&container.id);
        neighbour.is_well(kind);
        let said = output(&container.log_path);
        let reached = said
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("reached ")?.parse::<usize>().ok());
        (exit, reached, said, container)
    };
    // Each goes on to twice or more of what it may have.
    let (_, reached, ..) = bomb(&mut pod, "processes", 3 * PIDS);
    judge("processes", reached, PIDS);
    let (exit, _, said, _) = bomb(&mut pod, "memory", 3 * MEMORY_MB);
    let held = said.lines().filter(|line| line.starts_with("holds")).count();
    judge("megabytes", Some(held), MEMORY_MB);
    assert!(exit.oom_killed, "{exit:?}");
    let (_, reached, ..) = bomb(&mut pod, "files", 2000);
    judge("files", reached, 500);
    let (_, reached, ..) = bomb(&mut pod, "cgroups", 10);
    judge("cgroups", reached, 0);
    shared_memory(&mut pod, &mut bomb);
    devices(&mut pod, &mut bomb);
    log(&mut pod);
    for kind in ["watches", "inodes"] {
        // These are counted with the memory they take, or for each user: what matters is the neighbour.
        bomb(&mut pod, kind, 200);
    }
    neighbour.end();
    pod.stop();
}

type Bomb<'a> = dyn FnMut(&mut Pod, &str, usize) -> (Exit, Option<usize>, String, ContainerConfig) + 'a;

fn judge(what: &str, reached: Option<usize>, limit: usize) {
    match reached {
        Some(reached) if reached > limit => escaped!("{reached} {what}, {limit} are allowed"),
        Some(_) => {}
        None => panic!("nobody knows how many {what} there were"),
    }
}

/// The pod's shared memory is limited by its size, and a container's part of it by the memory of the container.
fn shared_memory(pod: &mut Pod, bomb: &mut Bomb<'_>) {
    let (exit, reached, ..) = bomb(pod, "/dev/shm/bomb", 2 * MEMORY_MB);
    if !exit.oom_killed {
        judge("megabytes of shared memory", reached, MEMORY_MB);
    }
    let held = fs::metadata(format!("/proc/{}/root/bomb", pod.state.pause_pid.unwrap())).map_or(0, |file| file.len());
    judge("megabytes of shared memory", Some((held >> 20) as usize), MEMORY_MB);
}

/// A file system in memory has a size, with which it never comes to the container's own limit.
fn devices(pod: &mut Pod, bomb: &mut Bomb<'_>) {
    let small = |container: &mut ContainerConfig| {
        let mut mounts = container.spec.mounts().clone().unwrap();
        for mount in mounts
            .iter_mut()
            .filter(|mount| mount.destination() == std::path::Path::new("/dev"))
        {
            mount.set_options(Some(vec!["size=4m".to_owned()]));
        }
        container.spec.set_mounts(Some(mounts));
    };
    let mut container = limited(pod, &["bomb", "/dev/bomb", "16"]);
    small(&mut container);
    pod.run(&container).unwrap();
    pod.wait(&container.id);
    let said = output(&container.log_path);
    let reached = said
        .lines()
        .find_map(|line| line.strip_prefix("reached ")?.parse().ok());
    judge("megabytes of a small file system", reached, 4);
    // The ordinary one is larger than the container's memory.
    let (exit, ..) = bomb(pod, "/dev/bomb", 2 * MEMORY_MB);
    assert!(exit.oom_killed, "{exit:?}");
}

/// A flood of output is bounded by the size and the number of the log's files, and the monitor does not grow with it.
fn log(pod: &mut Pod) {
    let mut container = limited(pod, &["bomb", "output", "20000"]);
    container.log_max_bytes = 1 << 20;
    container.log_max_files = 2;
    pod.run(&container).unwrap();
    pod.wait(&container.id);
    let dir = container.log_path.parent().unwrap();
    let files = fs::read_dir(dir)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("0.log"));
    let sizes: Vec<u64> = files.map(|entry| entry.metadata().unwrap().len()).collect();
    if sizes.len() > 3 || sizes.iter().any(|size| *size > (1 << 20) + 2000) {
        escaped!("logs of {sizes:?} bytes");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", pod.state.monitor_pid)).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kibibytes: u64 = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kibibytes < 2048, "the monitor holds {kibibytes} KiB");
}

/// An attacker with limits for everything.
fn limited(pod: &Pod, arguments: &[&str]) -> ContainerConfig {
    let mut container = pod_container(pod, arguments);
    let bytes = (MEMORY_MB << 20) as i64;
    let mut linux = container.spec.linux().clone().unwrap();
    let devices = linux.resources().as_ref().unwrap().devices().clone().unwrap();
    let resources = LinuxResourcesBuilder::default()
        .devices(devices)
        .memory(LinuxMemoryBuilder::default().limit(bytes).swap(bytes).build().unwrap())
        .pids(LinuxPidsBuilder::default().limit(PIDS as i64).build().unwrap());
    linux.set_resources(Some(resources.build().unwrap()));
    container.spec.set_linux(Some(linux));
    let mut process = container.spec.process().clone().unwrap();
    let files = PosixRlimitBuilder::default()
        .typ(PosixRlimitType::RlimitNofile)
        .soft(500_u64)
        .hard(500_u64);
    process.set_rlimits(Some(vec![files.build().unwrap()]));
    container.spec.set_process(Some(process));
    container
}

/// Limits around the pod that the runtime knows nothing of: what the machine can spare.
fn fence(pod: &Pod) {
    let layout = Layout::detect().unwrap();
    let parent = Cgroup::new(&layout, pod.config.cgroup.parent().unwrap());
    let set = |controller: &str, file: &str, value: &str| {
        let Some(dir) = parent.controller(controller) else {
            return;
        };
        let file: PathBuf = dir.join(file);
        // Of the two names the one that the hierarchy has.
        if file.exists() {
            fs::write(&file, value).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    };
    set("pids", "pids.max", "200");
    set("memory", "memory.use_hierarchy", "1");
    set("memory", "memory.limit_in_bytes", "256M");
    set("memory", "memory.max", "256M");
}

/// A pod with nothing to do with it.
struct Neighbour {
    pod: Pod,
    container: ContainerConfig,
    number: usize,
}

impl Neighbour {
    fn new() -> Self {
        let mut pod = Pod::new("neighbour");
        let container = pod_container(&pod, &["sleep", "1000"]);
        pod.run(&container).unwrap();
        Self {
            pod,
            container,
            number: 0,
        }
    }

    /// It answers, runs what is executed in it, and takes new containers.
    fn is_well(&mut self, bomb: &str) {
        let begun = Instant::now();
        self.number += 1;
        let process = crate::support::process(&["/attacker", "hello"]);
        let exit = self.pod.exec(&self.container.id, &format!("e{}", self.number), process);
        assert_eq!(exit.unwrap().code, 0, "{bomb}");
        let another = pod_container(&self.pod, &["hello"]);
        self.pod.run(&another).unwrap();
        assert_eq!(self.pod.wait(&another.id).code, 0, "{bomb}");
        assert!(begun.elapsed() < patience() / 3, "{bomb}: {:?}", begun.elapsed());
    }

    fn end(self) {
        self.pod.stop();
    }
}
