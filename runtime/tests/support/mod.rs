//! What the tests share: a small root file system, a pod with a client of its monitor, and a look at what is left.
//!
//! Needs root, and busybox-static for the programs inside containers. Each pod has directories, cgroups and a mount
//! namespace of its own; its end is checked for leaks.

#![allow(dead_code, reason = "every test file uses its own part of this")]

pub mod bundle;
pub mod snapshot;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use barepod_runtime::cgroup::{self, Cgroup, Layout};
use barepod_runtime::protocol::{
    ContainerConfig, ContainerState, Envelope, Event, Exit, Failure, FromMonitor, FromSpawner, Overlay, Reason,
    Request, Response, SandboxConfig, SandboxState,
};
use barepod_runtime::{client, records, spec};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use oci_spec::runtime::{
    Capabilities, LinuxBuilder, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxResourcesBuilder, Process,
    ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};

/// How long anything may take before a test fails.
pub fn patience() -> Duration {
    Duration::from_secs(if emulated() { 300 } else { 30 })
}

/// Whether the machine is emulated, ten times slower than others: nothing is said of speed there.
pub fn emulated() -> bool {
    std::env::var_os("BAREPOD_EMULATED").is_some()
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The program under test; another machine than the one that built the tests has it at `BAREPOD_RUNTIME`.
pub fn runtime() -> PathBuf {
    std::env::var_os("BAREPOD_RUNTIME").map_or_else(|| env!("CARGO_BIN_EXE_barepod-runtime").into(), PathBuf::from)
}

/// The applets linked in the root file system.
const APPLETS: [&str; 34] = [
    "[", "cat", "chmod", "date", "dd", "df", "echo", "env", "false", "grep", "head", "hostname", "id", "ip", "kill",
    "ls", "mkdir", "mknod", "mount", "od", "printf", "ps", "pwd", "readlink", "rm", "sh", "sleep", "stat", "stty",
    "touch", "true", "tty", "wc", "yes",
];

/// The directory of everything these tests make, with the root file system in it.
pub fn base() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| {
        assert!(
            nix::unistd::geteuid().is_root(),
            "these tests make namespaces and cgroups: run them as root"
        );
        // Another machine than the one that built the tests has another directory.
        let dir =
            std::env::var_os("BAREPOD_TEST_DIR").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
        let base = dir.join("barepodtest");
        let root = base.join("rootfs");
        if !root.exists() {
            // Several test programs may be at it at once; the first one's stays.
            let new = base.join(format!("rootfs-{}", std::process::id()));
            make_root(&new);
            if fs::rename(&new, &root).is_err() {
                fs::remove_dir_all(&new).unwrap();
            }
        }
        base
    })
}

fn make_root(root: &Path) {
    for dir in ["bin", "dev", "etc", "proc", "sys", "tmp", "usr/bin"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    fs::copy(busybox.expect("busybox-static is installed"), root.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n",
    )
    .unwrap();
}

/// A pod whose monitor runs, and a connection to it.
pub struct Pod {
    pub config: SandboxConfig,
    pub state: SandboxState,
    pub dir: PathBuf,
    socket: Option<OwnedFd>,
    seq: u64,
    events: Vec<Event>,
    stopped: bool,
}

/// The configuration of a pod that nobody else has.
pub fn sandbox(name: &str) -> SandboxConfig {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let id = format!("{name}-{}-{number}", tag());
    let dir = base().join(&id);
    fs::create_dir_all(dir.join("run")).unwrap();
    SandboxConfig {
        id: id.clone(),
        name: format!("default/{name}"),
        dir: dir.join("run"),
        hostname: name.to_owned(),
        cgroup: PathBuf::from(format!("/barepodtest-{id}/pod")),
        ..SandboxConfig::default()
    }
}

/// What a spare sandbox becomes when it is claimed.
pub fn of_a_pod(spare: &SandboxConfig) -> SandboxConfig {
    SandboxConfig {
        dir: spare.dir.with_file_name("claimed"),
        cgroup: spare.cgroup.with_file_name("claimed"),
        hostname: "of-the-pod".to_owned(),
        spare: false,
        ..spare.clone()
    }
}

/// Asks a spawner of its own for a sandbox. Whether both did all they should, and what was said last.
pub fn start_monitor(config: &SandboxConfig, fault: Option<&str>) -> (bool, String) {
    let (mut command, socket) = client::spawner(&runtime()).unwrap();
    if let Some(fault) = fault {
        command.env("BAREPOD_FAULT", fault);
    }
    let mut child = command.spawn().unwrap();
    drop(command);
    let answers = client::spawn(&socket, config).unwrap();
    let (mut monitor, mut last) = (None, None);
    while let Ok(Some((word, fds))) = client::recv_spawned(&answers) {
        match word {
            FromSpawner::Begun => monitor = fds.into_iter().next(),
            other => last = Some(other),
        }
    }
    drop(socket);
    let success = child.wait().unwrap().success() && matches!(last, Some(FromSpawner::Ready(_)));
    let last = last.unwrap_or_else(|| {
        if let Some(monitor) = monitor {
            // Nothing of it is left by the time somebody tries again.
            let timeout = PollTimeout::try_from(patience()).unwrap();
            let ended = poll(&mut [PollFd::new(monitor.as_fd(), PollFlags::POLLIN)], timeout).unwrap();
            assert_eq!(ended, 1, "a monitor that said nothing has died");
        }
        let message = "the monitor died before the sandbox was ready".to_owned();
        let reason = Reason::State;
        FromSpawner::Failed(Failure { reason, message })
    });
    (success, serde_json::to_string(&last).unwrap())
}

/// What the maker of a sandbox said.
pub fn parse_line(line: &str) -> Result<SandboxState, Failure> {
    match serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}")) {
        FromSpawner::Ready(state) => Ok(state),
        FromSpawner::Failed(failure) => Err(failure),
        FromSpawner::Begun => panic!("{line}"),
    }
}

/// Part of the names of everything this process makes: nobody else's on this machine, in whatever PID namespace.
pub fn tag() -> &'static str {
    static TAG: OnceLock<String> = OnceLock::new();
    TAG.get_or_init(|| std::env::var(snapshot::ALONE).unwrap_or_else(|_| std::process::id().to_string()))
}

/// A program that ends with the test.
pub struct Running(pub Child);

impl Running {
    /// One that does nothing.
    pub fn idle() -> Self {
        let mut command = Command::new("sleep");
        Self(
            command
                .arg("1000")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory for one test, which goes with it.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it, empty.
    pub fn new(name: &str) -> Self {
        let dir = base().join(format!("{name}-{}", tag()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl std::ops::Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Whatever cannot be removed is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How often something is tried: what `variable` says, or much in the nightly mode (`BAREPOD_NIGHTLY=1`), or little.
pub fn budget(variable: &str, little: usize, much: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) if std::env::var_os("BAREPOD_NIGHTLY").is_some() => much,
        Err(_) => little,
    }
}

/// The whole process is in a mount namespace of its own.
static ISOLATED: AtomicBool = AtomicBool::new(false);

/// From now on [`isolate`] finds the process isolated: it was started so.
pub fn stay_here() {
    ISOLATED.store(true, Ordering::Relaxed);
}

/// Gives the calling thread a mount namespace of its own, so that the machine's is not touched whatever a test does.
pub fn isolate() {
    base();
    if ISOLATED.load(Ordering::Relaxed) {
        return;
    }
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .unwrap();
}

impl Pod {
    /// Starts a pod.
    pub fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    /// Starts a pod with changes to its configuration.
    pub fn with(name: &str, change: impl FnOnce(&mut SandboxConfig)) -> Self {
        Self::with_fault(name, None, change)
    }

    /// Starts a pod whose monitor dies at a named point.
    pub fn with_fault(name: &str, fault: Option<&str>, change: impl FnOnce(&mut SandboxConfig)) -> Self {
        isolate();
        let mut config = sandbox(name);
        change(&mut config);
        let (success, line) = start_monitor(&config, fault);
        let state = parse_line(&line).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(success, "a monitor that is ready lets its first process succeed");
        let socket = Some(client::connect(&config.dir.join(records::SOCKET)).unwrap());
        let dir = config.dir.parent().unwrap().to_owned();
        let mut pod = Self {
            config,
            state,
            dir,
            socket,
            seq: 0,
            events: Vec::new(),
            stopped: false,
        };
        pod.ask(Request::Subscribe).unwrap();
        pod
    }

    /// Starts a pod whose monitor may die at any moment; `None` if it did already.
    pub fn try_new(config: &SandboxConfig, fault: Option<&str>) -> Option<Self> {
        let (success, line) = start_monitor(config, fault);
        let state = parse_line(&line).ok().filter(|_| success)?;
        Some(Self {
            config: config.clone(),
            state,
            dir: config.dir.parent().unwrap().to_owned(),
            socket: Some(client::connect(&config.dir.join(records::SOCKET)).ok()?),
            seq: 0,
            events: Vec::new(),
            stopped: true,
        })
    }

    /// Sends a request and waits for its answer; `None` if it failed or the monitor is gone.
    pub fn try_ask(&mut self, request: Request) -> Option<Response> {
        self.seq += 1;
        client::send(self.socket.as_ref()?, &Envelope { seq: self.seq, request }, &[]).ok()?;
        loop {
            match self.receive()? {
                (FromMonitor::Reply(reply), _) => return reply.result.ok(),
                (FromMonitor::Event(event), _) => self.events.push(event),
            }
        }
    }

    /// Gives up the connection, and whatever would have come over it, for a new one.
    pub fn reconnect(&mut self) {
        self.socket = None;
        self.socket = Some(self.another_client());
    }

    /// Another connection to the same monitor.
    pub fn another_client(&self) -> OwnedFd {
        client::connect(&self.config.dir.join(records::SOCKET)).unwrap()
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, request: Request) -> Result<Response, Failure> {
        self.ask_with(request, &[]).map(|(response, _)| response)
    }

    /// [`Pod::ask`] with descriptors.
    pub fn ask_with(&mut self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<(Response, Vec<OwnedFd>), Failure> {
        let seq = self.send(request, fds);
        loop {
            match self.receive() {
                Some((FromMonitor::Reply(reply), fds)) => {
                    assert_eq!(reply.seq, seq);
                    return reply.result.map(|response| (response, fds));
                }
                Some((FromMonitor::Event(event), _)) => self.events.push(event),
                None => panic!("the monitor is gone"),
            }
        }
    }

    /// Sends a request without waiting.
    pub fn send(&mut self, request: Request, fds: &[BorrowedFd<'_>]) -> u64 {
        self.seq += 1;
        client::send(self.socket.as_ref().unwrap(), &Envelope { seq: self.seq, request }, fds).unwrap();
        self.seq
    }

    /// The next packet; `None` when the monitor is gone.
    pub fn receive(&mut self) -> Option<(FromMonitor, Vec<OwnedFd>)> {
        let socket = self.socket.as_ref().unwrap();
        let timeout = PollTimeout::try_from(patience()).unwrap();
        let ready = poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout).unwrap();
        assert_eq!(ready, 1, "the monitor says nothing");
        client::recv(socket).unwrap()
    }

    /// Waits for an event.
    pub fn event<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        loop {
            if let Some((at, found)) = self
                .events
                .iter()
                .enumerate()
                .find_map(|(at, event)| Some((at, wanted(event)?)))
            {
                self.events.remove(at);
                return found;
            }
            match self.receive() {
                Some((FromMonitor::Event(event), _)) => self.events.push(event),
                Some((FromMonitor::Reply(reply), _)) => panic!("an answer to nothing: {reply:?}"),
                None => panic!("the monitor is gone"),
            }
        }
    }

    /// Waits for a container's end.
    pub fn wait(&mut self, id: &str) -> Exit {
        self.event(|event| match event {
            Event::Exited { id: exited, exit } if exited == id => Some(exit.clone()),
            _ => None,
        })
    }

    /// Executes a program in a container to its end.
    pub fn exec(&mut self, id: &str, exec_id: &str, process: Process) -> Result<Exit, Failure> {
        self.exec_to(id, exec_id, process, None)
    }

    /// [`Pod::exec`] with standard output.
    pub fn exec_with(&mut self, id: &str, exec_id: &str, process: Process, output: &OwnedFd) -> Result<Exit, Failure> {
        self.exec_to(id, exec_id, process, Some(output))
    }

    fn exec_to(
        &mut self,
        id: &str,
        exec_id: &str,
        process: Process,
        output: Option<&OwnedFd>,
    ) -> Result<Exit, Failure> {
        let request = Request::Exec {
            id: id.to_owned(),
            exec_id: exec_id.to_owned(),
            process: Box::new(process),
            tty: false,
            stdio: [false, output.is_some(), false],
            timeout_ms: None,
        };
        let fds: Vec<BorrowedFd<'_>> = output.iter().map(|output| output.as_fd()).collect();
        self.ask_with(request, &fds)?;
        Ok(self.event(|event| match event {
            Event::ExecExited {
                exec_id: ended, exit, ..
            } if ended == exec_id => Some(exit.clone()),
            _ => None,
        }))
    }

    /// Makes and starts a container.
    pub fn run(&mut self, container: &ContainerConfig) -> Result<ContainerState, Failure> {
        self.create(container, true)
    }

    /// Makes a container, and starts it if wanted.
    pub fn create(&mut self, container: &ContainerConfig, start: bool) -> Result<ContainerState, Failure> {
        match self.ask(Request::Create {
            config: Some(Box::new(container.clone())),
            start,
        })? {
            Response::Container(state) => Ok(state),
            other => panic!("{other:?}"),
        }
    }

    /// Runs a shell script in an ordinary container to its end; its exit and its output.
    pub fn script(&mut self, script: &str) -> (Exit, String) {
        self.script_with(script, |_| {})
    }

    /// [`Pod::script`] with changes to the configuration.
    pub fn script_with(&mut self, script: &str, change: impl FnOnce(&mut Spec)) -> (Exit, String) {
        let mut container = self.container(&["sh", "-c", script]);
        change(&mut container.spec);
        self.run(&container).unwrap_or_else(|failure| panic!("{failure}"));
        let exit = self.wait(&container.id);
        (exit, output(&container.log_path))
    }

    /// An ordinary container.
    pub fn container(&self, args: &[&str]) -> ContainerConfig {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("c{number}");
        let dir = self.dir.join(&id);
        for part in ["upper", "work"] {
            fs::create_dir_all(dir.join(part)).unwrap();
        }
        ContainerConfig {
            id,
            name: "test".to_owned(),
            spec: Box::new(document(args)),
            filter: None,
            overlay: Some(Overlay {
                lower: vec![base().join("rootfs")],
                upper: dir.join("upper"),
                work: dir.join("work"),
            }),
            log_path: dir.join("0.log"),
            log_max_bytes: 0,
            log_max_files: 0,
            stdin: false,
            stdin_once: false,
            annotations: BTreeMap::new(),
        }
    }

    /// What the monitor says of itself.
    pub fn describe(&mut self) -> SandboxState {
        match self.ask(Request::Sandbox).unwrap() {
            Response::Sandbox(state) => state,
            other => panic!("{other:?}"),
        }
    }

    /// The directory of a container (or of the pod) in the tracker.
    pub fn tracker(&self, container: &str) -> PathBuf {
        let layout = Layout::detect().unwrap();
        Cgroup::new(&layout, &self.config.cgroup.join(container)).tracker()
    }

    /// Stops the pod and checks that nothing is left.
    pub fn stop(mut self) {
        self.ask(Request::Stop).unwrap();
        // The connection ends with the monitor.
        while self.receive().is_some() {}
        self.stopped = true;
        self.check_gone();
    }

    /// Kills the monitor as `kill -9` would, and waits until it is dead.
    pub fn kill_monitor(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.state.monitor_pid);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        while self.receive().is_some() {}
    }

    /// Cleans up after a monitor that died, and checks that nothing is left.
    pub fn cleanup(mut self) {
        self.stopped = true;
        clean(&self.config);
        self.check_gone();
    }

    fn check_gone(&self) {
        check_gone(&self.config);
        assert!(!self.config.dir.join(records::RECORD).exists());
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if !self.stopped {
            // A test that failed leaves no processes either.
            if let Ok(record) = records::load(&self.config.dir) {
                let _ = records::cleanup(&record);
            }
        }
        if std::thread::panicking() {
            let layout = Layout::detect().unwrap();
            let _ = Cgroup::new(&layout, self.config.cgroup.parent().unwrap()).remove();
        } else {
            remove_parent(&self.config);
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Cleans up what the record in a sandbox's directory tells of.
pub fn clean(config: &SandboxConfig) {
    if let Ok(record) = records::load(&config.dir) {
        let errors = records::cleanup(&record);
        assert!(errors.is_empty(), "{errors:?}");
        assert!(records::cleanup(&record).is_empty(), "twice is as good as once");
    }
}

/// Checks that no cgroup of a pod is left; without cgroups there are no processes.
pub fn check_gone(config: &SandboxConfig) {
    let layout = Layout::detect().unwrap();
    let pod = Cgroup::new(&layout, &config.cgroup);
    let keeper = Cgroup::new(&layout, &cgroup::keeper(&config.cgroup));
    for hierarchy in layout.all() {
        for dir in [pod.dir(hierarchy), keeper.dir(hierarchy)] {
            assert!(!dir.exists(), "{} is left", dir.display());
        }
    }
    // One that was claimed has another directory.
    let left: Vec<_> = fs::read_dir(&config.dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(left.is_empty(), "{left:?} are left in {}", config.dir.display());
}

/// Removes the parent of a pod's cgroup, which the pod does not.
pub fn remove_parent(config: &SandboxConfig) {
    let layout = Layout::detect().unwrap();
    let parent = Cgroup::new(&layout, config.cgroup.parent().unwrap());
    until("the parent cgroup can be removed", || {
        parent.remove().is_empty().then_some(())
    });
}

/// An ordinary container's configuration.
pub fn document(args: &[&str]) -> Spec {
    let linux = LinuxBuilder::default()
        .masked_paths(spec::masked_paths())
        .readonly_paths(spec::readonly_paths())
        .seccomp(spec::default_seccomp(&spec::default_capabilities()))
        .resources(
            LinuxResourcesBuilder::default()
                .devices(spec::default_devices())
                .build()
                .unwrap(),
        )
        .build()
        .unwrap();
    SpecBuilder::default()
        .process(process(args))
        .root(RootBuilder::default().path("unused").readonly(false).build().unwrap())
        .mounts(spec::default_mounts(false))
        .linux(linux)
        .build()
        .unwrap()
}

/// An ordinary process.
pub fn process(args: &[&str]) -> Process {
    ProcessBuilder::default()
        .args(args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
        .env(vec!["PATH=/usr/bin:/bin".to_owned()])
        .cwd("/")
        .user(UserBuilder::default().uid(0_u32).gid(0_u32).build().unwrap())
        .capabilities(capabilities(&spec::default_capabilities()))
        .no_new_privileges(false)
        .rlimits(Vec::new())
        .build()
        .unwrap()
}

/// Capabilities of a root process.
pub fn capabilities(set: &Capabilities) -> LinuxCapabilities {
    LinuxCapabilitiesBuilder::default()
        .bounding(set.clone())
        .effective(set.clone())
        .permitted(set.clone())
        .inheritable(Capabilities::new())
        .ambient(Capabilities::new())
        .build()
        .unwrap()
}

/// The text of a log, put together from its lines; both streams.
pub fn output(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap();
    let mut out = String::new();
    for line in text.split_terminator('\n') {
        let mut parts = line.splitn(4, ' ');
        let (tag, text) = (parts.nth(2).unwrap(), parts.next().unwrap());
        out.push_str(text);
        if tag == "F" {
            out.push('\n');
        }
    }
    out
}

/// Waits until something is there.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads a descriptor to its end.
pub fn read_all(fd: OwnedFd) -> String {
    let mut text = Vec::new();
    // A terminal ends with EIO.
    let _ = fs::File::from(fd).read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// A pipe: what is read, what is written.
pub fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap()
}
