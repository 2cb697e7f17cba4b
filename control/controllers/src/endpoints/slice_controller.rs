//! Keeps the EndpointSlices of Services with a selector.

use super::slices::{Action, Common, MANAGED_BY};
use super::{backends, from_pods, slices};
use crate::api::{Error, Part, Writer};
use crate::context::Context;
use crate::informer::Key;
use crate::objects::{EndpointSlice, Pod, SERVICE_NAME, SERVICES_BY_NAMESPACE, SLICES_BY_SERVICE, Service};
use crate::owner;
use crate::queue::{Again, Queue};
use crate::selector::Labels;
use barepod_client::DeleteOptions;
use futures_util::future::join_all;
use std::sync::Arc;

const NAME: &str = "endpointslice-controller";
/// The value of the label that marks our slices.
const MARK: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The EndpointSlice controller.
pub(crate) struct EndpointSlices {
    context: Arc<Context>,
    writer: Writer,
    queue: Queue<Key>,
}

impl EndpointSlices {
    pub(crate) fn new(context: &Arc<Context>) -> Arc<Self> {
        let writer = Writer::new(context.client.clone(), NAME);
        let controller = Arc::new(Self {
            context: context.clone(),
            writer,
            queue: Queue::new(context.options.queues.named(NAME)),
        });
        let this = controller.clone();
        context.services.on_change(move |change| {
            if let Some(service) = &change.new {
                this.queue.add(Key::of(&service.metadata));
            }
        });
        let this = controller.clone();
        context.pods.on_change(move |change| {
            if backends::matters(change) {
                change.sides().for_each(|pod| this.pod_changed(pod));
            }
        });
        let this = controller.clone();
        context.endpoint_slices.on_change(move |change| {
            // Repairs what others did to our slices; our own changes are no news.
            if let Some(slice) = change.any()
                && slice.metadata.label(MANAGED_BY) == Some(MARK)
                && let Some(service) = slice.metadata.label(SERVICE_NAME)
            {
                this.queue.add(Key::new(
                    slice.metadata.namespace.as_deref().unwrap_or_default(),
                    service,
                ));
            }
        });
        controller
    }

    /// Works until dropped.
    pub(crate) async fn run(self: Arc<Self>) {
        self.context.services.synced().await;
        self.context.pods.synced().await;
        self.context.endpoint_slices.synced().await;
        let this = &self;
        self.queue
            .drive(NAME, 8, |key| async move { this.reconcile(&key).await })
            .await;
    }

    fn pod_changed(&self, pod: &Pod) {
        for service in self.context.services.by(SERVICES_BY_NAMESPACE, pod.namespace()) {
            if backends::selects(&service, pod) {
                self.queue.add(Key::of(&service.metadata));
            }
        }
    }

    async fn reconcile(&self, key: &Key) -> Result<Again, Error> {
        // Slices of a Service that is gone go with it, by owner reference.
        let Some(service) = self.context.services.get(key) else {
            return Ok(None);
        };
        if service.metadata.deletion_timestamp.is_some() || !backends::is_selected_by_pods(&service) {
            return Ok(None);
        }
        let pods = self.context.pods.by(Pod::BY_NAMESPACE, key.namespace());
        let pods: Vec<Arc<Pod>> = pods
            .into_iter()
            .filter(|pod| backends::selects(&service, pod))
            .collect();
        let existing = own_slices(&self.context, key, MARK);
        let actions = slices::plan(&common(&service), from_pods::groups(&service, &pods), &existing);
        carry_out(&self.context, &self.writer, key, actions).await?;
        Ok(None)
    }
}

fn common(service: &Service) -> Common {
    let mut labels: Labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if backends::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    Common {
        namespace: service.metadata.namespace().to_owned(),
        service: service.metadata.name().to_owned(),
        labels,
        managed_by: MARK,
        owner: owner::reference(service),
    }
}

/// The slices of a Service that carry the given mark.
pub(super) fn own_slices(context: &Context, service: &Key, mark: &str) -> Vec<Arc<EndpointSlice>> {
    let all = context.endpoint_slices.by(
        SLICES_BY_SERVICE,
        &format!("{}/{}", service.namespace(), service.name()),
    );
    all.into_iter()
        .filter(|s| s.metadata.label(MANAGED_BY) == Some(mark))
        .collect()
}

/// Sends the requests of a plan, at the same time.
pub(super) async fn carry_out(
    context: &Context,
    writer: &Writer,
    key: &Key,
    actions: Vec<Action>,
) -> Result<(), Error> {
    let cache = &context.endpoint_slices;
    let requests = actions.into_iter().map(|action| async move {
        match action {
            Action::Create(body) => writer.create_value(cache, key.namespace(), &body).await.map(drop),
            Action::Update { slice, patch } => writer
                .merge(cache, &Key::of(&slice.metadata), Part::Main, &patch)
                .await
                .map(drop),
            Action::Delete(slice) => {
                let uid = slice.metadata.uid();
                writer
                    .delete(cache, &Key::of(&slice.metadata), uid, DeleteOptions::default())
                    .await
            }
        }
    });
    for result in join_all(requests).await {
        match result {
            Err(error) if error.is_namespace_terminating() || error.is_not_found() => {}
            other => other?,
        }
    }
    Ok(())
}
