//! Which request means what.

use http::Uri;

use crate::error::Error;
use crate::node::ExecRequest;
use crate::query::{Query, percent_decode};

/// A request, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Healthz,
    Pods,
    Logs(Container),
    Exec(Container),
    Attach(Container),
    PortForward { namespace: String, pod: String },
}

/// A container's place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
}

impl Route {
    /// Understands a path.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let segments: Vec<_> = uri.path().trim_matches('/').split('/').map(percent_decode).collect();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return None;
        }
        let container = |namespace: &str, pod: &str, container: &str| Container {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
        };
        // The kubelet also takes the pod's UID before the container; names are unique without it.
        Some(match *segments.as_slice() {
            ["healthz"] => Self::Healthz,
            ["pods"] => Self::Pods,
            ["containerLogs", namespace, pod, name] => Self::Logs(container(namespace, pod, name)),
            ["exec", namespace, pod, name] | ["exec", namespace, pod, _, name] => {
                Self::Exec(container(namespace, pod, name))
            }
            ["attach", namespace, pod, name] | ["attach", namespace, pod, _, name] => {
                Self::Attach(container(namespace, pod, name))
            }
            ["portForward", namespace, pod] | ["portForward", namespace, pod, _] => Self::PortForward {
                namespace: namespace.to_owned(),
                pod: pod.to_owned(),
            },
            _ => return None,
        })
    }
}

impl ExecRequest {
    /// Reads the streams a client wants, under the kubelet's names or the API's.
    pub(crate) fn of(query: &Query, needs_command: bool) -> Result<Self, Error> {
        let tty = query.flag(&["tty"]);
        let request = Self {
            command: query.all("command").map(str::to_owned).collect(),
            stdin: query.flag(&["input", "stdin"]),
            stdout: query.flag(&["output", "stdout"]),
            stderr: query.flag(&["error", "stderr"]) && !tty,
            tty,
        };
        if !request.stdin && !request.stdout && !request.stderr {
            return Err(Error::BadRequest(
                "you must specify at least 1 of stdin, stdout, stderr".to_owned(),
            ));
        }
        if needs_command && request.command.is_empty() {
            return Err(Error::BadRequest("you must specify the command to run".to_owned()));
        }
        Ok(request)
    }
}

/// The ports of a port-forward: `port=80&port=443`, or `ports=80,443`.
pub(crate) fn ports(query: &Query) -> Result<Vec<u16>, Error> {
    let texts = query
        .all("port")
        .chain(query.all("ports"))
        .flat_map(|text| text.split(','));
    texts
        .map(|text| match text.trim().parse() {
            Ok(0) | Err(_) => Err(Error::BadRequest(format!("port {text:?} is not between 1 and 65535"))),
            Ok(port) => Ok(port),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_routes() {
        let route = |path: &str| Route::of(&path.parse().unwrap());
        assert_eq!(route("/healthz"), Some(Route::Healthz));
        let place = Container {
            namespace: "a".into(),
            pod: "b".into(),
            container: "c".into(),
        };
        assert_eq!(route("/exec/a/b/c?command=x"), Some(Route::Exec(place)));
        assert_eq!(
            route("/portForward/a/b%2Fc/"),
            Some(Route::PortForward {
                namespace: "a".into(),
                pod: "b/c".into()
            })
        );
        for unknown in ["/", "/exec/a/b", "/exec//b/c", "/containerLogs/a/b/c/d", "/run/a/b/c"] {
            assert_eq!(route(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn streams_and_ports() {
        let query = |text: &str| Query::of(&format!("/?{text}").parse().unwrap());
        let request = ExecRequest::of(&query("command=sh&input=1&output=1&error=1&tty=1"), true).unwrap();
        assert!(request.stdin && request.stdout && !request.stderr && request.tty);
        assert!(ExecRequest::of(&query("command=sh"), true).is_err());
        assert!(ExecRequest::of(&query("stdout=true"), true).is_err());
        assert!(ExecRequest::of(&query("stdout=true"), false).is_ok());
        assert_eq!(ports(&query("port=80&ports=81,82")).unwrap(), [80, 81, 82]);
        assert!(ports(&query("ports=0")).is_err() && ports(&query("port=65536")).is_err());
    }
}
