//! Feeds the graph: from the shared caches where there is one for the kind, else from a watch of metadata.

use super::Garbage;
use super::graph::Item;
use crate::discovery::Kind;
use crate::informer::{Informer, Key, Object};
use crate::spawn;
use crate::sync::lock;
use barepod_client::types::ObjectMeta;
use barepod_client::{Event, PartialObject, Selection, watch};
use futures_util::StreamExt;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::JoinSet;

impl Garbage {
    /// Connects every kind; the tasks are the watches, the result waits until all have been listed once.
    pub(super) async fn connect(self: &Arc<Self>, kinds: &[Kind], tasks: &mut JoinSet<()>) {
        let context = self.context.clone();
        let mut waits = Vec::new();
        for (index, kind) in kinds.iter().enumerate() {
            let c = &context;
            match (kind.group.as_str(), kind.plural.as_str()) {
                ("", "pods") => self.listen(index, &c.pods).await,
                ("", "nodes") => self.listen(index, &c.nodes).await,
                ("", "namespaces") => self.listen(index, &c.namespaces).await,
                ("", "services") => self.listen(index, &c.services).await,
                ("", "endpoints") => self.listen(index, &c.endpoints).await,
                ("", "replicationcontrollers") => self.listen(index, &c.replication_controllers).await,
                ("apps", "replicasets") => self.listen(index, &c.replica_sets).await,
                ("apps", "deployments") => self.listen(index, &c.deployments).await,
                ("discovery.k8s.io", "endpointslices") => self.listen(index, &c.endpoint_slices).await,
                ("coordination.k8s.io", "leases") => self.listen(index, &c.leases).await,
                // Nothing owns by events, and nothing that owns them needs them gone.
                ("", "events") => {}
                _ if kind.watchable => {
                    let (done, wait) = tokio::sync::oneshot::channel();
                    spawn(tasks, self.clone().watch(index, kind.clone(), done));
                    waits.push(wait);
                }
                _ => {}
            }
        }
        for wait in waits {
            // A watch that ended before its first list has nothing to wait for.
            let _ = wait.await;
        }
    }

    async fn listen<K: Object>(self: &Arc<Self>, index: usize, informer: &Arc<Informer<K>>) {
        let this = self.clone();
        informer.on_change(move |change| match (&change.old, &change.new) {
            (_, Some(object)) => this.set(index, object.meta()),
            (Some(object), None) => this.remove(object.meta()),
            (None, None) => {}
        });
        informer.synced().await;
    }

    async fn watch(self: Arc<Self>, index: usize, kind: Kind, first: tokio::sync::oneshot::Sender<()>) {
        let selection = Selection::all(kind.resource()).metadata();
        let mut events = watch::<PartialObject>(self.context.client.clone(), selection);
        let mut first = Some(first);
        let mut known: HashMap<Key, ObjectMeta> = HashMap::new();
        let mut incoming: Vec<ObjectMeta> = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                Event::Init => incoming.clear(),
                Event::InitApply(object) => incoming.push(slim(object.metadata)),
                Event::InitDone => {
                    self.replace(index, &mut known, std::mem::take(&mut incoming));
                    first.take().map(|done| done.send(()));
                }
                Event::Apply(object) => {
                    let meta = slim(object.metadata);
                    self.set(index, &meta);
                    known.insert(Key::of(&meta), only_uid(&meta));
                }
                Event::Delete(object) => {
                    known.remove(&Key::of(&object.metadata));
                    self.remove(&object.metadata);
                }
            }
        }
    }

    fn replace(&self, index: usize, known: &mut HashMap<Key, ObjectMeta>, incoming: Vec<ObjectMeta>) {
        let mut gone = std::mem::take(known);
        for meta in &incoming {
            let key = Key::of(meta);
            if gone.get(&key).is_some_and(|old| old.uid == meta.uid) {
                gone.remove(&key);
            }
            known.insert(key, only_uid(meta));
        }
        gone.values().for_each(|meta| self.remove(meta));
        incoming.iter().for_each(|meta| self.set(index, meta));
    }

    fn set(&self, index: usize, meta: &ObjectMeta) {
        let Some(uid) = meta.uid.as_deref() else { return };
        let work = lock(&self.graph).set(uid, Item::of(index, meta));
        work.into_iter().for_each(|work| self.queue.add(work));
    }

    fn remove(&self, meta: &ObjectMeta) {
        let Some(uid) = meta.uid.as_deref() else { return };
        let work = lock(&self.graph).remove(uid);
        work.into_iter().for_each(|work| self.queue.add(work));
        if let Some(namespace) = meta.namespace.as_deref() {
            (self.lost)(namespace);
        }
    }
}

/// Only what the graph keeps.
fn slim(meta: ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        annotations: None,
        labels: None,
        ..meta
    }
}

/// Enough to say that the object is gone.
fn only_uid(meta: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        uid: meta.uid.clone(),
        namespace: meta.namespace.clone(),
        ..ObjectMeta::default()
    }
}
