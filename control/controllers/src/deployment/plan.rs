//! From a Deployment and its ReplicaSets to the next steps of its rollout.

use super::cleanup;
use super::revision;
use super::rolling;
use super::scale;
use super::sets::{Sets, expected};
use super::template::HASH_LABEL;
use crate::objects::{Deployment, ReplicaSet};
use crate::owner;
use crate::selector::Labels;
use serde_json::{Value, json};
use std::sync::Arc;

/// One change of the cluster.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Make the ReplicaSet of the present template.
    Create { name: String, replicas: i32, body: Value },
    /// Resize a ReplicaSet and note for which size of the Deployment.
    Scale {
        set: Arc<ReplicaSet>,
        replicas: i32,
        annotations: Labels,
    },
    /// Bring annotations and `minReadySeconds` of the new ReplicaSet up to date.
    Update { set: Arc<ReplicaSet>, patch: Value },
    /// Note the revision on the Deployment.
    Revision(i64),
    /// Drop a ReplicaSet beyond the history limit.
    Delete(Arc<ReplicaSet>),
}

impl Step {
    /// A resize, if the size or the note of it would change.
    pub(super) fn scale(deployment: &Deployment, set: &Arc<ReplicaSet>, replicas: i32) -> Option<Self> {
        let annotations = revision::sizing(deployment, Some(set));
        (set.replicas() != replicas || !annotations.is_empty()).then(|| Self::Scale {
            set: set.clone(),
            replicas,
            annotations,
        })
    }
}

/// The steps to take now; none if there is nothing to do but wait. `old_pods_run` says whether pods of old ReplicaSets
/// still exist that have not ended.
pub(super) fn plan(deployment: &Deployment, sets: &Sets, old_pods_run: bool) -> Vec<Step> {
    if deployment.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let bookkeeping = bookkeeping(deployment, sets);
    if !bookkeeping.is_empty() {
        return bookkeeping;
    }
    if deployment.spec.paused {
        let steps = scale::plan(deployment, sets);
        return if steps.is_empty() {
            cleanup::plan(deployment, sets)
        } else {
            steps
        };
    }
    if scale::is_due(deployment, sets) {
        return scale::plan(deployment, sets);
    }
    let steps = match deployment.is_recreate() {
        true => recreate(deployment, sets, old_pods_run),
        false => match sets.new {
            None => vec![create(deployment, sets)],
            Some(_) => rolling::plan(deployment, sets),
        },
    };
    if steps.is_empty() {
        cleanup::plan(deployment, sets)
    } else {
        steps
    }
}

/// Revisions and annotations of the new ReplicaSet, once it exists.
fn bookkeeping(deployment: &Deployment, sets: &Sets) -> Vec<Step> {
    let Some(new) = &sets.new else { return Vec::new() };
    let mut steps = Vec::new();
    let annotations = revision::missing(deployment, Some(new), revision::next(sets));
    let min_ready = deployment.spec.min_ready_seconds.unwrap_or(0);
    let mut patch = json!({});
    if new.spec.min_ready_seconds.unwrap_or(0) != min_ready {
        patch["spec"] = json!({"minReadySeconds": min_ready});
    }
    if !annotations.is_empty() {
        patch["metadata"] = json!({"annotations": annotations});
    }
    if patch.as_object().is_some_and(|p| !p.is_empty()) {
        steps.push(Step::Update {
            set: new.clone(),
            patch,
        });
    }
    let wanted = revision::revision(&new.metadata).max(revision::next(sets));
    if revision::revision(&deployment.metadata) != wanted {
        steps.push(Step::Revision(wanted));
    }
    steps
}

fn recreate(deployment: &Deployment, sets: &Sets, old_pods_run: bool) -> Vec<Step> {
    let down: Vec<Step> = sets
        .old_active()
        .iter()
        .filter_map(|set| Step::scale(deployment, set, 0))
        .collect();
    if !down.is_empty() {
        return down;
    }
    if old_pods_run || sets.old.iter().any(|s| s.status.replicas > 0) {
        return Vec::new();
    }
    match &sets.new {
        None => vec![create(deployment, sets)],
        Some(new) => Step::scale(deployment, new, deployment.replicas())
            .into_iter()
            .collect(),
    }
}

fn create(deployment: &Deployment, sets: &Sets) -> Step {
    let (hash, name) = expected(deployment);
    let replicas = rolling::new_size(deployment, 0, sets.wanted());
    let mut template = (*deployment.spec.template).clone();
    label(&mut template, &hash);
    let mut selector = serde_json::to_value(&deployment.spec.selector).unwrap_or_default();
    selector["matchLabels"][HASH_LABEL] = hash.clone().into();
    let mut labels = template.pointer("/metadata/labels").cloned().unwrap_or_default();
    labels[HASH_LABEL] = hash.into();
    let mut annotations = revision::missing(deployment, None, revision::next(sets));
    annotations.extend(revision::sizing(deployment, None));
    let body = json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": deployment.namespace(),
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner::reference(deployment)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": deployment.spec.min_ready_seconds.unwrap_or(0),
            "selector": selector,
            "template": template,
        },
    });
    Step::Create { name, replicas, body }
}

/// Adds the hash label; a template without metadata or labels gets them.
fn label(template: &mut Value, hash: &str) {
    for field in ["/metadata", "/metadata/labels"] {
        if template.pointer(field).is_none_or(Value::is_null) {
            match field {
                "/metadata" => template["metadata"] = json!({}),
                _ => template["metadata"]["labels"] = json!({}),
            }
        }
    }
    template["metadata"]["labels"][HASH_LABEL] = hash.into();
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::deployment) fn deployment(replicas: i32, rolling: Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "ns", "uid": "u", "generation": 1,
                "annotations": {revision::REVISION: "1"}},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}},
            },
        }))
        .unwrap()
    }

    /// A ReplicaSet that wants `replicas`, has `available`, and was sized for a Deployment of `desired`.
    pub(in crate::deployment) fn set(name: &str, replicas: i32, available: i32, desired: i32) -> Arc<ReplicaSet> {
        let annotations = json!({
            "deployment.kubernetes.io/desired-replicas": desired.to_string(),
            "deployment.kubernetes.io/max-replicas": (desired + 3).to_string(),
            revision::REVISION: "1",
        });
        let object = json!({
            "metadata": {"name": name, "uid": name, "annotations": annotations},
            "spec": {"replicas": replicas},
            "status": {"replicas": replicas, "availableReplicas": available, "readyReplicas": available},
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    /// The resizes among the steps.
    pub(in crate::deployment) fn sizes(steps: &[Step]) -> Vec<(String, i32)> {
        steps
            .iter()
            .filter_map(|step| match step {
                Step::Scale { set, replicas, .. } if set.replicas() != *replicas => {
                    Some((set.name().to_owned(), *replicas))
                }
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_new_deployment_makes_its_replica_set() {
        let d = deployment(3, json!({}));
        let steps = plan(&d, &Sets { new: None, old: vec![] }, false);
        let [Step::Create { name, replicas, body }] = steps.as_slice() else {
            panic!("{steps:?}")
        };
        assert_eq!(*replicas, 3);
        let hash = body["metadata"]["labels"][HASH_LABEL].as_str().unwrap();
        assert_eq!(*name, format!("web-{hash}"));
        assert_eq!(
            body["spec"]["selector"]["matchLabels"],
            json!({"app": "web", HASH_LABEL: hash})
        );
        assert_eq!(body["spec"]["template"]["metadata"]["labels"][HASH_LABEL], hash);
        assert_eq!(body["metadata"]["annotations"][revision::REVISION], "1");
        assert_eq!(
            body["metadata"]["annotations"]["deployment.kubernetes.io/max-replicas"],
            "4"
        );
    }

    #[test]
    fn the_created_set_is_found_again_and_settles() {
        let d = deployment(3, json!({}));
        let Step::Create { body, .. } = create(&d, &Sets { new: None, old: vec![] }) else {
            panic!()
        };
        let set: ReplicaSet = serde_json::from_value(body).unwrap();
        let sets = Sets::sort(&d, vec![Arc::new(set)]);
        assert!(sets.new.is_some());
        assert!(plan(&d, &sets, false).is_empty());
    }

    #[test]
    fn a_new_template_gets_the_next_revision() {
        let mut d = deployment(2, json!({"maxSurge": 1, "maxUnavailable": 0}));
        let Step::Create { body, .. } = create(&d, &Sets { new: None, old: vec![] }) else {
            panic!()
        };
        let old = Arc::new(serde_json::from_value::<ReplicaSet>(body).unwrap());
        d.spec.template = Arc::new(json!({"metadata": {"labels": {"app": "web"}}, "spec": {"x": 2}}));
        let sets = Sets::sort(&d, vec![old.clone()]);
        let [Step::Create { body, replicas, .. }]: [Step; 1] = plan(&d, &sets, false).try_into().unwrap() else {
            panic!()
        };
        assert_eq!(replicas, 1);
        assert_eq!(body["metadata"]["annotations"][revision::REVISION], "2");
        let new: ReplicaSet = serde_json::from_value(body).unwrap();
        let sets = Sets::sort(&d, vec![old, Arc::new(new)]);
        let steps = plan(&d, &sets, false);
        assert!(matches!(steps.as_slice(), [Step::Revision(2)]), "{steps:?}");
    }

    #[test]
    fn recreate_waits_for_the_old_pods() {
        let mut d = deployment(2, json!(null));
        d.spec.strategy = Some(serde_json::from_value(json!({"type": "Recreate"})).unwrap());
        let sets = Sets {
            new: None,
            old: vec![set("old", 2, 2, 2)],
        };
        assert_eq!(sizes(&plan(&d, &sets, true)), [("old".to_owned(), 0)]);
        let sets = Sets {
            new: None,
            old: vec![set("old", 0, 0, 2)],
        };
        assert!(plan(&d, &sets, true).is_empty());
        let steps = plan(&d, &sets, false);
        assert!(
            matches!(steps.as_slice(), [Step::Create { replicas: 2, .. }]),
            "{steps:?}"
        );
    }

    #[test]
    fn paused_scales_but_does_not_roll() {
        let mut d = deployment(5, json!({}));
        d.spec.paused = true;
        let sets = Sets {
            new: None,
            old: vec![set("old", 3, 3, 3)],
        };
        assert_eq!(sizes(&plan(&d, &sets, true)), [("old".to_owned(), 5)]);
        let sets = Sets { new: None, old: vec![] };
        assert!(plan(&d, &sets, false).is_empty());
    }
}
