//! Shows the addresses of Services as IPAddresses, and lets ServiceCIDRs go when nobody has an address of them any more
//! (KEP-1880). What an address belongs to is decided where Services are written; this follows.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use barepod_kinds::names::{cidr, contains};
use barepod_store::{Event, EventKind, Object};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Condition, Keeper, is_held, is_leaving, place, release, settled, tell};
use crate::engine::{Engine, parse};
use crate::internal::call_as;

const SERVICES: &str = "/services/";
const ADDRESSES: &str = "/networking.k8s.io/ipaddresses/";
const RANGES: &str = "/networking.k8s.io/servicecidrs/";
const API: &str = "/apis/networking.k8s.io/v1";
const MANAGED: &str = "ipallocator.k8s.io";
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const MANAGER: &str = "service-cidr-controller";

/// The keeper. Its keys are those of the store.
pub(super) struct ServiceAddresses;

/// The addresses that a Service has.
fn held(service: &Value) -> impl Iterator<Item = IpAddr> {
    let list = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
    list.filter_map(|address| address.as_str()?.parse().ok())
}

/// Whether a range holds an address.
fn holds(range: &Value, address: IpAddr) -> bool {
    let cidrs = range["spec"]["cidrs"].as_array().into_iter().flatten();
    let mut networks = cidrs.filter_map(|text| cidr(text.as_str()?));
    networks.any(|network| contains(network, address))
}

impl ServiceAddresses {
    /// Makes the IPAddresses of a Service.
    async fn show(&self, engine: &Engine, namespace: &str, name: &str) -> anyhow::Result<()> {
        let Some(service) = engine.stored_one(&format!("{SERVICES}{namespace}/{name}")) else {
            return Ok(());
        };
        for address in held(&parse(&service)) {
            if engine.stored_one(&format!("{ADDRESSES}{address}")).is_some() {
                continue;
            }
            let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
            let labels =
                json!({"ipaddress.kubernetes.io/ip-family": family, "ipaddress.kubernetes.io/managed-by": MANAGED});
            let parent = json!({"resource": "services", "namespace": namespace, "name": name});
            let object = json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
                "metadata": {"name": address.to_string(), "labels": labels}, "spec": {"parentRef": parent},
            });
            let (path, media) = (format!("{API}/ipaddresses"), "application/json");
            let (code, answer) = call_as(engine, MANAGER, "POST", &path, media, Some(&object)).await?;
            settled(code, &answer, "show the address of a Service")?;
        }
        Ok(())
    }

    /// Removes an IPAddress that was made here and whose Service has it no more.
    async fn check(&self, engine: &Engine, stored: &Object) -> anyhow::Result<()> {
        let object = parse(stored);
        let (metadata, parent) = (&object["metadata"], &object["spec"]["parentRef"]);
        if metadata["labels"]["ipaddress.kubernetes.io/managed-by"] != MANAGED {
            return Ok(());
        }
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let (name, namespace) = (text(&metadata["name"]), text(&parent["namespace"]));
        let service = engine.stored_one(&format!("{SERVICES}{namespace}/{}", text(&parent["name"])));
        let has = |service: &Value| held(service).any(|address| address.to_string() == name);
        if service.is_some_and(|service| has(&parse(&service))) {
            return Ok(());
        }
        let (path, media) = (format!("{API}/ipaddresses/{name}"), "application/json");
        let same = json!({"preconditions": {"resourceVersion": metadata["resourceVersion"]}});
        let (code, answer) = call_as(engine, MANAGER, "DELETE", &path, media, Some(&same)).await?;
        settled(code, &answer, "remove the address of a Service")
    }

    /// Holds a range, says that it is ready, and lets it go when it is not needed.
    async fn range(&self, engine: &Engine, stored: &Object) -> anyhow::Result<()> {
        let range = parse(stored);
        let name = range["metadata"]["name"].as_str().unwrap_or("");
        let path = format!("{API}/servicecidrs/{name}");
        if !is_leaving(&range) {
            let own = range["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
            if !own.contains(&FINALIZER.into()) {
                let all: Vec<Value> = own.into_iter().chain([FINALIZER.into()]).collect();
                let version = &range["metadata"]["resourceVersion"];
                let patch = json!({"metadata": {"resourceVersion": version, "finalizers": all}});
                let media = "application/merge-patch+json";
                let (code, answer) = call_as(engine, MANAGER, "PATCH", &path, media, Some(&patch)).await?;
                // What it is now will be told by an event.
                return settled(code, &answer, "hold a range of addresses");
            }
            let is_ready = Condition {
                type_: "Ready",
                status: "True",
                reason: "",
                message: "Kubernetes Service CIDR is ready",
            };
            return match barepod_kinds::conditions::is_true(&range, "Ready") {
                true => Ok(()),
                false => tell(engine, MANAGER, &path, &range, is_ready).await,
            };
        }
        if !is_held(&range, FINALIZER) {
            return Ok(());
        }
        let others = engine
            .stored(RANGES)
            .iter()
            .map(|other| parse(other))
            .collect::<Vec<_>>();
        let stay = |address| others.iter().any(|other| !is_leaving(other) && holds(other, address));
        let shown = engine.stored(ADDRESSES);
        let shown = shown
            .iter()
            .filter_map(|object| object.key()[ADDRESSES.len()..].parse().ok());
        let services = engine.stored(SERVICES);
        let given = services
            .iter()
            .flat_map(|service| held(&parse(service)).collect::<Vec<_>>());
        let needed = shown
            .chain(given)
            .any(|address| holds(&range, address) && !stay(address));
        let stopped = range["status"]["conditions"].as_array().into_iter().flatten();
        let stopped = stopped
            .into_iter()
            .any(|it| it["type"] == "Ready" && it["status"] == "False");
        if needed || !stopped {
            let terminating = Condition {
                type_: "Ready",
                status: "False",
                reason: "Terminating",
                message: "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new \
                          ServiceCIDR",
            };
            // Nobody gets an address of it from then on, and what there is is looked at once more.
            return tell(engine, MANAGER, &path, &range, terminating).await;
        }
        release(engine, MANAGER, &path, &range, FINALIZER).await
    }
}

impl Keeper for ServiceAddresses {
    fn prefixes(&self) -> &'static [&'static str] {
        &[SERVICES, ADDRESSES, RANGES]
    }

    fn keys(&self, engine: &Engine, event: &Event) -> Vec<String> {
        let key = event.object.key();
        let mut keys = vec![key.to_owned()];
        if key.starts_with(ADDRESSES) && event.kind == EventKind::Deleted {
            let parent = &parse(&event.object)["spec"]["parentRef"];
            if let (Some(namespace), Some(name)) = (parent["namespace"].as_str(), parent["name"].as_str()) {
                keys.push(format!("{SERVICES}{namespace}/{name}"));
            }
        }
        if key.starts_with(SERVICES) {
            let before = event.previous.iter().map(|service| parse(service));
            let before = before.flat_map(|service| held(&service).collect::<Vec<_>>());
            keys.extend(before.map(|address| format!("{ADDRESSES}{address}")));
        } else if event.kind == EventKind::Deleted || key.starts_with(RANGES) {
            keys.extend(engine.stored(RANGES).iter().map(|range| range.key().to_owned()));
        }
        keys
    }

    fn first(&self, _: &Engine, object: &Arc<Object>) -> Vec<String> {
        vec![object.key().to_owned()]
    }

    fn keep<'a>(&'a self, engine: &'a Arc<Engine>, key: &'a str) -> BoxFuture<'a, anyhow::Result<Option<Duration>>> {
        Box::pin(async move {
            match (place(SERVICES, key), engine.stored_one(key)) {
                (Some((namespace, name)), _) => self.show(engine, namespace, name).await?,
                (None, Some(stored)) if key.starts_with(ADDRESSES) => self.check(engine, &stored).await?,
                (None, Some(stored)) => self.range(engine, &stored).await?,
                (None, None) => {}
            }
            Ok(None)
        })
    }
}
