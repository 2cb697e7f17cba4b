//! Kubeconfig files with everything inside, so that they can be copied to another machine.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::pki::{self, Pair};

/// Writes a kubeconfig for `user` at `path`; only its owner may read it, as it holds a private key.
pub fn write(path: &Path, server: &str, ca: &Path, user: &str, pair: &Pair) -> Result<()> {
    let data = |path: &Path| -> Result<String> {
        Ok(STANDARD.encode(fs::read(path).with_context(|| format!("read {}", path.display()))?))
    };
    // JSON is YAML: no need of a writer with its own idea of quoting.
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "barepod", "cluster": {"server": server, "certificate-authority-data": data(ca)?}}],
        "users": [{"name": user, "user": {"client-certificate-data": data(&pair.cert)?, "client-key-data": data(&pair.key)?}}],
        "contexts": [{"name": "barepod", "context": {"cluster": "barepod", "user": user}}],
        "current-context": "barepod",
    });
    pki::write(path, &(serde_json::to_string_pretty(&config)? + "\n"), 0o600)
}
