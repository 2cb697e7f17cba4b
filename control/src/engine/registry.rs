//! What is served: one row for every resource, joined from the table of facts and the kind's strategy.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use barepod_kinds::Strategy;
use barepod_schema::structural::Schema;
use barepod_schema::{Resource, Shape, TypeRef};
use barepod_store::Guard;

use super::forms::Forms;

/// A served resource, in one of its versions.
pub struct Kind {
    /// Its facts.
    pub resource: Cow<'static, Resource>,
    /// Its behaviour, over objects in their stored form.
    pub strategy: Behaviour,
    /// The structure of its objects.
    pub structure: Structure,
    /// The prefix of its keys in the store, with a slash at both ends.
    pub prefix: String,
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// Held while something unique that was chosen for an object is looked at once more and stored.
    pub serial: tokio::sync::Mutex<()>,
    /// Its versions.
    pub forms: Forms,
}

/// The behaviour of a kind: one of the table, or one made from a definition.
pub enum Behaviour {
    /// Of a built-in kind.
    Built(&'static dyn Strategy),
    /// Of a custom one.
    Custom(Box<dyn Strategy + Send>),
}

impl Deref for Behaviour {
    type Target = dyn Strategy;

    fn deref(&self) -> &Self::Target {
        match self {
            Behaviour::Built(strategy) => *strategy,
            Behaviour::Custom(strategy) => &**strategy,
        }
    }
}

/// The structure of the objects of a kind.
#[derive(Debug)]
pub enum Structure {
    /// A type of the table.
    Table(TypeRef),
    /// The schema of a definition.
    Custom(Arc<Schema>),
}

impl Structure {
    /// As the algorithms take it.
    pub fn shape(&self) -> Shape<'_> {
        match self {
            Structure::Table(ty) => Shape::Table(*ty),
            Structure::Custom(schema) => Shape::Custom(schema),
        }
    }
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kind")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Kind {
    /// The key of an object.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.resource.namespaced {
            format!("{}{namespace}/{name}", self.prefix)
        } else {
            format!("{}{name}", self.prefix)
        }
    }

    /// The prefix of the keys in a namespace, or of all.
    pub fn prefix_in(&self, namespace: Option<&str>) -> String {
        match namespace {
            Some(namespace) if self.resource.namespaced => format!("{}{namespace}/", self.prefix),
            _ => self.prefix.clone(),
        }
    }

    /// The condition that no object of this kind was added or changed after a revision.
    pub fn unchanged_since(&self, revision: u64) -> Guard {
        Guard {
            prefix: self.prefix.clone(),
            revision,
        }
    }

    /// Whether a subresource is served.
    pub fn has_subresource(&self, name: &str) -> bool {
        self.resource.subresource(name).is_some()
    }

    /// Whether this is the resource of that name in the core group.
    pub fn is_core(&self, plural: &str) -> bool {
        self.resource.group.is_empty() && self.resource.plural == plural
    }
}

/// All served resources.
#[derive(Debug)]
pub struct Registry {
    kinds: Vec<Arc<Kind>>,
}

impl Registry {
    /// Joins the tables. Of several versions of a resource the first stable one is served and stored; others are served
    /// where there is a conversion.
    pub fn new() -> Self {
        let served = barepod_kinds::served();
        let mut kinds: Vec<Arc<Kind>> = Vec::new();
        for resource in barepod_schema::resources() {
            let (group, plural) = (&*resource.group, &*resource.plural);
            let stable = !resource.version.contains("alpha") && !resource.version.contains("beta");
            let known = kinds
                .iter()
                .any(|kind| kind.resource.group == group && kind.resource.plural == plural);
            let conversion = barepod_kinds::conversion(group, &resource.version, plural);
            let (home, stored_group) = match conversion {
                Some(conversion) => (true, conversion.stored.0),
                None => (served.contains(&(group, plural)) && !known, group),
            };
            let ty = barepod_schema::type_of(group, &resource.version, &resource.kind);
            let (true, true, Some(ty)) = (home, stable, ty) else {
                continue;
            };
            let prefix = if stored_group.is_empty() {
                format!("/{plural}/")
            } else {
                format!("/{stored_group}/{plural}/")
            };
            kinds.push(Arc::new(Kind {
                resource: Cow::Borrowed(resource),
                strategy: Behaviour::Built(barepod_kinds::strategy(stored_group, plural)),
                structure: Structure::Table(ty),
                prefix,
                api_version: resource.api_version(),
                serial: tokio::sync::Mutex::new(()),
                forms: Forms::of(resource, conversion),
            }));
        }
        Registry { kinds }
    }

    /// Every served resource, by group in the order of discovery.
    pub fn kinds(&self) -> &[Arc<Kind>] {
        &self.kinds
    }

    /// A served resource by path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.kinds.iter().find(|kind| {
            kind.resource.plural == plural && kind.resource.group == group && kind.resource.version == version
        })
    }

    /// A served resource by name, in whatever version it is served.
    pub fn find_any(&self, group: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.kinds
            .iter()
            .find(|kind| kind.resource.plural == plural && kind.resource.group == group)
    }

    /// The group versions, each once.
    pub fn versions(&self) -> Vec<(&str, &str)> {
        let mut versions = Vec::new();
        for kind in &self.kinds {
            let version = (&*kind.resource.group, &*kind.resource.version);
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        versions
    }

    /// Whether anything of a group version is built in.
    pub fn serves_version(&self, group: &str, version: &str) -> bool {
        let mut kinds = self.kinds.iter();
        kinds.any(|kind| kind.resource.group == group && kind.resource.version == version)
    }

    /// Whether a row of the table of facts is served.
    pub fn serves(&self, resource: &Resource) -> bool {
        self.kinds.iter().any(|kind| std::ptr::eq(&*kind.resource, resource))
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}
