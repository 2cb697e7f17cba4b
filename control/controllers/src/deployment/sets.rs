//! The ReplicaSets of a Deployment: which is the new one, and the sums over them.

use super::template;
use crate::objects::{Deployment, ReplicaSet};
use jiff::Timestamp;
use std::sync::Arc;

/// The ReplicaSets of one Deployment, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Sets {
    /// The one with the Deployment's present template.
    pub(super) new: Option<Arc<ReplicaSet>>,
    /// All others.
    pub(super) old: Vec<Arc<ReplicaSet>>,
}

/// The hash label and the name of the ReplicaSet for the present template.
pub(super) fn expected(deployment: &Deployment) -> (String, String) {
    let hash = template::hash(&deployment.spec.template, deployment.status.collision_count);
    let name = format!("{}-{hash}", deployment.name());
    (hash, name)
}

fn created(set: &ReplicaSet) -> Timestamp {
    set.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |t| t.0)
}

impl Sets {
    pub(super) fn sort(deployment: &Deployment, mut sets: Vec<Arc<ReplicaSet>>) -> Self {
        sets.sort_by(|a, b| created(a).cmp(&created(b)).then_with(|| a.name().cmp(b.name())));
        let (_, name) = expected(deployment);
        // Its name says it was made for this template, even where the server's defaults made it differ since.
        let position = sets
            .iter()
            .position(|set| template::same(&set.spec.template, &deployment.spec.template))
            .or_else(|| sets.iter().position(|set| set.name() == name));
        let new = position.map(|i| sets.remove(i));
        Self { new, old: sets }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(self.new.iter())
    }

    /// Those that want pods.
    pub(super) fn active(&self) -> Vec<Arc<ReplicaSet>> {
        self.all().filter(|s| s.replicas() > 0).cloned().collect()
    }

    pub(super) fn old_active(&self) -> Vec<Arc<ReplicaSet>> {
        self.old.iter().filter(|s| s.replicas() > 0).cloned().collect()
    }

    /// The only active one, or the latest if none is active; `None` while several are.
    pub(super) fn active_or_latest(&self) -> Option<Arc<ReplicaSet>> {
        let active = self.active();
        match active.as_slice() {
            [] => self.new.clone().or_else(|| self.old.last().cloned()),
            [one] => Some(one.clone()),
            _ => None,
        }
    }

    /// The wanted pods of all.
    pub(super) fn wanted(&self) -> i32 {
        self.all().map(|s| s.replicas()).sum()
    }

    /// The available pods of all; no more than a set wants, as its status may be older than its spec.
    pub(super) fn available(&self) -> i32 {
        self.all().map(|s| s.available().min(s.replicas())).sum()
    }
}
