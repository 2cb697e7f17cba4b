//! Priorities: which of the nodes that fit is best, each from 0 to 100.

use super::cache::{NodeFacts, NodeInfo};
use super::node_selector;
use super::request::Request;
use super::taints;

const BEST: i64 = 100;

/// Weights of the four priorities, as Kubernetes has them.
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_AFFINITY: i64 = 2;

/// A node that fits, before normalisation over all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Score {
    room: i64,
    preferred: i64,
    disliked: i64,
}

pub(super) fn score(request: &Request, facts: &NodeFacts, info: &NodeInfo) -> Score {
    let wanted = &request.footprint.ranked;
    let cpu = (
        info.ranked.milli_cpu.saturating_add(wanted.milli_cpu),
        facts.allocatable.milli_cpu,
    );
    let memory = (
        info.ranked.memory.saturating_add(wanted.memory),
        facts.allocatable.memory,
    );
    Score {
        room: least_requested(&[cpu, memory]) + balanced(&[cpu, memory]),
        preferred: request
            .preferred
            .iter()
            .filter(|term| node_selector::term_matches(&term.preference, &facts.name, &facts.labels))
            .map(|term| i64::from(term.weight))
            .sum(),
        disliked: facts
            .taints
            .iter()
            .filter(|t| t.effect == "PreferNoSchedule")
            .filter(|t| {
                !request
                    .tolerations
                    .iter()
                    .any(|toleration| taints::tolerates(toleration, t))
            })
            .map(|_| 1)
            .sum(),
    }
}

/// The sums by which nodes are compared; preferences count relative to the best node.
pub(super) fn totals(scores: &[Score]) -> Vec<i64> {
    let most_preferred = scores.iter().map(|s| s.preferred).max().unwrap_or(0);
    let most_disliked = scores.iter().map(|s| s.disliked).max().unwrap_or(0);
    let relative = |value: i64, most: i64| if most == 0 { 0 } else { value * BEST / most };
    scores
        .iter()
        .map(|s| {
            let liked = BEST - relative(s.disliked, most_disliked);
            s.room + WEIGHT_AFFINITY * relative(s.preferred, most_preferred) + WEIGHT_TAINTS * liked
        })
        .collect()
}

/// LeastRequested: the mean free share.
fn least_requested(resources: &[(i64, i64)]) -> i64 {
    let shares = resources.iter().filter(|(_, has)| *has > 0);
    let (sum, count) = shares.fold((0, 0), |(sum, count), (used, has)| {
        let free = has.saturating_sub(*used).max(0);
        (sum + i128::from(free) * i128::from(BEST) / i128::from(*has), count + 1)
    });
    if count == 0 {
        0
    } else {
        i64::try_from(sum / count).unwrap_or(0)
    }
}

/// BalancedResourceAllocation: one minus the standard deviation of the used shares.
fn balanced(resources: &[(i64, i64)]) -> i64 {
    /// Shares are counted in millionths.
    const WHOLE: i128 = 1_000_000;
    let shares: Vec<i128> = resources
        .iter()
        .filter(|(_, has)| *has > 0)
        .map(|(used, has)| (i128::from(*used) * WHOLE / i128::from(*has)).min(WHOLE))
        .collect();
    // Of two numbers the standard deviation is half their distance.
    let deviation = match shares.as_slice() {
        [a, b] => (a - b).abs() / 2,
        _ => 0,
    };
    i64::try_from((WHOLE - deviation) * i128::from(BEST) / WHOLE).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefers_the_emptier_node() {
        assert_eq!(least_requested(&[(1000, 4000), (0, 100)]), 87);
        assert!(least_requested(&[(1000, 4000), (50, 100)]) > least_requested(&[(3000, 4000), (50, 100)]));
        assert_eq!(least_requested(&[(9000, 4000), (0, 0)]), 0);
    }

    #[test]
    fn prefers_balance() {
        assert_eq!(balanced(&[(500, 1000), (50, 100)]), 100);
        assert_eq!(balanced(&[(1000, 1000), (0, 100)]), 50);
    }

    #[test]
    fn preferences_are_relative() {
        let score = |room, preferred, disliked| Score {
            room,
            preferred,
            disliked,
        };
        let totals = totals(&[score(10, 0, 0), score(10, 5, 0), score(10, 10, 2)]);
        assert_eq!(totals, [310, 410, 210]);
    }
}
