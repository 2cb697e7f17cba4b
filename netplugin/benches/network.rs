//! What pod networking costs: `cargo bench -p barepod-netplugin` (root; everything happens in a namespace of its own).
//!
//! Prints medians and 99th percentiles. The floor for one pod, measured with the same kernel calls and nothing else:
//! veth pair born in the namespace 0.45 ms, a socket inside 0.02 ms, everything inside in one send 0.18 ms.

use barepod_netplugin::{AddRequest, Config, Network, ServicePort};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

fn main() {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("this bench needs root");
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("make mounts private");
    // In memory, as below /run on a node; on a disk a reservation also waits for that.
    let parent = std::env::var_os("BENCH_DIR").unwrap_or_else(|| "/dev/shm".into());
    let dir = Path::new(&parent).join(format!("barepod-bench-{}", std::process::id()));
    let config = Config {
        bridge: "barepod0".into(),
        pod_cidr: "10.244.0.0/20".parse().expect("a constant network"),
        cluster_cidr: "10.244.0.0/16".parse().expect("a constant network"),
        service_cidr: "10.96.0.0/16".parse().expect("a constant network"),
        state_dir: dir.clone(),
        mtu: None,
    };
    let start = Instant::now();
    let mut network = Network::open(config).expect("open the network");
    println!("{:<46} {:>9.3} ms", "open on an empty host", ms(start.elapsed()));
    pods(&mut network);
    services(&mut network, 1000);
    services(&mut network, 5000);
    drop(network);
    let start = Instant::now();
    let errors = barepod_netplugin::reset(&dir, "barepod0");
    assert!(errors.is_empty(), "{errors:?}");
    println!("{:<46} {:>9.3} ms", "reset", ms(start.elapsed()));
}

fn namespace() -> File {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace");
        File::open("/proc/thread-self/ns/net").expect("open it")
    };
    std::thread::spawn(make).join().expect("the thread ends")
}

fn pods(network: &mut Network) {
    let mut singles = vec![];
    let mut removals = vec![];
    let mut kept = vec![];
    for i in 0..200 {
        let netns = namespace();
        let uid = format!("single-{i}");
        let request = AddRequest {
            uid: &uid,
            netns: netns.as_fd(),
            host_ports: vec![],
        };
        let start = Instant::now();
        network.add(&[request]).remove(0).expect("attach");
        singles.push(start.elapsed());
        kept.push(netns);
    }
    report("add, one pod at a time", &mut singles);
    for i in 0..200 {
        let start = Instant::now();
        network.remove(&format!("single-{i}")).expect("remove");
        removals.push(start.elapsed());
    }
    report("remove, returned to the caller", &mut removals);
    let start = Instant::now();
    network.flush().expect("flush");
    println!(
        "{:<46} {:>9.3} ms",
        "200 interfaces deleted together",
        ms(start.elapsed())
    );
    for size in [10, 100] {
        let mut each = vec![];
        for round in 0..5 {
            let uids: Vec<String> = (0..size).map(|i| format!("batch-{size}-{round}-{i}")).collect();
            let namespaces: Vec<File> = uids.iter().map(|_| namespace()).collect();
            let requests: Vec<AddRequest<'_>> = uids
                .iter()
                .zip(&namespaces)
                .map(|(uid, netns)| AddRequest {
                    uid,
                    netns: netns.as_fd(),
                    host_ports: vec![],
                })
                .collect();
            let start = Instant::now();
            network
                .add(&requests)
                .into_iter()
                .for_each(|r| drop(r.expect("attach")));
            each.push(start.elapsed() / size);
            for uid in &uids {
                network.remove(uid).expect("remove");
            }
            network.flush().expect("flush");
        }
        report(&format!("add, each of a batch of {size}"), &mut each);
    }
}

fn services(network: &mut Network, count: u32) {
    let mut services: Vec<ServicePort> = (0..count)
        .map(|i| ServicePort {
            name: format!("namespace-{}/service-{i}:http", i % 20),
            cluster_ip: Some(Ipv4Addr::from_bits(0x0a60_0100 + i)),
            port: 80,
            node_port: (i < 100).then(|| 30000 + u16::try_from(i).unwrap_or(0)),
            endpoints: (0..5)
                .map(|e| SocketAddrV4::new(Ipv4Addr::from_bits(0x0af4_1000 + i * 5 + e), 8080))
                .collect(),
            ..ServicePort::default()
        })
        .collect();
    let start = Instant::now();
    let synced = network.sync(&services).expect("sync");
    let what = format!("sync of {count} services with 5 endpoints each");
    println!(
        "{what:<46} {:>9.3} ms ({} messages)",
        ms(start.elapsed()),
        synced.messages
    );
    let mut unchanged = vec![];
    let mut changed = vec![];
    for i in 0..100 {
        let start = Instant::now();
        network.sync(&services).expect("sync");
        unchanged.push(start.elapsed());
        services[i * 7].endpoints.pop();
        let start = Instant::now();
        network.sync(&services).expect("sync");
        changed.push(start.elapsed());
    }
    report(&format!("sync without a change among {count}"), &mut unchanged);
    report(&format!("sync of one changed service among {count}"), &mut changed);
    network.sync(&[]).expect("sync");
    let mut fresh = vec![];
    for service in &services[..50] {
        let start = Instant::now();
        network.sync(std::slice::from_ref(service)).expect("sync");
        fresh.push(start.elapsed());
    }
    report("sync of one service, one before it goes", &mut fresh);
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |part: usize| ms(times[(times.len() - 1) * part / 100]);
    println!(
        "{what:<46} {:>9.3} ms median, {:.3} ms p99, {} samples",
        at(50),
        at(99),
        times.len()
    );
}
