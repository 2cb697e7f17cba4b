//! Replacing objects, and the loop that every kind of update goes through.

use barepod_admission::Operation;
use barepod_kinds::time::rfc3339;
use barepod_kinds::{Context, Denied, Invalid, Kind as ErrorKind};
use barepod_schema::fields::{ApplyOptions, UpdateOptions};
use barepod_store::{Change, Expect, Object, Write, WriteError};
use http::Response;
use jiff::Timestamp;
use serde_json::Value;

use super::admit::Admission;
use super::body::Body;
use super::create::{reset_fields, validate, warn};
use super::decode::{self, Expected};
use super::encode::encode;
use super::head::{Head, parse};
use super::options::WriteOptions;
use super::patch::apply_error;
use super::registry::Kind;
use super::reply::{self, Answer};
use super::request::Request;
use super::status::{ApiError, ApiResult};
use super::{Engine, Target, meta, storage_error};

/// How often an update that does not depend on the version is tried again when somebody else was faster.
const ATTEMPTS: usize = 50;

/// How an update behaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Update<'a> {
    /// The subresource written through: empty, `status`, `scale`, `binding`, `eviction`, `finalize`, or a part.
    pub(super) subresource: &'a str,
    /// Whether field ownership is still to be booked, which an apply has done itself.
    pub(super) book: bool,
    /// Whether this is a `PUT`, which has to carry a resourceVersion for some kinds.
    pub(super) replace: bool,
}

/// What an update makes of an object. It may be done again, with a newer object.
pub(super) enum Edit<'c> {
    /// Something of the stored form.
    Stored(&'c mut Editing<'c>),
    /// Something of the form that the version of the request shows, in that form.
    Shown(&'c mut Editing<'c>),
    /// A configuration is applied.
    Apply(&'c Value, &'c ApplyOptions<'c>),
}

type Editing<'c> = dyn FnMut(&Value) -> ApiResult<Value> + Send + 'c;

impl Engine {
    pub(super) async fn update(
        &self,
        request: &Request,
        target: Target<'_>,
        subresource: &str,
    ) -> ApiResult<Response<Body>> {
        let kind = target.kind;
        let options = WriteOptions::parse(request, "UpdateOptions")?;
        let expected = Expected {
            api_version: &kind.api_version,
            kind: &kind.resource.kind,
            shape: kind.structure.shape(),
        };
        let (mut body, warnings) = decode::object(&request.content_type, &request.body, &expected, options.validation)?;
        check_name(&body, target)?;
        meta::set_namespace(&mut body, target)?;
        kind.judge(request, target.name, &body, || self.store.get(&target.key()))
            .await?;
        kind.to_stored(&mut body).await?;
        let create =
            subresource.is_empty() && kind.strategy.create_on_update() && self.store.get(&target.key()).is_none();
        let (code, answer) = if create {
            if !matches!(meta::text(&body, "resourceVersion"), "" | "0") {
                return Err(target.not_found());
            }
            meta::of(&mut body).remove("uid");
            (201, self.create_object(request, target, body, &options, true).await?)
        } else {
            let update = Update {
                subresource,
                book: true,
                replace: true,
            };
            (
                200,
                self.update_with(
                    request,
                    target,
                    &options,
                    update,
                    Edit::Stored(&mut |_| Ok(body.clone())),
                )
                .await?,
            )
        };
        let mut response = reply::object(request, kind, code, &answer).await?;
        reply::warn(&mut response, &warnings);
        Ok(response)
    }

    async fn edited(
        &self,
        request: &Request,
        target: Target<'_>,
        edit: &mut Edit<'_>,
        old: &Value,
    ) -> ApiResult<Value> {
        let kind = target.kind;
        match edit {
            Edit::Stored(change) => change(old),
            Edit::Shown(change) => {
                let mut new = change(&*kind.shown(old).await?)?;
                let current = || self.store.get(&target.key());
                kind.judge(request, target.name, &new, current).await?;
                kind.to_stored(&mut new).await?;
                Ok(new)
            }
            Edit::Apply(config, options) => {
                let mut new = kind.apply(Some(old), config, options).await?.map_err(apply_error)?;
                // Nobody owns these, but who names them means the object as it was then.
                for key in ["uid", "resourceVersion"] {
                    let given = meta::text(config, key);
                    if !given.is_empty() {
                        meta::of(&mut new).insert(key.into(), given.into());
                    }
                }
                Ok(new)
            }
        }
    }

    /// Reads the object, lets `edit` make the new one of it, prepares, checks and stores that, and starts again if
    /// the object was changed meanwhile and the new one does not insist on a version.
    pub(super) async fn update_with(
        &self,
        request: &Request,
        target: Target<'_>,
        options: &WriteOptions,
        update: Update<'_>,
        mut edit: Edit<'_>,
    ) -> ApiResult<Answer> {
        let kind = target.kind;
        for _ in 0..ATTEMPTS {
            let seen = self.store.revision();
            let current = self.store.get(&target.key()).ok_or_else(|| target.not_found())?;
            let mut old = parse(&current);
            // What is stored in a former version is written even if nothing else changes.
            let former = kind.renew(&mut old).await?;
            let new = self.edited(request, target, &mut edit, &old).await?;
            let insists = !matches!(meta::text(&new, "resourceVersion"), "" | "0");
            let prepared = self
                .prepare_update(request, target, options, update, (&old, former), new)
                .await?;
            let Some((new, now)) = prepared else {
                return Ok(Answer::Stored(current));
            };
            let finished = kind.strategy.finished(&new);
            let subresource = update.subresource;
            let reserved = self
                .reserve(target, subresource, &new, Some(&old), options.dry_run)
                .await?;
            if options.dry_run {
                return Ok(Answer::Loose(new));
            }
            let write = || update_of(kind, &current, &new, finished);
            // Nothing unique is given out through a subresource.
            let written = if kind.strategy.serial() && subresource.is_empty() {
                let still = |new: &mut Value| {
                    let context = self.context(now, &request.user, target.namespace);
                    kind.strategy.prepare_update(&context, new, &old).is_ok()
                };
                self.write_prepared(kind, &new, seen, write, still).await
            } else {
                self.store.write(write()).await
            };
            if let (Some(reserved), Err(_)) = (reserved, &written) {
                self.release(reserved).await;
            }
            match written {
                Ok(stored) => return Ok(Answer::Stored(stored)),
                Err(WriteError::Storage(error)) => return Err(storage_error(&error)),
                Err(WriteError::Conflict { current: None }) => return Err(target.not_found()),
                Err(WriteError::Conflict { .. }) if insists && update.replace => {
                    return Err(ApiError::modified(kind, target.name));
                }
                // A patch is applied to the newer object, unless it carries a version itself, which the next round finds.
                Err(WriteError::Conflict { .. } | WriteError::Guard) => {}
            }
        }
        Err(ApiError::modified(kind, target.name))
    }

    /// The object to store and the time it was prepared at, or `None` if nothing changes.
    async fn prepare_update(
        &self,
        request: &Request,
        target: Target<'_>,
        options: &WriteOptions,
        update: Update<'_>,
        // With whether it was stored in a version of former times.
        (old, former): (&Value, bool),
        mut new: Value,
    ) -> ApiResult<Option<(Value, Timestamp)>> {
        let (kind, now) = (target.kind, Timestamp::now());
        let denied = |denied| ApiError::denied(kind, target.name, denied);
        meta::check_preconditions(&new, old, kind, target.name)?;
        let whole = matches!(update.subresource, "" | "status");
        if update.replace && whole && !kind.strategy.unconditional_update() {
            require_version(target, &new)?;
        }
        meta::keep_system_fields(&mut new, old);
        let version = meta::text(old, "resourceVersion").to_owned();
        meta::of(&mut new).insert("resourceVersion".into(), version.into());
        kind.default_stored(&mut new);
        let write = Admission {
            operation: Operation::Update,
            target,
            subresource: update.subresource,
            old: Some(old),
            now,
            dry_run: options.dry_run,
        };
        self.admit(request, write, &mut new).await?;
        {
            let context = self.context(now, &request.user, target.namespace);
            prepare(kind, update.subresource, &context, &mut new, old).map_err(denied)?;
        }
        if !matches!(update.subresource, "status" | "binding" | "eviction" | "finalize") {
            kind.strategy.set_generation(&mut new, Some(old));
        }
        if update.book {
            let booking = UpdateOptions {
                manager: &options.manager,
                api_version: &kind.api_version,
                subresource: update.subresource,
                now: &rfc3339(now),
                reset_fields: reset_fields(kind, update.subresource),
            };
            kind.book(Some(old), &mut new, &booking).await?;
        }
        if !former && same(&new, old) {
            if matches!(update.subresource, "" | "scale") {
                warn(request, kind, &new, Some(old));
            }
            return Ok(None);
        }
        match update.subresource {
            part if matches!(part, "status" | "eviction") || is_part(part) => {
                let mut errors = barepod_kinds::validate_object_meta_update(&new, old);
                errors.extend(match part {
                    "status" | "eviction" => {
                        let warnings = &mut request.notes().warnings;
                        kind.strategy.judge(&new, Some(old), true, warnings)
                    }
                    _ => kind.strategy.validate_part(part, &new, old),
                });
                if !errors.is_empty() {
                    return Err(ApiError::invalid(
                        &kind.resource.group,
                        &kind.resource.kind,
                        target.name,
                        &errors,
                    ));
                }
            }
            "binding" | "finalize" => {}
            _ => {
                validate(kind, target.name, &new, Some(old), &mut request.notes().warnings)?;
                warn(request, kind, &new, Some(old));
            }
        }
        self.admit_result(request, write, Some(&new)).await?;
        Ok(Some((new, now)))
    }
}

/// Prepares an object that is written through an endpoint.
fn prepare(kind: &Kind, subresource: &str, context: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
    match subresource {
        "status" | "eviction" => kind.strategy.prepare_status(context, new, old),
        // These change one thing of the stored object, which an ordinary update may not be able to.
        "binding" | "finalize" => Ok(()),
        part if is_part(part) => kind.strategy.prepare_part(part, context, new, old),
        _ => kind.strategy.prepare_update(context, new, old),
    }
}

fn update_of(kind: &Kind, current: &Object, new: &Value, finished: bool) -> Write {
    let encoded = encode(new).with_cached(Head::new(kind, new).cached());
    // An object that only waited for its last finalizer goes with the update that removes it.
    let change = if finished {
        Change::Delete { last: Some(encoded) }
    } else {
        Change::Put(encoded)
    };
    let expect = Expect::Revision(current.revision());
    Write::new(current.key().to_owned(), expect, change)
}

/// Whether a subresource is a part of the object that has rules of its own.
pub(super) fn is_part(subresource: &str) -> bool {
    matches!(subresource, "approval" | "ephemeralcontainers" | "resize")
}

/// Whether two states differ in nothing but the times at which managers last wrote.
fn same(new: &Value, old: &Value) -> bool {
    if new == old {
        return true;
    }
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else {
        return false;
    };
    let rest = |map: &serde_json::Map<String, Value>| map.len() - usize::from(map.contains_key("metadata"));
    if rest(new) != rest(old)
        || new
            .iter()
            .any(|(key, value)| key != "metadata" && old.get(key) != Some(value))
    {
        return false;
    }
    let timeless = |map: &serde_json::Map<String, Value>| {
        let mut metadata = map.get("metadata").cloned().unwrap_or_default();
        for entry in metadata
            .get_mut("managedFields")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            entry.as_object_mut().map(|entry| entry.remove("time"));
        }
        metadata
    };
    timeless(new) == timeless(old)
}

fn require_version(target: Target<'_>, new: &Value) -> ApiResult<()> {
    if !matches!(meta::text(new, "resourceVersion"), "" | "0") {
        return Ok(());
    }
    let error = Invalid {
        field: "metadata.resourceVersion".into(),
        kind: ErrorKind::Invalid,
        value: 0.into(),
        detail: "must be specified for an update".into(),
    };
    Err(ApiError::invalid(
        &target.kind.resource.group,
        &target.kind.resource.kind,
        target.name,
        &[error],
    ))
}

/// The name and the namespace in the body must be those of the path.
pub(super) fn check_name(body: &Value, target: Target<'_>) -> ApiResult<()> {
    let (name, namespace) = (meta::text(body, "name"), meta::text(body, "namespace"));
    if name.is_empty() {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            target.name
        )));
    }
    if name != target.name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    if !namespace.is_empty() && namespace != target.namespace {
        return Err(ApiError::bad_request(format!(
            "the namespace of the object ({namespace}) does not match the namespace on the request ({})",
            target.namespace
        )));
    }
    Ok(())
}
