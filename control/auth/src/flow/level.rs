//! Priority levels: how many requests run at a time, and how those that have to wait take turns.

use std::collections::VecDeque;

use serde_json::Value;

/// A priority level as it is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Level {
    /// Its UID.
    pub uid: String,
    /// Its share of all seats; `None` for no limit.
    pub shares: Option<u32>,
    /// Number of queues, of requests in each, and of queues that a flow may use; `None` to refuse instead.
    pub queuing: Option<(usize, usize, usize)>,
}

impl Level {
    /// Reads a PriorityLevelConfiguration.
    pub fn from_value(object: &Value) -> Self {
        let number = |pointer: &str, default: u64| object.pointer(pointer).and_then(Value::as_u64).unwrap_or(default);
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("");
        let limited = text("/spec/type") == "Limited";
        let shares =
            limited.then(|| u32::try_from(number("/spec/limited/nominalConcurrencyShares", 30)).unwrap_or(u32::MAX));
        let size = |key: &str, default| {
            let pointer = format!("/spec/limited/limitResponse/queuing/{key}");
            usize::try_from(number(&pointer, default)).unwrap_or(usize::MAX).max(1)
        };
        let queues = limited && text("/spec/limited/limitResponse/type") == "Queue";
        Level {
            uid: text("/metadata/uid").to_owned(),
            shares,
            queuing: queues.then(|| {
                (
                    size("queues", 64).min(1024),
                    size("queueLengthLimit", 50),
                    size("handSize", 8),
                )
            }),
        }
    }
}

/// Requests that wait, in fair queues.
///
/// A flow is dealt a hand of queues by its hash and its requests wait in the shortest of them, so that a loud flow
/// fills its hand and leaves other flows at least one queue (shuffle sharding). Queues take turns.
#[derive(Debug)]
pub struct Queues<T> {
    queues: Vec<VecDeque<T>>,
    longest: usize,
    hand: usize,
    /// Whose turn is next.
    turn: usize,
    waiting: usize,
}

impl<T> Queues<T> {
    /// So many queues, of so many requests each, and so many for a flow.
    pub fn new(number: usize, longest: usize, hand: usize) -> Self {
        Queues {
            queues: (0..number.max(1)).map(|_| VecDeque::new()).collect(),
            longest,
            hand: hand.clamp(1, number.max(1)),
            turn: 0,
            waiting: 0,
        }
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Puts a request into the shortest queue of its flow; gives it back if that is full.
    pub fn push(&mut self, flow: u64, request: T) -> Result<(), T> {
        let shortest = self
            .hand_of(flow)
            .into_iter()
            .min_by_key(|at| self.queues[*at].len())
            .unwrap_or(0);
        if self.queues[shortest].len() >= self.longest {
            return Err(request);
        }
        self.queues[shortest].push_back(request);
        self.waiting += 1;
        Ok(())
    }

    /// The next request of the queue whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let number = self.queues.len();
        for step in 0..number {
            let at = (self.turn + step) % number;
            if let Some(request) = self.queues[at].pop_front() {
                self.turn = (at + 1) % number;
                self.waiting -= 1;
                return Some(request);
            }
        }
        None
    }

    /// Different queues, dealt from the hash as cards from a deck.
    fn hand_of(&self, flow: u64) -> Vec<usize> {
        let mut hand: Vec<usize> = Vec::with_capacity(self.hand);
        let mut left = flow;
        for dealt in 0..self.hand {
            let deck = (self.queues.len() - dealt) as u64;
            let mut card = usize::try_from(left % deck).unwrap_or(0);
            left = (left / deck).wrapping_add(flow.rotate_left(17));
            // The card's place among those that are still in the deck.
            let mut taken = hand.clone();
            taken.sort_unstable();
            for other in taken {
                if card >= other {
                    card += 1;
                }
            }
            hand.push(card);
        }
        hand
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_loud_flow_does_not_keep_others_waiting() {
        let mut queues = Queues::new(64, 50, 6);
        let mut refused = 0;
        for number in 0..1000 {
            refused += usize::from(queues.push(1, ("loud", number)).is_err());
        }
        assert_eq!(refused, 1000 - 6 * 50, "a flow fills no more than its hand");
        queues.push(99, ("quiet", 0)).unwrap();
        let order: Vec<_> = std::iter::from_fn(|| queues.pop()).collect();
        let position = order.iter().position(|(who, _)| *who == "quiet").unwrap();
        assert!(position < 64, "every queue has its turn: {position}");
        assert!(queues.is_empty());
    }

    #[test]
    fn hands_have_different_cards() {
        let queues: Queues<()> = Queues::new(16, 1, 4);
        for flow in [0, 1, 7, 123_456_789, u64::MAX] {
            let mut hand = queues.hand_of(flow);
            hand.sort_unstable();
            hand.dedup();
            assert_eq!(hand.len(), 4);
            assert!(hand.iter().all(|card| *card < 16));
        }
    }

    #[test]
    fn configurations_are_read() {
        let level = Level::from_value(
            &json!({"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 5,
            "limitResponse": {"type": "Queue", "queuing": {"queues": 8, "queueLengthLimit": 9, "handSize": 2}}}}}),
        );
        assert_eq!((level.shares, level.queuing), (Some(5), Some((8, 9, 2))));
        let level = Level::from_value(&json!({"spec": {"type": "Exempt"}}));
        assert_eq!((level.shares, level.queuing), (None, None));
    }
}
