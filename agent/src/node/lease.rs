//! The node's Lease: renewing it says that the agent lives, at the price of one small object.

use barepod_client::types::{Lease, MicroTime};
use barepod_client::{Client, Error, Object, Patch, Request};
use jiff::Timestamp;
use serde_json::json;

/// Where node leases are.
const NAMESPACE: &str = "kube-node-lease";
/// How long a lease is good for, in seconds.
const DURATION_SECS: i32 = 40;

/// Renews the lease, making it if there is none.
pub async fn renew(client: &Client, node_name: &str, node_uid: &str) -> Result<(), Error> {
    let now = MicroTime(Timestamp::now());
    let spec = json!({"holderIdentity": node_name, "leaseDurationSeconds": DURATION_SECS, "renewTime": now});
    let path = Lease::RESOURCE.path(NAMESPACE, node_name);
    match client
        .send(Request::patch(path, Patch::Merge, &json!({"spec": spec})))
        .await
    {
        Err(error) if error.code() == Some(404) => {}
        result => return result,
    }
    let lease = json!({
        "apiVersion": Lease::RESOURCE.api_version(),
        "kind": "Lease",
        "metadata": {
            "name": node_name,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": node_name, "uid": node_uid}],
        },
        "spec": spec,
    });
    let path = Lease::RESOURCE.collection(NAMESPACE);
    client.send(Request::create(path, lease.to_string().into_bytes())).await
}
