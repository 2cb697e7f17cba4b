//! Binding a pod to a node: what a scheduler does.

use barepod_kinds::time::rfc3339;
use barepod_kinds::{Invalid, Kind as ErrorKind};
use barepod_schema::type_of;
use http::Response;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::body::Body;
use super::decode::{self, Expected};
use super::options::WriteOptions;
use super::reply;
use super::request::Request;
use super::status::{self, ApiError, ApiResult, quote};
use super::update::{Update, check_name};
use super::{Engine, Target, meta};

impl Engine {
    pub(super) async fn bind(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        let options = WriteOptions::parse(request, "CreateOptions")?;
        let expected = Expected {
            api_version: "v1",
            kind: "Binding",
            ty: type_of("", "v1", "Binding"),
        };
        let (mut binding, warnings) =
            decode::object(&request.content_type, &request.body, &expected, options.validation)?;
        if meta::text(&binding, "name").is_empty() {
            meta::of(&mut binding).insert("name".into(), target.name.into());
        }
        check_name(&binding, target)?;
        let node = binding
            .pointer("/target/name")
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned();
        let target_kind = binding.pointer("/target/kind").and_then(Value::as_str).unwrap_or("");
        check_node(target, &node, target_kind)?;
        let uid = meta::text(&binding, "uid").to_owned();
        let annotations = binding
            .pointer("/metadata/annotations")
            .and_then(Value::as_object)
            .cloned();
        let update = Update {
            subresource: "binding",
            book: true,
            replace: false,
        };
        let change = |old: &Value| bind(target, old, &node, &uid, annotations.as_ref());
        self.update_with(request, target, &options, update, change).await?;
        let mut response = reply::value(request, 201, &status::success(json!({})));
        reply::warn(&mut response, &warnings);
        Ok(response)
    }
}

fn check_node(target: Target<'_>, node: &str, kind: &str) -> ApiResult<()> {
    let error = |field: &str, kind, value: Value, detail: &str| {
        let (field, detail) = (field.to_owned(), detail.to_owned());
        Err(ApiError::invalid(
            "",
            "Binding",
            target.name,
            &[Invalid {
                field,
                kind,
                value,
                detail,
            }],
        ))
    };
    if !matches!(kind, "" | "Node") {
        return error(
            "target.kind",
            ErrorKind::NotSupported,
            kind.into(),
            "supported values: \"Node\", \"<empty>\"",
        );
    }
    if node.is_empty() {
        return error("target.name", ErrorKind::Required, Value::Null, "");
    }
    Ok(())
}

/// The pod with its node.
fn bind(
    target: Target<'_>,
    old: &Value,
    node: &str,
    uid: &str,
    annotations: Option<&Map<String, Value>>,
) -> ApiResult<Value> {
    let stored = meta::text(old, "uid");
    if !uid.is_empty() && uid != stored {
        return Err(meta::uid_mismatch(target.kind, target.name, uid, stored));
    }
    let refuse = |why: String| {
        let binding = format!(
            "Operation cannot be fulfilled on pods/binding {}: {why}",
            quote(target.name)
        );
        Err(ApiError::binding_conflict(target.name, binding))
    };
    if old
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|time| !time.is_null())
    {
        return refuse(format!(
            "pod {} is being deleted, cannot be assigned to a host",
            target.name
        ));
    }
    let bound = old.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or("");
    if !bound.is_empty() {
        return refuse(format!(
            "pod {} is already assigned to node {}",
            target.name,
            quote(bound)
        ));
    }
    if old
        .pointer("/spec/schedulingGates")
        .and_then(Value::as_array)
        .is_some_and(|gates| !gates.is_empty())
    {
        return refuse(format!("pod {} has non-empty .spec.schedulingGates", target.name));
    }
    let mut new = old.clone();
    new["spec"]["nodeName"] = node.into();
    if let Some(annotations) = annotations.filter(|map| !map.is_empty()) {
        let slot = meta::of(&mut new).entry("annotations").or_insert_with(|| json!({}));
        for (key, value) in annotations {
            slot[key.as_str()] = value.clone();
        }
    }
    if !new["status"].is_object() {
        new["status"] = json!({});
    }
    if !new["status"]["conditions"].is_array() {
        new["status"]["conditions"] = json!([]);
    }
    let scheduled = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": rfc3339(Timestamp::now()),
    });
    if let Some(conditions) = new["status"]["conditions"].as_array_mut() {
        match conditions
            .iter_mut()
            .find(|condition| condition["type"] == "PodScheduled")
        {
            Some(condition) => *condition = scheduled,
            None => conditions.push(scheduled),
        }
    }
    Ok(new)
}
