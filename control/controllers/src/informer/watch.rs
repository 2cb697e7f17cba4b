//! Feeds an informer from the API.

use super::{Informer, Object};
use barepod_client::{Client, Event, Selection, watch};
use futures_util::StreamExt;
use std::sync::Arc;

impl<K: Object> Informer<K> {
    /// Watches these objects of the kind until dropped.
    pub(crate) async fn run(self: Arc<Self>, client: Client, selection: Selection) {
        let mut events = watch::<K>(client, selection);
        while let Some(event) = events.next().await {
            self.take_in(event);
        }
    }

    fn take_in(&self, event: Event<K>) {
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
