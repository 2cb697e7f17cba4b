//! Which requests are streams to somewhere else.

use http::Request;
use hyper::body::Incoming;

use crate::engine::request::ResourcePath;

/// The path of a request that is passed on to a node, a pod or a service.
pub fn stream(request: &Request<Incoming>) -> Option<ResourcePath> {
    let path = request.uri().path();
    // Most requests are decided by this alone.
    let hint = ["/log", "/exec", "/attach", "/portforward", "/proxy"];
    if !hint.iter().any(|word| path.contains(word)) {
        return None;
    }
    ResourcePath::parse(path).filter(is_stream)
}

fn is_stream(path: &ResourcePath) -> bool {
    if !path.group.is_empty() || path.version != "v1" {
        return false;
    }
    let subresource = path.subresource.as_deref().unwrap_or("");
    match path.resource.as_str() {
        "pods" => matches!(subresource, "log" | "exec" | "attach" | "portforward" | "proxy"),
        "nodes" | "services" => subresource == "proxy",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_streams() {
        let stream = |path: &str| is_stream(&ResourcePath::parse(path).unwrap());
        assert!(stream("/api/v1/namespaces/a/pods/b/exec"));
        assert!(stream("/api/v1/nodes/n/proxy/stats"));
        assert!(!stream("/api/v1/namespaces/a/pods/log"));
        assert!(!stream("/api/v1/namespaces/a/configmaps/b/proxy"));
    }
}
