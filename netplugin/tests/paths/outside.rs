//! Traffic to and from the outside.

use crate::world::{Snapshot, World, answer, assert_silent, outsider, service, sh};
use std::net::{Ipv4Addr, SocketAddrV4};

pub const CASES: &[crate::Case] = &[
    ("outside_pods_are_masqueraded", masqueraded),
    ("outside_node_ports_and_external_addresses", node_ports),
    ("outside_local_policy_keeps_the_client", local_policy),
    ("outside_mtu_follows_the_default_route", mtu),
];

const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

fn at(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn masqueraded() {
    let mut outsider = outsider();
    outsider.serve(9000);
    let before = Snapshot::take();
    let mut world = World::new();
    let pods = world.servers(&["a", "b"]);
    let there = SocketAddrV4::new(outsider.ip, 9000);
    assert_eq!(
        pods[0].tcp(there).unwrap(),
        answer("outsider", HOST),
        "leaving the cluster"
    );
    assert_eq!(pods[0].udp(there).unwrap(), answer("outsider", HOST));
    assert_eq!(
        pods[0].tcp(pods[1].at(8080)).unwrap().client,
        pods[0].ip,
        "staying in the cluster"
    );
    let mut far = service("ns/far:", "10.96.0.10", 80, &[]);
    far.endpoints = vec![there];
    world.sync(&[far]);
    assert_eq!(
        pods[0].tcp(at("10.96.0.10:80")).unwrap(),
        answer("outsider", HOST),
        "through a service"
    );
    assert_eq!(
        crate::world::tcp(at("10.96.0.10:80")).unwrap(),
        answer("outsider", HOST),
        "the host through a service"
    );
    drop(pods);
    sh("ip neigh flush all");
    world.reset(&before);
}

fn node_ports() {
    let outsider = outsider();
    let mut world = World::new();
    let pods = world.servers(&["a", "b"]);
    let mut web = service("ns/web:http", "10.96.0.10", 80, &[&pods[0]]);
    web.node_port = Some(30080);
    web.external_ips = vec!["203.0.113.9".parse().unwrap()];
    world.sync(&[web.clone()]);
    assert_eq!(outsider.tcp(at("198.51.100.1:30080")).unwrap(), answer("a", GATEWAY));
    assert_eq!(outsider.tcp(at("203.0.113.9:80")).unwrap(), answer("a", GATEWAY));
    assert_eq!(pods[1].tcp(at("203.0.113.9:80")).unwrap().name, "a");
    web.endpoints.clear();
    world.sync(&[web]);
    sh("ip route add 203.0.113.0/24 via 198.51.100.2");
    crate::world::assert_refused(&outsider.tcp(at("198.51.100.1:30080")), "without an endpoint");
    crate::world::assert_refused(&outsider.tcp(at("203.0.113.9:80")), "without an endpoint");
}

fn local_policy() {
    let mut outsider = outsider();
    outsider.serve(8080);
    let mut world = World::new();
    let pods = world.servers(&["a", "b"]);
    let mut web = service("ns/web:http", "10.96.0.10", 80, &[&pods[0]]);
    web.endpoints.push(SocketAddrV4::new(outsider.ip, 8080));
    web.node_port = Some(30080);
    web.local_endpoints_only_external = true;
    world.sync(&[web.clone()]);
    for _ in 0..4 {
        assert_eq!(
            outsider.tcp(at("198.51.100.1:30080")).unwrap(),
            answer("a", outsider.ip),
            "the client is kept"
        );
    }
    web.endpoints = vec![SocketAddrV4::new(outsider.ip, 8080)];
    world.sync(&[web]);
    let silent = outsider.run(|| {
        let to = at("198.51.100.1:30080").into();
        std::net::TcpStream::connect_timeout(&to, std::time::Duration::from_millis(300)).map(|_| answer("", HOST))
    });
    assert_silent(&silent, "without a local endpoint");
    assert_eq!(
        pods[1].tcp(at("198.51.100.1:30080")).unwrap().name,
        "outsider",
        "pods may go anywhere"
    );
}

fn mtu() {
    let outsider = outsider();
    sh("ip link set cable0 mtu 1400 && ip route add default via 198.51.100.2");
    let mut world = World::new();
    let pods = world.servers(&["a"]);
    let mtu = pods[0].run(|| {
        let view = barepod_netplugin::inspect(None).unwrap();
        view.links.iter().find(|l| l.name == "eth0").unwrap().mtu
    });
    assert_eq!(mtu, 1400);
    assert!(sh("ip -o link show barepod0").contains("mtu 1400"));
    drop(outsider);
}
