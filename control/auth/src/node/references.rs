//! What a pod or a volume makes necessary to read.

use serde_json::Value;

/// Kinds of objects that a node may read because a pod of it needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// The pod itself.
    Pod,
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
    /// A PersistentVolumeClaim.
    Claim,
    /// The service account it runs as.
    ServiceAccount,
    /// A ResourceClaim.
    ResourceClaim,
}

/// The key of an object in the tables of the graph.
pub fn key(needed: Needed, namespace: &str, name: &str) -> String {
    let letter = match needed {
        Needed::Pod => 'p',
        Needed::Secret => 's',
        Needed::ConfigMap => 'c',
        Needed::Claim => 'v',
        Needed::ServiceAccount => 'a',
        Needed::ResourceClaim => 'r',
    };
    format!("{letter}/{namespace}/{name}")
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// Sources of volumes that name a Secret of the pod's namespace, as pointers to the name.
const VOLUME_SECRETS: [&str; 10] = [
    "/secret/secretName",
    "/azureFile/secretName",
    "/cephfs/secretRef/name",
    "/csi/nodePublishSecretRef/name",
    "/flexVolume/secretRef/name",
    "/iscsi/secretRef/name",
    "/rbd/secretRef/name",
    "/scaleIO/secretRef/name",
    "/storageos/secretRef/name",
    "/cinder/secretRef/name",
];

/// Everything that the node of a pod needs for it, the pod itself included. Mirror pods, which a node makes itself,
/// give it nothing but themselves.
pub fn of_pod(pod: &Value) -> Vec<String> {
    let namespace = text(pod, "/metadata/namespace").unwrap_or("");
    let name = text(pod, "/metadata/name").unwrap_or("");
    let mut keys = vec![key(Needed::Pod, namespace, name)];
    if pod
        .pointer("/metadata/annotations/kubernetes.io~1config.mirror")
        .is_some()
    {
        return keys;
    }
    let mut add = |needed, name: Option<&str>| {
        if let Some(name) = name {
            let key = key(needed, namespace, name);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    };
    let spec = &pod["spec"];
    add(Needed::ServiceAccount, text(spec, "/serviceAccountName"));
    for reference in items(spec, "imagePullSecrets") {
        add(Needed::Secret, text(reference, "/name"));
    }
    for containers in ["containers", "initContainers", "ephemeralContainers"] {
        for container in items(spec, containers) {
            for source in items(container, "envFrom") {
                add(Needed::Secret, text(source, "/secretRef/name"));
                add(Needed::ConfigMap, text(source, "/configMapRef/name"));
            }
            for variable in items(container, "env") {
                add(Needed::Secret, text(variable, "/valueFrom/secretKeyRef/name"));
                add(Needed::ConfigMap, text(variable, "/valueFrom/configMapKeyRef/name"));
            }
        }
    }
    for volume in items(spec, "volumes") {
        for pointer in VOLUME_SECRETS {
            add(Needed::Secret, text(volume, pointer));
        }
        add(Needed::ConfigMap, text(volume, "/configMap/name"));
        add(Needed::Claim, text(volume, "/persistentVolumeClaim/claimName"));
        if volume.get("ephemeral").is_some() {
            let volume_name = text(volume, "/name").unwrap_or("");
            add(Needed::Claim, Some(&format!("{name}-{volume_name}")));
        }
        for source in volume
            .get("projected")
            .into_iter()
            .flat_map(|projected| items(projected, "sources"))
        {
            add(Needed::Secret, text(source, "/secret/name"));
            add(Needed::ConfigMap, text(source, "/configMap/name"));
        }
    }
    for claim in items(spec, "resourceClaims") {
        add(Needed::ResourceClaim, text(claim, "/resourceClaimName"));
    }
    for claim in items(&pod["status"], "resourceClaimStatuses") {
        add(Needed::ResourceClaim, text(claim, "/resourceClaimName"));
    }
    keys
}

/// The kinds of objects that a pod names and that a pod made by a node must not: plural names.
pub fn references_of_pod(pod: &Value) -> Vec<&'static str> {
    let mut plain = pod.clone();
    if let Some(annotations) = plain
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove("kubernetes.io/config.mirror");
    }
    let kinds = of_pod(&plain)
        .into_iter()
        .filter_map(|key| match key.as_bytes().first()? {
            b's' => Some("secrets"),
            b'c' => Some("configmaps"),
            b'v' => Some("persistentvolumeclaims"),
            b'a' => Some("serviceaccounts"),
            b'r' => Some("resourceclaims"),
            _ => None,
        });
    let mut kinds: Vec<&'static str> = kinds.collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// The Secrets that mounting a PersistentVolume takes. Where the reference says no namespace, it is the claim's.
pub fn of_volume(volume: &Value) -> Vec<String> {
    const REFERENCES: [&str; 10] = [
        "/csi/nodePublishSecretRef",
        "/csi/nodeStageSecretRef",
        "/csi/controllerPublishSecretRef",
        "/csi/nodeExpandSecretRef",
        "/cephfs/secretRef",
        "/flexVolume/secretRef",
        "/rbd/secretRef",
        "/scaleIO/secretRef",
        "/iscsi/secretRef",
        "/storageos/secretRef",
    ];
    let spec = &volume["spec"];
    let claim_namespace = text(spec, "/claimRef/namespace").unwrap_or("");
    let mut keys = Vec::new();
    for pointer in REFERENCES {
        if let Some(reference) = spec.pointer(pointer)
            && let Some(name) = text(reference, "/name")
        {
            let namespace = text(reference, "/namespace").unwrap_or(claim_namespace);
            keys.push(key(Needed::Secret, namespace, name));
        }
    }
    if let Some(name) = text(spec, "/azureFile/secretName") {
        let namespace = text(spec, "/azureFile/secretNamespace").unwrap_or(claim_namespace);
        keys.push(key(Needed::Secret, namespace, name));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_needs_what_it_names() {
        let pod = json!({
            "metadata": {"namespace": "n", "name": "p"},
            "spec": {
                "serviceAccountName": "sa", "imagePullSecrets": [{"name": "pull"}],
                "containers": [{"envFrom": [{"secretRef": {"name": "s1"}}, {"configMapRef": {"name": "c1"}}],
                    "env": [{"valueFrom": {"secretKeyRef": {"name": "s2"}}}, {"valueFrom": {"configMapKeyRef": {"name": "c2"}}}]}],
                "initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s1"}}}]}],
                "volumes": [{"secret": {"secretName": "s3"}}, {"configMap": {"name": "c3"}},
                    {"persistentVolumeClaim": {"claimName": "v1"}}, {"name": "e", "ephemeral": {}},
                    {"projected": {"sources": [{"secret": {"name": "s4"}}, {"configMap": {"name": "c4"}}]}}],
            },
        });
        let mut keys = of_pod(&pod);
        keys.sort();
        let expected = "a/n/sa c/n/c1 c/n/c2 c/n/c3 c/n/c4 p/n/p s/n/pull s/n/s1 s/n/s2 s/n/s3 s/n/s4 v/n/p-e v/n/v1";
        assert_eq!(keys.join(" "), expected);
        let mut mirror = pod;
        mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        assert_eq!(of_pod(&mirror), ["p/n/p"]);
    }

    #[test]
    fn a_volume_needs_its_secrets() {
        let volume = json!({"spec": {"claimRef": {"namespace": "n"}, "csi": {
            "nodePublishSecretRef": {"name": "a", "namespace": "x"}, "nodeStageSecretRef": {"name": "b"}}}});
        assert_eq!(of_volume(&volume), ["s/x/a", "s/n/b"]);
    }
}
