//! Starting again after a crash at any point, and after somebody else's hands.

use crate::world::{Pod, Snapshot, World, config, service, sh, tcp};
use barepod_netplugin::{Network, reset};
use std::net::SocketAddrV4;

pub const CASES: &[crate::Case] = &[
    ("restart_interrupts_nothing", interrupts_nothing),
    ("restart_collects_what_belongs_to_no_pod", garbage),
    ("restart_repairs_a_lost_table", lost_table),
    ("restart_repairs_a_lost_bridge", lost_bridge),
    ("restart_with_another_pod_cidr", another_cidr),
    ("restart_reset_from_any_part", reset_from_parts),
];

fn at(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn interrupts_nothing() {
    let mut world = World::new();
    let pods = world.servers(&["a", "b"]);
    let web = service("ns/web:", "10.96.0.10", 80, &[&pods[0]]);
    world.sync(std::slice::from_ref(&web));
    let before = world.net().attachments();
    world.open();
    assert_eq!(world.net().attachments(), before);
    assert_eq!(tcp(at("10.96.0.10:80")).unwrap().name, "a", "before the first sync");
    assert!(world.net().sync(std::slice::from_ref(&web)).unwrap().rebuilt);
    assert_eq!(tcp(at("10.96.0.10:80")).unwrap().name, "a");
    assert!(!world.net().sync(&[web]).unwrap().changed);
    let again = world.net().add(&[pods[1].request()]).remove(0).unwrap();
    assert_eq!(again, before[1]);
}

fn garbage() {
    let mut world = World::new();
    let pods = world.servers(&["live", "dead", "lost"]);
    world.network = None;
    // A crash between the note of the release and the end of the interface.
    let journal = world.dir.join("reservations.jsonl");
    let content = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, content.trim_end().to_owned() + "\n{\"release\":[\"lost\"]}\n").unwrap();
    world.open();
    let results = world.net().gc(&["live".to_owned()]);
    assert_eq!(results.len(), 2, "{results:?}");
    results.into_iter().for_each(|r| r.unwrap());
    world.net().flush().unwrap();
    let left: Vec<String> = world.net().attachments().into_iter().map(|a| a.uid).collect();
    assert_eq!(left, ["live"]);
    assert_eq!(sh("ip -o link show master barepod0 | wc -l").trim(), "1");
    tcp(pods[0].at(8080)).unwrap();
    assert!(world.net().gc(&["live".to_owned()]).is_empty());
}

fn lost_table() {
    let mut world = World::new();
    let pods = world.servers(&["a", "b"]);
    let one = service("ns/one:", "10.96.0.10", 80, &[&pods[0]]);
    let two = service("ns/two:", "10.96.0.11", 80, &[&pods[1]]);
    world.sync(&[one.clone(), two.clone()]);
    sh("nft flush ruleset");
    assert!(
        world.net().sync(&[one.clone(), two.clone()]).unwrap().rebuilt,
        "also without a change of its own"
    );
    assert_eq!(tcp(at("10.96.0.10:80")).unwrap().name, "a");
    // Somebody deleted what the next change wants to delete.
    sh("nft delete element ip barepod services '{ 10.96.0.11 . tcp . 80 }'");
    assert!(world.net().sync(&[one]).unwrap().rebuilt);
    assert_eq!(tcp(at("10.96.0.10:80")).unwrap().name, "a");
    // Other tables are none of our business.
    sh("nft add table ip other");
    world.sync(&[two]);
    assert!(sh("nft list tables").contains("table ip other"));
}

fn lost_bridge() {
    let before = Snapshot::take();
    let mut world = World::new();
    let mut pods = world.servers(&["a"]);
    sh("ip link del barepod0");
    world.open();
    pods[0].ip = world.net().add(&[pods[0].request()]).remove(0).unwrap().ip;
    tcp(pods[0].at(8080)).unwrap();
    drop(pods);
    world.reset(&before);
}

fn another_cidr() {
    let before = Snapshot::take();
    let mut world = World::new();
    let pods = world.servers(&["a"]);
    world.network = None;
    let mut other = config(&world.dir);
    other.pod_cidr = "10.244.7.0/24".parse().unwrap();
    other.service_cidr = "10.97.0.0/16".parse().unwrap();
    world.network = Some(Network::open(other).unwrap());
    assert!(!sh("ip -o addr show dev barepod0").contains("10.244.0.1"));
    let routes = sh("ip route show dev barepod0");
    assert!(
        routes.contains("10.97.0.0/16") && !routes.contains("10.96.0.0/16"),
        "{routes}"
    );
    // The sandbox of before has the old address; a new one gets a new address.
    let mut pod = Pod::new("a");
    pod.ip = world.net().add(&[pod.request()]).remove(0).unwrap().ip;
    assert_eq!(pod.ip.to_string(), "10.244.7.2");
    pod.serve(8080);
    tcp(pod.at(8080)).unwrap();
    drop((pods, pod));
    world.reset(&before);
}

/// A crash leaves a part of what is made; a reset removes any part.
fn reset_from_parts() {
    let before = Snapshot::take();
    let parts = [
        "ip link del barepod0",
        "nft delete table ip barepod",
        "rm STATE/reservations.jsonl",
        "rm STATE/lock",
        "printf '{\"reserve\":[{\"uid' >> STATE/reservations.jsonl",
        "touch STATE/host.json.new STATE/reservations.jsonl.new",
    ];
    for part in parts {
        let mut world = World::new();
        let pods = world.servers(&["a", "b"]);
        world.sync(&[service("ns/web:", "10.96.0.10", 80, &[&pods[0]])]);
        world.network = None;
        sh(&part.replace("STATE", &world.dir.display().to_string()));
        println!("{part}");
        world.reset(&before);
    }
    // A reset while the owner runs changes nothing.
    let world = World::new();
    let errors = reset(&world.dir, "barepod0");
    assert!(
        matches!(errors[..], [barepod_netplugin::Error::Locked(_)]),
        "{errors:?}"
    );
    assert!(sh("ip -o link show barepod0").contains("UP"));
    world.reset(&before);
}
