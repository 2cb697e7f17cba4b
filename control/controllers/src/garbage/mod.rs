//! Deletes objects whose owners are gone, and carries out foreground and orphaning deletions.
//!
//! Input: the metadata of every object of every kind that can be watched, also of those that come to be served. Output: deletions, and patches of owner
//! references and finalizers. A deletion names the revision it was decided on, so that an object that changed meanwhile
//! is judged again instead.

mod graph;
mod kinds;
mod sources;
mod verdict;

use crate::api::Error;
use crate::context::Context;
use crate::discovery::{Kind, discover};
use crate::queue::{Again, Queue};
use crate::sync::lock;
use barepod_client::types::OwnerReference;
use barepod_client::{DeleteOptions, PartialObject, Patch, Propagation, Request};
use futures_util::future::join_all;
use graph::{FOREGROUND, Graph, Item, ORPHAN, Uid, Work};
use kinds::Kinds;
use serde_json::{Value, json};
use sources::Watches;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;
use verdict::{Verdict, decide};

const NAME: &str = "generic-garbage-collector";

/// Requests at a time.
const WORKERS: usize = 64;

/// The garbage collector.
pub(crate) struct Garbage {
    context: Arc<Context>,
    graph: Mutex<Graph>,
    kinds: Mutex<Kinds>,
    /// Objects whose owners are of kinds that are not served, or not yet.
    puzzling: Mutex<HashSet<Uid>>,
    queue: Queue<Work>,
    /// Told of every namespace that lost an object.
    lost: Box<dyn Fn(&str) + Send + Sync>,
}

impl Garbage {
    pub(crate) fn new(context: &Arc<Context>, lost: impl Fn(&str) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            context: context.clone(),
            graph: Mutex::default(),
            kinds: Mutex::default(),
            puzzling: Mutex::default(),
            queue: Queue::new(context.options.queues.named(NAME)),
            lost: Box::new(lost),
        })
    }

    /// Works until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        let (mut watches, mut tasks) = (Watches::new(), JoinSet::new());
        // Nothing is judged before every kind was listed once: an owner may be in the last of them.
        for listed in self.connect(&mut watches, &mut tasks).await {
            // A watch that ended before its first list has nothing to wait for.
            let _ = listed.await;
        }
        let this = &self;
        let work = self
            .queue
            .drive(NAME, WORKERS, |work| async move { this.work(&work).await });
        tokio::join!(work, self.follow(watches, tasks));
    }

    async fn discover_until_known(&self) -> Vec<Kind> {
        let mut delay = Duration::from_millis(20);
        loop {
            match discover(&self.context.client).await {
                Ok(kinds) if !kinds.is_empty() => return kinds,
                Ok(_) => tracing::warn!("the server serves no kinds, will ask again"),
                Err(error) => tracing::warn!(error = %error.chain(), "discovery failed, will retry"),
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(Duration::from_secs(10));
        }
    }

    fn kind(&self, place: usize) -> Option<Arc<Kind>> {
        lock(&self.kinds).get(place).cloned()
    }

    async fn work(&self, work: &Work) -> Result<Again, Error> {
        let result = match work {
            Work::Examine(uid) => self.examine(uid).await,
            Work::Orphan(uid) => self.orphan(uid).await,
        };
        match result {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(|()| None),
        }
    }

    async fn examine(&self, uid: &Uid) -> Result<(), Error> {
        loop {
            let (verdict, item) = {
                let graph = lock(&self.graph);
                let Some(item) = graph.item(uid).cloned() else {
                    return Ok(());
                };
                let namespaced = |kind: usize| self.kind(kind).is_none_or(|k| k.namespaced);
                (decide(&graph, uid, &namespaced), item)
            };
            match verdict {
                Verdict::Nothing => return Ok(()),
                Verdict::LookUp(owners) => {
                    if !self.look_up(uid, &item, owners).await? {
                        return Ok(());
                    }
                }
                Verdict::Delete(policy) => return self.delete(uid, &item, policy).await,
                Verdict::DropReferences(uids) => return self.drop_references(&item, &uids).await,
                Verdict::Release => return self.drop_finalizer(&item, FOREGROUND).await,
                Verdict::Unblock => return self.unblock(&item).await,
                Verdict::Wait(dependents) => {
                    dependents
                        .into_iter()
                        .for_each(|uid| self.queue.add(Work::Examine(uid)));
                    return Ok(());
                }
            }
        }
    }

    /// Asks the server for owners the graph does not have. Says whether all are known to be absent now; one that exists
    /// will come with its own watch.
    async fn look_up(&self, uid: &Uid, item: &Item, owners: Vec<OwnerReference>) -> Result<bool, Error> {
        for owner in owners {
            let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
            let known = lock(&self.kinds).named(group, &owner.kind).cloned();
            let Some(kind) = known else {
                lock(&self.puzzling).insert(uid.clone());
                tracing::debug!(object = %item.key, owner = owner.name, kind = owner.kind, "owner of an unknown kind");
                return Ok(false);
            };
            let namespace = match (kind.namespaced, item.key.namespace()) {
                // An owner with a namespace cannot be found from an object without one.
                (true, "") => return Ok(false),
                (true, namespace) => namespace,
                (false, _) => "",
            };
            let request = Request::get(kind.resource().path(namespace, &owner.name)).metadata();
            let found = self.context.client.find::<PartialObject>(request).await;
            let found = found.map_err(|e| Error::request("get owner", format!("{} {}", kind.name(), owner.name), e))?;
            if found.is_some_and(|o| o.metadata.uid.as_deref() == Some(&owner.uid)) {
                return Ok(false);
            }
            lock(&self.graph).set_absent(&owner.uid);
        }
        Ok(true)
    }

    /// The path of the object, and what to call it.
    fn locate(&self, item: &Item) -> Result<(String, String), Error> {
        let kind = self
            .kind(item.kind)
            .ok_or_else(|| Error::invalid(item.key.to_string(), "unknown kind"))?;
        Ok((
            kind.resource().path(item.key.namespace(), item.key.name()),
            format!("{} {}", kind.name(), item.key),
        ))
    }

    async fn delete(&self, uid: &Uid, item: &Item, policy: Propagation) -> Result<(), Error> {
        let (path, object) = self.locate(item)?;
        let options = DeleteOptions::default()
            .propagation(policy)
            .uid(&**uid)
            .revision(&*item.revision);
        let sent = self.context.client.send(Request::delete(path, &options)).await;
        sent.map_err(|e| Error::request("delete dependent", object, e))
    }

    async fn patch(&self, item: &Item, mut metadata: Value) -> Result<(), Error> {
        let (path, object) = self.locate(item)?;
        metadata["resourceVersion"] = json!(item.revision);
        let request = Request::patch(path, Patch::Merge, &json!({"metadata": metadata})).manager(NAME);
        let sent = self.context.client.send(request).await;
        sent.map_err(|e| Error::request("patch metadata of", object, e))
    }

    async fn drop_references(&self, item: &Item, uids: &[String]) -> Result<(), Error> {
        let left: Vec<&OwnerReference> = item.owners.iter().filter(|o| !uids.contains(&o.uid)).collect();
        self.patch(item, json!({"ownerReferences": left})).await
    }

    /// Lets the object's owners go before it.
    async fn unblock(&self, item: &Item) -> Result<(), Error> {
        let mut owners = item.owners.clone();
        owners
            .iter_mut()
            .for_each(|owner| owner.block_owner_deletion = Some(false));
        self.patch(item, json!({"ownerReferences": owners})).await
    }

    async fn drop_finalizer(&self, item: &Item, finalizer: &str) -> Result<(), Error> {
        let left: Vec<&String> = item.finalizers.iter().filter(|f| *f != finalizer).collect();
        self.patch(item, json!({"finalizers": left})).await
    }

    async fn orphan(&self, uid: &Uid) -> Result<(), Error> {
        let (item, dependents) = {
            let graph = lock(&self.graph);
            let Some(item) = graph.item(uid).filter(|i| i.deleting && i.holds(ORPHAN)).cloned() else {
                return Ok(());
            };
            (
                item,
                graph.dependents(uid).map(|(_, d)| d.clone()).collect::<Vec<Item>>(),
            )
        };
        let owner = [uid.to_string()];
        let patches = dependents
            .iter()
            .map(|dependent| self.drop_references(dependent, &owner));
        for result in join_all(patches).await {
            match result {
                Err(error) if error.is_not_found() => {}
                other => other?,
            }
        }
        self.drop_finalizer(&item, ORPHAN).await
    }
}
