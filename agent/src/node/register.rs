//! Registers the node and keeps its object and its Lease up to date.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{ContainerImage, Node, NodeStatus};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::host::{Machine, Pressure};
use super::{lease, object};
use crate::config::Config;
use crate::drivers::images::Images;
use crate::pods::backoff::Retry;
use crate::reconnect::Reconnect;
use crate::shared::blocking;
use crate::time;

/// How often the Lease is renewed, and the machine looked at.
const RENEW: Duration = Duration::from_secs(10);
/// How often an unchanged status is written all the same.
const REFRESH: Duration = Duration::from_secs(300);

/// What the task needs, and whom it tells.
pub struct Reporter {
    /// The agent's configuration.
    pub config: Arc<Config>,
    /// The API.
    pub client: Client,
    /// The machine.
    pub machine: Machine,
    /// The images.
    pub images: Images,
    /// Changes when an image comes or goes.
    pub image_changes: watch::Receiver<()>,
    /// Why the node cannot run pods yet; `None` when it can.
    pub not_ready: watch::Receiver<Option<String>>,
    /// Gets the node's name and UID once it is registered.
    pub registered: watch::Sender<Option<(String, String)>>,
    /// Gets the addresses the node has for its pods, once the control service gave it some.
    pub pod_cidr: watch::Sender<Option<String>>,
}

/// Runs until `shutdown`.
pub async fn run(reporter: Reporter, mut shutdown: watch::Receiver<bool>) {
    tokio::select! {
        _ = shutdown.wait_for(|it| *it) => {}
        () = reporter.report() => {}
    }
}

impl Reporter {
    async fn report(mut self) {
        let mut status = None;
        let node = self.register_patiently(&mut status).await;
        let mut uid = node.metadata.uid.clone().unwrap_or_default();
        let assigned = node.spec.as_ref().and_then(|it| it.pod_cidr.clone());
        let mut waiting = assigned.is_none().then(|| {
            tokio::spawn(wait_for_cidr(
                self.client.clone(),
                self.config.node_name.clone(),
                self.pod_cidr.clone(),
            ))
        });
        if let Some(cidr) = assigned {
            self.pod_cidr.send_replace(Some(cidr));
        }
        let mut tick = tokio::time::interval(RENEW);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = None;
        let mut written = Instant::now();
        let mut listed = None;
        loop {
            let renew = tokio::select! {
                _ = tick.tick() => true,
                Ok(()) = self.not_ready.changed() => false,
                Ok(()) = self.image_changes.changed() => {
                    listed = None;
                    false
                }
            };
            if renew && let Err(error) = lease::renew(&self.client, &self.config.node_name, &uid).await {
                tracing::warn!(%error, "lease not renewed");
            }
            let now = self.observe(listed.take()).await;
            listed = Some(now.images.clone());
            if state.as_ref() == Some(&now) && written.elapsed() < REFRESH {
                continue;
            }
            match self.write(&now, &mut status).await {
                Ok(()) => {
                    state = Some(now);
                    written = Instant::now();
                }
                Err(kube::Error::Api(error)) if error.code == 404 => {
                    tracing::warn!("the node's object is gone; it is registered again");
                    let node = self.register_patiently(&mut status).await;
                    uid = node.metadata.uid.clone().unwrap_or_default();
                    state = None;
                    if waiting.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
                        waiting = Some(tokio::spawn(wait_for_cidr(
                            self.client.clone(),
                            self.config.node_name.clone(),
                            self.pod_cidr.clone(),
                        )));
                    }
                    tick.reset_immediately();
                }
                Err(error) => tracing::warn!(%error, "node status not written"),
            }
        }
    }

    /// Looks at what may have changed; at the images only when they have.
    async fn observe(&self, listed: Option<Vec<ContainerImage>>) -> object::State {
        let (images, state_dir, not_ready) = (
            self.images.clone(),
            self.config.state_dir.clone(),
            self.not_ready.borrow().clone(),
        );
        let look = move || object::State {
            pressure: Pressure::detect(&state_dir),
            not_ready,
            images: listed.unwrap_or_else(|| object::images(images.list())),
        };
        blocking(look).await
    }

    async fn write(&self, state: &object::State, status: &mut Option<NodeStatus>) -> kube::Result<()> {
        let next = object::status(&self.config, &self.machine, state, status.as_ref(), &time::now());
        let api = Api::<Node>::all(self.client.clone());
        let patch = Patch::Strategic(json!({"status": next}));
        let node = api
            .patch_status(&self.config.node_name, &PatchParams::default(), &patch)
            .await?;
        *status = node.status.or(Some(next));
        Ok(())
    }

    /// Until the API answers.
    async fn register_patiently(&self, status: &mut Option<NodeStatus>) -> Node {
        let mut retry = Retry::new(Duration::from_millis(100), Duration::from_secs(7));
        loop {
            match self.register().await {
                Ok(node) => {
                    let uid = node.metadata.uid.clone().unwrap_or_default();
                    tracing::info!(node = self.config.node_name, "node registered");
                    self.registered.send_replace(Some((self.config.node_name.clone(), uid)));
                    status.clone_from(&node.status);
                    return node;
                }
                Err(error) => {
                    tracing::warn!(%error, "node not registered; it is tried again");
                    tokio::time::sleep(retry.step()).await;
                }
            }
        }
    }

    async fn register(&self) -> kube::Result<Node> {
        let api = Api::<Node>::all(self.client.clone());
        let name = &self.config.node_name;
        match api.create(&PostParams::default(), &object::node(&self.config)).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            result => return result,
        }
        let node = api.get(name).await?;
        let labels = object::labels(&self.config);
        let known = node.metadata.labels.as_ref();
        if labels
            .iter()
            .all(|(key, value)| known.and_then(|it| it.get(key)) == Some(value))
        {
            return Ok(node);
        }
        api.patch(
            name,
            &PatchParams::default(),
            &Patch::Merge(json!({"metadata": {"labels": labels}})),
        )
        .await
    }
}

/// Waits until the control service has given the node its share of the pod addresses.
async fn wait_for_cidr(client: Client, node_name: String, pod_cidr: watch::Sender<Option<String>>) {
    let config = watcher::Config::default()
        .fields(&format!("metadata.name={node_name}"))
        .streaming_lists();
    let mut events = watcher(Api::<Node>::all(client), config)
        .backoff(Reconnect::default())
        .boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(node) | watcher::Event::InitApply(node)) => {
                if let Some(cidr) = node.spec.and_then(|it| it.pod_cidr) {
                    pod_cidr.send_replace(Some(cidr));
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "watch of the node interrupted"),
        }
    }
}
