//! The scale subresource: one number of an object, in a form common to all that can be scaled.

use barepod_kinds::{ScalePaths, scale};
use barepod_schema::type_of;
use http::{Method, Response};
use serde_json::Value;

use super::body::Body;
use super::decode::{self, Expected};
use super::head::parse;
use super::options::WriteOptions;
use super::patch::{PatchType, check_options};
use super::reply::{self, Answer};
use super::request::Request;
use super::status::{ApiError, ApiResult};
use super::update::{Update, check_name};
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
                reply::object(request, target.kind, 200, &scale)
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
                let expected = expected();
                let patch = decode::decode(&request.content_type, &request.body, &expected)?.value;
                let change = |current: &Value| {
                    let mut scale = match type_ {
                        // Only one field can be owned here, so applying it is the same as merging it.
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
        let apply = |old: &Value| {
            let wanted = change(&scale::render(old, paths))?;
            meta::check_preconditions(&wanted, old, target.kind, target.name)?;
            if wanted.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0) < 0 {
                let error = barepod_kinds::Invalid {
                    field: "spec.replicas".into(),
                    kind: barepod_kinds::Kind::Invalid,
                    value: wanted["spec"]["replicas"].clone(),
                    detail: "must be greater than or equal to 0".into(),
                };
                return Err(ApiError::invalid("autoscaling", "Scale", target.name, &[error]));
            }
            let mut new = old.clone();
            scale::apply(&mut new, &wanted, paths);
            match meta::text(&wanted, "resourceVersion") {
                "" => meta::of(&mut new).remove("resourceVersion"),
                version => meta::of(&mut new).insert("resourceVersion".into(), version.into()),
            };
            Ok(new)
        };
        let object = match self.update_with(request, target, options, update, apply).await? {
            Answer::Stored(object) => parse(&object),
            Answer::Loose(object) => object,
        };
        let scale = Answer::Loose(scale::render(&object, paths));
        let mut response = reply::object(request, target.kind, 200, &scale)?;
        reply::warn(&mut response, &warnings);
        Ok(response)
    }
}
