//! What strategies may look up.

use std::sync::Arc;

use barepod_kinds::Cluster;
use barepod_store::Range;
use serde_json::Value;

use super::Engine;
use super::head::Head;

impl Cluster for Engine {
    fn get(&self, group: &str, resource: &str, namespace: Option<&str>, name: &str) -> Option<Arc<Value>> {
        let kind = self.registry.find_any(group, resource)?;
        let object = self.store.get(&kind.key(namespace.unwrap_or(""), name))?;
        Some(Head::of(kind, &object).value(&object).clone())
    }

    fn list(&self, group: &str, resource: &str, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let Some(kind) = self.registry.find_any(group, resource) else {
            return Vec::new();
        };
        let prefix = kind.prefix_in(namespace);
        let page = self
            .store
            .range(&Range {
                prefix: &prefix,
                ..Range::default()
            })
            .unwrap_or_default();
        page.objects
            .iter()
            .map(|object| Head::of(kind, object).value(object).clone())
            .collect()
    }
}
