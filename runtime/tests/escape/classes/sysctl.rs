//! Kernel parameters of the machine are out of reach, under whatever name (CVE-2022-0811).

use std::fs;

use serde_json::json;

use crate::bundle::Hostile;
use crate::escaped;

/// Sets a parameter to the value that the machine has, so that nothing changes where it is allowed.
fn set(name: &str, value: &str, namespaces: impl FnOnce(&mut Vec<serde_json::Value>)) -> String {
    let hostile = Hostile::new("sysctl", &["hello"], |document| {
        document["linux"]["sysctl"] = json!({ name: value });
        namespaces(document["linux"]["namespaces"].as_array_mut().unwrap());
    });
    hostile.bundle.said()
}

pub fn attack() {
    let panic = fs::read_to_string("/proc/sys/kernel/panic").unwrap().trim().to_owned();
    let port = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .unwrap()
        .trim()
        .to_owned();
    for name in [
        "kernel.panic",
        "kernel/panic",
        "net.ipv4.../../kernel/panic",
        "net/../kernel/panic",
        "net/ipv4/../../kernel/panic",
        "net.//..kernel.panic",
        "kernel.shm_rmid_forced/../panic",
        "kernel.shm_rmid_forced=1+kernel.panic",
        "fs.mqueue./../../kernel/panic",
        "/proc/sys/kernel/panic",
    ] {
        let said = set(name, &panic, |_| {});
        if said.contains("hello") {
            escaped!("{name} could be set");
        }
    }
    let name = "net.ipv4.ip_unprivileged_port_start";
    let said = set(name, &port, |namespaces| {
        namespaces.retain(|namespace| namespace["type"] != "network")
    });
    if said.contains("hello") {
        escaped!("{name} could be set in the machine's network namespace");
    }
    let said = set(name, &port, |namespaces| {
        namespaces.retain(|namespace| namespace["type"] != "network");
        namespaces.push(json!({ "type": "network", "path": "/proc/self/ns/net" }));
    });
    if said.contains("hello") {
        escaped!("{name} could be set in the machine's network namespace, joined by its path");
    }
    assert!(set(name, "7", |_| {}).contains("hello"), "one of its own can be set");
}
