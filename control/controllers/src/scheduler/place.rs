//! The decision: the best node for a pod, or the reasons why there is none.

use super::cache::Cache;
use super::fit::{self, Hints};
use super::request::Request;
use super::score;
use std::collections::BTreeMap;

/// No node fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unschedulable {
    pub(super) message: String,
    pub(super) hints: Hints,
}

/// The name of the best node. `turn` spreads pods over nodes that are equally good.
pub(super) fn place(cache: &Cache, request: &Request, turn: usize) -> Result<String, Unschedulable> {
    let mut candidates = Vec::new();
    let mut scores = Vec::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut hints = Hints::default();
    let mut count = 0;
    for (facts, info) in cache.nodes() {
        count += 1;
        match fit::check(request, facts, info) {
            Ok(()) => {
                candidates.push(facts.name.as_str());
                scores.push(score::score(request, facts, info));
            }
            Err(misfit) => {
                hints.room |= misfit.hints.room;
                for reason in misfit.reasons {
                    *reasons.entry(reason).or_default() += 1;
                }
            }
        }
    }
    let totals = score::totals(&scores);
    let Some(best) = totals.iter().max() else {
        return Err(Unschedulable {
            message: message(count, &reasons),
            hints,
        });
    };
    let equals: Vec<&str> = candidates
        .iter()
        .zip(&totals)
        .filter(|(_, t)| *t == best)
        .map(|(n, _)| *n)
        .collect();
    Ok(equals[turn % equals.len()].to_owned())
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 Too many pods.`
fn message(nodes: usize, reasons: &BTreeMap<String, usize>) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let mut parts: Vec<String> = reasons
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    parts.sort();
    format!("0/{nodes} nodes are available: {}.", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::cache::tests::{node, pod};
    use super::super::request::Footprint;
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn nodes(names: &[&str]) -> Cache {
        let mut cache = Cache::default();
        for name in names {
            cache.set_node(&node(name, json!({})));
        }
        cache
    }

    #[test]
    fn spreads_pods_over_nodes() {
        let mut cache = nodes(&["a", "b"]);
        for turn in 0..6 {
            let name = format!("p{turn}");
            let pod = pod(&name, "100m", json!({}));
            let node = place(&cache, &Request::of(&pod), turn).unwrap();
            cache.assume(&name, &node, Arc::new(Footprint::of(&pod)));
        }
        let counts: Vec<usize> = cache.nodes().map(|(_, info)| info.pods).collect();
        assert_eq!(counts, [3, 3]);
    }

    #[test]
    fn says_why_not() {
        let mut cache = nodes(&["a", "b"]);
        cache.set_node(&node("c", json!({"spec": {"unschedulable": true}})));
        let error = place(&cache, &Request::of(&pod("p", "9", json!({}))), 0).unwrap_err();
        assert_eq!(
            error.message,
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."
        );
        assert!(error.hints.room);
        let none = place(&Cache::default(), &Request::of(&pod("p", "1", json!({}))), 0).unwrap_err();
        assert_eq!(none.message, "no nodes available to schedule pods");
    }

    #[test]
    fn takes_the_preferred_node() {
        let cache = nodes(&["a", "b"]);
        let pod = pod(
            "p",
            "100m",
            json!({"affinity": {"nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {
                "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}}]}}}),
        );
        for turn in 0..4 {
            assert_eq!(place(&cache, &Request::of(&pod), turn).unwrap(), "b");
        }
    }
}
