//! Deletes everything in a namespace, whatever kinds the server has, and counts what is left.

use super::plan::Remains;
use crate::api::Error;
use crate::discovery::{Kind, discover};
use futures_util::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::core::{PartialObjectMeta, Request, Resource};
use serde_json::Value;

/// One pass over all namespaced kinds.
pub(super) async fn sweep(client: &Client, namespace: &str) -> Remains {
    let kinds = match discover(client).await {
        Ok(kinds) => kinds,
        Err(error) => {
            return Remains {
                discovery: Some(error.chain()),
                ..Remains::default()
            };
        }
    };
    let namespaced: Vec<Kind> = kinds.into_iter().filter(|kind| kind.namespaced).collect();
    let mut remains = Remains::default();
    let results = join_all(namespaced.iter().map(|kind| empty(client, namespace, kind))).await;
    for (kind, result) in namespaced.iter().zip(results) {
        match result {
            Ok(left) if left.is_empty() => {}
            Ok(left) => {
                for finalizer in left.iter().flat_map(|m| m.finalizers.iter().flatten()) {
                    *remains.finalizers.entry(finalizer.clone()).or_default() += 1;
                }
                remains.objects.insert(kind.name(), left.len());
            }
            Err(error) => remains.failures.push(format!("{}: {}", kind.name(), error.chain())),
        }
    }
    remains
}

/// Deletes the objects of one kind and returns those that are still there.
async fn empty(client: &Client, namespace: &str, kind: &Kind) -> Result<Vec<ObjectMeta>, Error> {
    let present = list(client, namespace, kind).await?;
    if present.is_empty() {
        return Ok(present);
    }
    let path = DynamicObject::url_path(&kind.resource, Some(namespace));
    let fail = |e| Error::request("delete all", format!("{} in namespace {namespace}", kind.name()), e);
    if kind.collection {
        let request = Request::new(path)
            .delete_collection(&DeleteParams::background(), &ListParams::default())
            .map_err(|e| fail(kube::Error::BuildRequest(e)))?;
        client.request::<Value>(request).await.map_err(fail)?;
    } else {
        for meta in &present {
            let uid = meta.uid.clone();
            let params = DeleteParams::background().preconditions(Preconditions {
                uid,
                resource_version: None,
            });
            let request = Request::new(path.clone())
                .delete(meta.name.as_deref().unwrap_or_default(), &params)
                .map_err(|e| fail(kube::Error::BuildRequest(e)))?;
            match client.request::<Value>(request).await.map_err(fail) {
                Err(error) if !error.is_not_found() && !error.is_conflict() => return Err(error),
                _ => {}
            }
        }
    }
    list(client, namespace, kind).await
}

async fn list(client: &Client, namespace: &str, kind: &Kind) -> Result<Vec<ObjectMeta>, Error> {
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &kind.resource);
    let answer = api.list_metadata(&ListParams::default()).await;
    let objects = answer.map_err(|e| Error::request("list", format!("{} in namespace {namespace}", kind.name()), e))?;
    Ok(objects
        .items
        .into_iter()
        .map(|o: PartialObjectMeta<DynamicObject>| o.metadata)
        .collect())
}
