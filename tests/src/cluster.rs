//! A node in namespaces of its own.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use serde_json::Value;

use crate::Snapshot;

/// What a [`Cluster`] is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Further arguments of `barepod up`.
    pub up: Vec<String>,
    /// Environment of `barepod up`, which its daemons inherit.
    pub env: Vec<(String, String)>,
    /// Do not run `barepod up` yet.
    pub down: bool,
}

/// A node that runs, and goes away with this value.
pub struct Cluster {
    holder: Mutex<Child>,
    init: String,
    dir: PathBuf,
    cgroup: String,
    env: Vec<(String, String)>,
    before: Snapshot,
}

/// The outcome of a command.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Exit code, -1 for a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Exit code 0, as a result that tells the rest.
    pub fn ok(self) -> Result<String, String> {
        if self.code == 0 {
            Ok(self.stdout)
        } else {
            Err(format!("exit {}: {}{}", self.code, self.stdout, self.stderr))
        }
    }
}

impl From<Output> for Ran {
    fn from(out: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            code: out.status.code().unwrap_or(-1),
            stdout: text(&out.stdout),
            stderr: text(&out.stderr),
        }
    }
}

impl Cluster {
    /// A node that is ready.
    pub fn start(name: &str) -> Self {
        Self::with(name, Options::default())
    }

    /// A node that all tests of a file share. It is taken down when the test program ends, and what it leaves behind
    /// fails that program.
    pub fn shared(name: &str, prepare: impl FnOnce(&Cluster)) -> &'static Self {
        let cluster: &'static Cluster = Box::leak(Box::new(Self::start(name)));
        prepare(cluster);
        crate::sys::at_exit(|| {
            let shared = SHARED.get().expect("set before this was registered");
            if std::panic::catch_unwind(|| shared.end()).is_err() {
                crate::sys::exit_now(101);
            }
        });
        assert!(SHARED.set(cluster).is_ok(), "one shared node a test program");
        cluster
    }

    /// A node as asked for.
    pub fn with(name: &str, options: Options) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!(
            "barepodtest-{name}-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(&id);
        std::fs::create_dir_all(&dir).expect("a temporary directory can be made");
        // The shell is PID 1 of the namespace: it reaps, and ends when this end of its standard input is closed.
        let mut holder = Command::new("unshare")
            .args([
                "--mount",
                "--net",
                "--pid",
                "--uts",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "--propagation",
                "private",
                "bash",
                "-c",
            ])
            .arg("hostname node-1 && ip link set lo up && echo up && read -r _")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare(1) runs");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("the shell answers");
        assert_eq!(line.trim(), "up", "namespaces could not be made: run as root");
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.id())).expect("children");
        let init = children.trim().to_owned();
        let cgroup = format!("/{id}");
        let before = Snapshot::take(&init, &id);
        let cluster = Cluster {
            holder: Mutex::new(holder),
            init,
            dir,
            cgroup,
            env: options.env,
            before,
        };
        if !options.down {
            let args: Vec<&str> = options.up.iter().map(String::as_str).collect();
            cluster.up(&args);
        }
        cluster
    }

    /// The directory with the node's `etc`, `lib` and `run`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The node's cgroup parent.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// The process whose namespaces the node lives in, as this process sees it.
    pub fn init(&self) -> &str {
        &self.init
    }

    /// `barepod up` with further arguments; panics with the daemons' logs if it fails.
    pub fn up(&self, args: &[&str]) -> String {
        self.up_as(self.command(barepod()), args)
    }

    /// [`Cluster::up`] by a command of one's own, which must be `barepod` itself.
    pub fn up_as(&self, command: Command, args: &[&str]) -> String {
        let ran = self.barepod_as(command, &[&["up"], args].concat());
        assert!(
            ran.code == 0,
            "barepod up: {}{}\n{}",
            ran.stdout,
            ran.stderr,
            self.logs()
        );
        ran.stdout
    }

    /// The ends of the daemons' logs.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for name in ["control", "agent"] {
            let log = std::fs::read_to_string(self.dir.join(format!("lib/log/{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let _ = writeln!(
                text,
                "--- {name}.log\n{}",
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
        text
    }

    /// A command in the node's namespaces.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &self.init, "-n", "-m", "-p", "-u", "--"])
            .arg(program);
        command
            .env("KUBECONFIG", self.dir.join("etc/admin.kubeconfig"))
            .envs(self.env.iter().cloned());
        // kubectl keeps discovery documents; tests must see those of their own server.
        command.env("HOME", &self.dir).stdin(Stdio::null());
        command
    }

    /// Runs a program in the node's namespaces.
    pub fn run(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Ran {
        self.command(program)
            .args(args)
            .output()
            .expect("nsenter(1) runs")
            .into()
    }

    /// Runs `barepod` with the node's directories.
    pub fn barepod(&self, args: &[&str]) -> Ran {
        self.barepod_as(self.command(barepod()), args)
    }

    fn barepod_as(&self, mut command: Command, args: &[&str]) -> Ran {
        for (option, name) in [("--conf-dir", "etc"), ("--state-dir", "lib"), ("--run-dir", "run")] {
            command.arg(option).arg(self.dir.join(name));
        }
        command
            .args(["--cgroup-parent", &self.cgroup])
            .args(args)
            .output()
            .expect("nsenter(1) runs")
            .into()
    }

    /// Runs kubectl and gives its standard output; panics if it fails.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let ran = self.try_kubectl(args);
        assert!(
            ran.code == 0,
            "kubectl {}: exit {}\n{}{}\n{}",
            args.join(" "),
            ran.code,
            ran.stdout,
            ran.stderr,
            self.logs()
        );
        ran.stdout
    }

    /// Runs kubectl, whatever comes of it.
    pub fn try_kubectl(&self, args: &[&str]) -> Ran {
        self.run(kubectl(), args)
    }

    /// Runs kubectl with something on its standard input; panics if it fails.
    pub fn kubectl_with(&self, args: &[&str], stdin: &str) -> String {
        let ran = self.try_kubectl_with(args, stdin);
        assert!(
            ran.code == 0,
            "kubectl {}: exit {}\n{}{}\n{}",
            args.join(" "),
            ran.code,
            ran.stdout,
            ran.stderr,
            self.logs()
        );
        ran.stdout
    }

    /// Runs kubectl with something on its standard input, whatever comes of it.
    pub fn try_kubectl_with(&self, args: &[&str], stdin: &str) -> Ran {
        let mut command = self.command(kubectl());
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("kubectl runs");
        let mut pipe = child.stdin.take().expect("piped");
        // What begins with a brace kubectl takes for JSON; the tests' one-line manifests are YAML.
        let yaml = if stdin.starts_with('{') { "---\n" } else { "" };
        pipe.write_all(format!("{yaml}{stdin}").as_bytes())
            .expect("kubectl reads");
        drop(pipe);
        child.wait_with_output().expect("kubectl ends").into()
    }

    /// `kubectl apply -f -` in a namespace.
    pub fn apply(&self, namespace: &str, manifest: &str) -> String {
        self.kubectl_with(&["apply", "-n", namespace, "-f", "-"], manifest)
    }

    /// An object (or a list) as JSON.
    pub fn get(&self, namespace: &str, args: &[&str]) -> Value {
        let text = self.kubectl(&[&["get", "-n", namespace, "-o", "json"], args].concat());
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// Imports an image archive or layout directory of [`crate::images`].
    pub fn import(&self, file: &str, name: Option<&str>) {
        let path = crate::images().join(file);
        let path = path.to_str().expect("UTF-8");
        let ran = self.barepod(
            &[
                &["images", "import", path],
                name.map(|n| vec!["--name", n]).unwrap_or_default().as_slice(),
            ]
            .concat(),
        );
        assert!(ran.code == 0, "import {file}: {}{}", ran.stdout, ran.stderr);
    }

    /// The process id of a daemon, in the node's PID namespace.
    pub fn daemon_pid(&self, daemon: &str) -> String {
        let path = self.dir.join(format!("run/{daemon}.pid"));
        std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            .trim()
            .to_owned()
    }

    /// Sends a signal to a process of the node's PID namespace.
    pub fn kill(&self, signal: &str, pid: &str) {
        let ran = self.run("kill", &[signal, pid]);
        assert!(ran.code == 0, "kill {signal} {pid}: {}", ran.stderr);
    }

    /// `barepod reset`, and the proof that nothing is left behind; panics if something is.
    pub fn reset(&self) {
        let ran = self.barepod(&["reset"]);
        assert!(ran.code == 0, "barepod reset: {}{}", ran.stdout, ran.stderr);
        // The host ends of veth pairs vanish a moment after their namespace.
        let after = crate::wait::within(std::time::Duration::from_secs(5), "network devices vanish", || {
            let now = Snapshot::take(&self.init, self.cgroup.trim_start_matches('/'));
            if now.links == self.before.links && now.processes == self.before.processes {
                Ok(now)
            } else {
                Err(format!("{:?} {:?}", now.links, now.processes))
            }
        });
        self.before.assert_same(&after);
        let left: Vec<_> = std::fs::read_dir(&self.dir)
            .expect("the directory is still there")
            .flatten()
            .map(|e| e.file_name())
            .filter(|n| n != ".kube")
            .collect();
        assert!(left.is_empty(), "files were left behind: {left:?}");
    }
}

/// The node of [`Cluster::shared`].
static SHARED: OnceLock<&'static Cluster> = OnceLock::new();

impl Cluster {
    /// Takes the node down; panics if it leaves something behind, but not before the namespaces have ended.
    fn end(&self) {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if std::thread::panicking() {
                eprintln!("{}", self.logs());
                let _ = self.barepod(&["reset"]);
            } else {
                self.reset();
            }
        }));
        let mut holder = self.holder.lock().expect("nobody panics with it");
        drop(holder.stdin.take());
        let _ = holder.kill();
        let _ = holder.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end();
    }
}

/// The program under test: `BAREPOD`, or what was built beside this test.
pub fn barepod() -> PathBuf {
    std::env::var_os("BAREPOD").map_or_else(
        || {
            let exe = std::env::current_exe().expect("a test has a file");
            exe.ancestors()
                .nth(2)
                .expect("tests are built in target/…/deps")
                .join("barepod")
        },
        PathBuf::from,
    )
}

/// kubectl: `KUBECTL`, or the machine's.
fn kubectl() -> PathBuf {
    std::env::var_os("KUBECTL").map_or_else(|| "kubectl".into(), PathBuf::from)
}
