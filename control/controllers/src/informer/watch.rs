//! Feeds an informer from the API: a streaming list (KEP-3157) where the server has it, else list and watch.

use super::{Informer, Object};
use futures_util::StreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use std::sync::Arc;
use std::time::Duration;

const FIRST_DELAY: Duration = Duration::from_millis(20);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

impl<K: Object> Informer<K> {
    /// Watches all objects of the kind until dropped.
    pub(crate) async fn run(self: Arc<Self>, client: Client, config: watcher::Config) {
        let api = Api::<K>::all(client);
        let mut config = config.streaming_lists();
        loop {
            if self.follow(&api, config.clone()).await == Outcome::StreamingRefused {
                tracing::debug!(kind = %K::kind(&()), "the server has no streaming lists, listing instead");
                config.initial_list_strategy = watcher::InitialListStrategy::ListWatch;
            }
        }
    }

    async fn follow(&self, api: &Api<K>, config: watcher::Config) -> Outcome {
        let streaming = config.initial_list_strategy == watcher::InitialListStrategy::StreamingList;
        let mut delay = FIRST_DELAY;
        let mut events = std::pin::pin!(watcher::watcher(api.clone(), config));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    delay = FIRST_DELAY;
                    self.take_in(event);
                }
                Err(error) => {
                    if streaming && refuses_streaming(&error) {
                        return Outcome::StreamingRefused;
                    }
                    if delay > Duration::from_secs(1) {
                        tracing::warn!(kind = %K::kind(&()), %error, ?delay, "watch failed, will retry");
                    } else {
                        tracing::debug!(kind = %K::kind(&()), %error, ?delay, "watch failed, will retry");
                    }
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(LONGEST_DELAY);
                }
            }
        }
        Outcome::Ended
    }

    pub(super) fn take_in(&self, event: Event<K>) {
        match event {
            Event::Apply(mut object) => {
                object.trim();
                self.change(|state| state.apply(object));
            }
            Event::Delete(object) => self.change(|state| state.delete(&object)),
            Event::Init => self.write().list_begin(),
            Event::InitApply(mut object) => {
                object.trim();
                self.write().list_item(object);
            }
            Event::InitDone => {
                self.change(|state| state.list_end());
                self.synced.send_replace(true);
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Ended,
    StreamingRefused,
}

/// A server without the feature answers 400 or 422 to `sendInitialEvents`.
fn refuses_streaming(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => matches!(status.code, 400 | 422),
        _ => false,
    }
}
