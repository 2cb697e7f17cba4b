//! Prints what the steps of accepting a typical pod cost, each as a median of many rounds.

use std::hint::black_box;
use std::time::Instant;

use barepod_kinds::{Context, EmptyCluster, Settings, Strategy, strategy, validate_object_meta};
use serde_json::{Value, json};

fn median(name: &str, mut step: impl FnMut()) {
    let mut rounds: Vec<u128> = (0..2001)
        .map(|_| {
            let start = Instant::now();
            step();
            start.elapsed().as_nanos()
        })
        .collect();
    rounds.sort_unstable();
    println!("{name}: {} ns", rounds[rounds.len() / 2]);
}

fn main() {
    let pods: &dyn Strategy = strategy("", "pods");
    let settings = Settings::default();
    let cx = Context {
        now: jiff::Timestamp::UNIX_EPOCH,
        user: "admin",
        groups: &[],
        namespace: "default",
        cluster: &EmptyCluster,
        settings: &settings,
    };
    let raw: Value = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-5d8c7", "namespace": "default", "labels": {"app": "web", "tier": "front"}},
        "spec": {"containers": [
            {"name": "web", "image": "nginx:1.27", "ports": [{"name": "http", "containerPort": 80}],
             "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "A", "value": "b"}],
             "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}},
             "readinessProbe": {"httpGet": {"port": "http"}},
             "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "conf", "mountPath": "/etc/nginx"}]},
            {"name": "side", "image": "busybox:1.36", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data"}, {"name": "conf", "configMap": {"name": "conf"}}]}});
    let mut ready = raw.clone();
    pods.default(&mut ready);
    pods.prepare_create(&cx, &mut ready).expect("a good pod is admitted");
    assert!(pods.validate(&ready, None).is_empty(), "a good pod is valid");
    median("clone", || drop(black_box(raw.clone())));
    median("clone + default + prepare", || {
        let mut pod = raw.clone();
        pods.default(&mut pod);
        let _ = black_box(pods.prepare_create(&cx, &mut pod));
    });
    median("validate", || drop(black_box(pods.validate(black_box(&ready), None))));
    median("validate metadata", || {
        drop(black_box(validate_object_meta(black_box(&ready), pods.name_rule())))
    });
    median("table row", || drop(black_box(pods.cells(black_box(&ready), cx.now))));
}
