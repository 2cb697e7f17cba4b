//! The part of a kubeconfig file that says which server, and who asks.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use crate::error::Error;
use crate::object::decode;
use crate::yaml;

/// A server and who asks it.
#[derive(Clone)]
pub struct Kubeconfig {
    /// `host:port`.
    pub(crate) server: String,
    /// What the certificate must be for.
    pub(crate) server_name: String,
    /// Who may sign the server's certificate, in PEM.
    pub(crate) authority: Vec<u8>,
    /// The client's certificate and key, in PEM.
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
    /// A bearer token.
    pub(crate) token: Option<String>,
}

impl std::fmt::Debug for Kubeconfig {
    /// Without its secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubeconfig")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default)]
#[derive(Default)]
struct File {
    current_context: String,
    contexts: Vec<Named>,
    clusters: Vec<Named>,
    users: Vec<Named>,
}

/// An entry of any of the lists.
#[derive(Deserialize)]
struct Named {
    name: String,
    context: Option<Context>,
    cluster: Option<Cluster>,
    user: Option<User>,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    user: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    tls_server_name: Option<String>,
    insecure_skip_tls_verify: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
}

impl Kubeconfig {
    /// Reads a file and those it refers to.
    ///
    /// # Errors
    /// One cannot be read, or says what this client cannot do.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let problem = |problem: String| Error::Kubeconfig {
            path: path.display().to_string(),
            problem,
        };
        let text = std::fs::read_to_string(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
        Self::parse(&text, path.parent().unwrap_or(Path::new(""))).map_err(problem)
    }

    /// Paths in it are relative to `dir`.
    fn parse(text: &str, dir: &Path) -> Result<Self, String> {
        let wrong = |error| format!("is not a kubeconfig file: {error}");
        let document = yaml::documents(text)
            .map_err(wrong)?
            .into_iter()
            .next()
            .unwrap_or_default();
        // Through JSON, for which everything is decoded here.
        let mut file: File = decode(&document.to_string()).map_err(|error| wrong(error.to_string()))?;
        let context = take(&mut file.contexts, &file.current_context, |it| it.context)
            .ok_or_else(|| format!("has no context {:?}", file.current_context))?;
        let cluster = take(&mut file.clusters, &context.cluster, |it| it.cluster)
            .ok_or_else(|| format!("has no cluster {:?}", context.cluster))?;
        let user = take(&mut file.users, &context.user, |it| it.user)
            .ok_or_else(|| format!("has no user {:?}", context.user))?;
        let (server, host) = address(&cluster.server)?;
        if cluster.insecure_skip_tls_verify {
            return Err("asks not to verify the server; give certificate-authority-data instead".into());
        }
        let authority = pem(dir, cluster.certificate_authority_data, cluster.certificate_authority)?
            .ok_or("has no certificate-authority-data for the cluster")?;
        let certificate = pem(dir, user.client_certificate_data, user.client_certificate)?;
        let key = pem(dir, user.client_key_data, user.client_key)?;
        let token = match (user.token, user.token_file) {
            (Some(token), _) => Some(token),
            (None, Some(path)) => Some(String::from_utf8_lossy(&read(dir, &path)?).trim().to_owned()),
            (None, None) => None,
        };
        let identity = certificate.zip(key);
        if identity.is_none() && token.is_none() {
            return Err("has neither a client certificate with its key nor a token for the user".into());
        }
        Ok(Self {
            server,
            server_name: cluster.tls_server_name.unwrap_or(host),
            authority,
            identity,
            token,
        })
    }
}

fn take<T>(list: &mut Vec<Named>, name: &str, of: impl Fn(Named) -> Option<T>) -> Option<T> {
    let at = list.iter().position(|it| it.name == name)?;
    of(list.swap_remove(at))
}

/// `host:port` and host of a URL.
fn address(url: &str) -> Result<(String, String), String> {
    let wrong = || format!("has a server {url:?} that is not of the form https://HOST:PORT");
    let rest = url.strip_prefix("https://").ok_or_else(wrong)?;
    let authority: http::uri::Authority = rest.trim_end_matches('/').parse().map_err(|_| wrong())?;
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let port = authority.port_u16().unwrap_or(443);
    Ok((format!("{}:{port}", authority.host()), host))
}

fn pem(dir: &Path, data: Option<String>, path: Option<PathBuf>) -> Result<Option<Vec<u8>>, String> {
    match (data, path) {
        (Some(data), _) => BASE64
            .decode(data.trim())
            .map(Some)
            .map_err(|error| format!("has data that is not base64: {error}")),
        (None, Some(path)) => read(dir, &path).map(Some),
        (None, None) => Ok(None),
    }
}

fn read(dir: &Path, path: &Path) -> Result<Vec<u8>, String> {
    let path = dir.join(path);
    std::fs::read(&path).map_err(|error| format!("refers to {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: other, context: {cluster: x, user: x}}, {name: c, context: {cluster: k, user: u, namespace: n}}]
clusters: [{name: k, cluster: {server: 'https://127.0.0.1:6443', certificate-authority-data: Y2E=}}]
users: [{name: u, user: {client-certificate-data: Y2VydA==, client-key-data: a2V5}}]
";

    fn parse(text: &str) -> Result<Kubeconfig, String> {
        Kubeconfig::parse(text, Path::new("/nonexistent"))
    }

    #[test]
    fn current_context_is_followed() {
        let it = parse(GOOD).unwrap();
        assert_eq!(
            (it.server.as_str(), it.server_name.as_str()),
            ("127.0.0.1:6443", "127.0.0.1")
        );
        assert_eq!(it.authority, b"ca");
        assert_eq!(it.identity, Some((b"cert".to_vec(), b"key".to_vec())));
        assert!(!format!("{it:?}").contains("key"));
    }

    #[test]
    fn hosts_and_ports() {
        for (url, want) in [
            ("https://a.b", Some(("a.b:443", "a.b"))),
            ("https://[::1]:6443/", Some(("[::1]:6443", "::1"))),
            ("http://a", None),
            ("a:6443", None),
        ] {
            let want = want.map(|(server, host)| (server.to_owned(), host.to_owned()));
            assert_eq!(address(url).ok(), want, "{url}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        for (from, to, want) in [
            ("current-context: c", "current-context: d", "no context \"d\""),
            ("user: u,", "user: v,", "no user \"v\""),
            ("https://127", "http://127", "not of the form"),
            (
                "certificate-authority-data: Y2E=",
                "insecure-skip-tls-verify: true",
                "not to verify",
            ),
            ("client-key-data: a2V5", "client-key: key.pem", "/nonexistent/key.pem"),
            (
                "client-key-data: a2V5",
                "exec: {command: x}",
                "neither a client certificate",
            ),
            ("Y2E=", "'???'", "not base64"),
        ] {
            let error = parse(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.contains(want), "{to}: {error}");
        }
    }
}
