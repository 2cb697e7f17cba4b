//! The smallest HTTP/1.1 client that serves a probe: one request, the status line of the answer, nothing kept.

use std::io;
use std::sync::{Arc, OnceLock};

use barepod_client::AnyCertificate;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than a status line needs.
const LINE_BYTES: usize = 1024;

/// A request.
pub struct Get<'a> {
    /// `host:port` for the `Host` header.
    pub host: String,
    /// Path with query.
    pub path: &'a str,
    /// Headers that override the usual ones.
    pub headers: &'a [(String, String)],
}

impl Get<'_> {
    fn text(&self) -> String {
        let given = |name: &str| self.headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        let mut text = format!("GET {slash}{} HTTP/1.1\r\n", self.path);
        for (name, value) in [
            ("Host", self.host.as_str()),
            ("User-Agent", "kube-probe/1.36"),
            ("Accept", "*/*"),
        ] {
            if !given(name) {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let safe = |text: &str| !text.contains(['\r', '\n']);
        // An empty value removes a usual header.
        for (name, value) in self
            .headers
            .iter()
            .filter(|(name, value)| !value.is_empty() && safe(name) && safe(value))
        {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("Connection: close\r\n\r\n");
        text
    }
}

/// Sends the request and returns the answer's status code.
pub async fn get<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, request: &Get<'_>) -> io::Result<u16> {
    stream.write_all(request.text().as_bytes()).await?;
    stream.flush().await?;
    let mut line = Vec::with_capacity(64);
    let mut chunk = [0_u8; 256];
    loop {
        let end = line
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .or_else(|| line.iter().position(|byte| *byte == b'\n'));
        if let Some(end) = end {
            return status(&line[..end]).ok_or_else(|| io::Error::other("the answer is not HTTP"));
        }
        let read = stream.read(&mut chunk).await?;
        if read == 0 || line.len() > LINE_BYTES {
            return Err(io::Error::other("the answer has no status line"));
        }
        line.extend_from_slice(&chunk[..read]);
    }
}

/// The same over TLS. Whose certificate it is does not matter to a probe.
pub async fn get_tls(stream: TcpStream, host: &str, request: &Get<'_>) -> io::Result<u16> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions");
        Arc::new(
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider)))
                .with_no_client_auth(),
        )
    });
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = tokio_rustls::TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await?;
    get(stream, request).await
}

fn status(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    words.next().filter(|it| it.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &'static [u8]) -> io::Result<u16> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(4096);
            let serve = async move {
                let mut request = vec![0; 4096];
                let read = far.read(&mut request).await.unwrap();
                far.write_all(text).await.unwrap();
                request.truncate(read);
                request
            };
            let headers = [
                ("X-A".to_owned(), "b".to_owned()),
                ("accept".to_owned(), "text/plain".to_owned()),
            ];
            let get_request = Get {
                host: "h:1".into(),
                path: "x?y",
                headers: &headers,
            };
            let (status, request) = tokio::join!(get(near, &get_request), serve);
            let request = String::from_utf8(request).unwrap();
            assert!(request.starts_with("GET /x?y HTTP/1.1\r\nHost: h:1\r\n"), "{request}");
            assert!(
                request.contains("X-A: b\r\naccept: text/plain\r\nConnection: close\r\n\r\n"),
                "{request}"
            );
            assert!(!request.contains("Accept: */*"), "{request}");
            status
        })
    }

    #[test]
    fn status_line_is_all_that_is_read() {
        assert_eq!(answer(b"HTTP/1.1 204 No Content\r\nX: y\r\n").unwrap(), 204);
        assert_eq!(answer(b"HTTP/1.0 500 Oops\n").unwrap(), 500);
        assert!(answer(b"SSH-2.0-x\r\n").is_err());
        assert!(answer(b"").is_err());
    }
}
