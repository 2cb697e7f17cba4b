//! Gets ConfigMaps and Secrets: once for an environment, with a watch for as long as a volume shows them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, future, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;

use super::{Data, Key, Kind, Objects};
use crate::reconnect::Reconnect;
use crate::slots::Slots;

/// The watch opens a connection of its own; a pod that is just starting is not made to wait for that.
const WATCH_AFTER: Duration = Duration::from_secs(1);

/// Gets objects; shared by all pods of the node.
#[derive(Clone)]
pub struct Cache {
    client: Client,
    slots: Slots,
    watched: Arc<Mutex<HashMap<Key, watch::Sender<Content>>>>,
}

/// What is in an object; nothing when it does not exist.
type Content = Option<Arc<Data>>;

/// One object that is watched for as long as this lives.
#[derive(Debug, Clone)]
pub struct Feed {
    /// Which.
    pub key: Key,
    /// Its newest content; `None` when it does not exist.
    pub value: watch::Receiver<Option<Arc<Data>>>,
}

impl Cache {
    /// With this client.
    pub fn new(client: Client, slots: Slots) -> Self {
        Self {
            client,
            slots,
            watched: Arc::default(),
        }
    }

    /// The objects as they are now.
    pub async fn fetch(&self, keys: BTreeSet<Key>) -> kube::Result<Objects> {
        let get = |key: Key| async move { self.get(&key).await.map(|data| (key, data)) };
        stream::iter(keys.into_iter().map(get))
            .buffer_unordered(8)
            .try_collect()
            .await
    }

    async fn get(&self, key: &Key) -> kube::Result<Option<Arc<Data>>> {
        self.slots.run(self.get_now(key)).await
    }

    async fn get_now(&self, key: &Key) -> kube::Result<Option<Arc<Data>>> {
        let client = self.client.clone();
        let data: Option<Data> = match key.kind {
            Kind::ConfigMap => Api::<ConfigMap>::namespaced(client, &key.namespace)
                .get_opt(&key.name)
                .await?
                .map(Into::into),
            Kind::Secret => Api::<Secret>::namespaced(client, &key.namespace)
                .get_opt(&key.name)
                .await?
                .map(Into::into),
        };
        Ok(data.map(Arc::new))
    }

    /// The object as it is now, and from now on. A watch is shared by everybody who asks for the same object.
    pub async fn subscribe(&self, key: Key) -> kube::Result<Feed> {
        if let Some(value) = self.known(&key) {
            return Ok(Feed { key, value });
        }
        let first = self.get(&key).await?;
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = watched.entry(key.clone()).or_insert_with(|| {
            let (sender, _) = watch::channel(first);
            tokio::spawn(keep_fresh(self.clone(), key.clone(), sender.clone()));
            sender
        });
        Ok(Feed {
            key,
            value: sender.subscribe(),
        })
    }

    fn known(&self, key: &Key) -> Option<watch::Receiver<Option<Arc<Data>>>> {
        self.watched
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .map(watch::Sender::subscribe)
    }

    /// Removes the entry unless somebody subscribed again.
    fn forget(&self, key: &Key) -> bool {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = watched.get(key).is_some_and(|sender| sender.receiver_count() == 0);
        if unused {
            watched.remove(key);
        }
        unused
    }
}

/// Watches one object until nobody listens any more.
async fn keep_fresh(cache: Cache, key: Key, sender: watch::Sender<Option<Arc<Data>>>) {
    loop {
        tokio::select! {
            () = sender.closed() => {}
            () = follow(cache.client.clone(), &key, &sender) => {}
        }
        if sender.is_closed() && cache.forget(&key) {
            return;
        }
    }
}

async fn follow(client: Client, key: &Key, sender: &watch::Sender<Option<Arc<Data>>>) {
    tokio::time::sleep(WATCH_AFTER).await;
    let config = watcher::Config::default()
        .fields(&format!("metadata.name={}", key.name))
        .streaming_lists();
    match key.kind {
        Kind::ConfigMap => {
            drain(
                watcher(Api::<ConfigMap>::namespaced(client, &key.namespace), config),
                key,
                sender,
            )
            .await
        }
        Kind::Secret => {
            drain(
                watcher(Api::<Secret>::namespaced(client, &key.namespace), config),
                key,
                sender,
            )
            .await
        }
    }
}

async fn drain<K>(
    events: impl stream::Stream<Item = watcher::Result<watcher::Event<K>>>,
    key: &Key,
    sender: &watch::Sender<Option<Arc<Data>>>,
) where
    K: Into<Data>,
{
    let mut seen = false;
    events
        .backoff(Reconnect::default())
        .for_each(|event| {
            let next = match event {
                Ok(watcher::Event::Init) => {
                    seen = false;
                    return future::ready(());
                }
                Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                    seen = true;
                    Some(Arc::new(object.into()))
                }
                Ok(watcher::Event::InitDone) if seen => return future::ready(()),
                Ok(watcher::Event::InitDone | watcher::Event::Delete(_)) => None,
                Err(error) => {
                    tracing::warn!(%key, %error, "watch interrupted");
                    return future::ready(());
                }
            };
            sender.send_if_modified(|current| {
                let changed = *current != next;
                if changed {
                    *current = next;
                }
                changed
            });
            future::ready(())
        })
        .await;
}
