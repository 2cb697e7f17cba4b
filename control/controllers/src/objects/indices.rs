//! How the kinds without a file of their own are cached.

use super::{ConfigMap, EndpointSlice, Endpoints, Lease, Namespace, Node, Service, ServiceAccount};
use crate::informer::{IndexId, Object};

impl Object for Namespace {}
impl Object for ServiceAccount {}
impl Object for Endpoints {}
impl Object for Lease {}
impl Object for ConfigMap {}
impl Object for Node {}

/// By namespace.
pub(crate) const SERVICES_BY_NAMESPACE: IndexId = IndexId(0);

impl Object for Service {
    fn index(&self, add: &mut dyn FnMut(IndexId, &str)) {
        add(SERVICES_BY_NAMESPACE, self.metadata.namespace());
    }
}

/// By `NAMESPACE/NAME` of the Service.
pub(crate) const SLICES_BY_SERVICE: IndexId = IndexId(0);

/// The label that names the Service of an EndpointSlice.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl Object for EndpointSlice {
    fn index(&self, add: &mut dyn FnMut(IndexId, &str)) {
        if let Some(service) = self.metadata.label(SERVICE_NAME) {
            add(SLICES_BY_SERVICE, &format!("{}/{service}", self.metadata.namespace()));
        }
    }
}
