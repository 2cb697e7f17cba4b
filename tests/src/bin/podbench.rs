//! Pods, measured beside their peers in one run: `podbench --kubeconfig FILE --image NAME [--runs N] [--deployment N]
//! [--idle-ms N] [--cgroup PARENT]`. Creates pods through the API and sees them become ready through a watch; then a whole Deployment;
//! then the same program as a container of podman and containerd, which must know the image.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
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
    let usage =
        "usage: podbench --kubeconfig FILE --image NAME [--runs N] [--deployment N] [--idle-ms N] [--cgroup PARENT]";
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
    for peer in &PEERS {
        peer.measure(image, options.get("cgroup").unwrap_or(&"/podbench"), runs.min(20));
    }
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

/// A peer's shortest way to a running container and back.
struct Peer {
    name: &'static str,
    /// Makes a container; `NAME`, `IMAGE` and `CGROUP` (a parent) stand for themselves. podman has runc, because its crun
    /// does without hybrid cgroups.
    start: &'static str,
    /// Removes it.
    remove: &'static str,
}

const PEERS: [Peer; 3] = [
    Peer {
        name: "podman: container",
        start: "podman --runtime runc run -d --cgroup-parent CGROUP --name NAME --memory 32m --cpus 0.1 IMAGE /bin/sleep 3600",
        remove: "podman rm -f -t 0 NAME",
    },
    Peer {
        name: "podman: pod of one container",
        start: "podman --runtime runc run -d --pod new:NAME --memory 32m --cpus 0.1 IMAGE /bin/sleep 3600",
        remove: "podman pod rm -f -t 0 NAME",
    },
    Peer {
        name: "containerd: ctr, one container",
        start: "ctr run -d --cni --cgroup CGROUP/NAME --memory-limit 33554432 --cpus 0.1 IMAGE NAME /bin/sleep 3600",
        remove: "sh -c 'ctr task rm -f NAME >/dev/null && ctr container rm NAME'",
    },
];

impl Peer {
    /// Prints what it takes, or why it cannot be told.
    fn measure(&self, image: &str, cgroup: &str, runs: u64) {
        let (mut start, mut remove) = (Samples::default(), Samples::default());
        for i in 0..runs {
            let name = format!("podbench-{i}");
            for (line, samples) in [(self.start, &mut start), (self.remove, &mut remove)] {
                let words = barepod_tests::words(
                    &line
                        .replace("NAME", &name)
                        .replace("IMAGE", image)
                        .replace("CGROUP", cgroup),
                );
                let begin = Instant::now();
                let ran = Command::new(&words[0]).args(&words[1..]).output();
                match ran {
                    Ok(ran) if ran.status.success() => samples.add(begin.elapsed()),
                    Ok(ran) => {
                        let told = String::from_utf8_lossy(&ran.stderr);
                        println!(
                            "{}: not measured: {}",
                            self.name,
                            told.lines().last().unwrap_or_default()
                        );
                        return;
                    }
                    Err(error) => return println!("{}: not measured: {}: {error}", self.name, words[0]),
                }
            }
        }
        println!("{}", start.line(&format!("{}: run", self.name)));
        println!("{}", remove.line(&format!("{}: remove", self.name)));
    }
}
