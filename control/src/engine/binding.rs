//! Binding a pod to a node: what a scheduler does.

use barepod_kinds::Denied;
use barepod_kinds::kinds::pod::bind_with;
use barepod_schema::type_of;
use http::Response;
use jiff::Timestamp;
use serde_json::Value;

use super::body::Body;
use super::decode::{self, Expected};
use super::options::WriteOptions;
use super::reply;
use super::request::Request;
use super::status::{self, ApiError, ApiResult};
use super::update::{Edit, Update, check_name};
use super::{Engine, Target, meta};

impl Engine {
    pub(super) async fn bind(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        let options = WriteOptions::parse(request, "CreateOptions")?;
        let expected = Expected {
            api_version: "v1",
            kind: "Binding",
            shape: type_of("", "v1", "Binding").into(),
        };
        let (mut binding, warnings) =
            decode::object(&request.content_type, &request.body, &expected, options.validation)?;
        // A binding on its own says in its name which pod it binds.
        let name = meta::text(&binding, "name").to_owned();
        let target = match target.kind.is_core("pods") {
            true => target,
            false => Target {
                kind: self
                    .registry
                    .find_any("", "pods")
                    .ok_or_else(ApiError::no_such_resource)?,
                name: &name,
                ..target
            },
        };
        if meta::text(&binding, "name").is_empty() {
            meta::of(&mut binding).insert("name".into(), target.name.into());
        }
        check_name(&binding, target)?;
        let sent = ("v1", "Binding");
        let (dry_run, posted) = (options.dry_run, &mut binding);
        self.admit_sent(request, target, "binding", dry_run, sent, posted)
            .await?;
        let update = Update {
            subresource: "binding",
            book: true,
            replace: false,
        };
        let mut change =
            |old: &Value| bind_with(old, &binding, Timestamp::now()).map_err(|denied| refused(target, denied));
        self.update_with(request, target, &options, update, Edit::Stored(&mut change))
            .await?;
        let mut response = reply::value(request, 201, &status::done());
        reply::warn(&mut response, &warnings);
        Ok(response)
    }
}

/// The error of a binding, which speaks of the binding and not of the pod.
fn refused(target: Target<'_>, denied: Denied) -> ApiError {
    match denied {
        Denied::Conflict(why) => ApiError::binding_conflict(target.name, &why),
        Denied::Invalid(errors) => ApiError::invalid("", "Binding", target.name, &errors),
        other => ApiError::denied(target.kind, target.name, other),
    }
}
