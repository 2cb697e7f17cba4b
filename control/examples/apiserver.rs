//! The API server alone, with certificates made on the spot: for trying it with kubectl and for load programs.
//!
//! `apiserver DIRECTORY [PORT] [controllers]` writes `admin.kubeconfig` and the certificates into the directory.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Context;
use barepod_control::{Config, Pki};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().context("a directory is needed")?;
    fs::create_dir_all(&directory)?;
    let directory = Path::new(&directory).canonicalize()?;
    let directory = directory.as_path();
    let port: u16 = arguments.next().map_or(Ok(16443), |port| port.parse())?;
    let controllers = arguments.next().is_some();
    if !directory.join("ca.crt").exists() {
        certificates(directory, port)?;
    }
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .init();
    let file = |name: &str| directory.join(name);
    let config = Config {
        state_dir: directory.into(),
        listen: (Ipv4Addr::LOCALHOST, port).into(),
        advertise: Ipv4Addr::new(192, 0, 2, 1),
        pki: Pki {
            ca: file("ca.crt"),
            server_cert: file("apiserver.crt"),
            server_key: file("apiserver.key"),
            kubelet_client_cert: file("apiserver-kubelet-client.crt"),
            kubelet_client_key: file("apiserver-kubelet-client.key"),
        },
        service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
        cluster_cidr: (Ipv4Addr::new(10, 244, 0, 0), 16),
        node_port_range: 30_000..=32_767,
        controllers,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let started = std::time::Instant::now();
    runtime.block_on(barepod_control::run_until(
        config,
        |address| println!("ready on {address} after {:?}", started.elapsed()),
        async {
            let mut terminate =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("signals");
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        },
    ))
}

fn certificates(directory: &Path, port: u16) -> anyhow::Result<()> {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "barepod");
    let ca_key = KeyPair::generate()?;
    let ca_cert = ca.self_signed(&ca_key)?;
    fs::write(directory.join("ca.crt"), ca_cert.pem())?;
    let issuer = Issuer::new(ca, ca_key);
    let issue = |file: &str, name: &str, group: Option<&str>, server: bool| -> anyhow::Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![if server {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        }];
        if server {
            params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
        }
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &issuer)?;
        fs::write(directory.join(format!("{file}.crt")), cert.pem())?;
        fs::write(directory.join(format!("{file}.key")), key.serialize_pem())?;
        Ok(())
    };
    issue("apiserver", "kube-apiserver", None, true)?;
    issue(
        "apiserver-kubelet-client",
        "kube-apiserver-kubelet-client",
        Some("system:masters"),
        false,
    )?;
    issue("admin", "admin", Some("system:masters"), false)?;
    issue("bob", "bob", Some("dev"), false)?;
    for user in ["admin", "bob"] {
        let at = |file: &str| directory.join(file).display().to_string();
        let (ca, cert, key) = (at("ca.crt"), at(&format!("{user}.crt")), at(&format!("{user}.key")));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts:\n- name: c\n  context: {{cluster: c, user: u}}\n\
             clusters:\n- name: c\n  cluster: {{server: \"https://127.0.0.1:{port}\", certificate-authority: {ca}}}\n\
             users:\n- name: u\n  user: {{client-certificate: {cert}, client-key: {key}}}\n"
        );
        fs::write(directory.join(format!("{user}.kubeconfig")), text)?;
    }
    Ok(())
}
