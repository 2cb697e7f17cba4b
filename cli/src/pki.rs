//! The cluster's certificates: one authority, and client and server certificates signed by it, as files in PEM.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const CA_DAYS: u32 = 3650;
const LEAF_DAYS: u32 = 365;
/// A leaf with less than this left is made anew by the next `up`.
const RENEW_DAYS: u32 = 120;

/// A certificate and its key, both in PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Path of the certificate.
    pub cert: PathBuf,
    /// Path of the private key.
    pub key: PathBuf,
}

impl Pair {
    fn at(dir: &Path, name: &str) -> Self {
        Pair {
            cert: dir.join(format!("{name}.crt")),
            key: dir.join(format!("{name}.key")),
        }
    }
}

/// Who a certificate speaks for, and to whom.
#[derive(Debug, Clone, Default)]
pub struct Subject<'a> {
    /// User name of a client.
    pub common_name: &'a str,
    /// Groups of a client.
    pub organizations: &'a [&'a str],
    /// Host names of a server.
    pub dns: &'a [&'a str],
    /// Addresses of a server.
    pub ips: &'a [IpAddr],
}

/// The authority of a cluster, in a directory.
pub struct Authority {
    dir: PathBuf,
    file: &'static str,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Reads the authority of everybody in the cluster, or makes it if there is none.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::named(dir, "ca", "barepod-ca")
    }

    /// The same for the authority by which aggregated API servers know the API server.
    pub fn front_proxy(dir: &Path) -> Result<Self> {
        Self::named(dir, "front-proxy-ca", "barepod-front-proxy-ca")
    }

    fn named(dir: &Path, file: &'static str, common_name: &str) -> Result<Self> {
        let pair = Pair::at(dir, file);
        if !pair.cert.exists() || !pair.key.exists() {
            let mut params = CertificateParams::default();
            params.distinguished_name = name(common_name, &[]);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![
                KeyUsagePurpose::KeyCertSign,
                KeyUsagePurpose::CrlSign,
                KeyUsagePurpose::DigitalSignature,
            ];
            validity(&mut params, CA_DAYS);
            let key = KeyPair::generate()?;
            let cert = params.self_signed(&key)?;
            write(&pair.key, &key.serialize_pem(), 0o600)?;
            write(&pair.cert, &cert.pem(), 0o644)?;
        }
        let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("read {}", path.display()));
        let key = KeyPair::from_pem(&read(&pair.key)?).with_context(|| format!("parse {}", pair.key.display()))?;
        let issuer = Issuer::from_ca_cert_pem(&read(&pair.cert)?, key)
            .with_context(|| format!("parse {}", pair.cert.display()))?;
        Ok(Authority {
            dir: dir.to_owned(),
            file,
            issuer,
        })
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> PathBuf {
        Pair::at(&self.dir, self.file).cert
    }

    /// The certificate `file`, signed anew when it is missing, about to expire or made for another subject.
    pub fn ensure(&self, file: &str, subject: &Subject<'_>) -> Result<Pair> {
        let pair = Pair::at(&self.dir, file);
        let wanted = format!("{subject:?}");
        let note = self.dir.join(format!("{file}.subject"));
        let fresh = fs::metadata(&pair.cert)
            .and_then(|m| m.modified())
            .is_ok_and(|made| made + DAY * (LEAF_DAYS - RENEW_DAYS) > SystemTime::now());
        if fresh && pair.key.exists() && fs::read_to_string(&note).is_ok_and(|have| have == wanted) {
            return Ok(pair);
        }
        let mut params = CertificateParams::new(subject.dns.iter().map(|d| (*d).to_owned()).collect::<Vec<_>>())?;
        params
            .subject_alt_names
            .extend(subject.ips.iter().map(|ip| SanType::IpAddress(*ip)));
        params.distinguished_name = name(subject.common_name, subject.organizations);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        if !subject.dns.is_empty() || !subject.ips.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, LEAF_DAYS);
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        write(&pair.key, &key.serialize_pem(), 0o600)?;
        write(&pair.cert, &cert.pem(), 0o644)?;
        write(&note, &wanted, 0o600)?;
        Ok(pair)
    }
}

fn name(common_name: &str, organizations: &[&str]) -> DistinguishedName {
    let mut dn = DistinguishedName::new();
    for o in organizations {
        dn.push(DnType::OrganizationName, *o);
    }
    dn.push(DnType::CommonName, common_name);
    dn
}

/// From a day ago, so that a node whose clock is a little behind accepts it, for `days` from now.
fn validity(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY * days).into();
}

/// Writes a file whole or not at all.
pub fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let temporary = path.with_extension("new");
    let attempt = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    attempt().with_context(|| format!("write {}", path.display()))
}
