//! Spreads endpoints over EndpointSlices with as few changes as possible.

use crate::objects::{EndpointSlice, SERVICE_NAME};
use crate::selector::Labels;
use barepod_client::types::{Endpoint, EndpointPort};
use serde_json::{Value, json};
use std::sync::Arc;

/// The most endpoints in one slice.
pub(super) const CAPACITY: usize = 100;
/// The label that names who keeps a slice.
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// Endpoints that are reached on the same ports.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) address_type: &'static str,
    pub(super) ports: Vec<EndpointPort>,
    pub(super) endpoints: Vec<Endpoint>,
}

/// What all slices of one Service have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) labels: Labels,
    pub(super) managed_by: &'static str,
    /// The owner reference.
    pub(super) owner: Value,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Create(Value),
    Update { slice: Arc<EndpointSlice>, patch: Value },
    Delete(Arc<EndpointSlice>),
}

/// Compares the wanted groups with the slices this controller keeps for the Service.
pub(super) fn plan(common: &Common, groups: Vec<Group>, existing: &[Arc<EndpointSlice>]) -> Vec<Action> {
    let mut left: Vec<&Arc<EndpointSlice>> = existing
        .iter()
        .filter(|s| s.metadata.deletion_timestamp.is_none())
        .collect();
    left.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let mut actions = Vec::new();
    for group in groups {
        let (mine, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|slice| fits(slice, &group));
        left = others;
        actions.extend(fill(common, group, &mine));
    }
    actions.extend(left.into_iter().map(|slice| Action::Delete(slice.clone())));
    recycle(actions)
}

/// Turns a deletion and a creation into one update, so that those who watch never see both slices or none.
fn recycle(actions: Vec<Action>) -> Vec<Action> {
    let (mut creations, rest): (Vec<Action>, Vec<Action>) = actions
        .into_iter()
        .partition(|action| matches!(action, Action::Create(_)));
    let mut actions = Vec::with_capacity(rest.len());
    for action in rest {
        let same_type = |creation: &Action, slice: &EndpointSlice| matches!(creation, Action::Create(body) if body["addressType"] == slice.address_type.as_str());
        if let Action::Delete(slice) = &action
            && let Some(index) = creations.iter().position(|creation| same_type(creation, slice))
            && let Action::Create(mut body) = creations.swap_remove(index)
        {
            let patch = json!({
                "metadata": {
                    "resourceVersion": slice.metadata.resource_version,
                    "labels": body["metadata"]["labels"].take(),
                },
                "endpoints": body["endpoints"].take(),
                "ports": body["ports"].take(),
            });
            actions.push(Action::Update {
                slice: slice.clone(),
                patch,
            });
        } else {
            actions.push(action);
        }
    }
    actions.extend(creations);
    actions
}

/// Whether the slice may hold endpoints of the group: neither its address type nor, with care for those who watch, its
/// ports change.
fn fits(slice: &EndpointSlice, group: &Group) -> bool {
    let plain = |p: &EndpointPort| {
        let name = p.name.clone().unwrap_or_default();
        let protocol = p.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        (name, p.port, protocol, p.app_protocol.clone())
    };
    let held = slice.ports.iter().map(plain);
    slice.address_type == group.address_type && held.eq(group.ports.iter().map(plain))
}

fn identity(endpoint: &Endpoint) -> (Option<&str>, &[String]) {
    (
        endpoint.target_ref.as_ref().and_then(|t| t.uid.as_deref()),
        &endpoint.addresses,
    )
}

fn fill(common: &Common, group: Group, mine: &[&Arc<EndpointSlice>]) -> Vec<Action> {
    let Group {
        address_type,
        ports,
        mut endpoints,
    } = group;
    // Each slice keeps what it has and is still wanted, in its order, in the present form.
    let mut contents: Vec<Vec<Endpoint>> = mine
        .iter()
        .map(|slice| {
            let held = slice.endpoints.iter();
            held.filter_map(|old| {
                let at = endpoints.iter().position(|new| identity(new) == identity(old))?;
                Some(endpoints.remove(at))
            })
            .collect()
        })
        .collect();
    // The rest goes where something changes anyhow, then where there is room.
    let changes = |index: usize, content: &[Endpoint]| mine[index].endpoints != content;
    let mut order: Vec<usize> = (0..mine.len()).collect();
    order.sort_by_key(|i| !changes(*i, &contents[*i]));
    let mut rest = endpoints.into_iter();
    for index in order {
        let room = CAPACITY.saturating_sub(contents[index].len());
        contents[index].extend(rest.by_ref().take(room));
    }
    let rest: Vec<Endpoint> = rest.collect();
    let mut actions = Vec::new();
    let mut kept = 0;
    let all_empty = rest.is_empty() && contents.iter().all(Vec::is_empty);
    for (slice, content) in mine.iter().zip(contents) {
        // One empty slice stays, so that clients see that there is no endpoint.
        if content.is_empty() && !(all_empty && kept == 0) {
            actions.push(Action::Delete((*slice).clone()));
            continue;
        }
        kept += 1;
        actions.extend(update(common, slice, content));
    }
    if kept == 0 && rest.is_empty() {
        actions.push(Action::Create(body(common, address_type, &ports, &[])));
    }
    actions.extend(
        rest.chunks(CAPACITY)
            .map(|part| Action::Create(body(common, address_type, &ports, part))),
    );
    actions
}

fn update(common: &Common, slice: &Arc<EndpointSlice>, content: Vec<Endpoint>) -> Option<Action> {
    let mut patch = json!({});
    if slice.endpoints != content {
        patch["endpoints"] = json!(content);
    }
    let lacks: Labels = labels(common)
        .into_iter()
        .filter(|(k, v)| slice.metadata.label(k) != Some(v))
        .collect();
    if !lacks.is_empty() {
        patch["metadata"]["labels"] = json!(lacks);
    }
    if patch.as_object().is_some_and(|p| p.is_empty()) {
        return None;
    }
    patch["metadata"]["resourceVersion"] = json!(slice.metadata.resource_version);
    Some(Action::Update {
        slice: slice.clone(),
        patch,
    })
}

fn labels(common: &Common) -> Labels {
    let mut labels = common.labels.clone();
    labels.insert(SERVICE_NAME.to_owned(), common.service.clone());
    labels.insert(MANAGED_BY.to_owned(), common.managed_by.to_owned());
    labels
}

fn body(common: &Common, address_type: &str, ports: &[EndpointPort], endpoints: &[Endpoint]) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": format!("{}-", common.service),
            "namespace": common.namespace,
            "labels": labels(common),
            "ownerReferences": [common.owner],
        },
        "addressType": address_type,
        "endpoints": endpoints,
        "ports": ports,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common() -> Common {
        Common {
            namespace: "ns".into(),
            service: "web".into(),
            labels: Labels::from([("team".to_owned(), "x".to_owned())]),
            managed_by: "me",
            owner: json!({"kind": "Service", "name": "web", "uid": "s", "apiVersion": "v1"}),
        }
    }

    fn endpoint(n: usize, ready: bool) -> Endpoint {
        serde_json::from_value(json!({
            "addresses": [format!("10.244.{}.{}", n / 250, n % 250)],
            "conditions": {"ready": ready},
            "targetRef": {"kind": "Pod", "uid": n.to_string()},
        }))
        .unwrap()
    }

    fn group(endpoints: Vec<Endpoint>) -> Group {
        let port: EndpointPort = serde_json::from_value(json!({"name": "", "port": 80, "protocol": "TCP"})).unwrap();
        Group {
            address_type: "IPv4",
            ports: vec![port],
            endpoints,
        }
    }

    fn made(actions: &[Action]) -> Vec<Arc<EndpointSlice>> {
        actions
            .iter()
            .enumerate()
            .filter_map(|(i, action)| match action {
                Action::Create(body) => {
                    let mut slice: EndpointSlice = serde_json::from_value(body.clone()).unwrap();
                    slice.metadata.name = Some(format!("web-{i}"));
                    Some(Arc::new(slice))
                }
                _ => None,
            })
            .collect()
    }

    #[test]
    fn makes_one_slice_per_hundred() {
        let wanted = group((0..250).map(|n| endpoint(n, true)).collect());
        let slices = made(&plan(&common(), vec![wanted.clone()], &[]));
        let sizes: Vec<usize> = slices.iter().map(|s| s.endpoints.len()).collect();
        assert_eq!(sizes, [100, 100, 50]);
        assert!(
            plan(&common(), vec![wanted], &slices).is_empty(),
            "nothing to do the second time"
        );
    }

    #[test]
    fn an_empty_service_keeps_an_empty_slice() {
        let slices = made(&plan(&common(), vec![group(vec![])], &[]));
        assert_eq!(slices.len(), 1);
        assert!(plan(&common(), vec![group(vec![])], &slices).is_empty());
    }

    #[test]
    fn changes_only_the_slice_concerned() {
        let slices = made(&plan(
            &common(),
            vec![group((0..150).map(|n| endpoint(n, true)).collect())],
            &[],
        ));
        let wanted = (0..150).map(|n| endpoint(n, n != 120)).collect();
        let actions = plan(&common(), vec![group(wanted)], &slices);
        let [Action::Update { slice, patch }] = actions.as_slice() else {
            panic!("{actions:?}")
        };
        assert_eq!(slice.metadata.name(), "web-1");
        assert_eq!(patch["endpoints"].as_array().unwrap().len(), 50);
    }

    #[test]
    fn fills_gaps_and_drops_empty_slices() {
        let slices = made(&plan(
            &common(),
            vec![group((0..150).map(|n| endpoint(n, true)).collect())],
            &[],
        ));
        let actions = plan(
            &common(),
            vec![group((0..90).chain(200..205).map(|n| endpoint(n, true)).collect())],
            &slices,
        );
        let updates = actions.iter().filter(|a| matches!(a, Action::Update { .. })).count();
        let deletes = actions.iter().filter(|a| matches!(a, Action::Delete(_))).count();
        assert_eq!((updates, deletes, actions.len()), (1, 1, 2));
    }

    #[test]
    fn other_ports_change_the_slice_at_once() {
        let slices = made(&plan(&common(), vec![group(vec![endpoint(1, true)])], &[]));
        let mut other = group(vec![endpoint(1, true)]);
        other.ports[0].port = Some(81);
        let actions = plan(&common(), vec![other.clone()], &slices);
        let [Action::Update { patch, .. }] = actions.as_slice() else {
            panic!("{actions:?}")
        };
        assert_eq!(patch["ports"][0]["port"], 81);
        assert_eq!(patch["endpoints"].as_array().unwrap().len(), 1);
        let both = plan(&common(), vec![group(vec![endpoint(1, true)]), other], &slices);
        assert!(matches!(both.as_slice(), [Action::Create(_)]), "{both:?}");
    }

    #[test]
    fn repairs_labels() {
        let mut slices = made(&plan(&common(), vec![group(vec![endpoint(1, true)])], &[]));
        Arc::make_mut(&mut slices[0])
            .metadata
            .labels
            .as_mut()
            .unwrap()
            .remove("team");
        let actions = plan(&common(), vec![group(vec![endpoint(1, true)])], &slices);
        let [Action::Update { patch, .. }] = actions.as_slice() else {
            panic!("{actions:?}")
        };
        assert_eq!(patch["metadata"]["labels"]["team"], "x");
    }
}
