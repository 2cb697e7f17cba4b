//! Pods get their network, keep it, and lose it.

use crate::world::{Pod, Snapshot, World, answer, assert_refused, eventually, sh, tcp, udp};
use barepod_netplugin::inspect;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;

pub const CASES: &[crate::Case] = &[
    ("attach_all_ways_between_pods_and_host", ways),
    ("attach_nothing_is_left_after_reset", nothing_left),
    ("attach_settings_of_the_host_come_back", settings_come_back),
    ("attach_is_idempotent", idempotent),
    ("attach_a_new_sandbox_of_the_same_pod", new_sandbox),
    ("attach_pods_cannot_meet_on_the_wire", isolated),
    ("attach_failures_leave_nothing", failures),
    ("attach_a_node_full_of_pods", full_node),
    ("attach_an_interface_goes_with_its_namespace", goes_with_namespace),
];

fn ways() {
    let before = Snapshot::take();
    let mut world = World::new();
    let pods = world.servers(&["a", "b"]);
    let (a, b) = (&pods[0], &pods[1]);
    let gateway = Ipv4Addr::new(10, 244, 0, 1);
    assert_eq!(
        a.tcp(b.at(8080)).unwrap(),
        answer("b", a.ip),
        "pod to pod keeps the source"
    );
    assert_eq!(b.udp(a.at(8080)).unwrap(), answer("a", b.ip));
    assert_eq!(a.tcp(a.at(8080)).unwrap(), answer("a", a.ip), "pod to itself");
    assert_eq!(tcp(a.at(8080)).unwrap(), answer("a", gateway), "host to pod");
    assert_eq!(udp(b.at(8080)).unwrap(), answer("b", gateway));
    assert_refused(&a.tcp(SocketAddrV4::new(gateway, 9)), "pod to host reaches the host");
    let view = inspect(Some(a.netns.as_fd())).unwrap();
    let eth0 = view.links.iter().find(|l| l.name == "eth0").unwrap();
    assert!(eth0.addresses.contains(&format!("{}/32", a.ip)));
    assert_eq!(eth0.mac, "0a:58:0a:f4:00:02");
    assert!(view.links.iter().all(|l| l.up), "loopback is up too: {view:?}");
    let routes: Vec<_> = view
        .routes
        .iter()
        .map(|r| (r.destination.as_str(), r.gateway))
        .collect();
    assert_eq!(routes, [("default", Some(gateway)), ("10.244.0.1/32", None)]);
    let host = inspect(None).unwrap();
    let end = host.links.iter().find(|l| l.alias.as_deref() == Some("a")).unwrap();
    assert!(end.name.starts_with("bp") && end.bridge.is_some() && end.sent_bytes > 0);
    drop(pods);
    world.reset(&before);
}

fn nothing_left() {
    let before = Snapshot::take();
    let mut world = World::new();
    let pods = world.servers(&["a", "b", "c"]);
    world.sync(&[crate::world::service("ns/web:http", "10.96.0.10", 80, &[&pods[0]])]);
    tcp("10.96.0.10:80".parse().unwrap()).unwrap();
    // The pods still run: their interfaces are deleted under them.
    world.reset(&before);
    assert!(
        sh("cat /proc/net/nf_conntrack").lines().all(|l| !l.contains("10.244.")),
        "tracked connections are gone"
    );
    drop(pods);
    let errors = barepod_netplugin::reset(std::path::Path::new("/nonexistent/network"), "barepod0");
    assert!(errors.is_empty(), "a second reset finds nothing to do: {errors:?}");
}

fn settings_come_back() {
    sh("ip link set lo up
        echo 0 > /proc/sys/net/ipv4/conf/all/accept_redirects
        ip link add other type bridge
        echo 1 > /proc/sys/net/ipv4/conf/other/forwarding");
    let before = Snapshot::take();
    let world = World::new();
    let read = |key: &str| {
        std::fs::read_to_string(format!("/proc/sys/net/ipv4/{key}"))
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(read("ip_forward"), "1");
    assert_eq!(read("conf/all/send_redirects"), "0");
    assert_eq!(read("conf/barepod0/send_redirects"), "0");
    assert_eq!(read("conf/barepod0/rp_filter"), "2");
    assert_eq!(read("conf/lo/forwarding"), "1");
    world.reset(&before);
    assert_eq!(read("ip_forward"), "0");
    // Somebody else wants forwarding: it is not ours to turn off.
    sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
    let before = Snapshot::take();
    World::new().reset(&before);
}

fn idempotent() {
    let mut world = World::new();
    let pods = world.servers(&["3f2a9c1b-7d3e-4f00-8000-0123456789ab"]);
    let pod = &pods[0];
    let first = world.net().attachments();
    for _ in 0..3 {
        let again = world.net().add(&[pod.request()]).remove(0).unwrap();
        assert_eq!([again], first[..]);
    }
    assert_eq!(first[0].host_interface, "bp3f2a9c1b7d3e");
    tcp(pod.at(8080)).unwrap();
    // Removed, and wanted again for the same namespace before the interface is deleted.
    world.net().remove(&pod.name).unwrap();
    let ip = world.net().add(&[pod.request()]).remove(0).unwrap().ip;
    world.net().flush().unwrap();
    tcp(SocketAddrV4::new(ip, 8080)).unwrap();
    for _ in 0..2 {
        world.net().remove(&pod.name).unwrap();
    }
    world.net().remove("never-seen").unwrap();
    world.net().flush().unwrap();
    assert_eq!(world.net().attachments(), []);
    assert_eq!(sh("ip -o link show master barepod0"), "");
    assert_eq!(
        pod.run(|| inspect(None).unwrap().links.len()),
        1,
        "the pod's end is gone as well"
    );
}

fn new_sandbox() {
    let mut world = World::new();
    let old = world.servers(&["a"]);
    let ip = old[0].ip;
    let new = world.servers(&["a"]);
    assert_eq!(new[0].ip, ip, "the pod keeps its address");
    assert_eq!(tcp(new[0].at(8080)).unwrap().name, "a");
    assert_eq!(old[0].run(|| inspect(None).unwrap().links.len()), 1);
    // Removed, and at once added again, before the old interface is deleted.
    world.net().remove("a").unwrap();
    let newest = world.servers(&["a"]);
    world.net().flush().unwrap();
    assert_eq!(
        tcp(newest[0].at(8080)).unwrap().name,
        "a",
        "the old one's deletion does not hit the new one"
    );
}

fn isolated() {
    let mut world = World::new();
    let pods = world.servers(&["a", "b"]);
    assert_eq!(sh("bridge -d link show | grep -c 'isolated on'").trim(), "2");
    let target = pods[1].ip;
    // With a route straight to the other pod, even a known hardware address does not help.
    let netns = pods[0].netns.try_clone().unwrap();
    let path = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        std::os::fd::AsRawFd::as_raw_fd(&netns)
    );
    sh(&format!(
        "nsenter --net={path} sh -ec 'ip route add {target}/32 dev eth0;
           ip neigh replace {target} lladdr 0a:58:0a:f4:00:03 dev eth0 nud permanent'"
    ));
    let to = pods[1].at(8080);
    let direct = pods[0]
        .run(move || std::net::TcpStream::connect_timeout(&to.into(), std::time::Duration::from_millis(300)).map(drop));
    assert!(direct.is_err(), "a frame went from port to port");
    // Redirects would teach pods exactly such routes.
    sh(&format!("nsenter --net={path} ip route del {target}/32 dev eth0"));
    pods[0].tcp(pods[1].at(8080)).unwrap();
    assert_refused(
        &pods[0].tcp("10.96.0.200:80".parse().unwrap()),
        "no service has this address",
    );
    assert_eq!(
        sh("nstat -asz IcmpOutRedirects | awk '/Redirects/ {print $2}'").trim(),
        "0"
    );
}

fn failures() {
    let mut world = World::new();
    let good = Pod::new("good");
    let taken = Pod::new("taken");
    taken.run(|| sh("ip link add eth0 type bridge"));
    let before = sh("ip -o link | wc -l");
    let mut results = world.net().add(&[taken.request(), good.request()]);
    results.remove(1).unwrap();
    let error = results.remove(0).unwrap_err();
    assert!(error.to_string().contains("create interface"), "{error}");
    world.net().flush().unwrap();
    assert_eq!(
        world.net().attachments().len(),
        1,
        "the address of the failed pod is free again"
    );
    let after: u32 = sh("ip -o link | wc -l").trim().parse().unwrap();
    assert_eq!(after, before.trim().parse::<u32>().unwrap() + 1);
    let second = barepod_netplugin::Network::open(world.config()).unwrap_err();
    assert!(second.to_string().contains("in use by another process"), "{second}");
}

fn full_node() {
    let before = Snapshot::take();
    let mut world = World::new();
    let pods: Vec<Pod> = (0..254).map(|i| Pod::new(&format!("pod-{i}"))).collect();
    let requests: Vec<_> = pods.iter().map(Pod::request).collect();
    let results = world.net().add(&requests);
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 253);
    let error = results.into_iter().find_map(Result::err).unwrap();
    assert!(error.to_string().contains("no free address"), "{error}");
    assert_eq!(sh("ip -o link show master barepod0 | wc -l").trim(), "253");
    for result in world.net().gc(&["pod-7".to_owned()]) {
        result.unwrap();
    }
    world.net().flush().unwrap();
    assert_eq!(sh("ip -o link show master barepod0 | wc -l").trim(), "1");
    world.reset(&before);
}

fn goes_with_namespace() {
    let mut world = World::new();
    let pods = world.servers(&["a"]);
    drop(pods);
    eventually("the end of the interface", || {
        sh("ip -o link show master barepod0").is_empty()
    });
    world.net().remove("a").unwrap();
    world.net().flush().unwrap();
}
