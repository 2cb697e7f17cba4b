//! What another server says that it serves.

use std::sync::Arc;

use barepod_schema::openapi::Foreign;
use serde_json::{Value, json};

use super::Aggregated;

/// A group version as its server describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovered {
    /// The group.
    pub group: String,
    /// The version.
    pub version: String,
    /// Of the group, among groups.
    pub group_priority: i64,
    /// Of the version, in the group.
    pub version_priority: i64,
    /// The version's part of aggregated discovery, `APIVersionDiscovery` of apidiscovery.k8s.io/v2.
    pub resources: Value,
    /// The query that names the state of its OpenAPI document, with its question mark; empty if it has none.
    pub openapi: String,
    /// Its part of the server's OpenAPI document of version 2.
    pub openapi_v2: Option<Arc<Foreign>>,
}

impl Discovered {
    /// From an `APIGroupDiscoveryList`; `None` if the group version is not in it.
    pub fn aggregated(of: &Aggregated, list: &Value) -> Option<Self> {
        let groups = list["items"].as_array()?;
        let group = groups.iter().find(|item| item["metadata"]["name"] == *of.group)?;
        let versions = group["versions"].as_array()?;
        let version = versions.iter().find(|item| item["version"] == *of.version)?;
        let mut resources = version.clone();
        resources["freshness"] = "Current".into();
        Some(Self::new(of, resources))
    }

    /// From an `APIResourceList`, which servers without aggregated discovery have.
    pub fn plain(of: &Aggregated, list: &Value) -> Self {
        let rows = list["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
        let name = |row: &Value| row["name"].as_str().unwrap_or("").to_owned();
        let kind = |row: &Value| {
            let or = |key: &str, default: &str| {
                row[key]
                    .as_str()
                    .filter(|it| !it.is_empty())
                    .unwrap_or(default)
                    .to_owned()
            };
            json!({"group": or("group", &of.group), "version": or("version", &of.version), "kind": row["kind"]})
        };
        let resource = |row: &Value| {
            let mut resource = json!({
                "resource": row["name"], "singularResource": row["singularName"], "verbs": row["verbs"],
                "scope": if row["namespaced"] == true { "Namespaced" } else { "Cluster" },
                "responseKind": kind(row),
            });
            for key in ["shortNames", "categories"] {
                if let Some(names) = row.get(key) {
                    resource[key] = names.clone();
                }
            }
            let prefix = format!("{}/", name(row));
            let subresources: Vec<Value> = rows
                .iter()
                .filter_map(|row| {
                    let subresource = name(row).strip_prefix(&prefix)?.to_owned();
                    Some(json!({"subresource": subresource, "verbs": row["verbs"], "responseKind": kind(row)}))
                })
                .collect();
            if !subresources.is_empty() {
                resource["subresources"] = subresources.into();
            }
            resource
        };
        let resources: Vec<Value> = rows
            .iter()
            .filter(|row| !name(row).contains('/'))
            .map(resource)
            .collect();
        let version = json!({"version": of.version, "freshness": "Current", "resources": resources});
        Self::new(of, version)
    }

    fn new(of: &Aggregated, resources: Value) -> Self {
        Discovered {
            group: of.group.clone(),
            version: of.version.clone(),
            group_priority: of.group_priority,
            version_priority: of.version_priority,
            resources,
            openapi: String::new(),
            openapi_v2: None,
        }
    }

    /// With the state of its OpenAPI document, from what its server lists at `/openapi/v3`.
    #[must_use]
    pub fn documented(mut self, index: &Value) -> Self {
        let url = &index["paths"][self.path()]["serverRelativeURL"];
        let query = url.as_str().and_then(|url| url.split_once('?'));
        self.openapi = query.map(|(_, query)| format!("?{query}")).unwrap_or_default();
        self
    }

    /// With its part of the server's OpenAPI document of version 2.
    #[must_use]
    pub fn documented_v2(mut self, document: &Value) -> Self {
        let part = Foreign::of(document, &format!("/{}/", self.path()));
        self.openapi_v2 = (!part.is_empty()).then(|| Arc::new(part));
        self
    }

    /// As `/openapi/v3` names it.
    pub fn path(&self) -> String {
        format!("apis/{}/{}", self.group, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Aggregated {
        Aggregated::read(&json!({
            "metadata": {"name": "v1.x.example.com"},
            "spec": {"group": "x.example.com", "version": "v1", "service": {"namespace": "n", "name": "s"},
                "insecureSkipTLSVerify": true, "groupPriorityMinimum": 100, "versionPriority": 10},
            "status": {"conditions": [{"type": "Available", "status": "True"}]},
        }))
        .unwrap()
    }

    #[test]
    fn old_and_new_discovery_say_the_same() {
        let kind = json!({"group": "x.example.com", "version": "v1", "kind": "Thing"});
        let scale = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
        let version = json!({"version": "v1", "freshness": "Current", "resources": [
            {"resource": "things", "singularResource": "thing", "verbs": ["get"], "scope": "Namespaced",
                "responseKind": kind, "shortNames": ["th"],
                "subresources": [{"subresource": "scale", "verbs": ["update"], "responseKind": scale}]},
        ]});
        let new = json!({"items": [{"metadata": {"name": "x.example.com"}, "versions": [version]}]});
        let old = json!({"resources": [
            {"name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": ["get"],
                "shortNames": ["th"]},
            {"name": "things/scale", "singularName": "", "namespaced": true, "group": "autoscaling", "version": "v1",
                "kind": "Scale", "verbs": ["update"]},
        ]});
        let found = Discovered::aggregated(&service(), &new).unwrap();
        assert_eq!(found, Discovered::plain(&service(), &old));
        assert_eq!(Discovered::aggregated(&service(), &json!({"items": []})), None);
        let url = "/openapi/v3/apis/x.example.com/v1?hash=A";
        let index = json!({"paths": {"apis/x.example.com/v1": {"serverRelativeURL": url}}});
        assert_eq!(found.documented(&index).openapi, "?hash=A");
    }
}
