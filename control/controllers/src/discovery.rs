//! Which kinds the server serves, and what can be done with them.

use crate::api::Error;
use barepod_client::{Client, Request, Resource};
use serde::Deserialize;

/// One document a root, with everything below it (KEP-3352).
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A kind that objects can be deleted of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
    pub(crate) watchable: bool,
    /// Whether one request deletes all objects of a namespace.
    pub(crate) collection: bool,
}

impl Kind {
    /// `deployments.apps`, or `pods` in the core group.
    pub(crate) fn name(&self) -> String {
        match self.group.as_str() {
            "" => self.plural.clone(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Where its objects are.
    pub(crate) fn resource(&self) -> Resource<'_> {
        Resource {
            group: &self.group,
            version: &self.version,
            plural: &self.plural,
            kind: &self.kind,
        }
    }
}

#[derive(Deserialize)]
struct Groups {
    items: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    metadata: GroupMeta,
    /// The preferred one first.
    versions: Vec<Version>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GroupMeta {
    /// None for the core group.
    name: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
    #[serde(default)]
    resources: Vec<Served>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Served {
    resource: String,
    #[serde(default)]
    response_kind: ResponseKind,
    scope: String,
    verbs: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseKind {
    kind: String,
}

/// Every kind with list and delete, in its preferred version; events once, though two groups serve them.
pub(crate) async fn discover(client: &Client) -> Result<Vec<Kind>, Error> {
    let mut kinds = Vec::new();
    for root in ["/api", "/apis"] {
        let groups = client.read::<Groups>(Request::get(root).accept(AGGREGATED)).await;
        let groups = groups.map_err(|e| Error::request("discover", format!("the kinds below {root}"), e))?;
        for group in groups.items {
            kinds.extend(of_group(group));
        }
    }
    Ok(kinds)
}

fn of_group(group: Group) -> Vec<Kind> {
    let name = group.metadata.name;
    let Some(version) = group.versions.into_iter().next() else {
        return Vec::new();
    };
    if name == "events.k8s.io" {
        return Vec::new();
    }
    let kind = |served: Served| {
        let can = |verb: &str| served.verbs.iter().any(|it| it == verb);
        (can("list") && can("delete")).then(|| Kind {
            group: name.clone(),
            version: version.version.clone(),
            namespaced: served.scope == "Namespaced",
            watchable: can("watch"),
            collection: can("deletecollection"),
            plural: served.resource,
            kind: served.response_kind.kind,
        })
    };
    version.resources.into_iter().filter_map(kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_of_the_preferred_version_that_can_be_listed_and_deleted() {
        let served = |name: &str, verbs: serde_json::Value| {
            json!({"resource": name, "responseKind": {"group": "apps", "version": "v1", "kind": "X"},
                "scope": "Namespaced", "verbs": verbs})
        };
        let group: Group = serde_json::from_value(json!({
            "metadata": {"name": "apps"},
            "versions": [
                {"version": "v1", "resources": [served("xs", json!(["list", "delete", "watch"])), served("ys", json!(["create"]))]},
                {"version": "v1beta1", "resources": [served("old", json!(["list", "delete"]))]},
            ],
        }))
        .unwrap();
        let kinds = of_group(group);
        assert_eq!(kinds.len(), 1);
        assert_eq!(
            (kinds[0].name().as_str(), kinds[0].watchable, kinds[0].collection),
            ("xs.apps", true, false)
        );
        assert_eq!(kinds[0].resource().collection("n"), "/apis/apps/v1/namespaces/n/xs");
    }
}
