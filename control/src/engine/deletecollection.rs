//! Removing many objects: all steps go to the store together and share its syncs.

use std::sync::Arc;

use barepod_store::{Object, WriteError};
use http::Response;

use super::body::Body;
use super::delete::{Removal, Removed, Step};
use super::list::{Start, object_list};
use super::registry::Kind;
use super::reply::{self, Answer};
use super::request::Request;
use super::select::Selection;
use super::status::{ApiError, ApiResult};
use super::table::ListMeta;
use super::{Engine, Target, storage_error};

/// How many removals go to the store at a time, so that other writes get their turn between them.
const BATCH: usize = 500;

impl Engine {
    pub(super) async fn delete_collection(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        let kind = target.kind;
        let removal = Removal::parse(request)?;
        let selection = Selection::parse(kind, &request.query)?;
        let namespace = (!target.namespace.is_empty()).then_some(target.namespace);
        let scope = selection.scope(kind, namespace);
        let listed = self.select(kind, &selection, &scope, &Start::default(), 0);
        let listed = listed.map_err(|error| ApiError::internal(error.to_string()))?;
        let mut removed = Vec::with_capacity(listed.objects.len());
        for batch in listed.objects.chunks(BATCH) {
            removed.extend(self.remove_batch(request, kind, &removal, batch).await?);
        }
        let meta = ListMeta {
            revision: self.store.revision().to_string(),
            ..ListMeta::default()
        };
        Ok(reply::json(200, object_list(kind, &meta, removed).await?))
    }

    async fn remove_batch(
        &self,
        request: &Request,
        kind: &Arc<Kind>,
        removal: &Removal,
        objects: &[Arc<Object>],
    ) -> ApiResult<Vec<Arc<Object>>> {
        let mut removed = Vec::with_capacity(objects.len());
        let mut writes = Vec::with_capacity(objects.len());
        let mut written = Vec::with_capacity(objects.len());
        for object in objects {
            match self.removal_step(request, place(kind, object), removal, object).await? {
                Step::Done(_) => removed.push(object.clone()),
                Step::Write(write, _) => {
                    writes.push(write);
                    written.push(object);
                }
            }
        }
        let results = self.store.write_all(writes).await;
        for (result, object) in results.into_iter().zip(written) {
            match result {
                Ok(object) => removed.push(object),
                Err(WriteError::Storage(error)) => return Err(storage_error(&error)),
                // Somebody else changed it meanwhile; gone is as good as removed.
                Err(WriteError::Conflict { current: None }) => {}
                Err(WriteError::Conflict { .. } | WriteError::Guard) => {
                    match self.remove(request, place(kind, object), removal).await {
                        Ok(Removed::Gone(Answer::Stored(object)) | Removed::Marked(Answer::Stored(object))) => {
                            removed.push(object);
                        }
                        Ok(_) => {}
                        Err(error) if error.code == 404 => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(removed)
    }
}

/// The target that a stored object's key stands for.
fn place<'a>(kind: &'a Arc<Kind>, object: &'a Object) -> Target<'a> {
    let rest = object.key().strip_prefix(kind.prefix.as_str()).unwrap_or("");
    let (namespace, name) = if kind.resource.namespaced {
        rest.split_once('/').unwrap_or(("", rest))
    } else {
        ("", rest)
    };
    Target { kind, namespace, name }
}
