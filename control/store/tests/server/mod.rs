//! A real etcd on loopback, ended with the test.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use barepod_store::{Etcd, EtcdOptions};

pub struct Server {
    directory: PathBuf,
    client: u16,
    peer: u16,
    tls: bool,
    child: Option<Child>,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Server {
    pub fn start(name: &str) -> Self {
        let mut server = Self::prepare(name, false);
        server.resume();
        server
    }

    /// With a certificate, and only for those who show one.
    pub fn start_with_tls(name: &str) -> Self {
        let mut server = Self::prepare(name, true);
        server.write_certificates();
        server.resume();
        server
    }

    fn prepare(name: &str, tls: bool) -> Self {
        let directory = std::env::temp_dir().join(format!("barepodtest-etcd-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Server {
            directory,
            client: free_port(),
            peer: free_port(),
            tls,
            child: None,
        }
    }

    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.client)
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// Starts it, the first time or again on what it has written.
    pub fn resume(&mut self) {
        let (url, peer) = (self.url(), format!("http://127.0.0.1:{}", self.peer));
        let mut command = Command::new("etcd");
        command.args(["--name", "one", "--data-dir", &self.path("data"), "--logger", "zap"]);
        command.args(["--log-outputs", &self.path("log"), "--max-request-bytes", "4194304"]);
        command.args(["--listen-client-urls", &url, "--advertise-client-urls", &url]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("one={peer}")]);
        if self.tls {
            command.args([
                "--cert-file",
                &self.path("server.crt"),
                "--key-file",
                &self.path("server.key"),
            ]);
            command.args(["--client-cert-auth", "--trusted-ca-file", &self.path("ca.crt")]);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("etcd is installed (Debian: etcd-server)");
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.etcdctl(&["endpoint", "health"]).contains("is healthy") {
            assert!(
                Instant::now() < deadline,
                "etcd does not start, see {}",
                self.path("log")
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn options(&self, prefix: &str) -> EtcdOptions {
        let mut options = EtcdOptions::new(vec![self.url()]);
        options.prefix = prefix.into();
        if self.tls {
            let file = |name: &str| Some(self.directory.join(name));
            (options.ca_file, options.cert_file) = (file("ca.crt"), file("client.crt"));
            options.key_file = file("client.key");
        }
        options
    }

    pub async fn connect(&self, prefix: &str) -> Etcd {
        Etcd::connect(self.options(prefix)).await.unwrap()
    }

    /// What etcd's own client says, on both outputs.
    pub fn etcdctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.url()]);
        if self.tls {
            command.args(["--cacert", &self.path("ca.crt"), "--cert", &self.path("client.crt")]);
            command.args(["--key", &self.path("client.key")]);
        }
        let output = command
            .args(arguments)
            .output()
            .expect("etcdctl is installed (Debian: etcd-client)");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn write_certificates(&self) {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(self.path("ca.crt"), authority.self_signed(&key).unwrap().pem()).unwrap();
        let authority = Issuer::new(authority, key);
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let certificate = params.signed_by(&key, &authority).unwrap();
            std::fs::write(self.path(&format!("{name}.crt")), certificate.pem()).unwrap();
            std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
