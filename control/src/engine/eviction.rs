//! Eviction: a removal that says it is one.

use barepod_schema::type_of;
use http::Response;
use serde_json::{Value, json};

use super::body::Body;
use super::decode::{self, Expected};
use super::delete::Removal;
use super::options::WriteOptions;
use super::request::Request;
use super::status::{self, ApiResult};
use super::{Engine, Target, meta, reply, update};

impl Engine {
    pub(super) async fn evict(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        let options = WriteOptions::parse(request, "CreateOptions")?;
        let expected = Expected {
            api_version: "policy/v1",
            kind: "Eviction",
            ty: type_of("policy", "v1", "Eviction"),
        };
        let (mut eviction, _) = decode::object(&request.content_type, &request.body, &expected, options.validation)?;
        if meta::text(&eviction, "name").is_empty() {
            meta::of(&mut eviction).insert("name".into(), target.name.into());
        }
        update::check_name(&eviction, target)?;
        let empty = json!({});
        let given = eviction
            .get("deleteOptions")
            .filter(|options| options.is_object())
            .unwrap_or(&empty);
        let mut removal = Removal::from_value(given as &Value)?;
        removal.dry_run |= options.dry_run;
        self.remove(target, &removal).await?;
        Ok(reply::value(request, 201, &status::success(json!({}))))
    }
}
