//! Services inside the cluster.

use crate::world::{Pod, Snapshot, TIMEOUT, World, answer, assert_refused, service, sh, tcp, udp};
use barepod_netplugin::{Protocol, ServicePort, rules_for};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

pub const CASES: &[crate::Case] = &[
    ("services_by_cluster_ip", cluster_ip),
    ("services_take_turns", turns),
    ("services_node_port_on_own_addresses", node_port),
    ("services_without_endpoints_refuse", refused),
    ("services_session_affinity", affinity),
    ("services_with_an_endpoint_on_the_host", host_endpoint),
    ("services_follow_every_change", changes),
    ("services_can_be_inspected", inspected),
];

fn at(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

fn cluster_ip() {
    let before = Snapshot::take();
    let mut world = World::new();
    let pods = world.servers(&["a", "b"]);
    let (a, b) = (&pods[0], &pods[1]);
    let udp_port = ServicePort {
        protocol: Protocol::Udp,
        ..service("ns/web:dns", "10.96.0.10", 53, &[b])
    };
    world.sync(&[service("ns/web:http", "10.96.0.10", 80, &[b]), udp_port]);
    assert_eq!(
        a.tcp(at("10.96.0.10:80")).unwrap(),
        answer("b", a.ip),
        "pod to service keeps the source"
    );
    assert_eq!(a.udp(at("10.96.0.10:53")).unwrap(), answer("b", a.ip));
    assert_eq!(
        b.tcp(at("10.96.0.10:80")).unwrap(),
        answer("b", GATEWAY),
        "pod to itself through its service"
    );
    assert_eq!(b.udp(at("10.96.0.10:53")).unwrap(), answer("b", GATEWAY));
    // This host has no default route.
    assert_eq!(
        tcp(at("10.96.0.10:80")).unwrap(),
        answer("b", GATEWAY),
        "host to service"
    );
    assert_eq!(udp(at("10.96.0.10:53")).unwrap(), answer("b", GATEWAY));
    assert_refused(&a.tcp(at("10.96.0.10:81")), "a port the service does not have");
    assert_refused(&tcp(at("10.96.0.99:80")), "an address no service has");
    drop(pods);
    world.reset(&before);
}

fn count(asks: usize, ask: impl Fn() -> String) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..asks {
        *counts.entry(ask()).or_default() += 1;
    }
    counts
}

fn turns() {
    let mut world = World::new();
    let pods = world.servers(&["a", "b", "c"]);
    world.sync(&[service(
        "ns/web:http",
        "10.96.0.10",
        80,
        &[&pods[0], &pods[1], &pods[2]],
    )]);
    let counts = count(30, || tcp(at("10.96.0.10:80")).unwrap().name);
    assert_eq!(
        counts,
        BTreeMap::from([("a".into(), 10), ("b".into(), 10), ("c".into(), 10)])
    );
    let counts = count(30, || pods[0].tcp(at("10.96.0.10:80")).unwrap().name);
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [10, 10, 10]);
}

fn node_port() {
    let mut world = World::new();
    sh("ip addr add 192.0.2.7/32 dev lo");
    let pods = world.servers(&["a", "b"]);
    let mut web = service("ns/web:http", "10.96.0.10", 80, &[&pods[0]]);
    web.node_port = Some(30080);
    let dns = ServicePort {
        protocol: Protocol::Udp,
        node_port: Some(30053),
        ..service("ns/dns:", "10.96.0.11", 53, &[&pods[0]])
    };
    world.sync(&[web, dns]);
    for own in ["192.0.2.7:30080", "10.244.0.1:30080"] {
        assert_eq!(tcp(at(own)).unwrap().name, "a", "host to {own}");
        assert_eq!(pods[1].tcp(at(own)).unwrap().name, "a", "another pod to {own}");
        assert_eq!(
            pods[0].tcp(at(own)).unwrap(),
            answer("a", GATEWAY),
            "the pod itself to {own}"
        );
    }
    assert_eq!(udp(at("192.0.2.7:30053")).unwrap().name, "a");
    assert_refused(&tcp(at("127.0.0.1:30080")), "loopback is not a node port address");
    assert_refused(&tcp(at("192.0.2.7:30081")), "another port");
}

fn refused() {
    let mut world = World::new();
    sh("ip addr add 192.0.2.7/32 dev lo");
    let pods = world.servers(&["a"]);
    let mut web = service("ns/web:http", "10.96.0.10", 80, &[]);
    web.node_port = Some(30080);
    web.external_ips = vec!["203.0.113.9".parse().unwrap()];
    sh("ip route add 203.0.113.0/24 dev barepod0");
    let udp_web = ServicePort {
        protocol: Protocol::Udp,
        ..web.clone()
    };
    world.sync(&[web.clone(), udp_web.clone()]);
    for to in ["10.96.0.10:80", "192.0.2.7:30080", "203.0.113.9:80"] {
        assert_refused(&tcp(at(to)), &format!("host to {to}"));
        assert_refused(&pods[0].tcp(at(to)), &format!("pod to {to}"));
        assert_refused(&udp(at(to)), &format!("host to {to}, UDP"));
        assert_refused(&pods[0].udp(at(to)), &format!("pod to {to}, UDP"));
    }
    // The refusal ends with the first endpoint.
    web.endpoints = vec![pods[0].at(8080)];
    world.sync(&[web, udp_web]);
    for to in ["10.96.0.10:80", "192.0.2.7:30080", "203.0.113.9:80"] {
        assert_eq!(tcp(at(to)).unwrap().name, "a");
    }
}

fn affinity() {
    let mut world = World::new();
    let pods = world.servers(&["a", "b", "c", "d", "e"]);
    let (servers, clients) = pods.split_at(3);
    let servers: Vec<&Pod> = servers.iter().collect();
    let mut web = service("ns/web:http", "10.96.0.10", 80, &servers);
    web.affinity_secs = Some(60);
    world.sync(&[web.clone()]);
    let ask = |client: &Pod| client.tcp(at("10.96.0.10:80")).unwrap().name;
    let of_d = ask(&clients[0]);
    let of_e = ask(&clients[1]);
    assert_ne!(of_d, of_e, "clients take turns");
    for _ in 0..5 {
        assert_eq!(ask(&clients[0]), of_d);
        assert_eq!(ask(&clients[1]), of_e);
    }
    let bound = rules_for(servers.iter().find(|p| p.name == of_d).unwrap().ip).unwrap();
    assert!(
        bound.iter().any(|l| l.starts_with("1 clients are bound to")),
        "{bound:?}"
    );
    // The endpoint of one client goes, the other client keeps its own.
    web.endpoints
        .retain(|e| *e != servers.iter().find(|p| p.name == of_d).unwrap().at(8080));
    world.sync(&[web.clone()]);
    let new = ask(&clients[0]);
    assert_ne!(new, of_d);
    for _ in 0..5 {
        assert_eq!(ask(&clients[0]), new);
        assert_eq!(ask(&clients[1]), of_e);
    }
    web.affinity_secs = None;
    world.sync(&[web.clone()]);
    assert_ne!(ask(&clients[0]), ask(&clients[0]));
    // A short timeout is over when it is over.
    web.affinity_secs = Some(1);
    world.sync(&[web]);
    let first = ask(&clients[0]);
    crate::world::eventually("the end of the affinity", || {
        !sh("nft list table ip barepod").contains("expires")
    });
    assert_ne!(ask(&clients[0]), first);
}

fn host_endpoint() {
    let mut world = World::new();
    // As the API server on a host that has only a loopback interface: it listens on the bridge's address.
    let listener = std::net::TcpListener::bind("10.244.0.1:6443").unwrap();
    let accept = || listener.accept().unwrap().1.to_string();
    let mut api = service("default/kubernetes:https", "10.96.0.1", 443, &[]);
    api.endpoints = vec![at("10.244.0.1:6443")];
    api.node_port = Some(30443);
    world.sync(&[api]);
    let connect = |to: SocketAddrV4| std::net::TcpStream::connect_timeout(&to.into(), TIMEOUT).unwrap();
    // There is no pod yet, and so no carrier on the bridge.
    let stream = connect(at("10.96.0.1:443"));
    assert!(accept().starts_with("10.244.0.1:"));
    drop(stream);
    let pods = world.servers(&["a"]);
    drop(pods[0].run(move || connect(at("10.96.0.1:443"))));
    assert!(accept().starts_with(&pods[0].ip.to_string()));
    drop(pods[0].run(move || connect(at("10.244.0.1:30443"))));
    accept();
    connect(at("10.244.0.1:30443"));
    accept();
}

fn changes() {
    let mut world = World::new();
    sh("ip addr add 192.0.2.7/32 dev lo");
    let pods = world.servers(&["a", "b"]);
    let one = service("ns/one:", "10.96.0.10", 80, &[&pods[0]]);
    let two = service("ns/two:", "10.96.0.11", 80, &[&pods[1]]);
    let first = world.net().sync(&[one.clone(), two.clone()]).unwrap();
    assert!(first.changed && first.rebuilt);
    let same = world.net().sync(&[two.clone(), one.clone()]).unwrap();
    assert!(!same.changed && same.messages == 0, "{same:?}");
    let ask = |to: &str| tcp(at(to)).map(|a| a.name);
    // The addresses change hands in one transaction.
    let swapped = [
        ServicePort {
            cluster_ip: two.cluster_ip,
            ..one.clone()
        },
        ServicePort {
            cluster_ip: one.cluster_ip,
            ..two.clone()
        },
    ];
    assert!(!world.net().sync(&swapped).unwrap().rebuilt);
    assert_eq!(
        (ask("10.96.0.10:80").unwrap(), ask("10.96.0.11:80").unwrap()),
        ("b".into(), "a".into())
    );
    // A node port moves from one service to another.
    let with_port = |s: &ServicePort| ServicePort {
        node_port: Some(30080),
        ..s.clone()
    };
    world.sync(&[with_port(&one), two.clone()]);
    assert_eq!(ask("192.0.2.7:30080").unwrap(), "a");
    world.sync(&[one.clone(), with_port(&two)]);
    assert_eq!(ask("192.0.2.7:30080").unwrap(), "b");
    let local = ServicePort {
        local_endpoints_only_external: true,
        ..with_port(&two)
    };
    world.sync(&[one.clone(), local]);
    assert_eq!(ask("192.0.2.7:30080").unwrap(), "b");
    // Everything goes, everything comes.
    world.sync(&[]);
    assert_refused(&tcp(at("10.96.0.10:80")), "no service");
    let rules = sh("nft list table ip barepod");
    assert!(
        !rules.contains("svc/") && !rules.contains("ext/") && !rules.contains("loc/"),
        "{rules}"
    );
    world.sync(&[one.clone(), with_port(&two)]);
    assert_eq!(ask("10.96.0.10:80").unwrap(), "a");
    // Names as long as Kubernetes allows, and longer.
    let label = "x".repeat(63);
    for name in [
        format!("{label}/{label}:{}", "y".repeat(15)),
        format!("{label}/{}:", label.repeat(4)),
        "odd \u{fc} {".into(),
    ] {
        let long = ServicePort {
            name,
            affinity_secs: Some(9),
            local_endpoints_only_external: true,
            ..with_port(&two)
        };
        world.sync(&[one.clone(), long]);
        assert_eq!(ask("192.0.2.7:30080").unwrap(), "b");
        sh("nft list ruleset");
    }
    // Two services with one address: the first keeps it, the call tells.
    let thief = ServicePort {
        name: "ns/zzz:".into(),
        ..one.clone()
    };
    let synced = world.net().sync(&[one, thief]).unwrap();
    assert_eq!(synced.conflicts.len(), 1, "{synced:?}");
    assert_eq!(ask("10.96.0.10:80").unwrap(), "a");
}

fn inspected() {
    assert_eq!(rules_for("10.96.0.10".parse().unwrap()).unwrap(), Vec::<String>::new());
    let mut world = World::new();
    let pods = world.servers(&["a", "b"]);
    let mut web = service("ns/web:http", "10.96.0.10", 80, &[&pods[0], &pods[1]]);
    web.node_port = Some(30080);
    world.sync(&[web]);
    let service = rules_for("10.96.0.10".parse().unwrap()).unwrap();
    assert_eq!(service.len(), 1);
    assert!(
        service[0].contains("10.244.0.2:8080") && service[0].contains("10.244.0.3:8080"),
        "{service:?}"
    );
    let pod = rules_for(pods[1].ip).unwrap();
    assert!(
        pod[0].contains("number 2 of 2") && pod[0].contains("10.96.0.10:80/TCP"),
        "{pod:?}"
    );
    assert!(pod[0].contains("node port 30080/TCP"), "{pod:?}");
    // People can read the table with the tool they know.
    let listing = sh("nft list table ip barepod");
    assert!(
        listing.contains("numgen inc mod 2 0") && listing.contains("dnat to 10.244.0.2:8080"),
        "{listing}"
    );
    assert!(
        listing.contains("10.96.0.10 . tcp . 80 : goto svc/ns/web/http/tcp"),
        "{listing}"
    );
}
