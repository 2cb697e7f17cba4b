//! Starts and ends workers: brings together the API's pods, the manifests of this node, and what ran before.
//!
//! ```text
//! API watch ─────────┐
//! manifests ─────────┤► manager ──watch(Desired)──► worker (one a pod UID)
//! adopted sandboxes ─┘     ▲                            │
//!                          └────────── finished ────────┘
//! ```

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use barepod_client::{Error, Event, Object, Selection, watch as watch_objects};
use futures_util::StreamExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::adopt::{self, Found};
use super::worker::{self, Desired, Inherited};
use super::{mirror, shape, spares};
use crate::kinds::Pod;
use crate::shared::{SharedRef, blocking};

/// How long a failed change of a mirror pod waits for its next try.
const MIRROR_RETRY: Duration = Duration::from_secs(5);
/// How long after the last pod that ended memory is given back.
const QUIET: Duration = Duration::from_secs(3);

/// Every pod of the node.
struct Manager {
    shared: SharedRef,
    workers: HashMap<String, watch::Sender<Desired>>,
    tasks: JoinSet<String>,
    /// Pods of the API, by UID; mirrors are not among them.
    listed: HashSet<String>,
    /// The list that is being received.
    listing: Option<HashSet<String>>,
    statics: BTreeMap<String, Arc<Pod>>,
    manifests_read: bool,
    api_read: bool,
    collected: bool,
    mirrors: BTreeMap<String, Arc<Pod>>,
    mirroring: JoinSet<(String, Result<(), Error>)>,
    /// Names whose mirror is being changed, and whether to look again afterwards.
    mirror_busy: HashMap<String, bool>,
    node: watch::Receiver<Option<(String, String)>>,
}

/// Runs until `shutdown`; the pods go on. `manifests` carries the whole set of static pods each time it changes;
/// `node` the node's name and UID once it is registered. `known` is told when every pod that was here before is in the
/// registry.
pub async fn run(
    shared: SharedRef,
    mut manifests: mpsc::Receiver<Vec<Pod>>,
    node: watch::Receiver<Option<(String, String)>>,
    known: oneshot::Sender<()>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut manager = Manager {
        workers: HashMap::new(),
        tasks: JoinSet::new(),
        listed: HashSet::new(),
        listing: None,
        statics: BTreeMap::new(),
        manifests_read: false,
        api_read: false,
        collected: false,
        mirrors: BTreeMap::new(),
        mirroring: JoinSet::new(),
        mirror_busy: HashMap::new(),
        node,
        shared,
    };
    for found in adopt::adopt_all(&manager.shared).await {
        manager.adopted(found);
    }
    let _ = known.send(());
    spares::fill(&manager.shared);
    let selector = format!("spec.nodeName={}", manager.shared.config.node_name);
    let selection = Selection::all(Pod::RESOURCE).fields(selector);
    let mut events = watch_objects(manager.shared.client.clone(), selection);
    let mut node = manager.node.clone();
    let mut quiet = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
    let mut swollen = false;
    loop {
        let mut calm = false;
        tokio::select! {
            biased;
            _ = shutdown.wait_for(|it| *it) => return,
            Some(finished) = manager.tasks.join_next() => {
                match finished {
                    Ok(uid) => manager.finished(&uid),
                    Err(error) => tracing::error!(%error, "pod worker failed"),
                }
                swollen = true;
                quiet.as_mut().reset(tokio::time::Instant::now() + QUIET);
            }
            Some(event) = events.next() => manager.heard(event),
            Some(pods) = manifests.recv() => manager.manifests(pods),
            Some(done) = manager.mirroring.join_next() => manager.mirrored(done),
            Ok(()) = node.changed() => manager.mirror_all(),
            () = quiet.as_mut(), if swollen => calm = true,
        }
        if calm {
            swollen = false;
            blocking(barepod_runtime::sys::memory::trim).await;
        }
        manager.collect().await;
    }
}

impl Manager {
    fn adopted(&mut self, found: Found) {
        let desired = Desired {
            pod: found.pod,
            gone: false,
            reported: None,
            from_manifest: found.from_manifest,
        };
        self.start(desired, Some(found.inherited));
    }

    fn start(&mut self, desired: Desired, inherited: Option<Inherited>) {
        let uid = shape::uid(&desired.pod).to_owned();
        let (sender, receiver) = watch::channel(desired);
        self.workers.insert(uid, sender);
        self.tasks
            .spawn(worker::run(Arc::clone(&self.shared), receiver, inherited));
    }

    fn heard(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listing = Some(HashSet::new()),
            Event::InitApply(pod) | Event::Apply(pod) => self.applied(pod),
            Event::Delete(pod) => self.deleted(&pod),
            Event::InitDone => self.listed_all(),
        }
    }

    fn applied(&mut self, pod: Pod) {
        let pod = Arc::new(pod);
        let uid = shape::uid(&pod).to_owned();
        if let Some(listing) = &mut self.listing {
            listing.insert(uid.clone());
        }
        if mirror::mirrored_hash(&pod).is_some() {
            let name = shape::full_name(&pod);
            self.mirrors.insert(name.clone(), pod);
            return self.mirror(&name);
        }
        self.listed.insert(uid.clone());
        let desired = Desired {
            reported: Some(Arc::clone(&pod)),
            pod,
            gone: false,
            from_manifest: false,
        };
        match self.workers.get(&uid) {
            Some(worker) => {
                worker.send_if_modified(|known| {
                    let changed = known.pod != desired.pod || known.reported.is_none();
                    if changed {
                        *known = desired;
                    }
                    changed
                });
            }
            None => self.start(desired, None),
        }
    }

    fn deleted(&mut self, pod: &Pod) {
        let (uid, name) = (shape::uid(pod), shape::full_name(pod));
        if self.mirrors.get(&name).is_some_and(|known| shape::uid(known) == uid) {
            self.mirrors.remove(&name);
            return self.mirror(&name);
        }
        self.listed.remove(uid);
        self.gone(uid);
    }

    fn gone(&self, uid: &str) {
        if let Some(worker) = self.workers.get(uid) {
            worker.send_modify(|known| known.gone = true);
        }
    }

    fn listed_all(&mut self) {
        let listing = self.listing.take().unwrap_or_default();
        let mirrors: Vec<_> = self
            .mirrors
            .iter()
            .filter(|(_, it)| !listing.contains(shape::uid(it)))
            .map(|(name, _)| name.clone())
            .collect();
        for name in mirrors {
            self.mirrors.remove(&name);
        }
        self.listed.retain(|uid| listing.contains(uid));
        self.api_read = true;
        for (uid, worker) in &self.workers {
            let gone = !worker.borrow().from_manifest && !self.listed.contains(uid);
            if gone {
                self.gone(uid);
            }
        }
        self.mirror_all();
    }

    /// Takes the whole set of static pods.
    fn manifests(&mut self, pods: Vec<Pod>) {
        self.manifests_read = true;
        self.statics = pods
            .into_iter()
            .map(|pod| (shape::uid(&pod).to_owned(), Arc::new(pod)))
            .collect();
        for (uid, worker) in &self.workers {
            let gone = worker.borrow().from_manifest && !self.statics.contains_key(uid);
            if gone {
                self.gone(uid);
            }
        }
        self.start_statics();
        self.mirror_all();
    }

    /// Starts static pods, each after the one whose name it takes over has ended.
    fn start_statics(&mut self) {
        for (uid, pod) in self.statics.clone() {
            let taken = self.workers.iter().any(|(known, worker)| {
                *known != uid
                    && worker.borrow().from_manifest
                    && shape::full_name(&worker.borrow().pod) == shape::full_name(&pod)
            });
            if !taken && !self.workers.contains_key(&uid) {
                let name = shape::full_name(&pod);
                self.start(
                    Desired {
                        pod,
                        gone: false,
                        reported: None,
                        from_manifest: true,
                    },
                    None,
                );
                // A mirror may be there already: then the new worker reports to it.
                self.mirror(&name);
            }
        }
    }

    fn finished(&mut self, uid: &str) {
        self.workers.remove(uid);
        self.start_statics();
    }

    fn mirror_all(&mut self) {
        let mut names: HashSet<String> = self.mirrors.keys().cloned().collect();
        names.extend(self.statics.values().map(|pod| shape::full_name(pod)));
        for name in names {
            self.mirror(&name);
        }
    }

    /// Brings the mirror of one name, and who reports to it, in line.
    fn mirror(&mut self, name: &str) {
        let static_pod = self.statics.values().find(|pod| shape::full_name(pod) == name).cloned();
        let mirror = self.mirrors.get(name).cloned();
        let step = mirror::step(static_pod.as_ref(), mirror.as_ref());
        if let (mirror::Step::Keep, Some(pod), Some(mirror)) = (&step, &static_pod, &mirror)
            && let Some(worker) = self.workers.get(shape::uid(pod))
        {
            worker.send_if_modified(|known| {
                let changed = known.reported.as_ref().map(|it| shape::uid(it)) != Some(shape::uid(mirror));
                if changed {
                    known.reported = Some(Arc::clone(mirror));
                }
                changed
            });
        }
        // Before both sides are known, and before the node that owns mirrors, nothing is made or removed.
        let known = self.api_read && self.manifests_read;
        let node = self.node.borrow().clone();
        if step == mirror::Step::Keep || !known || node.is_none() {
            return;
        }
        if let Some(again) = self.mirror_busy.get_mut(name) {
            *again = true;
            return;
        }
        self.mirror_busy.insert(name.to_owned(), false);
        let (client, name) = (self.shared.client.clone(), name.to_owned());
        self.mirroring.spawn(async move {
            let result = mirror::act(client, step, node).await;
            if result.is_err() {
                tokio::time::sleep(MIRROR_RETRY).await;
            }
            (name, result)
        });
    }

    fn mirrored(&mut self, done: Result<(String, Result<(), Error>), tokio::task::JoinError>) {
        match done {
            Ok((name, Ok(()))) => {
                // What it led to is seen by the watch, now or already.
                if self.mirror_busy.remove(&name) == Some(true) {
                    self.mirror(&name);
                }
            }
            Ok((name, Err(error))) => {
                tracing::warn!(
                    pod = name,
                    error = error.chain(),
                    "mirror pod not changed; it is tried again"
                );
                self.mirror_busy.remove(&name);
                self.mirror(&name);
            }
            Err(error) => tracing::error!(%error, "mirror task failed"),
        }
    }

    /// Once, when every pod that may be here is known: releases what belongs to none of them.
    async fn collect(&mut self) {
        if self.collected || !self.api_read || !self.manifests_read {
            return;
        }
        let handle = self.shared.network.borrow().clone();
        let Some(handle) = handle else { return };
        self.collected = true;
        let live: Vec<String> = self.workers.keys().cloned().collect();
        if let Err(error) = handle.collect(live.clone()).await {
            tracing::warn!(%error, "network of former pods not wholly released");
        }
        let pods = self.shared.config.state_dir.join("pods");
        blocking(move || {
            for entry in std::fs::read_dir(pods).into_iter().flatten().flatten() {
                let unknown = entry
                    .file_name()
                    .to_str()
                    .is_none_or(|uid| !live.iter().any(|it| it == uid));
                if unknown && let Err(error) = crate::files::remove_tree(&entry.path()) {
                    tracing::warn!(dir = %entry.path().display(), %error, "directory of a former pod not removed");
                }
            }
        })
        .await;
    }
}
