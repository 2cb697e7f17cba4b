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

pub const PIDS: usize = 30;
pub const MEMORY_MB: usize = 32;
pub const OPEN_FILES: usize = 500;

/// Files, each of which takes about a kilobyte of the kernel's memory: more than twice as many as there is memory for.
pub const FILES: usize = 100_000;

/// A pod whose containers have limits, and a neighbour of it.
struct Target {
    pod: Pod,
    neighbour: Neighbour,
}

/// What became of a bomb.
struct Outcome {
    exit: Exit,
    reached: Option<usize>,
    said: String,
}

impl Target {
    fn new() -> Self {
        let pod = Pod::new("bombs");
        fence(&pod);
        Self {
            pod,
            neighbour: Neighbour::new(),
        }
    }

    fn container(&self, kind: &str, limit: usize) -> ContainerConfig {
        limited(&self.pod, &["bomb", kind, &limit.to_string()])
    }

    fn set_off(&mut self, container: &ContainerConfig) -> Outcome {
        self.pod.run(container).unwrap();
        self.neighbour.is_well();
        let exit = self.pod.wait(&container.id);
        self.neighbour.is_well();
        let said = output(&container.log_path);
        let reached = said
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("reached ")?.parse().ok());
        Outcome { exit, reached, said }
    }

    fn end(self) {
        self.neighbour.pod.stop();
        self.pod.stop();
    }
}

impl Outcome {
    /// It got no further than to what is allowed, or the limit of its memory ended it before it could say how far.
    fn within(&self, what: &str, allowed: usize) {
        match self.reached {
            Some(reached) if reached > allowed => escaped!("{reached} {what}, {allowed} are allowed"),
            Some(_) => {}
            None => assert!(self.exit.oom_killed, "{:?}: {}", self.exit, self.said),
        }
    }
}

/// A bomb that goes on to `limit` of `what` if nothing stops it, and is to get no further than to `allowed`.
pub fn bomb(kind: &str, limit: usize, what: &str, allowed: usize) {
    let mut target = Target::new();
    let container = target.container(kind, limit);
    target.set_off(&container).within(what, allowed);
    target.end();
}

/// A file system in memory has a size, with which it never comes to the container's own limit.
pub fn small_file_systems() {
    let mut target = Target::new();
    let mut container = target.container("/dev/bomb", 16);
    let mut mounts = container.spec.mounts().clone().unwrap();
    for mount in mounts
        .iter_mut()
        .filter(|mount| mount.destination() == std::path::Path::new("/dev"))
    {
        mount.set_options(Some(vec!["size=4m".to_owned()]));
    }
    container.spec.set_mounts(Some(mounts));
    target.set_off(&container).within("megabytes of a small file system", 4);
    target.end();
}

/// A flood of output is bounded by the size and the number of the log's files, and the monitor does not grow with it.
pub fn log() {
    let mut target = Target::new();
    let mut container = target.container("output", 20_000);
    container.log_max_bytes = 1 << 20;
    container.log_max_files = 2;
    target.set_off(&container);
    let dir = container.log_path.parent().unwrap();
    let files = fs::read_dir(dir)
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("0.log"));
    let sizes: Vec<u64> = files.map(|entry| entry.metadata().unwrap().len()).collect();
    if sizes.len() > 3 || sizes.iter().any(|size| *size > (1 << 20) + 2000) {
        escaped!("logs of {sizes:?} bytes");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", target.pod.state.monitor_pid)).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kibibytes: u64 = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kibibytes < 2048, "the monitor holds {kibibytes} KiB");
    target.end();
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
        .soft(OPEN_FILES as u64)
        .hard(OPEN_FILES as u64);
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
    fn is_well(&mut self) {
        let begun = Instant::now();
        self.number += 1;
        let process = crate::support::process(&["/attacker", "hello"]);
        let exit = self.pod.exec(&self.container.id, &format!("e{}", self.number), process);
        assert_eq!(exit.unwrap().code, 0);
        let another = pod_container(&self.pod, &["hello"]);
        self.pod.run(&another).unwrap();
        assert_eq!(self.pod.wait(&another.id).code, 0);
        assert!(begun.elapsed() < patience() / 3, "{:?}", begun.elapsed());
    }
}
