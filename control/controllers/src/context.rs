//! What every controller is given.

use crate::informer::Informer;
use crate::objects::{
    ConfigMap, Deployment, EndpointSlice, Endpoints, Lease, Namespace, Node, Pod, ReplicaSet, ReplicationController,
    Service, ServiceAccount,
};
use crate::options::Options;
use crate::recorder::Recorder;
use kube::Client;
use kube::runtime::watcher;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Client, settings, events and the shared caches.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) recorder: Recorder,
    pub(crate) pods: Arc<Informer<Pod>>,
    pub(crate) nodes: Arc<Informer<Node>>,
    pub(crate) services: Arc<Informer<Service>>,
    pub(crate) endpoints: Arc<Informer<Endpoints>>,
    pub(crate) endpoint_slices: Arc<Informer<EndpointSlice>>,
    pub(crate) replica_sets: Arc<Informer<ReplicaSet>>,
    pub(crate) replication_controllers: Arc<Informer<ReplicationController>>,
    pub(crate) deployments: Arc<Informer<Deployment>>,
    pub(crate) namespaces: Arc<Informer<Namespace>>,
    pub(crate) leases: Arc<Informer<Lease>>,
    /// Only those named `default`.
    pub(crate) service_accounts: Arc<Informer<ServiceAccount>>,
    /// Only those named `kube-root-ca.crt`.
    pub(crate) root_ca_maps: Arc<Informer<ConfigMap>>,
}

impl Context {
    pub(crate) fn new(client: Client, options: Options, recorder: Recorder) -> Arc<Self> {
        Arc::new(Self {
            client,
            options,
            recorder,
            pods: Informer::new(),
            nodes: Informer::new(),
            services: Informer::new(),
            endpoints: Informer::new(),
            endpoint_slices: Informer::new(),
            replica_sets: Informer::new(),
            replication_controllers: Informer::new(),
            deployments: Informer::new(),
            namespaces: Informer::new(),
            leases: Informer::new(),
            service_accounts: Informer::new(),
            root_ca_maps: Informer::new(),
        })
    }

    /// Starts one watch per kind. Listeners should be there before, so that they hear of the first list once.
    pub(crate) fn watch_all(&self, tasks: &mut JoinSet<()>) {
        let all = watcher::Config::default;
        let named = |name: &str| all().fields(&format!("metadata.name={name}"));
        // In the order in which a new pod needs them.
        tasks.spawn(self.nodes.clone().run(self.client.clone(), all()));
        tasks.spawn(self.pods.clone().run(self.client.clone(), all()));
        tasks.spawn(self.namespaces.clone().run(self.client.clone(), all()));
        tasks.spawn(self.service_accounts.clone().run(self.client.clone(), named("default")));
        tasks.spawn(self.deployments.clone().run(self.client.clone(), all()));
        tasks.spawn(self.replica_sets.clone().run(self.client.clone(), all()));
        tasks.spawn(self.replication_controllers.clone().run(self.client.clone(), all()));
        tasks.spawn(self.services.clone().run(self.client.clone(), all()));
        tasks.spawn(self.endpoints.clone().run(self.client.clone(), all()));
        tasks.spawn(self.endpoint_slices.clone().run(self.client.clone(), all()));
        tasks.spawn(self.leases.clone().run(self.client.clone(), all()));
        if self.options.root_ca_pem.is_some() {
            let name = crate::root_ca::NAME;
            tasks.spawn(self.root_ca_maps.clone().run(self.client.clone(), named(name)));
        }
    }
}
