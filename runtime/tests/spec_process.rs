//! `process` of an OCI configuration, each field in a container that really runs.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::bundle::Bundle;
use support::until;

/// Runs a shell script with a changed `process`; its exit code, what it says, and what is said of it.
fn script(name: &str, script: &str, change: impl FnOnce(&mut Value)) -> (i32, String, String) {
    let bundle = Bundle::new(name, |document| {
        document["process"]["args"] = json!(["sh", "-c", script]);
        change(document);
    });
    let output = bundle.command(&["run", "--bundle", bundle.path(), &bundle.id]);
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[track_caller]
fn says(name: &str, program: &str, change: impl FnOnce(&mut Value)) -> String {
    let (code, out, err) = script(name, program, change);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    out
}

#[track_caller]
fn refused(name: &str, words: &str, change: impl FnOnce(&mut Value)) {
    let (code, out, err) = script(name, "echo it ran", change);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains(words) && err.trim_end().lines().count() == 1, "{err}");
}

#[test]
fn user_groups_umask_and_directory() {
    let out = says(
        "user",
        "id -u; id -g; id -G; umask; pwd; ls -ld /made/here",
        |document| {
            let process = &mut document["process"];
            process["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 63 });
            process["cwd"] = json!("/made/here");
            document["root"]["readonly"] = json!(false);
            document["mounts"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "destination": "/made", "type": "tmpfs" }));
        },
    );
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..5], ["1000", "1001", "1001 5 6", "0077", "/made/here"]);
    // The groups of whoever makes it, instead of those of its own user.
    let keeps = Bundle::new("keep-groups", |document| {
        document["process"]["args"] = json!(["sleep", "1000"]);
        document["process"]["user"]["additionalGids"] = json!([5]);
        document["annotations"] = json!({ "run.oci.keep_original_groups": "1" });
    });
    let with_groups = |arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--groups", "71,72"])
            .arg(support::runtime())
            .arg("--root")
            .arg(keeps.dir.join("state"));
        command.args(arguments).stdin(Stdio::null());
        let output = keeps.run(command);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    with_groups(&["run", "--detach", "--bundle", keeps.path(), &keeps.id]);
    let kept = keeps.good(&["exec", &keeps.id, "sh", "-c", "grep Groups: /proc/1/status; id -G"]);
    assert_eq!(
        kept.split_whitespace().take(3).collect::<Vec<_>>(),
        ["Groups:", "71", "72"]
    );
    assert_eq!(with_groups(&["exec", &keeps.id, "id", "-G"]), "0 71 72\n");
    keeps.good(&["delete", "--force", &keeps.id]);
    assert!(lines[5].starts_with("drwxr-xr-x"), "{out}");
}

#[test]
fn what_is_not_given_is_the_callers() {
    let bundle = Bundle::new("inherits", |document| {
        document["process"]["args"] = json!(["sh", "-c", "umask; cat /proc/self/oom_score_adj"]);
        document["process"]["capabilities"] = Value::Null;
    });
    let run = |umask: &str, score: &str| {
        let mut shell = Command::new("sh");
        let command = bundle.prepare(&["run", "--bundle", bundle.path(), &bundle.id]);
        shell
            .arg("-c")
            .arg(format!(
                "umask {umask}; echo {score} >/proc/self/oom_score_adj; exec \"$@\""
            ))
            .arg("sh");
        shell.arg(command.get_program()).args(command.get_args());
        String::from_utf8(bundle.run(shell).stdout).unwrap()
    };
    assert_eq!(run("027", "7"), "0027\n7\n");
    assert_eq!(run("022", "0"), "0022\n0\n");
}

#[test]
fn the_out_of_memory_score_is_set_or_refused() {
    let score = |score: i32| move |document: &mut Value| document["process"]["oomScoreAdj"] = json!(score);
    assert_eq!(says("oom", "cat /proc/self/oom_score_adj", score(123)), "123\n");
    let held = fs::read_to_string("/proc/self/status").unwrap();
    let held = held.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    if u64::from_str_radix(held.trim(), 16).unwrap() & 1 << 24 == 0 {
        refused(
            "oom-low",
            "write /proc/self/oom_score_adj: permission denied",
            score(-1000),
        );
    }
    refused("oom-range", "write /proc/self/oom_score_adj", score(2000));
}

#[test]
fn environment_and_arguments_are_as_given() {
    let bundle = Bundle::new("env", |document| {
        document["process"]["args"] = json!(["env"]);
        document["process"]["env"] = json!(["PATH=/bin", "B=2", "A=1=x", "EMPTY=", "HOME=/nowhere"]);
    });
    let out = bundle.good(&["run", "--bundle", bundle.path(), &bundle.id]);
    assert_eq!(out, "PATH=/bin\nB=2\nA=1=x\nEMPTY=\nHOME=/nowhere\n");
    bundle.change(|document| document["process"]["args"] = json!(["sh", "-c", "echo \"$0|$1|$2\"", "zero", "", "a b"]));
    assert_eq!(
        bundle.good(&["run", "--bundle", bundle.path(), &bundle.id]),
        "zero||a b\n"
    );
}

const CAPABILITIES: &str = "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f 2 | tr '\\n' ' '";

#[test]
fn all_five_sets_of_capabilities() {
    let out = says("caps", CAPABILITIES, |document| {
        let process = &mut document["process"];
        process["user"] = json!({ "uid": 1000, "gid": 1000 });
        process["capabilities"] = json!({
            "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            "permitted": ["CAP_KILL", "CAP_CHOWN"],
            "inheritable": ["CAP_KILL"],
            "effective": ["CAP_KILL"],
            "ambient": ["CAP_KILL"]
        });
    });
    // An execution by who is not root leaves what is ambient.
    assert_eq!(
        out,
        "0000000000000020 0000000000000020 0000000000000020 0000000000002021 0000000000000020 "
    );
    let out = says("caps-none", CAPABILITIES, |document| {
        document["process"]["capabilities"] = Value::Null
    });
    assert_eq!(out, "0000000000000000 ".repeat(5));
    let out = says("caps-root", CAPABILITIES, |document| {
        document["process"]["capabilities"] = json!({ "bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"] });
    });
    assert_eq!(
        out, "0000000000000000 0000000000000001 0000000000000001 0000000000000001 0000000000000000 ",
        "root gets by executing what its bounding set holds"
    );
}

#[test]
fn capabilities_that_cannot_be_given_are_warned_about() {
    let (code, out, err) = script("caps-warn", CAPABILITIES, |document| {
        document["process"]["capabilities"] = json!({ "bounding": ["CAP_CHOWN", "CAP_FLY"], "ambient": ["CAP_KILL"] });
    });
    assert_eq!(code, 0);
    assert!(out.contains("0000000000000001 0000000000000000 "), "{out}");
    assert!(
        err.contains("warning: ignoring unknown or unavailable capabilities: [CAP_FLY CAP_KILL] (bounding: CAP_FLY, "),
        "{err}"
    );
}

#[test]
fn limits() {
    let out = says("rlimits", "ulimit -n; ulimit -Hn; ulimit -c; ulimit -s", |document| {
        document["process"]["rlimits"] = json!([
            { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
            { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
            { "type": "RLIMIT_STACK", "soft": 1_048_576, "hard": 1_048_576 }
        ]);
    });
    assert_eq!(out, "100\n200\n0\n1024\n");
    let limit = |kind: &str, soft: u64, hard: u64| json!({ "type": kind, "soft": soft, "hard": hard });
    let one = limit("RLIMIT_NOFILE", 1, 1);
    refused("rlimits-twice", "RLIMIT_NOFILE twice", |d| {
        d["process"]["rlimits"] = json!([one, one])
    });
    refused("rlimits-none", "RLIMIT_FLY", |d| {
        d["process"]["rlimits"] = json!([limit("RLIMIT_FLY", 1, 1)])
    });
    refused("rlimits-over", "set RLIMIT_NOFILE", |d| {
        d["process"]["rlimits"] = json!([limit("RLIMIT_NOFILE", 2, 1)]);
    });
}

#[test]
fn no_new_privileges() {
    let read = "grep NoNewPrivs /proc/self/status | cut -f 2";
    for (wanted, found) in [(true, "1\n"), (false, "0\n")] {
        let change = |document: &mut Value| document["process"]["noNewPrivileges"] = json!(wanted);
        assert_eq!(says("nnp", read, change), found);
    }
}

#[test]
fn scheduler_and_io_priority() {
    let policy = |value: Value| move |document: &mut Value| document["process"]["scheduler"] = value;
    // Fields of proc_pid_stat(5) after the name: nice, real-time priority, policy.
    let read = "cut -d ')' -f 2 /proc/self/stat | awk '{ print $17, $38, $39 }'";
    let read = |name: &str, value: Value| says(name, read, policy(value));
    assert_eq!(
        read("sched-other", json!({ "policy": "SCHED_OTHER", "nice": 5 })),
        "5 0 0\n"
    );
    assert_eq!(
        read("sched-batch", json!({ "policy": "SCHED_BATCH", "nice": -3 })),
        "-3 0 3\n"
    );
    assert_eq!(
        read("sched-idle", json!({ "policy": "SCHED_IDLE", "nice": 4 })),
        "4 0 5\n"
    );
    let nice = "awk '{ print $19 }' /proc/$$/stat; awk '{ print $19 }' /proc/self/stat; true";
    let flags = json!({ "policy": "SCHED_OTHER", "nice": -3, "flags": ["SCHED_FLAG_RESET_ON_FORK"] });
    assert_eq!(says("sched-reset", nice, policy(flags)), "-3\n0\n");
    refused("sched-iso", "no SCHED_ISO", policy(json!({ "policy": "SCHED_ISO" })));
    refused(
        "sched-prio",
        "SCHED_FIFO and SCHED_RR only",
        policy(json!({ "policy": "SCHED_OTHER", "priority": 1 })),
    );
    let out = says("ionice", "ionice -p $$", |document| {
        document["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 4 });
    });
    assert!(out.starts_with("idle"), "{out}");
    let out = says("ionice-be", "ionice -p $$", |document| {
        document["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 });
    });
    assert_eq!(out, "best-effort: prio 6\n");
}

#[test]
fn labels_without_their_module_are_refused() {
    if !barepod_runtime::init::labels::apparmor() {
        refused("apparmor", "this kernel runs without AppArmor", |document| {
            document["process"]["apparmorProfile"] = json!("some-profile");
        });
        // What everything is where there is no AppArmor.
        says("unconfined", "true", |document| {
            document["process"]["apparmorProfile"] = json!("unconfined")
        });
    }
    if !barepod_runtime::init::labels::selinux() {
        refused("selinux", "this kernel runs without SELinux", |document| {
            document["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0");
        });
        refused("mount-label", "this kernel runs without SELinux", |document| {
            document["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0");
        });
    }
}

/// Of a machine with AppArmor, as the virtual one is.
#[test]
fn an_apparmor_profile_is_in_force() {
    if !barepod_runtime::init::labels::apparmor() {
        return;
    }
    const PROFILE: &str = "profile barepodtest flags=(attach_disconnected) {
        file, capability, network, mount, umount, pivot_root, signal, ptrace, unix,
        deny /etc/passwd r,
    }";
    let parser = |option: &str| {
        let mut child = Command::new("apparmor_parser")
            .args([option, "--skip-cache"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(PROFILE.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    parser("--replace");
    let confined = |document: &mut Value| document["process"]["apparmorProfile"] = json!("barepodtest");
    let script = "cat /proc/self/attr/current; cat /etc/passwd 2>&1; cat /bin/busybox >/dev/null; echo $?";
    let out = says("apparmor", script, confined);
    assert!(out.starts_with("barepodtest (enforce)\n"), "{out}");
    assert!(out.contains("passwd': Permission denied"), "{out}");
    let bundle = Bundle::sleeping("apparmor-exec");
    bundle.change(confined);
    bundle.start();
    let inside = bundle.good(&["exec", &bundle.id, "cat", "/proc/self/attr/current"]);
    assert_eq!(inside, "barepodtest (enforce)\n");
    let free = bundle.good(&[
        "exec",
        "--apparmor",
        "unconfined",
        &bundle.id,
        "cat",
        "/proc/self/attr/current",
    ]);
    assert_eq!(free, "unconfined\n");
    drop(bundle);
    parser("--remove");
    refused("apparmor-none", "barepodtest", confined);
}

#[test]
fn a_container_without_a_process_cannot_be_started() {
    let bundle = Bundle::new("no-process", |document| {
        document.as_object_mut().unwrap().remove("process");
    });
    bundle.good(&["create", "--bundle", bundle.path(), &bundle.id]);
    assert_eq!(bundle.status(), "created");
    assert!(bundle.bad(&["start", &bundle.id]).contains("no process"));
    until("it has stopped", || (bundle.status() == "stopped").then_some(()));
    bundle.good(&["delete", &bundle.id]);
}

#[test]
fn versions_and_paths() {
    refused("version-2", "ociVersion 2.0.0 is not supported", |document| {
        document["ociVersion"] = json!("2.0.0")
    });
    refused("version-x", "no version", |document| {
        document["ociVersion"] = json!("latest")
    });
    refused("version-none", "ociVersion is missing", |document| {
        document.as_object_mut().unwrap().remove("ociVersion");
    });
    says("version-9", "true", |document| document["ociVersion"] = json!("1.9.0"));
    refused("cwd", "tmp is not absolute", |document| {
        document["process"]["cwd"] = json!("tmp")
    });
    refused("root", "find the root file system", |document| {
        document["root"]["path"] = json!("nowhere")
    });
    refused("no-root", "no root file system", |document| {
        document.as_object_mut().unwrap().remove("root");
    });
    says("unknown", "true", |document| {
        document["linux"]["later"] = json!({ "x": [1] })
    });
}

#[test]
fn a_null_device_keeps_its_owner() {
    let bundle = Bundle::new("null-owner", |document| {
        document["process"]["args"] = json!(["true"]);
        document["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    });
    let null = bundle.dir.join("null");
    let made = Command::new("mknod").arg(&null).args(["c", "1", "3"]).status();
    assert!(made.unwrap().success());
    let mut run = bundle.prepare(&["run", "--bundle", bundle.path(), &bundle.id]);
    run.stdin(fs::File::open(&null).unwrap());
    assert!(bundle.run(run).status.success());
    assert_eq!(fs::metadata(null).unwrap().uid(), 0);
}
