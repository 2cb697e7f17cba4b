//! Registers the node and keeps its object and its Lease up to date.

use std::sync::Arc;
use std::time::Duration;

use barepod_client::types::{Node, NodeCondition};
use barepod_client::{Client, Error, Event, Object, Patch, Request, Selection, watch as watch_objects};
use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::host::{Machine, Pressure};
use super::object::ContainerImage;
use super::{lease, object};
use crate::config::Config;
use crate::drivers::images::Images;
use crate::pods::backoff::Retry;
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
        let mut known = Vec::new();
        let node = self.register_patiently(&mut known).await;
        let mut uid = node.metadata.uid.clone().unwrap_or_default();
        let assigned = node.spec.pod_cidr.clone();
        let mut waiting = assigned.is_none().then(|| {
            crate::shared::spawn(wait_for_cidr(
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
                tracing::warn!(error = error.chain(), "lease not renewed");
            }
            let now = self.observe(listed.take()).await;
            listed = Some(now.images.clone());
            if state.as_ref() == Some(&now) && written.elapsed() < REFRESH {
                continue;
            }
            match self.write(&now, &mut known).await {
                Ok(()) => {
                    state = Some(now);
                    written = Instant::now();
                }
                Err(error) if error.code() == Some(404) => {
                    tracing::warn!("the node's object is gone; it is registered again");
                    let node = self.register_patiently(&mut known).await;
                    uid = node.metadata.uid.clone().unwrap_or_default();
                    state = None;
                    if waiting.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
                        waiting = Some(crate::shared::spawn(wait_for_cidr(
                            self.client.clone(),
                            self.config.node_name.clone(),
                            self.pod_cidr.clone(),
                        )));
                    }
                    tick.reset_immediately();
                }
                Err(error) => tracing::warn!(error = error.chain(), "node status not written"),
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

    async fn write(&self, state: &object::State, known: &mut Vec<NodeCondition>) -> Result<(), Error> {
        let next = object::status(&self.config, &self.machine, state, known, &time::now());
        let path = Node::RESOURCE.path("", &self.config.node_name) + "/status";
        let request = Request::patch(path, Patch::Strategic, &json!({"status": next}));
        *known = self.client.object::<Node>(request).await?.status.conditions;
        Ok(())
    }

    /// Until the API answers.
    async fn register_patiently(&self, known: &mut Vec<NodeCondition>) -> Node {
        let mut retry = Retry::new(Duration::from_millis(100), Duration::from_secs(7));
        loop {
            match self.register().await {
                Ok(node) => {
                    let uid = node.metadata.uid.clone().unwrap_or_default();
                    tracing::info!(node = self.config.node_name, "node registered");
                    self.registered.send_replace(Some((self.config.node_name.clone(), uid)));
                    known.clone_from(&node.status.conditions);
                    return node;
                }
                Err(error) => {
                    tracing::warn!(error = error.chain(), "node not registered; it is tried again");
                    tokio::time::sleep(retry.step()).await;
                }
            }
        }
    }

    async fn register(&self) -> Result<Node, Error> {
        let new = object::node(&self.config).to_string().into_bytes();
        let made = self
            .client
            .object(Request::create(Node::RESOURCE.collection(""), new))
            .await;
        match made {
            Err(error) if error.code() == Some(409) => {}
            result => return result,
        }
        let path = Node::RESOURCE.path("", &self.config.node_name);
        let node: Node = self.client.object(Request::get(path.as_str())).await?;
        let labels = object::labels(&self.config);
        let is_known = |(key, value): (&String, &String)| node.metadata.label(key) == Some(value);
        if labels.iter().all(is_known) {
            return Ok(node);
        }
        let change = json!({"metadata": {"labels": labels}});
        self.client.object(Request::patch(path, Patch::Merge, &change)).await
    }
}

/// Waits until the control service has given the node its share of the pod addresses.
async fn wait_for_cidr(client: Client, node_name: String, pod_cidr: watch::Sender<Option<String>>) {
    let selection = Selection::all(Node::RESOURCE).fields(format!("metadata.name={node_name}"));
    let mut events = watch_objects::<Node>(client, selection);
    while let Some(event) = events.next().await {
        if let Event::Apply(node) | Event::InitApply(node) = event
            && let Some(cidr) = node.spec.pod_cidr
        {
            pod_cidr.send_replace(Some(cidr));
            return;
        }
    }
}
