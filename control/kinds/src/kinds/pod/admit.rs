//! What admission fills into a pod: service account, priority, tolerations of a lost node.

use serde_json::{Value, json};

use super::MIRROR_ANNOTATION;
use crate::context::Context;
use crate::invalid::Denied;
use crate::kinds::priority_class;
use crate::value::{self, i64_at, list_at, object_mut, str_at};

fn is_mirror(pod: &Value) -> bool {
    value::at(pod, &["metadata", "annotations", MIRROR_ANNOTATION]).is_some()
}

/// Names the service account `default` where none is named, and refuses one that does not exist.
///
/// The account `default` itself may be missing for a moment, because a controller makes it after the namespace.
pub(super) fn service_account(cx: &Context<'_>, pod: &mut Value) -> Result<(), Denied> {
    if is_mirror(pod) {
        return match str_at(pod, &["spec", "serviceAccountName"]) {
            Some(_) => Err(Denied::Forbidden(
                "a mirror pod may not reference service accounts".into(),
            )),
            None => Ok(()),
        };
    }
    let name = str_at(pod, &["spec", "serviceAccountName"])
        .unwrap_or("default")
        .to_owned();
    let account = cx.cluster.get("", "serviceaccounts", Some(cx.namespace), &name);
    if account.is_none() && name != "default" {
        return Err(Denied::Forbidden(format!(
            "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
            cx.namespace
        )));
    }
    let Some(spec) = object_mut(pod, "spec") else {
        return Ok(());
    };
    spec.insert("serviceAccount".into(), name.as_str().into());
    spec.insert("serviceAccountName".into(), name.into());
    let named = spec
        .get("imagePullSecrets")
        .and_then(Value::as_array)
        .is_some_and(|l| !l.is_empty());
    if let Some(account) = account
        && !named
    {
        let secrets = list_at(&account, &["imagePullSecrets"]);
        if !secrets.is_empty() {
            spec.insert("imagePullSecrets".into(), secrets.to_vec().into());
        }
    }
    Ok(())
}

/// Resolves the priority class (or the cluster's default one) to a number and a preemption policy.
pub(super) fn priority(cx: &Context<'_>, pod: &mut Value) -> Result<(), Denied> {
    let class = match str_at(pod, &["spec", "priorityClassName"]) {
        Some(name) => match priority_class::find(cx.cluster, name) {
            Some(class) => Some(class),
            None => {
                return Err(Denied::Forbidden(format!(
                    "no PriorityClass with name {name} was found"
                )));
            }
        },
        None => priority_class::global_default(cx.cluster),
    };
    let computed = class.as_ref().map_or(0, |c| i64_at(c, &["value"]).unwrap_or(0));
    let policy = class
        .as_ref()
        .and_then(|c| str_at(c, &["preemptionPolicy"]))
        .unwrap_or("PreemptLowerPriority");
    if let Some(given) = i64_at(pod, &["spec", "priority"]).filter(|p| *p != computed) {
        return Err(Denied::Forbidden(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {computed} from the given PriorityClass name"
        )));
    }
    if let Some(given) = str_at(pod, &["spec", "preemptionPolicy"]).filter(|p| *p != policy) {
        return Err(Denied::Forbidden(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        )));
    }
    let Some(spec) = object_mut(pod, "spec") else {
        return Ok(());
    };
    spec.insert("priority".into(), computed.into());
    spec.insert("preemptionPolicy".into(), policy.into());
    if let Some(name) = class.as_ref().and_then(|c| str_at(c, &["metadata", "name"])) {
        spec.insert("priorityClassName".into(), name.into());
    }
    Ok(())
}

/// Lets the pod stay five minutes on a node that is not ready or not reachable, unless it says otherwise.
pub(super) fn tolerations(pod: &mut Value) {
    const SECONDS: i64 = 300;
    let Some(spec) = pod.get("spec") else { return };
    let tolerated = |key: &str| {
        list_at(spec, &["tolerations"]).iter().any(|t| {
            let (own, effect) = (value::text(t, "key"), value::text(t, "effect"));
            (own == key || own.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        })
    };
    let missing: Vec<Value> = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
        .into_iter()
        .filter(|key| !tolerated(key))
        .map(|key| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}))
        .collect();
    if missing.is_empty() {
        return;
    }
    if let Some(spec) = object_mut(pod, "spec") {
        match spec.get_mut("tolerations").and_then(Value::as_array_mut) {
            Some(list) => list.extend(missing),
            None => {
                spec.insert("tolerations".into(), missing.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{Cluster, Settings};
    use std::sync::Arc;

    struct Few(Vec<(&'static str, Value)>);

    impl Cluster for Few {
        fn get(&self, _: &str, resource: &str, _: Option<&str>, name: &str) -> Option<Arc<Value>> {
            let same = |(r, v): &&(&str, Value)| *r == resource && v["metadata"]["name"] == name;
            self.0.iter().find(same).map(|(_, v)| Arc::new(v.clone()))
        }

        fn list(&self, _: &str, resource: &str, _: Option<&str>) -> Vec<Arc<Value>> {
            self.0
                .iter()
                .filter(|(r, _)| *r == resource)
                .map(|(_, v)| Arc::new(v.clone()))
                .collect()
        }
    }

    fn admit(cluster: &Few, pod: Value) -> Result<Value, Denied> {
        let mut pod = pod;
        let settings = Settings::default();
        let cx = Context {
            now: super::super::tests::now(),
            user: "u",
            groups: &[],
            namespace: "ns",
            cluster,
            settings: &settings,
        };
        service_account(&cx, &mut pod)?;
        priority(&cx, &mut pod)?;
        tolerations(&mut pod);
        Ok(pod)
    }

    #[test]
    fn accounts_and_classes_have_to_exist() {
        let none = Few(vec![]);
        assert_eq!(
            admit(&none, json!({"spec": {"serviceAccountName": "x"}}))
                .unwrap_err()
                .to_string(),
            "error looking up service account ns/x: serviceaccount \"x\" not found"
        );
        assert_eq!(
            admit(&none, json!({"spec": {"priorityClassName": "x"}}))
                .unwrap_err()
                .to_string(),
            "no PriorityClass with name x was found"
        );
        assert!(admit(&none, json!({"spec": {"priority": 5}})).is_err());
        let critical = admit(&none, json!({"spec": {"priorityClassName": "system-node-critical"}})).unwrap();
        assert_eq!(critical["spec"]["priority"], 2_000_001_000);
    }

    #[test]
    fn classes_and_pull_secrets_are_copied() {
        let cluster = Few(vec![
            (
                "priorityclasses",
                json!({"metadata": {"name": "p"}, "value": 7, "preemptionPolicy": "Never"}),
            ),
            (
                "priorityclasses",
                json!({"metadata": {"name": "d"}, "value": 3, "globalDefault": true}),
            ),
            (
                "serviceaccounts",
                json!({"metadata": {"name": "x"}, "imagePullSecrets": [{"name": "s"}]}),
            ),
        ]);
        let pod = admit(
            &cluster,
            json!({"spec": {"serviceAccountName": "x", "priorityClassName": "p"}}),
        )
        .unwrap();
        assert_eq!(pod["spec"]["priority"], 7);
        assert_eq!(pod["spec"]["preemptionPolicy"], "Never");
        assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "s"}]));
        let pod = admit(&cluster, json!({"spec": {}})).unwrap();
        assert_eq!(pod["spec"]["priority"], 3);
        assert_eq!(pod["spec"]["priorityClassName"], "d");
    }

    #[test]
    fn own_tolerations_are_respected() {
        let mut pod = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        tolerations(&mut pod);
        assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 1);
        let mut pod = json!({"spec": {"tolerations": [
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]}});
        tolerations(&mut pod);
        assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 2);
    }
}
