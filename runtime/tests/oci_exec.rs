//! `exec` of the OCI command line: as confined as its container, in a cgroup of its own, never outside.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use barepod_runtime::cgroup::{self, Layout};
use serde_json::{Value, json};
use support::bundle::Bundle;
use support::{emulated, runtime, until};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The leaves below a container's cgroup.
fn leaves(bundle: &Bundle) -> Vec<PathBuf> {
    let entries = fs::read_dir(bundle.tracker()).unwrap().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("exec-"))
        .map(|entry| entry.path())
        .collect()
}

fn populated(leaf: &std::path::Path) -> bool {
    cgroup::populated(leaf)
}

#[test]
fn every_exec_has_a_cgroup_of_its_own() {
    let bundle = Bundle::sleeping("leaf");
    bundle.start();
    let id = bundle.id.as_str();
    bundle.good(&["exec", id, "true"]);
    assert!(leaves(&bundle).is_empty(), "it goes with the exec");
    // What is started in the background stays, with all it starts itself.
    bundle.good(&["exec", "--detach", id, "sh", "-c", "sleep 1000 & sleep 1000 & wait"]);
    let [leaf] = leaves(&bundle).try_into().unwrap();
    until("three processes are there", || {
        (cgroup::procs(&leaf).unwrap().len() == 3).then_some(())
    });
    bundle.good(&["exec", id, "true"]);
    assert_eq!(leaves(&bundle), std::slice::from_ref(&leaf), "a busy one is left alone");
    cgroup::kill(&leaf).unwrap();
    until("all of it is dead at once", || (!populated(&leaf)).then_some(()));
    assert_eq!(bundle.status(), "running", "and nothing else");
    bundle.good(&["exec", id, "true"]);
    assert!(
        leaves(&bundle).is_empty(),
        "what is over is cleared away by the next one"
    );
    // Many at once do not take each other's places away.
    let children: Vec<_> = (0..20)
        .map(|_| bundle.prepare(&["exec", id, "sh", "-c", "exit 3"]).spawn().unwrap())
        .collect();
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }
    bundle.good(&["delete", "--force", id]);
}

#[test]
fn an_exec_is_what_its_container_is() {
    let script = "grep -E 'Cap|NoNewPrivs|Seccomp|^Groups|^Uid' /proc/self/status; ulimit -n; mkdir /tmp/x 2>&1; \
                  readlink /proc/self/ns/mnt /proc/self/ns/pid /proc/self/ns/net; cat /proc/self/oom_score_adj";
    let bundle = Bundle::new("same", |document| {
        let process = &mut document["process"];
        process["args"] = json!(["sh", "-c", format!("({script}) >/dev/shm/own; exec sleep 1000")]);
        process["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 77, "hard": 77 }]);
        process["oomScoreAdj"] = json!(321);
        for set in ["bounding", "effective", "permitted"] {
            process["capabilities"][set] = json!(["CAP_KILL", "CAP_NET_RAW"]);
        }
        let rule = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 });
        document["linux"]["seccomp"]["syscalls"]
            .as_array_mut()
            .unwrap()
            .insert(0, rule);
    });
    bundle.start();
    let id = bundle.id.as_str();
    let own = until("the container has written", || {
        // At first there is no such file.
        let own = text(&bundle.command(&["exec", id, "cat", "/dev/shm/own"]).stdout);
        own.ends_with("321\n").then_some(own)
    });
    assert!(own.contains("77\n") && own.contains("Operation not supported"), "{own}");
    assert_eq!(bundle.good(&["exec", id, "sh", "-c", script]), own);
    // A process document that leaves things out gets no more.
    let process = bundle.dir.join("process.json");
    fs::write(
        &process,
        json!({ "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["sh", "-c", script], "env": ["PATH=/bin"],
                "noNewPrivileges": true })
        .to_string(),
    )
    .unwrap();
    assert_eq!(bundle.good(&["exec", "--process", process.to_str().unwrap(), id]), own);
    // More is had by asking for it only.
    let grep = ["grep", "CapEff", "/proc/self/status"];
    let more = bundle.good(&[&["exec", "--cap", "CAP_SYS_ADMIN", id][..], &grep].concat());
    assert_eq!(more, "CapEff:\t0000000000202020\n");
    let unknown = bundle.command(&[&["exec", "--cap", "CAP_FLY", "-c", "CAP_SYS_ADMIN", id][..], &grep].concat());
    assert_eq!(text(&unknown.stdout), more);
    assert!(text(&unknown.stderr).contains("unknown or unavailable capabilities: [CAP_FLY]"));
    let more = bundle.good(&[&["exec", "--cap", "net_admin", "--user", "9:9", id][..], &grep].concat());
    assert_eq!(
        more, "CapEff:\t0000000000000000\n",
        "an ordinary user's would have to be inheritable, which nothing executed here is given"
    );
    let variables = ["exec", "-e", "PATH=/sbin", "--env=A=1", "-e", "A=2", id, "/bin/env"];
    let variables = bundle.good(&variables);
    let set: Vec<&str> = variables
        .lines()
        .filter(|line| line.starts_with("PATH=") || line.starts_with("A="))
        .collect();
    assert_eq!(set, ["PATH=/sbin", "A=2"], "nothing is there twice");
    let groups = bundle.good(&["exec", "-g", "7", "--additional-gids=8", "-u", "5:6", id, "id", "-G"]);
    assert_eq!(groups, "6 7 8\n");
    bundle.good(&["delete", "--force", id]);
}

#[test]
fn refused_where_nothing_may_be_executed() {
    let bundle = Bundle::sleeping("refused-exec");
    let id = bundle.id.as_str();
    bundle.good(&["create", "--bundle", bundle.path(), id]);
    // One that waits for its start is there already, with its root and its namespaces.
    let inside = bundle.good(&["exec", id, "sh", "-c", "wc -l </etc/passwd; echo $PPID; hostname"]);
    assert_eq!(inside, "2\n0\nbarepod\n");
    assert_eq!(bundle.status(), "created");
    bundle.good(&["start", id]);
    bundle.good(&["pause", id]);
    assert!(bundle.bad(&["exec", id, "true"]).contains("paused container"));
    // Asked for, it goes on with the container.
    let mut frozen = bundle
        .prepare(&["exec", "--ignore-paused", id, "sh", "-c", "exit 4"])
        .spawn()
        .unwrap();
    until("it is in its cgroup", || {
        leaves(&bundle).iter().any(|leaf| populated(leaf)).then_some(())
    });
    assert_eq!(frozen.try_wait().unwrap(), None);
    bundle.good(&["resume", id]);
    assert_eq!(frozen.wait().unwrap().code(), Some(4));
    bundle.good(&["kill", id, "KILL"]);
    until("it has stopped", || (bundle.status() == "stopped").then_some(()));
    assert!(bundle.bad(&["exec", id, "true"]).contains("container not running"));
    assert!(bundle.bad(&["exec", "no-such", "true"]).contains("does not exist"));
    bundle.good(&["delete", id]);
}

#[test]
fn descriptors_and_cgroups_that_are_asked_for() {
    let bundle = Bundle::sleeping("asked");
    bundle.start();
    let id = bundle.id.as_str();
    let file = bundle.dir.join("given");
    fs::write(&file, "given\n").unwrap();
    let through_shell = |redirect: &str, arguments: &[&str]| -> Output {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("exec \"$@\" {redirect}"), "sh"])
            .arg(runtime());
        command
            .arg("--root")
            .arg(bundle.dir.join("state"))
            .args(arguments)
            .stdin(Stdio::null());
        bundle.run(command)
    };
    let redirect = format!("3<{0} 4<{0} 5<{0}", file.display());
    let list = ["sh", "-c", "cat <&4; ls /proc/self/fd | tr '\\n' ' '"];
    let passed = through_shell(
        &redirect,
        &[&["exec", "--preserve-fds", "2", id][..], &list[..]].concat(),
    );
    assert_eq!(
        text(&passed.stdout),
        "given\n0 1 2 3 4 5 ",
        "5 is the directory that is listed: {}",
        text(&passed.stderr)
    );
    let list = ["sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"];
    let redirect = format!("3>&- 4<{}", file.display());
    let some = through_shell(&redirect, &[&["exec", "--preserve-fds=2", id][..], &list[..]].concat());
    assert_eq!(
        text(&some.stdout),
        "0 1 2 3 4 ",
        "3 is the directory that is listed: {}",
        text(&some.stderr)
    );
    bundle.good(&["exec", "--preserve-fds=4000000000", id, "true"]);
    let below = bundle.tracker().join("below");
    fs::create_dir(&below).unwrap();
    // Hybrid hierarchies have further directories, which are asked for as well.
    for hierarchy in &Layout::detect().unwrap().v1 {
        let own = hierarchy.mount.join(format!("barepodtest-{id}/c"));
        if own.exists() {
            fs::create_dir_all(own.join("below")).unwrap();
        }
    }
    let mut child = bundle
        .prepare(&["exec", "--cgroup", "/below", id, "sleep", "1000"])
        .spawn()
        .unwrap();
    until("it is where it was asked to be", || {
        let pids = cgroup::procs(&below).unwrap();
        let comm = fs::read_to_string(format!("/proc/{}/comm", pids.first()?)).ok()?;
        (comm == "sleep\n").then_some(())
    });
    assert!(leaves(&bundle).is_empty());
    cgroup::kill(&below).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(137));
    for path in ["../..", "memory:below"] {
        assert!(
            bundle
                .bad(&["exec", "--cgroup", path, id, "true"])
                .contains("is not a sub cgroup path")
        );
    }
    bundle.good(&["delete", "--force", id]);
}

#[test]
fn a_terminal_in_the_foreground() {
    let bundle = Bundle::sleeping("foreground");
    bundle.start();
    let id = bundle.id.as_str();
    let root = bundle.dir.join("state");
    let line = format!(
        "stty rows 33 cols 44; {} --root {} exec --tty {id} sh -c 'tty; stty size; read word; echo got $word; exit 5'",
        runtime().display(),
        root.display()
    );
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"hello\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let shown = text(&output.stdout).replace('\r', "");
    // What is typed is shown wherever it comes.
    for line in ["/dev/pts/0\n", "33 44\n", "got hello\n"] {
        assert!(shown.contains(line), "{shown}");
    }
    assert_eq!(output.status.code(), Some(5));
    bundle.good(&["delete", "--force", id]);
}

/// Whatever moment the container ends at: an exec runs in it or not at all.
#[test]
fn a_container_that_ends_meanwhile_takes_its_execs_along() {
    for (name, own_pids) in [("race", true), ("race-host", false)] {
        let bundle = Bundle::new(name, |document| {
            document["process"]["args"] = json!(["sleep", "1000"]);
            if !own_pids {
                let namespaces = document["linux"]["namespaces"].as_array_mut().unwrap();
                namespaces.retain(|namespace| namespace["type"] != "pid");
            }
        });
        let id = bundle.id.as_str();
        let host = fs::read_link("/proc/self/ns/mnt")
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let (mut ran, mut refused) = (0, 0);
        for round in 0..25 {
            bundle.start();
            let state: Value = serde_json::from_str(&bundle.good(&["state", id])).unwrap();
            let inside = fs::read_link(format!("/proc/{}/ns/mnt", state["pid"])).unwrap();
            let script = "readlink /proc/self/ns/mnt";
            let execs: Vec<_> = (0..3)
                .map(|_| {
                    let mut command = bundle.prepare(&["exec", id, "sh", "-c", script]);
                    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
                })
                .collect();
            // From far too short for an exec to long enough, wherever this runs.
            let longest = if emulated() { 2.0 } else { 0.1 };
            std::thread::sleep(Duration::from_secs_f64(longest * 0.75_f64.powi(24 - round)));
            bundle.good(&["kill", id, "KILL"]);
            for exec in execs {
                let output = exec.wait_with_output().unwrap();
                let shown = text(&output.stdout);
                assert!(!shown.contains(&host), "outside: {shown}");
                if shown.is_empty() {
                    refused += 1;
                } else {
                    assert_eq!(shown.trim(), inside.to_string_lossy());
                    ran += 1;
                }
            }
            until("it has stopped", || (bundle.status() == "stopped").then_some(()));
            bundle.good(&["delete", id]);
            assert!(!bundle.tracker().exists(), "and nothing goes on");
        }
        assert!(ran > 0 && refused > 0, "both were seen: {ran} ran, {refused} did not");
    }
}
