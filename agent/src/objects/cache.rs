//! Gets ConfigMaps and Secrets: once for an environment, with a watch for as long as a volume shows them; and tokens,
//! which are got anew before they end.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use barepod_client::types::{ConfigMap, Secret};
use barepod_client::{Client, Error, Event, Object, Request, Selection, watch as watch_objects};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;

use super::{Data, Key, Kind, Objects, token};
use crate::slots::Slots;

/// A pod that is just starting has more urgent requests to make.
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
    pub async fn fetch(&self, keys: BTreeSet<Key>) -> Result<Objects, Error> {
        let get = |key: Key| async move { self.get(&key).await.map(|data| (key, data)) };
        stream::iter(keys.into_iter().map(get))
            .buffer_unordered(8)
            .try_collect()
            .await
    }

    async fn get(&self, key: &Key) -> Result<Option<Arc<Data>>, Error> {
        self.slots.run(self.get_now(key)).await
    }

    async fn get_now(&self, key: &Key) -> Result<Option<Arc<Data>>, Error> {
        let data = match key.kind {
            Kind::ConfigMap => self.find::<ConfigMap>(key).await?,
            Kind::Secret => self.find::<Secret>(key).await?,
            Kind::Token => token::request(&self.client, key).await?,
        };
        Ok(data.map(Arc::new))
    }

    async fn find<K: Object + Into<Data>>(&self, key: &Key) -> Result<Option<Data>, Error> {
        let request = Request::get(K::RESOURCE.path(&key.namespace, &key.name));
        Ok(self.client.find::<K>(request).await?.map(Into::into))
    }

    /// The object as it is now, and from now on. A watch is shared by everybody who asks for the same object.
    pub async fn subscribe(&self, key: Key) -> Result<Feed, Error> {
        if let Some(value) = self.known(&key) {
            return Ok(Feed { key, value });
        }
        let first = self.get(&key).await?;
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = watched.entry(key.clone()).or_insert_with(|| {
            let (sender, _) = watch::channel(first);
            crate::shared::spawn(keep_fresh(self.clone(), key.clone(), sender.clone()));
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
    match key.kind {
        Kind::ConfigMap => follow_kind::<ConfigMap>(client, key, sender).await,
        Kind::Secret => follow_kind::<Secret>(client, key, sender).await,
        Kind::Token => token::renew(&client, key, sender).await,
    }
}

async fn follow_kind<K: Object + Into<Data>>(client: Client, key: &Key, sender: &watch::Sender<Option<Arc<Data>>>) {
    let selection = Selection::within(K::RESOURCE, &key.namespace).fields(format!("metadata.name={}", key.name));
    let mut events = watch_objects::<K>(client, selection);
    let mut seen = false;
    while let Some(event) = events.next().await {
        let next = match event {
            Event::Init => {
                seen = false;
                continue;
            }
            Event::Apply(object) | Event::InitApply(object) => {
                seen = true;
                Some(Arc::new(object.into()))
            }
            Event::InitDone if seen => continue,
            Event::InitDone | Event::Delete(_) => None,
        };
        sender.send_if_modified(|current| {
            let changed = *current != next;
            if changed {
                *current = next;
            }
            changed
        });
    }
}
