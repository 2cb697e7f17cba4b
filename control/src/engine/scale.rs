//! The scale subresource: one number of an object, in a form common to all that can be scaled.

use barepod_kinds::time::rfc3339;
use barepod_kinds::{ScalePaths, scale};
use barepod_schema::fields::ApplyOptions;
use barepod_schema::type_of;
use http::{Method, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::body::Body;
use super::decode::{self, Expected};
use super::head::parse;
use super::options::WriteOptions;
use super::patch::{PatchType, check_options};
use super::reply::{self, Answer};
use super::request::Request;
use super::status::{ApiError, ApiResult};
use super::update::{Edit, Update, check_name};
use super::{Engine, Target, meta};

fn expected() -> Expected<'static> {
    Expected {
        api_version: "autoscaling/v1",
        kind: "Scale",
        shape: type_of("autoscaling", "v1", "Scale").into(),
    }
}

impl Engine {
    pub(super) async fn scale(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        let paths = target.kind.strategy.scale().ok_or_else(ApiError::no_such_resource)?;
        match request.method {
            Method::GET => {
                let object = self.store.get(&target.key()).ok_or_else(|| target.not_found())?;
                let object = parse(&object);
                // Of built-in kinds the number is never absent.
                if !scale::is_stated(&object, &paths) {
                    let path = &paths.spec_replicas;
                    return Err(ApiError::internal(format!(
                        "the spec replicas field {path:?} does not exist"
                    )));
                }
                let scale = Answer::Loose(scale::render(&object, &paths));
                reply::object(request, target.kind, 200, &scale).await
            }
            Method::PUT => {
                let options = WriteOptions::parse(request, "UpdateOptions")?;
                let (body, warnings) =
                    decode::object(&request.content_type, &request.body, &expected(), options.validation)?;
                check_name(&body, target)?;
                self.set_scale(request, target, &options, &paths, warnings, |_| Ok(body.clone()))
                    .await
            }
            Method::PATCH => {
                let type_ = PatchType::of(&request.content_type)?;
                let options = WriteOptions::parse(request, "PatchOptions")?;
                check_options(type_, &options)?;
                if type_ == PatchType::Apply && !target.kind.reshapes() {
                    return self.apply_scale(request, target, &options, &paths).await;
                }
                let expected = expected();
                let patch = decode::decode(&request.content_type, &request.body, &expected)?.value;
                let change = |current: &Value| {
                    let mut scale = match type_ {
                        // What is stored in another form is owned in that form, where the number may have another name.
                        PatchType::Apply => PatchType::Merge.patch(&expected, current, &patch)?,
                        other => other.patch(&expected, current, &patch)?,
                    };
                    decode::set_kind(&mut scale, &expected)?;
                    decode::conform(&mut scale, &expected, Vec::new())?;
                    Ok(scale)
                };
                self.set_scale(request, target, &options, &paths, Vec::new(), change)
                    .await
            }
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    async fn set_scale(
        &self,
        request: &Request,
        target: Target<'_>,
        options: &WriteOptions,
        paths: &ScalePaths,
        warnings: Vec<String>,
        mut change: impl FnMut(&Value) -> ApiResult<Value> + Send,
    ) -> ApiResult<Response<Body>> {
        let update = Update {
            subresource: "scale",
            book: true,
            replace: request.method == Method::PUT,
        };
        let mut apply = |old: &Value| {
            let wanted = change(&scale::render(old, paths))?;
            meta::check_preconditions(&wanted, old, target.kind, target.name)?;
            check_number(&wanted, target)?;
            let mut new = old.clone();
            scale::apply(&mut new, &wanted, paths);
            match meta::text(&wanted, "resourceVersion") {
                "" => meta::of(&mut new).remove("resourceVersion"),
                version => meta::of(&mut new).insert("resourceVersion".into(), version.into()),
            };
            Ok(new)
        };
        let written = self
            .update_with(request, target, options, update, Edit::Stored(&mut apply))
            .await?;
        answer(request, target, written, paths, &warnings).await
    }

    /// Applies a Scale: the one field that it can own is owned by its name in the object.
    async fn apply_scale(
        &self,
        request: &Request,
        target: Target<'_>,
        options: &WriteOptions,
        paths: &ScalePaths,
    ) -> ApiResult<Response<Body>> {
        let kind = target.kind;
        let (mut wanted, warnings) =
            decode::object(&request.content_type, &request.body, &expected(), options.validation)?;
        if meta::text(&wanted, "name").is_empty() {
            meta::of(&mut wanted).insert("name".into(), target.name.into());
        }
        check_name(&wanted, target)?;
        check_number(&wanted, target)?;
        let mut metadata = json!({"name": target.name});
        for key in ["uid", "resourceVersion"] {
            metadata[key] = meta::text(&wanted, key).into();
        }
        let mut config = json!({"apiVersion": kind.api_version, "kind": kind.resource.kind, "metadata": metadata});
        if wanted["spec"]["replicas"].is_number() {
            scale::apply(&mut config, &wanted, paths);
        }
        let now = rfc3339(Timestamp::now());
        let applying = ApplyOptions {
            manager: &options.manager,
            force: options.force.unwrap_or(false),
            api_version: &kind.api_version,
            subresource: "scale",
            now: &now,
            reset_fields: &[],
        };
        let update = Update {
            subresource: "scale",
            book: false,
            replace: false,
        };
        let edit = Edit::Apply(&config, &applying);
        let written = self.update_with(request, target, options, update, edit).await?;
        answer(request, target, written, paths, &warnings).await
    }
}

fn check_number(scale: &Value, target: Target<'_>) -> ApiResult<()> {
    if scale.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0) >= 0 {
        return Ok(());
    }
    let error = barepod_kinds::Invalid {
        field: "spec.replicas".into(),
        kind: barepod_kinds::Kind::Invalid,
        value: scale["spec"]["replicas"].clone(),
        detail: "must be greater than or equal to 0".into(),
    };
    Err(ApiError::invalid("autoscaling", "Scale", target.name, &[error]))
}

/// The Scale of an object that was written.
async fn answer(
    request: &Request,
    target: Target<'_>,
    written: Answer,
    paths: &ScalePaths,
    warnings: &[String],
) -> ApiResult<Response<Body>> {
    let object = match written {
        Answer::Stored(object) => parse(&object),
        Answer::Loose(object) => object,
    };
    let scale = Answer::Loose(scale::render(&object, paths));
    let mut response = reply::object(request, target.kind, 200, &scale).await?;
    reply::warn(&mut response, warnings);
    Ok(response)
}
