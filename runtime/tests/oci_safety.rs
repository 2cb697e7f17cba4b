//! Who is hit and who is not: recycled pids, one id taken twice, what is made by halves, verbs said twice.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use barepod_runtime::procfs::Stat;
use serde_json::{Value, json};
use support::bundle::Bundle;
use support::{runtime, until};

fn is_alive(child: &mut std::process::Child) -> bool {
    child.try_wait().unwrap().is_none()
}

#[test]
fn a_forged_record_hits_nobody() {
    let bundle = Bundle::sleeping("forged");
    bundle.start();
    let id = bundle.id.as_str();
    let file = bundle.state_dir().join("state.json");
    let truth = fs::read_to_string(&file).unwrap();
    let mut record: Value = serde_json::from_str(&truth).unwrap();
    // The kernel tells hundredths of a second apart, and from 6.9 on each process.
    let started = record["start_ticks"].as_u64().unwrap();
    let mut stranger = if record["unique"] != 0 {
        Command::new("sleep").arg("1000").spawn().unwrap()
    } else {
        until("somebody starts later", || {
            let mut stranger = Command::new("sleep").arg("1000").spawn().unwrap();
            let stat = Stat::of(stranger.id().try_into().unwrap()).unwrap();
            if stat.start_ticks > started {
                return Some(stranger);
            }
            stranger.kill().unwrap();
            stranger.wait().unwrap();
            None
        })
    };
    record["pid"] = json!(stranger.id());
    fs::write(&file, record.to_string()).unwrap();
    assert_eq!(bundle.status(), "stopped", "the pid is somebody else's");
    assert!(bundle.bad(&["kill", id, "KILL"]).contains("container not running"));
    assert!(bundle.bad(&["exec", id, "true"]).contains("container not running"));
    assert!(bundle.bad(&["pause", id]).contains("container not running"));
    assert!(is_alive(&mut stranger));
    fs::write(&file, truth).unwrap();
    assert_eq!(bundle.status(), "running");
    fs::write(&file, record.to_string()).unwrap();
    // By its cgroup the container is found all the same, and only the container.
    bundle.good(&["delete", "--force", id]);
    assert!(!bundle.tracker().exists());
    assert!(is_alive(&mut stranger));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn a_recycled_pid_is_not_hit() {
    let bundle = Bundle::sleeping("recycled");
    // In a PID namespace of its own the next pid can be chosen.
    let script = r#"
        "$@" create --bundle "$BUNDLE" --pid-file "$BUNDLE/pid" "$ID" && "$@" start "$ID" || exit 1
        pid=$(cat "$BUNDLE/pid")
        kill -9 "$pid"
        while [ -e "/proc/$pid" ]; do sleep 0.01; done
        for try in $(seq 200); do
            echo $((pid - 1)) >/proc/sys/kernel/ns_last_pid
            sleep 1000 & other=$!
            [ "$other" = "$pid" ] && break
            kill -9 "$other"
        done
        [ "$other" = "$pid" ] || { echo "the pid was not had again"; exit 2; }
        "$@" kill "$ID" KILL && exit 3
        "$@" delete "$ID" || exit 4
        kill -0 "$other" && echo alive
    "#;
    let output = Command::new("unshare")
        .args([
            "--pid",
            "--fork",
            "--kill-child",
            "--mount",
            "--mount-proc",
            "bash",
            "-c",
            script,
            "bash",
        ])
        .arg(runtime())
        .arg("--root")
        .arg(bundle.dir.join("state"))
        .env("BUNDLE", bundle.path())
        .env("ID", &bundle.id)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "alive\n", "{said}");
    assert!(said.contains("container not running"), "{said}");
}

#[test]
fn one_of_many_gets_the_id() {
    let bundle = Bundle::sleeping("many");
    let id = bundle.id.as_str();
    for _ in 0..10 {
        let spawn = |n: i32| {
            let error = fs::File::create(bundle.dir.join(format!("error{n}"))).unwrap();
            let mut command = bundle.prepare(&["create", "--bundle", bundle.path(), id]);
            command.stdout(Stdio::null()).stderr(error).spawn().unwrap()
        };
        let children: Vec<_> = (0..6).map(spawn).collect();
        let mut made = 0;
        for (n, mut child) in children.into_iter().enumerate() {
            if child.wait().unwrap().success() {
                made += 1;
            } else {
                let error = fs::read_to_string(bundle.dir.join(format!("error{n}"))).unwrap();
                assert!(error.contains("exists already"), "{error}");
            }
        }
        assert_eq!(made, 1);
        assert_eq!(bundle.status(), "created");
        // As many starts: one of them starts it, the others are told.
        let starts: Vec<_> = (0..4)
            .map(|_| bundle.prepare(&["start", id]).stderr(Stdio::null()).spawn().unwrap())
            .collect();
        let started = starts.into_iter().filter_map(|mut start| start.wait().ok());
        assert_eq!(started.filter(|status| status.success()).count(), 1);
        assert_eq!(bundle.status(), "running");
        // As many deletions.
        let deletions: Vec<_> = (0..4)
            .map(|_| bundle.prepare(&["delete", "--force", id]).spawn().unwrap())
            .collect();
        assert!(
            deletions
                .into_iter()
                .all(|mut deletion| deletion.wait().unwrap().success())
        );
        assert!(!bundle.state_dir().exists() && !bundle.tracker().exists());
    }
}

#[test]
fn what_was_made_by_halves_can_be_deleted() {
    let bundle = Bundle::sleeping("halves");
    let id = bundle.id.as_str();
    // Its maker died before it wrote anything.
    fs::create_dir_all(bundle.state_dir()).unwrap();
    assert!(bundle.bad(&["state", id]).contains("does not exist"));
    assert!(
        bundle
            .bad(&["create", "--bundle", bundle.path(), id])
            .contains("exists already")
    );
    bundle.good(&["delete", id]);
    // It died when the cgroup was made, and when the process was cloned and nobody knew.
    for point in [
        "oci.recorded",
        "oci.cgroup-made",
        "oci.cloned",
        "oci.pid-recorded",
        "oci.limited",
    ] {
        let mut command = bundle.prepare(&["create", "--bundle", bundle.path(), id]);
        let ended = command.env("BAREPOD_FAULT", point).status().unwrap();
        assert!(!ended.success(), "{point} was passed");
        if point == "oci.limited" {
            // Its process had everything, and may have been ready before it could notice: then it waits to be started.
            bundle.good(&["delete", "--force", id]);
        } else {
            until("its process has noticed", || {
                (bundle.status() == "stopped").then_some(())
            });
            bundle.good(&["delete", id]);
        }
        assert!(!bundle.state_dir().exists() && !bundle.tracker().exists());
    }
}

#[test]
fn verbs_said_twice() {
    let bundle = Bundle::sleeping("twice");
    let id = bundle.id.as_str();
    bundle.start();
    for _ in 0..2 {
        bundle.good(&["pause", id]);
        assert_eq!(bundle.status(), "paused");
    }
    for _ in 0..2 {
        bundle.good(&["resume", id]);
        assert_eq!(bundle.status(), "running");
    }
    // Killed while it is paused it ends all the same.
    bundle.good(&["pause", id]);
    assert!(bundle.bad(&["delete", id]).contains("paused"));
    bundle.good(&["kill", id, "9"]);
    until("it has stopped", || (bundle.status() == "stopped").then_some(()));
    // The specification wants these to be errors.
    assert!(bundle.bad(&["kill", id]).contains("container not running"));
    assert!(bundle.bad(&["start", id]).contains("stopped"));
    bundle.good(&["kill", "--all", id, "KILL"]);
    bundle.good(&["delete", id]);
    assert!(bundle.bad(&["delete", id]).contains("does not exist"));
    bundle.good(&["delete", "--force", id]);
    bundle.good(&["delete", "-f", id]);
}

#[test]
fn a_cgroup_of_others_is_not_taken() {
    for path in ["/", "", "/..", "/a/../..", "."] {
        let bundle = Bundle::new("root-cgroup", |document| document["linux"]["cgroupsPath"] = json!(path));
        let output = bundle.command(&["create", "--bundle", bundle.path(), &bundle.id]);
        let said = String::from_utf8_lossy(&output.stderr);
        if path.is_empty() {
            assert!(output.status.success(), "none is named: {said}");
            bundle.good(&["delete", &bundle.id]);
        } else {
            assert!(said.contains("cannot be a container's own cgroup"), "{path:?}: {said}");
        }
    }
    let first = Bundle::sleeping("first");
    first.start();
    let path = format!("/barepodtest-{}/c", first.id);
    let second = Bundle::new("second", |document| document["linux"]["cgroupsPath"] = json!(path));
    let said = second.bad(&["run", "--bundle", second.path(), &second.id]);
    assert!(said.contains("has processes of others in it"), "{said}");
    assert_eq!(first.status(), "running", "and is left alone");
    first.good(&["delete", "--force", &first.id]);
}
