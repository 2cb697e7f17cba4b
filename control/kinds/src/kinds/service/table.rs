//! The row of a Service.

use jiff::Timestamp;
use serde_json::Value;

use crate::labels;
use crate::strategy::Column;
use crate::table::{AGE, NAME, age, name, text as column, wide};
use crate::value::{i64_at, list_at, map_at, str_at, strings, text};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    column("Type", "How the Service is reached"),
    column("Cluster-IP", "Address inside the cluster"),
    column("External-IP", "Addresses outside the cluster"),
    column("Port(s)", "Ports, with node ports and protocols"),
    AGE,
    wide("Selector", "Labels of the pods behind it"),
];

pub(super) fn cells(service: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(service),
        str_at(service, &["spec", "type"]).unwrap_or("").into(),
        str_at(service, &["spec", "clusterIP"]).unwrap_or("<none>").into(),
        external(service).into(),
        ports(service).into(),
        age(service, now),
        labels::cell(map_at(service, &["spec", "selector"])).into(),
    ]
}

fn external(service: &Value) -> String {
    let fixed: Vec<&str> = strings(service, &["spec", "externalIPs"]).collect();
    match str_at(service, &["spec", "type"]).unwrap_or("") {
        "ClusterIP" | "NodePort" => {
            if fixed.is_empty() {
                "<none>".into()
            } else {
                fixed.join(",")
            }
        }
        "LoadBalancer" => {
            let ingress = list_at(service, &["status", "loadBalancer", "ingress"]).iter();
            let given = ingress.map(|i| str_at(i, &["ip"]).or(str_at(i, &["hostname"])).unwrap_or(""));
            let all: Vec<&str> = given.filter(|a| !a.is_empty()).chain(fixed).collect();
            if all.is_empty() {
                "<pending>".into()
            } else {
                all.join(",")
            }
        }
        "ExternalName" => str_at(service, &["spec", "externalName"]).unwrap_or("").into(),
        _ => "<unknown>".into(),
    }
}

fn ports(service: &Value) -> String {
    let all = list_at(service, &["spec", "ports"]);
    if all.is_empty() {
        return "<none>".into();
    }
    let one = |port: &Value| {
        let number = i64_at(port, &["port"]).unwrap_or(0);
        let protocol = text(port, "protocol");
        match i64_at(port, &["nodePort"]).unwrap_or(0) {
            0 => format!("{number}/{protocol}"),
            node_port => format!("{number}:{node_port}/{protocol}"),
        }
    };
    all.iter().map(one).collect::<Vec<_>>().join(",")
}
