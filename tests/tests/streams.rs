//! logs, exec, attach, cp, port-forward through kubectl.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use barepod_tests::{Cluster, eventually, within};

static CLUSTER: LazyLock<&Cluster> = LazyLock::new(|| {
    Cluster::shared("streams", |cluster| {
        cluster.import("tools.oci", None);
        cluster.import("nginx-1.oci.tar", Some("nginx:1"));
    })
});

fn pod(name: &str, script: &str, extra: &str) -> &'static Cluster {
    let c = *CLUSTER;
    c.apply(
        "default",
        &format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: main, image: 'tools:1', command: [sh, -c, {}] {extra}}}]}}}}",
            serde_json::to_string(script).expect("a string")
        ),
    );
    c.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=60s"]);
    c
}

#[test]
fn logs_in_all_ways() {
    let c = pod(
        "logs",
        "for i in 1 2 3 4 5; do echo line $i; done; echo err >&2; trap 'exit 0' TERM; while :; do sleep 1; done",
        "",
    );
    let lines = |args: &[&str]| c.kubectl(&[&["logs", "logs"], args].concat());
    eventually("all lines are there", || {
        let text = lines(&[]);
        if text.lines().count() == 6 { Ok(()) } else { Err(text) }
    });
    assert_eq!(lines(&["--tail=2"]).lines().count(), 2);
    assert!(
        lines(&["--timestamps"])
            .lines()
            .all(|l| l.starts_with("20") && l.contains('Z'))
    );
    assert_eq!(lines(&["--since=1h"]).lines().count(), 6);
    assert_eq!(lines(&["--limit-bytes=6"]), "line 1");
}

#[test]
fn logs_follow_and_previous() {
    let c = pod(
        "follow",
        "echo started; sleep 1; i=0; while [ $i -lt 20 ]; do echo tick $i; i=$((i+1)); sleep 0.05; done; exit 3",
        "",
    );
    let follow = c
        .command("kubectl")
        .args(["logs", "-f", "follow"])
        .stdout(Stdio::piped())
        .output()
        .expect("kubectl runs");
    let text = String::from_utf8_lossy(&follow.stdout);
    assert!(text.contains("started") && text.contains("tick 19"), "{text}");
    eventually("it was restarted", || {
        let count = c.kubectl(&[
            "get",
            "pod",
            "follow",
            "-o",
            "jsonpath={.status.containerStatuses[0].restartCount}",
        ]);
        if count.parse::<u32>().unwrap_or(0) >= 1 {
            Ok(())
        } else {
            Err(count)
        }
    });
    assert!(c.kubectl(&["logs", "--previous", "follow"]).contains("tick 19"));
    let last = c.kubectl(&[
        "get",
        "pod",
        "follow",
        "-o",
        "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}",
    ]);
    assert_eq!(last, "3");
}

#[test]
fn exec_carries_output_input_and_exit_code() {
    let c = pod("exec", "sleep 1000", "");
    let ran = c.try_kubectl(&["exec", "exec", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((ran.code, ran.stdout.trim()), (7, "out"), "{ran:?}");
    assert!(ran.stderr.contains("err"), "{ran:?}");
    let echoed = c.kubectl_with(&["exec", "-i", "exec", "--", "cat"], "through and back\n");
    assert_eq!(echoed, "through and back\n");
    let big = "0123456789abcdef".repeat(64 * 1024);
    assert_eq!(
        c.kubectl_with(&["exec", "-i", "exec", "--", "cat"], &big).len(),
        big.len()
    );
    let missing = c.try_kubectl(&["exec", "exec", "--", "no-such-program"]);
    assert!(
        missing.code != 0 && missing.stderr.contains("no-such-program"),
        "{missing:?}"
    );
    // script(1) gives kubectl a terminal, so that -t is real.
    let tty = c.run(
        "script",
        &[
            "-qec",
            "kubectl exec -it exec -- sh -c 'test -t 0 && test -t 1 && echo is-a-terminal'",
            "/dev/null",
        ],
    );
    assert!(tty.stdout.contains("is-a-terminal"), "{tty:?}");
}

#[test]
fn attach_feeds_and_follows() {
    let c = pod("attach", "while read -r line; do echo got $line; done", ", stdin: true");
    let mut attach = c
        .command("kubectl")
        .args(["attach", "-i", "attach"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl runs");
    let mut input = attach.stdin.take().expect("piped");
    let mut output = BufReader::new(attach.stdout.take().expect("piped"));
    writeln!(input, "hello").expect("kubectl reads");
    let mut line = String::new();
    while !line.contains("got hello") {
        line.clear();
        assert!(
            output.read_line(&mut line).expect("kubectl answers") > 0,
            "attach ended"
        );
    }
    attach.kill().expect("it runs");
    attach.wait().expect("it ends");
    assert!(c.kubectl(&["logs", "attach"]).contains("got hello"));
}

#[test]
fn cp_both_ways() {
    let c = pod("cp", "sleep 1000", "");
    let dir = c.dir().join("cp");
    std::fs::create_dir_all(&dir).expect("a directory");
    let content: String = (0..20_000).map(|i| format!("{i}\n")).collect();
    std::fs::write(dir.join("in"), &content).expect("a file");
    let (from, back) = (dir.join("in"), dir.join("out"));
    c.kubectl(&["cp", from.to_str().expect("UTF-8"), "cp:/tmp/file"]);
    c.kubectl(&["cp", "cp:/tmp/file", back.to_str().expect("UTF-8")]);
    assert_eq!(std::fs::read_to_string(&back).expect("copied back"), content);
    std::fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn port_forward_reaches_the_pod() {
    let c = *CLUSTER;
    c.kubectl(&["run", "web", "--image=nginx:1"]);
    c.kubectl(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]);
    let mut forward = c
        .command("kubectl")
        .args(["port-forward", "pod/web", "18080:80"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl runs");
    let mut told = String::new();
    // Kept open to the end: kubectl goes on telling what it forwards.
    let mut output = BufReader::new(forward.stdout.take().expect("piped"));
    output.read_line(&mut told).expect("kubectl says when it listens");
    for _ in 0..5 {
        let page = within(Duration::from_secs(10), "nginx answers through the tunnel", || {
            c.run("curl", &["-sf", "--max-time", "3", "http://127.0.0.1:18080/"])
                .ok()
        });
        assert!(page.contains("nginx"), "{page}");
    }
    forward.kill().expect("it runs");
    let mut rest = String::new();
    let _ = forward.stderr.take().map(|mut e| e.read_to_string(&mut rest));
    forward.wait().expect("it ends");
}
