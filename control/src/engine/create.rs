//! Making objects.

use std::sync::Arc;

use barepod_admission::Operation;
use barepod_kinds::time::rfc3339;
use barepod_schema::fields::UpdateOptions;
use barepod_store::{Change, Expect, Object, Write, WriteError};
use http::Response;
use jiff::Timestamp;
use serde_json::Value;

use super::admit::Admission;
use super::body::Body;
use super::custom;
use super::decode::{self, Expected};
use super::encode::encode;
use super::head::{Head, parse};
use super::options::WriteOptions;
use super::registry::Kind;
use super::reply::{self, Answer};
use super::request::Request;
use super::status::{ApiError, ApiResult};
use super::{Engine, Target, meta, storage_error};

/// How often another name is tried when a generated one is taken.
const NAME_ATTEMPTS: usize = 8;
/// How often something unique is allocated again when somebody else was faster.
const ATTEMPTS: usize = 50;

impl Engine {
    pub(super) async fn create(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        let kind = target.kind;
        let options = WriteOptions::parse(request, "CreateOptions")?;
        let expected = Expected {
            api_version: &kind.api_version,
            kind: &kind.resource.kind,
            shape: kind.structure.shape(),
        };
        let (mut object, warnings) =
            decode::object(&request.content_type, &request.body, &expected, options.validation)?;
        kind.judge(request, meta::text(&object, "name"), &object, || None)
            .await?;
        kind.to_stored(&mut object).await?;
        let answer = self.create_object(request, target, object, &options, true).await?;
        let mut response = reply::object(request, kind, 201, &answer).await?;
        reply::warn(&mut response, &warnings);
        Ok(response)
    }

    /// Creates an object that was decoded already. `book` says whether field ownership is still to be booked, which
    /// an apply has done itself. A name is generated for what plugins and webhooks have changed: they see it without.
    pub(super) async fn create_object(
        &self,
        request: &Request,
        target: Target<'_>,
        mut object: Value,
        options: &WriteOptions,
        book: bool,
    ) -> ApiResult<Answer> {
        let kind = target.kind;
        // An update or an apply may come here as well.
        if !kind.resource.verbs.contains(&"create") {
            return Err(ApiError::method_not_allowed());
        }
        meta::set_namespace(&mut object, target)?;
        if !matches!(meta::text(&object, "resourceVersion"), "" | "0") {
            return Err(ApiError::plain(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        let name = meta::text(&object, "name").to_owned();
        let named = Target { name: &name, ..target };
        self.admit_create(request, named, &mut object, options, book).await?;
        let base = meta::text(&object, "generateName").to_owned();
        let unnamed = meta::text(&object, "name").is_empty();
        if unnamed && base.is_empty() && kind.strategy.names_itself() {
            meta::of(&mut object).insert("name".into(), meta::new_uid().into());
        }
        if !unnamed || base.is_empty() {
            return self.create_once(request, target, object, options).await;
        }
        for _ in 0..NAME_ATTEMPTS {
            let mut object = object.clone();
            meta::of(&mut object).insert("name".into(), meta::generate_name(&base).into());
            match self.create_once(request, target, object, options).await {
                Err(error) if error.reason == "AlreadyExists" => {}
                result => return result,
            }
        }
        Err(ApiError::internal("no free name was found"))
    }

    async fn create_once(
        &self,
        request: &Request,
        target: Target<'_>,
        object: Value,
        options: &WriteOptions,
    ) -> ApiResult<Answer> {
        let kind = target.kind;
        let name = meta::text(&object, "name").to_owned();
        let target = Target { name: &name, ..target };
        let again = kind.strategy.serial().then(|| object.clone());
        let mut object = object;
        for _ in 0..ATTEMPTS {
            // What is prepared holds as long as nothing of the kind is added or changed.
            let (seen, now) = (self.store.revision(), Timestamp::now());
            let prepared = self.prepare_create(request, target, object, options, now).await?;
            let reserved = self.reserve(target, "", &prepared, None, options.dry_run).await?;
            if options.dry_run {
                return match self.store.get(&target.key()) {
                    Some(current) => Err(exists(target, Some(&current))),
                    None => Ok(Answer::Loose(prepared)),
                };
            }
            let still = |new: &mut Value| {
                let context = self.context(now, &request.user, target.namespace);
                kind.strategy.prepare_create(&context, new).is_ok()
            };
            let encoded = || encode(&prepared).with_cached(Head::new(kind, &prepared).cached());
            let write = || Write::new(target.key(), Expect::Absent, Change::Put(encoded()));
            let written = if kind.strategy.serial() {
                self.write_prepared(kind, &prepared, seen, write, still).await
            } else {
                self.store.write(write()).await
            };
            if let (Some(reserved), Err(_)) = (reserved, &written) {
                self.release(reserved).await;
            }
            match (written, &again) {
                (Ok(stored), _) => return Ok(Answer::Stored(stored)),
                (Err(WriteError::Guard), Some(given)) => object = given.clone(),
                (Err(WriteError::Conflict { current }), _) => return Err(exists(target, current.as_deref())),
                (Err(WriteError::Guard), None) => return Err(exists(target, None)),
                (Err(WriteError::Storage(error)), _) => return Err(storage_error(&error)),
            }
        }
        Err(ApiError::unavailable("others of the kind are created all the time"))
    }

    /// Writes what was prepared at a revision by giving it something unique. If others of the kind were added or changed
    /// since, `still` prepares a copy again, which has to stay what it is; otherwise nothing is written and the error is
    /// [`WriteError::Guard`]. Only this is done one at a time: webhooks were asked before, so that no write waits for
    /// what another one is told.
    pub(super) async fn write_prepared(
        &self,
        kind: &Kind,
        prepared: &Value,
        mut seen: u64,
        write: impl Fn() -> Write,
        still: impl Fn(&mut Value) -> bool,
    ) -> Result<Arc<Object>, WriteError> {
        // What others of this process write is waited for; what other processes have written is found out by the store.
        let _serial = kind.serial.lock().await;
        for _ in 0..ATTEMPTS {
            let write = Write {
                guard: Some(kind.unchanged_since(seen)),
                ..write()
            };
            match self.store.write(write).await {
                Err(WriteError::Guard) => {}
                written => return written,
            }
            seen = self.store.revision();
            let mut copy = prepared.clone();
            if !still(&mut copy) || copy != *prepared {
                break;
            }
        }
        Err(WriteError::Guard)
    }

    /// Fills in what the object is stored with, and lets others do so.
    async fn admit_create(
        &self,
        request: &Request,
        target: Target<'_>,
        object: &mut Value,
        options: &WriteOptions,
        book: bool,
    ) -> ApiResult<()> {
        let (kind, now) = (target.kind, Timestamp::now());
        self.admit_namespace(target)?;
        kind.default_stored(object);
        meta::fill_new(object, now);
        if book {
            let update = UpdateOptions {
                manager: &options.manager,
                api_version: &kind.api_version,
                subresource: "",
                now: &rfc3339(now),
                reset_fields: reset_fields(kind, ""),
            };
            meta::of(object).remove("managedFields");
            kind.book(None, object, &update).await?;
        }
        self.admit(request, creation(target, options, now), object).await
    }

    /// The object to store.
    async fn prepare_create(
        &self,
        request: &Request,
        target: Target<'_>,
        mut object: Value,
        options: &WriteOptions,
        now: Timestamp,
    ) -> ApiResult<Value> {
        let (kind, name) = (target.kind, target.name);
        {
            let context = self.context(now, &request.user, target.namespace);
            let prepared = kind.strategy.prepare_create(&context, &mut object);
            prepared.map_err(|denied| ApiError::denied(kind, name, denied))?;
        }
        kind.strategy.set_generation(&mut object, None);
        validate(kind, name, &object, None, &mut request.notes().warnings)?;
        warn(request, kind, &object, None);
        let write = creation(target, options, now);
        self.admit_result(request, write, Some(&object)).await?;
        Ok(object)
    }
}

fn creation<'a>(target: Target<'a>, options: &WriteOptions, now: Timestamp) -> Admission<'a> {
    Admission {
        operation: Operation::Create,
        target,
        subresource: "",
        old: None,
        now,
        dry_run: options.dry_run,
    }
}

/// The error of a name that is taken.
fn exists(target: Target<'_>, current: Option<&Object>) -> ApiError {
    match current.map(parse) {
        Some(object) if !object["metadata"]["deletionTimestamp"].is_null() => {
            ApiError::still_there(target.kind, target.name)
        }
        _ => ApiError::already_exists(target.kind, target.name),
    }
}

/// All field errors of an object, as one error.
pub(super) fn validate(
    kind: &Kind,
    name: &str,
    new: &Value,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> ApiResult<()> {
    let mut errors = match old {
        None => barepod_kinds::validate_object_meta(new, kind.strategy.name_rule()),
        Some(old) => barepod_kinds::validate_object_meta_update(new, old),
    };
    if !kind.strategy.bare_finalizers() {
        errors.extend(barepod_kinds::validate_finalizers(new));
    }
    errors.extend(kind.strategy.judge(new, old, false, warnings));
    errors.extend(kind.own_rules(new, old));
    if custom::is_definition(kind) {
        errors.extend(custom::check(new));
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(
        &kind.resource.group,
        &kind.resource.kind,
        name,
        &errors,
    ))
}

/// Tells the client what is odd about an object that is good enough to be stored.
pub(super) fn warn(request: &Request, kind: &Kind, new: &Value, old: Option<&Value>) {
    request.notes().warnings.extend(kind.strategy.warnings(new, old));
}

/// Fields that writes through an endpoint do not change, so that nobody comes to own them that way.
pub(super) fn reset_fields(kind: &Kind, subresource: &str) -> &'static [&'static str] {
    match subresource {
        "status" if kind.strategy.status_alone() => &["metadata", "spec"],
        "status" | "approval" => &["spec"],
        "ephemeralcontainers" | "resize" => &["status"],
        "" if kind.resource.subresource("status").is_some() => &["status"],
        _ => &[],
    }
}
