//! What does not work says why and what to do, and loses nothing.

use std::process::Stdio;

use barepod_tests::{Background, Cluster, eventually};

use crate::{own_node, space};

#[test]
fn manifests_that_make_no_sense() {
    let n = space("malformed");
    for (text, told) in [
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, dato: {a: b}}",
            "unknown field \"dato\"",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: []}}",
            "spec.containers: Required value",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: Bad_Name}, spec: {containers: [{name: a, image: b}]}}",
            "metadata.name: Invalid value: \"Bad_Name\"",
        ),
        (
            "{apiVersion: v1, kind: Nonsense, metadata: {name: x}}",
            "no matches for kind \"Nonsense\"",
        ),
        (
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {replicas: many, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}}}",
            "replicas",
        ),
        (
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: a, image: b}]}}}}",
            "`selector` does not match template `labels`",
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: 123456}]}}",
            "spec.ports[0].port: Invalid value: 123456",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{name: a, image: b, resources: {limits: {memory: lots}}}]}}",
            "quantities must match",
        ),
        (
            "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{name: a, image: b, volumeMounts: [{name: none, mountPath: /x}]}]}}",
            "volumeMounts[0].name: Not found: \"none\"",
        ),
        ("apiVersion: v1\nkind: Pod\n  metadata: {", "error parsing"),
    ] {
        let refused = n.try_with("create -f -", text).refused();
        assert!(refused.contains(told), "{text}: {refused}");
    }
    assert_eq!(
        n.kubectl("get pods,deployments,services -o name"),
        "",
        "nothing came of them"
    );
    let refused = n.try_kubectl("get pods --field-selector=status.nonsense=x").refused();
    assert!(refused.contains("status.nonsense"), "{refused}");
}

#[test]
fn an_image_that_is_not_there() {
    let n = space("noimage");
    n.kubectl("run absent --image=nobody/has-this:1");
    n.apply("{apiVersion: v1, kind: Pod, metadata: {name: misnamed}, spec: {containers: [{name: main, image: 'upper/CASE'}]}}");
    let told = n.event("absent", "is not present");
    assert!(told.contains("barepod images import"), "{told}");
    assert!(
        n.kubectl("get pod absent").contains("ErrImagePull")
            || n.kubectl("get pod absent").contains("ImagePullBackOff")
    );
    n.until_one("pods/misnamed", "told", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "InvalidImageName"
    });
    // Importing it later is all it takes.
    n.cluster.import("nginx-1.oci.tar", Some("nobody/has-this:1"));
    n.ready("absent");
    n.cluster
        .barepod("images remove nobody/has-this:1")
        .ok()
        .expect("removed");
    let none = n.cluster.barepod("images remove nobody/has-this:1").refused();
    assert!(none.contains("nobody/has-this:1"), "{none}");
}

#[test]
fn an_image_that_is_in_use_stays() {
    let c = own_node("inuse");
    let n = c.default_space();
    n.sleeper("box");
    let refused = c.barepod("images remove tools:1").refused();
    assert!(refused.contains("tools:1 is in use: delete the pods"), "{refused}");
    let pruned = c.barepod("images prune").ok().expect("pruned");
    assert!(!pruned.contains("tools:1"), "{pruned}");
    assert_eq!(n.sh("box", "echo alive").trim(), "alive");
    n.kubectl("delete pod box --grace-period=1");
    let pruned = c.barepod("images prune").ok().expect("pruned");
    assert!(pruned.contains("tools:1"), "{pruned}");
    let listed = c.barepod("images list").ok().expect("listed");
    assert!(!listed.contains("tools:1"), "{listed}");
}

#[test]
fn archives_that_are_none() {
    let c = own_node("archives");
    let before = c.barepod("images list").stdout;
    assert!(before.contains("tools:1"), "{before}");
    let images = barepod_tests::images();
    let whole = std::fs::read(images.join("redis.docker.tar")).expect("an archive");
    let file = c.dir().join("archive.tar");
    for (what, bytes) in [
        ("text", &b"not an archive"[..]),
        ("empty", b""),
        ("cut off", &whole[..whole.len() / 2]),
    ] {
        std::fs::write(&file, bytes).expect("a file");
        let refused = c.barepod(&format!("images import {}", file.display())).refused();
        assert!(refused.contains("archive.tar"), "{what}: {refused}");
    }
    std::fs::remove_file(&file).expect("removed");
    let refused = c.barepod("images import /no/such/file").refused();
    assert!(
        refused.contains("/no/such/file") && refused.contains("No such file"),
        "{refused}"
    );
    assert_eq!(c.barepod("images list").stdout, before);
    let json = c.barepod_json("images list");
    assert_eq!(json[0]["references"][0], "docker.io/library/tools:1");
}

#[test]
fn a_command_that_cannot_be_run() {
    let n = space("nocommand");
    n.kubectl("run wrong --image=tools:1 --restart=Never --command -- /no/such/program");
    let pod = n.until_one("pods/wrong", "told", |pod| {
        !pod["status"]["containerStatuses"][0]["state"]["terminated"].is_null()
    });
    let end = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&end["reason"], &end["exitCode"]), (&"StartError".into(), &127.into()));
    assert!(
        end["message"].as_str().is_some_and(|m| m.contains("/no/such/program")),
        "{end}"
    );
    assert!(n.event("wrong", "Failed").contains("/no/such/program"));
}

#[test]
fn a_second_agent_or_control_service_is_refused() {
    let c = own_node("second");
    for (daemon, name) in [("agent", "agent"), ("control", "control service")] {
        let refused = c.barepod(daemon).refused();
        let pid = c.daemon_pid(daemon);
        assert!(refused.contains(name) && refused.contains(&pid), "{daemon}: {refused}");
    }
    // Not even with directories, a port and a name of its own: it would take the node's pods and network for its own.
    let n = c.default_space();
    n.sleeper("still");
    let before = n.field("pod/still", "{.status.containerStatuses[0].containerID}");
    let (own, other) = (c.dir().join("lib"), c.dir().join("other"));
    for state in [&own, &other] {
        let refused = c.run(&format!(
            "timeout 10 {} --conf-dir {1} --state-dir {2} --run-dir {1} --cgroup-parent {3} agent --agent-listen 127.0.0.1:11250 --node-name other",
            barepod_tests::barepod().display(),
            other.display(),
            state.display(),
            c.cgroup()
        ));
        assert!(
            refused.refused().contains("another agent already"),
            "{}",
            state.display()
        );
    }
    std::fs::remove_dir_all(other).expect("it has made directories");
    assert_eq!(n.sh("still", "echo alive").trim(), "alive");
    assert_eq!(
        n.field("pod/still", "{.status.containerStatuses[0].containerID}"),
        before
    );
}

/// Listens on a port until dropped.
fn squat(c: &Cluster, port: u16) -> Background {
    let mut command = c.client("busybox");
    command
        .args(["nc", "-l", "-p", &port.to_string()])
        .stderr(Stdio::null());
    let squatter = Background::start(command);
    eventually("the port is taken", || {
        let text = c.run("ss -ltn").stdout;
        if text.contains(&format!(":{port}")) {
            Ok(())
        } else {
            Err(text)
        }
    });
    squatter
}

#[test]
fn busy_ports_are_told() {
    for (port, option) in [(6443, "--port"), (10250, "--agent-port")] {
        let c = Cluster::down("busy");
        let squatter = squat(&c, port);
        let checked = c.barepod("check").stdout;
        let told = format!("{port} is taken");
        assert!(
            checked.lines().any(|l| l.contains(&told) && l.contains(option)),
            "{checked}"
        );
        let refused = c.barepod("up").refused();
        assert!(
            refused.contains(&port.to_string()) && refused.contains("choose another"),
            "{refused}"
        );
        // Another port does, and so does this one once it is free.
        let other = c.up(&format!("{option} 16443"));
        assert!(other.contains("export KUBECONFIG"), "{other}");
        c.import("tools.oci", None);
        c.default_space().sleeper("box");
        assert_eq!(c.default_space().sh("box", "echo through").trim(), "through");
        c.reset();
        drop(squatter);
        c.up("");
    }
}
