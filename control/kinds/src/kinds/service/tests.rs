use super::*;
use crate::context::{Cluster, Settings};
use std::sync::Arc;

struct Services(Vec<Value>);

impl Cluster for Services {
    fn get(&self, _: &str, resource: &str, _: Option<&str>, name: &str) -> Option<Arc<Value>> {
        let held = json!({"spec": {"parentRef": {"group": "example.com", "resource": "gateways", "name": "g"}}});
        (resource == "ipaddresses" && name == HELD).then(|| Arc::new(held))
    }

    fn list(&self, _: &str, resource: &str, _: Option<&str>) -> Vec<Arc<Value>> {
        let ranges = |object: &&Value| object["spec"].get("cidrs").is_some();
        let wanted = self
            .0
            .iter()
            .filter(|object| ranges(object) == (resource == "servicecidrs"));
        wanted.cloned().map(Arc::new).collect()
    }
}

/// An address that something else has.
const HELD: &str = "10.96.9.9";

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn with<T>(others: &Services, f: impl FnOnce(&Context<'_>) -> T) -> T {
    let settings = Settings::default();
    f(&Context {
        now: now(),
        user: "u",
        groups: &[],
        namespace: "default",
        cluster: others,
        settings: &settings,
    })
}

fn create(others: &Services, spec: Value) -> Result<Value, Denied> {
    let mut service = json!({"metadata": {"name": "a", "namespace": "default"}, "spec": spec});
    Service.default(&mut service);
    with(others, |cx| Service.prepare_create(cx, &mut service))?;
    match Service.validate(&service, None) {
        errors if errors.is_empty() => Ok(service),
        errors => Err(Denied::Invalid(errors)),
    }
}

fn update(others: &Services, old: &Value, change: impl FnOnce(&mut Value)) -> Result<Value, Denied> {
    let mut new = old.clone();
    change(&mut new);
    Service.default(&mut new);
    with(others, |cx| Service.prepare_update(cx, &mut new, old))?;
    match Service.validate(&new, Some(old)) {
        errors if errors.is_empty() => Ok(new),
        errors => Err(Denied::Invalid(errors)),
    }
}

#[test]
fn addresses_come_from_every_range_that_is_ready() {
    let range = |name: &str, cidr: &str, ready: &str| {
        let conditions = json!([{"type": "Ready", "status": ready}]);
        json!({"metadata": {"name": name}, "spec": {"cidrs": [cidr]}, "status": {"conditions": conditions}})
    };
    let mut world = Services(vec![
        range("a", "10.7.0.0/30", "True"),
        range("kubernetes", "10.8.0.0/30", "True"),
        range("off", "10.9.0.0/24", "False"),
    ]);
    let plain = || json!({"ports": [{"port": 80}]});
    let mut given = Vec::new();
    for at in 0..4 {
        let mut made = create(&world, plain()).unwrap();
        made["metadata"]["name"] = json!(format!("s{at}"));
        given.push(made["spec"]["clusterIP"].as_str().unwrap().to_owned());
        world.0.push(made);
    }
    given[..2].sort();
    given[2..].sort();
    assert_eq!(given, ["10.8.0.1", "10.8.0.2", "10.7.0.1", "10.7.0.2"]);
    let why = |refused: Result<Value, Denied>| match refused {
        Err(Denied::Invalid(errors)) => errors[0].to_string(),
        other => panic!("{other:?}"),
    };
    assert!(why(create(&world, plain())).ends_with("range is full"));
    let fixed = |ip: &str| json!({"ports": [{"port": 80}], "clusterIP": ip});
    assert!(why(create(&world, fixed("10.9.0.5"))).ends_with("The range of valid IPs is 10.8.0.0/30, 10.7.0.0/30"));
    assert!(why(create(&none(), fixed(HELD))).ends_with("provided IP is already allocated"));
}

fn none() -> Services {
    Services(vec![])
}

#[test]
fn a_plain_service_gets_everything() {
    let service = create(&none(), json!({"ports": [{"port": 80}], "selector": {"app": "a"}})).unwrap();
    let spec = &service["spec"];
    assert_eq!(spec["type"], "ClusterIP");
    assert_eq!(spec["sessionAffinity"], "None");
    assert_eq!(spec["internalTrafficPolicy"], "Cluster");
    assert_eq!(spec["ipFamilies"], json!(["IPv4"]));
    assert_eq!(spec["ipFamilyPolicy"], "SingleStack");
    assert_eq!(
        spec["ports"],
        json!([{"port": 80, "protocol": "TCP", "targetPort": 80}])
    );
    assert_eq!(spec["clusterIPs"], json!([spec["clusterIP"]]));
    let address: std::net::Ipv4Addr = spec["clusterIP"].as_str().unwrap().parse().unwrap();
    assert!(
        address > std::net::Ipv4Addr::new(10, 96, 1, 0) && address.octets()[..2] == [10, 96],
        "{address}"
    );
    assert_eq!(service["status"], json!({"loadBalancer": {}}));
    assert_eq!(spec.get("externalTrafficPolicy"), None);
}

#[test]
fn session_affinity_has_a_timeout() {
    let service = create(&none(), json!({"ports": [{"port": 80}], "sessionAffinity": "ClientIP"})).unwrap();
    assert_eq!(
        service["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"],
        10_800
    );
}

#[test]
fn fixed_addresses_are_checked() {
    let fixed = |ip: &str| json!({"ports": [{"port": 80}], "clusterIP": ip});
    let first = create(&none(), fixed("10.96.0.1")).unwrap();
    assert_eq!(first["spec"]["clusterIPs"], json!(["10.96.0.1"]));
    let mut other = first;
    other["metadata"]["name"] = json!("other");
    assert_eq!(
        create(&Services(vec![other]), fixed("10.96.0.1"))
            .unwrap_err()
            .to_string(),
        r#"spec.clusterIPs: Invalid value: ["10.96.0.1"]: failed to allocate IP 10.96.0.1: provided IP is already allocated"#
    );
    assert_eq!(
        create(&none(), fixed("192.0.2.1")).unwrap_err().to_string(),
        r#"spec.clusterIPs: Invalid value: ["192.0.2.1"]: failed to allocate IP 192.0.2.1: the provided IP (192.0.2.1) is not in the valid range. The range of valid IPs is 10.96.0.0/16"#
    );
    assert!(
        create(&none(), fixed("x"))
            .unwrap_err()
            .to_string()
            .contains("must be a valid IP address")
    );
}

#[test]
fn headless_and_external_name() {
    let headless = create(&none(), json!({"clusterIP": "None", "selector": {"a": "b"}})).unwrap();
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    let external = create(&none(), json!({"type": "ExternalName", "externalName": "example.com"})).unwrap();
    assert_eq!(external["spec"].get("clusterIP"), None);
    assert_eq!(external["spec"].get("ipFamilies"), None);
    let missing = create(&none(), json!({"type": "ExternalName"}))
        .unwrap_err()
        .to_string();
    assert_eq!(missing, "spec.externalName: Required value");
}

#[test]
fn node_ports_are_chosen_and_checked() {
    let spec = json!({"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 53, "protocol": "UDP"},
        {"name": "c", "port": 53}]});
    let service = create(&none(), spec).unwrap();
    let ports: Vec<i64> = service["spec"]["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["nodePort"].as_i64().unwrap())
        .collect();
    assert!(ports.iter().all(|p| (30_086..=32_767).contains(p)), "{ports:?}");
    assert_ne!(ports[0], ports[1]);
    assert_eq!(ports[1], ports[2], "one port for both protocols");
    assert_eq!(service["spec"]["externalTrafficPolicy"], "Cluster");

    let fixed = |port: i64| json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    let mut other = create(&none(), fixed(30_080)).unwrap();
    other["metadata"]["name"] = json!("other");
    assert_eq!(
        create(&Services(vec![other]), fixed(30_080)).unwrap_err().to_string(),
        "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
    );
    assert_eq!(
        create(&none(), fixed(80)).unwrap_err().to_string(),
        "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports \
         is 30000-32767"
    );
    assert_eq!(
        create(&none(), json!({"ports": [{"port": 80, "nodePort": 30_000}]}))
            .unwrap_err()
            .to_string(),
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"
    );
}

#[test]
fn load_balancers_wait_for_an_address() {
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
    let service = create(&none(), spec).unwrap();
    assert_eq!(service["spec"]["allocateLoadBalancerNodePorts"], true);
    assert!(service["spec"]["healthCheckNodePort"].as_i64().unwrap() >= 30_000);
    assert_eq!(Service.cells(&service, now())[3], "<pending>");
}

#[test]
fn many_services_get_different_addresses_until_the_range_is_full() {
    let settings = Settings {
        service_cidr: ([10, 96, 0, 0].into(), 27),
        ..Settings::default()
    };
    let mut others = none();
    for i in 0..30 {
        let mut service =
            json!({"metadata": {"name": format!("s{i}"), "namespace": "default"}, "spec": {"ports": [{"port": 80}]}});
        Service.default(&mut service);
        let cx = Context {
            now: now(),
            user: "u",
            groups: &[],
            namespace: "default",
            cluster: &others,
            settings: &settings,
        };
        Service.prepare_create(&cx, &mut service).unwrap();
        let address = service["spec"]["clusterIP"].clone();
        assert!(
            !others.0.iter().any(|o| o["spec"]["clusterIP"] == address),
            "{address} twice"
        );
        others.0.push(service);
    }
    let cx = Context {
        now: now(),
        user: "u",
        groups: &[],
        namespace: "default",
        cluster: &others,
        settings: &settings,
    };
    let mut one_more = json!({"metadata": {"name": "x", "namespace": "default"}, "spec": {"ports": [{"port": 80}]}});
    Service.default(&mut one_more);
    assert!(
        Service
            .prepare_create(&cx, &mut one_more)
            .unwrap_err()
            .to_string()
            .contains("range is full")
    );
}

#[test]
fn ports_are_validated() {
    let lines = |ports: Value| match create(&none(), json!({"ports": ports})) {
        Ok(_) => Vec::new(),
        Err(Denied::Invalid(errors)) => errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(lines(json!([])), ["spec.ports: Required value"]);
    assert_eq!(
        lines(json!([{"port": 80}, {"port": 81}])),
        [
            "spec.ports[0].name: Required value",
            "spec.ports[1].name: Required value"
        ]
    );
    assert_eq!(
        lines(json!([{"name": "a", "port": 80}, {"name": "b", "port": 80, "targetPort": 90}])),
        [r#"spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}"#]
    );
    assert_eq!(
        lines(json!([{"port": 0, "targetPort": 80}])),
        ["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"]
    );
    assert_eq!(
        lines(json!([{"port": 80, "targetPort": "80"}])),
        [r#"spec.ports[0].targetPort: Invalid value: "80": must contain at least one letter (a-z)"#]
    );
    assert_eq!(
        create(&none(), json!({"type": "X", "ports": [{"port": 80}]}))
            .unwrap_err()
            .to_string(),
        r#"spec.type: Unsupported value: "X": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort""#
    );
}

#[test]
fn updates_keep_what_was_chosen() {
    let old = create(&none(), json!({"type": "NodePort", "ports": [{"port": 80}]})).unwrap();
    let others = Services(vec![old.clone()]);
    let kept = update(&others, &old, |s| {
        s["spec"] = json!({"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080}]});
    })
    .unwrap();
    assert_eq!(kept["spec"]["clusterIP"], old["spec"]["clusterIP"]);
    assert_eq!(
        kept["spec"]["ports"][0]["nodePort"],
        old["spec"]["ports"][0]["nodePort"]
    );
    assert_eq!(
        update(&others, &old, |s| {
            s["spec"]["clusterIP"] = json!("10.96.3.3");
            s["spec"]["clusterIPs"] = json!(["10.96.3.3"]);
        })
        .unwrap_err()
        .to_string(),
        r#"spec.clusterIPs[0]: Invalid value: ["10.96.3.3"]: may not change once set"#
    );
}

#[test]
fn a_change_of_type_drops_and_gains() {
    let old = create(&none(), json!({"type": "NodePort", "ports": [{"port": 80}]})).unwrap();
    let others = Services(vec![old.clone()]);
    let plain = update(&others, &old, |s| s["spec"]["type"] = json!("ClusterIP")).unwrap();
    assert_eq!(plain["spec"]["ports"][0].get("nodePort"), None);
    assert_eq!(plain["spec"].get("externalTrafficPolicy"), None);
    let back = update(&others, &plain, |s| s["spec"]["type"] = json!("NodePort")).unwrap();
    assert!(back["spec"]["ports"][0]["nodePort"].as_i64().is_some());
    let external = update(&others, &plain, |s| {
        s["spec"]["type"] = json!("ExternalName");
        s["spec"]["externalName"] = json!("example.com");
    })
    .unwrap();
    assert_eq!(external["spec"].get("clusterIP"), None);
    let again = update(&others, &external, |s| {
        s["spec"]["type"] = json!("ClusterIP");
        s["spec"].as_object_mut().unwrap().remove("externalName");
    })
    .unwrap();
    assert!(again["spec"]["clusterIP"].as_str().is_some());
}

#[test]
fn rows() {
    let mut service = create(
        &none(),
        json!({"type": "NodePort", "clusterIP": "10.96.0.7", "selector": {"app": "a"},
        "ports": [{"port": 80, "nodePort": 30_080}]}),
    )
    .unwrap();
    service["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(
        Service.cells(&service, now()),
        ["a", "NodePort", "10.96.0.7", "<none>", "80:30080/TCP", "0s", "app=a"]
    );
    assert_eq!(
        Service.selectable_fields(&service),
        [
            ("spec.clusterIP".into(), "10.96.0.7".to_owned()),
            ("spec.type".into(), "NodePort".to_owned())
        ]
    );
}

#[test]
fn a_load_balancers_address_is_where_packets_arrive() {
    let ingress = json!([{"ip": "203.0.113.1"}, {"ip": "203.0.113.2", "ipMode": "Proxy"}, {"hostname": "a.b"}]);
    let status = json!({"loadBalancer": {"ingress": ingress}});
    let mut service = json!({"spec": {"type": "LoadBalancer"}, "status": status});
    Service.default(&mut service);
    let modes: Vec<&Value> = items_mut(&mut service["status"]["loadBalancer"], "ingress")
        .iter()
        .map(|i| &i["ipMode"])
        .collect();
    assert_eq!(json!(modes), json!(["VIP", "Proxy", null]));
    let mut plain = json!({"spec": {"type": "ClusterIP"}, "status": status});
    Service.default(&mut plain);
    assert_eq!(plain["status"], status);
}
