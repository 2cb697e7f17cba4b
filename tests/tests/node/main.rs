//! Integration tests: this machine's kernel, images of real programs, the real kubectl. A module is a subject.

mod api;
mod bad_input;
mod cgroup_v2;
mod check;
mod clients;
mod controllers;
mod debug;
mod disk;
mod faults;
mod kubectl;
mod kubectl_custom;
mod network;
mod pause;
mod pods;
mod probes;
mod streams;
mod up;
mod vagrant;
mod volumes;
mod workloads;

use std::sync::LazyLock;

use barepod_tests::{Cluster, Space};

/// One node for all tests that do it no harm, each in a namespace of its own.
static CLUSTER: LazyLock<&Cluster> = LazyLock::new(|| {
    Cluster::shared("node", |cluster| {
        cluster.import("nginx-1.oci.tar", Some("nginx:1"));
        cluster.import("nginx-2.oci.tar", Some("nginx:2"));
        cluster.import("redis.docker.tar", None);
        cluster.import("tools.oci", None);
    })
});

/// A namespace of the shared node.
fn space(name: &str) -> Space<'static> {
    CLUSTER.space(name)
}

/// A node of a test's own, with the tools image.
fn own_node(name: &str) -> Cluster {
    let cluster = Cluster::start(name);
    cluster.import("tools.oci", None);
    cluster
}
