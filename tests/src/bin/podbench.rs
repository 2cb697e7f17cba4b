//! Pods, measured beside their peers in one run: `podbench --kubeconfig FILE --image NAME [--runs N] [--deployment N]
//! [--idle-ms N]`. Creates pods through the API and sees them become ready through a watch; then a whole Deployment;
//! then the same program once as a podman container, where podman is installed and knows the image.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use barepod_tests::api::{Connection, Server, Watch};
use barepod_tests::stats::Samples;
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/podbench/pods";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let options: BTreeMap<&str, &str> = args
        .chunks(2)
        .filter(|c| c.len() == 2)
        .map(|c| (c[0].trim_start_matches("--"), c[1].as_str()))
        .collect();
    let number = |name: &str, default: u64| {
        options
            .get(name)
            .map_or(Ok(default), |v| v.parse())
            .with_context(|| format!("--{name}"))
    };
    let usage = "usage: podbench --kubeconfig FILE --image NAME [--runs N] [--deployment N] [--idle-ms N]";
    let server = Server::from_kubeconfig(
        Path::new(options.get("kubeconfig").context(usage)?),
        options.get("server").copied(),
    )?;
    let image = *options.get("image").context(usage)?;
    let mut api = server.connect()?;
    let _exists = api.json(
        "POST",
        "/api/v1/namespaces",
        Some(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "podbench"}})),
    );
    let runs = number("runs", 50)?;
    one_by_one(
        &server,
        &mut api,
        image,
        runs,
        Duration::from_millis(number("idle-ms", 300)?),
    )?;
    deployment(&server, &mut api, image, number("deployment", 100)?)?;
    podman(image, runs.min(20))?;
    api.json("DELETE", "/api/v1/namespaces/podbench", None)?;
    Ok(())
}

fn spec(image: &str) -> Value {
    json!({
        "terminationGracePeriodSeconds": 5,
        "containers": [{"name": "main", "image": image, "command": ["/bin/sleep", "3600"], "resources": {"limits": {"memory": "32Mi", "cpu": "100m"}, "requests": {"memory": "4Mi", "cpu": "5m"}}}],
    })
}

fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"]
        .as_array()
        .is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// Waits until `stop` has seen enough of the events.
fn follow(watch: &mut Watch, mut stop: impl FnMut(&str, &Value) -> bool) -> Result<()> {
    loop {
        let event = watch.next()?;
        if stop(event["type"].as_str().unwrap_or_default(), &event["object"]) {
            return Ok(());
        }
    }
}

fn one_by_one(server: &Server, api: &mut Connection, image: &str, runs: u64, idle: Duration) -> Result<()> {
    let mut watch = server.connect()?.watch(&format!("{PODS}?watch=true"))?;
    let (mut ready, mut gone) = (Samples::default(), Samples::default());
    for i in 0..runs {
        let name = format!("one-{i}");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec(image)});
        let start = Instant::now();
        api.json("POST", PODS, Some(&pod))?;
        follow(&mut watch, |_, pod| pod["metadata"]["name"] == *name && is_ready(pod))?;
        ready.add(start.elapsed());
        std::thread::sleep(idle);
        let start = Instant::now();
        api.json("DELETE", &format!("{PODS}/{name}"), None)?;
        follow(&mut watch, |kind, pod| {
            kind == "DELETED" && pod["metadata"]["name"] == *name
        })?;
        gone.add(start.elapsed());
        std::thread::sleep(idle);
    }
    println!("{}", ready.line("pod: create -> Ready, seen by a watch"));
    println!("{}", gone.line("pod: delete -> gone, seen by a watch"));
    Ok(())
}

fn deployment(server: &Server, api: &mut Connection, image: &str, replicas: u64) -> Result<()> {
    let path = "/apis/apps/v1/namespaces/podbench/deployments";
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "many"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "many"}},
            "template": {"metadata": {"labels": {"app": "many"}}, "spec": spec(image)},
        },
    });
    let mut watch = server
        .connect()?
        .watch(&format!("{PODS}?watch=true&labelSelector=app%3Dmany"))?;
    let start = Instant::now();
    api.json("POST", path, Some(&object))?;
    let mut names = std::collections::BTreeSet::new();
    follow(&mut watch, |_, pod| {
        if is_ready(pod) {
            names.insert(pod["metadata"]["name"].to_string());
        }
        names.len() as u64 >= replicas
    })?;
    println!(
        "{:<44} {:>9.3} s",
        format!("Deployment of {replicas}: create -> all Ready"),
        start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    api.json("DELETE", &format!("{path}/many"), None)?;
    let mut left = names.len();
    follow(&mut watch, |kind, _| {
        left -= usize::from(kind == "DELETED");
        left == 0
    })?;
    println!(
        "{:<44} {:>9.3} s",
        format!("Deployment of {replicas}: delete -> all gone"),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// podman's shortest way to a running container and back, as one command each.
fn podman(image: &str, runs: u64) -> Result<()> {
    let knows = Command::new("podman")
        .args(["image", "exists", image])
        .stderr(Stdio::null())
        .status();
    if !knows.is_ok_and(|s| s.success()) {
        println!("podman: not installed, or it does not have {image} (podman load)");
        return Ok(());
    }
    let (mut ready, mut gone) = (Samples::default(), Samples::default());
    for i in 0..runs {
        let name = format!("podbench-{i}");
        let quiet = |args: &[&str]| -> Result<()> {
            let status = Command::new("podman")
                .args(args)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()?;
            anyhow::ensure!(status.success(), "podman {args:?}: {status}");
            Ok(())
        };
        let start = Instant::now();
        quiet(&[
            "run",
            "-d",
            "--name",
            &name,
            "--memory",
            "32m",
            image,
            "/bin/sleep",
            "3600",
        ])?;
        ready.add(start.elapsed());
        let start = Instant::now();
        quiet(&["rm", "-f", "-t", "0", &name])?;
        gone.add(start.elapsed());
    }
    println!("{}", ready.line("podman run -d"));
    println!("{}", gone.line("podman rm -f"));
    Ok(())
}
