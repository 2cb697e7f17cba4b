//! Services and EndpointSlices → the node's proxy rules. A burst of changes is one change of the rules: while one is
//! being made, all that comes is gathered for the next.

mod rules;

use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::watch;

use crate::drivers::network;
use crate::pods::backoff::Retry;
use crate::pods::shape;
use crate::reconnect::Reconnect;
use crate::spec::services::{self, Variables};

/// How long a pod from the API waits for Services to be known; they come over the same API.
const SERVICES: Duration = Duration::from_secs(2);

/// The Services, for environment variables.
#[derive(Clone)]
pub struct Services(Store<Service>);

impl Services {
    /// Variables of the Services that the pod sees. Waits a little for the first list; a static pod does not.
    pub async fn variables(&self, pod: &Pod) -> Variables {
        let manifest = pod
            .metadata
            .annotations
            .as_ref()
            .is_some_and(|it| it.contains_key(crate::pods::mirror::SOURCE));
        if !manifest {
            let _ = tokio::time::timeout(SERVICES, self.0.wait_until_ready()).await;
        }
        let known = self.0.state();
        let links = shape::spec(pod).enable_service_links.unwrap_or(true);
        services::variables(known.iter().map(|it| &**it), shape::namespace(pod), links)
    }
}

/// The pods that the kernel's rules send new connections to, because an EndpointSlice says that they are ready.
#[derive(Debug, Clone)]
pub struct Routes(watch::Receiver<HashSet<Ipv4Addr>>);

impl Routes {
    /// Waits until no new connection is sent to the pod any more, but not for ever.
    pub async fn unrouted(&self, ip: Ipv4Addr, limit: Duration) {
        let mut routes = self.0.clone();
        if tokio::time::timeout(limit, routes.wait_for(|it| !it.contains(&ip)))
            .await
            .is_err()
        {
            tracing::warn!(%ip, "pod is stopped while Services still lead to it");
        }
    }
}

/// The task's side of [`Services`] and [`Routes`].
pub struct Proxy {
    services: Writer<Service>,
    routes: watch::Sender<HashSet<Ipv4Addr>>,
}

/// Makes both sides.
pub fn channel() -> (Proxy, Services, Routes) {
    let (store, writer) = reflector::store();
    let (routes, routed) = watch::channel(HashSet::new());
    (
        Proxy {
            services: writer,
            routes,
        },
        Services(store),
        Routes(routed),
    )
}

type Slices = BTreeMap<(String, String), Arc<EndpointSlice>>;

struct State {
    writer: Writer<Service>,
    services: Store<Service>,
    services_read: bool,
    slices: Slices,
    listing: Option<Slices>,
    slices_read: bool,
    dirty: bool,
}

/// Runs until `shutdown`.
pub async fn run(
    proxy: Proxy,
    client: Client,
    node_name: String,
    mut network: watch::Receiver<Option<network::Handle>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let config = || watcher::Config::default().streaming_lists();
    let mut services = watcher(Api::<Service>::all(client.clone()), config())
        .backoff(Reconnect::default())
        .boxed();
    let mut slices = watcher(Api::<EndpointSlice>::all(client), config())
        .backoff(Reconnect::default())
        .boxed();
    let mut state = State {
        services: proxy.services.as_reader(),
        writer: proxy.services,
        services_read: false,
        slices: Slices::new(),
        listing: None,
        slices_read: false,
        dirty: false,
    };
    let mut retry = Retry::new(Duration::from_millis(200), Duration::from_secs(30));
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|it| *it) => return,
            Some(event) = services.next() => state.service(event),
            Some(event) = slices.next() => state.slice(event),
            Ok(()) = network.changed() => {}
        }
        state.drain(&mut services, &mut slices);
        while state.dirty && state.services_read && state.slices_read {
            let handle = network.borrow().clone();
            let Some(handle) = handle else { break };
            state.dirty = false;
            let (ports, routed) = state.rules(&node_name);
            match handle.sync(ports).await {
                Ok(()) => {
                    retry.reset();
                    proxy.routes.send_replace(routed);
                }
                Err(error) => {
                    tracing::error!(%error, "proxy rules not changed; it is tried again");
                    state.dirty = true;
                    tokio::select! {
                        _ = shutdown.wait_for(|it| *it) => return,
                        () = tokio::time::sleep(retry.step()) => {}
                    }
                }
            }
            state.drain(&mut services, &mut slices);
        }
    }
}

impl State {
    /// Takes what has arrived and waits for nothing.
    fn drain(
        &mut self,
        services: &mut BoxStream<'_, watcher::Result<watcher::Event<Service>>>,
        slices: &mut BoxStream<'_, watcher::Result<watcher::Event<EndpointSlice>>>,
    ) {
        while let Some(Some(event)) = services.next().now_or_never() {
            self.service(event);
        }
        while let Some(Some(event)) = slices.next().now_or_never() {
            self.slice(event);
        }
    }

    fn service(&mut self, event: watcher::Result<watcher::Event<Service>>) {
        match event {
            Ok(event) => {
                let event = event.modify(|it| it.metadata.managed_fields = None);
                self.writer.apply_watcher_event(&event);
                self.services_read |= matches!(event, watcher::Event::InitDone);
                self.dirty |= !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_));
            }
            Err(error) => tracing::warn!(%error, "watch of services interrupted"),
        }
    }

    fn slice(&mut self, event: watcher::Result<watcher::Event<EndpointSlice>>) {
        let key = |it: &EndpointSlice| {
            (
                it.metadata.namespace.clone().unwrap_or_default(),
                it.metadata.name.clone().unwrap_or_default(),
            )
        };
        let slim = |mut it: EndpointSlice| {
            it.metadata.managed_fields = None;
            Arc::new(it)
        };
        match event {
            Ok(watcher::Event::Init) => self.listing = Some(Slices::new()),
            Ok(watcher::Event::InitApply(slice)) => {
                self.listing.get_or_insert_default().insert(key(&slice), slim(slice));
            }
            Ok(watcher::Event::InitDone) => {
                self.slices = self.listing.take().unwrap_or_default();
                self.slices_read = true;
                self.dirty = true;
            }
            Ok(watcher::Event::Apply(slice)) => {
                self.slices.insert(key(&slice), slim(slice));
                self.dirty = true;
            }
            Ok(watcher::Event::Delete(slice)) => {
                self.slices.remove(&key(&slice));
                self.dirty = true;
            }
            Err(error) => tracing::warn!(%error, "watch of endpoint slices interrupted"),
        }
    }

    fn rules(&self, node_name: &str) -> (Vec<barepod_netplugin::ServicePort>, HashSet<Ipv4Addr>) {
        let services = self.services.state();
        let ports = rules::service_ports(
            services.iter().map(|it| &**it),
            self.slices.values().map(|it| &**it),
            node_name,
        );
        (ports, rules::ready_addresses(self.slices.values().map(|it| &**it)))
    }
}
