//! Makes a pod's volumes, and keeps them up to date.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::kinds::Pod;
use futures_util::future;

use crate::fault;
use crate::objects::{Feed, Objects};
use crate::pods::shape;
use crate::pods::store::Store;
use crate::shared::{SharedRef, blocking};
use crate::volumes::{self, Context, Volumes};

/// Volumes that are there, with the watches of what they are made from.
#[derive(Debug)]
pub struct Made {
    /// The volumes.
    pub volumes: Volumes,
    /// Watches of their objects.
    pub feeds: Vec<Feed>,
}

/// Volumes that could not be made: why, and the watches of what may be missing.
#[derive(Debug)]
pub struct Failed {
    /// What users read.
    pub message: String,
    /// Watches of their objects.
    pub feeds: Vec<Feed>,
}

/// Makes the volumes.
pub async fn set_up(shared: SharedRef, pod: Arc<Pod>, store: Arc<Store>) -> Result<Made, Failed> {
    let wanted: BTreeSet<_> = volumes::references(&pod);
    let subscribed = future::try_join_all(wanted.into_iter().map(|key| shared.objects.subscribe(key))).await;
    let feeds = match subscribed {
        Ok(feeds) => feeds,
        Err(error) => {
            return Err(Failed {
                message: format!("volumes cannot be read from the API: {error}"),
                feeds: Vec::new(),
            });
        }
    };
    let result = refresh(shared, pod, store, &feeds).await;
    fault::point("agent.volumes-ready");
    match result {
        Ok(volumes) => Ok(Made { volumes, feeds }),
        Err(message) => Err(Failed { message, feeds }),
    }
}

/// Brings the volumes to what their objects and the pod say now.
pub async fn refresh(shared: SharedRef, pod: Arc<Pod>, store: Arc<Store>, feeds: &[Feed]) -> Result<Volumes, String> {
    if shape::spec(&pod).volumes.iter().flatten().next().is_none() {
        return Ok(Volumes::new());
    }
    let objects: Objects = feeds
        .iter()
        .map(|it| (it.key.clone(), it.value.borrow().clone()))
        .collect();
    blocking(move || {
        let facts = shared.facts(None);
        let cx = Context {
            pod: &pod,
            facts: &facts,
            objects: &objects,
        };
        volumes::set_up(&cx, store.dir()).map_err(|error| error.to_string())
    })
    .await
}
