//! A full disk: clear errors, nothing lost, and everything goes on once there is space again.

use barepod_tests::{Cluster, Options, eventually, images};

/// The node's state on a small disk of its own.
const SMALL: &str = "mkdir $DIR/lib; mount -t tmpfs -o size=72m disk $DIR/lib";

/// Leaves no byte free on the node's disk. What is removed late may free some again, so it is done until the log of a pod
/// that writes all the time does not grow any more.
fn fill(c: &Cluster, pod_uid: &str) {
    let log = c.path(&format!("lib/pods/{pod_uid}/logs/main/0.log"));
    let mut last = 0;
    eventually("the disk is full", || {
        c.run(&format!(
            "sh -c 'dd if=/dev/zero bs=64k >>{0}; dd if=/dev/zero bs=512 >>{0}'",
            ballast(c)
        ));
        let size = std::fs::metadata(&log).map_err(|e| e.to_string())?.len();
        let grown = size - std::mem::replace(&mut last, size);
        if grown == 0 {
            Ok(())
        } else {
            Err(format!("the log grew by {grown} bytes"))
        }
    });
}

fn ballast(c: &Cluster) -> String {
    c.dir().join("lib/ballast").display().to_string()
}

fn free(c: &Cluster) {
    c.run(&format!("rm {}", ballast(c))).ok().expect("removed");
}

/// The number in a whole line of the ticker.
fn tick(line: &str) -> Option<u32> {
    let (number, pad) = line.strip_prefix("tick ")?.split_once(' ')?;
    number.parse().ok().filter(|_| pad.len() == 1000)
}

fn last_tick(logs: &str) -> Option<u32> {
    logs.lines().filter_map(tick).next_back()
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let options = Options {
        prepare: SMALL,
        ..Options::default()
    };
    let c = Cluster::with("disk", options);
    c.import("tools.oci", None);
    let n = c.default_space();
    let advice = |told: &str| told.to_lowercase().contains("no space left") && told.contains("free some");
    let script =
        "pad=$(head -c 1000 /dev/zero | tr '\\0' .); i=0; while :; do echo tick $i $pad; i=$((i+1)); sleep 0.02; done";
    n.script("ticker", script, "");
    let ticker = n.ready("ticker");
    n.kubectl("create configmap before --from-literal=a=b");
    fill(&c, ticker["metadata"]["uid"].as_str().expect("a UID"));

    let listed = c.barepod("images list").stdout;
    let nginx = images().join("nginx-1.oci.tar");
    let refused = c.barepod(&format!("images import {}", nginx.display())).refused();
    assert!(advice(&refused), "{refused}");
    assert_eq!(c.barepod("images list").stdout, listed);

    // The store has some room inside of its file; when that is used up it says so, and goes on answering.
    let text = "x".repeat(200_000);
    let file = c.dir().join("text");
    std::fs::write(&file, &text).expect("a file");
    let mut written = 0;
    let refused = loop {
        let made = n.try_kubectl(&format!(
            "create configmap large-{written} --from-file={}",
            file.display()
        ));
        if made.code != 0 {
            break made.stderr;
        }
        written += 1;
        assert!(written < 400, "the disk does not fill up");
    };
    assert!(advice(&refused), "{refused}");
    assert_eq!(n.field("configmap/before", "{.data.a}"), "b");
    assert_eq!(n.sh("ticker", "echo alive").trim(), "alive");
    let check = c.barepod("check").stdout;
    assert!(
        check
            .lines()
            .any(|l| l.starts_with("warn") && l.contains("disk") && l.contains("free some")),
        "{check}"
    );

    // Dead daemons: `up` says why they cannot come back, or they come back.
    c.kill_daemons(&["agent", "control"]);
    let up = c.barepod("up --timeout 5");
    assert!(up.code == 0 || advice(&up.stderr), "{up:?}");

    free(&c);
    c.up("");
    let before = last_tick(&n.kubectl("logs ticker"));
    let all = n.kubectl("get configmaps -o name");
    assert_eq!(
        all.matches("configmap/large-").count(),
        written,
        "what was acknowledged is there: {all}"
    );
    assert_eq!(n.field("configmap/large-0", "{.data.text}").len(), text.len());
    assert_eq!(
        n.field("pod/ticker", "{.status.containerStatuses[0].restartCount}"),
        "0"
    );
    n.kubectl("create configmap after");
    std::fs::remove_file(&file).expect("removed");
    c.import("redis.docker.tar", None);
    n.sleeper("after");
    // The log goes on, has whole lines only, and says where some are missing.
    let logs = eventually("the log goes on", || {
        let logs = n.kubectl("logs ticker");
        if last_tick(&logs) > before { Ok(logs) } else { Err(logs) }
    });
    let mut next = Some(0);
    for line in logs.lines() {
        match tick(line) {
            Some(number) => {
                assert!(
                    next.is_none_or(|next| next == number),
                    "{next:?} to {number} are missing and nobody says so"
                );
                next = Some(number + 1);
            }
            None => {
                assert!(line.contains("no space was left for the log"), "{line}");
                next = None;
            }
        }
    }
}

#[test]
fn a_pod_that_finds_no_space_waits_for_it() {
    let options = Options {
        prepare: "mkdir -p $DIR/lib/pods; mount -t tmpfs -o size=64k pods $DIR/lib/pods",
        ..Options::default()
    };
    let c = Cluster::with("disk-pod", options);
    c.import("tools.oci", None);
    let n = c.default_space();
    let ballast = c.dir().join("lib/pods/ballast");
    c.run(&format!("dd if=/dev/zero of={} bs=4k", ballast.display()));
    n.script("waits", "exec sleep 1000", "");
    let told = n.event("waits", "o space left on device");
    assert!(told.contains("free some space"), "{told}");
    c.run(&format!("rm {}", ballast.display()));
    n.ready("waits");
    n.kubectl("delete pod waits --timeout=30s");
}
