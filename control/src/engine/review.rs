//! Questions that look like objects: who am I, what may I, whose token is this. They are created, answered and
//! forgotten.

use barepod_auth::attributes::{Attributes, Decision, Object, Resource};
use barepod_kinds::{Invalid, Kind as ErrorKind};
use http::Response;
use serde_json::{Map, Value, json};

use super::body::Body;
use super::decode::{self, Expected};
use super::identity::User;
use super::options::WriteOptions;
use super::registry::Kind;
use super::request::Request;
use super::status::{ApiError, ApiResult};
use super::{Engine, Target, meta, reply};

/// Whether objects of the kind are questions.
pub(super) fn is_review(kind: &Kind) -> bool {
    matches!(&*kind.resource.group, "authentication.k8s.io" | "authorization.k8s.io")
}

impl Engine {
    pub(super) fn review(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        let kind = target.kind;
        // Questions have no rows.
        if !request.accept.plain() {
            return Err(ApiError::not_acceptable());
        }
        let options = WriteOptions::parse(request, "CreateOptions")?;
        let expected = Expected {
            api_version: &kind.api_version,
            kind: &kind.resource.kind,
            shape: kind.structure.shape(),
        };
        let (mut review, warnings) =
            decode::object(&request.content_type, &request.body, &expected, options.validation)?;
        let user = &*request.user;
        if &*kind.resource.group == "authorization.k8s.io" && &*kind.resource.kind != "SelfSubjectRulesReview" {
            nameless(kind, &review["metadata"], target.namespace)?;
        }
        meta::of(&mut review).insert("creationTimestamp".into(), Value::Null);
        let status = match &*kind.resource.kind {
            "SelfSubjectReview" => json!({"userInfo": user.to_value()}),
            "TokenReview" => self.review_token(kind, &review["spec"])?,
            "SelfSubjectRulesReview" => self.rules_of(user, &review["spec"])?,
            "SelfSubjectAccessReview" => self.review_access(kind, user, &review["spec"])?,
            "LocalSubjectAccessReview" => {
                let spec = &review["spec"];
                local(kind, spec, target.namespace)?;
                self.review_access(kind, &subject(kind, spec)?, spec)?
            }
            _ => self.review_access(kind, &subject(kind, &review["spec"])?, &review["spec"])?,
        };
        review["status"] = status;
        let mut response = reply::value(request, 201, &review);
        reply::warn(&mut response, &warnings);
        Ok(response)
    }

    fn review_token(&self, kind: &Kind, spec: &Value) -> ApiResult<Value> {
        let token = spec["token"].as_str().unwrap_or("");
        if token.is_empty() {
            return Err(ApiError::bad_request(
                "token is required for TokenReview in authentication",
            ));
        }
        let audiences: Vec<String> = spec["audiences"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        tracing::trace!(kind = &*kind.resource.kind, "a token is reviewed");
        Ok(match self.authenticate(token, &audiences) {
            Ok(bearer) => json!({
                "authenticated": true, "user": bearer.user.to_value(), "audiences": bearer.audiences,
            }),
            Err(why) => json!({"user": {}, "error": why}),
        })
    }

    fn review_access(&self, kind: &Kind, user: &User, spec: &Value) -> ApiResult<Value> {
        let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
        let object = match (resource.is_object(), path.is_object()) {
            (true, false) => Object::Resource(resource_of(resource)),
            (false, true) => Object::Path(text(path, "path")),
            (true, true) => {
                let why = "cannot be specified in combination with resourceAttributes";
                return Err(invalid(kind, "spec.nonResourceAttributes", path, why));
            }
            (false, false) => {
                let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
                return Err(invalid(kind, "spec.resourceAttributes", resource, why));
            }
        };
        let verb = text(if resource.is_object() { resource } else { path }, "verb");
        let selector = match object {
            Object::Resource(_) => selector_of(resource),
            Object::Path(_) => String::new(),
        };
        let object = match object {
            Object::Resource(resource) => Object::Resource(Resource {
                field_selector: &selector,
                ..resource
            }),
            path => path,
        };
        Ok(match self.access.decide(&Attributes { user, verb, object }) {
            Decision::Allow(reason) => answer(true, &reason),
            Decision::NoOpinion(reason) => answer(false, &reason),
        })
    }

    fn rules_of(&self, user: &User, spec: &Value) -> ApiResult<Value> {
        let namespace = text(spec, "namespace");
        if namespace.is_empty() {
            return Err(ApiError::bad_request("no namespace on request"));
        }
        let (mut resources, mut paths) = (Vec::new(), Vec::new());
        if user.is_master() {
            resources.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
            paths.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
        }
        self.access.policy(|policy| {
            for rule in policy.rules(user, namespace) {
                let list = if rule.urls.is_empty() {
                    &mut resources
                } else {
                    &mut paths
                };
                let rule = rule.to_value();
                if !list.contains(&rule) {
                    list.push(rule);
                }
            }
        });
        let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
        if user.node().is_some() {
            status["incomplete"] = true.into();
            status["evaluationError"] = "node authorizer does not support user rule resolution".into();
        }
        Ok(status)
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

fn answer(allowed: bool, reason: &str) -> Value {
    let mut status = json!({"allowed": allowed});
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}

fn resource_of(attributes: &Value) -> Resource<'_> {
    Resource {
        group: text(attributes, "group"),
        version: text(attributes, "version"),
        resource: text(attributes, "resource"),
        subresource: text(attributes, "subresource"),
        namespace: text(attributes, "namespace"),
        name: text(attributes, "name"),
        field_selector: "",
    }
}

/// The field selector as text: given so, or as requirements.
fn selector_of(attributes: &Value) -> String {
    let selector = &attributes["fieldSelector"];
    let raw = text(selector, "rawSelector");
    if !raw.is_empty() {
        return raw.to_owned();
    }
    let requirements = selector["requirements"].as_array().into_iter().flatten();
    let terms = requirements.filter_map(|requirement| {
        match (text(requirement, "operator"), requirement["values"].as_array()) {
            ("In", Some(values)) if values.len() == 1 => Some(format!(
                "{}={}",
                text(requirement, "key"),
                values[0].as_str().unwrap_or("")
            )),
            _ => None,
        }
    });
    terms.collect::<Vec<_>>().join(",")
}

fn invalid(kind: &Kind, field: &str, value: &Value, detail: &str) -> ApiError {
    let error = Invalid {
        field: field.into(),
        kind: ErrorKind::Invalid,
        value: value.clone(),
        detail: detail.into(),
    };
    ApiError::invalid(&kind.resource.group, &kind.resource.kind, "", &[error])
}

/// A question about access has no metadata, but may say in which namespace it is asked.
fn nameless(kind: &Kind, metadata: &Value, namespace: &str) -> ApiResult<()> {
    let unset = |value: &Value| match value {
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        other => other.is_null(),
    };
    let said = metadata
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !unset(value));
    let mut said = said.filter(|(key, _)| *key != "managedFields").peekable();
    let place = |(key, value): (&String, &Value)| key == "namespace" && value == namespace;
    if said.peek().is_none() || (!namespace.is_empty() && said.all(place)) {
        return Ok(());
    }
    let why = match namespace {
        "" => "must be empty",
        _ => "must be empty except for namespace",
    };
    Err(invalid(kind, "metadata", metadata, why))
}

/// The user that a review is about.
fn subject(kind: &Kind, spec: &Value) -> ApiResult<User> {
    let list = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let extra = spec["extra"].as_object().map(Map::iter).into_iter().flatten();
    let user = User {
        name: text(spec, "user").to_owned(),
        uid: text(spec, "uid").to_owned(),
        groups: list(&spec["groups"]),
        extra: extra.map(|(key, values)| (key.to_lowercase(), list(values))).collect(),
        internal: false,
    };
    if user.name.is_empty() && user.groups.is_empty() {
        let why = "at least one of user or group must be specified";
        return Err(invalid(kind, "spec.user", &"".into(), why));
    }
    Ok(user)
}

/// A local review is about the namespace it is made in.
fn local(kind: &Kind, spec: &Value, namespace: &str) -> ApiResult<()> {
    let attributes = &spec["resourceAttributes"];
    if spec["nonResourceAttributes"].is_object() {
        let why = "disallowed on this kind of request";
        return Err(invalid(
            kind,
            "spec.nonResourceAttributes",
            &spec["nonResourceAttributes"],
            why,
        ));
    }
    if attributes.is_object() && text(attributes, "namespace") != namespace {
        let field = "spec.resourceAttributes.namespace";
        return Err(invalid(
            kind,
            field,
            &attributes["namespace"],
            "must match metadata.namespace",
        ));
    }
    Ok(())
}
