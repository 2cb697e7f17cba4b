//! kill -9 of everything, and what bad input comes to.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use barepod_tests::{Cluster, Options, barepod, eventually, within};

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: ticker}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: 'tools:1', command: [sh, -c, 'i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.02; done']}]
";

fn start(name: &str) -> Cluster {
    let c = Cluster::start(name);
    c.import("tools.oci", None);
    c
}

fn ready(c: &Cluster, pod: &str) {
    c.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=60s"]);
}

fn container(c: &Cluster, pod: &str) -> (String, String) {
    let pod = c.get("default", &["pod", pod]);
    let status = &pod["status"]["containerStatuses"][0];
    (status["containerID"].to_string(), status["restartCount"].to_string())
}

/// Every tick from the first on, none missing and none twice.
fn assert_gapless(c: &Cluster) {
    let logs = c.kubectl(&["logs", "ticker"]);
    let ticks: Vec<u32> = logs
        .lines()
        .filter_map(|l| l.strip_prefix("tick ")?.parse().ok())
        .collect();
    let expected: Vec<u32> = (0..u32::try_from(ticks.len()).expect("few")).collect();
    assert_eq!(ticks, expected);
    assert!(!ticks.is_empty());
}

#[test]
fn killed_agent_and_control_change_nothing_that_runs() {
    let c = start("kill-daemons");
    c.apply("default", POD);
    ready(&c, "ticker");
    let before = container(&c, "ticker");
    for victims in [&["agent"][..], &["control"], &["agent", "control"]] {
        for daemon in victims {
            c.kill("-KILL", &c.daemon_pid(daemon));
        }
        c.up(&[]);
        ready(&c, "ticker");
        assert_eq!(container(&c, "ticker"), before, "after killing {victims:?}");
        assert_gapless(&c);
    }
    // The adopted pod can still be reached and deleted.
    assert_eq!(c.kubectl(&["exec", "ticker", "--", "echo", "alive"]).trim(), "alive");
    c.kubectl(&["delete", "pod", "ticker", "--timeout=30s"]);
}

#[test]
fn pods_that_ended_while_the_agent_was_dead_are_told() {
    let c = start("end-while-dead");
    c.apply(
        "default",
        "{apiVersion: v1, kind: Pod, metadata: {name: brief}, spec: {restartPolicy: Never, containers: [{name: main, image: 'tools:1', command: [sh, -c, 'sleep 2; echo bye; exit 5']}]}}",
    );
    ready(&c, "brief");
    c.kill("-KILL", &c.daemon_pid("agent"));
    std::thread::sleep(Duration::from_secs(3));
    c.up(&[]);
    eventually("the exit code is told", || {
        let code = c.kubectl(&[
            "get",
            "pod",
            "brief",
            "-o",
            "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}",
        ]);
        if code == "5" { Ok(()) } else { Err(code) }
    });
    assert_eq!(c.kubectl(&["logs", "brief"]).trim(), "bye");
}

#[test]
fn a_dead_monitor_fails_its_pod_and_it_is_replaced() {
    let c = start("kill-monitor");
    c.kubectl(&[
        "create",
        "deployment",
        "sleeper",
        "--image=tools:1",
        "--",
        "sleep",
        "1000",
    ]);
    c.kubectl(&["rollout", "status", "deployment/sleeper", "--timeout=60s"]);
    let pod = c.kubectl(&[
        "get",
        "pods",
        "-l",
        "app=sleeper",
        "-o",
        "jsonpath={.items[0].metadata.name}",
    ]);
    let listing: serde_json::Value =
        serde_json::from_str(&c.barepod(&["ps", "-o", "json"]).ok().expect("ps")).expect("JSON");
    let monitor = listing
        .as_array()
        .expect("a list")
        .iter()
        .find(|p| p["name"] == format!("default/{pod}"))
        .expect("in ps")["monitor_pid"]
        .to_string();
    c.kill("-KILL", &monitor);
    eventually("another pod takes its place", || {
        let pods = c.get("default", &["pods", "-l", "app=sleeper"]);
        let items = pods["items"].as_array().expect("a list");
        let running = items
            .iter()
            .any(|p| p["metadata"]["name"] != *pod && p["status"]["phase"] == "Running");
        if running { Ok(()) } else { Err(pods.to_string()) }
    });
}

/// Every named point of sandbox and container creation, in turn: the agent's work is done all the same after it.
#[test]
fn killed_at_every_named_point_of_creation() {
    let c = start("points");
    let points = c.barepod(&["fault-points"]).ok().expect("the list");
    let mut seen = 0;
    for point in points.split_whitespace() {
        seen += 1;
        c.run("kill", &["-KILL", &c.daemon_pid("agent")]);
        let mut faulty = c.command(barepod());
        faulty.env("BAREPOD_FAULT", point);
        c.up_as(faulty, &[]);
        c.apply("default", &POD.replace("ticker", "victim"));
        std::thread::sleep(Duration::from_millis(700));
        // At a point of its own the agent has died by now.
        c.run("kill", &["-KILL", &c.daemon_pid("agent")]);
        c.up(&[]);
        eventually(&format!("the pod runs, or failed cleanly, after {point}"), || {
            let phase = c.try_kubectl(&["get", "pod", "victim", "-o", "jsonpath={.status.phase}"]);
            if ["Running", "Failed"].contains(&phase.stdout.as_str()) {
                Ok(())
            } else {
                Err(format!("{phase:?}"))
            }
        });
        c.kubectl(&["delete", "pod", "victim", "--timeout=30s"]);
        let left = c.barepod(&["ps", "-o", "json"]).ok().expect("ps");
        assert_eq!(left.trim(), "[]", "after {point}");
    }
    assert!(seen >= 5, "only {seen} points are named");
}

#[test]
fn acknowledged_writes_survive() {
    let c = start("durable");
    for round in 0..5 {
        let name = format!("kept-{round}");
        c.kubectl(&["create", "configmap", &name, "--from-literal=a=b"]);
        c.kill("-KILL", &c.daemon_pid("control"));
        c.up(&[]);
        assert_eq!(c.kubectl(&["get", "configmap", &name, "-o", "jsonpath={.data.a}"]), "b");
    }
}

#[test]
fn bad_input_gets_a_clear_error() {
    let c = start("bad-input");
    let apply = |text: &str| {
        let ran = c.try_kubectl_with(&["create", "-f", "-"], text);
        assert!(ran.code != 0, "{text}: {ran:?}");
        ran.stderr
    };
    let unknown = apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, dato: {a: b}}");
    assert!(unknown.contains("unknown field \"dato\""), "{unknown}");
    let missing = apply("{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: []}}");
    assert!(missing.contains("spec.containers: Required value"), "{missing}");
    let name =
        apply("{apiVersion: v1, kind: Pod, metadata: {name: Bad_Name}, spec: {containers: [{name: a, image: b}]}}");
    assert!(name.contains("metadata.name: Invalid value: \"Bad_Name\""), "{name}");
    let kind = apply("{apiVersion: v1, kind: Nonsense, metadata: {name: x}}");
    assert!(kind.contains("no matches for kind \"Nonsense\""), "{kind}");
    let typed = apply(
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {replicas: many, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}}}",
    );
    assert!(typed.contains("replicas"), "{typed}");
    // An image that is not there says how to get it.
    c.kubectl(&["run", "noimage", "--image=nobody/has-this:1"]);
    eventually("the pod says what to do", || {
        let text = c.kubectl(&["describe", "pod", "noimage"]);
        if text.contains("barepod images import") {
            Ok(())
        } else {
            Err(text)
        }
    });
    // Importing it later is all it takes.
    c.import("tools.oci", Some("nobody/has-this:1"));
    within(Duration::from_secs(45), "the pod starts by itself", || {
        let state = c.kubectl(&[
            "get",
            "pod",
            "noimage",
            "-o",
            "jsonpath={.status.containerStatuses[0].state}",
        ]);
        if state.contains("running") || state.contains("terminated") || state.contains("CrashLoop") {
            Ok(())
        } else {
            Err(state)
        }
    });
    let garbage = c.dir().join("garbage.tar");
    std::fs::write(&garbage, b"not an archive").expect("a file");
    let refused = c.barepod(&["images", "import", garbage.to_str().expect("UTF-8")]);
    assert!(
        refused.code != 0 && refused.stderr.contains("garbage.tar"),
        "{refused:?}"
    );
    std::fs::remove_file(&garbage).expect("removed");
}

#[test]
fn a_second_agent_and_a_busy_port_are_told() {
    let c = start("second");
    let second = c.barepod(&["agent"]);
    assert!(
        second.code != 0 && second.stderr.contains("another agent"),
        "{second:?}"
    );
    let other = Cluster::with(
        "busy",
        Options {
            down: true,
            ..Options::default()
        },
    );
    let mut squatter = other
        .command("sh")
        .args(["-c", "echo $$; exec nc -l -p 6443"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("nc runs");
    let mut pid = String::new();
    BufReader::new(squatter.stdout.take().expect("piped"))
        .read_line(&mut pid)
        .expect("the shell says its process id");
    eventually("the port is taken", || {
        let text = other.run("ss", &["-ltn"]).stdout;
        if text.contains(":6443") { Ok(()) } else { Err(text) }
    });
    let up = other.barepod(&["up"]);
    assert!(up.code != 0 && up.stderr.contains("6443"), "{up:?}");
    other.kill("-KILL", pid.trim());
    squatter.wait().expect("it ends");
    other.up(&[]);
}
