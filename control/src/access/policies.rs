//! The admission policies that are bound now.

use std::collections::BTreeMap;
use std::sync::Arc;

use barepod_admission::policy::{Binding, Kind, Policy};
use barepod_store::{Object, Store};

use super::follow::{Followed, Table};
use crate::engine::parse;

const VALIDATING: &str = "/admissionregistration.k8s.io/validatingadmissionpolicies/";
const VALIDATING_BINDINGS: &str = "/admissionregistration.k8s.io/validatingadmissionpolicybindings/";
const MUTATING: &str = "/admissionregistration.k8s.io/mutatingadmissionpolicies/";
const MUTATING_BINDINGS: &str = "/admissionregistration.k8s.io/mutatingadmissionpolicybindings/";

/// A policy with its bindings.
pub type Bound = (Arc<Policy>, Vec<Arc<Binding>>);

#[derive(Default)]
struct Configured {
    policies: BTreeMap<String, Arc<Policy>>,
    bindings: BTreeMap<String, Arc<Binding>>,
    /// Policies that are bound, by name.
    bound: Arc<[Bound]>,
}

impl Configured {
    fn join(&mut self) {
        let bindings = |policy: &Policy| -> Vec<Arc<Binding>> {
            let all = self.bindings.values();
            all.filter(|binding| binding.policy == policy.name).cloned().collect()
        };
        let all = self.policies.values().map(|policy| (policy.clone(), bindings(policy)));
        self.bound = all.filter(|(_, bindings)| !bindings.is_empty()).collect();
    }

    fn set_policy(&mut self, name: &str, policy: Option<Policy>) {
        match policy {
            Some(policy) => self.policies.insert(name.to_owned(), Arc::new(policy)),
            None => self.policies.remove(name),
        };
        self.join();
    }

    fn set_binding(&mut self, name: &str, binding: Option<Binding>) {
        match binding {
            Some(binding) => self.bindings.insert(name.to_owned(), Arc::new(binding)),
            None => self.bindings.remove(name),
        };
        self.join();
    }
}

#[derive(Default)]
struct Stored {
    validating: Configured,
    mutating: Configured,
}

impl Table for Stored {
    fn prefixes(&self) -> &[&'static str] {
        &[VALIDATING, VALIDATING_BINDINGS, MUTATING, MUTATING_BINDINGS]
    }

    fn change(&mut self, prefix: &'static str, key: &str, _: Option<&Object>, new: Option<&Object>) {
        let new = new.map(parse);
        let policy = |kind| new.as_ref().map(|object| Policy::from_value(kind, object));
        let binding = || new.as_ref().map(Binding::from_value);
        match prefix {
            VALIDATING => self.validating.set_policy(key, policy(Kind::Validating)),
            MUTATING => self.mutating.set_policy(key, policy(Kind::Mutating)),
            VALIDATING_BINDINGS => self.validating.set_binding(key, binding()),
            _ => self.mutating.set_binding(key, binding()),
        }
    }

    fn clear(&mut self) {
        *self = Stored::default();
    }
}

/// The bound policies.
pub struct Policies(Followed<Stored>);

impl Policies {
    /// Over a store.
    pub fn new(store: &Arc<dyn Store>) -> Self {
        Policies(Followed::new(store.clone(), Stored::default()))
    }

    /// All of a kind that are bound, by name.
    pub fn of(&self, kind: Kind) -> Arc<[Bound]> {
        self.0.with(|stored| match kind {
            Kind::Validating => stored.validating.bound.clone(),
            Kind::Mutating => stored.mutating.bound.clone(),
        })
    }
}
