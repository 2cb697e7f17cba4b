//! Scheduler and controllers of the control service, over any `Client`.
//!
//! They use nothing but the public semantics of the API (list, watch, create, patch, delete, conflict), so that they run
//! the same over an in-process transport and over a socket.
//!
//! Long-lived tasks, all owned by [`run`] and ended with it:
//! - one watch per kind, which feeds the shared cache of the kind (`informer/`) and, through its listeners, the queues;
//! - one task per controller, which takes keys from its own queue (`queue.rs`), reads the caches and sends requests;
//! - the scheduler, with many bindings in flight;
//! - one metadata watch for each kind without a shared cache, for the garbage collector;
//! - the recorder, which writes events.
//!
//! Invariants:
//! 1. What to do is decided by pure functions (`plan`, `place`, `decide`, …) of objects; only the callers act.
//! 2. An object is never written back as a typed struct: existing ones are patched, new ones are JSON.
//! 3. A controller reads its own writes: every answer passes through the shared cache before the next decision, so that
//!    a burst never creates too much, without counting expectations and without waiting for the watch.
//! 4. Nothing wakes up when nothing changes: timers are set for real deadlines only.
//! 5. No lock is held across an await, and listeners do nothing but note what changed.

mod api;
mod cidr;
mod claim;
mod context;
mod deployment;
mod diff;
mod discovery;
mod endpoints;
mod garbage;
mod informer;
mod namespace;
mod node;
mod objects;
mod options;
mod owner;
mod pods;
mod queue;
mod queue_numbers;
mod recorder;
mod replicas;
mod root_ca;
mod scheduler;
mod selector;
mod service_account;
mod sync;

pub use cidr::{Ipv4Cidr, ParseCidrError};
pub use options::Options;
pub use queue_numbers::{QueueNumbers, Queues};

use anyhow::{Context as _, bail};
use barepod_client::Client;
use context::Context;
use futures_util::future::BoxFuture;
use objects::{Pod, ReplicaSet, ReplicationController};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Runs scheduler and controllers until `shutdown` is ready.
///
/// Failures of the API are retried for ever; an error means that a task ended that must not.
///
/// # Errors
/// If the options contradict each other, or if a task panicked.
pub async fn run(client: Client, options: Options, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    if options.cluster_cidr.parts(options.node_cidr_prefix) == 0 {
        bail!(
            "no /{} for a node fits in the pod network {}",
            options.node_cidr_prefix,
            options.cluster_cidr
        );
    }
    let (recorder, write_events) = recorder::Recorder::new(client.clone());
    let context = Context::new(client, options, recorder);
    let mut tasks = JoinSet::new();
    spawn(&mut tasks, write_events);
    start(&context, &mut tasks);
    context.watch_all(&mut tasks);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            ended = tasks.join_next() => match ended {
                // A controller that the options turn off ends at once.
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(error).context("a controller failed"),
                None => bail!("all controllers ended"),
            },
        }
    }
    // Whoever takes over finds nobody at work: two at once would both make what is missing.
    tasks.shutdown().await;
    Ok(())
}

/// Builds every controller, which registers its listeners, and starts it.
fn start(context: &Arc<Context>, tasks: &mut JoinSet<()>) {
    spawn(tasks, scheduler::Scheduler::new(context).run());
    spawn(tasks, node::PodCidrs::new(context).run());
    spawn(tasks, deployment::Deployments::new(context).run());
    spawn(
        tasks,
        replicas::Replicas::new(context, &context.replica_sets, sibling_pods).run(),
    );
    let alone = |_: &Context, _: &ReplicationController| Vec::new();
    spawn(
        tasks,
        replicas::Replicas::new(context, &context.replication_controllers, alone).run(),
    );
    spawn(tasks, endpoints::EndpointSlices::new(context).run());
    spawn(tasks, endpoints::EndpointsController::new(context).run());
    spawn(tasks, endpoints::Mirror::new(context).run());
    spawn(tasks, service_account::ServiceAccounts::new(context).run());
    spawn(tasks, root_ca::RootCa::new(context).run());
    spawn(tasks, node::NodeLifecycle::new(context).run());
    spawn(tasks, node::Eviction::new(context).run());
    spawn(tasks, node::Orphans::new(context).run());
    let namespaces = namespace::Namespaces::new(context);
    let lost = namespaces.clone();
    spawn(tasks, namespaces.run());
    spawn(
        tasks,
        garbage::Garbage::new(context, move |namespace| lost.lost_object(namespace)).run(),
    );
}

/// Starts a task. Boxed, so that what the runtime has around a task is in the program once and not once a controller.
fn spawn(tasks: &mut JoinSet<()>, task: impl Future<Output = ()> + Send + 'static) {
    let task: BoxFuture<'static, ()> = Box::pin(task);
    tasks.spawn(task);
}

/// The active pods of all ReplicaSets of the same Deployment.
fn sibling_pods(context: &Context, set: &ReplicaSet) -> Vec<Arc<Pod>> {
    let Some(owner) = owner::controller(&set.metadata) else {
        return Vec::new();
    };
    let sets = context.replica_sets.by(ReplicaSet::BY_OWNER, &owner.uid);
    let pods = sets.iter().flat_map(|s| context.pods.by(Pod::BY_OWNER, s.uid()));
    pods.filter(|pod| pod.is_active()).collect()
}
