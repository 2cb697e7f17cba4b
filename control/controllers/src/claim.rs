//! Which children belong to an owner: adoption and release by the controlling reference.

use crate::api::{Error, Part, Writer};
use crate::informer::{Informer, Key, Object};
use crate::owner as owners;
use crate::selector::Labels;
use serde_json::json;
use std::sync::Arc;

/// What to do with the children around an owner.
#[derive(Debug)]
pub(crate) struct Claim<C> {
    /// Owned and selected.
    pub(crate) owned: Vec<Arc<C>>,
    /// Selected and without an owner: to be adopted.
    pub(crate) adopt: Vec<Arc<C>>,
    /// Owned but no longer selected: to be released.
    pub(crate) release: Vec<Arc<C>>,
}

/// Sorts the children that refer to `owner` and those of its namespace that refer to nobody.
pub(crate) fn plan<K: Object, C: Object>(
    owner: &K,
    selects: impl Fn(Option<&Labels>) -> bool,
    owned: Vec<Arc<C>>,
    unowned: Vec<Arc<C>>,
) -> Claim<C> {
    let leaving = owner.meta().deletion_timestamp.is_some();
    let mut claim = Claim {
        owned: Vec::new(),
        adopt: Vec::new(),
        release: Vec::new(),
    };
    for child in owned {
        let meta = child.meta();
        if owners::controller(meta).map(|o| o.uid.as_str()) != owner.meta().uid.as_deref() {
            continue;
        }
        if selects(meta.labels.as_ref()) {
            claim.owned.push(child);
        } else if !leaving && meta.deletion_timestamp.is_none() {
            claim.release.push(child);
        }
    }
    if !leaving {
        claim.adopt = unowned
            .into_iter()
            .filter(|child| child.meta().deletion_timestamp.is_none() && selects(child.meta().labels.as_ref()))
            .filter(|child| owners::controller(child.meta()).is_none())
            .collect();
    }
    claim
}

/// Adopts and releases as planned; returns the children the owner has afterwards.
pub(crate) async fn settle<K: Object, C: Object>(
    writer: &Writer,
    children: &Informer<C>,
    owner: &K,
    claim: Claim<C>,
) -> Result<Vec<Arc<C>>, Error> {
    let Claim {
        mut owned,
        adopt,
        release,
    } = claim;
    for child in &release {
        let gone = json!([{"$patch": "delete", "uid": owner.meta().uid}]);
        refer(writer, children, child, gone).await?;
    }
    if !adopt.is_empty() && still_exists(writer, owner).await? {
        for child in &adopt {
            owned.extend(refer(writer, children, child, json!([owners::reference(owner)])).await?);
        }
    }
    Ok(owned)
}

async fn refer<C: Object>(
    writer: &Writer,
    children: &Informer<C>,
    child: &C,
    references: serde_json::Value,
) -> Result<Option<Arc<C>>, Error> {
    // The uid is a precondition: another object may have the name by now.
    let patch = json!({"metadata": {"uid": child.meta().uid, "ownerReferences": references}});
    match writer
        .strategic(children, &Key::of(child.meta()), Part::Main, &patch)
        .await
    {
        Ok(child) => Ok(Some(child)),
        Err(error) if error.is_not_found() || error.is_refused() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Asks the server, as the cache may not know yet that the owner was deleted and must not adopt.
async fn still_exists<K: Object>(writer: &Writer, owner: &K) -> Result<bool, Error> {
    let live = writer.get_live::<K>(&Key::of(owner.meta())).await?;
    Ok(live.is_some_and(|o| o.meta().uid == owner.meta().uid && o.meta().deletion_timestamp.is_none()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::{Pod, ReplicaSet};
    use crate::replicas::Replicated;
    use serde_json::Value;

    fn pod(name: &str, labels: Value, owner: Option<&str>) -> Arc<Pod> {
        let owners: Vec<Value> = owner
            .map(|uid| json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": uid, "controller": true}))
            .into_iter()
            .collect();
        let metadata = json!({"name": name, "namespace": "ns", "labels": labels, "ownerReferences": owners});
        Arc::new(serde_json::from_value(json!({"metadata": metadata})).unwrap())
    }

    fn set() -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "r", "namespace": "ns", "uid": "u"},
            "spec": {"selector": {"matchLabels": {"app": "a"}}},
        }))
        .unwrap()
    }

    fn claim(set: &ReplicaSet, owned: Vec<Arc<Pod>>, unowned: Vec<Arc<Pod>>) -> Claim<Pod> {
        plan(set, |labels| set.selects(labels), owned, unowned)
    }

    fn names(pods: &[Arc<Pod>]) -> Vec<&str> {
        pods.iter().map(|p| p.name()).collect()
    }

    #[test]
    fn keeps_adopts_and_releases() {
        let owned = vec![
            pod("kept", json!({"app": "a"}), Some("u")),
            pod("relabelled", json!({"app": "b"}), Some("u")),
        ];
        let free = vec![
            pod("free", json!({"app": "a"}), None),
            pod("other", json!({"app": "b"}), None),
        ];
        let claim = claim(&set(), owned, free);
        assert_eq!(names(&claim.owned), ["kept"]);
        assert_eq!(names(&claim.release), ["relabelled"]);
        assert_eq!(names(&claim.adopt), ["free"]);
    }

    #[test]
    fn an_owner_that_goes_away_adopts_nothing() {
        let mut set = set();
        set.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        assert!(
            claim(&set, vec![], vec![pod("free", json!({"app": "a"}), None)])
                .adopt
                .is_empty()
        );
    }

    #[test]
    fn an_empty_selector_selects_nothing() {
        let mut set = set();
        set.spec.selector = Default::default();
        assert!(
            claim(&set, vec![], vec![pod("free", json!({"app": "a"}), None)])
                .adopt
                .is_empty()
        );
    }
}
