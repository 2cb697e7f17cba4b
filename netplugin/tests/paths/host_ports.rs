//! Ports of the host that lead to a pod.

use crate::world::{Pod, Snapshot, World, ask_udp, assert_refused, outsider, sh, tcp, udp, udp_socket};
use barepod_netplugin::{Error, HostPort, Protocol, rules_for};
use std::net::SocketAddrV4;

pub const CASES: &[crate::Case] = &[
    ("host_ports_lead_to_their_pod", lead),
    ("host_ports_belong_to_one_pod", belong),
];

fn at(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn port(host_port: u16, protocol: Protocol, host_ip: Option<&str>) -> HostPort {
    HostPort {
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_port,
        container_port: 8080,
        protocol,
    }
}

fn attach(world: &mut World, name: &str, ports: &[HostPort]) -> Result<Pod, Error> {
    let mut pod = Pod::new(name);
    pod.ip = world.net().add(&[pod.request_ports(ports)]).remove(0)?.ip;
    pod.serve(8080);
    Ok(pod)
}

fn lead() {
    let outsider = outsider();
    sh("ip link set lo up && ip addr add 192.0.2.7/32 dev lo");
    let before = Snapshot::take();
    let mut world = World::new();
    let ports = [
        port(8000, Protocol::Tcp, None),
        port(8000, Protocol::Udp, None),
        port(8001, Protocol::Tcp, Some("192.0.2.7")),
    ];
    let a = attach(&mut world, "a", &ports).unwrap();
    let b = attach(&mut world, "b", &[]).unwrap();
    let socket = udp_socket();
    for own in ["192.0.2.7:8000", "198.51.100.1:8000", "10.244.0.1:8000"] {
        assert_eq!(tcp(at(own)).unwrap().name, "a", "host to {own}");
        assert_eq!(udp(at(own)).unwrap().name, "a", "host to {own}, UDP");
        assert_eq!(b.tcp(at(own)).unwrap().name, "a", "another pod to {own}");
        assert_eq!(a.tcp(at(own)).unwrap().name, "a", "the pod itself to {own}");
    }
    assert_eq!(
        outsider.tcp(at("198.51.100.1:8000")).unwrap().client,
        outsider.ip,
        "the client is kept"
    );
    assert_eq!(tcp(at("192.0.2.7:8001")).unwrap().name, "a");
    assert_refused(&tcp(at("198.51.100.1:8001")), "only on its address");
    assert_eq!(ask_udp(&socket, at("192.0.2.7:8000")).unwrap().name, "a");
    let rules = rules_for(a.ip).unwrap();
    assert!(
        rules.contains(&"host port 8000/TCP goes to 10.244.0.2:8080".to_owned()),
        "{rules:?}"
    );
    // They survive the caller and a rebuilt table.
    world.open();
    assert_eq!(tcp(at("192.0.2.7:8000")).unwrap().name, "a");
    world.sync(&[]);
    assert_eq!(tcp(at("192.0.2.7:8001")).unwrap().name, "a");
    world.net().remove("a").unwrap();
    assert_refused(&tcp(at("192.0.2.7:8000")), "the pod is gone");
    assert_refused(
        &ask_udp(&socket, at("192.0.2.7:8000")),
        "also for a flow that was there",
    );
    // The next pod gets the port, and the flow.
    let next = attach(&mut world, "next", &ports).unwrap();
    assert_eq!(ask_udp(&socket, at("192.0.2.7:8000")).unwrap().name, "next");
    drop((a, b, next));
    sh("ip neigh flush all");
    world.reset(&before);
}

fn belong() {
    let mut world = World::new();
    sh("ip addr add 192.0.2.7/32 dev lo");
    let _a = attach(&mut world, "a", &[port(8000, Protocol::Tcp, None)]).unwrap();
    let error = attach(&mut world, "b", &[port(8000, Protocol::Tcp, Some("192.0.2.7"))])
        .err()
        .unwrap();
    assert!(matches!(error, Error::HostPortTaken { port: 8000, .. }), "{error}");
    assert_eq!(world.net().attachments().len(), 1);
    world.net().remove("a").unwrap();
    let _b = attach(&mut world, "b", &[port(8000, Protocol::Tcp, Some("192.0.2.7"))]).unwrap();
    assert_eq!(tcp(at("192.0.2.7:8000")).unwrap().name, "b");
}
