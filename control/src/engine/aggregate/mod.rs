//! Group versions that other servers serve, named by APIServices: who they are, and what they said they serve.

mod discovered;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use serde_json::Value;

pub use discovered::Discovered;

use super::head::parse;
use super::status::{ApiError, ApiResult};
use super::{Engine, locate};
use crate::http::{Extension, Trust};

/// The port of a Service that an APIService does not name one of.
const DEFAULT_PORT: u64 = 443;

/// An APIService that names a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregated {
    /// `version.group`.
    pub name: String,
    /// The group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// The Service's port.
    pub port: String,
    /// Whose certificate is accepted.
    pub trust: Trust,
    /// Whether it was found to be there.
    pub available: bool,
    /// Of the group, among groups; greater comes first.
    pub group_priority: i64,
    /// Of the version, in the group; greater comes first.
    pub version_priority: i64,
}

impl Aggregated {
    /// Reads an APIService; `None` if the API server itself serves what it names.
    pub fn read(object: &Value) -> Option<Self> {
        let spec = &object["spec"];
        let service = spec["service"].as_object()?;
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let bundle = spec["caBundle"].as_str().filter(|bundle| !bundle.is_empty());
        let trust = match bundle {
            Some(bundle) => {
                let pem = base64::engine::general_purpose::STANDARD.decode(bundle);
                Trust::Bundle(pem.unwrap_or_default())
            }
            None if spec["insecureSkipTLSVerify"] == true => Trust::Anybody,
            None => Trust::System,
        };
        let conditions = object["status"]["conditions"].as_array();
        let available = conditions.is_some_and(|conditions| {
            conditions
                .iter()
                .any(|condition| condition["type"] == "Available" && condition["status"] == "True")
        });
        Some(Aggregated {
            name: text(&object["metadata"]["name"]),
            group: text(&spec["group"]),
            version: text(&spec["version"]),
            namespace: text(service.get("namespace")?),
            service: text(service.get("name")?),
            port: service
                .get("port")
                .and_then(Value::as_u64)
                .unwrap_or(DEFAULT_PORT)
                .to_string(),
            trust,
            available,
            group_priority: spec["groupPriorityMinimum"].as_i64().unwrap_or(0),
            version_priority: spec["versionPriority"].as_i64().unwrap_or(0),
        })
    }

    /// Where it is reached now.
    ///
    /// # Errors
    /// The Service, its port or a ready endpoint is missing.
    pub fn extension(&self, engine: &Engine) -> ApiResult<Extension> {
        let (host, port) = locate::reach(engine, &self.namespace, &self.service, &self.port)?;
        Ok(Extension {
            host,
            port,
            name: format!("{}.{}.svc", self.service, self.namespace),
            trust: self.trust.clone(),
        })
    }
}

/// What other servers serve, as they said last.
#[derive(Default)]
pub(super) struct Aggregates {
    discovered: Mutex<BTreeMap<String, Arc<Discovered>>>,
    /// Changes with every change.
    generation: AtomicU64,
}

impl Engine {
    /// Who serves a group version, if that is another server.
    pub fn aggregated(&self, group: &str, version: &str) -> Option<Aggregated> {
        // What is built in is never anybody else's.
        if !group.contains('.') || self.registry.serves_version(group, version) {
            return None;
        }
        let services = self.registry.find_any("apiregistration.k8s.io", "apiservices")?;
        let object = self.store.get(&services.key("", &format!("{version}.{group}")))?;
        Aggregated::read(&parse(&object))
    }

    /// Who answers a request with this path, if that is another server; and whether the path is a document about it.
    pub fn forwarded(&self, path: &str) -> Option<Aggregated> {
        let below = path
            .strip_prefix("/openapi/v3")
            .unwrap_or(path)
            .strip_prefix("/apis/")?;
        let mut segments = below.split('/');
        let (group, version) = (segments.next()?, segments.next()?);
        self.aggregated(group, version)
    }

    /// What another server said last that it serves.
    pub fn discovered_before(&self, name: &str) -> Option<Arc<Discovered>> {
        self.discovered().get(name).cloned()
    }

    /// Notes what another server serves; `None` if that is nothing any more.
    pub fn set_discovered(&self, name: &str, found: Option<Discovered>) {
        let mut discovered = self.discovered();
        let changed = match found {
            Some(found) if discovered.get(name).is_some_and(|known| **known == found) => false,
            Some(found) => {
                discovered.insert(name.to_owned(), Arc::new(found));
                true
            }
            None => discovered.remove(name).is_some(),
        };
        if changed {
            self.aggregates.generation.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What other servers serve, greater priorities first, with what stands for its state.
    pub(super) fn foreign(&self) -> (u64, Vec<Arc<Discovered>>) {
        let discovered = self.discovered();
        let mut all: Vec<Arc<Discovered>> = discovered.values().cloned().collect();
        all.sort_by(|a, b| {
            let priority = (b.group_priority, b.version_priority).cmp(&(a.group_priority, a.version_priority));
            priority.then_with(|| (&a.group, &a.version).cmp(&(&b.group, &b.version)))
        });
        (self.aggregates.generation.load(Ordering::Relaxed), all)
    }

    fn discovered(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Discovered>>> {
        self.aggregates
            .discovered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// 503, in words that tell who is missing.
pub fn unavailable(aggregated: &Aggregated, why: &str) -> ApiError {
    ApiError::unavailable(format!(
        "the server of {}/{} (Service {}/{}) cannot be reached: {why}",
        aggregated.group, aggregated.version, aggregated.namespace, aggregated.service
    ))
}
