//! Custom resources: kinds that are made from CustomResourceDefinitions.
//!
//! There is no task and no table to keep: who asks for a kind that is not built in gets it from the stored definition,
//! and what was made of a definition is kept until the definition is another one.

mod cleanup;
mod columns;
mod conform;
mod conversion;
mod definition;
mod jsonpath;
mod strategy;
mod versions;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use barepod_store::{Object, Range};

use super::Engine;
use super::head::parse;
use super::registry::Kind;

use conversion::Caller;
pub(super) use conversion::TOGETHER;

pub(super) use conform::conform;
pub(super) use definition::{check, is_definition};
pub use versions::Versions;

/// What was made of definitions, by their names.
#[derive(Default)]
pub(super) struct Customs {
    made: Mutex<HashMap<String, Made>>,
}

struct Made {
    /// Of the definition.
    revision: u64,
    /// One for each version, the preferred one first.
    kinds: Arc<[Arc<Kind>]>,
}

/// Definitions as they are at some time.
pub(super) type State = Vec<(String, u64)>;

impl Customs {
    fn kinds(&self, name: &str, object: &Object, caller: &Caller) -> Arc<[Arc<Kind>]> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match made.get(name) {
            Some(known) if known.revision == object.revision() => known.kinds.clone(),
            _ => {
                let kinds: Arc<[Arc<Kind>]> = definition::kinds(&parse(object), caller).into();
                let revision = object.revision();
                made.insert(
                    name.to_owned(),
                    Made {
                        revision,
                        kinds: kinds.clone(),
                    },
                );
                kinds
            }
        }
    }

    /// Forgets what was made of definitions that are gone.
    fn retain(&self, state: &State) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|name, _| state.iter().any(|(known, _)| known == name));
    }
}

impl Engine {
    fn caller(&self) -> Caller {
        Caller {
            store: self.store.clone(),
            extensions: self.extensions.clone(),
        }
    }

    /// A served kind, built in or custom.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        if let Some(kind) = self.registry.find(group, version, plural) {
            return Some(kind.clone());
        }
        // A definition's group is a domain.
        if !group.contains('.') {
            return None;
        }
        let definitions = self
            .registry
            .find_any("apiextensions.k8s.io", "customresourcedefinitions")?;
        let name = format!("{plural}.{group}");
        let object = self.store.get(&definitions.key("", &name))?;
        let kinds = self.customs.kinds(&name, &object, &self.caller());
        kinds.iter().find(|kind| kind.resource.version == version).cloned()
    }

    /// Whether a definition serves anything of a group version.
    pub fn serves_custom(&self, group: &str, version: &str) -> bool {
        let (_, kinds) = self.custom_kinds();
        let mut kinds = kinds.iter();
        kinds.any(|kind| kind.resource.group == group && kind.resource.version == version)
    }

    /// Every custom kind that is served, by group, and the definitions that say so.
    pub(super) fn custom_kinds(&self) -> (State, Vec<Arc<Kind>>) {
        let Some(definitions) = self
            .registry
            .find_any("apiextensions.k8s.io", "customresourcedefinitions")
        else {
            return Default::default();
        };
        let page = self.store.range(&Range {
            prefix: &definitions.prefix,
            ..Range::default()
        });
        let objects = page.unwrap_or_default().objects;
        let name = |object: &Object| object.key()[definitions.prefix.len()..].to_owned();
        let state: State = objects.iter().map(|object| (name(object), object.revision())).collect();
        self.customs.retain(&state);
        let caller = self.caller();
        let mut kinds: Vec<Arc<Kind>> = objects
            .iter()
            .flat_map(|object| self.customs.kinds(&name(object), object, &caller).to_vec())
            .collect();
        kinds.sort_by(|a, b| {
            let (a, b) = (&a.resource, &b.resource);
            a.group
                .cmp(&b.group)
                .then_with(|| versions::compare(&a.version, &b.version))
                .then_with(|| a.plural.cmp(&b.plural))
        });
        (state, kinds)
    }
}
