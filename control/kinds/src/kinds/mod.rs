//! The kinds this version serves: one row each, and a file where a kind has needs of its own.

pub mod admission;
pub mod api_service;
pub mod apps;
pub mod autoscaling;
pub mod batch;
pub mod certificates;
pub mod component;
pub mod config_map;
pub mod definition;
pub mod deployment;
pub mod devices;
pub mod endpoint_slice;
pub mod endpoints;
pub mod event;
pub mod flow_control;
pub mod lease;
pub mod limits;
pub mod namespace;
pub mod networking;
pub mod node;
pub mod pod;
pub mod pod_template;
pub mod policy;
pub mod priority_class;
pub mod rbac;
pub mod replica_set;
pub mod replication_controller;
pub mod runtime_class;
pub mod secret;
pub mod service;
pub mod service_account;
pub mod storage;
mod workload;

use crate::conversion::Conversion;
use crate::declared::{Declared, PLAIN};
use crate::strategy::Strategy;

struct Row {
    group: &'static str,
    resource: &'static str,
    strategy: &'static dyn Strategy,
}

const fn row(group: &'static str, resource: &'static str, strategy: &'static dyn Strategy) -> Row {
    Row {
        group,
        resource,
        strategy,
    }
}

/// A kind without needs of its own.
static JUST_STORED: Declared = PLAIN;

static ROWS: &[Row] = &[
    // Written to a pod, not stored.
    row("", "bindings", &JUST_STORED),
    row("", "componentstatuses", &component::COMPONENT),
    row("", "configmaps", &config_map::ConfigMap),
    row("", "endpoints", &endpoints::Endpoints),
    row("", "events", &event::Event),
    row("", "limitranges", &limits::RANGE),
    row("", "namespaces", &namespace::Namespace),
    row("", "nodes", &node::Node),
    row("", "persistentvolumeclaims", &storage::CLAIM),
    row("", "persistentvolumes", &storage::VOLUME),
    row("", "pods", &pod::Pod),
    row("", "podtemplates", &pod_template::POD_TEMPLATE),
    row(
        "",
        "replicationcontrollers",
        &replication_controller::ReplicationController,
    ),
    row("", "resourcequotas", &limits::QUOTA),
    row("", "secrets", &secret::Secret),
    row("", "serviceaccounts", &service_account::ServiceAccount),
    row("", "services", &service::Service),
    row(
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicies",
        &admission::MUTATING_POLICY,
    ),
    row(
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings",
        &admission::MUTATING_BINDING,
    ),
    row(
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        &admission::MUTATING,
    ),
    row(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
        &admission::VALIDATING_POLICY,
    ),
    row(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
        &admission::VALIDATING_BINDING,
    ),
    row(
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        &admission::VALIDATING,
    ),
    row(
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        &definition::DEFINITION,
    ),
    row("apiregistration.k8s.io", "apiservices", &api_service::API_SERVICE),
    row("apps", "controllerrevisions", &apps::CONTROLLER_REVISION),
    row("apps", "daemonsets", &apps::DAEMON_SET),
    row("apps", "deployments", &deployment::Deployment),
    row("apps", "replicasets", &replica_set::ReplicaSet),
    row("apps", "statefulsets", &apps::STATEFUL_SET),
    // Questions, which are answered and not stored.
    row("authentication.k8s.io", "selfsubjectreviews", &JUST_STORED),
    row("authentication.k8s.io", "tokenreviews", &JUST_STORED),
    row("authorization.k8s.io", "localsubjectaccessreviews", &JUST_STORED),
    row("authorization.k8s.io", "selfsubjectaccessreviews", &JUST_STORED),
    row("authorization.k8s.io", "selfsubjectrulesreviews", &JUST_STORED),
    row("authorization.k8s.io", "subjectaccessreviews", &JUST_STORED),
    row("autoscaling", "horizontalpodautoscalers", &autoscaling::AUTOSCALER),
    row("batch", "cronjobs", &batch::CRON_JOB),
    row("batch", "jobs", &batch::JOB),
    row(
        "certificates.k8s.io",
        "certificatesigningrequests",
        &certificates::Request,
    ),
    row("coordination.k8s.io", "leases", &lease::Lease),
    row("discovery.k8s.io", "endpointslices", &endpoint_slice::EndpointSlice),
    row(
        "flowcontrol.apiserver.k8s.io",
        "flowschemas",
        &flow_control::FLOW_SCHEMA,
    ),
    row(
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
        &flow_control::PRIORITY_LEVEL,
    ),
    row("networking.k8s.io", "ingressclasses", &networking::INGRESS_CLASS),
    row("networking.k8s.io", "ingresses", &networking::INGRESS),
    row("networking.k8s.io", "ipaddresses", &networking::IP_ADDRESS),
    row("networking.k8s.io", "networkpolicies", &networking::NETWORK_POLICY),
    row("networking.k8s.io", "servicecidrs", &networking::SERVICE_CIDR),
    row("node.k8s.io", "runtimeclasses", &runtime_class::RUNTIME_CLASS),
    row("policy", "poddisruptionbudgets", &policy::BUDGET),
    row(
        "rbac.authorization.k8s.io",
        "clusterrolebindings",
        &rbac::CLUSTER_ROLE_BINDING,
    ),
    row("rbac.authorization.k8s.io", "clusterroles", &rbac::CLUSTER_ROLE),
    row("rbac.authorization.k8s.io", "rolebindings", &rbac::ROLE_BINDING),
    row("rbac.authorization.k8s.io", "roles", &rbac::ROLE),
    row("resource.k8s.io", "deviceclasses", &devices::CLASS),
    row("resource.k8s.io", "resourceclaims", &devices::CLAIM),
    row("resource.k8s.io", "resourceclaimtemplates", &devices::TEMPLATE),
    row("resource.k8s.io", "resourceslices", &devices::SLICE),
    row("scheduling.k8s.io", "priorityclasses", &priority_class::PriorityClass),
    row("storage.k8s.io", "csidrivers", &storage::DRIVER),
    row("storage.k8s.io", "csinodes", &storage::NODE),
    row("storage.k8s.io", "csistoragecapacities", &storage::CAPACITY),
    row("storage.k8s.io", "storageclasses", &storage::STORAGE_CLASS),
    row("storage.k8s.io", "volumeattachments", &storage::ATTACHMENT),
    row("storage.k8s.io", "volumeattributesclasses", &storage::ATTRIBUTES_CLASS),
];

/// A version that is stored as another one.
struct Form {
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    conversion: &'static Conversion,
}

const fn form(
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    conversion: &'static Conversion,
) -> Form {
    Form {
        group,
        version,
        resource,
        conversion,
    }
}

static FORMS: &[Form] = &[
    form(
        "autoscaling",
        "v1",
        "horizontalpodautoscalers",
        &autoscaling::CONVERSION,
    ),
    form("events.k8s.io", "v1", "events", &event::CONVERSION),
];

/// How objects of a version are stored as those of another one, where they are.
pub fn conversion(group: &str, version: &str, resource: &str) -> Option<&'static Conversion> {
    let same = |form: &&Form| form.resource == resource && form.group == group && form.version == version;
    FORMS.iter().find(same).map(|form| form.conversion)
}

static SERVED: [(&str, &str); ROWS.len()] = {
    let mut list = [("", ""); ROWS.len()];
    let mut i = 0;
    while i < ROWS.len() {
        list[i] = (ROWS[i].group, ROWS[i].resource);
        i += 1;
    }
    list
};

/// The strategy of a resource; a plain one for kinds without needs of their own.
pub fn strategy(group: &str, resource: &str) -> &'static dyn Strategy {
    ROWS.iter()
        .find(|r| r.resource == resource && r.group == group)
        .map_or(&JUST_STORED, |r| r.strategy)
}

/// Group and resource of everything this version serves.
pub fn served() -> &'static [(&'static str, &'static str)] {
    &SERVED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_unique_and_found() {
        for (i, (group, resource)) in served().iter().enumerate() {
            assert!(!served()[..i].contains(&(group, resource)));
            let _ = strategy(group, resource);
        }
    }
}
