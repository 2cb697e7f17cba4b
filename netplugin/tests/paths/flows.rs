//! What happens to connections when endpoints change.

use crate::world::{Connection, World, ask_udp, assert_refused, service, sh, tcp, udp_socket};
use barepod_netplugin::{Protocol, ServicePort};
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

pub const CASES: &[crate::Case] = &[
    ("flows_tcp_goes_on_when_its_endpoint_is_gone", established),
    ("flows_udp_leaves_an_endpoint_that_is_gone", udp_moves),
    ("flows_udp_finds_an_endpoint_that_came_later", udp_finds),
    ("flows_udp_after_a_restart", udp_restart),
    ("flows_no_connection_fails_during_changes", no_loss),
];

fn at(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn established() {
    let mut world = World::new();
    let pods = world.servers(&["a", "b"]);
    world.sync(&[service("ns/web:", "10.96.0.10", 80, &[&pods[0]])]);
    let mut connection = Connection::open(at("10.96.0.10:80")).unwrap();
    assert_eq!(connection.ask().unwrap().name, "a");
    world.sync(&[service("ns/web:", "10.96.0.10", 80, &[&pods[1]])]);
    // When sync returns, the endpoint is out of the data path.
    for _ in 0..20 {
        assert_eq!(tcp(at("10.96.0.10:80")).unwrap().name, "b");
    }
    assert_eq!(
        connection.ask().unwrap().name,
        "a",
        "the established connection goes on"
    );
    world.sync(&[]);
    assert_refused(&tcp(at("10.96.0.10:80")), "the service is gone");
    world.sync(&[service("ns/web:", "10.96.0.10", 80, &[&pods[1]])]);
    assert_eq!(tcp(at("10.96.0.10:80")).unwrap().name, "b");
}

fn dns(endpoints: &[&crate::world::Pod]) -> ServicePort {
    ServicePort {
        protocol: Protocol::Udp,
        node_port: Some(30053),
        ..service("ns/dns:", "10.96.0.11", 53, endpoints)
    }
}

fn udp_moves() {
    let mut world = World::new();
    sh("ip addr add 192.0.2.7/32 dev lo");
    let pods = world.servers(&["a", "b"]);
    world.sync(&[dns(&[&pods[0]])]);
    let sockets = [udp_socket(), udp_socket()];
    let targets = ["10.96.0.11:53", "192.0.2.7:30053"];
    for (socket, to) in sockets.iter().zip(targets) {
        assert_eq!(ask_udp(socket, at(to)).unwrap().name, "a");
    }
    let synced = world.net().sync(&[dns(&[&pods[0], &pods[1]])]).unwrap();
    assert_eq!(synced.flushed_flows, 0, "a further endpoint takes nothing away");
    let synced = world.net().sync(&[dns(&[&pods[1]])]).unwrap();
    assert_eq!(synced.flushed_flows, 2);
    for (socket, to) in sockets.iter().zip(targets) {
        assert_eq!(ask_udp(socket, at(to)).unwrap().name, "b", "the same socket, {to}");
    }
    assert_eq!(world.net().sync(&[]).unwrap().flushed_flows, 2);
    assert_refused(&ask_udp(&sockets[0], at(targets[0])), "the service is gone");
}

fn udp_finds() {
    let mut world = World::new();
    sh("ip addr add 192.0.2.7/32 dev lo");
    let pods = world.servers(&["a"]);
    world.sync(&[]);
    let socket = udp_socket();
    // Nobody listens: the host answers "port unreachable", and tracks the flow.
    assert_refused(&ask_udp(&socket, at("192.0.2.7:30053")), "no service yet");
    world.sync(&[dns(&[&pods[0]])]);
    assert_eq!(ask_udp(&socket, at("192.0.2.7:30053")).unwrap().name, "a");
}

fn udp_restart() {
    let mut world = World::new();
    let pods = world.servers(&["a", "b"]);
    world.sync(&[dns(&[&pods[0]])]);
    let socket = udp_socket();
    assert_eq!(ask_udp(&socket, at("10.96.0.11:53")).unwrap().name, "a");
    world.open();
    // What changed while nobody looked is found out at the first sync.
    assert_eq!(world.net().sync(&[dns(&[&pods[1]])]).unwrap().flushed_flows, 1);
    assert_eq!(ask_udp(&socket, at("10.96.0.11:53")).unwrap().name, "b");
}

fn no_loss() {
    let mut world = World::new();
    let pods = world.servers(&["a", "b", "c"]);
    let steady = service("ns/steady:", "10.96.0.10", 80, &[&pods[0], &pods[1]]);
    let changing = |i: usize| service("ns/changing:", "10.96.0.20", 80, &[&pods[i % 3], &pods[(i + 1) % 3]]);
    world.sync(&[steady.clone(), changing(0)]);
    let stop = AtomicBool::new(false);
    let asked = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for to in ["10.96.0.10:80", "10.96.0.20:80"] {
            let (stop, asked) = (&stop, &asked);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    tcp(at(to)).unwrap_or_else(|e| panic!("{to}: {e}"));
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut i = 0;
        while asked.load(Ordering::Relaxed) < 600 {
            i += 1;
            if i % 20 == 0 {
                // Taking over from an earlier process rebuilds the whole table.
                world.open();
            }
            world.sync(&[steady.clone(), changing(i)]);
        }
        stop.store(true, Ordering::Relaxed);
    });
}
