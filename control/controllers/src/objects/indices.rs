//! How the kinds of `k8s-openapi` are cached.

use super::{ConfigMap, EndpointSlice, Endpoints, Lease, Namespace, Node, Service, ServiceAccount};
use crate::informer::{IndexId, Object, trim_meta};

impl Object for Namespace {}
impl Object for ServiceAccount {}
impl Object for Endpoints {}
impl Object for Lease {}

impl Object for ConfigMap {}

impl Object for Node {
    fn trim(&mut self) {
        trim_meta(&mut self.metadata);
        if let Some(status) = &mut self.status {
            status.images = None;
            status.volumes_in_use = None;
            status.volumes_attached = None;
        }
    }
}

/// By namespace.
pub(crate) const SERVICES_BY_NAMESPACE: IndexId = IndexId(0);

impl Object for Service {
    fn index(&self, add: &mut dyn FnMut(IndexId, &str)) {
        add(
            SERVICES_BY_NAMESPACE,
            self.metadata.namespace.as_deref().unwrap_or_default(),
        );
    }
}

/// By `NAMESPACE/NAME` of the Service.
pub(crate) const SLICES_BY_SERVICE: IndexId = IndexId(0);

/// The label that names the Service of an EndpointSlice.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl Object for EndpointSlice {
    fn index(&self, add: &mut dyn FnMut(IndexId, &str)) {
        let service = self.metadata.labels.as_ref().and_then(|l| l.get(SERVICE_NAME));
        if let Some(service) = service {
            let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
            add(SLICES_BY_SERVICE, &format!("{namespace}/{service}"));
        }
    }
}
