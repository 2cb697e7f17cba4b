//! Prints how long the hot paths take, in medians: `cargo run --release --example measure`.

use std::hint::black_box;
use std::time::Instant;

use barepod_schema::fields::{ApplyOptions, UpdateOptions, apply, update};
use barepod_schema::openapi::Documents;
use barepod_schema::{body, check, type_of};
use serde_json::{Value, json};

fn measure<T>(name: &str, mut run: impl FnMut() -> T) {
    let mut micros: Vec<f64> = (0..300)
        .map(|_| {
            let start = Instant::now();
            black_box(run());
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    micros.sort_by(f64::total_cmp);
    println!("{name:44} {:10.1} µs (p99 {:.1})", micros[150], micros[297]);
}

/// A pod as the API server keeps it, with the books of its four usual writers.
fn pod() -> Value {
    let text = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-5d9f8c7b6-abcde","namespace":"default","uid":"u","labels":{"app":"web",
        "pod-template-hash":"5d9f8c7b6"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-5d9f8c7b6","uid":"r",
        "controller":true,"blockOwnerDeletion":true}]},"spec":{"containers":[{"name":"web","image":"nginx:1","ports":[{"containerPort":80,
        "protocol":"TCP"}],"env":[{"name":"A","value":"1"},{"name":"B","value":"2"}],"resources":{"limits":{"cpu":"500m","memory":"128Mi"},
        "requests":{"cpu":"100m","memory":"64Mi"}},"volumeMounts":[{"name":"cfg","mountPath":"/etc/nginx"},{"name":"token","mountPath":
        "/var/run/secrets/kubernetes.io/serviceaccount","readOnly":true}],"livenessProbe":{"httpGet":{"path":"/","port":80,"scheme":"HTTP"},
        "timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"terminationMessagePath":"/dev/termination-log",
        "terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"},{"name":"sidecar","image":"busybox:1","command":["sh","-c","sleep 1"],
        "resources":{"requests":{"cpu":"10m"}},"imagePullPolicy":"IfNotPresent"}],"volumes":[{"name":"cfg","configMap":{"name":"web",
        "defaultMode":420}},{"name":"token","projected":{"defaultMode":420,"sources":[{"serviceAccountToken":{"path":"token",
        "expirationSeconds":3607}}]}}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst",
        "serviceAccountName":"default","securityContext":{},"schedulerName":"default-scheduler","nodeName":"n1","tolerations":[{"key":
        "node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,
        "enableServiceLinks":true},"status":{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"True",
        "lastTransitionTime":"2024-01-01T00:00:00Z"}]}}"#;
    serde_json::from_str(text).expect("the pod is JSON")
}

fn main() {
    let start = Instant::now();
    let ty = type_of("", "v1", "Pod");
    println!(
        "{:44} {:10.1} µs",
        "table, first use",
        start.elapsed().as_secs_f64() * 1e6
    );
    let create = UpdateOptions {
        manager: "kube-controller-manager",
        api_version: "v1",
        subresource: "",
        now: "2024-01-01T00:00:00Z",
        reset_fields: &["status"],
    };
    let status = UpdateOptions {
        manager: "kubelet",
        subresource: "status",
        reset_fields: &["spec"],
        ..create
    };
    let mut created = pod();
    update(ty, None, &mut created, &create);
    let mut running = created.clone();
    running["status"] = json!({"phase": "Running", "podIP": "10.0.0.1", "startTime": "2024-01-01T00:00:01Z", "conditions": [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z"},
        {"type": "Ready", "status": "True", "lastTransitionTime": "2024-01-01T00:00:01Z"}]});
    let text = running.to_string();
    measure("parse a pod (serde_json)", || serde_json::from_str::<Value>(&text));
    measure("decode a pod, duplicates noted", || {
        body::decode("application/json", text.as_bytes())
    });
    measure("clone a pod", || running.clone());
    measure("clone + check", || {
        let mut pod = running.clone();
        check::check(ty.expect("pods are in the table"), &mut pod).map(|_| pod)
    });
    measure("clone + update (create)", || {
        let mut pod = pod_of(&created);
        update(ty, None, &mut pod, &create);
        pod
    });
    measure("clone + update (status)", || {
        let mut pod = running.clone();
        update(ty, Some(&created), &mut pod, &status);
        pod
    });
    measure("clone + update (no change)", || {
        let mut pod = created.clone();
        update(ty, Some(&created), &mut pod, &status);
        pod
    });
    let mut config = pod();
    config.as_object_mut().expect("a pod is an object").remove("status");
    let options = ApplyOptions {
        manager: "kubectl",
        force: true,
        api_version: "v1",
        subresource: "",
        now: "2024-01-01T00:00:00Z",
        reset_fields: &["status"],
    };
    let applied = apply(ty, None, &config, &options).expect("nothing conflicts");
    measure("server-side apply, no change", || {
        apply(ty, Some(&applied), &config, &options)
    });
    let documents = Documents::new(&|_| true);
    let start = Instant::now();
    let size = documents.v3("api/v1").map_or(0, |document| document.gzip.len());
    println!(
        "{:44} {:10.1} µs, {size} bytes",
        "OpenAPI v3 of api/v1",
        start.elapsed().as_secs_f64() * 1e6
    );
}

fn pod_of(created: &Value) -> Value {
    let mut pod = created.clone();
    pod["metadata"]
        .as_object_mut()
        .expect("a pod has metadata")
        .remove("managedFields");
    pod
}
