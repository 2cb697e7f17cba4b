//! `/version`.

use http::Response;
use serde_json::json;

use super::body::Body;
use super::reply;
use super::request::Request;

/// The Kubernetes API that this server speaks.
pub const GIT_VERSION: &str = "v1.36.0+barepod";

pub(super) fn version(request: &Request) -> Response<Body> {
    let info = json!({
        "major": "1", "minor": "36", "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, arch()),
        "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
    });
    reply::value(request, 200, &info)
}

/// The name of the architecture as Go and Kubernetes have it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
