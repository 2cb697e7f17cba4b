//! Lifecycle hooks.

use crate::kinds::{Container, LifecycleHandler};

use crate::probes::check::{Check, Target};

/// What runs when a container has started.
pub fn post_start(container: &Container) -> Option<&LifecycleHandler> {
    container.lifecycle.as_ref()?.post_start.as_ref()
}

/// What runs before a container is asked to end.
pub fn pre_stop(container: &Container) -> Option<&LifecycleHandler> {
    container.lifecycle.as_ref()?.pre_stop.as_ref()
}

/// Runs a hook to its end.
pub async fn run(hook: LifecycleHandler, target: Target) -> Result<(), String> {
    Check::of_hook(&hook).run(&target, None).await
}
