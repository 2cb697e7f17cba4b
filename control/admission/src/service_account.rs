//! ServiceAccount: names the account of a new pod, and gives its containers the account's token, the cluster's
//! authority and the name of their namespace as files.

use barepod_kinds::kinds::pod::MIRROR_ANNOTATION;
use barepod_kinds::value::{at, items_mut, list_at, object_mut, str_at};
use serde_json::{Value, json};

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// The plugin.
pub(crate) struct ServiceAccount;

/// Where programs look for the files.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the name of the volume begins with.
const VOLUME: &str = "kube-api-access-";
/// Annotation of accounts whose pods may use only the Secrets that the account lists.
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
/// How long the token is good for; tells the server that old clients may not read it again.
const TOKEN_SECONDS: i64 = 3607;

impl Plugin for ServiceAccount {
    fn handles(&self, request: &Request<'_>) -> bool {
        // Ephemeral containers are checked as well, but nothing is mounted into them.
        request.is("", "pods")
            && match request.subresource {
                "" => request.operation == Operation::Create,
                subresource => subresource == "ephemeralcontainers",
            }
    }

    fn admit(&self, world: &dyn World, request: &Request<'_>, pod: &mut Value, _: &mut Notes) -> Result<(), Refusal> {
        if !request.subresource.is_empty() {
            return Ok(());
        }
        if is_mirror(pod) {
            return mirror(pod);
        }
        let name = str_at(pod, &["spec", "serviceAccountName"])
            .unwrap_or("default")
            .to_owned();
        let account = world
            .cluster()
            .get("", "serviceaccounts", Some(request.namespace), &name);
        // The account `default` may be missing for a moment, because a controller makes it after the namespace.
        if account.is_none() && name != "default" {
            let namespace = request.namespace;
            return Err(Refusal::forbidden(format!(
                "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
            )));
        }
        let account = account.as_deref().unwrap_or(&Value::Null);
        let Some(spec) = object_mut(pod, "spec") else {
            return Ok(());
        };
        spec.insert("serviceAccount".into(), name.as_str().into());
        spec.insert("serviceAccountName".into(), name.into());
        let pulls = list_at(account, &["imagePullSecrets"]);
        let named = spec
            .get("imagePullSecrets")
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty());
        if !named && !pulls.is_empty() {
            spec.insert("imagePullSecrets".into(), pulls.to_vec().into());
        }
        let said = |object: &Value| at(object, &["automountServiceAccountToken"]).and_then(Value::as_bool);
        let automount = said(pod.get("spec").unwrap_or(&Value::Null))
            .or_else(|| said(account))
            .unwrap_or(true);
        if automount {
            mount(world, pod);
        }
        Ok(())
    }

    fn validate(&self, world: &dyn World, request: &Request<'_>, pod: &Value, _: &mut Notes) -> Result<(), Refusal> {
        if is_mirror(pod) {
            return Ok(());
        }
        let name = str_at(pod, &["spec", "serviceAccountName"]).unwrap_or("default");
        let account = world
            .cluster()
            .get("", "serviceaccounts", Some(request.namespace), name);
        let Some(account) = account else { return Ok(()) };
        let enforced = str_at(&account, &["metadata", "annotations", ENFORCE]).is_some_and(|value| value == "true");
        if enforced { only_listed(&account, pod) } else { Ok(()) }
    }
}

fn is_mirror(pod: &Value) -> bool {
    at(pod, &["metadata", "annotations", MIRROR_ANNOTATION]).is_some()
}

fn mirror(pod: &Value) -> Result<(), Refusal> {
    if str_at(pod, &["spec", "serviceAccountName"]).is_some() {
        return Err(Refusal::forbidden("a mirror pod may not reference service accounts"));
    }
    let tokens = list_at(pod, &["spec", "volumes"]).iter().any(|volume| {
        let sources = list_at(volume, &["projected", "sources"]);
        sources.iter().any(|source| source.get("serviceAccountToken").is_some())
    });
    if tokens {
        let why = "a mirror pod may not use ServiceAccountToken volume projections";
        return Err(Refusal::forbidden(why));
    }
    Ok(())
}

/// Mounts the volume where nothing else is mounted, and adds it if it is needed.
fn mount(world: &dyn World, pod: &mut Value) {
    let volumes = list_at(pod, &["spec", "volumes"]);
    let present = volumes.iter().find(|volume| {
        str_at(volume, &["name"]).is_some_and(|name| name.starts_with(VOLUME))
            && volume.get("projected") == Some(&projected())
    });
    let present = present.and_then(|volume| str_at(volume, &["name"])).map(str::to_owned);
    let name = present.clone().unwrap_or_else(|| world.generate_name(VOLUME));
    let mut needed = false;
    let Some(spec) = pod.get_mut("spec") else { return };
    for list in ["initContainers", "containers"] {
        for container in items_mut(spec, list) {
            let taken = list_at(container, &["volumeMounts"])
                .iter()
                .any(|mount| str_at(mount, &["mountPath"]) == Some(MOUNT_PATH));
            if taken {
                continue;
            }
            needed = true;
            let mount = json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH});
            push(container, "volumeMounts", mount);
        }
    }
    if needed && present.is_none() {
        push(spec, "volumes", json!({"name": name, "projected": projected()}));
    }
}

fn push(object: &mut Value, key: &str, item: Value) {
    let Some(map) = object.as_object_mut() else { return };
    match map.get_mut(key).and_then(Value::as_array_mut) {
        Some(list) => list.push(item),
        None => {
            map.insert(key.into(), vec![item].into());
        }
    }
}

fn projected() -> Value {
    json!({
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ],
        "defaultMode": 0o644,
    })
}

/// Refuses Secrets that the account does not list.
fn only_listed(account: &Value, pod: &Value) -> Result<(), Refusal> {
    let account_name = str_at(account, &["metadata", "name"]).unwrap_or("");
    let listed = |list: &str, name: &str| {
        list_at(account, &[list])
            .iter()
            .any(|reference| str_at(reference, &["name"]) == Some(name))
    };
    let refuse = |what: String, name: &str| {
        let text = format!(
            "{what} with secret.secretName=\"{name}\" is not allowed because service account {account_name} does not reference that secret"
        );
        Err(Refusal::forbidden(text))
    };
    for volume in list_at(pod, &["spec", "volumes"]) {
        if let Some(name) = str_at(volume, &["secret", "secretName"]).filter(|name| !listed("secrets", name)) {
            return refuse("volume".into(), name);
        }
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in list_at(pod, &["spec", list]) {
            let by_key = list_at(container, &["env"])
                .iter()
                .filter_map(|env| str_at(env, &["valueFrom", "secretKeyRef", "name"]));
            let whole = list_at(container, &["envFrom"])
                .iter()
                .filter_map(|env| str_at(env, &["secretRef", "name"]));
            if let Some(name) = by_key.chain(whole).find(|name| !listed("secrets", name)) {
                let container = str_at(container, &["name"]).unwrap_or("");
                return refuse(format!("container {container}"), name);
            }
        }
    }
    for reference in list_at(pod, &["spec", "imagePullSecrets"]) {
        if let Some(name) = str_at(reference, &["name"]).filter(|name| !listed("imagePullSecrets", name)) {
            return Err(Refusal::forbidden(format!(
                "imagePullSecrets[{name}] is not allowed because service account {account_name} does not reference that imagePullSecret"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Small, handle, request};

    fn account(name: &str, more: Value) -> (&'static str, Value) {
        let mut account = json!({"metadata": {"name": name, "namespace": "ns"}});
        account
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ("serviceaccounts", account)
    }

    fn admit(world: &Small, pod: Value) -> Result<Value, String> {
        handle(
            &ServiceAccount,
            world,
            &request(Operation::Create, "", "pods", None),
            pod,
        )
    }

    #[test]
    fn containers_get_the_token() {
        let world = Small(
            vec![account("default", json!({"imagePullSecrets": [{"name": "s"}]}))],
            Default::default(),
        );
        let own = json!({"name": "own", "volumeMounts": [{"name": "v", "mountPath": MOUNT_PATH}]});
        let pod = admit(
            &world,
            json!({"spec": {"containers": [{"name": "c"}, own], "initContainers": [{"name": "i"}]}}),
        )
        .unwrap();
        let spec = &pod["spec"];
        assert_eq!(
            (&spec["serviceAccountName"], &spec["serviceAccount"]),
            (&json!("default"), &json!("default"))
        );
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "s"}]));
        assert_eq!(spec["volumes"][0]["name"], "kube-api-access-xxxxx");
        assert_eq!(spec["volumes"][0]["projected"]["sources"].as_array().unwrap().len(), 3);
        let mount = json!({"name": "kube-api-access-xxxxx", "readOnly": true, "mountPath": MOUNT_PATH});
        assert_eq!(spec["containers"][0]["volumeMounts"], json!([mount]));
        assert_eq!(spec["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);
        assert_eq!(spec["initContainers"][0]["volumeMounts"], json!([mount]));
        // What was admitted once is not changed again.
        assert_eq!(admit(&world, pod.clone()).unwrap(), pod);
    }

    #[test]
    fn the_pod_and_then_the_account_decide_about_the_token() {
        let world = Small(
            vec![account("default", json!({"automountServiceAccountToken": false}))],
            Default::default(),
        );
        let volumes = |spec: Value| admit(&world, json!({"spec": spec})).unwrap()["spec"]["volumes"].clone();
        assert_eq!(volumes(json!({"containers": [{}]})), Value::Null);
        assert!(volumes(json!({"containers": [{}], "automountServiceAccountToken": true})).is_array());
    }

    #[test]
    fn accounts_have_to_exist() {
        let none = Small::default();
        assert_eq!(
            admit(&none, json!({"spec": {"serviceAccountName": "x"}})).unwrap_err(),
            "error looking up service account ns/x: serviceaccount \"x\" not found"
        );
        assert!(admit(&none, json!({"spec": {"containers": []}})).is_ok());
        let mut mirror = json!({"metadata": {"annotations": {}}, "spec": {"serviceAccountName": "x"}});
        mirror["metadata"]["annotations"][MIRROR_ANNOTATION] = json!("1");
        assert!(admit(&none, mirror.clone()).unwrap_err().contains("mirror pod"));
        mirror["spec"] = json!({"containers": [{}]});
        assert_eq!(admit(&none, mirror.clone()).unwrap(), mirror);
    }

    #[test]
    fn accounts_may_limit_the_secrets() {
        let annotations = json!({"name": "default", "namespace": "ns", "annotations": {ENFORCE: "true"}});
        let world = Small(
            vec![account(
                "default",
                json!({"metadata": annotations, "secrets": [{"name": "a"}]}),
            )],
            Default::default(),
        );
        let with = |name: &str| {
            admit(
                &world,
                json!({"spec": {"volumes": [{"name": "v", "secret": {"secretName": name}}]}}),
            )
        };
        assert!(with("a").is_ok());
        assert!(with("b").unwrap_err().contains("does not reference that secret"));
    }
}
