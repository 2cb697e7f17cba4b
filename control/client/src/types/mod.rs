//! What is read of the objects of the API: the fields some part of barepod looks at, and no others.
//!
//! Names and meaning of the fields are those of the Kubernetes API reference. An absent field, and one that is `null`
//! where that can be, is the default.

#![expect(
    missing_docs,
    reason = "fields are documented in the Kubernetes API reference, under the same names"
)]

/// Declares a struct of the API. After `optional` stand the fields that are left out when there is nothing in them.
#[macro_export]
macro_rules! api_struct {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$attr:meta])* $field:ident: $type:ty, )*
        }
        $(optional { $( $(#[$opt_attr:meta])* $opt_field:ident: $opt_type:ty, )* })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        #[serde(rename_all = "camelCase", default)]
        $vis struct $name {
            $( $(#[$attr])* $vis $field: $type, )*
            $($(
                $(#[$opt_attr])*
                #[serde(skip_serializing_if = "Option::is_none")]
                $vis $opt_field: Option<$opt_type>,
            )*)?
        }
    };
}

mod config;
mod endpoints;
mod int_or_string;
mod meta;
mod node;
mod pod;
mod quantity;
mod selector;
mod service;
mod time;

pub use config::{ByteString, ConfigMap, Secret};
pub use endpoints::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
pub use int_or_string::IntOrString;
pub use meta::{Labels, ObjectMeta, ObjectReference, OwnerReference};
pub use node::{Lease, LeaseSpec, Node, NodeCondition, NodeSpec, NodeStatus, Taint};
pub use pod::{ContainerPort, PodCondition, PodIp, ResourceRequirements, Toleration};
pub use quantity::Quantity;
pub use selector::{LabelSelector, LabelSelectorRequirement};
pub use service::{
    ClientIpConfig, LoadBalancerIngress, LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus,
    SessionAffinityConfig,
};
pub use time::{MicroTime, Time};

use serde::{Deserialize, Deserializer};

/// Reads `null` as the default value, as Kubernetes does.
///
/// # Errors
/// It is something else.
pub fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
