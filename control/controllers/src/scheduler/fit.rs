//! Predicates: whether a pod can run on a node at all, and the words for it if not.

use super::cache::{NodeFacts, NodeInfo};
use super::node_selector;
use super::request::Request;
use super::taints;
use crate::selector;
use barepod_client::types::Taint;

/// Which changes of the cluster can make a node fit that did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hints {
    /// A pod leaves, or the node gets more room.
    pub(super) room: bool,
}

/// Why a node does not fit; several reasons if several resources lack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    pub(super) reasons: Vec<String>,
    pub(super) hints: Hints,
}

fn misfit(reason: impl Into<String>) -> Result<(), Misfit> {
    Err(Misfit {
        reasons: vec![reason.into()],
        hints: Hints::default(),
    })
}

/// Checks from what is cheap and final to what may change.
pub(super) fn check(request: &Request, facts: &NodeFacts, info: &NodeInfo) -> Result<(), Misfit> {
    unschedulable(request, facts)?;
    affinity(request, facts)?;
    tainted(request, facts)?;
    ports(request, info)?;
    room(request, facts, info)
}

/// A cordoned node counts as tainted even before it is.
fn unschedulable(request: &Request, facts: &NodeFacts) -> Result<(), Misfit> {
    if !facts.unschedulable {
        return Ok(());
    }
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    match request.tolerations.iter().any(|t| taints::tolerates(t, &taint)) {
        true => Ok(()),
        false => misfit("node(s) were unschedulable"),
    }
}

fn affinity(request: &Request, facts: &NodeFacts) -> Result<(), Misfit> {
    let selected = selector::has_all(&request.node_selector, Some(&facts.labels));
    let required = request
        .required
        .as_ref()
        .is_none_or(|r| node_selector::matches(r, &facts.name, &facts.labels));
    match selected && required {
        true => Ok(()),
        false => misfit("node(s) didn't match Pod's node affinity/selector"),
    }
}

fn tainted(request: &Request, facts: &NodeFacts) -> Result<(), Misfit> {
    match taints::untolerated(&facts.taints, &request.tolerations, &["NoSchedule", "NoExecute"]) {
        None => Ok(()),
        Some(taint) => {
            let value = taint.value.as_deref().unwrap_or_default();
            misfit(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key))
        }
    }
}

fn ports(request: &Request, info: &NodeInfo) -> Result<(), Misfit> {
    let taken = |port: &_| info.ports.iter().any(|used| used.conflicts(port));
    if !request.footprint.ports.iter().any(taken) {
        return Ok(());
    }
    let reasons = vec!["node(s) didn't have free ports for the requested pod ports".to_owned()];
    Err(Misfit {
        reasons,
        hints: Hints { room: true },
    })
}

fn room(request: &Request, facts: &NodeFacts, info: &NodeInfo) -> Result<(), Misfit> {
    let mut reasons = Vec::new();
    if info.pods >= facts.allowed_pods {
        reasons.push("Too many pods".to_owned());
    }
    let wanted = &request.footprint.exact;
    let mut lacks = |name: &str, wanted: i64, used: i64, has: i64| {
        if wanted > 0 && wanted > has.saturating_sub(used) {
            reasons.push(format!("Insufficient {name}"));
        }
    };
    lacks(
        "cpu",
        wanted.milli_cpu,
        info.used.milli_cpu,
        facts.allocatable.milli_cpu,
    );
    lacks("memory", wanted.memory, info.used.memory, facts.allocatable.memory);
    for (name, amount) in &wanted.others {
        let of = |amounts: &super::resources::Amounts| amounts.others.get(name).copied().unwrap_or(0);
        lacks(name, *amount, of(&info.used), of(&facts.allocatable));
    }
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(Misfit {
            reasons,
            hints: Hints { room: true },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::cache::Cache;
    use super::super::cache::tests::{node, pod};
    use super::*;
    use serde_json::{Value, json};

    fn reasons(node_extra: Value, others: &[crate::objects::Pod], wanted: &crate::objects::Pod) -> Vec<String> {
        let mut cache = Cache::default();
        cache.set_node(&node("n", node_extra));
        for other in others {
            cache.set_pod(other, "n");
        }
        let (facts, info) = cache.nodes().next().unwrap();
        check(&Request::of(wanted), facts, info)
            .err()
            .map(|m| m.reasons)
            .unwrap_or_default()
    }

    #[test]
    fn resources() {
        let running = [pod("a", "1500m", json!({}))];
        assert!(reasons(json!({}), &running, &pod("b", "500m", json!({}))).is_empty());
        assert_eq!(
            reasons(json!({}), &running, &pod("b", "501m", json!({}))),
            ["Insufficient cpu"]
        );
        let gpu = json!({"containers": [{"resources": {"requests": {"cpu": "9", "example.com/gpu": "1"}}}]});
        assert_eq!(
            reasons(json!({}), &[], &pod("b", "0", gpu)),
            ["Insufficient cpu", "Insufficient example.com/gpu"]
        );
        let full = json!({"status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "1"}}});
        assert_eq!(reasons(full, &running, &pod("b", "0", json!({}))), ["Too many pods"]);
    }

    #[test]
    fn host_ports() {
        let web = json!({"containers": [{"ports": [{"containerPort": 80, "hostPort": 80}]}]});
        let running = [pod("a", "0", web.clone())];
        let expected = ["node(s) didn't have free ports for the requested pod ports"];
        assert_eq!(reasons(json!({}), &running, &pod("b", "0", web)), expected);
    }

    #[test]
    fn selectors_taints_and_cordons() {
        let wanted = pod("b", "0", json!({"nodeSelector": {"disk": "ssd"}}));
        assert_eq!(
            reasons(json!({}), &[], &wanted),
            ["node(s) didn't match Pod's node affinity/selector"]
        );
        let taints = json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}});
        let plain = pod("b", "0", json!({}));
        assert_eq!(
            reasons(taints.clone(), &[], &plain),
            ["node(s) had untolerated taint {k: v}"]
        );
        let tolerant = pod("b", "0", json!({"tolerations": [{"operator": "Exists"}]}));
        assert!(reasons(taints, &[], &tolerant).is_empty());
        assert_eq!(
            reasons(json!({"spec": {"unschedulable": true}}), &[], &plain),
            ["node(s) were unschedulable"]
        );
    }
}
