//! What the rules of single kinds refuse, and what they keep.

use crate::support::{Api, PODS, pod};
use serde_json::{Value, json};

/// Rules of kube-apiserver that a comparison with one showed to be missing, and fields of its errors.
#[tokio::test]
async fn what_kube_refuses_is_refused() {
    let api = Api::new().await;
    let storage = "/apis/storage.k8s.io/v1";
    let here = "/api/v1/namespaces/default";
    let class =
        |topologies: Value| json!({"metadata": {"name": "x"}, "provisioner": "a.b/c", "allowedTopologies": topologies});
    let volume = |csi: Value| json!({"metadata": {"name": "x"}, "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "csi": csi}});
    let term = json!({"matchLabelExpressions": [{"key": "zone", "values": ["a"]}]});
    let backend = json!({"resource": {"apiGroup": "A_b", "kind": "a/b", "name": "c/d"}});
    let cases = [
        (
            format!("{here}/limitranges"),
            json!({"metadata": {"name": "x"}, "spec": {"limits": [{"type": "Containers"}]}}),
            vec!["spec.limits[0].type"],
        ),
        (
            format!("{storage}/storageclasses"),
            class(json!([term, term])),
            vec!["allowedTopologies[1].matchLabelExpressions"],
        ),
        (
            format!("{storage}/storageclasses"),
            class(json!([{"matchLabelExpressions": [{"key": "a b", "values": ["a", "a"]}, {"values": []}]}])),
            vec![
                "allowedTopologies[0].matchLabelExpressions[1].key",
                "allowedTopologies[0].matchLabelExpressions[0].key",
                "allowedTopologies[0].matchLabelExpressions[1].values",
                "allowedTopologies[0].matchLabelExpressions[0].values[1]",
            ],
        ),
        (
            "/api/v1/persistentvolumes".into(),
            volume(json!({"driver": "a b", "nodePublishSecretRef": {"name": "x"}})),
            vec![
                "spec.csi.volumeHandle",
                "spec.csi.nodePublishSecretRef.namespace",
                "spec.csi.driver",
            ],
        ),
        (
            format!("{storage}/volumeattachments"),
            json!({"metadata": {"name": "x"}, "spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "A"}}}),
            vec!["spec.source.persistentVolumeName"],
        ),
        (
            "/apis/node.k8s.io/v1/runtimeclasses".into(),
            json!({"metadata": {"name": "x"}, "handler": "h", "scheduling": {"tolerations": [{"key": "a", "operator": "In"}]}}),
            vec!["scheduling.tolerations[0].operator"],
        ),
        (
            "/apis/certificates.k8s.io/v1/certificatesigningrequests".into(),
            json!({"metadata": {"name": "x"}, "spec": {"signerName": "a.b/c", "usages": ["any"]}}),
            vec!["spec.request"],
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses".into(),
            json!({"metadata": {"name": "x"}, "spec": {"defaultBackend": backend}}),
            vec![
                "spec.defaultBackend.resource.apiGroup",
                "spec.defaultBackend.resource.kind",
                "spec.defaultBackend.resource.name",
            ],
        ),
        (
            "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers".into(),
            json!({"metadata": {"name": "x"}, "spec": {"maxReplicas": 1}}),
            vec!["spec.scaleTargetRef.kind", "spec.scaleTargetRef.name"],
        ),
        (
            format!("{here}/services"),
            json!({"metadata": {"name": "x"}, "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local",
                "healthCheckNodePort": -1, "ports": [{"port": 1}]}}),
            vec!["spec.healthCheckNodePort"],
        ),
        (
            format!("{here}/endpoints"),
            json!({"metadata": {"name": "x"}, "subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 1, "appProtocol": "a b"}]}]}),
            vec!["subsets[0].ports[0].appProtocol"],
        ),
    ];
    for (path, object, expected) in cases {
        let answer = api.post(&path, object).await;
        let mut fields: Vec<&str> = (answer.value["details"]["causes"].as_array())
            .unwrap_or_else(|| panic!("{path}: {}", answer.value))
            .iter()
            .map(|cause| cause["field"].as_str().unwrap())
            .collect();
        fields.dedup();
        assert_eq!((answer.code, fields), (422, expected), "{path} {}", answer.value);
    }
    let service = json!({"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 1}]}});
    let mut service = api.post(&format!("{here}/services"), service).await.ok();
    service["status"] = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4x"}, {"hostname": "1.2.3.4"}]}});
    let answer = api.put(&format!("{here}/services/s/status"), service).await;
    assert_eq!(
        answer.value["details"]["causes"][1]["message"],
        "Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address"
    );
    let mut pod = api.post(PODS, pod("p")).await.ok();
    pod["status"]["conditions"] = json!([{"type": "a b", "status": "True"}]);
    let answer = api.put(&format!("{PODS}/p/status"), pod).await;
    let field = &answer.value["details"]["causes"][0]["field"];
    assert_eq!((answer.code, field), (422, &json!("metadata.conditions[0].Type")));

    // What it lets through is let through.
    let quota = |scope: &str| {
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort", "BestEffort"],
            "scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": [scope]}]}}})
    };
    api.post(&format!("{here}/resourcequotas"), quota("a")).await.ok();
    let path = format!("{here}/resourcequotas/q");
    api.put(&path, quota("b")).await.ok();
    let mut other = quota("b");
    other["spec"]["scopes"] = json!(["NotBestEffort"]);
    let answer = api.put(&path, other).await;
    assert_eq!(
        (answer.code, &answer.value["details"]["causes"][0]["field"]),
        (422, &json!("spec.scopes"))
    );
}

/// What is wrong with an object that lacks its specification or its name is what would be wrong with an empty one.
#[tokio::test]
async fn what_is_missing_is_told_with_the_rest() {
    let api = Api::new().await;
    let here = "/api/v1/namespaces/default";
    for (path, object, expected) in [
        (
            format!("{here}/services"),
            json!({"metadata": {"name": "x"}}),
            vec!["spec.ports"],
        ),
        (
            format!("{here}/services"),
            json!({}),
            vec!["metadata.name", "spec.ports"],
        ),
        (
            PODS.to_owned(),
            json!({"metadata": {"name": "x"}}),
            vec!["spec.containers"],
        ),
    ] {
        let answer = api.post(&path, object).await;
        let causes = answer.value["details"]["causes"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let fields: Vec<&str> = causes.iter().filter_map(|cause| cause["field"].as_str()).collect();
        assert_eq!((answer.code, fields), (422, expected), "{}", answer.value);
    }
    let driver = json!({"metadata": {"name": "x"}});
    let driver = api.post("/apis/storage.k8s.io/v1/csidrivers", driver).await.ok();
    assert_eq!(driver["spec"]["attachRequired"], true);
    let range = json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}});
    let range = api.post(&format!("{here}/limitranges"), range).await.ok();
    assert_eq!(range["metadata"]["name"].as_str().map(str::len), Some(36), "{range}");
}

/// kube's ValidateServiceUpdate.
#[tokio::test]
async fn what_a_service_has_stays() {
    let api = Api::new().await;
    let services = "/api/v1/namespaces/default/services";
    let balancer = json!({"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "loadBalancerClass": "a.b/c",
        "externalTrafficPolicy": "Local", "ports": [{"port": 1}]}});
    let made = api.post(services, balancer).await.ok();
    for (key, value, field, message) in [
        (
            "healthCheckNodePort",
            json!(30_999),
            "spec.healthCheckNodePort",
            "Forbidden: field is immutable",
        ),
        (
            "loadBalancerClass",
            json!("a.b/d"),
            "spec.loadBalancerClass",
            "Invalid value: \"a.b/d\": may not change once set",
        ),
        (
            "ipFamilies",
            json!(["IPv6"]),
            "spec.ipFamilies[0]",
            "Invalid value: [\"IPv6\"]: may not change once set",
        ),
        (
            "clusterIPs",
            json!(["10.96.0.77"]),
            "spec.clusterIPs[0]",
            "Invalid value: [\"10.96.0.77\"]: may not change once set",
        ),
    ] {
        let mut changed = made.clone();
        changed["spec"][key] = value;
        let answer = api.put(&format!("{services}/s"), changed).await;
        let cause = &answer.value["details"]["causes"][0];
        assert_eq!((answer.code, &cause["field"]), (422, &json!(field)), "{}", answer.value);
        assert_eq!(cause["message"], message);
    }
    let mut plain = made.clone();
    plain["spec"]["type"] = json!("ClusterIP");
    let plain = api.put(&format!("{services}/s"), plain).await.ok();
    assert!(plain["spec"].get("healthCheckNodePort").is_none(), "{plain}");
    assert!(plain["spec"].get("loadBalancerClass").is_none(), "{plain}");
    let alias = json!({"metadata": {"name": "x"}, "spec": {"type": "ExternalName", "externalName": "a.b", "clusterIP": "10.96.0.9",
        "ipFamilyPolicy": "SingleStack", "ports": [{"port": 1, "appProtocol": ""}]}});
    let answer = api.post(services, alias).await;
    let causes = answer.value["details"]["causes"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let fields: Vec<&str> = causes.iter().filter_map(|cause| cause["field"].as_str()).collect();
    assert_eq!(
        fields[..3],
        ["spec.clusterIPs", "spec.ipFamilyPolicy", "spec.ports[0].appProtocol"]
    );
}

/// kube's ValidatePodStatusUpdate.
#[tokio::test]
async fn statuses_of_pods_are_checked() {
    let api = Api::new().await;
    let mut never = pod("p");
    never["spec"]["restartPolicy"] = json!("Never");
    api.post(PODS, never).await.ok();
    let path = format!("{PODS}/p/status");
    let ended = json!({"status": {"hostIP": "192.0.2.1", "hostIPs": [{"ip": "192.0.2.1"}], "podIP": "10.0.0.1",
        "containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 1}}}]}});
    let now = api.patch(&path, "merge-patch+json", ended).await.ok();
    assert_eq!(now["status"]["podIPs"], json!([{"ip": "10.0.0.1"}]));
    let ips = |ips: &[&str]| ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>();
    for (change, field, message) in [
        (
            json!({"containerStatuses": [{"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 1,
                "state": {"running": {}}}]}),
            "status.containerStatuses[0].state",
            "Forbidden: may not be transitioned to non-terminated state",
        ),
        (
            json!({"podIPs": ips(&["10.0.0.1", "10.0.0.2"])}),
            "status.podIPs",
            "Invalid value: [{\"IP\":\"10.0.0.1\"},{\"IP\":\"10.0.0.2\"}]: may specify no more than one IP for each IP family",
        ),
        (
            json!({"hostIPs": ips(&["192.0.2.2"])}),
            "status.hostIPs[0].ip",
            "Invalid value: \"192.0.2.2\": must be equal to `hostIP`",
        ),
        (
            json!({"qosClass": "Guaranteed"}),
            "status.qosClass",
            "Invalid value: \"Guaranteed\": field is immutable",
        ),
        (
            json!({"resourceClaimStatuses": [{"name": "r"}]}),
            "status.resourceClaimStatuses[0].name",
            "Invalid value: \"r\": must match the name of an entry in `spec.resourceClaims`",
        ),
        (
            json!({"containerStatuses": [{"name": "x", "image": "i", "imageID": "", "ready": true, "restartCount": 1,
                "user": {"linux": {"uid": -1, "gid": 0}}}]}),
            "status.containerStatuses[0].linux.uid",
            "Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
    ] {
        let answer = api.patch(&path, "merge-patch+json", json!({"status": change})).await;
        let causes = answer.value["details"]["causes"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert_eq!(causes.len(), 1, "{}", answer.value);
        assert_eq!((answer.code, &causes[0]["field"]), (422, &json!(field)));
        assert_eq!(causes[0]["message"], message);
    }
    // One of each family may be, and the single address is the one that counts.
    let both = json!({"status": {"podIPs": ips(&["10.0.0.1", "fd00::1"])}});
    let two = api.patch(&path, "merge-patch+json", both).await.ok();
    assert_eq!(two["status"]["podIPs"], json!(ips(&["10.0.0.1", "fd00::1"])));
    let other = json!({"status": {"podIP": "10.0.0.9"}});
    let other = api.patch(&path, "merge-patch+json", other).await.ok();
    assert_eq!(other["status"]["podIPs"], json!(ips(&["10.0.0.9"])));
}
