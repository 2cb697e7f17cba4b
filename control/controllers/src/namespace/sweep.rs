//! Deletes everything in a namespace, whatever kinds the server has, pods first, and counts what is left.

use super::plan::Remains;
use crate::api::Error;
use crate::discovery::{Kind, discover};
use barepod_client::types::ObjectMeta;
use barepod_client::{Client, DeleteOptions, List, PartialObject, Request};
use futures_util::future::join_all;

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
    // Pods go before what protects them from others, or others from them, such as network policies (KEP-5080).
    let (pods, others): (Vec<Kind>, Vec<Kind>) = kinds
        .into_iter()
        .filter(|kind| kind.namespaced)
        .partition(|kind| kind.name() == "pods");
    let mut remains = Remains::default();
    for stage in [pods, others] {
        let results = join_all(stage.iter().map(|kind| empty(client, namespace, kind))).await;
        for (kind, result) in stage.iter().zip(results) {
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
        if !remains.is_empty() {
            break;
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
    let resource = kind.resource();
    let fail = |e| Error::request("delete all", format!("{} in namespace {namespace}", kind.name()), e);
    if kind.collection {
        let request = Request::delete(resource.collection(namespace), &DeleteOptions::background());
        client.send(request).await.map_err(fail)?;
    } else {
        for meta in &present {
            let options = DeleteOptions::background().uid(meta.uid());
            let request = Request::delete(resource.path(namespace, meta.name()), &options);
            match client.send(request).await.map_err(fail) {
                Err(error) if !error.is_not_found() && !error.is_conflict() => return Err(error),
                _ => {}
            }
        }
    }
    list(client, namespace, kind).await
}

async fn list(client: &Client, namespace: &str, kind: &Kind) -> Result<Vec<ObjectMeta>, Error> {
    let request = Request::get(kind.resource().collection(namespace)).metadata_list();
    let answer = client.read::<List<PartialObject>>(request).await;
    let list = answer.map_err(|e| Error::request("list", format!("{} in namespace {namespace}", kind.name()), e))?;
    Ok(list.items.into_iter().map(|object| object.metadata).collect())
}
