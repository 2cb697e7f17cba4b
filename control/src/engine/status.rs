//! Errors as the API reports them: `metav1.Status` with the reasons, codes and wording that clients know.

use barepod_kinds::{Denied, Invalid};
use serde_json::{Map, Value, json};

use super::registry::Kind;

/// A failed request.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason; may be empty.
    pub reason: &'static str,
    /// What the user reads.
    pub message: String,
    details: Option<Box<Details>>,
    /// Lets the client go on with an inconsistent list.
    pub continue_token: Option<String>,
}

/// The `details` of a Status.
#[derive(Debug, Clone, Default)]
pub struct Details {
    name: String,
    group: String,
    kind: String,
    causes: Vec<Cause>,
    retry_after_seconds: u32,
}

/// One entry of `details.causes`.
#[derive(Debug, Clone)]
pub struct Cause {
    /// For example `FieldValueInvalid`.
    pub reason: String,
    /// What is wrong.
    pub message: String,
    /// The path of the field.
    pub field: String,
}

/// The reason of an error that is told as a page, where no client sees it.
const PAGE: &str = "PageNotFound";

/// The result of a request.
pub type ApiResult<T> = Result<T, ApiError>;

/// A string in double quotes with escapes.
pub fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

/// `pods "x"` or `deployments.apps "x"`.
fn qualified(group: &str, resource: &str, name: &str) -> String {
    let resource = if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    };
    if name.is_empty() {
        resource
    } else {
        format!("{resource} {}", quote(name))
    }
}

impl ApiError {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        ApiError {
            code,
            reason,
            message: message.into(),
            details: None,
            continue_token: None,
        }
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let details = self.details.get_or_insert_default();
        (details.group, details.kind, details.name) = (group.into(), kind.into(), name.into());
        self
    }

    fn cause(mut self, cause: Cause) -> Self {
        self.details.get_or_insert_default().causes.push(cause);
        self
    }

    fn on(self, kind: &Kind, name: &str) -> Self {
        self.about(&kind.resource.group, &kind.resource.plural, name)
    }

    /// 404, `pods "x" not found`.
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        Self::not_found_named(&kind.resource.group, &kind.resource.plural, name)
    }

    /// 404 for a resource by name.
    pub fn not_found_named(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} not found", qualified(group, resource, name));
        Self::new(404, "NotFound", message).about(group, resource, name)
    }

    /// 404 for a path that is not served.
    pub fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").about("", "", "")
    }

    /// 404 for a path that nothing is behind, which is told as a page and not as a Status.
    pub fn page_not_found() -> Self {
        Self::new(404, PAGE, "404 page not found")
    }

    /// Whether it is told as a page.
    pub fn is_page(&self) -> bool {
        self.reason == PAGE
    }

    /// 409, `pods "x" already exists`.
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!(
            "{} already exists",
            qualified(&kind.resource.group, &kind.resource.plural, name)
        );
        Self::new(409, "AlreadyExists", message).on(kind, name)
    }

    /// 409 for the name of an object that is on its way out.
    pub fn still_there(kind: &Kind, name: &str) -> Self {
        let mut error = Self::already_exists(kind, name);
        error.message = format!("object is being deleted: {}", error.message);
        error
    }

    /// 409, `Operation cannot be fulfilled on pods "x": …`.
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let object = qualified(&kind.resource.group, &kind.resource.plural, name);
        Self::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {object}: {why}"),
        )
        .on(kind, name)
    }

    /// 409 about what is not named by its resource: such errors of kube-apiserver name the kind.
    pub fn conflict_of_kind(group: &str, kind: &str, name: &str, why: &str) -> Self {
        let object = qualified(group, kind, name);
        let message = format!("Operation cannot be fulfilled on {object}: {why}");
        Self::new(409, "Conflict", message).about(group, kind, name)
    }

    /// 409 for a write that is based on an older version of the object.
    pub fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// 409 for a pod that cannot be bound.
    pub fn binding_conflict(name: &str, why: &str) -> Self {
        let object = qualified("", "pods/binding", name);
        let message = format!("Operation cannot be fulfilled on {object}: {why}");
        Self::new(409, "Conflict", message).about("", "pods/binding", name)
    }

    /// 409 of a server-side apply, with one cause for every field.
    pub fn apply_conflict(message: String, causes: Vec<(String, String)>) -> Self {
        let error = Self::new(409, "Conflict", message);
        causes.into_iter().fold(error, |error, (message, field)| {
            error.cause(Cause {
                reason: "FieldManagerConflict".into(),
                message,
                field,
            })
        })
    }

    /// 403, `pods "x" is forbidden: …`.
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Self {
        let object = qualified(&kind.resource.group, &kind.resource.plural, name);
        Self::new(403, "Forbidden", format!("{object} is forbidden: {why}")).on(kind, name)
    }

    /// The refusal of an admission policy, with the reason that the policy gives.
    pub fn refused_by_policy(kind: &Kind, name: &str, why: &str, reason: &str) -> Self {
        let mut error = Self::forbidden(kind, name, why).cause(Cause {
            reason: String::new(),
            message: why.to_owned(),
            field: String::new(),
        });
        (error.code, error.reason) = match reason {
            "Forbidden" => (403, "Forbidden"),
            "Unauthorized" => (401, "Unauthorized"),
            "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
            _ => (422, "Invalid"),
        };
        error
    }

    /// 403 of the authorizer for a resource.
    pub fn forbidden_resource(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let object = qualified(group, resource, name);
        Self::new(403, "Forbidden", format!("{object} is forbidden: {why}")).about(group, resource, name)
    }

    /// 403 of the authorizer for a path that is no resource.
    pub fn forbidden_path(why: &str) -> Self {
        Self::new(403, "Forbidden", format!("forbidden: {why}")).about("", "", "")
    }

    /// 403 for content of a namespace that goes away.
    pub fn namespace_terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        Self::forbidden(kind, name, &why).cause(Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".into(),
        })
    }

    /// 422 with one cause for every field error.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[Invalid]) -> Self {
        let qualified = if group.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}.{group}")
        };
        let message = barepod_kinds::aggregate(&qualified, name, errors);
        let error = Self::new(422, "Invalid", message).about(group, kind, name);
        errors.iter().fold(error, |error, invalid| {
            error.cause(Cause {
                reason: invalid.kind.reason().into(),
                message: invalid.body(),
                field: invalid.field.clone(),
            })
        })
    }

    /// 422 for query parameters.
    pub fn invalid_options(options: &str, error: Invalid) -> Self {
        Self::invalid("meta.k8s.io", options, "", &[error])
    }

    /// What a strategy refused.
    pub fn denied(kind: &Kind, name: &str, denied: Denied) -> Self {
        match denied {
            Denied::Forbidden(why) => Self::forbidden(kind, name, &why),
            Denied::Conflict(why) => Self::conflict(kind, name, &why),
            Denied::BadRequest(why) => Self::bad_request(why),
            Denied::Invalid(errors) => Self::invalid(&kind.resource.group, &kind.resource.kind, name, &errors),
            Denied::Internal(why) => Self::internal(why),
        }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 422 for a patch that does not fit its object.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, "Invalid", message).about("", "", "")
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 429 for a client whose requests have to wait too long.
    pub fn too_many_requests() -> Self {
        let message = "too many requests, please try again later";
        let mut error = Self::new(429, "TooManyRequests", message);
        error.details.get_or_insert_default().retry_after_seconds = 1;
        error
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).about("", "", "")
    }

    /// 406.
    pub fn not_acceptable() -> Self {
        let message = "only the following media types are accepted: application/json, \
                       application/json;as=Table;v=v1;g=meta.k8s.io, \
                       application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
        Self::new(406, "NotAcceptable", message)
    }

    /// 406 for metadata of one object where a list is, or the other way round. What there is has its name in Go, where
    /// packages are called after groups.
    pub fn not_the_form(kind: &Kind, wanted: &str, list: bool) -> Self {
        let package = match kind.resource.group.split('.').next() {
            _ if kind.documented().is_some() => "unstructured",
            None | Some("" | "events") => "core",
            Some(first) => first,
        };
        let (is, name) = match (list, package) {
            (true, "unstructured") => ("a list", "UnstructuredList"),
            (false, "unstructured") => ("not a list", "Unstructured"),
            (true, _) => ("a list", &*kind.resource.list_kind()),
            (false, _) => ("not a list", &*kind.resource.kind),
        };
        let message = format!("you requested {wanted}, but the requested object is {is} (*{package}.{name})");
        Self::new(406, "NotAcceptable", message)
    }

    /// 415.
    pub fn unsupported_media_type(accepted: &str) -> Self {
        let message =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 413.
    pub fn too_large(why: impl std::fmt::Display) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: {why}"))
    }

    /// 408 for a body that does not arrive.
    pub fn slow_body() -> Self {
        Self::new(408, "Timeout", "the body of the request did not arrive in time")
    }

    /// 410 for a list that cannot go on at its revision.
    pub fn expired_continue(token: String) -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can \
                       start a new list without the continue parameter, or use the continue token in this response to \
                       retrieve the remainder of the results. Continuing with the provided token results in an \
                       inconsistent list - objects that were created, modified, or deleted between the time the first \
                       chunk was returned and now may show up in the list.";
        let mut error = Self::new(410, "Expired", message);
        error.continue_token = Some(token);
        error
    }

    /// 410 for a revision that is compacted.
    pub fn expired(requested: u64, oldest: u64) -> Self {
        Self::new(
            410,
            "Expired",
            format!("too old resource version: {requested} ({oldest})"),
        )
    }

    /// 410 for a list at a revision that is compacted.
    pub fn expired_list() -> Self {
        Self::new(410, "Expired", "The resourceVersion for the provided list is too old.")
    }

    /// 504 for a revision that does not exist yet.
    pub fn future(requested: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {requested}, current: {current}");
        let mut error = Self::new(504, "Timeout", message).cause(Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            field: String::new(),
        });
        error.details.get_or_insert_default().retry_after_seconds = 1;
        error
    }

    /// 429 for a pod that may not go now.
    pub fn disruption(cause: String, retry_after_seconds: u32) -> Self {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let mut error = Self::new(429, "TooManyRequests", message).cause(Cause {
            reason: "DisruptionBudget".into(),
            message: cause,
            field: String::new(),
        });
        error.details.get_or_insert_default().retry_after_seconds = retry_after_seconds;
        error
    }

    /// After how many seconds the request is worth another try; 0 if that is not known.
    pub fn retry_after_seconds(&self) -> u32 {
        self.details.as_ref().map_or(0, |details| details.retry_after_seconds)
    }

    /// 500.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let text = message.to_string();
        let message = format!("Internal error occurred: {text}");
        Self::new(500, "InternalError", message).cause(Cause {
            reason: String::new(),
            message: text,
            field: String::new(),
        })
    }

    /// 500 without a reason, as plain errors of the storage layer are reported.
    pub fn plain(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// A failure that comes with a code and a text from elsewhere, such as a node.
    pub fn from_upstream(code: u16, message: impl Into<String>) -> Self {
        let reason = match code {
            400 => "BadRequest",
            403 => "Forbidden",
            404 => "NotFound",
            _ => "InternalError",
        };
        Self::new(code, reason, message)
    }

    /// As the Status of somebody else says, such as a webhook.
    pub fn from_status(status: &Value) -> Self {
        const REASONS: [&str; 17] = [
            "Unauthorized",
            "Forbidden",
            "NotFound",
            "AlreadyExists",
            "Conflict",
            "Gone",
            "Invalid",
            "ServerTimeout",
            "Timeout",
            "TooManyRequests",
            "BadRequest",
            "MethodNotAllowed",
            "NotAcceptable",
            "RequestEntityTooLarge",
            "UnsupportedMediaType",
            "InternalError",
            "ServiceUnavailable",
        ];
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or("").to_owned();
        let code = status["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        let reason = REASONS.into_iter().find(|reason| status["reason"] == **reason);
        let mut error = Self::new(code.unwrap_or(500), reason.unwrap_or(""), text(status, "message"));
        let details = &status["details"];
        if details.is_object() {
            let causes = details["causes"].as_array().into_iter().flatten();
            error.details = Some(Box::new(Details {
                name: text(details, "name"),
                group: text(details, "group"),
                kind: text(details, "kind"),
                causes: causes
                    .map(|cause| Cause {
                        reason: text(cause, "reason"),
                        message: text(cause, "message"),
                        field: text(cause, "field"),
                    })
                    .collect(),
                retry_after_seconds: details["retryAfterSeconds"]
                    .as_u64()
                    .and_then(|seconds| u32::try_from(seconds).ok())
                    .unwrap_or(0),
            }));
        }
        error
    }

    /// The Status object.
    pub fn to_value(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(token) = &self.continue_token {
            metadata.insert("continue".into(), token.as_str().into());
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.to_value();
        }
        status
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, text) in [("name", &self.name), ("group", &self.group), ("kind", &self.kind)] {
            if !text.is_empty() {
                map.insert(key.into(), text.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            map.insert("causes".into(), self.causes.iter().map(Cause::to_value).collect());
        }
        if self.retry_after_seconds > 0 {
            map.insert("retryAfterSeconds".into(), self.retry_after_seconds.into());
        }
        Value::Object(map)
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, text) in [
            ("reason", &self.reason),
            ("message", &self.message),
            ("field", &self.field),
        ] {
            if !text.is_empty() {
                map.insert(key.into(), text.as_str().into());
            }
        }
        Value::Object(map)
    }
}

/// The Status of an object that is gone.
pub fn gone(details: Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// The Status of something that was done and leaves no object to show.
pub fn done() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}
