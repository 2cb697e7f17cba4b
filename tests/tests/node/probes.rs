//! Each kind of probe, and what its verdict does.

use crate::space;

fn ready_is(wanted: bool) -> impl Fn(&serde_json::Value) -> bool {
    move |pod| pod["status"]["containerStatuses"][0]["ready"] == wanted
}

fn restarts(pod: &serde_json::Value) -> u64 {
    pod["status"]["containerStatuses"][0]["restartCount"]
        .as_u64()
        .unwrap_or(0)
}

/// A pod whose container serves `/tmp/www` on port 8080 once it has been told to, with probes.
fn probed(n: &barepod_tests::Space<'_>, pod: &str, probes: &str) {
    n.script(
        pod,
        "mkdir /tmp/www; touch /tmp/www/healthz; exec sleep 1000",
        &format!(", {probes}"),
    );
}

#[test]
fn exec_probes_hold_back_and_restart() {
    let n = space("probe-exec");
    n.script(
        "probed",
        "touch /tmp/alive; sleep 1000",
        ", startupProbe: {exec: {command: [test, -e, /tmp/started]}, periodSeconds: 1, failureThreshold: 60}\
         , livenessProbe: {exec: {command: [test, -e, /tmp/alive]}, periodSeconds: 1, failureThreshold: 1}\
         , readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}",
    );
    let started =
        |wanted: bool| move |pod: &serde_json::Value| pod["status"]["containerStatuses"][0]["started"] == wanted;
    n.until_one("pods/probed", "runs but has not started", |pod| {
        pod["status"]["phase"] == "Running" && started(false)(pod)
    });
    // Before it has started, neither of the others counts.
    n.sh("probed", "rm /tmp/alive; touch /tmp/ready");
    n.event("probed", "Startup probe failed");
    n.sh("probed", "touch /tmp/alive; touch /tmp/started");
    let pod = n.until_one("pods/probed", "ready", ready_is(true));
    assert!(started(true)(&pod) && restarts(&pod) == 0, "{pod}");
    n.sh("probed", "rm /tmp/ready");
    n.until_one("pods/probed", "not ready", ready_is(false));
    n.sh("probed", "touch /tmp/ready");
    n.until_one("pods/probed", "ready again", ready_is(true));
    n.sh("probed", "rm /tmp/alive");
    n.until_one("pods/probed", "restarted", |pod| restarts(pod) == 1);
    n.event("probed", "failed liveness probe");
}

#[test]
fn http_probes() {
    let n = space("probe-http");
    probed(
        &n,
        "probed",
        "ports: [{name: web, containerPort: 8080}]\
         , readinessProbe: {httpGet: {path: /healthz, port: web}, periodSeconds: 1}\
         , livenessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 1, initialDelaySeconds: 300}",
    );
    let told = n.event("probed", "Readiness probe failed");
    assert!(told.contains("onnection refused"), "{told}");
    n.sh("probed", "httpd -p 8080 -h /tmp/www");
    n.ready("probed");
    // An answer of another kind is a failure too.
    n.sh("probed", "rm /tmp/www/healthz");
    let pod = n.until_one("pods/probed", "not ready", ready_is(false));
    assert_eq!(restarts(&pod), 0);
    let told = n.event("probed", "statuscode: 404");
    assert!(told.contains("Readiness"), "{told}");
}

#[test]
fn tcp_probes() {
    let n = space("probe-tcp");
    probed(
        &n,
        "probed",
        "readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}\
         , livenessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, failureThreshold: 20}",
    );
    n.event("probed", "Readiness probe failed");
    n.sh("probed", "httpd -p 8080 -h /tmp/www");
    n.ready("probed");
    n.sh("probed", "killall httpd");
    n.until_one("pods/probed", "not ready", ready_is(false));
}

#[test]
fn a_failed_liveness_probe_restarts() {
    let n = space("probe-live");
    for (pod, probe) in [
        ("http", "httpGet: {path: /, port: 8080}"),
        ("tcp", "tcpSocket: {port: 8080}"),
    ] {
        probed(
            &n,
            pod,
            &format!("livenessProbe: {{{probe}, periodSeconds: 1, failureThreshold: 1}}"),
        );
    }
    for pod in ["http", "tcp"] {
        n.until_one(&format!("pods/{pod}"), "restarted", |pod| restarts(pod) >= 1);
        n.event(pod, "failed liveness probe");
    }
}
