//! The command line as engines write it, and what it prints.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use barepod_runtime::cgroup::{Layout, Mode};
use serde_json::{Value, json};
use support::bundle::Bundle;
use support::{runtime, until};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A limit as either version of cgroups has it.
fn limit(bundle: &Bundle, v1: &str, v2: &str) -> String {
    let controller = v1.split('.').next().unwrap();
    let below = format!("barepodtest-{}/c", bundle.id);
    let hierarchy = Layout::detect()
        .unwrap()
        .controller(controller)
        .unwrap()
        .mount
        .join(below);
    let found = [v1, v2]
        .iter()
        .find_map(|file| fs::read_to_string(hierarchy.join(file)).ok());
    found.unwrap().trim().to_owned()
}

#[test]
fn options_before_and_after_the_id() {
    let bundle = Bundle::sleeping("order");
    let (id, path) = (bundle.id.as_str(), bundle.path());
    let pid_file = bundle.dir.join("pid");
    let pid_file = pid_file.to_str().unwrap();
    let bundle_is = format!("--bundle={path}");
    let pid_file_is = format!("--pid-file={pid_file}");
    for words in [
        &["create", "--bundle", path, "--pid-file", pid_file, id][..],
        &["create", id, "-b", path, &pid_file_is],
        &["create", &bundle_is, id, "--pid-file", pid_file, "--no-new-keyring"],
        &[
            "create",
            "--console-socket=",
            "-bundle",
            path,
            "--pid-file",
            pid_file,
            "--no-pivot",
            id,
        ],
    ] {
        bundle.good(words);
        assert!(fs::read_to_string(pid_file).unwrap().parse::<i32>().unwrap() > 1);
        fs::remove_file(pid_file).unwrap();
        bundle.good(&["start", id]);
        bundle.good(&[
            "exec",
            "-e",
            "A=1",
            "-e=B=2",
            "--cwd=/tmp",
            "-u0:0",
            id,
            "sh",
            "-c",
            "[ $A$B = 12 ]",
        ]);
        bundle.good(&["delete", id, "--force"]);
    }
    for (words, said) in [
        (&["create", "--bundle", path][..], "a container's id is needed"),
        (
            &["create", "--bundle", path, "a", "b"],
            "a container's id is needed, and nothing else",
        ),
        (&["create", "--no-such", id], "there is no option --no-such"),
        (&["checkpoint", id], "checkpoint is not supported"),
        (&["restore", "--image-path", "/x", id], "restore is not supported"),
        (&["no-such", id], "there is no command no-such"),
        (&["kill", id, "NOSIGNAL"], "there is no signal NOSIGNAL"),
        (&["list", "--format", "xml"], "there is no format xml"),
        (&["create", "--preserve-fds", "x", id], "--preserve-fds is a number"),
    ] {
        let told = bundle.bad(words);
        assert!(told.contains(said), "{words:?}: {told}");
    }
}

#[test]
fn a_configuration_of_another_name() {
    let bundle = Bundle::new("config", |document| {
        document["process"]["args"] = json!(["echo", "another"])
    });
    let other = bundle.dir.join("other.json");
    fs::copy(bundle.dir.join("config.json"), &other).unwrap();
    fs::write(bundle.dir.join("config.json"), "{}").unwrap();
    for option in [&["--config", "other.json"][..], &["-f", other.to_str().unwrap()]] {
        let run = [&["run", "--bundle", bundle.path()][..], option, &[&bundle.id]].concat();
        assert_eq!(bundle.good(&run), "another\n");
    }
    assert!(
        bundle
            .bad(&["run", "--bundle", bundle.path(), "-f=none", &bundle.id])
            .contains("none")
    );
}

#[test]
fn sockets_are_told_of() {
    let bundle = Bundle::new("sockets", |document| {
        document["process"]["args"] = json!(["sh", "-c", "echo $LISTEN_FDS:$LISTEN_PID"])
    });
    for (meant_for, told) in [(None, "2:1\n"), (Some("1"), ":\n")] {
        let mut run = bundle.prepare(&["run", "--bundle", bundle.path(), &bundle.id]);
        run.env("LISTEN_FDS", "2").env_remove("LISTEN_PID");
        meant_for.map(|pid| run.env("LISTEN_PID", pid));
        let output = bundle.run(run);
        assert_eq!(text(&output.stdout), told, "{}", text(&output.stderr));
    }
}

#[test]
fn the_root_is_moved_where_it_cannot_be_exchanged() {
    let script =
        "ls -d /bin/busybox; grep -c . /proc/self/mountinfo; readlink /proc/self/cwd; cat /proc/1/cgroup | wc -l";
    let bundle = Bundle::new("moved", |document| {
        document["process"]["args"] = json!(["sh", "-c", script])
    });
    let run =
        |options: &[&str]| bundle.good(&[&["run", "--bundle", bundle.path()][..], options, &[&bundle.id]].concat());
    let moved = run(&["--no-pivot"]);
    assert_eq!(moved, run(&[]), "it sees what it would see otherwise");
    assert!(moved.starts_with("/bin/busybox\n"));
}

#[test]
fn what_engines_read_of_an_error() {
    let bundle = Bundle::sleeping("log");
    let log = bundle.dir.join("log.json");
    let options = [
        "--log",
        log.to_str().unwrap(),
        "--log-format=json",
        "--debug",
        "--rootless",
        "auto",
    ];
    let output = bundle.command(&[&options[..], &["state", "none"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("container none does not exist"));
    let lines: Vec<Value> = BufReader::new(fs::File::open(&log).unwrap())
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["level"], &last["msg"]),
        (&json!("error"), &json!("container none does not exist"))
    );
    let time = last["time"].as_str().unwrap();
    assert!(
        time.len() > 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T',
        "{time}"
    );
    assert_eq!(lines[0]["level"], "debug");
    let told = text(&bundle.command(&["--debug", "state", "none"]).stderr);
    assert!(told.contains("level=debug msg=\"state none\""), "{told}");

    for version in ["--version", "-v"] {
        let output = text(&Command::new(runtime()).arg(version).output().unwrap().stdout);
        let lines: Vec<&str> = output.lines().collect();
        assert!(lines[0].starts_with("barepod-runtime version "), "{output}");
        assert!(lines.iter().any(|line| line.starts_with("spec: 1.")), "{output}");
    }
    for help in [&["--help"][..], &["-h"], &["help"], &[], &["create", "--help"]] {
        let output = Command::new(runtime()).args(help).output().unwrap();
        assert!(
            output.status.success() && text(&output.stdout).starts_with("usage: "),
            "{help:?}"
        );
    }
}

#[test]
fn the_program_is_small() {
    let bytes = fs::metadata(runtime()).unwrap().len();
    assert!(cfg!(debug_assertions) || bytes <= 3 << 20, "{bytes} bytes");
}

#[test]
fn no_container_goes_where_its_engine_does_not_look() {
    // Where systemd runs it makes them, which the virtual machine shows.
    if Path::new("/run/systemd/private").exists() {
        return;
    }
    let bundle = Bundle::sleeping("systemd");
    let said = bundle.bad(&["--systemd-cgroup", "create", "--bundle", bundle.path(), &bundle.id]);
    assert!(said.contains("SLICE:PREFIX:NAME"), "{said}");
    bundle.change(|document| document["linux"]["cgroupsPath"] = json!("machine.slice:barepodtest:one"));
    let output = bundle.command(&["--systemd-cgroup", "create", "--bundle", bundle.path(), &bundle.id]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("not there") && said.contains("leave --systemd-cgroup out"),
        "{said}"
    );
    let output = bundle.command(&["--systemd-cgroup", "state", &bundle.id]);
    assert!(text(&output.stderr).contains("does not exist"));
}

#[test]
fn processes_are_listed() {
    let bundle = Bundle::new("ps", |document| {
        document["process"]["args"] = json!(["sh", "-c", "sleep 1000 & exec sleep 2000"]);
    });
    bundle.start();
    let id = bundle.id.as_str();
    until("both are there", || {
        let pids: Vec<i32> = serde_json::from_str(&bundle.good(&["ps", "--format", "json", id])).unwrap();
        (pids.len() == 2).then_some(())
    });
    let table = until("both are executed", || {
        let table = bundle.good(&["ps", id]);
        (table.contains("sleep 1000") && table.contains("sleep 2000")).then_some(table)
    });
    let title: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(title, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    let first: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert!(
        ["root", "0"].contains(&first[0]) && first[4].len() == 5 && first[6].starts_with("00:00:"),
        "{table}"
    );
    assert!(table.lines().count() == 3, "{table}");
    let of_ps = bundle.good(&["ps", "--format", "table", id, "-o", "pid,args"]);
    assert!(of_ps.contains("sleep 1000") && of_ps.lines().count() == 3, "{of_ps}");
    assert!(bundle.bad(&["ps", id, "-o", "args"]).contains("PID"));
    let list: Value = serde_json::from_str(&bundle.good(&["list", "-f", "json"])).unwrap();
    assert_eq!((&list[0]["id"], &list[0]["status"]), (&json!(id), &json!("running")));
    assert!(bundle.good(&["list"]).lines().nth(1).unwrap().contains("running"));
    // Those whose names are described, and no others.
    assert!(bundle.bad(&["delete", "--regex", "^p"]).contains("is running"));
    bundle.good(&["delete", "-f", "-r", "^s-|ps$"]);
    assert_eq!(bundle.good(&["list", "-q"]), format!("{id}\n"));
    assert!(bundle.bad(&["delete", "-r", "("]).contains("no regular expression"));
    bundle.good(&["delete", "-f", "--regex", "^p[a-z]-[0-9]+"]);
    assert_eq!(bundle.good(&["list", "-q"]), "");
}

#[test]
fn what_another_has_frozen_is_deleted() {
    let freezer = Path::new("/sys/fs/cgroup/freezer");
    // Where there is nothing but v1 it is the freezer that containers are found by: this one is not then.
    if Layout::detect().unwrap().mode == Mode::V2 || !freezer.join("cgroup.procs").exists() {
        return;
    }
    let bundle = Bundle::sleeping("foreign-freezer");
    bundle.start();
    let state: Value = serde_json::from_str(&bundle.good(&["state", &bundle.id])).unwrap();
    let foreign = freezer.join(format!("barepodtest-foreign-{}", std::process::id()));
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("cgroup.procs"), state["pid"].to_string()).unwrap();
    fs::write(foreign.join("freezer.state"), "FROZEN").unwrap();
    bundle.good(&["delete", "--force", &bundle.id]);
    let theirs = fs::read_to_string(foreign.join("freezer.state")).unwrap();
    fs::remove_dir(&foreign).unwrap();
    assert!(theirs.starts_with("FR"), "it is still the other's: {theirs}");
}

#[test]
fn limits_change_while_it_runs() {
    let bundle = Bundle::new("update", |document| {
        document["process"]["args"] = json!(["sleep", "1000"]);
        document["linux"]["resources"]["memory"] = json!({ "limit": 64 << 20 });
    });
    bundle.start();
    let id = bundle.id.as_str();
    bundle.good(&[
        "update",
        id,
        "--memory",
        "96m",
        "--pids-limit=77",
        "--cpu-quota",
        "30000",
        "--cpu-period",
        "60000",
    ]);
    assert_eq!(
        limit(&bundle, "memory.limit_in_bytes", "memory.max"),
        (96 << 20).to_string()
    );
    assert_eq!(limit(&bundle, "pids.max", "pids.max"), "77");
    assert!(["30000", "30000 60000"].contains(&limit(&bundle, "cpu.cfs_quota_us", "cpu.max").as_str()));
    let mut child = bundle
        .prepare(&["update", "--resources", "-", id])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let resources = json!({ "memory": { "reservation": 1 << 20 }, "pids": { "limit": 55 } });
    serde_json::to_writer(child.stdin.take().unwrap(), &resources).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(limit(&bundle, "pids.max", "pids.max"), "55");
    assert_eq!(
        limit(&bundle, "memory.limit_in_bytes", "memory.max"),
        (96 << 20).to_string(),
        "it stays"
    );
    // A kind of limit that it had none of so far.
    bundle.good(&["update", "--cpuset-cpus", "0", id]);
    let allowed = bundle.good(&["exec", id, "grep", "Cpus_allowed_list", "/proc/1/status"]);
    assert_eq!(allowed, "Cpus_allowed_list:\t0\n", "its process is in there");
    let own = bundle.good(&["exec", id, "grep", "Cpus_allowed_list", "/proc/self/status"]);
    assert_eq!(own, allowed, "and so is what comes later");
    // What the kernel refuses changes nothing.
    assert!(
        bundle
            .bad(&["update", "--pids-limit", "66", "--cpuset-cpus", "9999", id])
            .contains("cpuset.cpus")
    );
    assert_eq!(limit(&bundle, "pids.max", "pids.max"), "55");
    assert!(bundle.bad(&["update", "--memory", "lots", id]).contains("is an amount"));
    bundle.good(&["kill", id, "KILL"]);
    until("it has stopped", || (bundle.status() == "stopped").then_some(()));
    assert!(
        bundle
            .bad(&["update", "--pids-limit", "66", id])
            .contains("container not running")
    );
    bundle.good(&["delete", id]);
}

#[test]
fn usage_and_lack_of_memory_are_told() {
    let bundle = Bundle::new("events", |document| {
        // The shell stays, what it starts is too large.
        let script = "while :; do sleep 0.3; [ -e /dev/shm/go ] && x=$(yes | head -c 60000000 | wc -c) && \
                      dd if=/dev/zero of=/dev/shm/fill bs=1M count=40; done";
        document["process"]["args"] = json!(["sh", "-c", script]);
        document["linux"]["resources"]["memory"] = json!({ "limit": 8 << 20 });
    });
    bundle.start();
    let id = bundle.id.as_str();
    let stats: Value = serde_json::from_str(&bundle.good(&["events", "--stats", id])).unwrap();
    assert_eq!((&stats["type"], &stats["id"]), (&json!("stats"), &json!(id)));
    let data = &stats["data"];
    assert_eq!(data["memory"]["usage"]["limit"], json!(8 << 20));
    assert!(data["memory"]["usage"]["usage"].as_u64().unwrap() > 0, "{data}");
    assert!(data["cpu"]["usage"]["total"].as_u64().unwrap() > 0, "{data}");
    assert!(data["pids"]["current"].as_u64().unwrap() >= 1, "{data}");

    let mut child = bundle
        .prepare(&["events", "--interval", "100ms", id])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["type"], "stats");
    bundle.good(&["exec", id, "touch", "/dev/shm/go"]);
    let oom = std::iter::from_fn(|| Some(next()))
        .find(|event| event["type"] == "oom")
        .unwrap();
    assert_eq!(oom, json!({ "type": "oom", "id": id }));
    bundle.good(&["kill", "--all", id, "KILL"]);
    assert!(child.wait().unwrap().success(), "it ends with the container");
    bundle.good(&["delete", "--force", id]);
}

#[test]
fn keys_of_the_machine_stay_there() {
    let bundle = Bundle::new("keys", |document| {
        document["process"]["args"] = json!([
            "sh",
            "-c",
            "grep _ses /proc/keys >/dev/shm/new; mv /dev/shm/new /dev/shm/own; exec sleep 1000"
        ]);
        document["linux"]["maskedPaths"] = json!([]);
    });
    bundle.start();
    let own = until("it has looked", || {
        let own = bundle.command(&["exec", &bundle.id, "cat", "/dev/shm/own"]);
        own.status.success().then(|| text(&own.stdout))
    });
    assert_eq!(own.matches(&format!("_ses.{}", bundle.id)).count(), 1, "{own:?}");
    // What is executed has the same one.
    let all = bundle.good(&["exec", &bundle.id, "cat", "/proc/keys"]);
    assert_eq!(all.matches(&format!("_ses.{}", bundle.id)).count(), 1, "{all}");
    bundle.good(&["delete", "--force", &bundle.id]);
}

#[test]
fn a_configuration_to_begin_with() {
    let dir = support::base().join(format!("spec-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let spec = |arguments: &[&str]| {
        Command::new(runtime())
            .arg("spec")
            .args(arguments)
            .current_dir(&dir)
            .output()
            .unwrap()
    };
    assert!(spec(&[]).status.success());
    assert!(text(&spec(&[]).stderr).contains("exists already"));
    let read = || -> Value { serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap() };
    assert_eq!(read()["root"]["path"], "rootfs");
    // The specification's schema has a name for each architecture, and none for all.
    let native = format!("SCMP_ARCH_{}", std::env::consts::ARCH.to_uppercase());
    assert_eq!(read()["linux"]["seccomp"]["architectures"], json!([native]));
    fs::remove_file(dir.join("config.json")).unwrap();
    assert!(spec(&["--rootless", "-b", dir.to_str().unwrap()]).status.success());
    let rootless = read();
    assert_eq!(
        rootless["linux"]["uidMappings"],
        json!([{ "containerID": 0, "hostID": 0, "size": 1 }])
    );
    let namespaces = rootless["linux"]["namespaces"].as_array().unwrap();
    assert!(namespaces.contains(&json!({ "type": "user" })) && !namespaces.contains(&json!({ "type": "network" })));
    fs::remove_dir_all(dir).unwrap();
}
