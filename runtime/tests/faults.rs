//! A monitor that dies at any moment leaves nothing that is not found and removed.

mod support;

use barepod_runtime::fault::POINTS;
use barepod_runtime::protocol::Request;
use barepod_runtime::records;
use support::{Pod, check_gone, clean, isolate, parse_line, remove_parent, sandbox, start_monitor};

/// A pod from its start to its end, with a monitor that dies on the way.
fn live(pod: &mut Pod) {
    let container = pod.container(&["sleep", "0.05"]);
    pod.send(
        Request::Create {
            config: Some(Box::new(container.clone())),
            start: true,
        },
        &[],
    );
    // Whatever comes: the monitor may be gone at any of these.
    let mut packets = 0;
    while packets < 2 && pod.receive().is_some() {
        packets += 1;
    }
    if packets < 2 {
        return;
    }
    let lasting = pod.container(&["sleep", "1000"]);
    pod.send(
        Request::Create {
            config: Some(Box::new(lasting.clone())),
            start: true,
        },
        &[],
    );
    if pod.receive().is_none() {
        return;
    }
    pod.send(Request::Delete { id: lasting.id }, &[]);
    if pod.receive().is_none() {
        return;
    }
    pod.send(Request::Stop, &[]);
    while pod.receive().is_some() {}
}

#[test]
fn death_at_every_point_leaves_nothing() {
    for point in POINTS {
        isolate();
        if point.starts_with("sandbox.st") || point.starts_with("container.") {
            let mut pod = Pod::with_fault("fault", Some(point), |_| {});
            live(&mut pod);
            pod.cleanup();
            continue;
        }
        let config = sandbox("fault");
        let (success, line) = start_monitor(&config, Some(point));
        assert!(!success, "{point}");
        if *point != "sandbox.ready" {
            assert!(
                parse_line(&line).unwrap_err().message.contains("monitor died"),
                "{point}: {line}"
            );
        }
        // The monitor may have died before it wrote anything down: then there is nothing.
        assert!(
            records::load(&config.dir).is_ok_and(|record| !record.monitor_alive) || *point == "sandbox.monitor-forked"
        );
        clean(&config);
        check_gone(&config);
        remove_parent(&config);
    }
}

#[test]
fn a_new_start_clears_what_an_unfinished_one_left() {
    isolate();
    let config = sandbox("again");
    for point in ["sandbox.recorded", "sandbox.pause-cloned", "sandbox.limits-set"] {
        let (success, _) = start_monitor(&config, Some(point));
        assert!(!success);
    }
    let (success, line) = start_monitor(&config, None);
    assert!(success, "{line}");
    clean(&config);
    check_gone(&config);
    remove_parent(&config);
}

#[test]
fn many_pods_at_once() {
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(|| {
                for _ in 0..3 {
                    let mut pod = Pod::new("many");
                    assert_eq!(pod.script("echo here").1, "here\n");
                    pod.stop();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
