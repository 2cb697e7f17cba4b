//! Defaults of a pod specification that the API fills in, apart from those only Pods (not templates) get.

use serde_json::{Map, Value};

use super::{CONTAINER_LISTS, image, is_sidecar, resources};
use crate::quantity::Quantity;
use crate::value::{fill, items_mut, list_at, object_mut};

/// Fills the defaults that Pods and templates share.
pub fn pod_spec(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    fill(spec, "dnsPolicy", "ClusterFirst");
    fill(spec, "restartPolicy", "Always");
    fill(spec, "securityContext", Map::new());
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill(spec, "schedulerName", "default-scheduler");
    for list in CONTAINER_LISTS {
        for container in items_mut(spec, list) {
            self::container(container);
        }
    }
    for volume in items_mut(spec, "volumes") {
        self::volume(volume);
    }
    if let Some(resources) = spec.get_mut("resources") {
        resources::canonicalize(resources);
    }
    if let Some(overhead) = spec.get_mut("overhead") {
        resources::canonicalize_list(overhead);
    }
    mirror_service_account(spec);
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are kept equal, the new name wins.
pub fn mirror_service_account(spec: &mut Value) {
    let name = match crate::value::text(spec, "serviceAccountName") {
        "" => crate::value::text(spec, "serviceAccount"),
        name => name,
    };
    if !name.is_empty()
        && let name = Value::from(name)
        && let Some(map) = spec.as_object_mut()
    {
        map.insert("serviceAccount".into(), name.clone());
        map.insert("serviceAccountName".into(), name);
    }
}

fn container(container: &mut Value) {
    let policy = image::default_pull_policy(crate::value::text(container, "image"));
    fill(container, "imagePullPolicy", policy);
    fill(container, "terminationMessagePath", "/dev/termination-log");
    fill(container, "terminationMessagePolicy", "File");
    fill(container, "resources", Map::new());
    if let Some(resources) = container.get_mut("resources") {
        resources::canonicalize(resources);
    }
    for port in items_mut(container, "ports") {
        fill(port, "protocol", "TCP");
    }
    for variable in items_mut(container, "env") {
        let Some(source) = variable.get_mut("valueFrom") else {
            continue;
        };
        field_ref(source);
        if let Some(file) = source.get_mut("fileKeyRef").filter(|f| f.is_object()) {
            fill(file, "optional", false);
        }
        if let Some(reference) = source.get_mut("resourceFieldRef") {
            divisor(reference);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(name).filter(|p| p.is_object()) {
            self::probe(probe);
        }
    }
    if let Some(lifecycle) = container.get_mut("lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(handler) = lifecycle.get_mut(name) {
                http_get(handler);
            }
        }
    }
}

fn probe(probe: &mut Value) {
    fill(probe, "timeoutSeconds", 1);
    fill(probe, "periodSeconds", 10);
    fill(probe, "successThreshold", 1);
    fill(probe, "failureThreshold", 3);
    http_get(probe);
    if let Some(grpc) = probe.get_mut("grpc").filter(|g| g.is_object()) {
        fill(grpc, "service", "");
    }
}

fn http_get(handler: &mut Value) {
    if let Some(get) = handler.get_mut("httpGet").filter(|g| g.is_object()) {
        fill(get, "path", "/");
        fill(get, "scheme", "HTTP");
    }
}

fn field_ref(source: &mut Value) {
    if let Some(reference) = source.get_mut("fieldRef").filter(|r| r.is_object()) {
        fill(reference, "apiVersion", "v1");
    }
}

fn divisor(reference: &mut Value) {
    if let Some(map) = reference.as_object_mut() {
        let text = match map.get("divisor") {
            // An absent divisor is the quantity zero, which is written out.
            None | Some(Value::Null) => Some("0".to_owned()),
            Some(v) => Quantity::from_value(v).ok().map(|q| q.to_string()),
        };
        if let Some(text) = text {
            map.insert("divisor".into(), text.into());
        }
    }
}

fn volume(volume: &mut Value) {
    let Some(map) = volume.as_object_mut() else { return };
    if map.iter().all(|(key, v)| key == "name" || v.is_null()) {
        map.insert("emptyDir".into(), Map::new().into());
        return;
    }
    if let Some(limit) = volume.get_mut("emptyDir").and_then(|e| e.get_mut("sizeLimit")) {
        resources::canonicalize_one(limit);
    }
    for key in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = volume.get_mut(key).filter(|s| s.is_object()) {
            fill(source, "defaultMode", 0o644);
        }
    }
    if let Some(source) = volume.get_mut("downwardAPI") {
        downward_items(source);
    }
    if let Some(projected) = volume.get_mut("projected") {
        for source in items_mut(projected, "sources") {
            if let Some(token) = source.get_mut("serviceAccountToken").filter(|t| t.is_object()) {
                fill(token, "expirationSeconds", 3600);
            }
            if let Some(downward) = source.get_mut("downwardAPI") {
                downward_items(downward);
            }
        }
    }
    for (source, key, text) in [
        ("hostPath", "type", ""),
        ("iscsi", "iscsiInterface", "default"),
        ("rbd", "pool", "rbd"),
        ("rbd", "user", "admin"),
        ("rbd", "keyring", "/etc/ceph/keyring"),
        ("azureDisk", "cachingMode", "ReadWrite"),
        ("azureDisk", "kind", "Shared"),
        ("azureDisk", "fsType", "ext4"),
        ("scaleIO", "storageMode", "ThinProvisioned"),
        ("scaleIO", "fsType", "xfs"),
    ] {
        if let Some(source) = volume.get_mut(source).filter(|s| s.is_object()) {
            fill(source, key, text);
        }
    }
    if let Some(disk) = volume.get_mut("azureDisk").filter(|d| d.is_object()) {
        fill(disk, "readOnly", false);
    }
    if let Some(image) = volume.get_mut("image").filter(|i| i.is_object()) {
        let policy = image::default_pull_policy(crate::value::text(image, "reference"));
        fill(image, "pullPolicy", policy);
    }
    if let Some(claim) = volume
        .get_mut("ephemeral")
        .and_then(|e| e.get_mut("volumeClaimTemplate"))
        && let Some(spec) = claim.get_mut("spec").filter(|s| s.is_object())
    {
        fill(spec, "volumeMode", "Filesystem");
    }
}

fn downward_items(source: &mut Value) {
    for item in items_mut(source, "items") {
        field_ref(item);
        if let Some(reference) = item.get_mut("resourceFieldRef") {
            divisor(reference);
        }
    }
}

/// Fills the defaults that only Pods get: requests from limits, service links, host ports of the host network.
pub fn pod_only(spec: &mut Value) {
    if !spec.is_object() {
        return;
    }
    for list in ["initContainers", "containers"] {
        for container in items_mut(spec, list) {
            if let Some(resources) = container.get_mut("resources") {
                requests_from_limits(resources);
            }
        }
    }
    pod_requests(spec);
    fill(spec, "enableServiceLinks", true);
    if spec.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
        for list in ["initContainers", "containers"] {
            for container in items_mut(spec, list) {
                for port in items_mut(container, "ports") {
                    let number = port.get("containerPort").and_then(Value::as_i64).unwrap_or(0);
                    fill(port, "hostPort", number);
                }
            }
        }
    }
}

fn requests_from_limits(resources: &mut Value) {
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    if limits.is_empty() {
        return;
    }
    if let Some(requests) = object_mut(resources, "requests") {
        for (name, limit) in limits {
            requests.entry(name).or_insert(limit);
        }
    }
}

/// Pod-level requests (KEP-2837): from the containers' requests, else from the pod-level limits.
fn pod_requests(spec: &mut Value) {
    let Some(limits) = spec
        .get("resources")
        .and_then(|r| r.get("limits"))
        .and_then(Value::as_object)
        .cloned()
    else {
        return;
    };
    if limits.is_empty() {
        return;
    }
    let summed = ["cpu", "memory"].map(|name| (name, container_requests(spec, name)));
    let Some(resources) = spec.get_mut("resources") else {
        return;
    };
    let Some(requests) = object_mut(resources, "requests") else {
        return;
    };
    for (name, sum) in summed {
        if let Some(sum) = sum {
            requests.entry(name).or_insert_with(|| sum.to_string().into());
        }
    }
    for (name, limit) in limits {
        if name == "cpu" || name == "memory" || name.starts_with("hugepages-") {
            requests.entry(name).or_insert(limit);
        }
    }
}

/// What the containers need together: the running ones' sum, or more while an init container runs.
fn container_requests(spec: &Value, name: &str) -> Option<Quantity> {
    let request = |c: &Value| {
        let value = crate::value::at(c, &["resources", "requests", name])?;
        Quantity::from_value(value).ok()
    };
    let mut found = false;
    let mut sum = Quantity::ZERO;
    for container in list_at(spec, &["containers"]) {
        let request = request(container);
        found |= request.is_some();
        sum += request.unwrap_or_default();
    }
    let mut sidecars = Quantity::ZERO;
    let mut peak = Quantity::ZERO;
    for container in list_at(spec, &["initContainers"]) {
        let request = request(container);
        found |= request.is_some();
        let request = request.unwrap_or_default();
        if is_sidecar(container) {
            sidecars += request;
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars + request);
        }
    }
    found.then(|| (sum + sidecars).max(peak))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bare_template_gets_its_defaults() {
        let mut spec = json!({"containers": [{
            "name": "a", "image": "nginx",
            "ports": [{"containerPort": 80}],
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "livenessProbe": {"httpGet": {"port": 80}},
            "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}},
        }], "volumes": [{"name": "v"}, {"name": "c", "configMap": {"name": "c"}}, {"name": "h", "hostPath": {"path": "/"}}]});
        pod_spec(&mut spec);
        assert_eq!(
            spec,
            json!({
                "containers": [{
                    "name": "a", "image": "nginx", "imagePullPolicy": "Always",
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "env": [{"name": "N", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
                    "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
                        "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                    "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}},
                }],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c", "defaultMode": 420}},
                    {"name": "h", "hostPath": {"path": "/", "type": ""}}],
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "securityContext": {},
                "terminationGracePeriodSeconds": 30, "schedulerName": "default-scheduler",
            })
        );
    }

    #[test]
    fn pods_get_requests_host_ports_and_links() {
        let mut spec = json!({"hostNetwork": true, "containers": [{"name": "a",
            "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1"}, "requests": {"memory": "1Mi"}}}]});
        pod_only(&mut spec);
        assert_eq!(
            spec["containers"][0]["resources"]["requests"],
            json!({"cpu": "1", "memory": "1Mi"})
        );
        assert_eq!(spec["containers"][0]["ports"][0]["hostPort"], 80);
        assert_eq!(spec["enableServiceLinks"], true);
    }

    #[test]
    fn pod_level_requests_follow_the_containers() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut init = container("3");
        let mut sidecar = container("500m");
        sidecar["restartPolicy"] = json!("Always");
        init["name"] = json!("i");
        let mut spec = json!({"resources": {"limits": {"cpu": "4", "memory": "1Gi"}},
            "initContainers": [sidecar, init], "containers": [container("1"), container("1")]});
        pod_only(&mut spec);
        assert_eq!(spec["resources"]["requests"], json!({"cpu": "3500m", "memory": "1Gi"}));
    }

    #[test]
    fn defaults_are_stable() {
        let mut spec = json!({"serviceAccount": "x", "containers": [{"name": "a", "image": "b:1",
            "env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]}]});
        pod_spec(&mut spec);
        pod_only(&mut spec);
        assert_eq!(spec["serviceAccountName"], "x");
        assert_eq!(spec["containers"][0]["imagePullPolicy"], "IfNotPresent");
        assert_eq!(
            spec["containers"][0]["env"][0]["valueFrom"]["resourceFieldRef"]["divisor"],
            "0"
        );
        let once = spec.clone();
        pod_spec(&mut spec);
        pod_only(&mut spec);
        assert_eq!(spec, once);
    }
}
