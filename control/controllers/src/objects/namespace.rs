//! What the controllers read of Namespaces and ServiceAccounts.

use barepod_client::types::{ObjectMeta, Time, nullable};
use barepod_client::{api_struct, object};
use serde::{Deserialize, Serialize};

api_struct! {
    /// A Namespace.
    #[derive(Deserialize)]
    pub(crate) struct Namespace {
        metadata: ObjectMeta,
        #[serde(deserialize_with = "nullable")]
        spec: NamespaceSpec,
        #[serde(deserialize_with = "nullable")]
        status: NamespaceStatus,
    }
}

object!(Namespace, "", "v1", "namespaces");

api_struct! {
    /// What must happen before a namespace may go.
    #[derive(Deserialize)]
    pub(crate) struct NamespaceSpec {
        #[serde(deserialize_with = "nullable")]
        finalizers: Vec<String>,
    }
}

api_struct! {
    /// Whether a namespace is going.
    #[derive(Deserialize)]
    pub(crate) struct NamespaceStatus {
        #[serde(deserialize_with = "nullable")]
        conditions: Vec<NamespaceCondition>,
    } optional {
        phase: String,
    }
}

api_struct! {
    /// One thing that keeps a namespace from going, or not.
    #[derive(Eq, Serialize, Deserialize)]
    pub(crate) struct NamespaceCondition {
        #[serde(rename = "type")]
        type_: String,
        status: String,
    } optional {
        reason: String,
        message: String,
        last_transition_time: Time,
    }
}

api_struct! {
    /// A ServiceAccount: that it is there.
    #[derive(Deserialize)]
    pub(crate) struct ServiceAccount {
        metadata: ObjectMeta,
    }
}

object!(ServiceAccount, "", "v1", "serviceaccounts");
