//! `kill -9` of everything: what ran goes on, what was half made is finished or cleaned up, nothing is lost.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use barepod_tests::{Cluster, Space, eventually};
use serde_json::Value;

use crate::own_node;

const TICKER: &str = "i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.02; done";

fn identity(pod: &Value) -> (String, String) {
    let status = &pod["status"]["containerStatuses"][0];
    (status["containerID"].to_string(), status["restartCount"].to_string())
}

/// Every tick from the first on, none missing and none twice.
fn assert_gapless(n: &Space<'_>) {
    let logs = n.kubectl("logs ticker");
    let ticks: Vec<u32> = logs
        .lines()
        .filter_map(|l| l.strip_prefix("tick ")?.parse().ok())
        .collect();
    let expected: Vec<u32> = (0..u32::try_from(ticks.len()).expect("few")).collect();
    assert_eq!(ticks, expected);
    assert!(!ticks.is_empty());
}

#[test]
fn killed_daemons_change_nothing_that_runs() {
    let c = own_node("kill-daemons");
    let n = c.default_space();
    n.script("ticker", TICKER, "");
    let before = identity(&n.ready("ticker"));
    for victims in [&["agent"][..], &["control"], &["agent", "control"]] {
        c.kill_daemons(victims);
        c.up("");
        assert_eq!(identity(&n.ready("ticker")), before, "after killing {victims:?}");
        assert_gapless(&n);
    }
    // The adopted pod can still be reached and deleted.
    assert_eq!(n.sh("ticker", "echo alive").trim(), "alive");
    n.kubectl("delete pod ticker --timeout=30s");
}

#[test]
fn a_killed_spawner_takes_no_pod_with_it_and_is_replaced() {
    let c = own_node("kill-spawner");
    let n = c.default_space();
    n.script("ticker", TICKER, "");
    let before = identity(&n.ready("ticker"));
    let spawners = || -> Vec<String> {
        let found = c.run("sh -c 'grep -l barepod-spawner /proc/[0-9]*/comm'").stdout;
        let pid = |path: &str| path.split('/').nth(2).map(str::to_owned);
        found.lines().filter_map(pid).collect()
    };
    let first = spawners();
    assert_eq!(first.len(), 1, "{first:?}");
    c.kill(&first);
    n.sleeper("another");
    n.ready("another");
    assert_ne!(spawners(), first);
    assert_eq!(identity(&n.ready("ticker")), before);
    assert_gapless(&n);
}

#[test]
fn spare_sandboxes_become_pods_and_are_made_again() {
    let c = own_node("spares");
    // As many as are wanted, without some that were there.
    let spares = |number: usize, without: &[String]| -> Vec<String> {
        let mut found = Vec::new();
        eventually("the spare sandboxes are there", || {
            let listed: Value = serde_json::from_str(&c.barepod("ps -o json").stdout).map_err(|e| e.to_string())?;
            let names = listed
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|it| it["name"].as_str());
            found = names
                .filter(|name| name.starts_with("-/spare-"))
                .map(str::to_owned)
                .collect();
            if found.len() == number && !found.iter().any(|name| without.contains(name)) {
                Ok(())
            } else {
                Err(listed.to_string())
            }
        });
        found
    };
    c.kill_daemons(&["agent"]);
    c.up("--spare-sandboxes 2");
    let first = spares(2, &[]);
    let n = c.default_space();
    n.script("ticker", TICKER, "");
    let before = identity(&n.ready("ticker"));
    assert_eq!(n.sh("ticker", "hostname").trim(), "ticker");
    let second = spares(2, &[]);
    assert_eq!(
        first.iter().filter(|name| second.contains(name)).count(),
        1,
        "one was taken: {first:?} {second:?}"
    );
    // One that died is no pod's problem.
    let record: Value = serde_json::from_str(&c.barepod("ps -o json").stdout).expect("JSON");
    let monitor = |name: &str| {
        let all = record.as_array().expect("a list");
        all.iter().find(|it| it["name"] == *name).expect("it is there")["monitor_pid"].to_string()
    };
    c.kill(&second.iter().map(|name| monitor(name)).collect::<Vec<_>>());
    n.sleeper("another");
    n.ready("another");
    // An agent knows nothing of the spare sandboxes of the one before it, and needs none.
    spares(2, &second);
    c.kill_daemons(&["agent"]);
    c.up("");
    spares(0, &[]);
    assert_eq!(identity(&n.ready("ticker")), before);
    assert_gapless(&n);
}

#[test]
fn what_ended_or_was_deleted_while_the_agent_was_dead_is_caught_up_with() {
    let c = own_node("away");
    let n = c.default_space();
    let mark = c.dir().join("end");
    n.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: brief}}, spec: {{restartPolicy: Never, volumes: [{{name: mark, hostPath: {{path: {}}}}}], containers: [{{name: main, image: 'tools:1', \
         volumeMounts: [{{name: mark, mountPath: /mark}}], command: [sh, -c, 'until [ -e /mark/end ]; do sleep 0.05; done; echo bye; exit 5']}}]}}}}",
        c.dir().display()
    ));
    n.sleeper("deleted");
    n.ready("brief");
    c.kill_daemons(&["agent"]);
    std::fs::write(&mark, "").expect("a file");
    eventually("it ends", || {
        let listed = c.barepod("ps").stdout;
        if listed.contains("exited 5") {
            Ok(())
        } else {
            Err(listed)
        }
    });
    n.kubectl("delete pod deleted --wait=false");
    c.up("");
    let brief = n.until_one("pods/brief", "its end is told", |pod| {
        pod["status"]["phase"] == "Failed"
    });
    assert_eq!(
        brief["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
        5
    );
    assert_eq!(n.kubectl("logs brief").trim(), "bye");
    n.until_gone("pods/deleted");
    assert!(!c.barepod("ps").stdout.contains("default/deleted"));
    std::fs::remove_file(&mark).expect("removed");
}

#[test]
fn a_dead_monitor_or_pause_fails_its_pod_and_it_is_replaced() {
    let c = own_node("kill-monitor");
    let n = c.default_space();
    n.kubectl("create deployment sleeper --image=tools:1 -- sleep 1000");
    for victim in ["monitor_pid", "pause_pid"] {
        let pod = n.pods("sleeper", 1).into_keys().next().expect("one");
        let listing = c.barepod_json("ps");
        let all = listing.as_array().expect("a list");
        let record = all
            .iter()
            .find(|p| p["name"] == format!("default/{pod}"))
            .expect("in ps");
        c.kill(&[record[victim].to_string()]);
        let failed = n.until_one(&format!("pods/{pod}"), "failed", |pod| {
            pod["status"]["phase"] == "Failed"
        });
        assert_eq!(failed["status"]["reason"], "SandboxLost", "{failed}");
        n.until("pods", "another pod takes its place", |all| {
            all.iter()
                .any(|(name, new)| *name != pod && barepod_tests::is_ready(new))
        });
        n.kubectl(&format!("delete pod {pod}"));
        let listed = c.barepod("ps").stdout;
        assert!(!listed.contains(&pod), "{victim}: {listed}");
    }
}

/// Every named point of sandbox and container creation and removal, in turn: who passes it is killed there, and then both
/// daemons are.
#[test]
fn killed_at_every_named_point_of_creation() {
    let c = own_node("points");
    let n = c.default_space();
    let points = c.barepod("fault-points").ok().expect("the list");
    let points: Vec<&str> = points.split_whitespace().collect();
    assert!(points.len() >= 10, "{points:?}");
    for point in points {
        c.kill_daemons(&["agent"]);
        let mut faulty = c.barepod_command("up");
        faulty.env("BAREPOD_FAULT", point);
        barepod_tests::Ran::of(&mut faulty)
            .ok()
            .unwrap_or_else(|e| panic!("{point}: {e}"));
        n.script("victim", "exec sleep 1000", "");
        // The agent dies there, or something that it started, which it tells; or the point is passed only at the end.
        let seen = eventually(&format!("something happens at {point}"), || {
            let agent = c.run(&format!("test -e /proc/{}/exe", c.daemon_pid("agent"))).code;
            let phase = n.field("pod/victim", "{.status.phase}");
            let warnings = n.kubectl("get events --field-selector type=Warning,involvedObject.name=victim -o name");
            let nothing = agent == 0 && phase == "Pending" && warnings.is_empty();
            if nothing { Err(phase) } else { Ok(phase) }
        });
        c.run(&format!(
            "kill -KILL {} {}",
            c.daemon_pid("agent"),
            c.daemon_pid("control")
        ));
        c.up("");
        // A monitor goes on dying there, or what it starts does, as long as it lives: that is told.
        n.until_one(
            "pods/victim",
            &format!("runs, or says why not, after {point} ({seen})"),
            |pod| {
                let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
                barepod_tests::is_ready(pod) || pod["status"]["phase"] == "Failed" || waiting == "CreateContainerError"
            },
        );
        n.kubectl("delete pod victim --timeout=30s");
        n.kubectl("delete events --all");
        assert_eq!(c.barepod_json("ps"), serde_json::json!([]), "after {point}");
    }
}

/// Four clients write as fast as they can while the control service is killed again and again. What was acknowledged
/// is there afterwards, with the content that was acknowledged last.
#[test]
fn acknowledged_writes_survive() {
    let c = own_node("durable");
    let n = c.default_space();
    let path = "/api/v1/namespaces/default/configmaps";
    let kept = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let write = |who: usize| {
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            let Ok(mut api) = c.api() else { continue };
            loop {
                let name = format!("kept-{who}-{count}");
                count += 1;
                let mut object = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "first"}});
                if api.json("POST", path, Some(&object)).is_err() {
                    break;
                }
                let own = format!("{path}/{name}");
                kept.lock().expect("no panic").push((name, "first"));
                object["data"]["a"] = "second".into();
                if api.json("PUT", &own, Some(&object)).is_err() {
                    break;
                }
                let mut kept = kept.lock().expect("no panic");
                let mine = kept.iter_mut().find(|(name, _)| own.ends_with(&format!("/{name}")));
                mine.expect("just put there").1 = "second";
                drop(kept);
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for who in 0..4 {
            let write = &write;
            scope.spawn(move || write(who));
        }
        let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 1..=5 {
                eventually("writes go on", || {
                    let count = kept.lock().expect("no panic").len();
                    if count > 20 * round {
                        Ok(())
                    } else {
                        Err(count.to_string())
                    }
                });
                c.kill_daemons(&["control"]);
                c.up("");
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = killed {
            std::panic::resume_unwind(panic);
        }
    });
    let there = n.get("configmaps");
    let there: std::collections::BTreeMap<&str, &str> = there["items"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|cm| Some((cm["metadata"]["name"].as_str()?, cm["data"]["a"].as_str()?)))
        .collect();
    let kept = kept.into_inner().expect("no panic");
    for (name, value) in &kept {
        let found = there.get(name.as_str());
        // A second write that nobody acknowledged may have been made all the same.
        assert!(
            found == Some(value) || (*value == "first" && found == Some(&"second")),
            "{name}: {found:?} instead of {value}"
        );
    }
    assert!(kept.len() > 100, "only {} writes", kept.len());
}

#[test]
fn a_reset_after_kill_9_of_everything_leaves_nothing() {
    let c: Cluster = own_node("wreck");
    let n = c.default_space();
    n.kubectl("create deployment sleeper --image=tools:1 --replicas=3 -- sleep 1000");
    n.kubectl("expose deployment sleeper --port=80 --type=NodePort");
    n.pods("sleeper", 3);
    let listing = c.barepod_json("ps");
    let pods = listing.as_array().expect("a list");
    let mut victims: Vec<String> = pods[..2].iter().map(|p| p["monitor_pid"].to_string()).collect();
    victims.push(pods[2]["pause_pid"].to_string());
    victims.extend(["agent", "control"].map(|daemon| c.daemon_pid(daemon)));
    c.kill(&victims);
    c.reset();
    // It can be repeated, and the node comes back.
    c.reset();
    c.up("");
    assert_eq!(n.kubectl("get pods -o name"), "");
}
