//! Rolls Deployments out over ReplicaSets.
//!
//! Input: changes of Deployments, of ReplicaSets, and the end of pods (for Recreate). Output: ReplicaSets, statuses.
//! One reconcile plans and acts until there is nothing left to do at this moment: its own writes are visible in the
//! shared caches at once.

mod cleanup;
mod conditions;
mod limits;
mod plan;
mod revision;
mod rolling;
mod scale;
mod sets;
mod status;
mod template;

use crate::api::{Error, Part, Writer};
use crate::claim;
use crate::context::Context;
use crate::diff::merge_patch;
use crate::informer::{Change, Key};
use crate::objects::{Deployment, Pod, ReplicaSet};
use crate::owner;
use crate::queue::{Again, Queue};
use crate::recorder::Events;
use crate::selector;
use barepod_client::DeleteOptions;
use jiff::Timestamp;
use plan::Step;
use serde_json::{Value, json};
use sets::Sets;
use status::Progress;
use std::sync::Arc;

const NAME: &str = "deployment-controller";

/// Steps in a row before others get their turn.
const ROUNDS: usize = 10;

/// The Deployment controller.
pub(crate) struct Deployments {
    context: Arc<Context>,
    writer: Writer,
    events: Events,
    queue: Queue<Key>,
}

impl Deployments {
    pub(crate) fn new(context: &Arc<Context>) -> Arc<Self> {
        let controller = Arc::new(Self {
            context: context.clone(),
            writer: Writer::new(context.client.clone(), NAME),
            events: context.recorder.of(NAME),
            queue: Queue::new(context.options.queues.named(NAME)),
        });
        let this = controller.clone();
        context.deployments.on_change(move |change| {
            if let Some(deployment) = &change.new {
                this.queue.add(Key::of(&deployment.metadata));
            }
        });
        let this = controller.clone();
        context.replica_sets.on_change(move |change| this.set_changed(change));
        let this = controller.clone();
        context.pods.on_change(move |change| this.pod_changed(change));
        controller
    }

    /// Works until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        self.context.deployments.synced().await;
        self.context.replica_sets.synced().await;
        self.context.pods.synced().await;
        let this = &self;
        self.queue
            .drive(NAME, 8, |key| async move { this.reconcile(&key).await })
            .await;
    }

    fn set_changed(&self, change: &Change<ReplicaSet>) {
        for set in change.sides() {
            let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
            if let Some(owner) = owner::controller_of_kind::<Deployment>(&set.metadata) {
                self.queue.add(Key::new(namespace, &owner.name));
            }
        }
        if let Some(set) = &change.new
            && owner::controller(&set.metadata).is_none()
        {
            let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
            for deployment in self.context.deployments.by(Deployment::BY_NAMESPACE, namespace) {
                if selects(&deployment, set.metadata.labels.as_ref()) {
                    self.queue.add(Key::of(&deployment.metadata));
                }
            }
        }
    }

    /// Recreate waits for the last old pod to end.
    fn pod_changed(&self, change: &Change<Pod>) {
        let Some(old) = &change.old else { return };
        let ended = change
            .new
            .as_ref()
            .is_none_or(|new| new.is_finished() && !old.is_finished());
        if !ended {
            return;
        }
        let Some(set) = owner::controller_of_kind::<ReplicaSet>(&old.metadata) else {
            return;
        };
        let set = self.context.replica_sets.find(old.namespace(), &set.name);
        let Some(set) = set else { return };
        let Some(deployment) = owner::controller_of_kind::<Deployment>(&set.metadata) else {
            return;
        };
        let key = Key::new(old.namespace(), &deployment.name);
        if self.context.deployments.get(&key).is_some_and(|d| d.is_recreate()) {
            self.queue.add(key);
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Again, Error> {
        let mut progress = None;
        for _ in 0..ROUNDS {
            let Some(deployment) = self.context.deployments.get(key) else {
                return Ok(None);
            };
            let sets = self.sets(&deployment).await?;
            let steps = plan::plan(&deployment, &sets, self.old_pods_run(&sets));
            if steps.is_empty() {
                return self.report(key, &deployment, &sets, progress.as_ref()).await;
            }
            for step in steps {
                match self.act(key, &deployment, step).await {
                    Ok(made) => progress = made.or(progress),
                    Err(error) if error.is_namespace_terminating() => return Ok(None),
                    Err(error) if error.is_not_found() => return Ok(None),
                    Err(error) if error.is_refused() => {
                        let failed = Progress::CreateFailed(error.message());
                        self.report(key, &deployment, &sets, Some(&failed)).await?;
                        return Err(error);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        self.queue.add(key.clone());
        Ok(None)
    }

    async fn sets(&self, deployment: &Deployment) -> Result<Sets, Error> {
        let cache = &self.context.replica_sets;
        let owned = cache.by(ReplicaSet::BY_OWNER, deployment.uid());
        let unowned = cache.by(ReplicaSet::UNOWNED, deployment.namespace());
        let claim = claim::plan(deployment, |labels| selects(deployment, labels), owned, unowned);
        Ok(Sets::sort(
            deployment,
            claim::settle(&self.writer, cache, deployment, claim).await?,
        ))
    }

    fn old_pods_run(&self, sets: &Sets) -> bool {
        let pods = |set: &Arc<ReplicaSet>| self.context.pods.by(Pod::BY_OWNER, set.uid());
        sets.old.iter().flat_map(pods).any(|pod| !pod.is_finished())
    }

    async fn act(&self, key: &Key, deployment: &Deployment, step: Step) -> Result<Option<Progress>, Error> {
        let cache = &self.context.replica_sets;
        match step {
            Step::Create { name, replicas, body } => return self.create(key, deployment, name, replicas, &body).await,
            Step::Scale {
                set,
                replicas,
                annotations,
            } => {
                let before = set.replicas();
                let patch = json!({
                    "metadata": {"resourceVersion": set.metadata.resource_version, "annotations": annotations},
                    "spec": {"replicas": replicas},
                });
                self.writer
                    .merge(cache, &Key::of(&set.metadata), Part::Main, &patch)
                    .await?;
                if before != replicas {
                    let direction = if replicas > before { "up" } else { "down" };
                    let message = format!(
                        "Scaled {direction} replica set {} from {before} to {replicas}",
                        set.name()
                    );
                    self.events.normal(deployment, "ScalingReplicaSet", message);
                }
            }
            Step::Update { set, patch } => {
                self.writer
                    .merge(cache, &Key::of(&set.metadata), Part::Main, &patch)
                    .await?;
            }
            Step::Revision(revision) => {
                let patch = json!({"metadata": {"annotations": {revision::REVISION: revision.to_string()}}});
                // As part of its status: an annotation written otherwise makes a new generation.
                self.writer
                    .merge(&self.context.deployments, key, Part::Status, &patch)
                    .await?;
            }
            Step::Delete(set) => {
                let params = DeleteOptions::background();
                self.writer
                    .delete(cache, &Key::of(&set.metadata), set.uid(), params)
                    .await?;
            }
        }
        Ok(None)
    }

    async fn create(
        &self,
        key: &Key,
        deployment: &Deployment,
        name: String,
        replicas: i32,
        body: &Value,
    ) -> Result<Option<Progress>, Error> {
        let cache = &self.context.replica_sets;
        match self.writer.create_value(cache, key.namespace(), body).await {
            Ok(_) => {
                if replicas > 0 {
                    let message = format!("Scaled up replica set {name} from 0 to {replicas}");
                    self.events.normal(deployment, "ScalingReplicaSet", message);
                }
                Ok(Some(Progress::Created(name)))
            }
            Err(error) if error.is_already_exists() => {
                let taken = self
                    .writer
                    .get_live::<ReplicaSet>(&Key::new(key.namespace(), &name))
                    .await?;
                if let Some(set) = taken
                    && owner::controller(&set.metadata).is_some_and(|o| o.uid == deployment.uid())
                {
                    cache.observe(set);
                    return Ok(None);
                }
                // The name belongs to another: the next hash will differ.
                let count = deployment.status.collision_count.unwrap_or(0) + 1;
                let patch = json!({"status": {"collisionCount": count}});
                self.writer
                    .merge(&self.context.deployments, key, Part::Status, &patch)
                    .await?;
                Ok(None)
            }
            Err(error) => {
                if !error.is_namespace_terminating() {
                    let message = format!("Failed to create new replica set {name:?}: {}", error.message());
                    self.events.warning(deployment, "ReplicaSetCreateError", message);
                }
                Err(error)
            }
        }
    }

    async fn report(
        &self,
        key: &Key,
        deployment: &Deployment,
        sets: &Sets,
        progress: Option<&Progress>,
    ) -> Result<Again, Error> {
        let (status, recheck) = status::compute(deployment, sets, progress, Timestamp::now());
        let encode = |status| serde_json::to_value(status).map_err(|e| Error::invalid("status", e.to_string()));
        if let Some(change) = merge_patch(&encode(&deployment.status)?, &encode(&status)?) {
            let patch = json!({"status": change});
            match self
                .writer
                .merge(&self.context.deployments, key, Part::Status, &patch)
                .await
            {
                Err(error) if error.is_not_found() => return Ok(None),
                other => drop(other?),
            }
        }
        Ok(recheck)
    }
}

fn selects(deployment: &Deployment, labels: Option<&selector::Labels>) -> bool {
    !selector::is_empty(&deployment.spec.selector) && selector::matches(&deployment.spec.selector, labels)
}
