//! Mirrors Endpoints that people write for Services without a selector into EndpointSlices, which is all that node
//! proxies read.

use super::slice_controller::{carry_out, own_slices};
use super::slices::{self, Common, Group, MANAGED_BY};
use crate::api::{Error, Writer};
use crate::context::Context;
use crate::informer::Key;
use crate::objects::{EndpointAddress, EndpointSubset};
use crate::objects::{Endpoints, SERVICE_NAME};
use crate::owner;
use crate::queue::{Again, Queue};
use barepod_client::types::{Endpoint, EndpointConditions, EndpointPort};
use std::net::IpAddr;
use std::sync::Arc;

const NAME: &str = "endpointslicemirroring-controller";
const MARK: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

/// The mirroring controller.
pub(crate) struct Mirror {
    context: Arc<Context>,
    writer: Writer,
    queue: Queue<Key>,
}

impl Mirror {
    pub(crate) fn new(context: &Arc<Context>) -> Arc<Self> {
        let writer = Writer::new(context.client.clone(), NAME);
        let controller = Arc::new(Self {
            context: context.clone(),
            writer,
            queue: Queue::new(context.options.queues.named(NAME)),
        });
        let this = controller.clone();
        context.endpoints.on_change(move |change| {
            if let Some(endpoints) = change.any() {
                this.queue.add(Key::of(&endpoints.metadata));
            }
        });
        let this = controller.clone();
        context.services.on_change(move |change| {
            if let Some(service) = change.any() {
                this.queue.add(Key::of(&service.metadata));
            }
        });
        let this = controller.clone();
        context.endpoint_slices.on_change(move |change| {
            if let Some(slice) = change.any()
                && slice.metadata.label(MANAGED_BY) == Some(MARK)
                && let Some(service) = slice.metadata.label(SERVICE_NAME)
            {
                this.queue.add(Key::new(
                    slice.metadata.namespace.as_deref().unwrap_or_default(),
                    service,
                ));
            }
        });
        controller
    }

    /// Works until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        self.context.services.synced().await;
        self.context.endpoints.synced().await;
        self.context.endpoint_slices.synced().await;
        let this = &self;
        self.queue
            .drive(NAME, 4, |key| async move { this.reconcile(&key).await })
            .await;
    }

    async fn reconcile(&self, key: &Key) -> Result<Again, Error> {
        let existing = own_slices(&self.context, key, MARK);
        let endpoints = self.context.endpoints.get(key).filter(|e| is_mirrored(e));
        let service = self.context.services.get(key);
        let without_selector = service.is_some_and(|service| {
            let spec = &service.spec;
            spec.selector.as_ref().is_none_or(|s| s.is_empty()) && spec.type_.as_deref() != Some("ExternalName")
        });
        let actions = match endpoints.filter(|_| without_selector) {
            Some(endpoints) => slices::plan(&common(key, &endpoints), groups(&endpoints), &existing),
            None => existing.into_iter().map(slices::Action::Delete).collect(),
        };
        carry_out(&self.context, &self.writer, key, actions).await?;
        Ok(None)
    }
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    endpoints.metadata.deletion_timestamp.is_none()
        && endpoints.metadata.label(SKIP) != Some("true")
        && endpoints.metadata.annotation(LEADER).is_none()
}

fn common(key: &Key, endpoints: &Endpoints) -> Common {
    Common {
        namespace: key.namespace().to_owned(),
        service: key.name().to_owned(),
        labels: endpoints.metadata.labels.clone().unwrap_or_default(),
        managed_by: MARK,
        owner: owner::reference(endpoints),
    }
}

fn groups(endpoints: &Endpoints) -> Vec<Group> {
    let subsets = endpoints.subsets.iter().flatten();
    subsets
        .flat_map(|subset| ["IPv4", "IPv6"].into_iter().filter_map(|family| group(subset, family)))
        .collect()
}

fn group(subset: &EndpointSubset, address_type: &'static str) -> Option<Group> {
    let list = |addresses: &Option<Vec<EndpointAddress>>, ready: bool| {
        let of_family = |a: &&EndpointAddress| {
            a.ip.parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_ipv6() == (address_type == "IPv6"))
        };
        addresses
            .iter()
            .flatten()
            .filter(of_family)
            .map(|a| endpoint(a, ready))
            .collect::<Vec<_>>()
    };
    let mut endpoints = list(&subset.addresses, true);
    endpoints.extend(list(&subset.not_ready_addresses, false));
    if endpoints.is_empty() {
        return None;
    }
    let ports = subset.ports.iter().flatten();
    let ports = ports.map(|p| EndpointPort {
        name: Some(p.name.clone().unwrap_or_default()),
        port: Some(p.port),
        protocol: p.protocol.clone().or_else(|| Some("TCP".to_owned())),
        app_protocol: p.app_protocol.clone(),
    });
    Some(Group {
        address_type,
        ports: ports.collect(),
        endpoints,
    })
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            ..EndpointConditions::default()
        }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mirrors_both_families_and_readiness() {
        let endpoints: Endpoints = serde_json::from_value(json!({"subsets": [{
            "addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}],
            "notReadyAddresses": [{"ip": "192.0.2.2"}],
            "ports": [{"port": 443}],
        }]}))
        .unwrap();
        let groups = groups(&endpoints);
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].endpoints.len(), 2);
        assert_eq!(groups[0].endpoints[1].conditions.as_ref().unwrap().ready, Some(false));
        assert_eq!(groups[0].ports[0].protocol.as_deref(), Some("TCP"));
    }

    #[test]
    fn leaves_marked_ones_alone() {
        let skip: Endpoints = serde_json::from_value(json!({"metadata": {"labels": {SKIP: "true"}}})).unwrap();
        assert!(!is_mirrored(&skip));
        assert!(is_mirrored(&Endpoints::default()));
    }
}
