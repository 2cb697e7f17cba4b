//! A pod's sandbox: its namespaces, its records, its end.

mod support;

use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

use barepod_runtime::protocol::{Event, NamespaceMode, Phase, Reason, Request, SandboxConfig};
use barepod_runtime::{client, records};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use oci_spec::runtime::{LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResourcesBuilder};
use support::{Pod, check_gone, of_a_pod, parse_line, remove_parent, sandbox, start_monitor, until};

fn namespace(pid: i32, name: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{name}"))
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

fn own_namespace(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}"))
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

#[test]
fn a_sandbox_has_its_namespaces_and_goes_without_a_trace() {
    let mut pod = Pod::new("namespaces");
    let pause = pod.state.pause_pid.unwrap();
    for name in ["pid", "net", "ipc", "uts", "mnt"] {
        assert_ne!(namespace(pause, name), own_namespace(name), "{name}");
    }
    // It gives itself the name once it runs.
    until("the name", || {
        (fs::read_to_string(format!("/proc/{pause}/comm")).unwrap()
            == "pause
")
        .then_some(())
    });
    let status = fs::read_to_string(format!("/proc/{pause}/status")).unwrap();
    for set in ["CapPrm", "CapEff"] {
        assert!(status.contains(&format!("{set}:\t0000000000000000")), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1"));
    assert_eq!(
        fs::read_dir(format!("/proc/{pause}/fd")).unwrap().count(),
        0,
        "pause has no open files"
    );
    assert_eq!(
        fs::read_dir(format!("/proc/{pause}/root")).unwrap().count(),
        0,
        "nor anything to open"
    );

    let (_, fds) = pod.ask_with(Request::Sandbox, &[]).unwrap();
    assert_eq!(fds.len(), 2);
    let network = fs::read_link(format!("/proc/self/fd/{}", fds[0].as_raw_fd())).unwrap();
    assert_eq!(network.to_string_lossy(), namespace(pause, "net"));
    pod.stop();
}

#[test]
fn a_sandbox_can_share_the_nodes_namespaces() {
    let pod = Pod::with("shared", |config| {
        config.network = NamespaceMode::Node;
        config.uts = NamespaceMode::Node;
        config.ipc = NamespaceMode::Node;
        config.pid = NamespaceMode::Node;
    });
    let pause = pod.state.pause_pid.unwrap();
    for name in ["pid", "net", "ipc", "uts"] {
        assert_eq!(namespace(pause, name), own_namespace(name), "{name}");
    }
    pod.stop();
}

#[test]
fn kernel_parameters_are_the_pods_own() {
    let set = |name: &str, value: &str| std::iter::once((name.to_owned(), value.to_owned())).collect();
    let mut pod = Pod::with("sysctl", |config| {
        config.sysctls = set("net.ipv4.ip_unprivileged_port_start", "7")
    });
    assert_eq!(pod.script("cat /proc/sys/net/ipv4/ip_unprivileged_port_start").1, "7\n");
    assert_ne!(
        fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap(),
        "7\n"
    );
    pod.stop();

    for (name, wanted) in [("kernel.panic", "not of a namespace"), ("net.no.such", "no such file")] {
        support::isolate();
        let mut config = sandbox("sysctl-bad");
        config.sysctls = set(name, "1");
        let (success, line) = start_monitor(&config, None);
        let failure = parse_line(&line).unwrap_err();
        assert!(!success && failure.message.contains(wanted), "{failure}");
        check_gone(&config);
        remove_parent(&config);
    }
}

#[test]
fn limits_of_the_pod_are_written_and_hold_no_process_of_ours() {
    let pod = Pod::with("limits", |config| {
        let resources = LinuxResourcesBuilder::default()
            .memory(LinuxMemoryBuilder::default().limit(8_i64 << 20).build().unwrap())
            .pids(LinuxPidsBuilder::default().limit(50_i64).build().unwrap());
        config.resources = Some(resources.build().unwrap());
    });
    let memory = fs::read_to_string(format!("/proc/{}/cgroup", pod.state.pause_pid.unwrap())).unwrap();
    let charged = memory
        .lines()
        .find(|line| line.contains(":memory:") || line.starts_with("0::"))
        .unwrap();
    let pod_path = pod.config.cgroup.to_string_lossy().into_owned();
    assert!(
        !charged.ends_with(&pod_path),
        "pause is not charged to the pod: {memory}"
    );
    let v1 = Path::new("/sys/fs/cgroup/memory")
        .join(pod_path.trim_start_matches('/'))
        .join("memory.limit_in_bytes");
    let v2 = Path::new("/sys/fs/cgroup")
        .join(pod_path.trim_start_matches('/'))
        .join("memory.max");
    let limit = fs::read_to_string(v1).or_else(|_| fs::read_to_string(v2)).unwrap();
    assert_eq!(limit.trim(), "8388608");
    pod.stop();
}

#[test]
fn a_spare_sandbox_becomes_that_of_a_pod() {
    let mut pod = Pod::with("spare", |config| config.spare = true);
    let spare = pod.config.clone();
    let mut config = of_a_pod(&spare);
    let pids = LinuxPidsBuilder::default().limit(50_i64).build().unwrap();
    config.resources = Some(LinuxResourcesBuilder::default().pids(pids).build().unwrap());
    let claim = || Request::Claim {
        config: Box::new(config.clone()),
    };
    pod.ask(claim()).unwrap();
    pod.config = config.clone();
    assert!(!pod.describe().config.spare);
    assert_eq!(pod.script("hostname").1, "of-the-pod\n");
    let limit = config.cgroup.join("pids.max");
    let limit = limit.to_string_lossy().trim_start_matches('/').to_owned();
    let limits = [
        format!("/sys/fs/cgroup/pids/{limit}"),
        format!("/sys/fs/cgroup/{limit}"),
    ];
    assert!(
        limits
            .iter()
            .any(|file| fs::read_to_string(file).is_ok_and(|it| it == "50\n"))
    );
    // It is found where the pod's is looked for, and only there.
    assert!(!spare.dir.exists());
    let found = records::load(&config.dir).unwrap();
    assert!(found.monitor_alive && found.pause_alive);
    assert_eq!(found.state.pause_pid, pod.state.pause_pid);
    // Once is enough.
    assert_eq!(pod.ask(claim()).unwrap_err().reason, Reason::State);
    pod.stop();
}

#[test]
fn what_does_not_fit_a_spare_sandbox_is_refused() {
    let mut pod = Pod::with("misfit", |config| config.spare = true);
    let container = pod.container(&["true"]);
    assert_eq!(
        pod.run(&container).unwrap_err().reason,
        Reason::State,
        "it is no pod's yet"
    );
    let changes: [fn(&mut SandboxConfig); 3] = [
        |config| config.network = NamespaceMode::Node,
        |config| drop(config.sysctls.insert("kernel.shmmax".to_owned(), "1".to_owned())),
        |config| config.cgroup = "/top".into(),
    ];
    for change in changes {
        let mut config = of_a_pod(&pod.config);
        change(&mut config);
        let refused = pod.ask(Request::Claim {
            config: Box::new(config),
        });
        assert_eq!(refused.unwrap_err().reason, Reason::Invalid);
    }
    pod.stop();
}

#[test]
fn records_tell_what_lives() {
    let mut pod = Pod::new("records");
    let container = pod.container(&["sleep", "1000"]);
    let state = pod.run(&container).unwrap();
    let found = until("the container's record", || {
        let found = records::list(&pod.dir).pop()?;
        (found.state.containers.first()?.phase == Phase::Running).then_some(found)
    });
    assert!(found.monitor_alive && found.pause_alive);
    assert_eq!(found.state.config.id, pod.config.id);
    assert_eq!(found.state.pause_pid, pod.state.pause_pid);
    assert_eq!(found.pids[&container.id], [state.pid.unwrap()]);

    // A second monitor for the same directory is refused, and harms nothing.
    let (success, line) = start_monitor(&pod.config, None);
    assert!(!success);
    assert_eq!(parse_line(&line).unwrap_err().reason, Reason::Exists);
    assert_eq!(pod.describe().containers.len(), 1);
    pod.stop();
}

#[test]
fn a_pod_ends_with_its_monitor_and_is_cleaned_up() {
    let mut pod = Pod::new("killed");
    let container = pod.container(&["sleep", "1000"]);
    let pid = pod.run(&container).unwrap().pid.unwrap();
    pod.kill_monitor();
    until("pause dies with the monitor, and the container with pause", || {
        (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
    let record = records::load(&pod.config.dir).unwrap();
    assert!(!record.monitor_alive && !record.pause_alive);
    assert_eq!(
        client::connect(&pod.config.dir.join(records::SOCKET))
            .unwrap_err()
            .kind(),
        std::io::ErrorKind::ConnectionRefused
    );

    // A new monitor in the same place clears the remains by itself.
    let (success, line) = start_monitor(&pod.config, None);
    assert!(success, "{line}");
    pod.cleanup();
}

#[test]
fn cleaning_up_ends_what_still_runs() {
    let mut pod = Pod::new("cleanup");
    let container = pod.container(&["sleep", "1000"]);
    pod.run(&container).unwrap();
    pod.cleanup();
}

#[test]
fn the_end_of_pause_is_told() {
    let mut pod = Pod::new("pause");
    let container = pod.container(&["sleep", "1000"]);
    pod.run(&container).unwrap();
    kill(Pid::from_raw(pod.state.pause_pid.unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(pod.wait(&container.id).signal, Some(libc::SIGKILL));
    pod.event(|event| matches!(event, Event::SandboxExited).then_some(()));
    assert_eq!(pod.describe().pause_pid, None);
    let another = pod.container(&["true"]);
    assert_eq!(pod.run(&another).unwrap_err().reason, Reason::State);
    pod.stop();
}

#[test]
fn a_monitor_ends_with_the_machine_but_not_before_its_containers() {
    let mut pod = Pod::new("shutdown");
    let container = pod.container(&[
        "sh",
        "-c",
        "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done",
    ]);
    let pid = pod.run(&container).unwrap().pid.unwrap();
    until("the trap is set", || {
        support::output(&container.log_path).contains("ready").then_some(())
    });
    // As init does at the end, everybody is told to leave at once.
    for pid in [pod.state.monitor_pid, pid, pod.state.pause_pid.unwrap()] {
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    }
    while pod.receive().is_some() {}
    let record = records::load(&pod.config.dir).unwrap();
    assert!(!record.monitor_alive && !record.pause_alive, "{record:?}");
    assert_eq!(record.state.containers[0].phase, Phase::Exited);
    pod.cleanup();
}

#[test]
fn bad_configurations_are_refused_with_a_reason() {
    support::isolate();
    let good = sandbox("bad");
    type Change = fn(&mut SandboxConfig);
    let changes: [(Change, &str); 5] = [
        (|c| c.id = "../x".to_owned(), "cannot be an id"),
        (|c| c.dir = "relative".into(), "is not absolute"),
        (|c| c.cgroup = "/top".into(), "not of the form"),
        (|c| c.cgroup = "/a/../b".into(), "not of the form"),
        (|c| c.dir = "/nonexistent/dir".into(), "no such file or directory"),
    ];
    for (change, wanted) in changes {
        let mut config = good.clone();
        change(&mut config);
        let (success, line) = start_monitor(&config, None);
        let failure = parse_line(&line).unwrap_err();
        assert!(!success && failure.message.contains(wanted), "{failure}");
    }
    check_gone(&good);
    assert!(!Path::new("/nonexistent").exists());
    remove_parent(&good);
}
