//! Changing objects by a description of the change.

use barepod_kinds::time::rfc3339;
use barepod_kinds::{Invalid, Kind as ErrorKind};
use barepod_schema::Shape;
use barepod_schema::body::Decoded;
use barepod_schema::fields::{ApplyError, ApplyOptions};
use barepod_schema::patch::{self, PatchError};
use http::Response;
use jiff::Timestamp;
use serde_json::Value;

use super::body::Body;
use super::create::reset_fields;
use super::decode::{self, Expected};
use super::options::WriteOptions;
use super::reply;
use super::request::Request;
use super::status::{ApiError, ApiResult};
use super::update::{Edit, Update, check_name};
use super::{Engine, Target, meta};

/// A kind of patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

const MEDIA_TYPES: &str = "application/json-patch+json, application/merge-patch+json, \
                           application/strategic-merge-patch+json, application/apply-patch+yaml";

/// Of kinds without a type in the table.
const CUSTOM_MEDIA_TYPES: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

impl PatchType {
    pub(super) fn of(content_type: &str) -> ApiResult<Self> {
        match content_type.split(';').next().unwrap_or("").trim() {
            "application/json-patch+json" => Ok(PatchType::Json),
            "application/merge-patch+json" => Ok(PatchType::Merge),
            "application/strategic-merge-patch+json" => Ok(PatchType::Strategic),
            "application/apply-patch+yaml" => Ok(PatchType::Apply),
            _ => Err(ApiError::unsupported_media_type(MEDIA_TYPES)),
        }
    }

    /// Applies a patch that is not an apply configuration to an object of some type.
    pub(super) fn patch(self, expected: &Expected<'_>, current: &Value, patch: &Value) -> ApiResult<Value> {
        let result = match (self, expected.shape) {
            (PatchType::Json, _) => patch::json(current, patch),
            (PatchType::Strategic, Shape::Table(ty)) => patch::strategic(ty, current, patch),
            // Without a type nothing says how to merge.
            (PatchType::Strategic, _) => return Err(ApiError::unsupported_media_type(CUSTOM_MEDIA_TYPES)),
            _ => patch::merge(current, patch),
        };
        result.map_err(|error| match error {
            PatchError::Malformed(message) => ApiError::bad_request(message),
            PatchError::TooLarge { .. } => ApiError::too_large(error),
            PatchError::Unprocessable(_) => ApiError::unprocessable(error.to_string()),
        })
    }

    /// 422 for a patch that makes something of an object that its type does not allow.
    fn unfit(self, expected: &Expected<'_>, current: &Value, patch: &Value, detail: String) -> ApiError {
        let value = match self {
            PatchType::Strategic => go_text(patch),
            _ => self
                .patch(expected, current, patch)
                .map_or_else(|_| patch.to_string(), |patched| patched.to_string()),
        };
        let error = Invalid {
            field: "patch".into(),
            kind: ErrorKind::Invalid,
            value: value.into(),
            detail,
        };
        ApiError::invalid("", "", "", &[error])
    }
}

impl Engine {
    pub(super) async fn patch(
        &self,
        request: &Request,
        target: Target<'_>,
        subresource: &str,
    ) -> ApiResult<Response<Body>> {
        let type_ = PatchType::of(&request.content_type)?;
        let options = WriteOptions::parse(request, "PatchOptions")?;
        check_options(type_, &options)?;
        if type_ == PatchType::Apply {
            return self.apply(request, target, &options, subresource).await;
        }
        let kind = target.kind;
        let expected = Expected {
            api_version: &kind.api_version,
            kind: &kind.resource.kind,
            shape: kind.structure.shape(),
        };
        let Decoded {
            value: patch,
            duplicate_fields,
        } = decode::decode(&request.content_type, &request.body, &expected)?;
        let mut warnings = Vec::new();
        let update = Update {
            subresource,
            book: true,
            replace: false,
        };
        let mut change = |shown: &Value| {
            let mut new = type_.patch(&expected, shown, &patch)?;
            decode::set_kind(&mut new, &expected)?;
            let fit = decode::fit(&mut new, &expected, duplicate_fields.clone());
            warnings = fit
                .map_err(|mismatch| match type_ {
                    PatchType::Strategic => mismatch.restored,
                    _ => mismatch.message,
                })
                .and_then(|problems| decode::judge(problems, options.validation))
                .map_err(|detail| type_.unfit(&expected, shown, &patch, detail))?;
            // A version in the patched object is the stored one, unless the patch itself sets one.
            check_name(&new, target)?;
            Ok(new)
        };
        let edit = Edit::Shown(&mut change);
        let answer = self.update_with(request, target, &options, update, edit).await?;
        let mut response = reply::object(request, kind, 200, &answer).await?;
        reply::warn(&mut response, &warnings);
        Ok(response)
    }

    async fn apply(
        &self,
        request: &Request,
        target: Target<'_>,
        options: &WriteOptions,
        subresource: &str,
    ) -> ApiResult<Response<Body>> {
        let kind = target.kind;
        let expected = Expected {
            api_version: &kind.api_version,
            kind: &kind.resource.kind,
            shape: kind.structure.shape(),
        };
        let (mut config, warnings) =
            decode::object(&request.content_type, &request.body, &expected, options.validation)?;
        if config
            .pointer("/metadata/managedFields")
            .is_some_and(|entries| !entries.is_null())
        {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        if meta::text(&config, "name").is_empty() {
            meta::of(&mut config).insert("name".into(), target.name.into());
        }
        check_name(&config, target)?;
        meta::set_namespace(&mut config, target)?;
        let now = rfc3339(Timestamp::now());
        let applying = ApplyOptions {
            manager: &options.manager,
            force: options.force.unwrap_or(false),
            api_version: &kind.api_version,
            subresource,
            now: &now,
            reset_fields: reset_fields(kind, subresource),
        };
        let mut code = 200;
        let answer = loop {
            if subresource.is_empty() && self.store.get(&target.key()).is_none() {
                if !matches!(meta::text(&config, "uid"), "") {
                    let why = format!(
                        "uid mismatch: the provided object specified uid {}, and no existing object was found",
                        meta::text(&config, "uid")
                    );
                    return Err(ApiError::conflict(kind, target.name, &why));
                }
                let object = kind.apply(None, &config, &applying).await?.map_err(apply_error)?;
                match self.create_object(request, target, object, options, false).await {
                    // Somebody else made it meanwhile: apply to that.
                    Err(error) if error.reason == "AlreadyExists" && !options.dry_run => continue,
                    created => {
                        code = 201;
                        break created?;
                    }
                }
            }
            let update = Update {
                subresource,
                book: false,
                replace: false,
            };
            let edit = Edit::Apply(&config, &applying);
            break self.update_with(request, target, options, update, edit).await?;
        };
        let mut response = reply::object(request, kind, code, &answer).await?;
        reply::warn(&mut response, &warnings);
        Ok(response)
    }
}

/// A value as Go prints it: `map[metadata:map[labels:[a b]]]`.
fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut fields: Vec<_> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_text(value)))
                .collect();
            fields.sort_unstable();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

pub(super) fn apply_error(error: ApplyError) -> ApiError {
    match error {
        ApplyError::Conflicts { message, causes } => ApiError::apply_conflict(
            message,
            causes.into_iter().map(|cause| (cause.message, cause.field)).collect(),
        ),
        ApplyError::Invalid(message) => ApiError::bad_request(message),
    }
}

pub(super) fn check_options(type_: PatchType, options: &WriteOptions) -> ApiResult<()> {
    let invalid = |field: &str, kind, detail: &str| {
        let (field, detail) = (field.to_owned(), detail.to_owned());
        Err(ApiError::invalid_options(
            "PatchOptions",
            Invalid {
                field,
                kind,
                value: Value::Null,
                detail,
            },
        ))
    };
    match type_ {
        PatchType::Apply if !options.manager_given => {
            invalid("fieldManager", ErrorKind::Required, "is required for apply patch")
        }
        PatchType::Apply => Ok(()),
        _ if options.force.is_some() => invalid(
            "force",
            ErrorKind::Forbidden,
            "may not be specified for non-apply patch",
        ),
        _ => Ok(()),
    }
}
