//! The few requests controllers make, each under the controller's own field manager.
//!
//! Objects are never written back as typed structs, which would drop the fields this program does not know: existing
//! objects are patched, new ones are sent as JSON values. Every answer that carries an object is shown to the shared
//! informer, so that a controller reads its own writes before the watch echoes them.

mod error;

pub(crate) use error::Error;

use crate::informer::{Informer, Key, Object};
use barepod_client::types::ObjectMeta;
use barepod_client::{Client, DeleteOptions, PartialObject, Patch, Request, decode};
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

    /// Creates an object from its encoded JSON.
    pub(crate) async fn create<K: Object>(
        &self,
        informer: &Informer<K>,
        namespace: &str,
        body: Vec<u8>,
    ) -> Result<Arc<K>, Error> {
        let fail = |e| {
            Error::request(
                "create",
                format!("{} in namespace {namespace:?}", K::RESOURCE.plural),
                e,
            )
        };
        let request = Request::create(K::RESOURCE.collection(namespace), body).manager(self.manager);
        let object = self.client.object::<K>(request).await.map_err(fail)?;
        Ok(informer.observe(object))
    }

    /// Creates an object from a JSON value.
    pub(crate) async fn create_value<K: Object>(
        &self,
        informer: &Informer<K>,
        namespace: &str,
        value: &Value,
    ) -> Result<Arc<K>, Error> {
        self.create(informer, namespace, value.to_string().into_bytes()).await
    }

    /// JSON merge patch (RFC 7386): lists are replaced as a whole.
    pub(crate) async fn merge<K: Object>(
        &self,
        informer: &Informer<K>,
        key: &Key,
        part: Part,
        patch: &Value,
    ) -> Result<Arc<K>, Error> {
        self.patch(informer, key, part, Patch::Merge, patch).await
    }

    /// Strategic merge patch: lists with a merge key are merged by it.
    pub(crate) async fn strategic<K: Object>(
        &self,
        informer: &Informer<K>,
        key: &Key,
        part: Part,
        patch: &Value,
    ) -> Result<Arc<K>, Error> {
        self.patch(informer, key, part, Patch::Strategic, patch).await
    }

    async fn patch<K: Object>(
        &self,
        informer: &Informer<K>,
        key: &Key,
        part: Part,
        patch: Patch,
        change: &Value,
    ) -> Result<Arc<K>, Error> {
        let (operation, path) = match part {
            Part::Main => ("patch", path::<K>(key)),
            Part::Status => ("patch status of", path::<K>(key) + "/status"),
        };
        let request = Request::patch(path, patch, change).manager(self.manager);
        let object = self.client.object::<K>(request).await;
        Ok(informer.observe(object.map_err(|e| Error::request(operation, describe::<K>(key), e))?))
    }

    /// Deletes the object with this uid; one that is already gone is a success.
    pub(crate) async fn delete<K: Object>(
        &self,
        informer: &Informer<K>,
        key: &Key,
        uid: &str,
        options: DeleteOptions,
    ) -> Result<(), Error> {
        let fail = |e| Error::request("delete", describe::<K>(key), e);
        let request = Request::delete(path::<K>(key), &options.uid(uid));
        match self.client.fetch(request).await {
            Ok(answer) => {
                let unreadable = |e| fail(barepod_client::Error::Decode(e));
                // The object as it is left, or a Status when nothing is.
                let text = String::from_utf8_lossy(&answer);
                let left = decode::<PartialObject>(&text).map_err(unreadable)?;
                if lives_on(&left.metadata) {
                    informer.observe(K::read(&text).map_err(unreadable)?);
                } else {
                    informer.observe_removed(key, uid);
                }
                Ok(())
            }
            Err(error) if error.code() == Some(404) => {
                informer.observe_removed(key, uid);
                Ok(())
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// Reads an object from the server, not from the cache.
    pub(crate) async fn get_live<K: Object>(&self, key: &Key) -> Result<Option<K>, Error> {
        let found = self.client.find::<K>(Request::get(path::<K>(key))).await;
        found.map_err(|e| Error::request("get", describe::<K>(key), e))
    }

    /// Reads an object from the server as it is, with every field.
    pub(crate) async fn get_value<K: Object>(&self, key: &Key) -> Result<Option<Value>, Error> {
        match self.client.read(Request::get(path::<K>(key))).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(Error::request("get", describe::<K>(key), error)),
        }
    }

    /// Posts to a subresource.
    pub(crate) async fn post<K: Object>(
        &self,
        key: &Key,
        subresource: &'static str,
        body: &Value,
    ) -> Result<(), Error> {
        let path = format!("{}/{subresource}", path::<K>(key));
        let request = Request::create(path, body.to_string().into_bytes()).manager(self.manager);
        let fail = |e| Error::request("post", format!("{subresource} of {}", describe::<K>(key)), e);
        self.client.send(request).await.map_err(fail)
    }

    /// Replaces a subresource with a JSON value.
    pub(crate) async fn put<K: Object>(&self, key: &Key, subresource: &'static str, body: &Value) -> Result<(), Error> {
        let path = format!("{}/{subresource}", path::<K>(key));
        let request = Request::replace(path, body.to_string().into_bytes()).manager(self.manager);
        let fail = |e| Error::request("update", format!("{subresource} of {}", describe::<K>(key)), e);
        self.client.send(request).await.map_err(fail)
    }
}

fn path<K: Object>(key: &Key) -> String {
    K::RESOURCE.path(key.namespace(), key.name())
}

fn describe<K: Object>(key: &Key) -> String {
    format!("{} {key}", K::RESOURCE.kind.to_lowercase())
}

/// Whether an object that a delete returned still exists: it does while something must happen first.
fn lives_on(meta: &ObjectMeta) -> bool {
    let waits = meta.deletion_grace_period_seconds.is_some_and(|s| s > 0);
    let held = meta.finalizers.as_ref().is_some_and(|f| !f.is_empty());
    meta.deletion_timestamp.is_some() && (waits || held)
}
