//! The one engine behind every kind: verbs, metadata, concurrency, selection and representation.
//!
//! A kind is a row of facts plus a strategy; nothing here knows one by name, except the few resources whose
//! subresources are verbs of their own (bindings, evictions, namespace finalization).

pub mod accept;
mod admit;
pub mod aggregate;
mod authenticate;
mod binding;
pub mod body;
mod call;
mod cluster;
mod components;
mod create;
mod custom;
mod decode;
mod delete;
mod deletecollection;
mod discovery;
mod encode;
mod eviction;
mod fair;
mod finalize;
mod forms;
pub mod fresh;
mod get;
mod head;
mod health;
pub mod identity;
mod list;
pub mod locate;
mod meta;
mod metrics;
mod openapi;
mod options;
mod patch;
mod policy;
mod quota;
pub mod registry;
mod reply;
pub mod request;
mod review;
mod route;
mod scale;
mod select;
pub mod status;
mod table;
mod token;
mod update;
mod version;
mod watch;
mod webhook;

pub use authenticate::Bearer;
pub(crate) use call::chain;
pub(crate) use head::{Head, parse};
pub(crate) use route::verb_of;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use barepod_auth::certificate::Authority;
use barepod_kinds::Settings;
use barepod_store::{Object, Store};
use jiff::Timestamp;
use serde_json::Value;

use crate::access::{Access, Audit, Fairness, Hooks, Policies, Tokens};
use crate::http::Extensions;
use crate::metrics::Metrics;
use crate::quiet::Quiet;
use registry::{Kind, Registry};
use status::{ApiError, ApiResult};

/// The engine.
pub struct Engine {
    store: Arc<dyn Store>,
    registry: Registry,
    settings: Settings,
    ready: AtomicBool,
    stopping: AtomicBool,
    discovery: discovery::Current,
    customs: custom::Customs,
    aggregates: aggregate::Aggregates,
    extensions: Arc<Extensions>,
    access: Arc<Access>,
    tokens: Tokens,
    quotas: quota::Locks,
    signs: Option<Authority>,
    /// Where clients reach this server.
    address: String,
    fairness: Fairness,
    hooks: Hooks,
    policies: Policies,
    audit: Option<Audit>,
    quiet: Quiet,
    metrics: Metrics,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine over a store, with the cluster's tokens.
    pub fn new(store: Arc<dyn Store>, settings: Settings, tokens: Tokens) -> Self {
        let registry = Registry::new();
        let discovery = discovery::Current::new(&registry);
        let fairness = Fairness::new(&store);
        let hooks = Hooks::new(&store);
        let policies = Policies::new(&store);
        let access = Access::new(&store, registry.find_any("", "pods").cloned());
        Engine {
            access: Arc::new(access),
            tokens,
            quotas: quota::Locks::default(),
            signs: None,
            address: String::new(),
            fairness,
            hooks,
            policies,
            audit: None,
            store,
            registry,
            settings,
            ready: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            customs: custom::Customs::default(),
            aggregates: aggregate::Aggregates::default(),
            extensions: Arc::default(),
            discovery,
            quiet: Quiet::default(),
            metrics: Metrics::default(),
        }
    }

    /// The same, reached at a host and port.
    pub fn with_address(mut self, address: String) -> Self {
        self.address = address;
        self
    }

    /// The same, with the authority that signs certificate requests.
    pub fn with_authority(mut self, authority: Option<Authority>) -> Self {
        self.signs = authority;
        self
    }

    /// The same, writing down requests as a policy says.
    pub fn with_audit(mut self, audit: Option<Audit>) -> Self {
        self.audit = audit;
        self
    }

    /// The same, calling what extends the API with a certificate.
    pub fn with_extensions(mut self, extensions: Extensions) -> Self {
        self.extensions = Arc::new(extensions);
        self
    }

    /// What calls aggregated API servers and webhooks.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// The audit log.
    pub fn audit(&self) -> Option<&Audit> {
        self.audit.as_ref()
    }

    /// The authority that signs certificate requests.
    pub fn signs(&self) -> Option<&Authority> {
        self.signs.as_ref()
    }

    /// Says that the cluster has its first objects, for `/livez` and `/readyz`.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// Says that the process is about to end, for `/readyz`.
    pub fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the cluster has its first objects.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Whether the process is about to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// What is served.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What gives memory back when requests cease.
    pub fn quiet(&self) -> &Quiet {
        &self.quiet
    }

    /// What decides about requests.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The cluster's tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// What is stored below a prefix.
    pub(crate) fn stored(&self, prefix: &str) -> Vec<Arc<Object>> {
        let range = barepod_store::Range {
            prefix,
            ..barepod_store::Range::default()
        };
        self.store.range(&range).map(|page| page.objects).unwrap_or_default()
    }

    /// What is stored under a key.
    pub(crate) fn stored_one(&self, key: &str) -> Option<Arc<Object>> {
        self.store.get(key)
    }

    /// A selectable field of an object of a core resource.
    pub(crate) fn field(&self, object: &Object, resource: &str, field: &str) -> Option<String> {
        let kind = self.registry.find_any("", resource)?;
        Head::of(kind, object).field(field).map(str::to_owned)
    }

    /// An object by resource and name, for parts of this process.
    pub fn lookup(&self, group: &str, resource: &str, namespace: &str, name: &str) -> ApiResult<Value> {
        let kind = self
            .registry
            .find_any(group, resource)
            .ok_or_else(ApiError::no_such_resource)?;
        let object = self
            .store
            .get(&kind.key(namespace, name))
            .ok_or_else(|| ApiError::not_found(kind, name))?;
        Ok(parse(&object))
    }

    /// Every object of a resource in a namespace, for parts of this process.
    pub fn lookup_all(&self, group: &str, resource: &str, namespace: &str) -> Vec<Value> {
        let Some(kind) = self.registry.find_any(group, resource) else {
            return Vec::new();
        };
        let prefix = kind.prefix_in(Some(namespace));
        let range = barepod_store::Range {
            prefix: &prefix,
            ..barepod_store::Range::default()
        };
        let page = self.store.range(&range).unwrap_or_default();
        page.objects.iter().map(|object| parse(object)).collect()
    }

    fn context<'a>(
        &'a self,
        now: Timestamp,
        user: &'a identity::User,
        namespace: &'a str,
    ) -> barepod_kinds::Context<'a> {
        barepod_kinds::Context {
            now,
            user: &user.name,
            groups: &user.groups,
            namespace,
            cluster: self,
            settings: &self.settings,
        }
    }
}

/// The response of a request that failed outside of the engine.
pub fn error_response(error: &ApiError) -> http::Response<body::Body> {
    reply::error(error, false)
}

/// A random UUID.
pub fn new_uid() -> String {
    meta::new_uid()
}

/// A response of plain text.
pub fn text_response(code: u16, text: &str) -> http::Response<body::Body> {
    reply::text(code, text)
}

/// The object a request is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) kind: &'a Arc<Kind>,
    /// Empty for cluster-scoped kinds and for requests across namespaces.
    pub(crate) namespace: &'a str,
    /// Empty where the name comes from the body.
    pub(crate) name: &'a str,
}

impl Target<'_> {
    pub(crate) fn key(&self) -> String {
        self.kind.key(self.namespace, self.name)
    }

    pub(crate) fn not_found(&self) -> ApiError {
        ApiError::not_found(self.kind, self.name)
    }
}

/// A storage failure as an API error.
pub(crate) fn storage_error(error: &barepod_store::Error) -> ApiError {
    match error {
        barepod_store::Error::Full { .. } => ApiError::internal(error),
        barepod_store::Error::Closed => ApiError::unavailable("the control service is stopping"),
        other => {
            let cause = std::error::Error::source(other)
                .map(|source| format!(": {source}"))
                .unwrap_or_default();
            ApiError::internal(format!("{other}{cause}"))
        }
    }
}
