//! What the installation puts on the machine: the runtime helper, certificates, kubeconfigs; all of it can be done again.

use std::fs;
use std::io::Read;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::read::ZlibDecoder;

use crate::kubeconfig;
use crate::node;
use crate::paths::Paths;
use crate::pki::{Authority, Subject};

/// The static runtime helper that build.rs made.
const RUNTIME: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/barepod-runtime.z"));

/// Unpacks the runtime helper unless the very same one is there. Monitors that run keep the file they were started
/// from, as it is replaced and not overwritten.
pub fn runtime(paths: &Paths) -> Result<()> {
    let target = paths.runtime();
    let program = inflate(RUNTIME).context("read the runtime helper inside this file")?;
    if fs::read(&target).is_ok_and(|have| have == program) {
        return Ok(());
    }
    write_program(&target, &program).with_context(|| format!("unpack {}", target.display()))
}

/// A program that build.rs compressed.
pub fn inflate(compressed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut program = Vec::new();
    ZlibDecoder::new(compressed).read_to_end(&mut program)?;
    Ok(program)
}

fn write_program(target: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = target.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(dir)?;
    let temporary = target.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o755)
        .open(&temporary)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, target)
}

/// Makes what the control service needs, and the kubeconfig of the administrator.
pub fn control(paths: &Paths, host: &str, api: node::Api) -> Result<barepod_control::Pki> {
    let authority = Authority::open(&paths.pki())?;
    let (dns, ips) = node::api_names(api, host);
    let dns: Vec<&str> = dns.iter().map(String::as_str).collect();
    let server = authority.ensure(
        "apiserver",
        &Subject {
            common_name: "kube-apiserver",
            dns: &dns,
            ips: &ips,
            ..Default::default()
        },
    )?;
    let masters: &[&str] = &["system:masters"];
    let node_client = authority.ensure(
        "apiserver-kubelet-client",
        &Subject {
            common_name: "kube-apiserver-kubelet-client",
            organizations: masters,
            ..Default::default()
        },
    )?;
    let admin = authority.ensure(
        "admin",
        &Subject {
            common_name: "kubernetes-admin",
            organizations: masters,
            ..Default::default()
        },
    )?;
    let proxies = Authority::front_proxy(&paths.pki())?;
    let front_proxy = proxies.ensure(
        barepod_control::FrontProxy::NAME,
        &Subject {
            common_name: barepod_control::FrontProxy::NAME,
            ..Default::default()
        },
    )?;
    let ca = authority.certificate();
    kubeconfig::write(&paths.admin_kubeconfig(), &api.url(), &ca, "kubernetes-admin", &admin)?;
    Ok(barepod_control::Pki {
        ca,
        ca_key: Some(paths.pki().join("ca.key")),
        service_account_key: paths.pki().join("sa.key"),
        server_cert: server.cert,
        server_key: server.key,
        kubelet_client_cert: node_client.cert,
        kubelet_client_key: node_client.key,
        front_proxy: Some(barepod_control::FrontProxy {
            ca: proxies.certificate(),
            cert: front_proxy.cert,
            key: front_proxy.key,
        }),
    })
}

/// Makes what this node's agent needs.
pub fn agent(paths: &Paths, node_name: &str, node_ip: Ipv4Addr, api: &str) -> Result<barepod_agent::Tls> {
    let authority = Authority::open(&paths.pki())?;
    let user = format!("system:node:{node_name}");
    let client = authority.ensure(
        "agent-client",
        &Subject {
            common_name: &user,
            organizations: &["system:nodes"],
            ..Default::default()
        },
    )?;
    let ips = [node_ip.into(), Ipv4Addr::LOCALHOST.into()];
    let server = authority.ensure(
        "agent-server",
        &Subject {
            common_name: &user,
            organizations: &["system:nodes"],
            dns: &[node_name, "localhost"],
            ips: &ips,
        },
    )?;
    kubeconfig::write(&paths.agent_kubeconfig(), api, &authority.certificate(), &user, &client)?;
    Ok(barepod_agent::Tls {
        cert: server.cert,
        key: server.key,
        client_ca: authority.certificate(),
    })
}
