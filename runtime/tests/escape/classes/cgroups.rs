//! A container can neither write to control groups nor see others than its own (CVE-2022-0492).

use std::fs;
use std::path::PathBuf;

use barepod_runtime::cgroup::{Cgroup, Layout};

use crate::bundle::{Hostile, pod_container};
use crate::escaped;
use crate::support::{Pod, output, tag};

/// Somebody else's cgroup in every hierarchy, for instance in one in which the container is not.
struct Other(Layout);

impl Other {
    fn path() -> PathBuf {
        PathBuf::from(format!("/barepodtest-other-{}", tag()))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let left = Cgroup::new(&self.0, &Self::path()).remove();
        assert!(left.is_empty() || std::thread::panicking(), "{left:?}");
    }
}

pub fn attack() {
    let other = Other(Layout::detect().unwrap());
    let cgroup = Cgroup::new(&other.0, &Other::path());
    other
        .0
        .all()
        .for_each(|hierarchy| fs::create_dir(cgroup.dir(hierarchy)).unwrap());
    all();
}

fn all() {
    judge(&Hostile::new("cgroups", &["cgroups"], |_| {}).bundle.said());
    let mut pod = Pod::new("cgroups");
    let container = pod_container(&pod, &["cgroups"]);
    pod.run(&container).unwrap();
    pod.wait(&container.id);
    judge(&output(&container.log_path));
    pod.stop();
}

fn judge(said: &str) {
    if let Some(line) = said.lines().find(|line| line.starts_with("gained")) {
        escaped!("{line}");
    }
    let own = said
        .lines()
        .find(|line| line.starts_with("self"))
        .unwrap_or_else(|| panic!("{said}"));
    if own.contains(tag()) || own.contains("barepod") {
        escaped!("the machine's names of cgroups are seen: {own}");
    }
    assert!(!said.contains("hierarchies 0"), "{said}");
}
