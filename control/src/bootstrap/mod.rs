//! What every cluster has from the start.

mod flow;
mod roles;

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, bail};
use barepod_kinds::conditions;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::config::{FrontProxy, Pki};
use crate::engine::Engine;
use crate::internal::call;

/// What the bootstrap needs to know.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// The addresses of Services.
    pub service_cidr: (Ipv4Addr, u8),
    /// The address of the `kubernetes` Service.
    pub service_address: Ipv4Addr,
    /// The address of the API server.
    pub advertise: Ipv4Addr,
    /// The port of the API server.
    pub port: u16,
}

/// Makes what is missing and corrects the address of the API server.
pub async fn bootstrap(engine: &Engine, plan: &Bootstrap) -> anyhow::Result<()> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        ensure(engine, "/api/v1/namespaces", namespace, false).await?;
    }
    futures_util::try_join!(roles::ensure(engine), flow::ensure(engine))?;
    for (name, value, description) in [
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
    ] {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "description": description,
        });
        ensure(engine, "/apis/scheduling.k8s.io/v1/priorityclasses", class, false).await?;
    }
    service_addresses(engine, plan).await?;
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "type": "ClusterIP", "clusterIP": plan.service_address.to_string(),
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": plan.port}],
        },
    });
    ensure(engine, "/api/v1/namespaces/default/services", service, false).await?;
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": [{"ip": plan.advertise.to_string()}],
            "ports": [{"name": "https", "port": plan.port, "protocol": "TCP"}],
        }],
    });
    ensure(engine, "/api/v1/namespaces/default/endpoints", endpoints, true).await?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [plan.advertise.to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": plan.port, "protocol": "TCP"}],
    });
    ensure(
        engine,
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        slice,
        true,
    )
    .await
}

/// Shows where Services get their addresses from.
async fn service_addresses(engine: &Engine, plan: &Bootstrap) -> anyhow::Result<()> {
    let collection = "/apis/networking.k8s.io/v1/servicecidrs";
    let (address, length) = plan.service_cidr;
    let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
    let network = Ipv4Addr::from_bits(address.to_bits() & mask);
    let range = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [format!("{network}/{length}")]},
    });
    ensure(engine, collection, range, false).await?;
    let path = format!("{collection}/kubernetes");
    let (_, present) = call(engine, "GET", &path, "", None).await?;
    if conditions::is_true(&present, "Ready") {
        return Ok(());
    }
    let mut status = json!({"status": {}});
    let message = "Kubernetes default Service CIDR is ready";
    conditions::set(&mut status, "Ready", "True", "", message, Timestamp::now());
    let patch = "application/merge-patch+json";
    let (code, answer) = call(engine, "PATCH", &format!("{path}/status"), patch, Some(&status)).await?;
    if code != 200 {
        bail!("say that {path} is ready: {}", answer["message"]);
    }
    Ok(())
}

/// Publishes by which certificates aggregated API servers know clients, and this server speaking for them.
pub async fn publish_authorities(engine: &Engine, pki: &Pki) -> anyhow::Result<()> {
    let read = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
    let mut data = json!({"client-ca-file": read(&pki.ca)?});
    if let Some(front_proxy) = &pki.front_proxy {
        data["requestheader-client-ca-file"] = read(&front_proxy.ca)?.into();
        let lists = [
            ("allowed-names", FrontProxy::NAME),
            ("username-headers", "X-Remote-User"),
            ("uid-headers", "X-Remote-Uid"),
            ("group-headers", "X-Remote-Group"),
            ("extra-headers-prefix", "X-Remote-Extra-"),
        ];
        for (key, value) in lists {
            data[format!("requestheader-{key}")] = json!([value]).to_string().into();
        }
    }
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": data,
    });
    ensure(engine, "/api/v1/namespaces/kube-system/configmaps", map, true).await
}

/// What is to be done about a default that is there.
enum Next {
    Keep,
    /// This is to be there.
    Write(Value),
    /// It has to be made anew.
    Replace,
}

/// Makes a default if it is absent, and mends it otherwise.
async fn mend(
    engine: &Engine,
    collection: &str,
    wanted: &Value,
    present: &(dyn Fn() -> Option<Value> + Sync),
    next: &(dyn Fn(&Value) -> Next + Sync),
) -> anyhow::Result<()> {
    let path = format!("{collection}/{}", wanted["metadata"]["name"].as_str().unwrap_or(""));
    let media = "application/json";
    // Somebody else may write at the same time: another replica, an administrator.
    for _ in 0..3 {
        let (code, answer) = match present().map(|present| next(&present)) {
            Some(Next::Keep) => return Ok(()),
            Some(Next::Write(next)) => call(engine, "PUT", &path, media, Some(&next)).await?,
            Some(Next::Replace) => match call(engine, "DELETE", &path, "", None).await? {
                (200 | 404, _) => call(engine, "POST", collection, media, Some(wanted)).await?,
                refused => refused,
            },
            None => call(engine, "POST", collection, media, Some(wanted)).await?,
        };
        match code {
            200 | 201 => return Ok(()),
            409 => {}
            _ => bail!("write {path}: {}", answer["message"]),
        }
    }
    bail!("write {path}: it is changed all the time")
}

/// Creates the object if it is absent; replaces the differing parts of a present one if `correct` says so.
async fn ensure(engine: &Engine, collection: &str, object: Value, correct: bool) -> anyhow::Result<()> {
    let name = object["metadata"]["name"].as_str().unwrap_or("").to_owned();
    let path = format!("{collection}/{name}");
    let (code, present) = call(engine, "GET", &path, "", None).await?;
    match code {
        404 => {
            let (code, status) = call(engine, "POST", collection, "application/json", Some(&object)).await?;
            // Another replica may have been faster.
            if !matches!(code, 201 | 409) {
                bail!("create {path}: {}", status["message"]);
            }
        }
        200 if correct && differs(&object, &present) => {
            let patch = "application/merge-patch+json";
            let (code, status) = call(engine, "PATCH", &path, patch, Some(&object)).await?;
            if code != 200 {
                bail!("correct {path}: {}", status["message"]);
            }
        }
        200 => {}
        _ => bail!("read {path}: {}", present["message"]),
    }
    Ok(())
}

/// Whether something that is wanted is not so.
fn differs(wanted: &Value, present: &Value) -> bool {
    match (wanted, present) {
        (Value::Object(wanted), Value::Object(present)) => wanted
            .iter()
            .any(|(key, value)| present.get(key).is_none_or(|present| differs(value, present))),
        (Value::Array(wanted), Value::Array(present)) => {
            wanted.len() != present.len() || wanted.iter().zip(present).any(|(a, b)| differs(a, b))
        }
        (wanted, present) => wanted != present,
    }
}
