//! Whether somebody may.

use std::sync::Arc;

use barepod_auth::attributes::{Attributes, Decision};
use barepod_auth::node::{Graph, Nodes};
use barepod_auth::rbac::Policy;
use barepod_store::Store;
use tokio::sync::Notify;

use super::follow::Followed;
use super::nodes::Needs;
use super::roles::Roles;
use crate::engine::registry::Kind;

/// What decides about requests.
pub struct Access {
    roles: Followed<Roles>,
    needs: Followed<Needs>,
    nodes: Nodes,
    /// Told when the first node asks.
    nodes_ask: Notify,
}

impl Access {
    /// Over a store; `pods` is the kind of pods.
    pub fn new(store: &Arc<dyn Store>, pods: Option<Arc<Kind>>) -> Self {
        let graph = Graph::default();
        Access {
            roles: Followed::new(store.clone(), Roles::default()),
            needs: Followed::new(store.clone(), Needs { graph, pods }),
            nodes: Nodes::default(),
            nodes_ask: Notify::new(),
        }
    }

    /// Whether the request is allowed. Of those that say yes the first gives the reason: the group of those that may do
    /// everything, then for nodes what their pods need, then roles.
    pub fn decide(&self, asked: &Attributes<'_>) -> Decision {
        if asked.user.is_master() {
            return Decision::Allow(String::new());
        }
        let mut why = String::new();
        if asked.user.node().is_some() {
            self.nodes_ask.notify_one();
            match self.needs.with(|needs| self.nodes.authorize(&needs.graph, asked)) {
                Decision::NoOpinion(reason) => why = reason,
                allowed => return allowed,
            }
        }
        match self.roles.with(|roles| roles.0.authorize(asked)) {
            Decision::NoOpinion(reason) if reason.is_empty() => Decision::NoOpinion(why),
            decision => decision,
        }
    }

    /// As [`Access::decide`], without the reason of a yes, which costs a text.
    pub fn refusal(&self, asked: &Attributes<'_>) -> Option<String> {
        if asked.user.is_master() {
            return None;
        }
        let mut why = String::new();
        if asked.user.node().is_some() {
            self.nodes_ask.notify_one();
            match self.needs.with(|needs| self.nodes.authorize(&needs.graph, asked)) {
                Decision::NoOpinion(reason) => why = reason,
                Decision::Allow(_) => return None,
            }
        }
        let allowed = self.roles.with(|roles| roles.0.allows(asked));
        (!allowed).then_some(why)
    }

    /// Asks the roles and bindings.
    pub fn policy<R>(&self, ask: impl FnOnce(&Policy) -> R) -> R {
        self.roles.with(|roles| ask(&roles.0))
    }

    /// Follows the pods from when the first node asks. Ends with the store or by being dropped.
    pub async fn run(&self) {
        self.needs.run(&self.nodes_ask).await;
    }
}
