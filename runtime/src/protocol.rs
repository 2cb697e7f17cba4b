//! What the agent and a pod's monitor say to each other.
//!
//! The monitor listens on `monitor.sock` (`AF_UNIX`, `SOCK_SEQPACKET`) in the sandbox directory. One packet is one
//! JSON value; file descriptors travel beside it as `SCM_RIGHTS`. Any number of clients may be connected; every
//! client may send requests, and one that sent [`Request::Subscribe`] also gets [`Event`]s. Replies carry the `seq`
//! of their request, so a client may have several requests under way.
//!
//! ```text
//! agent ── Envelope{seq, Request} (+ fds) ──► monitor
//! agent ◄── Reply{seq, Ok(Response) | Err(Failure)} (+ fds) ── monitor
//! agent ◄── Event ── monitor
//! ```
//!
//! | request | fds sent | fds received |
//! |---|---|---|
//! | `Sandbox` | – | network namespace, pidfd of pause |
//! | `Exec` with `tty: false` | the given ones of stdin, stdout, stderr, in this order | – |
//! | `Exec` with `tty: true` | – | the terminal's master |
//! | `Attach` to a container without terminal | the given ones of stdout, stderr | write end of stdin if it has one and `stdin` was asked |
//! | `Attach` to a container with terminal | the given one of stdout | the terminal's master if `stdin` was asked |

//!
//! A monitor itself is asked for at a spawner, `barepod-runtime spawner`, which has such a socket as its standard input
//! and ends when it is closed. A packet is a [`SandboxConfig`], with a socket of its own for what becomes of it:
//! [`FromSpawner`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use oci_spec::runtime::{LinuxResources, Process, Spec};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::seccomp::Filter;

/// Largest packet either side sends, in bytes. A [`ContainerConfig`] above it must be passed as a memory file (see
/// [`Request::Create`]).
pub const MAX_PACKET: usize = 160 * 1024;

/// A request with the number its reply will carry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope {
    /// Chosen by the client, repeated in the [`Reply`].
    pub seq: u64,
    /// What is asked.
    pub request: Request,
}

/// The answer to the [`Envelope`] with the same `seq`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reply {
    /// The request's number.
    pub seq: u64,
    /// The outcome.
    pub result: Result<Response, Failure>,
}

/// A packet from the monitor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
#[expect(
    clippy::large_enum_variant,
    reason = "packets are read one at a time and taken apart at once"
)]
pub enum FromMonitor {
    /// The answer to a request.
    Reply(Reply),
    /// Something that happened, for subscribers.
    Event(Event),
}

/// What becomes of a sandbox that was asked for: `Begun`, except where not even a monitor could be made, then one of the
/// others. Without one the monitor died.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "one is read and taken apart at once")]
pub enum FromSpawner {
    /// There is a monitor, whose pidfd is sent along, and the pod's network namespace if it has one of its own: it can be
    /// connected to the network while the rest is made.
    Begun,
    /// The sandbox is there.
    Ready(SandboxState),
    /// It cannot be made, and nothing is left of it.
    Failed(Failure),
}

/// What can be asked of a monitor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb")]
pub enum Request {
    /// Describe the sandbox and its containers.
    Sandbox,
    /// From now on send [`Event`]s to this client. Exits that happened before are in the answer to `Sandbox`.
    Subscribe,
    /// Make a spare sandbox that of a pod: its directory is moved to the new one, which may be there if it is empty, its
    /// host name is set, and the pod's cgroup is made. The namespaces must be the same, and there can be no sysctls.
    /// After a failure the sandbox is good for nothing but `Stop`.
    Claim {
        /// The pod's sandbox.
        config: Box<SandboxConfig>,
    },
    /// Make a container up to the point where its program would be executed. With `config: None` the configuration
    /// is read from a memory file whose descriptor is sent along.
    Create {
        /// The container, unless it is sent as a memory file.
        config: Option<Box<ContainerConfig>>,
        /// Also start it, saving a round trip.
        start: bool,
    },
    /// Execute the program of a created container.
    Start {
        /// Container id.
        id: String,
    },
    /// Send a signal to the container's first process, or to every process of its cgroup.
    Kill {
        /// Container id.
        id: String,
        /// Signal number.
        signal: i32,
        /// Every process of the container instead of the first one only.
        all: bool,
    },
    /// Remove a container, killing what is left of it. Succeeds if it is already gone.
    Delete {
        /// Container id.
        id: String,
    },
    /// Change a container's cgroup limits.
    Update {
        /// Container id.
        id: String,
        /// The limits to write; what is absent stays as it is.
        resources: Box<LinuxResources>,
    },
    /// Run another program in a running container. The reply comes when it has been executed; its end is an
    /// [`Event::ExecExited`] to the client that asked, subscribed or not.
    Exec {
        /// Container id.
        id: String,
        /// Chosen by the client, unique within the pod.
        exec_id: String,
        /// The program, with user, environment, capabilities as the OCI specification has them.
        process: Box<Process>,
        /// A terminal of its own.
        tty: bool,
        /// Which of stdin, stdout, stderr are sent as descriptors; the others are `/dev/null`.
        stdio: [bool; 3],
        /// Kill the exec's whole process tree after this many milliseconds.
        timeout_ms: Option<u64>,
    },
    /// Kill an exec's process tree.
    KillExec {
        /// The exec's id.
        exec_id: String,
    },
    /// Copy a container's output from now on, and optionally feed its input.
    Attach {
        /// Container id.
        id: String,
        /// Which of stdin, stdout, stderr are wanted.
        stdio: [bool; 3],
    },
    /// Change the size of the terminal of a container or an exec.
    Resize {
        /// Container id or exec id.
        id: String,
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// Kill everything, remove containers and cgroups, and leave. The reply comes when all of it is gone.
    Stop,
}

/// The answer to a [`Request`] that succeeded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[expect(
    clippy::large_enum_variant,
    reason = "answers are read one at a time and taken apart at once"
)]
pub enum Response {
    /// To `Sandbox`.
    Sandbox(SandboxState),
    /// To `Create` and `Start`.
    Container(ContainerState),
    /// To `Exec`: the process id in the monitor's PID namespace.
    Exec {
        /// Process id.
        pid: i32,
    },
    /// To all others.
    Done,
}

/// Why a [`Request`] failed.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What sort of failure, for the caller's next step.
    pub reason: Reason,
    /// The whole chain of causes in one line.
    pub message: String,
}

/// Sorts of [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No container or exec with that id.
    NotFound,
    /// The id is taken.
    Exists,
    /// The container is not in a state that allows it (exec after exit, start twice).
    State,
    /// The program could not be executed: not found (127) or not executable (126). Kubernetes' `StartError`.
    Exec,
    /// The configuration cannot be carried out.
    Invalid,
    /// A program on the way into the container or out of it failed.
    Hook,
    /// The kernel or the file system refused.
    System,
}

/// Something that happened in the pod.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A container's first process ended; its output is in the log to the last byte.
    Exited {
        /// Container id.
        id: String,
        /// How it ended.
        exit: Exit,
    },
    /// An exec ended.
    ExecExited {
        /// The exec's id.
        exec_id: String,
        /// How it ended.
        exit: Exit,
        /// It ended because its time was over.
        timed_out: bool,
    },
    /// pause ended, so that the sandbox is gone.
    SandboxExited,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code; 128 + signal for one that was killed.
    pub code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// The kernel's out-of-memory killer struck in its cgroup.
    pub oom_killed: bool,
    /// When it started, RFC 3339 with nanoseconds, UTC.
    pub started_at: String,
    /// When it ended, RFC 3339 with nanoseconds, UTC.
    pub finished_at: String,
}

/// Whose namespace is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamespaceMode {
    /// One for the pod, held by pause.
    #[default]
    Pod,
    /// The node's.
    Node,
    /// One for each container (PID only).
    Container,
}

/// A pod sandbox as it is asked for. Asked for at a spawner.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SandboxConfig {
    /// The pod's UID.
    pub id: String,
    /// What `ps` shows and what is found again after a crash: `namespace/name` of the pod.
    pub name: String,
    /// The directory of the sandbox's records and socket, made by the caller.
    pub dir: PathBuf,
    /// Host name in the UTS namespace; not set when `uts` is the node's.
    pub hostname: String,
    /// The pod's cgroup below every controller's mount, such as `/barepod/pod0d1e…`.
    pub cgroup: PathBuf,
    /// The pod's own limits, if it has any.
    pub resources: Option<LinuxResources>,
    /// Network namespace.
    pub network: NamespaceMode,
    /// PID namespace.
    pub pid: NamespaceMode,
    /// System V IPC and POSIX message queues.
    pub ipc: NamespaceMode,
    /// Host and domain name.
    pub uts: NamespaceMode,
    /// Kernel parameters of the pod's own namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Kept in the record for tools: labels, annotations, whatever the caller wants to find again.
    pub annotations: BTreeMap<String, String>,
    /// Made before there is a pod for it: without a cgroup for containers, and without containers, until
    /// [`Request::Claim`].
    #[serde(default)]
    pub spare: bool,
}

/// A container as it is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Random 128-bit id, 32 hexadecimal digits.
    pub id: String,
    /// The container's name in the pod, for `ps`.
    pub name: String,
    /// The OCI configuration. Its network, IPC, UTS and PID namespaces are the sandbox's whatever `linux.namespaces`
    /// says; `linux.cgroupsPath` is ignored: the cgroup is the pod's, with the id as last part.
    pub spec: Box<Spec>,
    /// The filter of all its processes if it is compiled already: see [`ContainerConfig::compile`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// Mounted as the root file system, in the container's mount namespace only; `root.path` is used without it.
    pub overlay: Option<Overlay>,
    /// Log file in CRI format, made if absent.
    pub log_path: PathBuf,
    /// Rotate when the log reaches this many bytes.
    pub log_max_bytes: u64,
    /// How many rotated files are kept beside the current one.
    pub log_max_files: u32,
    /// Keep a pipe open for standard input (`stdin` of a Kubernetes container).
    pub stdin: bool,
    /// Close standard input when the first client that attached to it goes (`stdinOnce`).
    pub stdin_once: bool,
    /// Kept in the record for tools.
    pub annotations: BTreeMap<String, String>,
}

impl ContainerConfig {
    /// Puts the filter in the place of the seccomp profile, which is the greater part of most configurations: it is read
    /// and compiled once here, and not by the container and each of its execs. A profile that somebody is notified by
    /// stays, as it says who.
    ///
    /// # Errors
    /// The profile makes no sense.
    pub fn compile(&mut self) -> Result<()> {
        let Some(linux) = self.spec.linux_mut() else {
            return Ok(());
        };
        let filter = linux.seccomp().as_ref().map(Filter::new).transpose()?;
        if let Some(filter) = filter.filter(|filter| !filter.notifies()) {
            linux.set_seccomp(None);
            self.filter = Some(filter);
        }
        Ok(())
    }
}

/// Directories of an overlay root file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Read-only layers, uppermost first.
    pub lower: Vec<PathBuf>,
    /// The writable layer, made by the caller.
    pub upper: PathBuf,
    /// The kernel's work directory, on the same file system as `upper`.
    pub work: PathBuf,
}

/// What is known of a sandbox.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SandboxState {
    /// As it was asked for, or claimed.
    pub config: SandboxConfig,
    /// The cgroup it was made for, if it was claimed for a pod with another one since: pause stays where it is.
    #[serde(default)]
    pub made_for: Option<PathBuf>,
    /// The monitor's process id.
    pub monitor_pid: i32,
    /// When the monitor started, in clock ticks since the machine's start, which with the process id names it for good.
    #[serde(default)]
    pub monitor_start_ticks: u64,
    /// The process id of pause, in the monitor's PID namespace; `None` once it is gone.
    pub pause_pid: Option<i32>,
    /// When it became ready, RFC 3339 with nanoseconds, UTC.
    pub created_at: String,
    /// Every container that was not deleted.
    pub containers: Vec<ContainerState>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Made, its program not executed yet.
    Created,
    /// Executed.
    Running,
    /// Ended.
    Exited,
}

/// What is known of a container. Also the content of its record file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerState {
    /// Container id.
    pub id: String,
    /// Name in the pod.
    pub name: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// Process id of its first process in the monitor's PID namespace.
    pub pid: Option<i32>,
    /// Its cgroup below every controller's mount.
    pub cgroup: PathBuf,
    /// Where its log is.
    pub log_path: PathBuf,
    /// When it was made.
    pub created_at: String,
    /// When its program was executed.
    pub started_at: Option<String>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// Bytes of output that are not in the log because its file system was full.
    #[serde(default)]
    pub log_dropped_bytes: u64,
    /// As given.
    pub annotations: BTreeMap<String, String>,
}
