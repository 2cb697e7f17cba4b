//! The few requests controllers make, each under the controller's own field manager.
//!
//! Objects are never written back as typed structs, which would drop the fields this program does not know: existing
//! objects are patched, new ones are sent as JSON values. Every answer that carries an object is shown to the shared
//! informer, so that a controller reads its own writes before the watch echoes them.

mod error;

pub(crate) use error::Error;

use crate::informer::{Informer, Key, Object};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Request;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// Writes in the name of one controller.
#[derive(Clone)]
pub(crate) struct Writer {
    client: Client,
    manager: &'static str,
}

/// Which part of an object a patch changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Metadata and spec.
    Main,
    /// The status subresource.
    Status,
}

impl Writer {
    pub(crate) fn new(client: Client, manager: &'static str) -> Self {
        Self { client, manager }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    fn post_params(&self) -> PostParams {
        PostParams {
            field_manager: Some(self.manager.to_owned()),
            ..PostParams::default()
        }
    }

    /// Creates an object from its encoded JSON.
    pub(crate) async fn create<K: Object>(
        &self,
        informer: &Informer<K>,
        namespace: &str,
        body: Vec<u8>,
    ) -> Result<Arc<K>, Error> {
        let fail = |e| Error::request("create", format!("{} in namespace {namespace:?}", K::plural(&())), e);
        let request = collection::<K>(namespace)
            .create(&self.post_params(), body)
            .map_err(|e| fail(kube::Error::BuildRequest(e)))?;
        let object = self.client.request::<K>(request).await.map_err(fail)?;
        Ok(informer.observe(object))
    }

    /// Creates an object from a JSON value.
    pub(crate) async fn create_value<K: Object>(
        &self,
        informer: &Informer<K>,
        namespace: &str,
        value: &Value,
    ) -> Result<Arc<K>, Error> {
        self.create(informer, namespace, encode(value)?).await
    }

    /// JSON merge patch (RFC 7386): lists are replaced as a whole.
    pub(crate) async fn merge<K: Object>(
        &self,
        informer: &Informer<K>,
        key: &Key,
        part: Part,
        patch: &Value,
    ) -> Result<Arc<K>, Error> {
        self.patch(informer, key, part, &Patch::Merge(patch)).await
    }

    /// Strategic merge patch: lists with a merge key are merged by it.
    pub(crate) async fn strategic<K: Object>(
        &self,
        informer: &Informer<K>,
        key: &Key,
        part: Part,
        patch: &Value,
    ) -> Result<Arc<K>, Error> {
        self.patch(informer, key, part, &Patch::Strategic(patch)).await
    }

    async fn patch<K: Object>(
        &self,
        informer: &Informer<K>,
        key: &Key,
        part: Part,
        patch: &Patch<&Value>,
    ) -> Result<Arc<K>, Error> {
        let operation = if part == Part::Main { "patch" } else { "patch status of" };
        let fail = |e| Error::request(operation, describe::<K>(key), e);
        let params = PatchParams {
            field_manager: Some(self.manager.to_owned()),
            ..PatchParams::default()
        };
        let collection = collection::<K>(key.namespace());
        let request = match part {
            Part::Main => collection.patch(key.name(), &params, patch),
            Part::Status => collection.patch_subresource("status", key.name(), &params, patch),
        };
        let request = request.map_err(|e| fail(kube::Error::BuildRequest(e)))?;
        let object = self.client.request::<K>(request).await.map_err(fail)?;
        Ok(informer.observe(object))
    }

    /// Deletes the object with this uid; one that is already gone is a success.
    pub(crate) async fn delete<K: Object>(
        &self,
        informer: &Informer<K>,
        key: &Key,
        uid: &str,
        params: DeleteParams,
    ) -> Result<(), Error> {
        let fail = |e| Error::request("delete", describe::<K>(key), e);
        let params = params.preconditions(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        });
        let request = collection::<K>(key.namespace())
            .delete(key.name(), &params)
            .map_err(|e| fail(kube::Error::BuildRequest(e)))?;
        match self.client.request_status::<K>(request).await.map_err(fail) {
            Ok(answer) => {
                match answer.left().filter(|object| lives_on(object.meta())) {
                    Some(object) => drop(informer.observe(object)),
                    None => informer.observe_removed(key, uid),
                }
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                informer.observe_removed(key, uid);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads an object from the server, not from the cache.
    pub(crate) async fn get_live<K: Object>(&self, key: &Key) -> Result<Option<K>, Error> {
        self.get_as::<K, K>(key).await
    }

    /// Reads an object from the server as it is, with every field.
    pub(crate) async fn get_value<K: Object>(&self, key: &Key) -> Result<Option<Value>, Error> {
        self.get_as::<K, Value>(key).await
    }

    async fn get_as<K: Object, T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, Error> {
        let fail = |e| Error::request("get", describe::<K>(key), e);
        let request = collection::<K>(key.namespace())
            .get(key.name(), &GetParams::default())
            .map_err(|e| fail(kube::Error::BuildRequest(e)))?;
        match self.client.request::<T>(request).await.map_err(fail) {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Posts to a subresource.
    pub(crate) async fn post<K: Object>(
        &self,
        key: &Key,
        subresource: &'static str,
        body: &Value,
    ) -> Result<Value, Error> {
        let fail = |e| Error::request("post", format!("{subresource} of {}", describe::<K>(key)), e);
        let request = collection::<K>(key.namespace())
            .create_subresource(subresource, key.name(), &self.post_params(), encode(body)?)
            .map_err(|e| fail(kube::Error::BuildRequest(e)))?;
        self.client.request(request).await.map_err(fail)
    }

    /// Replaces a subresource with a JSON value.
    pub(crate) async fn put<K: Object>(
        &self,
        key: &Key,
        subresource: &'static str,
        body: &Value,
    ) -> Result<Value, Error> {
        let fail = |e| Error::request("update", format!("{subresource} of {}", describe::<K>(key)), e);
        let request = collection::<K>(key.namespace())
            .replace_subresource(subresource, key.name(), &self.post_params(), encode(body)?)
            .map_err(|e| fail(kube::Error::BuildRequest(e)))?;
        self.client.request(request).await.map_err(fail)
    }
}

fn collection<K: Object>(namespace: &str) -> Request {
    Request::new(K::url_path(&(), (!namespace.is_empty()).then_some(namespace)))
}

fn encode(value: &Value) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|e| Error::invalid("request body", e.to_string()))
}

fn describe<K: Object>(key: &Key) -> String {
    format!("{} {key}", K::kind(&()).to_lowercase())
}

/// Whether an object that a delete returned still exists: it does while something must happen first.
fn lives_on(meta: &ObjectMeta) -> bool {
    let waits = meta.deletion_grace_period_seconds.is_some_and(|s| s > 0);
    let held = meta.finalizers.as_ref().is_some_and(|f| !f.is_empty());
    meta.deletion_timestamp.is_some() && (waits || held)
}
