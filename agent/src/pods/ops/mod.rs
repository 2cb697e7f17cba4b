//! The actions of a plan, carried out. Each is a future that owns what it needs and ends in an outcome; the worker
//! polls them all at once.

pub mod end;
pub mod hook;
pub mod remove;
pub mod sandbox;
pub mod start;
pub mod stop;
pub mod volumes;

use tokio::sync::watch;

/// Something that several actions wait for while it is being made.
#[derive(Debug, Clone)]
pub enum Gate<T> {
    /// Not there yet.
    Pending,
    /// There.
    Open(T),
    /// It could not be made.
    Failed,
}

/// Waits for a gate; `None` when it failed, or the pod is to end first.
pub async fn pass<T: Clone>(mut gate: watch::Receiver<Gate<T>>, mut cancel: watch::Receiver<bool>) -> Option<T> {
    tokio::select! {
        biased;
        found = gate.wait_for(|it| !matches!(it, Gate::Pending)) => match found.ok().as_deref() {
            Some(Gate::Open(value)) => Some(value.clone()),
            _ => None,
        },
        _ = cancel.wait_for(|it| *it) => None,
    }
}
