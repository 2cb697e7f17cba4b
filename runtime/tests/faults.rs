//! A monitor that died in the making is no obstacle to the next one, nor are other pods. What dies when, and leaves
//! nothing, is the soak's.

mod support;

use support::{Pod, check_gone, clean, isolate, remove_parent, sandbox, start_monitor};

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
