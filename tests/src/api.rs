//! A small synchronous API client for benches: one TLS connection, one request at a time, nothing between the clock and
//! the socket. Works against any Kubernetes API server that a kubeconfig with a client certificate or a token names.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// A server and what it takes to be let in.
#[derive(Clone)]
pub struct Server {
    host: String,
    port: u16,
    tls: Arc<ClientConfig>,
    token: Option<String>,
}

impl Server {
    /// From a kubeconfig's current context; `server` overrides the address in it.
    pub fn from_kubeconfig(path: &Path, server: Option<&str>) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let config: Value = serde_saphyr::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        let named = |list: &str, name: &Value, item: &str| -> Value {
            let all = config[list].as_array().cloned().unwrap_or_default();
            all.into_iter()
                .find(|e| e["name"] == *name)
                .map(|e| e[item].clone())
                .unwrap_or_default()
        };
        let context = named("contexts", &config["current-context"], "context");
        let (cluster, user) = (
            named("clusters", &context["cluster"], "cluster"),
            named("users", &context["user"], "user"),
        );
        let material = |of: &Value, name: &str| -> Result<Option<Vec<u8>>> {
            if let Some(data) = of[format!("{name}-data")].as_str() {
                return Ok(Some(STANDARD.decode(data)?));
            }
            of[name]
                .as_str()
                .map(|file| std::fs::read(file).with_context(|| format!("read {file}")))
                .transpose()
        };
        let mut roots = RootCertStore::empty();
        for cert in CertificateDer::pem_slice_iter(&material(&cluster, "certificate-authority")?.unwrap_or_default()) {
            roots.add(cert?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let tls = match (material(&user, "client-certificate")?, material(&user, "client-key")?) {
            (Some(cert), Some(key)) => builder.with_client_auth_cert(
                CertificateDer::pem_slice_iter(&cert).collect::<Result<_, _>>()?,
                PrivateKeyDer::from_pem_slice(&key)?,
            )?,
            _ => builder.with_no_client_auth(),
        };
        let address = server
            .or(cluster["server"].as_str())
            .context("the kubeconfig names no server")?;
        let address = address
            .strip_prefix("https://")
            .context("the server's address must begin with https://")?;
        let (host, port) = address
            .trim_end_matches('/')
            .rsplit_once(':')
            .unwrap_or((address, "443"));
        Ok(Server {
            host: host.to_owned(),
            port: port.parse()?,
            tls: Arc::new(tls),
            token: user["token"].as_str().map(str::to_owned),
        })
    }

    /// The server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A new connection.
    pub fn connect(&self) -> Result<Connection> {
        let socket = TcpStream::connect((self.host.as_str(), self.port))
            .with_context(|| format!("connect to {}:{}", self.host, self.port))?;
        self.over(socket)
    }

    /// A request as it goes over the wire.
    pub fn request(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
        let (host, port, length) = (&self.host, self.port, body.len());
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}:{port}\r\naccept: application/json\r\n\
             content-type: {content_type}\r\ncontent-length: {length}\r\n"
        );
        if let Some(token) = &self.token {
            request.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }

    /// A connection over a socket that leads to the server.
    pub fn over(&self, socket: TcpStream) -> Result<Connection> {
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(self.host.clone())?;
        let tls = StreamOwned::new(ClientConnection::new(self.tls.clone(), name)?, socket);
        Ok(Connection {
            stream: BufReader::with_capacity(64 * 1024, tls),
            server: self.clone(),
        })
    }
}

/// One connection.
pub struct Connection {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    server: Server,
}

impl Connection {
    /// Sends a request and reads the whole answer.
    pub fn call(&mut self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        self.send(method, path, content_type, body)?;
        let (status, length) = self.head()?;
        let mut answer = Vec::new();
        match length {
            Some(length) => {
                answer.resize(length, 0);
                self.stream.read_exact(&mut answer)?;
            }
            None => while self.chunk(&mut answer)? {},
        }
        Ok((status, answer))
    }

    /// [`Connection::call`] with JSON both ways; a status of 300 and above is an error.
    pub fn json(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let content_type = if method == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let bytes = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let (status, answer) = self.call(method, path, content_type, &bytes)?;
        if status >= 300 {
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(serde_json::from_slice(&answer)?)
    }

    /// Begins a watch; its events come from [`Watch::next`].
    pub fn watch(mut self, path: &str) -> Result<Watch> {
        self.send("GET", path, "application/json", &[])?;
        let (status, _) = self.head()?;
        if status != 200 {
            bail!("watch {path}: {status}");
        }
        Ok(Watch {
            connection: self,
            buffer: Vec::new(),
        })
    }

    /// [`Connection::call`] for an answer that does not matter, so that reading it takes nothing from the machine that
    /// is measured; a status of 300 and above is an error.
    pub fn done(&mut self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Result<()> {
        let (status, answer) = self.call(method, path, content_type, body)?;
        if status >= 300 {
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    }

    /// The session and its socket, for who drives them otherwise.
    pub fn into_parts(self) -> (ClientConnection, TcpStream) {
        self.stream.into_inner().into_parts()
    }

    fn send(&mut self, method: &str, path: &str, content_type: &str, body: &[u8]) -> io::Result<()> {
        let bytes = self.server.request(method, path, content_type, body);
        let stream = self.stream.get_mut();
        stream.write_all(&bytes)?;
        stream.flush()
    }

    /// Status and content length; without a length the body is in chunks.
    fn head(&mut self) -> Result<(u16, Option<usize>)> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line
            .split(' ')
            .nth(1)
            .context("the server closed the connection")?
            .parse()?;
        let mut length = None;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let header = line.trim_end();
            if header.is_empty() {
                return Ok((status, length));
            }
            if let Some((name, value)) = header.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse()?);
            }
        }
    }

    /// Appends one chunk; false at the end.
    fn chunk(&mut self, into: &mut Vec<u8>) -> Result<bool> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16)
            .context("length of a chunk")?;
        let start = into.len();
        into.resize(start + length + 2, 0);
        self.stream.read_exact(&mut into[start..])?;
        into.truncate(start + length);
        Ok(length > 0)
    }
}

/// A watch under way.
pub struct Watch {
    connection: Connection,
    buffer: Vec<u8>,
}

impl Watch {
    /// How long [`Watch::next`] may wait from now on.
    pub fn timeout(&mut self, limit: Duration) -> Result<()> {
        // Zero would mean no limit, see socket(7).
        let limit = limit.max(Duration::from_millis(1));
        let socket = &self.connection.stream.get_ref().sock;
        Ok(socket.set_read_timeout(Some(limit))?)
    }

    /// Waits for the next event.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would have to hide the end of the stream in an Option"
    )]
    pub fn next(&mut self) -> Result<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(serde_json::from_slice(&line)?);
            }
            if !self.connection.chunk(&mut self.buffer)? {
                bail!("the watch ended");
            }
        }
    }
}
