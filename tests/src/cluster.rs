//! A node in namespaces of its own.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crate::api::Server;
use crate::namespaces::{self, Namespaces};
use crate::{Background, Ran, Snapshot, Space, leak, within, words};

/// What a [`Cluster`] is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A shell script that runs in the namespaces before anything else; `$DIR` is the node's directory.
    pub prepare: &'static str,
    /// Do not run `barepod up` yet.
    pub down: bool,
}

/// A node that runs, and goes away with this value.
pub struct Cluster {
    namespaces: Mutex<Namespaces>,
    init: String,
    dir: PathBuf,
    cgroup: String,
    before: Snapshot,
}

impl Cluster {
    /// A node that is ready.
    pub fn start(name: &str) -> Self {
        Self::with(name, Options::default())
    }

    /// A node that is not up yet.
    pub fn down(name: &str) -> Self {
        let options = Options {
            down: true,
            ..Options::default()
        };
        Self::with(name, options)
    }

    /// A node that all tests of a program share. It is taken down when the program ends, and what it leaves behind
    /// fails it.
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
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("barepodtest-{name}-{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(&id);
        fs::create_dir_all(&dir).expect("a temporary directory can be made");
        let namespaces = Namespaces::make(&format!("DIR={}\n{}", dir.display(), options.prepare));
        let init = namespaces.init().to_owned();
        let cluster = Cluster {
            namespaces: Mutex::new(namespaces),
            before: Snapshot::take(&init, &id).with_files(&init, &dir),
            init,
            dir,
            cgroup: format!("/{id}"),
        };
        if !options.down {
            cluster.up("");
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

    /// A file or directory of the node as its processes see it, whatever is mounted in its namespaces.
    pub fn path(&self, below: &str) -> PathBuf {
        let dir = self.dir.strip_prefix("/").expect("absolute");
        Path::new("/proc").join(&self.init).join("root").join(dir).join(below)
    }

    /// `barepod up` with further arguments; panics with the daemons' logs if it fails.
    pub fn up(&self, arguments: &str) -> String {
        self.told(self.barepod(&format!("up {arguments}")), "barepod up")
    }

    /// What a command that must succeed printed.
    fn told(&self, ran: Ran, what: &str) -> String {
        ran.ok().unwrap_or_else(|e| panic!("{what}: {e}\n{}", self.logs()))
    }

    /// The ends of the daemons' logs.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for name in ["control", "agent"] {
            let log = fs::read_to_string(self.path(&format!("lib/log/{name}.log"))).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(40)..].join("\n");
            let _ = writeln!(text, "--- {name}.log\n{end}");
        }
        text
    }

    /// A command in the node's namespaces.
    pub fn command(&self, line: &str) -> Command {
        let words = words(line);
        let mut command = namespaces::inside(&self.init, &words[0]);
        command.args(&words[1..]);
        command
    }

    /// A client of the node: it has the node's network, files and kubeconfig, and ends when it is killed.
    pub fn client(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = namespaces::beside(&self.init, program);
        command.env("KUBECONFIG", self.dir.join("etc/admin.kubeconfig"));
        // kubectl keeps discovery documents; tests must see those of their own server.
        command.env("HOME", &self.dir);
        command
    }

    /// Runs a program in the node's namespaces.
    pub fn run(&self, line: &str) -> Ran {
        Ran::of(&mut self.command(line))
    }

    /// One GET request from the machine itself, with the answer's body.
    pub fn curl(&self, url: &str) -> Result<String, String> {
        Ran::of(self.client("curl").args(["-sSf", "--max-time", "3", url])).ok()
    }

    /// `barepod` with the node's directories.
    pub fn barepod_command(&self, line: &str) -> Command {
        let mut command = namespaces::inside(&self.init, barepod());
        for (option, name) in [("--conf-dir", "etc"), ("--state-dir", "lib"), ("--run-dir", "run")] {
            command.arg(option).arg(self.dir.join(name));
        }
        command.args(["--cgroup-parent", &self.cgroup]).args(words(line));
        command
    }

    /// Runs `barepod` with the node's directories.
    pub fn barepod(&self, line: &str) -> Ran {
        Ran::of(&mut self.barepod_command(line))
    }

    /// What `barepod … -o json` prints.
    pub fn barepod_json(&self, line: &str) -> serde_json::Value {
        let text = self.told(self.barepod(&format!("{line} -o json")), line);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{line}: {e}: {text}"))
    }

    /// Runs kubectl and gives its standard output; panics if it fails.
    pub fn kubectl(&self, line: &str) -> String {
        self.told(self.try_kubectl(line), line)
    }

    /// Runs kubectl, whatever comes of it.
    pub fn try_kubectl(&self, line: &str) -> Ran {
        Ran::of(self.client(kubectl()).args(words(line)))
    }

    /// kubectl beside the test.
    pub fn kubectl_beside(&self, line: &str) -> Background {
        let mut command = self.client(kubectl());
        command.args(words(line));
        Background::start(command)
    }

    /// A new namespace.
    pub fn space(&self, name: &str) -> Space<'_> {
        self.kubectl(&format!("create namespace {name}"));
        Space::new(self, name)
    }

    /// The namespace `default`.
    pub fn default_space(&self) -> Space<'_> {
        Space::new(self, "default")
    }

    /// The node's API server, for requests of the test itself.
    pub fn api(&self) -> anyhow::Result<crate::api::Connection> {
        let server = Server::from_kubeconfig(&self.dir.join("etc/admin.kubeconfig"), None)?;
        let socket = namespaces::dial(&self.init, server.port())?;
        socket.set_read_timeout(Some(crate::space::LIMIT))?;
        server.over(socket)
    }

    /// Imports an image archive or layout directory of [`crate::images`], under a name of its own if one is given.
    pub fn import(&self, file: &str, name: Option<&str>) {
        let path = crate::images().join(file);
        let name = name.map(|n| format!("--name {n}")).unwrap_or_default();
        let line = format!("images import {} {name}", path.display());
        self.told(self.barepod(&line), &line);
    }

    /// The process id of a daemon, in the node's PID namespace.
    pub fn daemon_pid(&self, daemon: &str) -> String {
        let path = self.path(&format!("run/{daemon}.pid"));
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim().to_owned()
    }

    /// Sends SIGKILL to daemons, and waits until they are gone.
    pub fn kill_daemons(&self, daemons: &[&str]) {
        let pids: Vec<String> = daemons.iter().map(|daemon| self.daemon_pid(daemon)).collect();
        self.kill(&pids);
    }

    /// Sends SIGKILL to processes of the node's PID namespace, and waits until they are gone.
    pub fn kill(&self, pids: &[String]) {
        let pids = pids.join(" ");
        let ran = self.run(&format!("kill -KILL {pids}"));
        assert!(ran.code == 0, "kill {pids}: {}", ran.stderr);
        let script = format!("for p in {pids}; do while [ -e /proc/$p/exe ]; do sleep 0.01; done; done");
        self.run(&format!("timeout 10 sh -c '{script}'"));
    }

    /// What a reboot comes to: every process, every link and rule, every mount, every cgroup and everything in the run
    /// directory is gone, and the boot has another id.
    pub fn reboot(&mut self) {
        let namespaces = self.namespaces.get_mut().expect("nobody panics with it");
        namespaces.end();
        let mark = self.cgroup.trim_start_matches('/');
        within(Duration::from_secs(10), "the cgroups can be removed", || {
            let left = leak::cgroups(mark);
            // Children sort behind their parents.
            left.iter().rev().for_each(|dir| drop(fs::remove_dir(dir)));
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        });
        fs::remove_dir_all(self.dir.join("run")).expect("the run directory can be removed");
        let boot_id = "f=$(mktemp); cat /proc/sys/kernel/random/uuid >$f
            mount --bind $f /proc/sys/kernel/random/boot_id; rm $f";
        *namespaces = Namespaces::make(boot_id);
        self.init = namespaces.init().to_owned();
        let files = std::mem::take(&mut self.before.files);
        self.before = Snapshot {
            files,
            ..Snapshot::take(&self.init, mark)
        };
    }

    /// `barepod reset`, and the proof that nothing is left behind; panics if something is.
    pub fn reset(&self) {
        self.told(self.barepod("reset"), "barepod reset");
        let mark = self.cgroup.trim_start_matches('/');
        // The host ends of veth pairs vanish a moment after their namespace.
        let after = within(Duration::from_secs(5), "network devices and processes vanish", || {
            let now = Snapshot::take(&self.init, mark).with_files(&self.init, &self.dir);
            if now.links == self.before.links
                && now.processes == self.before.processes
                && now.programs == self.before.programs
            {
                Ok(now)
            } else {
                Err(format!("{:?} {:?} {:?}", now.links, now.processes, now.programs))
            }
        });
        self.before.assert_same(&after);
    }

    /// Takes the node down; panics if it leaves something behind, but not before the namespaces have ended.
    fn end(&self) {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if std::thread::panicking() {
                eprintln!("{}", self.logs());
                let _ = self.barepod("reset");
            } else {
                self.reset();
            }
        }));
        self.namespaces.lock().expect("nobody panics with it").end();
        for dir in leak::cgroups(self.cgroup.trim_start_matches('/')).iter().rev() {
            // Those of a test's own, and what a broken build has left.
            let _ = fs::remove_dir(dir);
        }
        let _ = fs::remove_dir_all(&self.dir);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    }
}

/// The node of [`Cluster::shared`].
static SHARED: OnceLock<&'static Cluster> = OnceLock::new();

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
            let built = exe.ancestors().nth(2).expect("tests are built in target/…/deps");
            built.join("barepod")
        },
        PathBuf::from,
    )
}

/// kubectl: `KUBECTL`, or the machine's.
pub fn kubectl() -> PathBuf {
    std::env::var_os("KUBECTL").map_or_else(|| "kubectl".into(), PathBuf::from)
}
