//! The node API's view of the agent: what `kubectl logs`, `exec`, `attach` and `port-forward` reach in the end.

mod attach;
mod dial;
mod exec;
mod terminal;
mod tls;

use std::sync::Arc;

use barepod_streams::{Error, ExecRequest, LogSource, Node, Session};
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;

use crate::pods::registry::{ContainerView, Registry, View};

pub use tls::server_config;

/// Serves the registry's pods.
pub struct NodeApi {
    /// The pods.
    pub registry: Registry,
    /// Where sandboxes have their sockets.
    pub run_dir: std::path::PathBuf,
}

impl NodeApi {
    fn pod(&self, namespace: &str, name: &str) -> Result<Arc<View>, Error> {
        self.registry
            .find(namespace, name)
            .ok_or_else(|| Error::NotFound(format!("pod \"{name}_{namespace}\" not found")))
    }
}

fn container<'a>(view: &'a View, name: &str) -> Result<&'a ContainerView, Error> {
    view.containers
        .get(name)
        .ok_or_else(|| Error::NotFound(format!("container not found ({name:?})")))
}

impl Node for NodeApi {
    fn pods(&self) -> serde_json::Value {
        let item = |view: &Arc<View>| -> Option<serde_json::Value> {
            let mut pod: serde_json::Value = serde_json::from_str(view.pod.text.as_str()).ok()?;
            pod["status"] = serde_json::json!(view.status);
            Some(pod)
        };
        let items: Vec<_> = self.registry.all().iter().filter_map(item).collect();
        serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
    }

    fn container_logs<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        name: &'a str,
        previous: bool,
    ) -> BoxFuture<'a, Result<LogSource, Error>> {
        Box::pin(async move {
            let view = self.pod(namespace, pod)?;
            let it = container(&view, name)?;
            if previous {
                let path = it.previous_log.clone();
                let path = path.ok_or_else(|| {
                    Error::BadRequest(format!(
                        "previous terminated container {name:?} in pod {pod:?} not found"
                    ))
                })?;
                return Ok(LogSource {
                    path,
                    finished: tokio::sync::watch::channel(true).1,
                });
            }
            let waiting = || {
                Error::BadRequest(format!(
                    "container {name:?} in pod {pod:?} is waiting to start: {}",
                    waits_for(&view, name)
                ))
            };
            Ok(LogSource {
                path: it.log.clone().ok_or_else(waiting)?,
                finished: it.finished.clone(),
            })
        })
    }

    fn exec<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        name: &'a str,
        request: ExecRequest,
    ) -> BoxFuture<'a, Result<Session, Error>> {
        Box::pin(async move { exec::exec(&*self.pod(namespace, pod)?, name, request).await })
    }

    fn attach<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        name: &'a str,
        request: ExecRequest,
    ) -> BoxFuture<'a, Result<Session, Error>> {
        Box::pin(async move {
            let view = self.pod(namespace, pod)?;
            let dir = self.run_dir.join("pods").join(crate::pods::shape::uid(&view.pod));
            attach::attach(&view, &dir, name, request).await
        })
    }

    fn dial<'a>(&'a self, namespace: &'a str, pod: &'a str, port: u16) -> BoxFuture<'a, Result<TcpStream, Error>> {
        Box::pin(async move {
            let view = self.pod(namespace, pod)?;
            if view.monitor.is_none() {
                return Err(Error::BadRequest(format!("pod {pod:?} is not running")));
            }
            dial::dial(view.netns.clone(), port).await
        })
    }
}

/// Why a container waits, as its status says.
fn waits_for(view: &View, name: &str) -> String {
    let status = view.status.as_ref();
    let all = status.into_iter().flat_map(|it| {
        it.container_statuses
            .iter()
            .chain(&it.init_container_statuses)
            .flatten()
    });
    let state = all
        .filter(|it| it.name == name)
        .filter_map(|it| it.state.as_ref()?.waiting.as_ref()?.reason.clone())
        .next();
    state.unwrap_or_else(|| "ContainerCreating".into())
}
