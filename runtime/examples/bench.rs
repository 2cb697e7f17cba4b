//! Measures a sandbox, a container in it, and the end of both, as an agent sees them.
//!
//! `bench RUNTIME ROOTFS DIRECTORY [RUNS]`: ROOTFS has a program `/bin/tiny` that ends at once; DIRECTORY takes records
//! and overlays. Prints minimum, 10th percentile, median and 99th percentile in milliseconds. Needs root.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use barepod_runtime::protocol::{
    ContainerConfig, Envelope, Event, FromMonitor, Overlay, Request, Response, SandboxConfig,
};
use barepod_runtime::{client, spec};
use oci_spec::runtime::{
    Capabilities, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder,
    LinuxResourcesBuilder, ProcessBuilder, Spec, SpecBuilder,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, runtime, rootfs, dir, rest @ ..] = arguments.as_slice() else {
        return Err("usage: bench RUNTIME ROOTFS DIRECTORY [RUNS]".into());
    };
    let runs: usize = rest.first().map_or(Ok(100), |text| text.parse())?;
    let program = client::sealed_executable(Path::new(runtime))?;
    let program = PathBuf::from(format!("/proc/self/fd/{}", program.as_raw_fd()));
    let spec = document()?;
    let (mut sandbox, mut container, mut stop) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..runs {
        let dir = Path::new(dir).join(format!("bench{}-{run}", std::process::id()));
        for part in ["run", "upper", "work"] {
            fs::create_dir_all(dir.join(part))?;
        }
        let config = sandbox_config(&dir, run);
        let text = serde_json::to_vec(&config)?;

        quiet();
        let begin = Instant::now();
        let mut child = Command::new(&program)
            .arg("monitor")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdin.take().ok_or("no stdin")?.write_all(&text)?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        sandbox.push(begin.elapsed());
        if !line.starts_with("{\"ok\"") {
            return Err(line.into());
        }
        child.wait()?;

        let socket = client::connect(&config.dir.join("monitor.sock"))?;
        let ask = |seq, request| client::send(&socket, &Envelope { seq, request }, &[]);
        ask(1, Request::Subscribe)?;
        answer(&socket, 1)?;
        let request = Request::Create {
            config: Some(Box::new(container_config(&dir, rootfs, &spec))),
            start: true,
        };
        quiet();
        let begin = Instant::now();
        ask(2, request)?;
        answer(&socket, 2)?;
        container.push(begin.elapsed());
        while !matches!(
            client::recv(&socket)?,
            Some((FromMonitor::Event(Event::Exited { .. }), _))
        ) {}

        quiet();
        let begin = Instant::now();
        ask(3, Request::Stop)?;
        answer(&socket, 3)?;
        stop.push(begin.elapsed());
        fs::remove_dir_all(&dir)?;
        // The kernel removes the network namespace in the background; the next sample does not pay for it.
        std::thread::sleep(Duration::from_millis(30));
    }
    report("sandbox ready", sandbox);
    report("container started", container);
    report("sandbox stopped", stop);
    Ok(())
}

fn answer(socket: &std::os::fd::OwnedFd, seq: u64) -> Result<Response, Box<dyn Error>> {
    loop {
        match client::recv(socket)? {
            Some((FromMonitor::Reply(reply), _)) if reply.seq == seq => return Ok(reply.result?),
            Some(_) => {}
            None => return Err("the monitor is gone".into()),
        }
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

fn report(what: &str, mut samples: Vec<Duration>) {
    samples.sort_unstable();
    let at = |percent: usize| samples[(samples.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    let (n, min, p10, p50, p99) = (samples.len(), at(0), at(10), at(50), at(99));
    println!("{what:<20} n={n:<4} min {min:7.3}  p10 {p10:7.3}  median {p50:7.3}  p99 {p99:7.3} ms");
}

fn sandbox_config(dir: &Path, run: usize) -> SandboxConfig {
    SandboxConfig {
        id: format!("bench{run}"),
        name: format!("bench/{run}"),
        dir: dir.join("run"),
        hostname: "bench".to_owned(),
        cgroup: PathBuf::from(format!("/barepodtest-bench/pod{}-{run}", std::process::id())),
        ..SandboxConfig::default()
    }
}

fn container_config(dir: &Path, rootfs: &str, spec: &Spec) -> ContainerConfig {
    ContainerConfig {
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        name: "tiny".to_owned(),
        spec: Box::new(spec.clone()),
        overlay: Some(Overlay {
            lower: vec![rootfs.into()],
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

fn document() -> Result<Spec, Box<dyn Error>> {
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
