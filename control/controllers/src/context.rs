//! What every controller is given.

use crate::informer::{Informer, Object};
use crate::objects::{
    ConfigMap, Deployment, EndpointSlice, Endpoints, Lease, Namespace, Node, Pod, ReplicaSet, ReplicationController,
    Service, ServiceAccount,
};
use crate::options::Options;
use crate::recorder::Recorder;
use crate::spawn;
use barepod_client::{Client, Selection};
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
        // In the order in which a new pod needs them.
        self.watch(tasks, &self.nodes, None);
        self.watch(tasks, &self.pods, None);
        self.watch(tasks, &self.namespaces, None);
        self.watch(tasks, &self.service_accounts, Some("default"));
        self.watch(tasks, &self.deployments, None);
        self.watch(tasks, &self.replica_sets, None);
        self.watch(tasks, &self.replication_controllers, None);
        self.watch(tasks, &self.services, None);
        self.watch(tasks, &self.endpoints, None);
        self.watch(tasks, &self.endpoint_slices, None);
        self.watch(tasks, &self.leases, None);
        if self.options.root_ca_pem.is_some() {
            self.watch(tasks, &self.root_ca_maps, Some(crate::root_ca::NAME));
        }
    }

    fn watch<K: Object>(&self, tasks: &mut JoinSet<()>, informer: &Arc<Informer<K>>, name: Option<&str>) {
        let mut selection = Selection::all(K::RESOURCE);
        if let Some(name) = name {
            selection = selection.fields(format!("metadata.name={name}"));
        }
        spawn(tasks, informer.clone().run(self.client.clone(), selection));
    }
}
