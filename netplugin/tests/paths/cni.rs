//! The CNI program, as a runtime runs it.

use crate::world::{Pod, Snapshot, World, sh, tcp};
use serde_json::{Value, json};
use std::io::Write;
use std::net::SocketAddrV4;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

pub const CASES: &[crate::Case] = &[("cni_commands", commands), ("cni_garbage_and_failures", garbage)];

fn config(world: &World) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "pods", "type": "barepod-cni",
        "podCIDR": "10.244.0.0/24", "clusterCIDR": "10.244.0.0/16", "stateDir": world.dir,
        "runtimeConfig": {"portMappings": [{"hostPort": 8000, "containerPort": 8080, "protocol": "tcp"}]},
    })
}

/// Runs one command and returns whether it succeeded, with its answer.
fn cni(command: &str, pod: Option<(&Pod, &str)>, config: &Value) -> (bool, Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_barepod-cni"));
    child
        .env_clear()
        .env("CNI_COMMAND", command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if let Some((pod, id)) = pod {
        let netns = format!("/proc/{}/fd/{}", std::process::id(), pod.netns.as_raw_fd());
        child
            .env("CNI_CONTAINERID", id)
            .env("CNI_NETNS", netns)
            .env("CNI_IFNAME", "net1");
    }
    let mut child = child.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(config.to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    (
        output.status.success(),
        serde_json::from_slice(&output.stdout).unwrap_or_default(),
    )
}

fn commands() {
    let before = Snapshot::take();
    let mut world = World::new();
    world.network = None;
    let mut config = config(&world);
    assert_eq!(
        cni("VERSION", None, &config).1["supportedVersions"],
        json!(["0.4.0", "1.0.0", "1.1.0"])
    );
    assert_eq!(cni("STATUS", None, &config), (true, Value::Null));
    let mut pod = Pod::new("container");
    let (ok, result) = cni("ADD", Some((&pod, "c1")), &config);
    assert!(ok, "{result}");
    assert_eq!(result["cniVersion"], "1.1.0");
    assert_eq!(result["ips"][0]["address"], "10.244.0.2/32");
    assert_eq!(result["interfaces"][2]["name"], "net1");
    assert_eq!(result["interfaces"][2]["mac"], "0a:58:0a:f4:00:02");
    assert_eq!(result["routes"][0]["gw"], "10.244.0.1");
    pod.ip = "10.244.0.2".parse().unwrap();
    pod.serve(8080);
    assert_eq!(tcp(pod.at(8080)).unwrap().name, "container");
    assert_eq!(
        tcp("10.244.0.1:8000".parse::<SocketAddrV4>().unwrap()).unwrap().name,
        "container"
    );
    config["prevResult"] = result;
    let (ok, answer) = cni("CHECK", Some((&pod, "c1")), &config);
    assert!(ok, "{answer}");
    pod.run(|| sh("ip route del default"));
    assert_eq!(cni("CHECK", Some((&pod, "c1")), &config).1["code"], 100);
    pod.run(|| sh("ip addr flush dev net1"));
    assert_eq!(cni("CHECK", Some((&pod, "c1")), &config).1["code"], 100);
    assert!(cni("DEL", Some((&pod, "c1")), &config).0);
    assert_eq!(sh("ip -o link show master barepod0"), "");
    assert!(cni("DEL", Some((&pod, "c1")), &config).0, "a second time");
    assert_eq!(cni("CHECK", Some((&pod, "c1")), &config).1["code"], 3);
    drop(pod);
    world.reset(&before);
}

fn garbage() {
    let mut world = World::new();
    world.network = None;
    let mut config = config(&world);
    config["runtimeConfig"] = json!({});
    let pods = [Pod::new("one"), Pod::new("two")];
    for (pod, id) in pods.iter().zip(["c1", "c2"]) {
        assert!(cni("ADD", Some((pod, id)), &config).0);
    }
    assert_eq!(
        cni("GC", None, &config).1["code"],
        7,
        "without the list of valid attachments"
    );
    config["cni.dev/valid-attachments"] = json!([{"containerID": "c2", "ifname": "net1"}]);
    assert_eq!(cni("GC", None, &config), (true, Value::Null));
    assert_eq!(sh("ip -o link show master barepod0 | wc -l").trim(), "1");
    assert!(cni("CHECK", Some((&pods[1], "c2")), &config).0);
    let (ok, answer) = cni("ADD", None, &config);
    assert_eq!((ok, &answer["code"]), (false, &json!(4)), "{answer}");
    config["podCIDR"] = json!("10.9.0.0/31");
    assert_eq!(cni("STATUS", None, &config).1["code"], 7);
    config["cniVersion"] = json!("0.1.0");
    assert_eq!(cni("STATUS", None, &config).1["code"], 1);
}
