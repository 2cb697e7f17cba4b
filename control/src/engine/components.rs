//! ComponentStatuses: objects that nobody stores, about the parts that are this process.

use http::Response;
use serde_json::{Value, json};

use super::accept::Form;
use super::body::Body;
use super::encode::to_bytes;
use super::reply::{self, Answer};
use super::request::Request;
use super::status::{ApiError, ApiResult};
use super::table::{self, Include, ListMeta, Source};
use super::{Engine, Target};

const COMPONENTS: [&str; 3] = ["scheduler", "controller-manager", "etcd-0"];

impl Engine {
    pub(super) async fn components(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        let (kind, name) = (target.kind, target.name);
        if name.is_empty() {
            let form = request.accept.form().ok_or_else(ApiError::not_acceptable)?;
            let mut objects: Vec<Value> = COMPONENTS.into_iter().map(status).collect();
            let meta = ListMeta::default();
            match form {
                Form::Table(version) => {
                    let texts: Vec<Vec<u8>> = objects.iter().map(|object| to_bytes(object, false)).collect();
                    let sources = objects.iter().zip(&texts);
                    let sources = sources.map(|(object, text)| Source::Loose(object, text));
                    let include = Include::parse(&request.query)?;
                    Ok(reply::json(
                        200,
                        table::table(version, kind, sources, &meta, include, true),
                    ))
                }
                Form::Object | Form::Metadata(_) | Form::MetadataList(_) => {
                    // As in every list, the kind of the items is the list's to say.
                    for item in objects.iter_mut().filter_map(Value::as_object_mut) {
                        item.remove("kind");
                        item.remove("apiVersion");
                    }
                    let list =
                        json!({"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": objects});
                    Ok(reply::value(request, 200, &list))
                }
            }
        } else {
            let known = COMPONENTS.contains(&name);
            let known = known.then(|| status(name)).ok_or_else(|| target.not_found())?;
            reply::object(request, kind, 200, &Answer::Loose(known)).await
        }
    }
}

/// Who answers is well, and so are its parts.
fn status(name: &str) -> Value {
    json!({
        "kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name, "creationTimestamp": null},
        "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}],
    })
}
