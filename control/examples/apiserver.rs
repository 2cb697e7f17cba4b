//! The API server alone, with certificates made on the spot: for trying it with kubectl and for load programs.
//!
//! `apiserver DIRECTORY [PORT] [controllers] [ETCD-ENDPOINT]` writes `admin.kubeconfig` and the certificates into the directory.

#[path = "../tests/support/pki.rs"]
mod pki;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Context;
use barepod_control::store::EtcdOptions;
use barepod_control::{Backend, Config};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().context("a directory is needed")?;
    fs::create_dir_all(&directory)?;
    let directory = Path::new(&directory).canonicalize()?;
    let port: u16 = arguments.next().map_or(Ok(16443), |port| port.parse())?;
    let (mut controllers, mut store) = (false, Backend::Embedded);
    for argument in arguments {
        match argument.as_str() {
            "controllers" => controllers = true,
            endpoint => store = Backend::Etcd(EtcdOptions::new(vec![endpoint.to_owned()])),
        }
    }
    if !directory.join("ca.crt").exists() {
        pki::write(&directory, port).map_err(|error| anyhow::anyhow!("make certificates: {error}"))?;
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let config = Config {
        state_dir: directory.clone(),
        store,
        listen: (Ipv4Addr::LOCALHOST, port).into(),
        advertise: Ipv4Addr::new(192, 0, 2, 1),
        pki: pki::paths(&directory),
        service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
        cluster_cidr: (Ipv4Addr::new(10, 244, 0, 0), 16),
        node_port_range: 30_000..=32_767,
        audit: None,
        controllers,
    };
    let runtime = barepod_control::runtime()?;
    let started = std::time::Instant::now();
    let ready = |address| println!("ready on {address} after {:?}", started.elapsed());
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        barepod_control::run_until(config, ready, shutdown).await
    })
}
