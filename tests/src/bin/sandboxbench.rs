//! Sandboxes and containers as the agent drives them, without the API: `sandboxbench latency|crowd|scale RUNTIME ROOTFS
//! STATE RUN COUNT`. ROOTFS has a program `/bin/tiny` that ends at once; the directories STATE and RUN take what a node has
//! below `/var/lib/barepod` (overlays, logs) and `/run/barepod` (records, sockets). Needs root; its network is in a namespace
//! of its own.
//!
//! - `latency`: COUNT sandboxes one after the other, each with a container, to compare with `floor pod`. *Ready* is a
//!   started monitor that was connected to, and the pod connected to the network; *started* is a container's program
//!   executed.
//! - `crowd`: COUNT sandboxes that stay, and their end together.
//! - `scale`: COUNT sandboxes by one creator, and by two at once, with the network and without; compare `floor par`.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use barepod_netplugin::{AddRequest, Config, Network};
use barepod_runtime::protocol::{
    ContainerConfig, Envelope, Event, FromMonitor, FromSpawner, Overlay, Request, SandboxConfig,
};
use barepod_runtime::{client, spec};
use barepod_tests::stats::Samples;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use oci_spec::runtime::{
    Capabilities, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder,
    LinuxResourcesBuilder, ProcessBuilder, Spec, SpecBuilder,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, runtime, rootfs, state, run, count] = arguments.as_slice() else {
        bail!("usage: sandboxbench latency|crowd|scale RUNTIME ROOTFS STATE RUN COUNT");
    };
    let count: usize = count.parse().context("COUNT")?;
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context("this bench needs root")?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )?;
    let [state, run] = [state, run].map(|dir| Path::new(dir).join(format!("sandboxbench-{}", std::process::id())));
    let sealed = client::sealed_executable(Path::new(runtime))?;
    let program = PathBuf::from(format!("/proc/self/fd/{}", sealed.as_raw_fd()));
    let (mut command, spawner) = client::spawner(&program)?;
    let mut process = command.spawn()?;
    drop(command);
    let bench = Bench {
        spawner,
        network: Mutex::new(Network::open(Config {
            bridge: "barepod0".into(),
            pod_cidr: "10.244.0.0/20".parse().map_err(|_| anyhow!("a constant network"))?,
            cluster_cidr: "10.244.0.0/16".parse().map_err(|_| anyhow!("a constant network"))?,
            service_cidr: "10.96.0.0/16".parse().map_err(|_| anyhow!("a constant network"))?,
            state_dir: run.join("network"),
            mtu: None,
        })?),
        rootfs: rootfs.into(),
        spec: document()?,
        state,
        run,
    };
    let result = match what.as_str() {
        "latency" => bench.latency(count),
        "crowd" => bench.crowd(count),
        "scale" => bench.scale(count),
        other => Err(anyhow!("{other}: no such measurement")),
    };
    fs::remove_dir_all(&bench.state)?;
    fs::remove_dir_all(&bench.run)?;
    // The spawner ends when nobody can ask it any more.
    drop(bench);
    process.wait()?;
    result
}

/// What all measurements use.
struct Bench {
    spawner: OwnedFd,
    /// The agent, too, has one thread for it.
    network: Mutex<Network>,
    rootfs: PathBuf,
    spec: Spec,
    state: PathBuf,
    run: PathBuf,
}

/// A sandbox somebody is connected to.
struct Sandbox {
    uid: String,
    socket: OwnedFd,
}

impl Bench {
    fn latency(&self, count: usize) -> Result<()> {
        let (mut ready, mut started, mut stopped) = (Samples::default(), Samples::default(), Samples::default());
        let mut claimed = Samples::default();
        for run in 0..count {
            let uid = format!("latency-{run}");
            self.prepare(&uid)?;
            quiet();
            let begin = Instant::now();
            let sandbox = self.sandbox(&self.config(&uid), true)?;
            ready.add(begin.elapsed());

            let mut config = self.container(&uid);
            config.compile()?;
            let request = Request::Create {
                config: Some(Box::new(config)),
                start: true,
            };
            quiet();
            let begin = Instant::now();
            sandbox.ask(request)?;
            started.add(begin.elapsed());
            while !matches!(
                client::recv(&sandbox.socket)?,
                Some((FromMonitor::Event(Event::Exited { .. }), _))
            ) {}

            quiet();
            let begin = Instant::now();
            sandbox.ask(Request::Stop)?;
            self.network().remove(&uid)?;
            stopped.add(begin.elapsed());
            self.settle()?;

            let spare = SandboxConfig {
                id: format!("spare-{run}"),
                spare: true,
                resources: None,
                ..self.config(&format!("spare-{run}"))
            };
            self.prepare(&spare.id)?;
            let mut sandbox = self.sandbox(&spare, false)?;
            let netns = sandbox.ask(Request::Sandbox)?.swap_remove(0);
            let uid = format!("claimed-{run}");
            self.prepare(&uid)?;
            let claim = Request::Claim {
                config: Box::new(self.config(&uid)),
            };
            quiet();
            let begin = Instant::now();
            sandbox.send(claim)?;
            self.attach(&uid, &netns)?;
            sandbox.answer()?;
            claimed.add(begin.elapsed());
            sandbox.uid = uid;
            sandbox.ask(Request::Stop)?;
            self.network().remove(&sandbox.uid)?;
            self.settle()?;
        }
        println!("{}", ready.line("sandbox ready, as the agent drives it"));
        println!("{}", claimed.line("one that was there before, ready"));
        println!("{}", started.line("container started in it"));
        println!("{}", stopped.line("both ended"));
        Ok(())
    }

    fn crowd(&self, count: usize) -> Result<()> {
        let mut sandboxes = Vec::with_capacity(count);
        for hundred in 0..count.div_ceil(100) {
            let mut each = Samples::default();
            for run in 0..100.min(count - hundred * 100) {
                let uid = format!("crowd-{hundred}-{run}");
                self.prepare(&uid)?;
                let begin = Instant::now();
                let sandbox = self.sandbox(&self.config(&uid), true)?;
                each.add(begin.elapsed());
                sandboxes.push(sandbox);
            }
            println!("{}", each.line(&format!("sandbox ready, with {} there", hundred * 100)));
        }
        let begin = Instant::now();
        for sandbox in &sandboxes {
            sandbox.send(Request::Stop)?;
        }
        for sandbox in &sandboxes {
            sandbox.answer()?;
        }
        let answered = begin.elapsed();
        for sandbox in &sandboxes {
            self.network().remove(&sandbox.uid)?;
        }
        self.network().flush()?;
        println!(
            "{count} sandboxes ended together: {:.0} ms, {:.0} ms until their interfaces were gone",
            answered.as_secs_f64() * 1e3,
            begin.elapsed().as_secs_f64() * 1e3
        );
        Ok(())
    }

    fn scale(&self, count: usize) -> Result<()> {
        for network in [false, true] {
            for creators in [1, 2] {
                let mine = |creator: usize| -> Result<Vec<Sandbox>> {
                    let make = |run| {
                        let uid = format!("scale-{network}-{creators}-{creator}-{run}");
                        self.prepare(&uid)?;
                        self.sandbox(&self.config(&uid), network)
                    };
                    (0..count / creators).map(make).collect()
                };
                let begin = Instant::now();
                let made = std::thread::scope(|scope| -> Result<Vec<Sandbox>> {
                    let threads: Vec<_> = (0..creators)
                        .map(|creator| scope.spawn(move || mine(creator)))
                        .collect();
                    let mut all = Vec::new();
                    for thread in threads {
                        all.extend(thread.join().map_err(|_| anyhow!("a creator failed"))??);
                    }
                    Ok(all)
                })?;
                let rate = made.len() as f64 / begin.elapsed().as_secs_f64();
                let with = if network { "with" } else { "without" };
                println!("{creators} at once, {with} the network: {rate:.0} sandboxes/s");
                for sandbox in &made {
                    sandbox.ask(Request::Stop)?;
                    if network {
                        self.network().remove(&sandbox.uid)?;
                    }
                }
                self.network().flush()?;
            }
        }
        Ok(())
    }

    fn network(&self) -> std::sync::MutexGuard<'_, Network> {
        self.network.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The kernel ends the network namespace in the background; the next sample does not pay for it.
    fn settle(&self) -> Result<()> {
        self.network().flush()?;
        std::thread::sleep(Duration::from_millis(30));
        Ok(())
    }

    /// The directories of a pod, which its agent makes before.
    fn prepare(&self, uid: &str) -> Result<()> {
        fs::create_dir_all(self.run.join(uid))?;
        for part in ["upper", "work"] {
            fs::create_dir_all(self.state.join(uid).join(part))?;
        }
        Ok(())
    }

    /// The sandbox of a pod.
    fn config(&self, uid: &str) -> SandboxConfig {
        SandboxConfig {
            id: uid.to_owned(),
            name: format!("bench/{uid}"),
            dir: self.run.join(uid),
            hostname: "bench".to_owned(),
            cgroup: PathBuf::from(format!("/barepodtest-bench/pod{}-{uid}", std::process::id())),
            resources: self.spec.linux().as_ref().and_then(|it| it.resources().clone()),
            ..SandboxConfig::default()
        }
    }

    /// Asks for a sandbox, connects it to the network meanwhile, and connects to its monitor.
    fn sandbox(&self, config: &SandboxConfig, network: bool) -> Result<Sandbox> {
        let answers = client::spawn(&self.spawner, config)?;
        loop {
            match client::recv_spawned(&answers)?.context("the monitor died")? {
                (FromSpawner::Begun, fds) if network => {
                    self.attach(&config.id, fds.get(1).context("the sandbox has no network namespace")?)?;
                }
                (FromSpawner::Begun, _) => {}
                (FromSpawner::Ready(_), _) => break,
                (FromSpawner::Failed(failure), _) => return Err(failure.into()),
            }
        }
        let sandbox = Sandbox {
            uid: config.id.clone(),
            socket: client::connect(&config.dir.join("monitor.sock"))?,
        };
        sandbox.ask(Request::Subscribe)?;
        Ok(sandbox)
    }

    /// Connects a pod to the network.
    fn attach(&self, uid: &str, netns: &OwnedFd) -> Result<()> {
        let request = AddRequest {
            uid,
            netns: netns.as_fd(),
            host_ports: Vec::new(),
        };
        self.network().add(&[request]).remove(0)?;
        Ok(())
    }

    fn container(&self, uid: &str) -> ContainerConfig {
        let dir = self.state.join(uid);
        ContainerConfig {
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            name: "tiny".to_owned(),
            spec: Box::new(self.spec.clone()),
            filter: None,
            overlay: Some(Overlay {
                lower: vec![self.rootfs.clone()],
                upper: dir.join("upper"),
                work: dir.join("work"),
            }),
            log_path: dir.join("log"),
            log_max_bytes: 0,
            log_max_files: 0,
            stdin: false,
            stdin_once: false,
            annotations: Default::default(),
        }
    }
}

impl Sandbox {
    fn send(&self, request: Request) -> Result<()> {
        Ok(client::send(&self.socket, &Envelope { seq: 1, request }, &[])?)
    }

    /// The answer to the one request that is under way, and its descriptors.
    fn answer(&self) -> Result<Vec<OwnedFd>> {
        loop {
            match client::recv(&self.socket)? {
                Some((FromMonitor::Reply(reply), fds)) => return reply.result.map(|_| fds).map_err(Into::into),
                Some(_) => {}
                None => bail!("the monitor is gone"),
            }
        }
    }

    fn ask(&self, request: Request) -> Result<Vec<OwnedFd>> {
        self.send(request)?;
        self.answer()
    }
}

/// Waits, for some seconds at most, until nothing else has run for a while: what neighbours do is not measured.
fn quiet() {
    let mut calm = 0;
    for _ in 0..4000 {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        calm = if stat.contains("procs_running 1\n") {
            calm + 1
        } else {
            0
        };
        if calm >= 8 {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn document() -> Result<Spec> {
    let capabilities = spec::default_capabilities();
    let sets = LinuxCapabilitiesBuilder::default()
        .bounding(capabilities.clone())
        .effective(capabilities.clone())
        .permitted(capabilities.clone());
    let process = ProcessBuilder::default()
        .args(vec!["/bin/tiny".to_owned()])
        .env(Vec::new())
        .cwd("/")
        .rlimits(Vec::new())
        .capabilities(
            sets.inheritable(Capabilities::new())
                .ambient(Capabilities::new())
                .build()?,
        )
        .build()?;
    let resources = LinuxResourcesBuilder::default()
        .devices(spec::default_devices())
        .memory(LinuxMemoryBuilder::default().limit(128_i64 << 20).build()?)
        .cpu(
            LinuxCpuBuilder::default()
                .shares(512_u64)
                .quota(50_000_i64)
                .period(100_000_u64)
                .build()?,
        )
        .pids(LinuxPidsBuilder::default().limit(100_i64).build()?);
    let linux = LinuxBuilder::default()
        .masked_paths(spec::masked_paths())
        .readonly_paths(spec::readonly_paths())
        .seccomp(spec::default_seccomp(&capabilities))
        .resources(resources.build()?);
    Ok(SpecBuilder::default()
        .process(process)
        .mounts(spec::default_mounts(false))
        .linux(linux.build()?)
        .build()?)
}
