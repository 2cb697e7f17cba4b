//! `hooks` of an OCI configuration: which, when, where, told what, and what happens when they fail.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use support::bundle::Bundle;
use support::{base, until};

/// A hook of the machine's shell. What it prints goes to the bundle's `log`, which is writable for everybody.
fn shell(bundle: &Path, script: &str) -> Value {
    let script = format!("exec >>{}/log 2>&1; {script}", bundle.display());
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script] })
}

/// A bundle whose container sleeps, with hooks.
fn bundle(name: &str, hooks: impl FnOnce(&Path) -> Value) -> Bundle {
    let bundle = Bundle::new(name, |document| {
        document["process"]["args"] = json!(["sh", "-c", "echo started; sleep 1000"]);
        document["annotations"] = json!({ "org.example.key": "value" });
    });
    fs::write(bundle.dir.join("log"), "").unwrap();
    let hooks = hooks(&bundle.dir);
    bundle.change(|document| document["hooks"] = hooks);
    bundle
}

fn log(bundle: &Bundle) -> String {
    fs::read_to_string(bundle.dir.join("log")).unwrap()
}

/// Lets the container write to a directory of the bundle.
fn shows_tmp(bundle: &Bundle) {
    let dir = bundle.dir.join("hooks");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let mount = json!({ "destination": "/tmp", "source": dir, "options": ["bind"] });
    bundle.change(|document| document["mounts"].as_array_mut().unwrap().push(mount));
}

/// The container's files that are executed have no more rights than its program: who the user is, what he may do, and which
/// system calls there are.
#[test]
fn a_hook_inside_has_the_programs_rights() {
    let script = "id -u; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; mkdir /tmp/made || echo refused";
    let bundle = bundle(
        "hook-rights",
        |_| json!({ "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", format!("({script}) >/tmp/hook 2>/dev/null")] }] }),
    );
    shows_tmp(&bundle);
    bundle.change(|document| {
        let process = &mut document["process"];
        process["user"] = json!({ "uid": 1000, "gid": 1000 });
        process["capabilities"] = json!({ "bounding": ["CAP_CHOWN"] });
        process["args"] = json!(["sh", "-c", format!("({script}) >/tmp/program 2>/dev/null")]);
        let denied = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" });
        document["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied] });
    });
    bundle.good(&["run", "--bundle", bundle.path(), &bundle.id]);
    let of = |name: &str| fs::read_to_string(bundle.dir.join("hooks").join(name)).unwrap();
    assert_eq!(of("hook"), of("program"));
    let words: Vec<String> = of("hook").split_whitespace().map(str::to_owned).collect();
    assert_eq!(
        words,
        [
            "1000",
            "CapEff:",
            "0000000000000000",
            "NoNewPrivs:",
            "1",
            "Seccomp:",
            "2",
            "refused"
        ]
    );
}

/// The state that hooks are told, as the given tag and the parts of it that are looked at.
const STATE: &str =
    r#"tell() { echo "$1 $(jq -c '[.ociVersion, .id, .status, .bundle, .annotations["org.example.key"]]')"; }; "#;

#[test]
fn every_kind_at_its_time() {
    let hook = |dir: &Path, kind: &str| shell(dir, &format!("{STATE} tell {kind}; pwd"));
    let bundle = bundle("hooks", |dir| {
        json!({
            "poststop": [hook(dir, "poststop"), shell(dir, "echo second")],
            "poststart": [hook(dir, "poststart")],
            "createContainer": [hook(dir, "createContainer")],
            "createRuntime": [hook(dir, "createRuntime")],
            "prestart": [hook(dir, "prestart"), shell(dir, "echo second")],
            "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "cat >/tmp/started; pwd >>/tmp/started"] }]
        })
    });
    shows_tmp(&bundle);
    let id = bundle.id.as_str();
    let line = |kind: &str, status: &str| {
        format!(
            "{kind} [\"1.3.0\",\"{id}\",\"{status}\",\"{}\",\"value\"]\n{0}\n",
            bundle.path()
        )
    };
    bundle.good(&["create", "--bundle", bundle.path(), id]);
    let mut expected = line("prestart", "created")
        + "second\n"
        + &line("createRuntime", "creating")
        // Where the container's root is, which it is not in yet.
        + &line("createContainer", "creating").replace(&format!("\n{}\n", bundle.path()), &format!("\n{}\n", base().join("rootfs").display()));
    assert_eq!(log(&bundle), expected);
    bundle.good(&["start", id]);
    expected += &line("poststart", "running");
    assert_eq!(log(&bundle), expected);
    let started = fs::read_to_string(bundle.dir.join("hooks/started")).unwrap();
    assert!(
        started.contains("\"status\":\"created\"") && started.ends_with("/\n"),
        "{started}"
    );
    bundle.good(&["delete", "--force", id]);
    expected += &(line("poststop", "stopped") + "second\n");
    assert_eq!(log(&bundle), expected);
}

#[test]
fn each_in_its_namespaces() {
    let look = |dir: &Path, kind: &str| {
        shell(
            dir,
            &format!(
                "echo {kind} $(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/net) $(jq .pid) $(ls -d {}/rootfs/proc/self 2>/dev/null | wc -l)",
                dir.display()
            ),
        )
    };
    let bundle = bundle("hook-namespaces", |dir| {
        json!({
            "createRuntime": [look(dir, "runtime")],
            "createContainer": [look(dir, "container")],
            "poststart": [look(dir, "poststart")],
            "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "readlink /proc/self/ns/mnt; [ -e /bin/busybox ] && grep -c . /proc/self/status >/dev/null && touch /tmp/from-hook"] }]
        })
    });
    bundle.change(|document| {
        document["mounts"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }));
        document["process"]["args"] = json!([
            "sh",
            "-c",
            "readlink /proc/self/ns/mnt; readlink /proc/self/ns/net; ls /tmp; sleep 1000"
        ]);
    });
    bundle.good(&["run", "--detach", "--bundle", bundle.path(), &bundle.id]);
    let out = until("it has written", || {
        let text = fs::read_to_string(bundle.dir.join("out")).unwrap();
        text.contains("from-hook").then_some(text)
    });
    let inside: Vec<&str> = out.lines().collect();
    let own = |name: &str| {
        fs::read_link(format!("/proc/thread-self/ns/{name}"))
            .unwrap()
            .to_string_lossy()
            .into_owned()
    };
    let log = log(&bundle);
    let lines: Vec<Vec<&str>> = log.lines().map(|line| line.split(' ').collect()).collect();
    let state: Value = serde_json::from_str(&bundle.good(&["state", &bundle.id])).unwrap();
    let pid = state["pid"].to_string();
    let (mnt, net) = (own("mnt"), own("net"));
    assert_eq!(lines[0], ["runtime", mnt.as_str(), net.as_str(), pid.as_str(), "0"]);
    assert_eq!(
        lines[1],
        ["container", inside[0], inside[1], "1", "1"],
        "its mounts are made, the root is the machine's"
    );
    assert_eq!(lines[2][..4], ["poststart", mnt.as_str(), net.as_str(), pid.as_str()]);
}

#[test]
fn arguments_and_environment() {
    let bundle = bundle("hook-env", |dir| {
        let script = format!("echo \"$0|$1|$A|$PATH|$HOME\" >>{}/log", dir.display());
        json!({
            "prestart": [
                { "path": "/bin/bash", "args": ["named", "-c", script, "zero", "one"], "env": ["A=b=c", "PATH=/x"] },
                { "path": "/bin/true" }
            ],
            "startContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", "echo $OF_PROCESS >/tmp/started"] }]
        })
    });
    shows_tmp(&bundle);
    bundle.change(|document| {
        document["process"]["env"]
            .as_array_mut()
            .unwrap()
            .push(json!("OF_PROCESS=yes"));
        document["process"]["args"] = json!(["true"]);
    });
    bundle.good(&["run", "--bundle", bundle.path(), &bundle.id]);
    let started = fs::read_to_string(bundle.dir.join("hooks/started")).unwrap();
    assert_eq!(
        (log(&bundle).as_str(), started.as_str()),
        ("zero|one|b=c|/x|\n", "yes\n")
    );
}

#[test]
fn a_hook_that_fails_ends_the_container() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let bundle = bundle("hook-fails", |dir| {
            let mut hooks = json!({ "poststop": [shell(dir, "echo poststop")] });
            let fails = json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 3"] });
            hooks[kind] = json!([shell(dir, "echo first"), fails, shell(dir, "echo never")]);
            hooks
        });
        let said = bundle.bad(&["create", "--bundle", bundle.path(), &bundle.id]);
        assert!(
            said.contains(&format!("the {kind} hook /bin/sh failed: exit code 3: why")),
            "{said}"
        );
        assert_eq!(log(&bundle), "first\npoststop\n");
        assert!(bundle.bad(&["state", &bundle.id]).contains("does not exist"));
        assert!(!bundle.tracker().exists());
    }
    for kind in ["startContainer", "poststart"] {
        let bundle = bundle("hook-fails-start", |dir| {
            let mut hooks = json!({ "poststop": [shell(dir, "echo poststop")] });
            hooks[kind] = json!([{ "path": "/bin/false" }]);
            hooks
        });
        bundle.good(&["create", "--bundle", bundle.path(), &bundle.id]);
        let said = bundle.bad(&["start", &bundle.id]);
        assert!(
            said.contains(&format!("the {kind} hook /bin/false failed: exit code 1")),
            "{said}"
        );
        assert_eq!(log(&bundle), "poststop\n");
        assert!(bundle.bad(&["state", &bundle.id]).contains("does not exist"));
        let said = bundle.bad(&["run", "--bundle", bundle.path(), &bundle.id]);
        assert!(said.contains(kind), "{said}");
        assert_eq!(log(&bundle), "poststop\npoststop\n");
    }
}

#[test]
fn a_hook_that_fails_afterwards_is_a_warning() {
    let bundle = bundle(
        "hook-poststop",
        |dir| json!({ "poststop": [{ "path": "/bin/false" }, { "path": "/no/such" }, shell(dir, "echo last")] }),
    );
    bundle.good(&["run", "--detach", "--bundle", bundle.path(), &bundle.id]);
    let log_file = bundle.dir.join("runtime.log");
    let output = bundle.command(&["--log", log_file.to_str().unwrap(), "delete", "--force", &bundle.id]);
    assert!(output.status.success());
    let warned = fs::read_to_string(log_file).unwrap();
    assert!(
        warned.contains("level=warning") && warned.contains("/bin/false failed") && warned.contains("/no/such failed"),
        "{warned}"
    );
    assert_eq!(log(&bundle), "last\n");
}

#[test]
fn a_hook_that_takes_too_long_is_killed() {
    let bundle = bundle(
        "hook-timeout",
        |dir| json!({ "createRuntime": [{ "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1 }, shell(dir, "echo never")] }),
    );
    let said = bundle.bad(&["create", "--bundle", bundle.path(), &bundle.id]);
    assert!(said.contains("it took longer than 1 s"), "{said}");
    assert_eq!(log(&bundle), "");
}

#[test]
fn what_a_hook_leaves_running_holds_nobody_up() {
    let bundle = bundle(
        "hook-daemon",
        |dir| json!({ "prestart": [shell(dir, "echo up; sleep 5 &")] }),
    );
    let began = std::time::Instant::now();
    bundle.good(&["create", "--bundle", bundle.path(), &bundle.id]);
    assert!(began.elapsed().as_secs() < 4);
}

#[test]
fn what_is_wrong_is_refused() {
    for (hooks, words) in [
        (json!({ "poststop": [{ "path": "bin/true" }] }), "hooks.poststop"),
        (
            json!({ "prestart": [{ "path": "/bin/true", "timeout": -1 }] }),
            "above 0",
        ),
    ] {
        let bundle = bundle("hook-invalid", |_| hooks);
        let said = bundle.bad(&["create", "--bundle", bundle.path(), &bundle.id]);
        assert!(said.contains(words), "{said}");
    }
}
