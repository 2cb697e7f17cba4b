//! Programs executed in running containers.

mod support;

use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use barepod_runtime::protocol::{ContainerConfig, Event, Exit, Failure, NamespaceMode, Reason, Request, Response};
use oci_spec::runtime::Process;
use support::{Pod, output, pipe, process, read_all, until};

/// An exec to be asked for.
struct Exec<'a> {
    id: &'a str,
    process: Process,
    stdio: [bool; 3],
    tty: bool,
    timeout_ms: Option<u64>,
}

impl Exec<'_> {
    fn ask(&self, pod: &mut Pod, container: &ContainerConfig, fds: &[BorrowedFd<'_>]) -> Result<Vec<OwnedFd>, Failure> {
        let request = Request::Exec {
            id: container.id.clone(),
            exec_id: self.id.to_owned(),
            process: Box::new(self.process.clone()),
            tty: self.tty,
            stdio: self.stdio,
            timeout_ms: self.timeout_ms,
        };
        let (response, fds) = pod.ask_with(request, fds)?;
        assert!(matches!(response, Response::Exec { pid } if pid > 0));
        Ok(fds)
    }
}

fn exec<'a>(id: &'a str, args: &[&str]) -> Exec<'a> {
    Exec {
        id,
        process: process(args),
        stdio: [false; 3],
        tty: false,
        timeout_ms: None,
    }
}

fn ended(pod: &mut Pod, id: &str) -> (Exit, bool) {
    pod.event(|event| match event {
        Event::ExecExited {
            exec_id,
            exit,
            timed_out,
        } if exec_id == id => Some((exit.clone(), *timed_out)),
        _ => None,
    })
}

fn sleeper(pod: &mut Pod) -> ContainerConfig {
    let container = pod.container(&["sleep", "1000"]);
    pod.run(&container).unwrap();
    container
}

#[test]
fn output_input_and_exit_code() {
    let mut pod = Pod::new("exec");
    let container = sleeper(&mut pod);
    let (stdin, stdin_end) = pipe();
    let (stdout, stdout_end) = pipe();
    let (stderr, stderr_end) = pipe();
    let script = "read line; echo got $line; echo err >&2; cat /proc/self/cgroup; readlink /proc/self/ns/mnt; exit 9";
    let wanted = Exec {
        stdio: [true; 3],
        ..exec("one", &["sh", "-c", script])
    };
    wanted
        .ask(
            &mut pod,
            &container,
            &[stdin.as_fd(), stdout_end.as_fd(), stderr_end.as_fd()],
        )
        .unwrap();
    drop((stdin, stdout_end, stderr_end));
    fs::File::from(stdin_end).write_all(b"words\n").unwrap();
    let text = read_all(stdout);
    assert!(text.starts_with("got words\n"), "{text}");
    assert!(
        !text.contains("barepodtest"),
        "it is in the container's cgroup namespace: {text}"
    );
    assert_eq!(read_all(stderr), "err\n");
    let (exit, timed_out) = ended(&mut pod, "one");
    assert_eq!((exit.code, exit.signal, timed_out), (9, None, false));
    assert_eq!(output(&container.log_path), "", "the container's log is not the exec's");
    pod.stop();
}

#[test]
fn an_exec_is_as_confined_as_its_container() {
    let mut pod = Pod::new("confined");
    let container = sleeper(&mut pod);
    let inside = |pod: &mut Pod, process: Process| {
        let (stdout, end) = pipe();
        let wanted = Exec {
            process,
            stdio: [false, true, false],
            ..exec("x", &[])
        };
        wanted.ask(pod, &container, &[end.as_fd()]).unwrap();
        drop(end);
        let text = read_all(stdout);
        ended(pod, "x");
        text
    };
    let script = [
        "sh",
        "-c",
        "grep -E 'CapEff|Seccomp:' /proc/self/status; id; ps; hostname; cat <&0; ls /proc/self/fd",
    ];
    let text = inside(&mut pod, process(&script));
    for part in [
        "CapEff:\t00000000a80425fb",
        "Seccomp:\t2",
        "uid=0(root)",
        "sleep 1000",
        "/pause",
        "confined\n",
        "0\n1\n2\n3\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(text.ends_with("0\n1\n2\n3\n"), "no descriptor of the monitor: {text}");
    let mut other = process(&["id"]);
    other.user_mut().set_uid(1000);
    assert!(inside(&mut pod, other).starts_with("uid=1000(web)"));
    let mut there = process(&["pwd"]);
    there.set_cwd("/tmp".into());
    assert_eq!(inside(&mut pod, there), "/tmp\n");
    pod.stop();
}

#[test]
fn a_filter_that_was_compiled_before_holds_for_the_container_and_its_execs() {
    let mut pod = Pod::new("compiled");
    let mut container = pod.container(&["sh", "-c", "mkdir /tmp/x 2>&1; echo tried; exec sleep 1000"]);
    let profile = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EXDEV}],
    });
    let linux = container.spec.linux_mut().as_mut().unwrap();
    linux.set_seccomp(serde_json::from_value(profile).unwrap());
    container.compile().unwrap();
    assert!(container.spec.linux().as_ref().unwrap().seccomp().is_none());
    pod.run(&container).unwrap();
    until("the container to try", || {
        output(&container.log_path).contains("tried").then_some(())
    });
    let (stdout, end) = pipe();
    let wanted = Exec {
        stdio: [false, true, false],
        ..exec("x", &["sh", "-c", "mkdir /tmp/y 2>&1"])
    };
    wanted.ask(&mut pod, &container, &[end.as_fd()]).unwrap();
    drop(end);
    for text in [output(&container.log_path), read_all(stdout)] {
        assert!(text.contains("Invalid cross-device link"), "{text}");
    }
    ended(&mut pod, "x");
    pod.stop();
}

#[test]
fn a_timed_out_exec_dies_with_all_it_started() {
    let mut pod = Pod::new("timeout");
    let container = sleeper(&mut pod);
    let script = "trap '' TERM; (sleep 2000; true) & (setsid sleep 2000) & sleep 2000";
    let wanted = Exec {
        timeout_ms: Some(100),
        ..exec("slow", &["sh", "-c", script])
    };
    let begin = Instant::now();
    wanted.ask(&mut pod, &container, &[]).unwrap();
    let (exit, timed_out) = ended(&mut pod, "slow");
    assert!(timed_out && exit.signal == Some(libc::SIGKILL));
    assert!((Duration::from_millis(100)..Duration::from_secs(5)).contains(&begin.elapsed()));
    until("what it started is gone too", || {
        (!pod.script("ps").1.contains("sleep 2000")).then_some(())
    });
    // Also when it is too late before anything has been executed.
    let at_once = Exec {
        timeout_ms: Some(0),
        ..exec("none", &["sleep", "2000"])
    };
    at_once.ask(&mut pod, &container, &[]).unwrap();
    let (exit, timed_out) = ended(&mut pod, "none");
    assert!(timed_out && exit.signal == Some(libc::SIGKILL));
    // The container does not mind, and the next exec is welcome.
    exec("next", &["true"]).ask(&mut pod, &container, &[]).unwrap();
    assert_eq!(ended(&mut pod, "next").0.code, 0);

    exec("killed", &["sleep", "2000"])
        .ask(&mut pod, &container, &[])
        .unwrap();
    pod.ask(Request::KillExec {
        exec_id: "killed".to_owned(),
    })
    .unwrap();
    let (exit, timed_out) = ended(&mut pod, "killed");
    assert!(!timed_out && exit.signal == Some(libc::SIGKILL));
    pod.stop();
}

#[test]
fn a_terminal_of_its_own() {
    let mut pod = Pod::new("exec-terminal");
    let container = sleeper(&mut pod);
    let wanted = Exec {
        tty: true,
        ..exec("tty", &["sh", "-c", "tty; read line; stty size; echo got $line"])
    };
    let mut fds = wanted.ask(&mut pod, &container, &[]).unwrap();
    let master = fds.pop().unwrap();
    pod.ask(Request::Resize {
        id: "tty".to_owned(),
        width: 123,
        height: 45,
    })
    .unwrap();
    let mut input = fs::File::from(master.try_clone().unwrap());
    input.write_all(b"words\n").unwrap();
    let text = read_all(master);
    // The echo may come between the words and the end of a line.
    assert!(
        text.contains("/dev/pts/0") && text.contains("45 123\r\ngot words\r\n"),
        "{text}"
    );
    assert_eq!(ended(&mut pod, "tty").0.code, 0);
    pod.stop();
}

#[test]
fn what_cannot_be_executed_is_told() {
    let mut pod = Pod::new("exec-fails");
    let container = sleeper(&mut pod);
    let fails = |pod: &mut Pod, container: &ContainerConfig, args: &[&str]| {
        exec("x", args).ask(pod, container, &[]).unwrap_err()
    };
    let failure = fails(&mut pod, &container, &["no-such"]);
    assert_eq!(failure.reason, Reason::Exec);
    assert_eq!(failure.message, "exec: \"no-such\": executable file not found in $PATH");
    let failure = fails(&mut pod, &container, &[]);
    assert_eq!(failure.reason, Reason::Invalid);
    // The program's own name for itself is the runtime while it is on its way in (CVE-2019-5736).
    let failure = fails(&mut pod, &container, &["/proc/self/exe"]);
    assert!(failure.message.contains("is the container runtime itself"), "{failure}");
    let mut unknown = container.clone();
    unknown.id = "none".to_owned();
    assert_eq!(fails(&mut pod, &unknown, &["true"]).reason, Reason::NotFound);

    exec("twin", &["sleep", "1000"]).ask(&mut pod, &container, &[]).unwrap();
    assert_eq!(
        exec("twin", &["true"])
            .ask(&mut pod, &container, &[])
            .unwrap_err()
            .reason,
        Reason::Exists
    );
    pod.ask(Request::Kill {
        id: container.id.clone(),
        signal: libc::SIGKILL,
        all: false,
    })
    .unwrap();
    pod.wait(&container.id);
    assert_eq!(
        ended(&mut pod, "twin").0.signal,
        Some(libc::SIGKILL),
        "execs end with their container"
    );
    assert_eq!(fails(&mut pod, &container, &["true"]).reason, Reason::State);
    pod.stop();
}

#[test]
fn in_a_pid_namespace_of_the_containers_own() {
    for mode in [NamespaceMode::Container, NamespaceMode::Node] {
        let mut pod = Pod::with("exec-pid", |config| config.pid = mode);
        let container = sleeper(&mut pod);
        let (stdout, end) = pipe();
        let wanted = Exec {
            stdio: [false, true, false],
            ..exec("x", &["sh", "-c", "cat /proc/1/comm"])
        };
        wanted.ask(&mut pod, &container, &[end.as_fd()]).unwrap();
        drop(end);
        let comm = read_all(stdout);
        match mode {
            NamespaceMode::Container => assert_eq!(comm, "sleep\n"),
            _ => assert_eq!(comm, fs::read_to_string("/proc/1/comm").unwrap()),
        }
        assert_eq!(ended(&mut pod, "x").0.code, 0);
        pod.stop();
    }
}
