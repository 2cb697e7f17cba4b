//! Certificates made on the spot: an authority, the server's and some clients'.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use barepod_control::{FrontProxy, Pki};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};

/// Writes the certificates and a kubeconfig for each of the users `admin` (may do everything) and `bob` (nothing).
pub fn write(directory: &Path, port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, "barepod");
    let ca_key = KeyPair::generate()?;
    fs::write(directory.join("ca.crt"), ca.self_signed(&ca_key)?.pem())?;
    fs::write(directory.join("ca.key"), ca_key.serialize_pem())?;
    let other = KeyPair::generate()?;
    fs::write(directory.join("other-ca.crt"), ca.self_signed(&other)?.pem())?;
    let issuer = Issuer::new(ca, ca_key);
    for (file, name, group, server) in [
        ("apiserver", "kube-apiserver", "", true),
        (
            "apiserver-kubelet-client",
            "kube-apiserver-kubelet-client",
            "system:masters",
            false,
        ),
        ("node", "system:node:n1", "system:nodes", true),
        ("admin", "admin", "system:masters", false),
        ("bob", "bob", "dev", false),
        ("front-proxy-client", "front-proxy-client", "", false),
        ("things", "things.default.svc", "", true),
    ] {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        if !group.is_empty() {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![if server {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        }];
        if server {
            params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
            if let Ok(name) = name.try_into() {
                params.subject_alt_names.push(SanType::DnsName(name));
            }
        }
        let key = KeyPair::generate()?;
        fs::write(
            directory.join(format!("{file}.crt")),
            params.signed_by(&key, &issuer)?.pem(),
        )?;
        fs::write(directory.join(format!("{file}.key")), key.serialize_pem())?;
    }
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

/// Where [`write`] put what the control service needs.
pub fn paths(directory: &Path) -> Pki {
    let file = |name: &str| directory.join(name);
    Pki {
        ca: file("ca.crt"),
        ca_key: Some(file("ca.key")),
        service_account_key: file("sa.key"),
        server_cert: file("apiserver.crt"),
        server_key: file("apiserver.key"),
        kubelet_client_cert: file("apiserver-kubelet-client.crt"),
        kubelet_client_key: file("apiserver-kubelet-client.key"),
        // The one authority stands for that of front proxies as well.
        front_proxy: Some(FrontProxy {
            ca: file("ca.crt"),
            cert: file("front-proxy-client.crt"),
            key: file("front-proxy-client.key"),
        }),
    }
}
