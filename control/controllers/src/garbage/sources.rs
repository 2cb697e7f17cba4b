//! Feeds the graph: from the shared caches where there is one for the kind, else from a watch of metadata.

use super::Garbage;
use super::graph::{Item, Work};
use crate::discovery::Kind;
use crate::informer::{Informer, Key, Object};
use crate::spawn;
use crate::sync::lock;
use barepod_client::types::ObjectMeta;
use barepod_client::{Event, PartialObject, Resource, Selection, watch};
use futures_util::stream::select_all;
use futures_util::{FutureExt, StreamExt};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// How long definitions are gathered before the kinds are asked for again.
const GATHER: Duration = Duration::from_millis(100);

/// The watches by the places of their kinds.
pub(super) type Watches = HashMap<usize, Watching>;

/// A watch that ends when this is let go of.
pub(super) struct Watching {
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl Garbage {
    /// Connects every kind that is served and not connected yet, and lets go of those that are served no more. The tasks
    /// are the watches; each of the results comes when a new kind was listed once.
    pub(super) async fn connect(
        self: &Arc<Self>,
        watches: &mut Watches,
        tasks: &mut JoinSet<()>,
    ) -> Vec<oneshot::Receiver<()>> {
        let served = self.discover_until_known().await;
        let changes = lock(&self.kinds).update(served);
        for place in &changes.gone {
            if let Some(Watching { stop, ended }) = watches.remove(place) {
                drop(stop);
                // What it knew is forgotten before anybody else knows it.
                let _ = ended.await;
            }
        }
        let context = self.context.clone();
        let mut waits = Vec::new();
        for (place, kind) in changes.new {
            let c = &context;
            match (kind.group.as_str(), kind.plural.as_str()) {
                ("", "pods") => self.listen(place, &c.pods).await,
                ("", "nodes") => self.listen(place, &c.nodes).await,
                ("", "namespaces") => self.listen(place, &c.namespaces).await,
                ("", "services") => self.listen(place, &c.services).await,
                ("", "endpoints") => self.listen(place, &c.endpoints).await,
                ("", "replicationcontrollers") => self.listen(place, &c.replication_controllers).await,
                ("apps", "replicasets") => self.listen(place, &c.replica_sets).await,
                ("apps", "deployments") => self.listen(place, &c.deployments).await,
                ("discovery.k8s.io", "endpointslices") => self.listen(place, &c.endpoint_slices).await,
                ("coordination.k8s.io", "leases") => self.listen(place, &c.leases).await,
                // Nothing owns by events, and nothing that owns them needs them gone.
                ("", "events") => {}
                _ if kind.watchable => {
                    let (done, wait) = oneshot::channel();
                    let (stop, stopped) = oneshot::channel();
                    let (end, ended) = oneshot::channel();
                    let this = self.clone();
                    spawn(tasks, async move {
                        this.watch(place, kind, done, stopped).await;
                        drop(end);
                    });
                    watches.insert(place, Watching { stop, ended });
                    waits.push(wait);
                }
                _ => {}
            }
        }
        for uid in std::mem::take(&mut *lock(&self.puzzling)) {
            self.queue.add(Work::Examine(uid));
        }
        waits
    }

    /// Keeps up with kinds that come and go: those of definitions, and those of other servers. Works until dropped.
    pub(super) async fn follow(self: &Arc<Self>, mut watches: Watches, mut tasks: JoinSet<()>) {
        let makers = [
            (
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                "CustomResourceDefinition",
            ),
            ("apiregistration.k8s.io", "apiservices", "APIService"),
        ];
        let makers = makers.map(|(group, plural, kind)| {
            let resource = Resource {
                group,
                version: "v1",
                plural,
                kind,
            };
            watch::<PartialObject>(self.context.client.clone(), Selection::all(resource).metadata())
        });
        let mut makers = select_all(makers);
        while makers.next().await.is_some() {
            tokio::time::sleep(GATHER).await;
            while let Some(Some(_)) = makers.next().now_or_never() {}
            // One that cannot be listed does not hold up the others: owners that are not known yet are asked for.
            drop(self.connect(&mut watches, &mut tasks).await);
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

    async fn watch(
        &self,
        index: usize,
        kind: Arc<Kind>,
        first: oneshot::Sender<()>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let selection = Selection::all(kind.resource()).metadata();
        let mut events = watch::<PartialObject>(self.context.client.clone(), selection);
        let mut first = Some(first);
        let mut known: HashMap<Key, ObjectMeta> = HashMap::new();
        let mut incoming: Vec<ObjectMeta> = Vec::new();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = &mut stopped => None,
            };
            let Some(event) = event else {
                return self.replace(index, &mut known, Vec::new());
            };
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
