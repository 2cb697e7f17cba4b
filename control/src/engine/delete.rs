//! Removing objects, at once or with grace.

use std::sync::Arc;

use barepod_admission::Operation;
use barepod_kinds::{DeleteMode, DeleteOptions, Invalid, Kind as ErrorKind};
use barepod_schema::Shape;
use barepod_store::{Change, Expect, Object, Write, WriteError};
use http::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::admit::Admission;
use super::body::Body;
use super::decode::{self, Expected};
use super::encode::encode;
use super::head::{Head, parse};
use super::registry::Kind;
use super::reply::{self, Answer};
use super::request::Request;
use super::status::{self, ApiError, ApiResult};
use super::{Engine, Target, meta, storage_error};

/// How often a removal is tried again when somebody else changes the object.
const ATTEMPTS: usize = 50;

/// Core resources whose removal answers with the object instead of a Status.
const RETURNED: [&str; 4] = ["pods", "services", "serviceaccounts", "namespaces"];

/// The options of a removal.
#[derive(Debug, Clone, Default)]
pub(super) struct Removal {
    pub(super) options: DeleteOptions,
    pub(super) dry_run: bool,
    /// What it was asked through: empty, or `eviction`.
    pub(super) subresource: &'static str,
    /// Whether dependents were asked to go in the words of old clients, which hear of it when the object stays for now.
    cascades: bool,
    uid: Option<String>,
    /// The version that the object must have.
    pub(super) revision: Option<String>,
}

/// What became of the object.
#[derive(Debug)]
pub(super) enum Removed {
    /// It is gone; this was its last state.
    Gone(Answer),
    /// It stays until its grace period is over or its finalizers are done.
    Marked(Answer),
}

/// One step of a removal.
pub(super) enum Step {
    /// Nothing is to be written.
    Done(Removed),
    /// This is to be written, which removes the object if the flag is set.
    Write(Write, bool),
}

impl Removal {
    /// Reads the body and the query.
    pub(super) fn parse(request: &Request) -> ApiResult<Self> {
        let mut options = json!({});
        if !request.body.is_empty() {
            let expected = Expected {
                api_version: "v1",
                kind: "DeleteOptions",
                shape: Shape::Unknown,
            };
            options = decode::decode(&request.content_type, &request.body, &expected)?.value;
            let kind = options.get("kind").and_then(Value::as_str).unwrap_or("");
            if !options.is_object() || !matches!(kind, "" | "DeleteOptions") {
                return Err(ApiError::bad_request("the body of a delete must be DeleteOptions"));
            }
        }
        let query = &request.query;
        if let Some(seconds) = query.number("gracePeriodSeconds")? {
            options["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(policy) = query.get("propagationPolicy") {
            options["propagationPolicy"] = policy.into();
        }
        if let Some(orphan) = query.flag("orphanDependents")? {
            options["orphanDependents"] = orphan.into();
        }
        if let Some(dry_run) = query.get("dryRun") {
            options["dryRun"] = json!([dry_run]);
        }
        Self::from_value(&options)
    }

    /// Reads a `DeleteOptions`.
    pub(super) fn from_value(options: &Value) -> ApiResult<Self> {
        let invalid = |field: &str, kind, value: &Value, detail: &str| {
            let (field, detail) = (field.to_owned(), detail.to_owned());
            Err(ApiError::invalid_options(
                "DeleteOptions",
                Invalid {
                    field,
                    kind,
                    value: value.clone(),
                    detail,
                },
            ))
        };
        let policy = &options["propagationPolicy"];
        if !policy.is_null() {
            if !options["orphanDependents"].is_null() {
                let detail = "orphanDependents and deletionPropagation cannot be both set";
                return invalid("propagationPolicy", ErrorKind::Invalid, policy, detail);
            }
            if !matches!(policy.as_str(), Some("Background" | "Foreground" | "Orphan")) {
                let detail = "supported values: \"Background\", \"Foreground\", \"Orphan\"";
                return invalid("propagationPolicy", ErrorKind::NotSupported, policy, detail);
            }
        }
        let dry_run = options["dryRun"].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(other) = dry_run.iter().find(|value| *value != "All") {
            return invalid("dryRun", ErrorKind::NotSupported, other, "supported values: \"All\"");
        }
        let precondition = |key: &str| {
            options
                .pointer(&format!("/preconditions/{key}"))
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        Ok(Removal {
            options: DeleteOptions::from_value(options),
            dry_run: !dry_run.is_empty(),
            subresource: "",
            cascades: options["orphanDependents"] == false,
            uid: precondition("uid"),
            revision: precondition("resourceVersion"),
        })
    }

    pub(super) fn check(&self, kind: &Kind, name: &str, object: &Value) -> ApiResult<()> {
        let stored = meta::text(object, "uid");
        if let Some(uid) = self.uid.as_deref().filter(|uid| *uid != stored) {
            let why = format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({stored}). The object might have \
                 been deleted and then recreated"
            );
            return Err(ApiError::conflict_of_kind(
                &kind.resource.group,
                &kind.resource.kind,
                name,
                &why,
            ));
        }
        let stored = meta::text(object, "resourceVersion");
        if let Some(revision) = self.revision.as_deref().filter(|revision| *revision != stored) {
            let why = format!(
                "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record \
                 ({stored}). The object might have been modified"
            );
            return Err(ApiError::conflict_of_kind(
                &kind.resource.group,
                &kind.resource.kind,
                name,
                &why,
            ));
        }
        Ok(())
    }
}

impl Engine {
    pub(super) async fn delete(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        let removal = Removal::parse(request)?;
        let removed = self.remove(request, target, &removal).await?;
        let kind = target.kind;
        match removed {
            Removed::Marked(answer) if removal.cascades => reply::object(request, kind, 202, &answer).await,
            Removed::Marked(answer) => reply::object(request, kind, 200, &answer).await,
            Removed::Gone(answer) if RETURNED.iter().any(|plural| kind.is_core(plural)) => {
                reply::object(request, kind, 200, &answer).await
            }
            Removed::Gone(answer) => {
                let uid = match &answer {
                    Answer::Stored(object) => meta::text(&parse(object), "uid").to_owned(),
                    Answer::Loose(value) => meta::text(value, "uid").to_owned(),
                };
                let mut details = json!({"name": target.name, "kind": kind.resource.plural, "uid": uid});
                if !kind.resource.group.is_empty() {
                    details["group"] = (&*kind.resource.group).into();
                }
                Ok(reply::value(request, 200, &status::gone(details)))
            }
        }
    }

    /// Removes one object, or starts its removal.
    pub(super) async fn remove(&self, request: &Request, target: Target<'_>, removal: &Removal) -> ApiResult<Removed> {
        for _ in 0..ATTEMPTS {
            let current = self.store.get(&target.key()).ok_or_else(|| target.not_found())?;
            let (write, gone) = match self.removal_step(request, target, removal, &current).await? {
                Step::Done(removed) => return Ok(removed),
                Step::Write(write, gone) => (write, gone),
            };
            match self.store.write(write).await {
                Ok(object) if gone => return Ok(Removed::Gone(Answer::Stored(object))),
                Ok(object) => return Ok(Removed::Marked(Answer::Stored(object))),
                Err(WriteError::Storage(error)) => return Err(storage_error(&error)),
                Err(WriteError::Conflict { current: None }) => return Err(target.not_found()),
                Err(WriteError::Conflict { .. } | WriteError::Guard) => {}
            }
        }
        Err(ApiError::modified(target.kind, target.name))
    }

    /// What is to be done with an object as it is now.
    pub(super) async fn removal_step(
        &self,
        request: &Request,
        target: Target<'_>,
        removal: &Removal,
        current: &Arc<Object>,
    ) -> ApiResult<Step> {
        let (kind, now) = (target.kind, Timestamp::now());
        let object = parse(current);
        removal.check(kind, target.name, &object)?;
        let allowed = kind.strategy.may_delete(&object);
        allowed.map_err(|denied| ApiError::denied(kind, target.name, denied))?;
        let write = Admission {
            operation: Operation::Delete,
            target,
            subresource: removal.subresource,
            old: Some(&object),
            now,
            dry_run: removal.dry_run,
        };
        self.admit_result(request, write, None).await?;
        let mode = kind.strategy.delete(&object, &removal.options, now);
        let (change, gone) = match mode {
            DeleteMode::Unchanged => return Ok(Step::Done(Removed::Marked(Answer::Stored(current.clone())))),
            DeleteMode::Remove if removal.dry_run => {
                return Ok(Step::Done(Removed::Gone(Answer::Stored(current.clone()))));
            }
            DeleteMode::Keep(marked) if removal.dry_run => {
                return Ok(Step::Done(Removed::Marked(Answer::Loose(marked))));
            }
            DeleteMode::Remove => (Change::Delete { last: None }, true),
            DeleteMode::Keep(marked) => (
                Change::Put(encode(&marked).with_cached(Head::new(kind, &marked).cached())),
                false,
            ),
        };
        let expect = Expect::Revision(current.revision());
        Ok(Step::Write(
            Write {
                key: current.key().to_owned(),
                expect,
                change,
                guard: None,
            },
            gone,
        ))
    }
}
