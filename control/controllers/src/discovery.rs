//! Which kinds the server serves, and what can be done with them.

use crate::api::Error;
use kube::Client;
use kube::discovery::{ApiResource, Discovery, Scope, verbs};

/// A kind that objects can be deleted of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
    pub(crate) watchable: bool,
    /// Whether one request deletes all objects of a namespace.
    pub(crate) collection: bool,
}

impl Kind {
    /// `deployments.apps`, or `pods` in the core group.
    pub(crate) fn name(&self) -> String {
        match self.resource.group.as_str() {
            "" => self.resource.plural.clone(),
            group => format!("{}.{group}", self.resource.plural),
        }
    }
}

/// Every kind with list and delete, in its preferred version; events once, though two groups serve them.
pub(crate) async fn discover(client: &Client) -> Result<Vec<Kind>, Error> {
    let aggregated = Discovery::new(client.clone()).run_aggregated().await;
    let discovery = match aggregated {
        Ok(found) if found.groups().next().is_some() => found,
        _ => {
            let plain = Discovery::new(client.clone()).run().await;
            plain.map_err(|e| Error::request("discover", "the kinds served", e))?
        }
    };
    let mut kinds = Vec::new();
    for group in discovery.groups_alphabetical() {
        for (resource, capabilities) in group.recommended_resources() {
            let can = |verb| capabilities.supports_operation(verb);
            if !can(verbs::LIST) || !can(verbs::DELETE) || resource.group == "events.k8s.io" {
                continue;
            }
            kinds.push(Kind {
                resource,
                namespaced: capabilities.scope == Scope::Namespaced,
                watchable: can(verbs::WATCH),
                collection: can(verbs::DELETE_COLLECTION),
            });
        }
    }
    Ok(kinds)
}
