//! Keeps the wanted number of pods of every ReplicaSet and ReplicationController.
//!
//! Input: changes of the owners and of pods. Output: pods, owner references, statuses.

mod create;
mod owner;
mod plan;
mod rank;
mod status;

use crate::api::{Error, Part, Writer};
use crate::claim;
use crate::context::Context;
use crate::informer::{Change, Informer, Key};
use crate::objects::Pod;
use crate::owner as owners;
use crate::queue::{Again, Queue};
use crate::recorder::Events;
use barepod_client::DeleteOptions;
use futures_util::future::join_all;
use jiff::Timestamp;
pub(crate) use owner::Replicated;
use status::Failure;
use std::sync::Arc;

/// The controller of one kind.
pub(crate) struct Replicas<K> {
    context: Arc<Context>,
    owners: Arc<Informer<K>>,
    writer: Writer,
    events: Events,
    queue: Queue<Key>,
    /// The pods of sibling owners, for the ranking of victims.
    siblings: fn(&Context, &K) -> Vec<Arc<Pod>>,
}

impl<K: Replicated> Replicas<K> {
    pub(crate) fn new(
        context: &Arc<Context>,
        owners: &Arc<Informer<K>>,
        siblings: fn(&Context, &K) -> Vec<Arc<Pod>>,
    ) -> Arc<Self> {
        let controller = Arc::new(Self {
            context: context.clone(),
            owners: owners.clone(),
            writer: Writer::new(context.client.clone(), K::CONTROLLER),
            events: context.recorder.of(K::CONTROLLER),
            queue: Queue::new(context.options.queues.named(K::CONTROLLER)),
            siblings,
        });
        let this = controller.clone();
        owners.on_change(move |change| {
            if let Some(owner) = &change.new {
                this.queue.add(Key::of(owner.meta()));
            }
        });
        let this = controller.clone();
        context.pods.on_change(move |change| this.pod_changed(change));
        controller
    }

    /// Works until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        self.owners.synced().await;
        self.context.pods.synced().await;
        let this = &self;
        self.queue
            .drive(K::CONTROLLER, 8, |key| async move { this.reconcile(&key).await })
            .await;
    }

    fn pod_changed(&self, change: &Change<Pod>) {
        for pod in change.sides() {
            if let Some(owner) = owners::controller_of_kind::<K>(&pod.metadata) {
                self.queue.add(Key::new(pod.namespace(), &owner.name));
            }
        }
        // One that nobody owns may be adopted.
        if let Some(pod) = &change.new
            && owners::controller(&pod.metadata).is_none()
        {
            for owner in self.owners.by(K::BY_NAMESPACE, pod.namespace()) {
                if owner.selects(pod.metadata.labels.as_ref()) {
                    self.queue.add(Key::of(owner.meta()));
                }
            }
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Again, Error> {
        let Some(owner) = self.owners.get(key) else {
            return Ok(None);
        };
        let pods = self.claimed(key, &owner).await?;
        let active: Vec<Arc<Pod>> = pods.into_iter().filter(|p| p.is_active()).collect();
        let related = (self.siblings)(&self.context, &owner);
        let plan = plan::plan(&*owner, &active, if related.is_empty() { &active } else { &related });
        let outcome = if plan.create > 0 {
            self.create_pods(&owner, plan.create).await
        } else {
            self.delete_pods(&owner, plan.delete).await
        };
        // Counted again: the answers to the requests above are in the cache now.
        let active: Vec<Arc<Pod>> = self.owned(&owner).into_iter().filter(|p| p.is_active()).collect();
        let now = Timestamp::now();
        let counts = plan::count(&*owner, &active, now);
        let failure = outcome.as_ref().err().map(|(failure, _)| failure);
        if let Some(patch) = status::patch(&*owner, &counts, failure, now) {
            match self.writer.merge(&self.owners, key, Part::Status, &patch).await {
                Err(error) if error.is_not_found() => return Ok(None),
                other => drop(other?),
            }
        }
        outcome.map_err(|(_, error)| error)?;
        Ok(counts.recheck)
    }

    fn owned(&self, owner: &K) -> Vec<Arc<Pod>> {
        let uid = owner.meta().uid.as_deref().unwrap_or_default();
        let owned = self.context.pods.by(Pod::BY_OWNER, uid);
        claim::plan(owner, |labels| owner.selects(labels), owned, Vec::new()).owned
    }

    /// The owner's pods after adoption and release.
    async fn claimed(&self, key: &Key, owner: &K) -> Result<Vec<Arc<Pod>>, Error> {
        let uid = owner.meta().uid.as_deref().unwrap_or_default();
        let pods = &self.context.pods;
        let unowned = pods
            .by(Pod::UNOWNED, key.namespace())
            .into_iter()
            .filter(|p| p.is_active())
            .collect();
        let claim = claim::plan(
            owner,
            |labels| owner.selects(labels),
            pods.by(Pod::BY_OWNER, uid),
            unowned,
        );
        claim::settle(&self.writer, pods, owner, claim).await
    }

    async fn delete_pods(&self, owner: &K, pods: Vec<Arc<Pod>>) -> Result<(), (Failure, Error)> {
        let deletions = pods.iter().map(|pod| async {
            let key = Key::of(&pod.metadata);
            self.writer
                .delete(&self.context.pods, &key, pod.uid(), DeleteOptions::default())
                .await?;
            self.events
                .normal(owner, "SuccessfulDelete", format!("Deleted pod: {}", pod.name()));
            Ok::<(), Error>(())
        });
        for result in join_all(deletions).await {
            if let Err(error) = result {
                self.events
                    .warning(owner, "FailedDelete", format!("Error deleting: {}", error.message()));
                return Err((
                    Failure {
                        reason: "FailedDelete",
                        message: error.message(),
                    },
                    error,
                ));
            }
        }
        Ok(())
    }
}
