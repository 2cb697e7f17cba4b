//! Admission webhooks: who is asked about a write, in which form, and what comes of the answers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use barepod_admission::Notes;
use barepod_admission::matching::{Asked, Matching};
use barepod_admission::webhook::{Phase, Verdict, Webhook, verdict};
use barepod_schema::patch;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::call::Place;
use super::decode::{self, Expected};
use super::identity::User;
use super::registry::Kind;
use super::status::{ApiError, ApiResult};
use super::{Engine, Target, meta};

/// A write as webhooks are told of it.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    /// `CREATE`, `UPDATE`, `DELETE`, `CONNECT`.
    pub(super) operation: &'static str,
    pub(super) target: Target<'a>,
    /// The subresource; empty for the object itself.
    pub(super) subresource: &'a str,
    /// The stored object before, if there is one.
    pub(super) old: Option<&'a Value>,
    /// Version and kind of what is sent, if that is no object of the target's kind: a Binding, an Eviction.
    pub(super) sent: Option<(&'a str, &'a str)>,
    pub(super) dry_run: bool,
    pub(super) user: &'a User,
    pub(super) notes: &'a Mutex<Notes>,
}

impl Told<'_> {
    pub(super) fn note(&self, write: impl FnOnce(&mut Notes)) {
        write(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn asked<'k>(&'k self, kind: &'k Kind) -> Asked<'k> {
        let resource = &kind.resource;
        let itself = resource.plural == "namespaces" && resource.group.is_empty() && self.operation != "CREATE";
        Asked {
            operation: self.operation,
            group: &resource.group,
            version: &resource.version,
            resource: &resource.plural,
            subresource: self.subresource,
            namespace: if itself {
                self.target.name
            } else {
                self.target.namespace
            },
            name: self.target.name,
        }
    }

    fn options(&self) -> Value {
        let kind = match self.operation {
            "CREATE" => "CreateOptions",
            "UPDATE" => "UpdateOptions",
            "DELETE" => "DeleteOptions",
            _ => return Value::Null,
        };
        let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        options
    }
}

impl Engine {
    /// Asks the webhooks that may change the object; true if one did. `object` is null where nothing is sent.
    pub(super) async fn ask_mutating(&self, told: Told<'_>, object: &mut Value, round: &mut Round) -> ApiResult<bool> {
        let hooks = self.hooks.of(Phase::Mutating);
        if hooks.is_empty() {
            return Ok(false);
        }
        let mut changed = false;
        if round.again && round.last.as_ref() != Some(&*object) {
            round.require();
        }
        for (at, hook) in hooks.iter().enumerate() {
            let Some(kind) = self.concerned(hook, told, object).await? else {
                continue;
            };
            let id = (hook.configuration.clone(), hook.name.clone());
            if round.again && !round.required.contains(&id) {
                continue;
            }
            let shown = shown(&kind, told, object).await?;
            let answer = self.ask(hook, Phase::Mutating, &kind, told, &shown).await;
            let Some(verdict) = settle(hook, Phase::Mutating, at, told, answer)? else {
                continue;
            };
            let mut mutated = false;
            if let Some(patch) = verdict.patch {
                let new = patched(&hook.name, &kind, told, &shown, &patch).await?;
                mutated = new != *object;
                *object = new;
            }
            let number = u8::from(round.again);
            let what = json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": mutated});
            let key = format!("mutation.webhook.admission.k8s.io/round_{number}_index_{at}");
            told.note(|notes| notes.audit.push((key, what.to_string())));
            if mutated {
                changed = true;
                round.require();
            }
            if hook.again {
                round.asked.insert(id);
            }
        }
        round.last = Some(object.clone());
        Ok(changed)
    }

    /// Asks the webhooks that say yes or no, all at once.
    pub(super) async fn ask_validating(&self, told: Told<'_>, object: &Value) -> ApiResult<()> {
        let hooks = self.hooks.of(Phase::Validating);
        if hooks.is_empty() {
            return Ok(());
        }
        let mut concerned = Vec::new();
        for (at, hook) in hooks.iter().enumerate() {
            if let Some(kind) = self.concerned(hook, told, object).await? {
                concerned.push((at, hook, kind));
            }
        }
        let calls = concerned.iter().map(async |(_, hook, kind)| {
            let shown = shown(kind, told, object).await;
            let shown = shown.map_err(|error| Failure::Call(error.message))?;
            self.ask(hook, Phase::Validating, kind, told, &shown).await
        });
        for ((at, hook, _), answer) in concerned.iter().zip(join_all(calls).await) {
            settle(hook, Phase::Validating, *at, told, answer)?;
        }
        Ok(())
    }

    /// The version of the object that a webhook wants to see; `None` if it is not about it.
    async fn concerned(&self, hook: &Webhook, told: Told<'_>, object: &Value) -> ApiResult<Option<Arc<Kind>>> {
        let Some(kind) = self.matched(&hook.matching, told, object)? else {
            return Ok(None);
        };
        match self.conditions_hold(&hook.conditions, &kind, told, object).await? {
            Ok(true) => Ok(Some(kind)),
            Ok(false) => Ok(None),
            Err(_) if hook.passes_on_failure => Ok(None),
            Err(why) => Err(ApiError::forbidden(told.target.kind, told.target.name, &why)),
        }
    }

    /// The version of the object that rules are about, if the selectors match too.
    pub(super) fn matched(&self, matching: &Matching, told: Told<'_>, object: &Value) -> ApiResult<Option<Arc<Kind>>> {
        let own = told.target.kind;
        let found = if matching.rules_match(&told.asked(own)) {
            Some(own.clone())
        } else if matching.is_equivalent() {
            let others = self.equivalents(own);
            others.into_iter().find(|kind| matching.rules_match(&told.asked(kind)))
        } else {
            None
        };
        match found {
            Some(kind) if self.selected(matching, told, object)? => Ok(Some(kind)),
            _ => Ok(None),
        }
    }

    /// Other versions of a kind that share its objects.
    pub(super) fn equivalents(&self, kind: &Arc<Kind>) -> Vec<Arc<Kind>> {
        let shares = |other: &&Arc<Kind>| other.prefix == kind.prefix && !Arc::ptr_eq(other, kind);
        let built = self.registry.kinds().iter().filter(shares).cloned();
        let custom = match kind.documented() {
            Some(_) => self.custom_kinds().1,
            None => Vec::new(),
        };
        built.chain(custom.iter().filter(shares).cloned()).collect()
    }

    /// The Namespace that a write is in. One that is itself written is in itself.
    pub(super) fn namespace_of(&self, told: Told<'_>, object: &Value, wanted: bool) -> ApiResult<Option<Value>> {
        let Target { kind, namespace, name } = told.target;
        if !wanted {
            return Ok(None);
        }
        if kind.is_core("namespaces") {
            if !object.is_null() {
                return Ok(Some(object.clone()));
            }
            return self.lookup("", "namespaces", "", name).map(Some);
        }
        if namespace.is_empty() {
            return Ok(None);
        }
        self.lookup("", "namespaces", "", namespace).map(Some)
    }

    /// Calls a webhook; an error is a call that failed.
    async fn ask(
        &self,
        hook: &Webhook,
        phase: Phase,
        kind: &Kind,
        told: Told<'_>,
        object: &Value,
    ) -> Result<Verdict, Failure> {
        let began = Instant::now();
        let verdict = if told.dry_run && !hook.dry_run {
            let why = format!("admission webhook {:?} does not support dry run", hook.name);
            Err(Failure::Unsupported(why))
        } else {
            self.verdict_of(hook, phase, kind, told, object).await
        };
        let rejected = verdict.as_ref().is_ok_and(|verdict| verdict.refused.is_some());
        let (metrics, took) = (&self.metrics, began.elapsed());
        metrics.webhook(&hook.name, step(phase), told.operation, rejected, took);
        let ended = match &verdict {
            Ok(Verdict { refused: None, .. }) => None,
            Ok(Verdict {
                refused: Some(status), ..
            }) => Some(("no_error", ApiError::from_status(status).code)),
            Err(Failure::Call(_)) if hook.passes_on_failure => {
                metrics.webhook_failed_open(&hook.name, step(phase));
                None
            }
            Err(Failure::Call(_)) => Some(("calling_webhook_error", 503)),
            Err(Failure::Unsupported(_)) => Some(("apiserver_internal_error", 0)),
        };
        if let Some((error, code)) = ended {
            metrics.webhook_rejected(&hook.name, step(phase), told.operation, error, code);
        }
        verdict
    }

    async fn verdict_of(
        &self,
        hook: &Webhook,
        phase: Phase,
        kind: &Kind,
        told: Told<'_>,
        object: &Value,
    ) -> Result<Verdict, Failure> {
        let uid = meta::new_uid();
        let request = review(&uid, kind, told, object).await;
        let review = json!({
            "kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{}", hook.version),
            "request": request.map_err(|error| Failure::Call(error.message))?,
        });
        let answer = self.post(hook, &review).await.map_err(Failure::Call)?;
        verdict(hook, phase, &uid, &answer).map_err(Failure::Call)
    }

    async fn post(&self, hook: &Webhook, review: &Value) -> Result<Value, String> {
        let place = Place::of(self, &hook.client).map_err(|error| error.message)?;
        let seconds = hook.timeout_seconds;
        place.post(&self.extensions, "admission", seconds, review).await
    }
}

/// The phase as the metrics of webhooks name it.
fn step(phase: Phase) -> &'static str {
    match phase {
        Phase::Mutating => "admit",
        Phase::Validating => "validating",
    }
}

/// What was asked already for one write, so that some can be asked again about what others changed.
#[derive(Default)]
pub(super) struct Round {
    /// Whether this is the second round.
    pub(super) again: bool,
    asked: BTreeSet<(String, String)>,
    required: BTreeSet<(String, String)>,
    last: Option<Value>,
}

impl Round {
    /// The object changed: those asked so far are to see it.
    fn require(&mut self) {
        self.required.append(&mut self.asked);
    }
}

/// Why there is no verdict.
enum Failure {
    /// The call failed.
    Call(String),
    /// It must not be called.
    Unsupported(String),
}

/// Takes an answer in: what it says beside yes and no, and whether a failed call matters.
fn settle(
    hook: &Webhook,
    phase: Phase,
    at: usize,
    told: Told<'_>,
    answer: Result<Verdict, Failure>,
) -> ApiResult<Option<Verdict>> {
    match answer {
        Ok(mut verdict) => {
            let (warnings, audit) = (
                std::mem::take(&mut verdict.warnings),
                std::mem::take(&mut verdict.audit),
            );
            told.note(|notes| {
                notes.warnings.extend(warnings);
                notes.audit.extend(audit);
            });
            match &verdict.refused {
                Some(status) => Err(ApiError::from_status(status)),
                None => Ok(Some(verdict)),
            }
        }
        Err(Failure::Unsupported(why)) => Err(ApiError::bad_request(why)),
        Err(Failure::Call(why)) if hook.passes_on_failure => {
            tracing::warn!(
                webhook = hook.name,
                why,
                "a webhook failed, the request goes on without it"
            );
            let key = format!(
                "failed-open.{}.webhook.admission.k8s.io/round_0_index_{at}",
                phase.name()
            );
            told.note(|notes| notes.audit.push((key, hook.name.clone())));
            Ok(None)
        }
        Err(Failure::Call(why)) => Err(ApiError::internal(format!(
            "failed calling webhook {:?}: failed to call webhook: {why}",
            hook.name
        ))),
    }
}

/// An object in the version that a webhook asks for.
pub(super) async fn shown(kind: &Kind, told: Told<'_>, object: &Value) -> ApiResult<Value> {
    if object.is_null() || told.sent.is_some() {
        Ok(object.clone())
    } else {
        Ok(kind.shown(object).await?.into_owned())
    }
}

/// The object after a patch, as it would be stored.
pub(super) async fn patched(
    who: &str,
    kind: &Arc<Kind>,
    told: Told<'_>,
    shown: &Value,
    patch: &Value,
) -> ApiResult<Value> {
    if shown.is_null() {
        return Err(ApiError::internal(format!(
            "admission webhook {who:?} attempted to modify the object, which is not supported for this operation"
        )));
    }
    let wrong = |why: String| ApiError::internal(format!("the patch of {who:?}: {why}"));
    let mut new = patch::json(shown, patch).map_err(|error| wrong(error.to_string()))?;
    let (api_version, name) = told.sent.unwrap_or((&kind.api_version, &kind.resource.kind));
    let expected = Expected {
        api_version,
        kind: name,
        shape: match told.sent {
            None => kind.structure.shape(),
            Some(_) => {
                let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
                barepod_schema::type_of(group, version, name).into()
            }
        },
    };
    decode::set_kind(&mut new, &expected)
        .and_then(|()| decode::conform(&mut new, &expected, Vec::new()))
        .map_err(|error| wrong(error.message))?;
    if told.sent.is_none() {
        kind.to_stored(&mut new).await?;
        kind.default_stored(&mut new);
    }
    Ok(new)
}

/// The `request` of a review, also what policies see as `request`.
pub(super) async fn review(uid: &str, kind: &Kind, told: Told<'_>, object: &Value) -> ApiResult<Value> {
    let asked = told.asked(kind);
    let own = told.target.kind;
    let name_of = |kind: &Kind| match told.sent {
        Some((api_version, name)) => {
            let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
            json!({"group": group, "version": version, "kind": name})
        }
        None => json!({"group": kind.resource.group, "version": kind.resource.version, "kind": kind.resource.kind}),
    };
    let resource = |kind: &Kind| json!({"group": kind.resource.group, "version": kind.resource.version, "resource": kind.resource.plural});
    let old = shown(kind, told, told.old.unwrap_or(&Value::Null)).await?;
    let mut request = json!({
        "uid": uid, "kind": name_of(kind), "resource": resource(kind),
        "requestKind": name_of(own), "requestResource": resource(own),
        "operation": told.operation, "userInfo": told.user.to_value(),
        "object": object, "oldObject": old, "dryRun": told.dry_run, "options": told.options(),
    });
    let parts = [
        ("name", asked.name),
        ("namespace", asked.namespace),
        ("subResource", asked.subresource),
        ("requestSubResource", asked.subresource),
    ];
    for (key, text) in parts.into_iter().filter(|(_, text)| !text.is_empty()) {
        request[key] = text.into();
    }
    Ok(request)
}
