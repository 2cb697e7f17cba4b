//! The network thread: one thread owns the node's network, because the kernel's RTNL mutex makes several slower than
//! one (see SPECIFICATION.md), and everything that is queued when it looks is done in one batch.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use barepod_netplugin::{AddRequest, Attachment, Config, HostPort, Network, ServicePort};
use tokio::sync::{mpsc, oneshot};

/// How many requests may wait; more than the node has pods.
const QUEUE: usize = 1024;

/// Sends requests to the network thread; the thread ends when the last handle is gone.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
}

/// What went wrong, in one line with its causes.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

type Answer<T> = oneshot::Sender<Result<T, Error>>;

#[derive(Debug)]
enum Request {
    Add {
        uid: String,
        netns: Arc<OwnedFd>,
        host_ports: Vec<HostPort>,
        answer: Answer<Attachment>,
    },
    Remove {
        uid: String,
        answer: Answer<()>,
    },
    Attachments {
        answer: Answer<Vec<Attachment>>,
    },
    Collect {
        live: Vec<String>,
        answer: Answer<()>,
    },
    Sync {
        services: Vec<ServicePort>,
        answer: Answer<()>,
    },
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Makes the node's network, or finds it made, and starts the thread.
pub async fn open(config: Config) -> Result<Handle, Error> {
    let (requests, queue) = mpsc::channel(QUEUE);
    let (ready, opened) = oneshot::channel();
    let thread = std::thread::Builder::new().name("network".into());
    thread
        .spawn(move || match Network::open(config) {
            Ok(network) => {
                let _ = ready.send(Ok(()));
                serve(network, queue);
            }
            Err(error) => {
                let _ = ready.send(Err(Error(chain(&error))));
            }
        })
        .map_err(|error| Error(format!("start network thread: {error}")))?;
    opened.await.map_err(|_| Error("network thread ended".into()))??;
    Ok(Handle { requests })
}

fn serve(mut network: Network, mut queue: mpsc::Receiver<Request>) {
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while let Ok(next) = queue.try_recv() {
            batch.push(next);
        }
        run(&mut network, batch);
    }
}

/// Connects pods first: somebody waits for them. Of several proxy states only the last counts.
fn run(network: &mut Network, batch: Vec<Request>) {
    let mut adds = Vec::new();
    let mut syncs = Vec::new();
    let mut rest = Vec::new();
    for request in batch {
        match request {
            Request::Add {
                uid,
                netns,
                host_ports,
                answer,
            } => adds.push((uid, netns, host_ports, answer)),
            Request::Sync { services, answer } => syncs.push((services, answer)),
            other => rest.push(other),
        }
    }
    if !adds.is_empty() {
        add(network, adds);
    }
    for request in rest {
        match request {
            Request::Remove { uid, answer } => {
                reply(answer, network.remove(&uid).map_err(|error| Error(chain(&error))))
            }
            Request::Attachments { answer } => reply(answer, Ok(network.attachments())),
            Request::Collect { live, answer } => {
                let errors: Vec<_> = network
                    .gc(&live)
                    .into_iter()
                    .filter_map(Result::err)
                    .map(|it| chain(&it))
                    .collect();
                reply(
                    answer,
                    if errors.is_empty() {
                        Ok(())
                    } else {
                        Err(Error(errors.join("; ")))
                    },
                );
            }
            Request::Add { .. } | Request::Sync { .. } => {}
        }
    }
    if let Some((services, _)) = syncs.last() {
        let result = network.sync(services).map_err(|error| Error(chain(&error)));
        if let Ok(synced) = &result {
            for conflict in &synced.conflicts {
                tracing::warn!(conflict, "service port left out");
            }
        }
        let result = result.map(drop);
        for (_, answer) in syncs {
            reply(answer, result.clone());
        }
    }
}

/// A pod to connect: UID, network namespace, ports of the node, and who waits.
type Add = (String, Arc<OwnedFd>, Vec<HostPort>, Answer<Attachment>);

fn add(network: &mut Network, adds: Vec<Add>) {
    let requests: Vec<AddRequest<'_>> = adds
        .iter()
        .map(|(uid, netns, host_ports, _)| AddRequest {
            uid,
            netns: netns.as_fd(),
            host_ports: host_ports.clone(),
        })
        .collect();
    let results = network.add(&requests);
    for ((_, _, _, answer), result) in adds.into_iter().zip(results) {
        reply(answer, result.map_err(|error| Error(chain(&error))));
    }
}

/// Whoever asked may have gone: a pod that is deleted while it is connected.
fn reply<T>(answer: Answer<T>, result: Result<T, Error>) {
    let _ = answer.send(result);
}

impl Handle {
    async fn ask<T>(&self, make: impl FnOnce(Answer<T>) -> Request) -> Result<T, Error> {
        let (answer, result) = oneshot::channel();
        let gone = || Error("network thread ended".into());
        self.requests.send(make(answer)).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())?
    }

    /// Connects a pod.
    pub async fn add(&self, uid: &str, netns: Arc<OwnedFd>, host_ports: Vec<HostPort>) -> Result<Attachment, Error> {
        let uid = uid.to_owned();
        self.ask(|answer| Request::Add {
            uid,
            netns,
            host_ports,
            answer,
        })
        .await
    }

    /// Releases all a pod has of the network.
    pub async fn remove(&self, uid: &str) -> Result<(), Error> {
        let uid = uid.to_owned();
        self.ask(|answer| Request::Remove { uid, answer }).await
    }

    /// Every connected pod.
    pub async fn attachments(&self) -> Result<Vec<Attachment>, Error> {
        self.ask(|answer| Request::Attachments { answer }).await
    }

    /// Releases what belongs to pods that are not in `live`.
    pub async fn collect(&self, live: Vec<String>) -> Result<(), Error> {
        self.ask(|answer| Request::Collect { live, answer }).await
    }

    /// Makes the proxy's rules those of `services`.
    pub async fn sync(&self, services: Vec<ServicePort>) -> Result<(), Error> {
        self.ask(|answer| Request::Sync { services, answer }).await
    }
}
