//! Container engines of others with `barepod-runtime` as their low-level runtime: Debian's podman, and containerd with its
//! shim for runc. Each test has an engine of its own in namespaces of its own, with nothing of the machine's state.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use barepod_tests::{Ran, Snapshot, barepod, images, within};
use serde_json::Value;

/// The runtime that was built with the rest.
fn runtime() -> PathBuf {
    let beside = || barepod().with_file_name("barepod-runtime");
    std::env::var_os("BAREPOD_RUNTIME").map_or_else(beside, PathBuf::from)
}

/// A machine within the machine: namespaces, empty directories where engines keep things, a cgroup parent.
struct Place {
    holder: Child,
    stdin: Option<ChildStdin>,
    init: String,
    name: String,
    before: Snapshot,
}

impl Place {
    fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("barepodtest-{name}-{}-{number}", std::process::id());
        let script = "hostname engines && ip link set lo up && \
            for dir in /run /var/lib/containers /var/tmp /var/lib/cni; do \
                mkdir -p $dir; mount -t tmpfs -o mode=755 engines $dir || exit 1; \
            done && echo up && read -r _";
        let mut holder = Command::new("unshare")
            .args([
                "--mount",
                "--net",
                "--pid",
                "--uts",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["--propagation", "private", "bash", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare(1) runs");
        let mut line = String::new();
        let stdout = holder.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("the shell answers");
        assert_eq!(line.trim(), "up", "namespaces could not be made: run as root");
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.id()));
        let init = children.expect("children").trim().to_owned();
        let before = Snapshot::take(&init, &name);
        let stdin = holder.stdin.take();
        Self {
            holder,
            stdin,
            init,
            name,
            before,
        }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.init, "-n", "-m", "-p", "-u", "--"])
            .arg(program);
        command
            .env("HOME", "/run")
            .env("TMPDIR", "/var/tmp")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Ran {
        self.command(program)
            .args(args)
            .output()
            .expect("nsenter(1) runs")
            .into()
    }

    /// Runs a program with a terminal, and gives what was seen there.
    fn on_a_terminal(&self, words: &[String]) -> Ran {
        let line: Vec<String> = words
            .iter()
            .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
            .collect();
        let mut ran = self.run("timeout", &["60", "script", "-qec", &line.join(" "), "/dev/null"]);
        // How the terminal shows the end of an input that was empty.
        ran.stdout = ran.stdout.replace(['\r', '\0'], "").replace("^@", "");
        ran
    }

    /// Nothing of the containers may be left: no mount, no process of the runtime's, no cgroup but those of the engine.
    fn end(self, of_the_engine: &[&str]) {
        let after = within(Duration::from_secs(10), "the engine has tidied up", || {
            let now = Snapshot::take(&self.init, &self.name);
            let processes = now.processes == self.before.processes;
            if processes {
                Ok(now)
            } else {
                Err(format!("{:?}", now.processes))
            }
        });
        let left: Vec<_> = after
            .cgroups
            .iter()
            .filter(|path| !path.ends_with(&self.name) && !of_the_engine.iter().any(|own| path.ends_with(own)))
            .collect();
        assert!(left.is_empty(), "cgroups were left behind: {left:?}");
        assert_eq!(self.before.mounts, after.mounts, "mounts were left behind");
        assert_eq!(self.before.links, after.links, "network devices were left behind");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The shell ends, and with it everything in its PID namespace.
        drop(self.stdin.take());
        let _ = self.holder.wait();
        let all = Snapshot::take("self", &self.name).cgroups;
        for dir in all.iter().rev() {
            // Where no hierarchy is mounted, podman's conmon writes its pid into an ordinary file.
            let _ = std::fs::remove_file(Path::new(dir).join("tasks"));
            for _ in 0..100 {
                match std::fs::remove_dir(dir) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// A limit of a cgroup, where either version has it.
fn limit(cgroup: &str, v1: &str, v2: &str) -> String {
    let controller = v1.split('.').next().expect("a name");
    let root = PathBuf::from("/sys/fs/cgroup");
    let files = [
        root.join(controller).join(cgroup.trim_start_matches('/')).join(v1),
        root.join(cgroup.trim_start_matches('/')).join(v2),
    ];
    let found = files.iter().find_map(|file| std::fs::read_to_string(file).ok());
    found.unwrap_or_else(|| panic!("none of {files:?}")).trim().to_owned()
}

fn good(ran: Ran) -> String {
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    ran.stdout
}

struct Podman(Place);

const TOOLS: &str = "localhost/tools:1";

impl Podman {
    fn new(name: &str) -> Self {
        let place = Place::new(name);
        let layout = format!("oci:{}:tools:1", images().join("tools.oci").display());
        good(place.run(
            "skopeo",
            &["copy", "-q", &layout, &format!("containers-storage:{TOOLS}")],
        ));
        Self(place)
    }

    fn words(args: &[&str]) -> Vec<String> {
        let runtime = runtime();
        let runtime = runtime.to_str().expect("UTF-8");
        let global = [
            "--runtime",
            runtime,
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "file",
        ];
        let words = global.iter().chain(["--log-level", "fatal"].iter()).chain(args);
        words.map(|word| (*word).to_owned()).collect()
    }

    fn run(&self, args: &[&str]) -> Ran {
        let words = Self::words(args);
        self.0
            .run("podman", &words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn good(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "podman {args:?}: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// `podman run` with what all of them have.
    fn container(&self, args: &[&str]) -> Ran {
        self.run(&[&["run", "--network", "host", "--cgroup-parent", &self.parent()], args].concat())
    }

    fn parent(&self) -> String {
        format!("/{}", self.0.name)
    }

    fn status(&self, name: &str) -> String {
        self.good(&["inspect", name, "--format", "{{.State.Status}}"])
            .trim()
            .to_owned()
    }

    fn end(self) {
        self.good(&["rm", "--all", "--force", "--time", "0"]);
        self.good(&["umount", "--all"]);
        // The engine makes a mount of its storage for itself, not always.
        self.0.run("umount", &["-l", "/var/lib/containers/storage/overlay"]);
        self.0.end(&["/conmon"]);
    }
}

#[test]
fn podman_runs_programs() {
    let podman = Podman::new("podman-run");
    let ran = podman.container(&["--rm", TOOLS, "sh", "-c", "echo out; echo err >&2; exit 9"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (9, "out\n", "err\n")
    );
    let limits = [
        "--rm",
        "--read-only",
        "--memory",
        "64m",
        "--pids-limit",
        "50",
        "--cap-drop",
        "all",
        "--cap-add",
        "net_admin",
        "--security-opt",
        "no-new-privileges",
        "--user",
        "1000:1000",
        "--hostname",
        "inside",
        "--uts",
        "private",
    ];
    let script = "touch /x 2>/dev/null && echo writable; hostname; id -u; grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status";
    let text = good(podman.container(&[&limits[..], &[TOOLS, "sh", "-c", script]].concat()));
    let lines: Vec<String> = text.lines().map(|line| line.replace('\t', " ")).collect();
    let wanted = [
        "inside",
        "1000",
        "CapBnd: 0000000000001000",
        "NoNewPrivs: 1",
        "Seccomp: 2",
    ];
    assert_eq!(lines, wanted);
    let none = podman.run(&[
        "run",
        "--rm",
        "--network",
        "none",
        "--cgroup-parent",
        &podman.parent(),
        TOOLS,
        "ip",
        "addr",
    ]);
    let none = good(none);
    assert!(none.contains("127.0.0.1/8") && !none.contains("2: "), "{none}");
    let privileged = podman.container(&[
        "--rm",
        "--privileged",
        TOOLS,
        "sh",
        "-c",
        "grep CapEff /proc/self/status; ls /dev/full",
    ]);
    assert!(good(privileged).contains("/dev/full"));
    for (program, code, said) in [
        ("no-such", 127, "executable file not found in $PATH"),
        ("/no/such", 127, "no such file or directory"),
        ("/etc/passwd", 126, "permission denied"),
    ] {
        let ran = podman.container(&["--rm", TOOLS, program]);
        assert_eq!(ran.code, code, "{program}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{program}: {}", ran.stderr);
    }
    podman.end();
}

#[test]
fn podman_follows_a_container_through_its_life() {
    let podman = Podman::new("podman-life");
    let script = "echo started; trap 'echo term; exit 3' TERM; while :; do sleep 0.05; done";
    good(podman.container(&[
        "-d",
        "--name",
        "a",
        "--health-cmd",
        "grep -q 1 /proc/1/status",
        TOOLS,
        "sh",
        "-c",
        script,
    ]));
    assert_eq!(podman.status("a"), "running");
    within(Duration::from_secs(10), "the log has its line", || {
        let log = podman.good(&["logs", "a"]);
        if log == "started\n" { Ok(()) } else { Err(log) }
    });
    let ran = podman.run(&[
        "exec",
        "--user",
        "7:8",
        "--workdir",
        "/tmp",
        "--env",
        "A=1",
        "a",
        "sh",
        "-c",
        "id -u; pwd; echo $A; exit 4",
    ]);
    assert_eq!((ran.code, ran.stdout.as_str()), (4, "7\n/tmp\n1\n"), "{}", ran.stderr);
    assert_eq!(podman.run(&["exec", "a", "no-such"]).code, 127);
    podman.good(&["exec", "--detach", "a", "sleep", "1000"]);
    podman.good(&["healthcheck", "run", "a"]);
    assert!(podman.good(&["top", "a"]).contains("sleep 1000"));
    let stats: Value =
        serde_json::from_str(&podman.good(&["stats", "--no-stream", "--format", "json", "a"])).expect("JSON");
    assert!(stats[0]["pids"].as_str().is_some_and(|pids| pids != "0"), "{stats}");

    podman.good(&["pause", "a"]);
    assert_eq!(podman.status("a"), "paused");
    assert_ne!(podman.run(&["exec", "a", "true"]).code, 0);
    podman.good(&["unpause", "a"]);
    assert_eq!(podman.status("a"), "running");

    podman.good(&["update", "--memory", "100m", "--cpus", "0.5", "--cpuset-cpus", "0", "a"]);
    let id = podman.good(&["inspect", "a", "--format", "{{.Id}}"]);
    let cgroup = format!("{}/libpod-{}", podman.parent(), id.trim());
    assert_eq!(limit(&cgroup, "memory.limit_in_bytes", "memory.max"), "104857600");
    assert_eq!(limit(&cgroup, "cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(
        podman.good(&["exec", "a", "grep", "Cpus_allowed_list", "/proc/1/status"]),
        "Cpus_allowed_list:\t0\n"
    );

    podman.good(&["stop", "--time", "20", "a"]);
    assert_eq!(podman.status("a"), "exited");
    assert_eq!(podman.good(&["inspect", "a", "--format", "{{.State.ExitCode}}"]), "3\n");
    assert_eq!(podman.good(&["logs", "a"]), "started\nterm\n");
    podman.good(&["start", "a"]);
    podman.good(&["restart", "--time", "20", "a"]);
    podman.good(&["kill", "a"]);
    within(Duration::from_secs(10), "it was killed", || {
        let code = podman.good(&["inspect", "a", "--format", "{{.State.Status}} {{.State.ExitCode}}"]);
        if code == "exited 137\n" { Ok(()) } else { Err(code) }
    });
    podman.good(&["rm", "a"]);

    podman.good(&[
        "create",
        "--name",
        "b",
        "--network",
        "host",
        "--cgroup-parent",
        &podman.parent(),
        TOOLS,
        "sleep",
        "1000",
    ]);
    podman.good(&["init", "b"]);
    assert_eq!(podman.status("b"), "initialized");
    podman.good(&["start", "b"]);
    assert_eq!(podman.status("b"), "running");
    podman.good(&["rm", "--force", "--time", "0", "b"]);
    podman.end();
}

#[test]
fn podman_gives_a_terminal() {
    let podman = Podman::new("podman-tty");
    let on_a_terminal = |args: &[&str]| {
        let words = Podman::words(args);
        podman.0.on_a_terminal(&[vec!["podman".to_owned()], words].concat())
    };
    let parent = podman.parent();
    let run = [
        "run",
        "--rm",
        "-it",
        "--network",
        "host",
        "--cgroup-parent",
        &parent,
        TOOLS,
    ];
    let ran = on_a_terminal(
        &[
            &run[..],
            &["sh", "-c", "tty; test -t 0 && test -t 2 && echo both; exit 6"],
        ]
        .concat(),
    );
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (6, "/dev/pts/0\nboth\n"),
        "{}",
        ran.stderr
    );
    good(podman.container(&["-d", "--name", "a", TOOLS, "sleep", "1000"]));
    let ran = on_a_terminal(&["exec", "-it", "a", "sh", "-c", "tty; test -t 0 && echo yes"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "/dev/pts/0\nyes\n"),
        "{}",
        ran.stderr
    );
    podman.end();
}

struct Containerd {
    place: Place,
    daemon: Child,
}

const SOCKET: &str = "/run/containerd-test/c.sock";

impl Containerd {
    fn new(name: &str) -> Self {
        let place = Place::new(name);
        let config = "version = 2\nroot = '/var/lib/containers/root'\nstate = '/run/containerd-test/state'\n\
                      disabled_plugins = ['io.containerd.grpc.v1.cri']\n[grpc]\naddress = '/run/containerd-test/c.sock'\n";
        let script = "mkdir -p /run/containerd-test && cat >/run/containerd-test/config.toml";
        let mut write = place
            .command("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh runs");
        write
            .stdin
            .take()
            .expect("piped")
            .write_all(config.as_bytes())
            .expect("sh reads");
        assert!(write.wait().expect("sh ends").success());
        let daemon = place
            .command("containerd")
            .args(["--config", "/run/containerd-test/config.toml", "--log-level", "error"])
            .stderr(Stdio::null())
            .spawn()
            .expect("containerd runs");
        let containerd = Self { place, daemon };
        within(Duration::from_secs(30), "containerd answers", || {
            containerd.run(&["version"]).ok()
        });
        let layout = format!("oci:{}:tools:1", images().join("tools.oci").display());
        let archive = format!("docker-archive:/run/containerd-test/tools.tar:{TOOLS}");
        good(containerd.place.run("skopeo", &["copy", "-q", &layout, &archive]));
        containerd.good(&["images", "import", "/run/containerd-test/tools.tar"]);
        containerd
    }

    fn words(&self, args: &[&str]) -> Vec<String> {
        let global = ["--address", SOCKET, "--namespace", &self.place.name];
        global.iter().chain(args).map(|word| (*word).to_owned()).collect()
    }

    fn run(&self, args: &[&str]) -> Ran {
        let words = self.words(args);
        self.place
            .run("ctr", &words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn good(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "ctr {args:?}: {}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// The arguments of `ctr run` up to the image.
    fn run_with(args: &[&str]) -> Vec<String> {
        let runtime = runtime();
        let own = [
            "--runc-binary",
            runtime.to_str().expect("UTF-8"),
            "--runc-root",
            "/run/containerd-test/oci",
        ];
        let words = ["run"].iter().chain(own.iter()).chain(args).chain([TOOLS].iter());
        words.map(|word| (*word).to_owned()).collect()
    }

    fn container(&self, options: &[&str], id: &str, program: &[&str]) -> Ran {
        let run = Self::run_with(options);
        let run: Vec<&str> = run.iter().map(String::as_str).collect();
        self.run(&[&run[..], &[id], program].concat())
    }

    fn status(&self, id: &str) -> String {
        let list = self.good(&["tasks", "ls"]);
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(id));
        line.and_then(|line| line.split_whitespace().nth(2))
            .unwrap_or("none")
            .to_owned()
    }

    fn becomes(&self, id: &str, status: &str) {
        within(Duration::from_secs(10), status, || {
            let now = self.status(id);
            if now == status { Ok(()) } else { Err(now) }
        });
    }

    fn end(mut self) {
        let pids = self.place.run("pidof", &["containerd"]);
        good(self.place.run("kill", &[pids.stdout.trim()]));
        self.daemon.wait().expect("containerd ends");
        let state = self
            .place
            .run("sh", &["-c", "ls /run/containerd-test/oci/* 2>/dev/null"]);
        assert!(
            state.stdout.lines().all(|line| line.is_empty() || line.ends_with(':')),
            "{}",
            state.stdout
        );
        self.place.end(&[]);
    }
}

#[test]
fn containerd_runs_programs() {
    let containerd = Containerd::new("containerd-run");
    let ran = containerd.container(&["--rm"], "one", &["sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (3, "out\n", "err\n")
    );
    let options = ["--rm", "--env", "A=b", "--seccomp"];
    let script = "echo $A; grep Seccomp: /proc/self/status";
    let text = good(containerd.container(&options, "two", &["sh", "-c", script]));
    assert_eq!(text.replace('\t', " "), "b\nSeccomp: 2\n");
    let ran = containerd.container(&[], "three", &["no-such"]);
    assert!(
        ran.stderr.contains("executable file not found in $PATH"),
        "{}",
        ran.stderr
    );
    containerd.good(&["containers", "rm", "three"]);
    let run = Containerd::run_with(&["--rm", "--tty"]);
    let run: Vec<&str> = run.iter().map(String::as_str).collect();
    let words = containerd.words(&[&run[..], &["four", "sh", "-c", "tty; test -t 0 && echo yes"]].concat());
    let ran = containerd
        .place
        .on_a_terminal(&[vec!["ctr".to_owned()], words].concat());
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "/dev/pts/0\nyes\n"),
        "{}",
        ran.stderr
    );
    containerd.end();
}

#[test]
fn containerd_follows_a_task_through_its_life() {
    let containerd = Containerd::new("containerd-life");
    let script = "trap 'exit 5' TERM; while :; do sleep 0.05; done";
    good(containerd.container(&["-d", "--memory-limit", "67108864"], "a", &["sh", "-c", script]));
    assert_eq!(containerd.status("a"), "RUNNING");
    let cgroup = format!("/{}/a", containerd.place.name);
    assert_eq!(limit(&cgroup, "memory.limit_in_bytes", "memory.max"), "67108864");
    let exec =
        |id: &str, program: &[&str]| containerd.run(&[&["tasks", "exec", "--exec-id", id, "a"], program].concat());
    let ran = exec("e1", &["sh", "-c", "echo in; exit 6"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (6, "in\n"), "{}", ran.stderr);
    let ran = exec("e2", &["no-such"]);
    assert!(
        ran.stderr.contains("executable file not found in $PATH"),
        "{}",
        ran.stderr
    );
    assert!(containerd.good(&["tasks", "ps", "a"]).lines().count() >= 2);
    let metrics = containerd.good(&["tasks", "metrics", "a"]);
    let used = metrics.lines().find(|line| line.starts_with("memory.usage"));
    assert!(used.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
    containerd.good(&["tasks", "pause", "a"]);
    assert_eq!(containerd.status("a"), "PAUSED");
    assert!(exec("e3", &["true"]).stderr.contains("paused"));
    containerd.good(&["tasks", "resume", "a"]);
    assert_eq!(containerd.status("a"), "RUNNING");
    let refused = containerd.run(&["tasks", "checkpoint", "a"]);
    assert!(
        refused.stderr.contains("checkpoint is not supported"),
        "{}",
        refused.stderr
    );
    containerd.good(&["tasks", "kill", "--signal", "SIGTERM", "a"]);
    containerd.becomes("a", "STOPPED");
    // The engine tells a task that is over from an error by the runtime's words.
    assert!(
        containerd
            .run(&["tasks", "kill", "a"])
            .stderr
            .contains("process already finished")
    );
    containerd.good(&["tasks", "rm", "a"]);
    containerd.good(&["containers", "rm", "a"]);

    good(containerd.container(&["-d"], "b", &["sh", "-c", "sleep 1000 & sleep 1000"]));
    containerd.good(&["tasks", "kill", "--signal", "SIGKILL", "--all", "b"]);
    containerd.becomes("b", "STOPPED");
    containerd.good(&["tasks", "rm", "b"]);
    containerd.good(&["containers", "rm", "b"]);
    containerd.end();
}
