//! The webhooks that are configured now.

use std::collections::BTreeMap;
use std::sync::Arc;

use barepod_admission::webhook::{Phase, Webhook, webhooks};
use barepod_store::{Object, Store};

use super::follow::{Followed, Table};
use crate::engine::parse;

const MUTATING: &str = "/admissionregistration.k8s.io/mutatingwebhookconfigurations/";
const VALIDATING: &str = "/admissionregistration.k8s.io/validatingwebhookconfigurations/";

/// By the names of their configurations, which is the order of the calls.
#[derive(Default)]
struct Configured {
    by_name: BTreeMap<String, Vec<Arc<Webhook>>>,
    all: Arc<[Arc<Webhook>]>,
}

impl Configured {
    fn set(&mut self, name: &str, webhooks: Vec<Arc<Webhook>>) {
        if webhooks.is_empty() {
            self.by_name.remove(name);
        } else {
            self.by_name.insert(name.to_owned(), webhooks);
        }
        self.all = self.by_name.values().flatten().cloned().collect();
    }
}

#[derive(Default)]
struct Stored {
    mutating: Configured,
    validating: Configured,
}

impl Table for Stored {
    fn prefixes(&self) -> &[&'static str] {
        &[MUTATING, VALIDATING]
    }

    fn change(&mut self, prefix: &'static str, key: &str, _: Option<&Object>, new: Option<&Object>) {
        let found = new.map(|object| webhooks(&parse(object))).unwrap_or_default();
        let found = found.into_iter().map(Arc::new).collect();
        match prefix {
            MUTATING => self.mutating.set(key, found),
            _ => self.validating.set(key, found),
        }
    }

    fn clear(&mut self) {
        *self = Stored::default();
    }
}

/// The configured webhooks.
pub struct Hooks(Followed<Stored>);

impl Hooks {
    /// Over a store.
    pub fn new(store: &Arc<dyn Store>) -> Self {
        Hooks(Followed::new(store.clone(), Stored::default()))
    }

    /// All of a phase, in the order of the calls.
    pub fn of(&self, phase: Phase) -> Arc<[Arc<Webhook>]> {
        self.0.with(|stored| match phase {
            Phase::Mutating => stored.mutating.all.clone(),
            Phase::Validating => stored.validating.all.clone(),
        })
    }
}
