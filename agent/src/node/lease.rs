//! The node's Lease: renewing it says that the agent lives, at the price of one small object.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

/// Where node leases are.
const NAMESPACE: &str = "kube-node-lease";
/// How long a lease is good for, in seconds.
const DURATION_SECS: i32 = 40;

/// Renews the lease, making it if there is none.
pub async fn renew(client: &Client, node_name: &str, node_uid: &str) -> kube::Result<()> {
    let api = Api::<Lease>::namespaced(client.clone(), NAMESPACE);
    let now = MicroTime(Timestamp::now());
    let patch = json!({"spec": {"holderIdentity": node_name, "leaseDurationSeconds": DURATION_SECS, "renewTime": now}});
    match api
        .patch(node_name, &PatchParams::default(), &Patch::Merge(patch))
        .await
    {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        result => return result.map(drop),
    }
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: node_name.into(),
        uid: node_uid.into(),
        ..OwnerReference::default()
    };
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(node_name.into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(node_name.into()),
            lease_duration_seconds: Some(DURATION_SECS),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
    };
    api.create(&PostParams::default(), &lease).await.map(drop)
}
