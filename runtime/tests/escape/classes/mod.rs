//! The classes of attack.

use crate::harness::Class;

mod bombs;
mod cgroups;
mod console;
mod death;
mod descriptors;
mod hidden;
mod id_maps;
mod links;
mod machine;
mod namespaces;
mod pids;
mod procfs;
mod runtime_file;
mod syscalls;
mod sysctl;
mod users;
mod volumes;

use bombs::{FILES, MEMORY_MB, OPEN_FILES, PIDS};

/// All of them.
pub const ALL: &[Class] = &[
    Class {
        name: "descriptors and working directory",
        attack: descriptors::attack,
        defences: &["closed-descriptors", "directory-inside"],
    },
    Class {
        name: "the runtime's own file",
        attack: runtime_file::attack,
        defences: &["sealed-runtime", "no-runtime-inside", "undumpable"],
    },
    Class {
        name: "hidden and read-only paths",
        attack: hidden::attack,
        defences: &["null-device"],
    },
    Class {
        name: "the console",
        attack: console::attack,
        defences: &["console-in-place"],
    },
    Class {
        name: "writes to procfs",
        attack: procfs::attack,
        defences: &["early-procfs", "resolution-in-mount", "untouched-procfs"],
    },
    Class {
        name: "links in the image",
        attack: links::attack,
        defences: &["resolution-in-root", "resolution-without-links", "untouched-procfs"],
    },
    Class {
        name: "shared volumes",
        attack: volumes::attack,
        defences: &["resolution-in-root", "resolution-beneath", "resolution-at-once"],
    },
    Class {
        name: "kernel parameters",
        attack: sysctl::attack,
        defences: &["sysctl-names", "sysctl-owner", "own-namespaces"],
    },
    Class {
        name: "control groups",
        attack: cgroups::attack,
        defences: &["read-only-cgroups", "cgroup-namespace", "own-cgroups-only", "filter"],
    },
    Class {
        name: "users",
        attack: users::attack,
        defences: &["exec-user", "exec-without-inheritable", "no-user-minus-one"],
    },
    Class {
        name: "exec and death",
        attack: death::attack,
        defences: &["exec-inside"],
    },
    Class {
        name: "pids",
        attack: pids::attack,
        defences: &["start-time", "still-there"],
    },
    Class {
        name: "namespaces",
        attack: namespaces::attack,
        defences: &["namespace-kinds", "namespaces-opened-once"],
    },
    Class {
        name: "id maps",
        attack: id_maps::attack,
        defences: &["own-users", "mapped-user"],
    },
    Class {
        name: "system calls",
        attack: syscalls::attack,
        defences: &["filter", "filter-of-unknown-calls", "filter-of-other-architectures"],
    },
    Class {
        name: "the machine",
        attack: machine::attack,
        defences: &[
            "no-old-root",
            "empty-pause",
            "no-abstract-socket",
            "private-mounts",
            "own-keyring",
            "records-of-ones-own",
        ],
    },
    Class {
        name: "bombs: processes",
        attack: || bombs::bomb("processes", 3 * PIDS, "processes", PIDS),
        defences: &["limits"],
    },
    Class {
        name: "bombs: memory",
        attack: || bombs::bomb("memory", 3 * MEMORY_MB, "megabytes", MEMORY_MB),
        defences: &["limits"],
    },
    Class {
        name: "bombs: open files",
        attack: || bombs::bomb("files", 2000, "open files", OPEN_FILES),
        defences: &["rlimits"],
    },
    Class {
        name: "bombs: cgroups",
        attack: || bombs::bomb("cgroups", 10, "cgroups", 0),
        defences: &["read-only-cgroups"],
    },
    Class {
        name: "bombs: files",
        attack: || bombs::bomb("inodes", FILES, "files", FILES / 2),
        defences: &["limits"],
    },
    Class {
        name: "bombs: watches",
        attack: || bombs::bomb("watches", FILES, "watched files", FILES / 2),
        defences: &["limits"],
    },
    Class {
        name: "bombs: shared memory",
        attack: || bombs::bomb("/dev/shm/bomb", 2 * MEMORY_MB, "megabytes of shared memory", MEMORY_MB),
        defences: &["limits"],
    },
    Class {
        name: "bombs: devices",
        attack: || bombs::bomb("/dev/bomb", 2 * MEMORY_MB, "megabytes among the devices", MEMORY_MB),
        defences: &["limits"],
    },
    Class {
        name: "bombs: small file systems",
        attack: bombs::small_file_systems,
        defences: &["tmpfs-size"],
    },
    Class {
        name: "bombs: output",
        attack: bombs::log,
        defences: &["log-limit"],
    },
];
