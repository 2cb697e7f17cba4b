//! Where a stream goes: the node of a pod, a pod's own port, or an endpoint of a service.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::Engine;
use super::request::{Query, ResourcePath};
use super::status::{ApiError, ApiResult};
use crate::http::{Peer, Security};

/// The other end of a stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Destination {
    /// Who is called.
    pub peer: Peer,
    /// The path and query there.
    pub path: String,
    /// Whether failures come as plain text that is to become a Status.
    pub describes_errors: bool,
}

/// Finds the other end. `None` if there is nothing to read yet.
pub fn locate(engine: &Engine, path: &ResourcePath, query: &Query, raw_query: &str) -> ApiResult<Option<Destination>> {
    let namespace = path.namespace.as_deref().unwrap_or("");
    let name = path.name.as_deref().unwrap_or("");
    let suffix = if raw_query.is_empty() {
        String::new()
    } else {
        format!("?{raw_query}")
    };
    let subresource = path.subresource.as_deref().unwrap_or("");
    let rest = format!("/{}{suffix}", path.rest.as_deref().unwrap_or(""));
    match (path.resource.as_str(), subresource) {
        ("nodes", _) => {
            let (_, name, _) = split_target(name);
            let peer = node(engine, name)?;
            Ok(Some(Destination {
                peer,
                path: rest,
                describes_errors: false,
            }))
        }
        ("services", _) => Ok(Some(Destination {
            peer: service(engine, namespace, name)?,
            path: rest,
            describes_errors: false,
        })),
        (_, "proxy") => {
            let peer = pod_port(engine, namespace, name)?;
            Ok(Some(Destination {
                peer,
                path: rest,
                describes_errors: false,
            }))
        }
        _ => {
            let pod = engine.lookup("", "pods", namespace, name)?;
            let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or("");
            let host = text("/spec/nodeName");
            let endpoint = match subresource {
                "log" => "containerLogs",
                "exec" => "exec",
                "attach" => "attach",
                _ => "portForward",
            };
            if subresource == "portforward" {
                require_host(host, name)?;
                let path = format!("/portForward/{namespace}/{name}{suffix}");
                return Ok(Some(Destination {
                    peer: node(engine, host)?,
                    path,
                    describes_errors: true,
                }));
            }
            let container = container(&pod, name, query.text("container"))?;
            if subresource == "log" {
                if host.is_empty() {
                    return Ok(None);
                }
            } else {
                require_host(host, name)?;
                let phase = text("/status/phase");
                if matches!(phase, "Succeeded" | "Failed") {
                    let what = if subresource == "exec" {
                        "exec into a container"
                    } else {
                        "attach a container"
                    };
                    return Err(ApiError::bad_request(format!(
                        "cannot {what} in a completed pod; current phase is {phase}"
                    )));
                }
            }
            let path = format!("/{endpoint}/{namespace}/{name}/{container}{suffix}");
            Ok(Some(Destination {
                peer: node(engine, host)?,
                path,
                describes_errors: true,
            }))
        }
    }
}

fn require_host(host: &str, pod: &str) -> ApiResult<()> {
    if host.is_empty() {
        Err(ApiError::bad_request(format!(
            "pod {pod} does not have a host assigned"
        )))
    } else {
        Ok(())
    }
}

/// The container that is meant: the one asked for, or the only one.
fn container(pod: &Value, name: &str, asked: &str) -> ApiResult<String> {
    let names = |list: &str| -> Vec<&str> {
        let list = pod
            .pointer(list)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        list.iter().filter_map(|container| container["name"].as_str()).collect()
    };
    let (containers, init) = (names("/spec/containers"), names("/spec/initContainers"));
    let ephemeral = names("/spec/ephemeralContainers");
    if !asked.is_empty() {
        if containers.contains(&asked) || init.contains(&asked) || ephemeral.contains(&asked) {
            return Ok(asked.to_owned());
        }
        return Err(ApiError::bad_request(format!(
            "container {asked} is not valid for pod {name}"
        )));
    }
    let default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    if let [only] = containers.as_slice()
        && init.is_empty()
    {
        return Ok((*only).to_owned());
    }
    if let Some(default) = default.filter(|default| containers.contains(default)) {
        return Ok(default.to_owned());
    }
    if let [only] = containers.as_slice() {
        return Ok((*only).to_owned());
    }
    let mut message = format!(
        "a container name must be specified for pod {name}, choose one of: [{}]",
        containers.join(" ")
    );
    if !init.is_empty() {
        message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
    }
    Err(ApiError::bad_request(message))
}

/// The API of a node.
fn node(engine: &Engine, name: &str) -> ApiResult<Peer> {
    let node = engine.lookup("", "nodes", "", name)?;
    let addresses = node
        .pointer("/status/addresses")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let address = ["InternalIP", "ExternalIP"].iter().find_map(|wanted| {
        let address = addresses.iter().find(|address| address["type"] == *wanted)?;
        address["address"].as_str()?.parse::<IpAddr>().ok()
    });
    let address = address.ok_or_else(|| ApiError::plain(format!("no preferred addresses found for node {name:?}")))?;
    let port = node
        .pointer("/status/daemonEndpoints/kubeletEndpoint/Port")
        .and_then(Value::as_u64);
    let port = port
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0)
        .unwrap_or(10250);
    Ok(Peer {
        address: SocketAddr::new(address, port),
        security: Security::Node,
    })
}

/// Reads `[scheme:]name[:port]`.
fn split_target(text: &str) -> (&str, &str, &str) {
    match text.splitn(3, ':').collect::<Vec<_>>().as_slice() {
        [scheme, name, port] => (scheme, name, port),
        [scheme @ ("http" | "https"), name] => (scheme, name, ""),
        [name, port] => ("", name, port),
        _ => ("", text, ""),
    }
}

/// How a pod or a Service is spoken to. Nobody vouches for the certificates of pods (`kubectl proxy` documents the
/// scheme; kube-apiserver does not verify them either).
fn security(scheme: &str) -> ApiResult<Security> {
    match scheme {
        "" | "http" => Ok(Security::None),
        "https" => Ok(Security::Anybody),
        other => Err(ApiError::bad_request(format!(
            "proxying with the scheme {other:?} is not supported"
        ))),
    }
}

fn pod_port(engine: &Engine, namespace: &str, target: &str) -> ApiResult<Peer> {
    let (scheme, name, port) = split_target(target);
    let security = security(scheme)?;
    let pod = engine.lookup("", "pods", namespace, name)?;
    let address = pod
        .pointer("/status/podIP")
        .and_then(Value::as_str)
        .and_then(|ip| ip.parse::<IpAddr>().ok());
    let address =
        address.ok_or_else(|| ApiError::bad_request(format!("address not allowed: pod {name} has no address")))?;
    let containers = pod
        .pointer("/spec/containers")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut ports = containers
        .iter()
        .filter_map(|container| container["ports"].as_array())
        .flatten();
    let number = |port: &Value| port["containerPort"].as_u64().and_then(|port| u16::try_from(port).ok());
    let port = match port.parse::<u16>() {
        Ok(port) => Some(port),
        Err(_) if port.is_empty() => Some(ports.next().and_then(number).unwrap_or(80)),
        Err(_) => ports.find(|candidate| candidate["name"] == port).and_then(number),
    };
    let port = port.ok_or_else(|| ApiError::bad_request(format!("pod {name} has no port of that name")))?;
    Ok(Peer {
        address: SocketAddr::new(address, port),
        security,
    })
}

fn service(engine: &Engine, namespace: &str, target: &str) -> ApiResult<Peer> {
    let (scheme, name, port) = split_target(target);
    let security = security(scheme)?;
    let address = endpoint(engine, namespace, name, port)?;
    Ok(Peer { address, security })
}

/// Where Services and their endpoints are looked up.
pub trait Lookup: Sync {
    /// An object by resource and name.
    fn lookup(&self, group: &str, resource: &str, namespace: &str, name: &str) -> ApiResult<Value>;

    /// Every object of a resource in a namespace.
    fn lookup_all(&self, group: &str, resource: &str, namespace: &str) -> Vec<Value>;
}

impl Lookup for Engine {
    fn lookup(&self, group: &str, resource: &str, namespace: &str, name: &str) -> ApiResult<Value> {
        Engine::lookup(self, group, resource, namespace, name)
    }

    fn lookup_all(&self, group: &str, resource: &str, namespace: &str) -> Vec<Value> {
        Engine::lookup_all(self, group, resource, namespace)
    }
}

/// Host and port by which this server itself reaches a service: an endpoint, or the name that it stands for.
pub fn reach(engine: &dyn Lookup, namespace: &str, name: &str, port: &str) -> ApiResult<(String, u16)> {
    let service = engine.lookup("", "services", namespace, name)?;
    if service["spec"]["type"] == "ExternalName"
        && let Some(host) = service["spec"]["externalName"].as_str()
        && let Ok(port) = port.parse()
    {
        return Ok((host.to_owned(), port));
    }
    let address = endpoint(engine, namespace, name, port)?;
    Ok((address.ip().to_string(), address.port()))
}

/// Where a ready endpoint of a service listens; `port` is a number of the service's or a port's name, or empty for its
/// only one.
pub fn endpoint(engine: &dyn Lookup, namespace: &str, name: &str, port: &str) -> ApiResult<SocketAddr> {
    let service = engine.lookup("", "services", namespace, name)?;
    let unavailable = |why: String| ApiError::unavailable(why);
    let ports = service
        .pointer("/spec/ports")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let matching = |candidate: &&Value| match port.parse::<u64>() {
        Ok(number) => candidate["port"] == number,
        Err(_) => candidate["name"].as_str().unwrap_or("") == port,
    };
    let wanted = if port.is_empty() && ports.len() == 1 {
        ports.first()
    } else {
        ports.iter().find(matching)
    };
    let wanted = wanted.ok_or_else(|| unavailable(format!("no service port {port:?} found for service {name:?}")))?;
    let port_name = wanted["name"].as_str().unwrap_or("");
    let slices = engine.lookup_all("discovery.k8s.io", "endpointslices", namespace);
    let own = slices
        .iter()
        .filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == name);
    for slice in own {
        let ports = slice["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        let port = ports
            .iter()
            .find(|port| port["name"].as_str().unwrap_or("") == port_name);
        let Some(port) = port
            .and_then(|port| port["port"].as_u64())
            .and_then(|port| u16::try_from(port).ok())
        else {
            continue;
        };
        let endpoints = slice["endpoints"].as_array().map(Vec::as_slice).unwrap_or_default();
        let ready = endpoints
            .iter()
            .filter(|endpoint| endpoint["conditions"]["ready"] != false);
        let address = ready
            .filter_map(|endpoint| endpoint["addresses"][0].as_str()?.parse::<IpAddr>().ok())
            .next();
        if let Some(address) = address {
            return Ok(SocketAddr::new(address, port));
        }
    }
    Err(unavailable(format!("no endpoints available for service {name:?}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn targets() {
        assert_eq!(split_target("a"), ("", "a", ""));
        assert_eq!(split_target("a:80"), ("", "a", "80"));
        assert_eq!(split_target("http:a:80"), ("http", "a", "80"));
        assert_eq!(split_target("https:a:"), ("https", "a", ""));
    }

    #[test]
    fn containers() {
        let one = json!({"spec": {"containers": [{"name": "a"}]}});
        assert_eq!(container(&one, "p", "").unwrap(), "a");
        assert_eq!(
            container(&one, "p", "b").unwrap_err().message,
            "container b is not valid for pod p"
        );
        let two = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        let expected =
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]";
        assert_eq!(container(&two, "p", "").unwrap_err().message, expected);
        assert_eq!(container(&two, "p", "i").unwrap(), "i");
    }
}
