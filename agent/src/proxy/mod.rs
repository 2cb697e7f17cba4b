//! Services and EndpointSlices → the node's proxy rules. A burst of changes is one change of the rules: while one is
//! being made, all that comes is gathered for the next.

mod known;
mod rules;

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use barepod_client::types::{EndpointSlice, Service};
use barepod_client::{Client, Event, Object, Selection, watch as watch_objects};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;

use crate::drivers::network;
use crate::kinds::Pod;
use crate::pods::backoff::Retry;
use crate::pods::shape;
use crate::spec::services::{self, Variables};
use known::Known;

/// How long a pod from the API waits for Services to be known; they come over the same API.
const SERVICES: Duration = Duration::from_secs(2);

/// The Services, for environment variables.
#[derive(Clone)]
pub struct Services {
    known: Arc<RwLock<Known<Service>>>,
    complete: watch::Receiver<bool>,
}

impl Services {
    fn read(&self) -> RwLockReadGuard<'_, Known<Service>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Variables of the Services that the pod sees. Waits a little for the first list; a static pod does not.
    pub async fn variables(&self, pod: &Pod) -> Variables {
        if pod.metadata.annotation(crate::pods::mirror::SOURCE).is_none() {
            let mut complete = self.complete.clone();
            let _ = tokio::time::timeout(SERVICES, complete.wait_for(|it| *it)).await;
        }
        let links = shape::spec(pod).enable_service_links.unwrap_or(true);
        services::variables(self.read().all(), shape::namespace(pod), links)
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
    services: Services,
    complete: watch::Sender<bool>,
    slices: Known<EndpointSlice>,
    routes: watch::Sender<HashSet<Ipv4Addr>>,
    dirty: bool,
}

/// Makes both sides.
pub fn channel() -> (Proxy, Services, Routes) {
    let (complete, completed) = watch::channel(false);
    let (routes, routed) = watch::channel(HashSet::new());
    let services = Services {
        known: Arc::default(),
        complete: completed,
    };
    let proxy = Proxy {
        services: services.clone(),
        complete,
        slices: Known::default(),
        routes,
        dirty: false,
    };
    (proxy, services, Routes(routed))
}

/// Runs until `shutdown`.
pub async fn run(
    mut proxy: Proxy,
    client: Client,
    node_name: String,
    mut network: watch::Receiver<Option<network::Handle>>,
    mut shutdown: watch::Receiver<bool>,
) {
    let mut services = watch_objects(client.clone(), Selection::all(Service::RESOURCE));
    let mut slices = watch_objects(client, Selection::all(EndpointSlice::RESOURCE));
    let mut retry = Retry::new(Duration::from_millis(200), Duration::from_secs(30));
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|it| *it) => return,
            Some(event) = services.next() => proxy.service(event),
            Some(event) = slices.next() => proxy.slice(event),
            Ok(()) = network.changed() => {}
        }
        proxy.drain(&mut services, &mut slices);
        while proxy.dirty && proxy.is_complete() {
            let handle = network.borrow().clone();
            let Some(handle) = handle else { break };
            proxy.dirty = false;
            let (ports, routed) = proxy.rules(&node_name);
            match handle.sync(ports).await {
                Ok(()) => {
                    retry.reset();
                    proxy.routes.send_replace(routed);
                }
                Err(error) => {
                    tracing::error!(%error, "proxy rules not changed; it is tried again");
                    proxy.dirty = true;
                    tokio::select! {
                        _ = shutdown.wait_for(|it| *it) => return,
                        () = tokio::time::sleep(retry.step()) => {}
                    }
                }
            }
            proxy.drain(&mut services, &mut slices);
        }
    }
}

impl Proxy {
    fn is_complete(&self) -> bool {
        *self.complete.borrow() && self.slices.is_complete()
    }

    /// Takes what has arrived and waits for nothing.
    fn drain(
        &mut self,
        services: &mut BoxStream<'_, Event<Service>>,
        slices: &mut BoxStream<'_, Event<EndpointSlice>>,
    ) {
        while let Some(Some(event)) = services.next().now_or_never() {
            self.service(event);
        }
        while let Some(Some(event)) = slices.next().now_or_never() {
            self.slice(event);
        }
    }

    fn service(&mut self, event: Event<Service>) {
        let mut known = self.services.known.write().unwrap_or_else(PoisonError::into_inner);
        self.dirty |= known.take(event);
        if known.is_complete() && !*self.complete.borrow() {
            self.complete.send_replace(true);
        }
    }

    fn slice(&mut self, event: Event<EndpointSlice>) {
        self.dirty |= self.slices.take(event);
    }

    fn rules(&self, node_name: &str) -> (Vec<barepod_netplugin::ServicePort>, HashSet<Ipv4Addr>) {
        let ports = rules::service_ports(self.services.read().all(), self.slices.all(), node_name);
        (ports, rules::ready_addresses(self.slices.all()))
    }
}
