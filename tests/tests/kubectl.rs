//! The kubectl verbs that people use every day, against one node.

use std::process::Stdio;
use std::sync::LazyLock;

use barepod_tests::{Cluster, eventually};

/// One node for all tests of this file, each in a namespace of its own; leaks are the business of the other files.
static CLUSTER: LazyLock<&Cluster> = LazyLock::new(|| {
    Cluster::shared("kubectl", |cluster| {
        cluster.import("nginx-1.oci.tar", Some("nginx:1"));
        cluster.import("nginx-2.oci.tar", Some("nginx:2"));
        cluster.import("tools.oci", None);
    })
});

fn namespace(name: &str) -> &'static Cluster {
    CLUSTER.kubectl(&["create", "namespace", name]);
    *CLUSTER
}

fn available(cluster: &Cluster, ns: &str, deployment: &str) {
    cluster.kubectl(&[
        "rollout",
        "status",
        "-n",
        ns,
        &format!("deployment/{deployment}"),
        "--timeout=60s",
    ]);
}

#[test]
fn create_deployment_expose_scale_and_undo() {
    let c = namespace("deploy");
    let n = "deploy";
    c.kubectl(&[
        "create",
        "deployment",
        "web",
        "-n",
        n,
        "--image=nginx:1",
        "--replicas=2",
        "--port=80",
    ]);
    available(c, n, "web");
    c.kubectl(&["expose", "deployment", "web", "-n", n, "--port=80"]);
    let ip = c.kubectl(&["get", "service", "web", "-n", n, "-o", "jsonpath={.spec.clusterIP}"]);
    eventually("nginx answers through its Service", || {
        c.run("curl", &["-sf", "--max-time", "2", &format!("http://{ip}/")])
            .ok()
    });
    c.kubectl(&["scale", "deployment", "web", "-n", n, "--replicas=3"]);
    available(c, n, "web");
    assert_eq!(
        c.kubectl(&[
            "get",
            "deployment",
            "web",
            "-n",
            n,
            "-o",
            "jsonpath={.status.readyReplicas}"
        ]),
        "3"
    );
    c.kubectl(&["set", "image", "deployment/web", "-n", n, "nginx=nginx:2"]);
    available(c, n, "web");
    let image = |c: &Cluster| {
        c.kubectl(&[
            "get",
            "pods",
            "-n",
            n,
            "-l",
            "app=web",
            "-o",
            "jsonpath={.items[*].spec.containers[0].image}",
        ])
    };
    eventually("only new pods are left", || {
        let images = image(c);
        if images == "nginx:2 nginx:2 nginx:2" {
            Ok(())
        } else {
            Err(images)
        }
    });
    let history = c.kubectl(&["rollout", "history", "-n", n, "deployment/web"]);
    assert!(
        history.lines().any(|l| l.starts_with('1')) && history.lines().any(|l| l.starts_with('2')),
        "{history}"
    );
    c.kubectl(&["rollout", "undo", "-n", n, "deployment/web"]);
    available(c, n, "web");
    eventually("the first revision is back", || {
        let images = image(c);
        if images == "nginx:1 nginx:1 nginx:1" {
            Ok(())
        } else {
            Err(images)
        }
    });
    c.kubectl(&["delete", "deployment", "web", "-n", n]);
    c.kubectl(&["wait", "--for=delete", "pod", "-l", "app=web", "-n", n, "--timeout=60s"]);
}

#[test]
fn run_get_describe_label_annotate_delete() {
    let c = namespace("run");
    let n = "run";
    c.kubectl(&[
        "run",
        "box",
        "-n",
        n,
        "--image=tools:1",
        "--command",
        "--",
        "sleep",
        "1000",
    ]);
    c.kubectl(&["wait", "--for=condition=Ready", "pod/box", "-n", n, "--timeout=60s"]);
    let wide = c.kubectl(&["get", "pods", "-n", n, "-o", "wide"]);
    assert!(
        wide.contains("NOMINATED NODE") && wide.contains("node-1") && wide.contains("10.244."),
        "{wide}"
    );
    assert!(
        c.kubectl(&["get", "pod", "box", "-n", n, "-o", "yaml"])
            .contains("containerStatuses:")
    );
    let custom = c.kubectl(&[
        "get",
        "pods",
        "-n",
        n,
        "-o",
        "custom-columns=N:.metadata.name,P:.status.phase",
        "--no-headers",
    ]);
    assert_eq!(custom.split_whitespace().collect::<Vec<_>>(), ["box", "Running"]);
    c.kubectl(&["label", "pod", "box", "-n", n, "tier=front"]);
    assert!(
        c.kubectl(&["get", "pods", "-n", n, "-l", "tier in (front,back)", "-o", "name"])
            .contains("pod/box")
    );
    assert_eq!(
        c.kubectl(&["get", "pods", "-n", n, "-l", "tier!=front", "-o", "name"]),
        ""
    );
    c.kubectl(&["annotate", "pod", "box", "-n", n, "note=hello"]);
    assert_eq!(
        c.kubectl(&[
            "get",
            "pod",
            "box",
            "-n",
            n,
            "-o",
            "jsonpath={.metadata.annotations.note}"
        ]),
        "hello"
    );
    assert_eq!(
        c.kubectl(&[
            "get",
            "pods",
            "-n",
            n,
            "--field-selector=status.phase=Running",
            "-o",
            "name"
        ])
        .trim(),
        "pod/box"
    );
    eventually("events reach describe", || {
        let text = c.kubectl(&["describe", "pod", "box", "-n", n]);
        if text.contains("Started") && text.contains("Scheduled") {
            Ok(())
        } else {
            Err(text)
        }
    });
    assert!(c.kubectl(&["describe", "node", "node-1"]).contains("Allocatable:"));
    c.kubectl(&["delete", "pod", "box", "-n", n, "--grace-period=1"]);
    assert!(
        c.try_kubectl(&["get", "pod", "box", "-n", n])
            .stderr
            .contains("pods \"box\" not found")
    );
}

const CONFIG: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: conf, labels: {a: '1', b: '2'}}
data: {x: one, why: two}
";

#[test]
fn apply_diff_edit() {
    let c = namespace("apply");
    let n = "apply";
    assert!(c.apply(n, CONFIG).contains("created"));
    assert!(c.apply(n, CONFIG).contains("unchanged"));
    let less = CONFIG.replace(", why: two", "").replace(", b: '2'", "");
    let diff = c.try_kubectl_with(&["diff", "-n", n, "-f", "-"], &less);
    assert_eq!(diff.code, 1, "{diff:?}");
    assert!(diff.stdout.contains("-  why: two"), "{diff:?}");
    assert!(c.apply(n, &less).contains("configured"));
    let object = c.get(n, &["configmap", "conf"]);
    assert_eq!(object["data"], serde_json::json!({"x": "one"}));
    assert_eq!(object["metadata"]["labels"], serde_json::json!({"a": "1"}));
    assert_eq!(c.try_kubectl_with(&["diff", "-n", n, "-f", "-"], &less).code, 0);
    let edited = c
        .command("kubectl")
        .args(["edit", "configmap", "conf", "-n", n])
        .env("KUBE_EDITOR", "sed -i s/one/edited/")
        .output()
        .expect("kubectl runs");
    assert!(edited.status.success(), "{edited:?}");
    assert_eq!(
        c.kubectl(&["get", "configmap", "conf", "-n", n, "-o", "jsonpath={.data.x}"]),
        "edited"
    );
    for (kind, patch) in [
        ("json", r#"[{"op":"replace","path":"/data/x","value":"json"}]"#),
        ("merge", r#"{"data":{"x":"merge"}}"#),
        ("strategic", r#"{"data":{"x":"strategic"}}"#),
    ] {
        c.kubectl(&["patch", "configmap", "conf", "-n", n, "--type", kind, "-p", patch]);
        assert_eq!(
            c.kubectl(&["get", "configmap", "conf", "-n", n, "-o", "jsonpath={.data.x}"]),
            kind
        );
    }
    let dry = c.kubectl(&["delete", "configmap", "conf", "-n", n, "--dry-run=server"]);
    assert!(dry.contains("server dry run"), "{dry}");
    c.kubectl(&["get", "configmap", "conf", "-n", n]);
}

#[test]
fn server_side_apply_knows_owners() {
    let c = namespace("ssa");
    let n = "ssa";
    let apply = |manager: &str, text: &str, more: &[&str]| {
        c.try_kubectl_with(
            &[
                &["apply", "--server-side", "--field-manager", manager, "-n", n, "-f", "-"],
                more,
            ]
            .concat(),
            text,
        )
    };
    assert_eq!(apply("one", CONFIG, &[]).code, 0);
    let other = CONFIG
        .replace("one", "changed")
        .replace(", why: two", "")
        .replace(", b: '2'", "");
    let conflict = apply("two", &other, &[]);
    assert!(
        conflict.code != 0 && conflict.stderr.contains("conflict with \"one\"") && conflict.stderr.contains(".data.x"),
        "{conflict:?}"
    );
    assert_eq!(apply("two", &other, &["--force-conflicts"]).code, 0);
    let object = c.get(n, &["configmap", "conf"]);
    assert_eq!(object["data"], serde_json::json!({"x": "changed", "why": "two"}));
    // What its only owner no longer applies goes away.
    assert_eq!(apply("one", &other.replace("x: changed", "z: three"), &[]).code, 0);
    assert_eq!(
        c.get(n, &["configmap", "conf"])["data"],
        serde_json::json!({"x": "changed", "z": "three"})
    );
}

#[test]
fn get_watch_shows_changes() {
    let c = namespace("watch");
    let n = "watch";
    let mut watch = c
        .command("kubectl")
        .args(["get", "configmaps", "-n", n, "-w", "--output-watch-events"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl runs");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().expect("piped")));
    c.kubectl(&["create", "configmap", "seen", "-n", n, "--from-literal=a=b"]);
    let mut wait_for = |word: &str| {
        while !lines
            .next()
            .expect("the watch goes on")
            .expect("text")
            .split_whitespace()
            .collect::<Vec<_>>()
            .starts_with(&[word, "seen"])
        {}
    };
    wait_for("ADDED");
    c.kubectl(&["delete", "configmap", "seen", "-n", n]);
    wait_for("DELETED");
    watch.kill().expect("it runs");
    watch.wait().expect("it ends");
}

#[test]
fn discovery_and_explain() {
    let c = *CLUSTER;
    let resources = c.kubectl(&["api-resources"]);
    for kind in [
        "pods",
        "deployments",
        "replicationcontrollers",
        "endpointslices",
        "leases",
        "priorityclasses",
    ] {
        assert!(
            resources.lines().any(|l| l.starts_with(kind)),
            "{kind} is missing: {resources}"
        );
    }
    let explained = c.kubectl(&["explain", "pod.spec", "--recursive"]);
    for field in [
        "containers",
        "livenessProbe",
        "nodeSelector",
        "terminationGracePeriodSeconds",
    ] {
        assert!(explained.contains(field), "{field} is missing");
    }
    let described = c.kubectl(&["explain", "deployment.spec.replicas"]);
    assert!(
        described.contains("<integer>") && described.contains("DESCRIPTION"),
        "{described}"
    );
    assert!(c.kubectl(&["version"]).contains("Server Version: v1.36"));
    assert!(c.kubectl(&["cluster-info"]).contains("is running at"));
}

#[test]
fn top_says_that_there_are_no_metrics() {
    let top = CLUSTER.try_kubectl(&["top", "pods"]);
    assert!(
        top.code != 0 && top.stderr.contains("Metrics API not available"),
        "{top:?}"
    );
}

#[test]
fn typed_creates_in_protobuf() {
    let c = namespace("proto");
    let n = "proto";
    c.kubectl(&["create", "configmap", "cm", "-n", n, "--from-literal=a=b"]);
    c.kubectl(&[
        "create",
        "secret",
        "generic",
        "s",
        "-n",
        n,
        "--from-literal=password=hunter2",
    ]);
    c.kubectl(&["create", "serviceaccount", "robot", "-n", n]);
    c.kubectl(&["create", "service", "clusterip", "svc", "-n", n, "--tcp=80:8080"]);
    c.kubectl(&["create", "priorityclass", "proto-high", "--value=1000"]);
    assert_eq!(
        c.kubectl(&["get", "secret", "s", "-n", n, "-o", "jsonpath={.data.password}"]),
        "aHVudGVyMg=="
    );
    assert_eq!(
        c.kubectl(&[
            "get",
            "service",
            "svc",
            "-n",
            n,
            "-o",
            "jsonpath={.spec.ports[0].targetPort}"
        ]),
        "8080"
    );
    assert_eq!(c.get(n, &["configmap", "cm"])["data"]["a"], "b");
}

#[test]
fn namespace_deletion_takes_everything_along() {
    let c = namespace("doomed");
    c.kubectl(&[
        "run",
        "box",
        "-n",
        "doomed",
        "--image=tools:1",
        "--command",
        "--",
        "sleep",
        "1000",
    ]);
    c.kubectl(&["create", "configmap", "cm", "-n", "doomed"]);
    c.kubectl(&["delete", "namespace", "doomed", "--timeout=60s"]);
    assert!(
        c.try_kubectl(&["get", "namespace", "doomed"])
            .stderr
            .contains("not found")
    );
}
