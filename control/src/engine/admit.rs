//! Admission: the life of namespaces as far as other objects feel it, and every plugin.

use std::time::Instant;

use barepod_admission::{self as admission, Notes, Operation, Refusal, World};
use barepod_auth::attributes::Attributes;
use barepod_auth::rbac::Policy;
use barepod_kinds::{Cluster, scale};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::head::Head;
use super::identity::User;
use super::request::{Query, Request, ResourcePath};
use super::status::{ApiError, ApiResult};
use super::webhook::{Round, Told};
use super::{Engine, Target, meta};

/// A write, as far as plugins need to know it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admission<'a> {
    pub(super) operation: Operation,
    pub(super) target: Target<'a>,
    /// The subresource written through; empty for the object itself.
    pub(super) subresource: &'a str,
    /// The stored object, of updates and removals.
    pub(super) old: Option<&'a Value>,
    pub(super) now: Timestamp,
    pub(super) dry_run: bool,
}

impl Admission<'_> {
    /// Whether this only says in a pod why it goes: it is the eviction that was asked about.
    fn is_asked_already(&self) -> bool {
        self.subresource == "eviction" && self.operation == Operation::Update
    }
}

impl World for Engine {
    fn cluster(&self) -> &dyn Cluster {
        self
    }

    fn may(&self, asked: &Attributes<'_>) -> bool {
        self.access.refusal(asked).is_none()
    }

    fn policy(&self, ask: &mut dyn FnMut(&Policy)) {
        self.access.policy(|policy| ask(policy));
    }

    fn generate_name(&self, base: &str) -> String {
        meta::generate_name(base)
    }
}

impl Engine {
    /// Lets every plugin and then every webhook fill in or refuse. When a webhook changed something, they see that too.
    pub(super) async fn admit(&self, request: &Request, write: Admission<'_>, object: &mut Value) -> ApiResult<()> {
        if write.is_asked_already() {
            return Ok(());
        }
        let began = Instant::now();
        let admitted = self.fill_in(request, write, object).await;
        self.note_step("admit", write.operation, admitted.is_err(), began);
        admitted
    }

    async fn fill_in(&self, request: &Request, write: Admission<'_>, object: &mut Value) -> ApiResult<()> {
        self.ask_plugins(request, write, |asked, notes| {
            admission::admit(self, asked, object, notes)
        })?;
        if write.subresource == "scale" {
            return self.admit_scale(request, write, object).await;
        }
        let Some(told) = told(request, write) else {
            return Ok(());
        };
        let mut round = Round::default();
        if self.change(told, object, &mut round).await? {
            self.ask_plugins(request, write, |asked, notes| {
                admission::admit(self, asked, object, notes)
            })?;
            round.again = true;
            self.change(told, object, &mut round).await?;
        }
        Ok(())
    }

    /// Lets every plugin and then every webhook refuse what is about to be stored or, if there is no object, removed.
    pub(super) async fn admit_result(
        &self,
        request: &Request,
        write: Admission<'_>,
        object: Option<&Value>,
    ) -> ApiResult<()> {
        if write.is_asked_already() {
            return Ok(());
        }
        let began = Instant::now();
        let admitted = self.look_at(request, write, object).await;
        self.note_step("validate", write.operation, admitted.is_err(), began);
        admitted
    }

    fn note_step(&self, phase: &str, operation: Operation, rejected: bool, began: Instant) {
        self.metrics
            .admission_step(phase, name_of(operation), rejected, began.elapsed());
    }

    async fn look_at(&self, request: &Request, write: Admission<'_>, object: Option<&Value>) -> ApiResult<()> {
        let told = told(request, write);
        if let (Some(told), Operation::Delete) = (told, write.operation) {
            self.change(told, &mut Value::Null, &mut Round::default()).await?;
        }
        self.plugins_admit(request, write, object)?;
        match told {
            Some(told) => self.judge(told, object.unwrap_or(&Value::Null)).await,
            None => Ok(()),
        }
    }

    /// Webhooks see the Scale that was written, not the object that has it.
    async fn admit_scale(&self, request: &Request, write: Admission<'_>, object: &mut Value) -> ApiResult<()> {
        let Some(paths) = write.target.kind.strategy.scale() else {
            return Ok(());
        };
        let old = write.old.map(|old| scale::render(old, &paths));
        let told = Told {
            operation: "UPDATE",
            target: write.target,
            subresource: "scale",
            old: old.as_ref(),
            sent: Some(("autoscaling/v1", "Scale")),
            dry_run: write.dry_run,
            user: &request.user,
            notes: &request.notes,
        };
        let written = scale::render(object, &paths);
        let mut scale = written.clone();
        self.admit_told(told, &mut scale).await?;
        if scale != written {
            scale::apply(object, &scale, &paths);
        }
        Ok(())
    }

    /// As for a write of the object itself, for something that is sent to a subresource, such as a Binding.
    pub(super) async fn admit_sent(
        &self,
        request: &Request,
        target: Target<'_>,
        subresource: &str,
        dry_run: bool,
        (api_version, kind): (&str, &str),
        sent: &mut Value,
    ) -> ApiResult<()> {
        let told = Told {
            operation: "CREATE",
            target,
            subresource,
            old: None,
            sent: Some((api_version, kind)),
            dry_run,
            user: &request.user,
            notes: &request.notes,
        };
        self.admit_told(told, sent).await
    }

    /// Asks the webhooks about a stream that is about to be opened.
    pub async fn admit_connect(&self, user: &User, path: &ResourcePath, query: &Query) -> ApiResult<()> {
        let Some(kind) = self.find(&path.group, &path.version, &path.resource) else {
            return Ok(());
        };
        let subresource = path.subresource.as_deref().unwrap_or("");
        let mut options = connection(&path.resource, subresource, query, path.rest.as_deref());
        let name = options["kind"].as_str().unwrap_or("").to_owned();
        let notes = std::sync::Mutex::default();
        let told = Told {
            operation: "CONNECT",
            target: Target {
                kind: &kind,
                namespace: path.namespace.as_deref().unwrap_or(""),
                name: path.name.as_deref().unwrap_or(""),
            },
            subresource,
            old: None,
            sent: Some(("v1", &name)),
            dry_run: false,
            user,
            notes: &notes,
        };
        self.admit_told(told, &mut options).await
    }

    async fn admit_told(&self, told: Told<'_>, sent: &mut Value) -> ApiResult<()> {
        let mut round = Round::default();
        if self.change(told, sent, &mut round).await? {
            round.again = true;
            self.change(told, sent, &mut round).await?;
        }
        self.judge(told, sent).await
    }

    /// Lets policies and then webhooks change what is written; true if one did.
    async fn change(&self, told: Told<'_>, object: &mut Value, round: &mut Round) -> ApiResult<bool> {
        if told.asked(told.target.kind).is_exempt() {
            return Ok(false);
        }
        let by_policies = !object.is_null() && self.ask_mutating_policies(told, object, round.again).await?;
        Ok(self.ask_mutating(told, object, round).await? || by_policies)
    }

    /// Lets policies and then webhooks refuse what is written.
    async fn judge(&self, told: Told<'_>, object: &Value) -> ApiResult<()> {
        if told.asked(told.target.kind).is_exempt() {
            return Ok(());
        }
        self.ask_validating_policies(told, object).await?;
        self.ask_validating(told, object).await
    }

    fn plugins_admit(&self, request: &Request, write: Admission<'_>, object: Option<&Value>) -> ApiResult<()> {
        let object = object.unwrap_or(&Value::Null);
        self.ask_plugins(request, write, |asked, notes| {
            admission::validate(self, asked, object, notes)
        })
    }

    fn ask_plugins(
        &self,
        request: &Request,
        write: Admission<'_>,
        ask: impl FnOnce(&admission::Request<'_>, &mut Notes) -> Result<(), Refusal>,
    ) -> ApiResult<()> {
        let Target { kind, namespace, name } = write.target;
        let asked = admission::Request {
            operation: write.operation,
            verb: match write.operation {
                Operation::Create => "create",
                Operation::Update if request.method == Method::PATCH => "patch",
                Operation::Update => "update",
                Operation::Delete => "delete",
            },
            user: &request.user,
            group: &kind.resource.group,
            resource: &kind.resource.plural,
            subresource: write.subresource,
            namespace,
            name,
            old: write.old,
            now: write.now,
        };
        ask(&asked, &mut request.notes()).map_err(|refusal| match refusal {
            Refusal::Denied(denied) => ApiError::denied(kind, name, denied),
            Refusal::NotFound { group, resource, name } => ApiError::not_found_named(group, resource, &name),
        })
    }

    /// Refuses content for a namespace that does not exist or goes away.
    pub(super) fn admit_namespace(&self, target: Target<'_>) -> ApiResult<()> {
        if !target.kind.resource.namespaced {
            return Ok(());
        }
        let namespaces = self
            .registry
            .find_any("", "namespaces")
            .ok_or_else(ApiError::no_such_resource)?;
        let Some(object) = self.store.get(&namespaces.key("", target.namespace)) else {
            return Err(ApiError::not_found(namespaces, target.namespace));
        };
        let head = Head::of(namespaces, &object);
        let namespace = head.value(&object);
        let marked = namespace
            .pointer("/metadata/deletionTimestamp")
            .is_some_and(|time| !time.is_null());
        let terminating = namespace
            .pointer("/status/phase")
            .is_some_and(|phase| phase == "Terminating");
        if marked || terminating {
            return Err(ApiError::namespace_terminating(
                target.kind,
                target.name,
                target.namespace,
            ));
        }
        Ok(())
    }
}

/// As webhooks are told it.
fn name_of(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
    }
}

/// What webhooks are told of a write. Of what is sent to some subresources they are told there.
fn told<'a>(request: &'a Request, write: Admission<'a>) -> Option<Told<'a>> {
    if matches!(write.subresource, "binding" | "scale" | "eviction") {
        return None;
    }
    Some(Told {
        operation: name_of(write.operation),
        target: write.target,
        subresource: write.subresource,
        old: write.old,
        sent: None,
        dry_run: write.dry_run,
        user: &request.user,
        notes: &request.notes,
    })
}

/// What a client wants of a stream, as webhooks are shown it.
fn connection(resource: &str, subresource: &str, query: &Query, rest: Option<&str>) -> Value {
    let kind = match (resource, subresource) {
        ("pods", "exec") => "PodExecOptions",
        ("pods", "attach") => "PodAttachOptions",
        ("pods", "portforward") => "PodPortForwardOptions",
        ("pods", "log") => "PodLogOptions",
        ("pods", _) => "PodProxyOptions",
        ("services", _) => "ServiceProxyOptions",
        _ => "NodeProxyOptions",
    };
    let mut options = json!({"kind": kind, "apiVersion": "v1"});
    if subresource == "proxy" {
        options["path"] = rest.unwrap_or("").into();
        return options;
    }
    for flag in ["stdin", "stdout", "stderr", "tty"] {
        if let Ok(Some(value)) = query.flag(flag) {
            options[flag] = value.into();
        }
    }
    if let Some(container) = query.get("container") {
        options["container"] = container.into();
    }
    let command: Vec<&str> = query.all("command").collect();
    if !command.is_empty() {
        options["command"] = json!(command);
    }
    let ports: Vec<i64> = query.all("ports").filter_map(|port| port.parse().ok()).collect();
    if !ports.is_empty() {
        options["ports"] = json!(ports);
    }
    options
}
