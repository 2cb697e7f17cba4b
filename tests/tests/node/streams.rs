//! logs, exec, attach, cp, port-forward through kubectl.

use std::time::Duration;

use barepod_tests::{Background, Ran, Space, eventually, kubectl, within, words};

use crate::space;

#[test]
fn logs_in_all_ways() {
    let n = space("logs");
    n.script(
        "logs",
        "for i in 1 2 3 4 5; do echo line $i; done; echo err >&2; exec sleep 1000",
        "",
    );
    n.ready("logs");
    let logs = |more: &str| n.kubectl(&format!("logs logs {more}"));
    eventually("all lines are there", || {
        let text = logs("");
        if text.lines().count() == 6 { Ok(()) } else { Err(text) }
    });
    assert_eq!(logs("--tail=2").lines().count(), 2);
    assert_eq!(logs("--limit-bytes=6"), "line 1");
    assert_eq!(logs("--since=1h").lines().count(), 6);
    let stamped = logs("--timestamps");
    let stamps: Vec<&str> = stamped.lines().filter_map(|l| l.split(' ').next()).collect();
    assert!(
        stamps.iter().all(|s| s.starts_with("20") && s.ends_with('Z')) && stamps.is_sorted(),
        "{stamped}"
    );
    // Whole seconds: all of it, or nothing after the next one.
    assert_eq!(logs("--since-time=2020-01-01T00:00:00Z").lines().count(), 6);
    assert_eq!(logs("--since-time=2099-01-01T00:00:00Z"), "");
    assert!(
        n.kubectl("logs -l app=logs --prefix")
            .contains("[pod/logs/main] line 1")
    );
    // As pages in browsers do: a WebSocket, and the text in base64.
    let mut proxy = n.kubectl_beside("proxy --port=0");
    let told = proxy.line(|line| line.starts_with("Starting to serve on "));
    let address = told.rsplit(' ').next().expect("an address");
    let mut page = n.cluster.client("curl");
    page.args([
        "-sNi",
        "--max-time",
        "3",
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: websocket",
    ])
    .args([
        "-H",
        "Sec-WebSocket-Version: 13",
        "-H",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ])
    .args(["-H", "Sec-WebSocket-Protocol: base64.binary.k8s.io"])
    .arg(format!(
        "http://{address}/api/v1/namespaces/logs/pods/logs/log?limitBytes=6"
    ));
    let seen = Ran::of(&mut page).stdout;
    // "line 1"
    assert!(seen.starts_with("HTTP/1.1 101 ") && seen.contains("bGluZSAx"), "{seen}");
    let absent = n.try_kubectl("logs logs -c other").refused();
    assert!(absent.contains("other"), "{absent}");
    let none = n.try_kubectl("logs logs --previous").refused();
    assert!(none.contains("previous terminated container"), "{none}");
}

#[test]
fn logs_follow_and_previous() {
    let n = space("follow");
    n.script(
        "follow",
        "echo started; until [ -e /tmp/go ]; do sleep 0.05; done; i=0; while [ $i -lt 20 ]; do echo tick $i; i=$((i+1)); sleep 0.02; done; exit 3",
        "",
    );
    n.ready("follow");
    let mut follow = n.kubectl_beside("logs -f follow");
    follow.line(|line| line == "started");
    n.sh("follow", "touch /tmp/go");
    // It comes as it is written, and ends with the container.
    follow.line(|line| line == "tick 19");
    assert_eq!(follow.finish(), (0, Vec::new()));
    let pod = n.until_one("pods/follow", "restarted", |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"] == 1 && barepod_tests::is_ready(pod)
    });
    assert_eq!(
        pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"],
        3
    );
    assert!(n.kubectl("logs --previous follow").contains("tick 19"));
    assert!(!n.kubectl("logs follow").contains("tick 19"));
}

#[test]
fn exec_carries_output_input_and_exit_code() {
    let n = space("exec");
    n.sleeper("exec");
    let ran = n.try_sh("exec", "echo out; echo err >&2; exit 7");
    assert_eq!((ran.code, ran.stdout.trim()), (7, "out"), "{ran:?}");
    assert!(ran.stderr.contains("err"), "{ran:?}");
    assert_eq!(
        n.with("exec -i exec -- cat", "through and back\n"),
        "through and back\n"
    );
    let big = "0123456789abcdef".repeat(64 * 1024);
    assert_eq!(n.with("exec -i exec -- cat", &big), big);
    let missing = n.try_kubectl("exec exec -- no-such-program").refused();
    assert!(missing.contains("no-such-program"), "{missing}");
    // What is started and left behind does not hold the session up.
    assert_eq!(n.sh("exec", "sleep 60 & echo done").trim(), "done");
    // Over SPDY, as before kubectl 1.31.
    let mut over_spdy = n.cluster.client(kubectl());
    over_spdy.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false").args([
        "-n",
        n.name(),
        "-v=8",
        "exec",
        "exec",
        "--",
        "sh",
        "-c",
        "head -c 3000000 /dev/zero; exit 7",
    ]);
    let ran = Ran::of(&mut over_spdy);
    assert_eq!((ran.code, ran.stdout.len()), (7, 3_000_000), "{}", ran.stderr);
    assert!(ran.stderr.contains("X-Stream-Protocol-Version: v"), "{}", ran.stderr);
}

/// kubectl with a terminal of `rows` by `columns`, which becomes another size when the file `resize` appears.
fn with_terminal(n: &Space<'_>, line: &str, resize: &std::path::Path) -> Background {
    let script = format!(
        "stty rows 40 cols 123; (until [ -e {} ]; do sleep 0.05; done; stty rows 50 cols 99 </dev/tty) & {} -n {} {line}",
        resize.display(),
        kubectl().display(),
        n.name(),
    );
    let mut command = n.cluster.client("script");
    command.args(["-qefc", &script, "/dev/null"]);
    Background::start(command)
}

#[test]
fn exec_with_a_terminal_that_changes_its_size() {
    let n = space("terminal");
    n.sleeper("term");
    let resize = n.cluster.dir().join("resize");
    let shell = "test -t 0 && test -t 1 || exit 1; until [ \"$(stty size)\" = '40 123' ]; do sleep 0.05; done 2>/dev/null; echo first $(stty size); while [ \"$(stty size)\" = '40 123' ]; do sleep 0.05; done; echo then $(stty size); read word; echo got $word; exit 5";
    let path = n.cluster.dir().join("shell");
    std::fs::write(&path, shell).expect("a script");
    n.kubectl(&format!("cp {} term:/tmp/shell", path.display()));
    let mut session = with_terminal(&n, "exec -it term -- sh /tmp/shell", &resize);
    session.line(|line| line.contains("first 40 123"));
    std::fs::write(&resize, "").expect("a file");
    session.line(|line| line.contains("then 50 99"));
    session.send("typed");
    session.line(|line| line.contains("got typed"));
    assert_eq!(session.finish().0, 5);
    for file in [resize, path] {
        std::fs::remove_file(file).expect("removed");
    }
}

#[test]
fn attach_feeds_and_follows() {
    let n = space("attach");
    n.script("attach", "while read -r line; do echo got $line; done", ", stdin: true");
    n.ready("attach");
    for _ in 0..2 {
        // One client after the other: the container's input stays open.
        let mut attach = n.kubectl_beside("attach -i attach");
        attach.send("hello");
        attach.line(|line| line.contains("got hello"));
    }
    assert_eq!(n.kubectl("logs attach").matches("got hello").count(), 2);
    let mut run = n.kubectl_beside(
        "run once --image=tools:1 --rm -i --restart=Never --quiet --command -- sh -c 'read word; echo read $word'",
    );
    run.send("something");
    run.line(|line| line.contains("read something"));
    assert_eq!(run.finish().0, 0);
    n.until_gone("pods/once");
}

#[test]
fn cp_both_ways() {
    let n = space("cp");
    n.sleeper("cp");
    let dir = n.cluster.dir().join("cp");
    std::fs::create_dir_all(dir.join("tree/below")).expect("a directory");
    let content: String = (0..200_000).map(|i| format!("{i}\n")).collect();
    std::fs::write(dir.join("in"), &content).expect("a file");
    std::fs::write(dir.join("tree/below/leaf"), "leaf").expect("a file");
    let at = |name: &str| dir.join(name).display().to_string();
    n.kubectl(&format!("cp {} cp:/tmp/file", at("in")));
    n.kubectl(&format!("cp cp:/tmp/file {}", at("out")));
    assert_eq!(std::fs::read_to_string(at("out")).expect("copied back"), content);
    n.kubectl(&format!("cp {} cp:/tmp/tree", at("tree")));
    n.kubectl(&format!("cp cp:/tmp/tree {}", at("back")));
    assert_eq!(
        std::fs::read_to_string(at("back/below/leaf")).expect("copied back"),
        "leaf"
    );
    std::fs::remove_dir_all(&dir).expect("removed");
}

#[test]
fn port_forward_reaches_the_pod() {
    let n = space("forward");
    n.kubectl("create deployment web --image=nginx:1 --port=80");
    n.pods("web", 1);
    n.kubectl("expose deployment web --port=8080 --target-port=80");
    // Without WebSockets it goes over SPDY, as before kubectl 1.31.
    for (what, port, websockets) in [
        ("deployment/web", 80, "true"),
        ("service/web", 8080, "true"),
        ("deployment/web", 80, "false"),
    ] {
        let mut client = n.cluster.client(kubectl());
        client
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets)
            .args(words(&format!("-n forward port-forward {what} :{port}")));
        let mut forward = Background::start(client);
        let told = forward.line(|line| line.starts_with("Forwarding from 127.0.0.1:"));
        let local = told.split([':', ' ']).nth(3).expect("a port").to_owned();
        for _ in 0..5 {
            let page = within(Duration::from_secs(20), "nginx answers through the tunnel", || {
                n.cluster.curl(&format!("http://127.0.0.1:{local}/"))
            });
            assert!(page.contains("nginx"), "{page}");
        }
    }
    // Nobody listens there: the client is told, the tunnel goes on.
    let mut told = n.cluster.client("sh");
    told.args(["-c", "exec \"$@\" 2>&1", "sh"])
        .arg(kubectl())
        .args(words("-n forward port-forward deployment/web :81"));
    let mut forward = Background::start(told);
    let line = forward.line(|line| line.starts_with("Forwarding from 127.0.0.1:"));
    let local = line.split([':', ' ']).nth(3).expect("a port").to_owned();
    let refused =
        Ran::of(
            n.cluster
                .client("curl")
                .args(["-s", "--max-time", "5", &format!("http://127.0.0.1:{local}/")]),
        );
    assert!(refused.code != 0, "{refused:?}");
    forward.line(|line| line.contains("onnection refused"));
}
