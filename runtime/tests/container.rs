//! Containers: what is in them, what they may do, how they end.

mod support;

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use barepod_runtime::protocol::{NamespaceMode, Phase, Reason, Request, Response};
use barepod_runtime::{records, spec};
use nix::mount::{MsFlags, mount as mount_call};
use oci_spec::runtime::{
    Capabilities, Capability, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, Mount, MountBuilder, RootBuilder,
    Spec, UserBuilder,
};
use support::{Pod, capabilities, output, pipe, read_all, until};

fn mount(source: &Path, destination: &str, options: &[&str]) -> Mount {
    MountBuilder::default()
        .source(source)
        .destination(destination)
        .typ("bind")
        .options(options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
        .build()
        .unwrap()
}

fn add_mount(spec: &mut Spec, mount: Mount) {
    let mut mounts = spec.mounts().clone().unwrap();
    mounts.push(mount);
    spec.set_mounts(Some(mounts));
}

fn resources(spec: &mut Spec) -> &mut LinuxResources {
    spec.linux_mut().as_mut().unwrap().resources_mut().as_mut().unwrap()
}

#[test]
fn output_exit_code_and_records() {
    let mut pod = Pod::new("output");
    let container = pod.container(&["sh", "-c", "echo out; echo err >&2; printf unfinished; exit 3"]);
    let state = pod.run(&container).unwrap();
    assert_eq!((state.phase, state.name.as_str()), (Phase::Running, "test"));
    let exit = pod.wait(&container.id);
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (3, None, false));
    assert!(exit.started_at < exit.finished_at);
    let log = fs::read_to_string(&container.log_path).unwrap();
    let mut lines: Vec<&str> = log.lines().map(|line| &line[31..]).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["stderr F err", "stdout F out", "stdout P unfinished"]);
    let state = pod.describe().containers.remove(0);
    assert_eq!((state.phase, state.pid, state.exit), (Phase::Exited, None, Some(exit)));
    assert_eq!(
        records::load(&pod.config.dir).unwrap().state.containers[0].phase,
        Phase::Exited
    );
    pod.ask(Request::Delete {
        id: container.id.clone(),
    })
    .unwrap();
    pod.ask(Request::Delete {
        id: container.id.clone(),
    })
    .unwrap();
    assert!(pod.describe().containers.is_empty());
    pod.stop();
}

#[test]
fn fast_ends_and_much_output_are_never_lost() {
    let mut pod = Pod::new("fast");
    for _ in 0..20 {
        let (exit, text) = pod.script("echo here");
        assert_eq!((exit.code, text.as_str()), (0, "here\n"));
    }
    let (_, text) = pod.script("yes 0123456789abcdef | head -n 100000");
    assert_eq!(text.len(), 1_700_000);
    pod.stop();
}

#[test]
fn made_first_and_started_later() {
    let mut pod = Pod::new("start");
    let container = pod.container(&["echo", "started"]);
    let state = pod.create(&container, false).unwrap();
    assert_eq!((state.phase, state.started_at), (Phase::Created, None));
    assert_eq!(output(&container.log_path), "");
    let started = pod
        .ask(Request::Start {
            id: container.id.clone(),
        })
        .unwrap();
    assert!(matches!(started, Response::Container(state) if state.phase == Phase::Running));
    assert_eq!(pod.wait(&container.id).code, 0);
    assert_eq!(output(&container.log_path), "started\n");
    assert_eq!(
        pod.ask(Request::Start {
            id: container.id.clone()
        })
        .unwrap_err()
        .reason,
        Reason::State
    );

    // One that is never started can be removed, and one of the same name made at once.
    let waiting = pod.container(&["true"]);
    pod.create(&waiting, false).unwrap();
    assert_eq!(pod.create(&waiting, false).unwrap_err().reason, Reason::Exists);
    pod.ask(Request::Delete { id: waiting.id.clone() }).unwrap();
    pod.run(&waiting).unwrap();
    pod.wait(&waiting.id);
    pod.stop();
}

#[test]
fn programs_that_cannot_be_executed() {
    let mut pod = Pod::new("exec-errors");
    for (args, message) in [
        (["no-such"], "exec: \"no-such\": executable file not found in $PATH"),
        (
            ["/no/such"],
            "exec: \"/no/such\": stat /no/such: no such file or directory",
        ),
        (["/etc/passwd"], "exec: \"/etc/passwd\": permission denied"),
        (["/etc"], "exec: \"/etc\": is a directory"),
    ] {
        let container = pod.container(&args);
        let failure = pod.run(&container).unwrap_err();
        assert_eq!((failure.reason, failure.message.as_str()), (Reason::Exec, message));
        assert!(!pod.tracker(&container.id).exists(), "nothing is left of it");
        assert_eq!(
            pod.ask(Request::Start { id: container.id }).unwrap_err().reason,
            Reason::NotFound
        );
    }
    // Only the execution itself can tell: it fails when the container is started.
    let container = pod.container(&["/tmp/text"]);
    let upper = &container.overlay.as_ref().unwrap().upper;
    fs::create_dir(upper.join("tmp")).unwrap();
    fs::write(upper.join("tmp/text"), "\u{1}not a program").unwrap();
    fs::set_permissions(
        upper.join("tmp/text"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    pod.create(&container, false).unwrap();
    let failure = pod
        .ask(Request::Start {
            id: container.id.clone(),
        })
        .unwrap_err();
    assert_eq!(failure.message, "exec /tmp/text: exec format error");
    assert!(pod.describe().containers.is_empty());
    pod.stop();
}

#[test]
fn a_configuration_in_a_memory_file() {
    let mut pod = Pod::new("memfd");
    let mut container = pod.container(&["sh", "-c", "echo ${#BIG}"]);
    let process = container.spec.process_mut().as_mut().unwrap();
    process
        .env_mut()
        .as_mut()
        .unwrap()
        .push(format!("BIG={}", "x".repeat(100_000)));
    let name = c"configuration";
    let memory = nix::sys::memfd::memfd_create(name, nix::sys::memfd::MFdFlags::MFD_CLOEXEC).unwrap();
    let mut file = fs::File::from(memory.try_clone().unwrap());
    file.write_all(&serde_json::to_vec(&container).unwrap()).unwrap();
    pod.ask_with(
        Request::Create {
            config: None,
            start: true,
        },
        &[memory.as_fd()],
    )
    .unwrap();
    assert_eq!(pod.wait(&container.id).code, 0);
    assert_eq!(output(&container.log_path), "100000\n");
    pod.stop();
}

#[test]
fn the_file_system_is_the_containers_own() {
    let mut pod = Pod::new("filesystem");
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let (_, text) =
        pod.script("echo 1 > /new; ls -d /proc/1 /sys/kernel /dev/pts/ptmx /dev/shm /dev/mqueue; ls /; cat /new");
    for part in [
        "/proc/1",
        "/sys/kernel",
        "/dev/pts/ptmx",
        "/dev/shm",
        "/dev/mqueue",
        "bin",
        "\n1\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(
        fs::read_to_string("/proc/self/mountinfo").unwrap(),
        before,
        "nothing is mounted outside"
    );

    let (_, text) = pod.script(
        "echo x > /dev/full; stat -c '%n %t %T %a' /dev/null /dev/zero /dev/tty; readlink /dev/fd; readlink /dev/ptmx",
    );
    assert!(text.contains("No space left"), "{text}");
    assert!(
        text.contains("/dev/null 1 3 666\n/dev/zero 1 5 666\n/dev/tty 5 0 666\n/proc/self/fd\npts/ptmx\n"),
        "{text}"
    );

    let readonly = |spec: &mut Spec| {
        spec.set_root(Some(RootBuilder::default().path("x").readonly(true).build().unwrap()));
    };
    let (exit, text) = pod.script_with("touch /dev/shm/a && echo shm; touch /a", readonly);
    assert!(
        exit.code != 0 && text.contains("shm\n") && text.contains("Read-only file system"),
        "{text}"
    );
    pod.stop();
}

#[test]
fn a_directory_can_be_the_root() {
    let mut pod = Pod::new("directory");
    let mut container = pod.container(&["ls", "/"]);
    container.overlay = None;
    let root = RootBuilder::default()
        .path(support::base().join("rootfs"))
        .readonly(true)
        .build()
        .unwrap();
    container.spec.set_root(Some(root));
    pod.run(&container).unwrap();
    assert_eq!(pod.wait(&container.id).code, 0);
    assert!(output(&container.log_path).contains("bin\ndev\netc\n"));
    pod.stop();
}

#[test]
fn many_layers_fit() {
    let mut pod = Pod::new("layers");
    let mut container = pod.container(&["sh", "-c", "cat /layer"]);
    let overlay = container.overlay.as_mut().unwrap();
    let deep = pod
        .dir
        .join("a-name-that-makes-the-options-longer-than-one-page".repeat(3));
    for number in (0..60).rev() {
        let layer = deep.join(number.to_string());
        fs::create_dir_all(&layer).unwrap();
        fs::write(layer.join("layer"), number.to_string()).unwrap();
        overlay.lower.insert(0, layer);
    }
    pod.run(&container).unwrap();
    assert_eq!(pod.wait(&container.id).code, 0);
    assert_eq!(output(&container.log_path), "0");
    pod.stop();
}

#[test]
fn hidden_and_read_only_paths() {
    let mut pod = Pod::new("paths");
    let (_, text) = pod.script(
        "for p in /proc/keys /proc/timer_list /proc/interrupts; do [ -e $p ] && wc -c < $p; done; ls /sys/firmware /proc/acpi; \
         echo 1 > /proc/sys/kernel/panic; echo 1 > /sys/kernel/mm/ksm/run; mkdir /sys/fs/cgroup/x",
    );
    for line in text.lines() {
        let silent =
            line == "0" || line.is_empty() || line.starts_with("/sys/firmware:") || line.starts_with("/proc/acpi:");
        let refused = ["Read-only file system", "nonexistent directory", "No such file"]
            .iter()
            .any(|r| line.contains(r));
        assert!(silent || refused, "{line:?} in {text}");
    }
    assert!(text.contains("/proc/sys/kernel/panic: Read-only"), "{text}");

    // An image whose /proc is a link would get files of its choice hidden or shown.
    let container = pod.container(&["true"]);
    let upper = &container.overlay.as_ref().unwrap().upper;
    symlink("/tmp", upper.join("proc")).unwrap();
    let failure = pod.run(&container).unwrap_err();
    assert!(failure.message.contains("/proc"), "{failure}");
    pod.stop();
}

#[test]
fn volumes() {
    let mut pod = Pod::new("volumes");
    let volume = pod.dir.join("volume");
    fs::create_dir_all(volume.join("sub")).unwrap();
    fs::write(volume.join("file"), "content\n").unwrap();
    symlink("/etc", volume.join("escape")).unwrap();
    let (exit, text) = pod.script_with(
        "cat /data/file /config/file; echo w > /data/new; echo w > /config/file",
        |spec| {
            add_mount(spec, mount(&volume, "/data", &["rbind", "rw", "rprivate"]));
            add_mount(spec, mount(&volume.join("file"), "/config/file", &["bind", "ro"]));
        },
    );
    assert_eq!(exit.code, 1);
    assert!(
        text.contains("content\ncontent\n") && text.contains("Read-only file system"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(volume.join("new")).unwrap(), "w\n");
    assert!(
        volume.join("new").metadata().unwrap().mode() & 0o777 == 0o644,
        "the usual umask"
    );

    let beneath = format!("x-barepod.beneath={}", volume.display());
    let (exit, _) = pod.script_with("touch /data/inside", |spec| {
        add_mount(spec, mount(Path::new("sub"), "/data", &["bind", &beneath]));
    });
    assert!(exit.code == 0 && volume.join("sub/inside").exists());
    for source in ["escape", "../.."] {
        let mut container = pod.container(&["true"]);
        add_mount(
            &mut container.spec,
            mount(Path::new(source), "/data", &["bind", &beneath]),
        );
        assert!(
            pod.run(&container).unwrap_err().message.contains("cross-device"),
            "{source}"
        );
    }
    // A mount over a part of procfs would deceive whoever reads it.
    let mut container = pod.container(&["true"]);
    add_mount(&mut container.spec, mount(&volume, "/proc/self/attr", &["bind"]));
    assert_eq!(pod.run(&container).unwrap_err().reason, Reason::Invalid);
    // A link in the image leads a mount nowhere but inside.
    let mut container = pod.container(&["ls", "/inside"]);
    let upper = container.overlay.as_ref().unwrap().upper.clone();
    fs::create_dir(upper.join("inside")).unwrap();
    symlink("../../../../inside", upper.join("link")).unwrap();
    add_mount(&mut container.spec, mount(&volume, "/link/data", &["rbind"]));
    pod.run(&container).unwrap();
    assert_eq!(pod.wait(&container.id).code, 0);
    assert_eq!(output(&container.log_path), "data\n");
    pod.stop();
}

#[test]
fn mounts_made_later_on_the_node_reach_who_wants_them() {
    let mut volume = PathBuf::new();
    let mut pod = Pod::with("propagation", |config| {
        volume = config.dir.with_file_name("volume");
        tmpfs(&volume, "mode=755");
        set_propagation(&volume, MsFlags::MS_SHARED);
        fs::create_dir(volume.join("later")).unwrap();
    });
    let mut follower = pod.container(&[
        "sh",
        "-c",
        "while [ ! -e /data/later/sign ]; do sleep 0.01; done; echo seen",
    ]);
    add_mount(&mut follower.spec, mount(&volume, "/data", &["rbind", "rslave"]));
    let mut private = pod.container(&[
        "sh",
        "-c",
        "while [ ! -e /data/go ]; do sleep 0.01; done; ls /data/later",
    ]);
    add_mount(&mut private.spec, mount(&volume, "/data", &["rbind"]));
    let mut both = pod.container(&[
        "sh",
        "-c",
        "while [ ! -e /data/go ]; do sleep 0.01; done; mount -t tmpfs t /data/up && echo up",
    ]);
    add_mount(&mut both.spec, mount(&volume, "/data", &["rbind", "rshared"]));
    both.spec.linux_mut().as_mut().unwrap().set_seccomp(None);
    both.spec
        .process_mut()
        .as_mut()
        .unwrap()
        .set_capabilities(Some(capabilities(&spec::all_capabilities())));
    for container in [&follower, &private, &both] {
        pod.run(container).unwrap();
    }
    tmpfs(&volume.join("later"), "mode=755");
    fs::write(volume.join("later/sign"), "").unwrap();
    assert_eq!(pod.wait(&follower.id).code, 0);
    assert_eq!(output(&follower.log_path), "seen\n");
    fs::create_dir(volume.join("up")).unwrap();
    fs::write(volume.join("go"), "").unwrap();
    pod.wait(&private.id);
    assert_eq!(output(&private.log_path), "", "a private volume stays as it was");
    pod.wait(&both.id);
    assert_eq!(output(&both.log_path), "up\n");
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert!(
        mounts.contains("/volume/up "),
        "a shared volume works both ways: {mounts}"
    );
    pod.stop();
}

fn tmpfs(dir: &Path, options: &str) {
    fs::create_dir_all(dir).unwrap();
    mount_call(Some("t"), dir, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
}

fn set_propagation(dir: &Path, kind: MsFlags) {
    mount_call(None::<&str>, dir, None::<&str>, kind, None::<&str>).unwrap();
}

#[test]
fn the_working_directory() {
    let mut pod = Pod::new("cwd");
    let cwd = |path: &'static str| {
        move |spec: &mut Spec| {
            spec.process_mut().as_mut().unwrap().set_cwd(PathBuf::from(path));
        }
    };
    assert_eq!(pod.script_with("pwd", cwd("/made/on/the/way")).1, "/made/on/the/way\n");
    for path in [
        "/proc/self/fd/3",
        "/proc/self/fd/7",
        "/proc/self/fd/8",
        "/proc/self/fd/9",
        "/proc/1/root",
        "/proc/1/cwd",
    ] {
        let mut container = pod.container(&["sh", "-c", "ls ../../../../../etc; pwd"]);
        cwd(path)(&mut container.spec);
        match pod.run(&container) {
            Err(failure) => assert!(
                failure.message.contains("directory") || failure.message.contains(path),
                "{failure}"
            ),
            Ok(_) => {
                pod.wait(&container.id);
                panic!("{path}: {}", output(&container.log_path));
            }
        }
    }
    pod.stop();
}

#[test]
fn users_groups_and_capabilities() {
    let mut pod = Pod::new("users");
    let user = |spec: &mut Spec| {
        let process = spec.process_mut().as_mut().unwrap();
        let user = UserBuilder::default()
            .uid(1000_u32)
            .gid(1000_u32)
            .additional_gids(vec![5_u32, 77])
            .build()
            .unwrap();
        process.set_user(user);
        process.set_no_new_privileges(Some(true));
    };
    let (_, text) = pod.script_with(
        "id; echo $HOME; grep -E 'Cap|NoNew|Seccomp:' /proc/self/status; echo to-stdout > /dev/stdout; echo to-stderr > /proc/self/fd/2",
        user,
    );
    for part in [
        "uid=1000(web) gid=1000 groups=5,77",
        "/home/web\n",
        "CapEff:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapBnd:\t00000000a80425fb",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "to-stdout\n",
        "to-stderr\n",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let (_, text) = pod.script("grep Cap /proc/self/status");
    let sets = [
        "CapInh:\t0000000000000000",
        "CapEff:\t00000000a80425fb",
        "CapAmb:\t0000000000000000",
    ];
    assert!(sets.iter().all(|set| text.contains(set)), "{text}");
    // An ambient capability is kept by an ordinary user.
    let (_, text) = pod.script_with("grep Cap /proc/self/status", |spec| {
        user(spec);
        let one: Capabilities = [Capability::NetBindService].into_iter().collect();
        let mut sets = capabilities(&one);
        sets.set_inheritable(Some(one.clone())).set_ambient(Some(one));
        spec.process_mut().as_mut().unwrap().set_capabilities(Some(sets));
    });
    assert!(
        text.contains("CapEff:\t0000000000000400") && text.contains("CapBnd:\t0000000000000400"),
        "{text}"
    );
    pod.stop();
}

#[test]
fn the_filter_and_the_devices_hold() {
    let mut pod = Pod::new("filter");
    let (_, text) = pod.script(
        "mount -t tmpfs x /tmp; mknod /tmp/disk b 8 0 && cat /tmp/disk; mknod /tmp/n c 1 3 && echo made; cat /tmp/n",
    );
    assert!(
        text.contains("mount: permission denied") || text.contains("Operation not permitted"),
        "{text}"
    );
    assert!(
        text.contains("cat: can't open '/tmp/disk': Operation not permitted"),
        "{text}"
    );
    assert!(text.contains("made\n"), "{text}");
    // Privileged: no filter, everything allowed.
    let (_, text) = pod.script_with(
        "mount -t tmpfs x /tmp && echo mounted; grep Seccomp: /proc/self/status",
        |spec| {
            spec.process_mut()
                .as_mut()
                .unwrap()
                .set_capabilities(Some(capabilities(&spec::all_capabilities())));
            resources(spec).set_devices(Some(spec::all_devices()));
            spec.linux_mut()
                .as_mut()
                .unwrap()
                .set_seccomp(None)
                .set_masked_paths(None)
                .set_readonly_paths(None);
            spec.set_mounts(Some(spec::default_mounts(true)));
        },
    );
    assert!(text.contains("mounted\nSeccomp:\t0\n"), "{text}");
    pod.stop();
}

#[test]
fn memory_and_process_limits() {
    let mut pod = Pod::new("limits");
    let memory = |bytes: i64| {
        move |spec: &mut Spec| {
            resources(spec).set_memory(Some(
                LinuxMemoryBuilder::default().limit(bytes).swap(bytes).build().unwrap(),
            ));
        }
    };
    // No 8-byte boundary in the value: what the kernel makes of it is seen below.
    assert_eq!(
        pod.script_with("echo small", memory(4 << 20)).1,
        "small\n",
        "4 MiB are enough to start in"
    );
    let (exit, _) = pod.script_with("dd if=/dev/zero of=/dev/null bs=64M count=1", memory(16 << 20));
    assert!(exit.oom_killed, "{exit:?}");
    assert_eq!((exit.code, exit.signal), (137, Some(libc::SIGKILL)));
    let (exit, text) = pod.script_with("sleep 5 & sleep 5 & sleep 5 & sleep 5 & echo all", |spec| {
        resources(spec).set_pids(Some(LinuxPidsBuilder::default().limit(3_i64).build().unwrap()));
    });
    assert!(exit.code != 0 && text.contains("can't fork"), "{text}");

    let mut container = pod.container(&["sleep", "1000"]);
    memory(64 << 20)(&mut container.spec);
    pod.run(&container).unwrap();
    let mut update = LinuxResources::default();
    update.set_memory(Some(
        LinuxMemoryBuilder::default()
            .limit(32_i64 << 20)
            .swap(32_i64 << 20)
            .build()
            .unwrap(),
    ));
    pod.ask(Request::Update {
        id: container.id.clone(),
        resources: Box::new(update),
    })
    .unwrap();
    let path = pod.config.cgroup.join(&container.id).to_string_lossy().into_owned();
    let file = |mount: &str, file: &str| fs::read_to_string(format!("{mount}{path}/{file}"));
    let limit =
        file("/sys/fs/cgroup/memory", "memory.limit_in_bytes").or_else(|_| file("/sys/fs/cgroup", "memory.max"));
    assert_eq!(limit.unwrap().trim(), (32 << 20).to_string());
    pod.stop();
}

#[test]
fn containers_of_a_pod_share_what_a_pod_shares() {
    let mut pod = Pod::new("sharing");
    let first = pod.container(&[
        "sh",
        "-c",
        "echo shared > /dev/shm/file; echo here > /here; exec sleep 1000",
    ]);
    pod.run(&first).unwrap();
    until("the file in shared memory", || {
        let (_, text) = pod.script("cat /dev/shm/file; ls /here; ps; hostname");
        let all = [
            "shared\n",
            "sleep 1000",
            "/pause",
            "ls: /here: No such file",
            "sharing\n",
        ];
        all.iter().all(|part| text.contains(part)).then_some(())
    });
    // With its own PID namespace a container is alone.
    pod.stop();
    let mut pod = Pod::with("alone", |config| config.pid = NamespaceMode::Container);
    let other = pod.container(&["sleep", "1000"]);
    pod.run(&other).unwrap();
    let (_, text) = pod.script("ps; echo $$");
    assert!(text.ends_with("\n1\n") && !text.contains("sleep 1000"), "{text}");
    let pid = nix::unistd::Pid::from_raw(pod.state.monitor_pid);
    let child = pod.describe().containers[0].pid.unwrap();
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    until(
        "a container with its own PID namespace ends with the monitor too",
        || (!Path::new(&format!("/proc/{child}")).exists()).then_some(()),
    );
    pod.cleanup();
}

#[test]
fn what_the_first_process_leaves_behind_is_killed() {
    let mut pod = Pod::new("leftovers");
    let (exit, text) =
        pod.script("(trap '' TERM HUP; sleep 1000; echo survived) & (sleep 1000 >/dev/null 2>&1) & echo main; exit 4");
    assert_eq!((exit.code, text.as_str()), (4, "main\n"));
    let (_, text) = pod.script("ps");
    assert!(!text.contains("sleep 1000"), "{text}");
    pod.stop();
}

#[test]
fn signals() {
    let mut pod = Pod::new("signals");
    let container = pod.container(&[
        "sh",
        "-c",
        "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.01; done",
    ]);
    pod.run(&container).unwrap();
    until("the trap is set", || {
        output(&container.log_path).contains("ready").then_some(())
    });
    pod.ask(Request::Kill {
        id: container.id.clone(),
        signal: libc::SIGTERM,
        all: false,
    })
    .unwrap();
    assert_eq!(pod.wait(&container.id).code, 7);
    assert_eq!(output(&container.log_path), "ready\ngot\n");
    let failure = pod
        .ask(Request::Kill {
            id: container.id,
            signal: libc::SIGTERM,
            all: false,
        })
        .unwrap_err();
    assert_eq!(failure.reason, Reason::State);

    for (signal, all) in [(libc::SIGKILL, true), (libc::SIGTERM, true), (libc::SIGKILL, false)] {
        let container = pod.container(&["sh", "-c", "sleep 1000 & sleep 1000"]);
        pod.run(&container).unwrap();
        pod.ask(Request::Kill {
            id: container.id.clone(),
            signal,
            all,
        })
        .unwrap();
        assert_eq!(pod.wait(&container.id).signal, Some(signal), "{all}");
    }
    // SIGPIPE and the rest have their usual effect inside, whatever the monitor does with them.
    let container = pod.container(&["grep", "Sig", "/proc/self/status"]);
    pod.run(&container).unwrap();
    pod.wait(&container.id);
    let text = output(&container.log_path);
    assert!(
        text.contains("SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000"),
        "{text}"
    );
    pod.stop();
}

#[test]
fn standard_input() {
    let mut pod = Pod::new("stdin");
    let (_, text) = pod.script("cat; readlink /proc/self/fd/0; stat -L -c %t:%T /proc/self/fd/0");
    assert_eq!(
        text, "/dev/null\n1:3\n",
        "without one it is the container's null device"
    );

    let mut container = pod.container(&["cat"]);
    (container.stdin, container.stdin_once) = (true, true);
    pod.run(&container).unwrap();
    let (read, write) = pipe();
    let request = Request::Attach {
        id: container.id.clone(),
        stdio: [true, true, false],
    };
    let (_, mut fds) = pod.ask_with(request, &[write.as_fd()]).unwrap();
    drop(write);
    let mut input = fs::File::from(fds.pop().unwrap());
    input.write_all(b"hello\n").unwrap();
    drop(input);
    assert_eq!(
        pod.wait(&container.id).code,
        0,
        "the input ends with the first who attached"
    );
    assert_eq!(read_all(read), "hello\n");
    assert_eq!(output(&container.log_path), "hello\n");
    pod.stop();
}

#[test]
fn attached_readers_never_hold_a_container_up() {
    let mut pod = Pod::new("attach");
    let mut container = pod.container(&["sh", "-c", "cat >/dev/null; yes | head -n 1000000; echo end >&2"]);
    container.stdin = true;
    container.stdin_once = true;
    pod.run(&container).unwrap();
    let (stuck, stuck_end) = pipe();
    let request = Request::Attach {
        id: container.id.clone(),
        stdio: [false, true, false],
    };
    pod.ask_with(request, &[stuck_end.as_fd()]).unwrap();
    drop(stuck_end);
    let (read, write) = pipe();
    let request = Request::Attach {
        id: container.id.clone(),
        stdio: [true, false, true],
    };
    let (_, fds) = pod.ask_with(request, &[write.as_fd()]).unwrap();
    drop((write, fds));
    assert_eq!(pod.wait(&container.id).code, 0);
    assert_eq!(read_all(read), "end\n");
    assert_eq!(fs::metadata(&container.log_path).unwrap().len(), 1_000_000 * 42 + 44);
    drop(stuck);
    pod.stop();
}

#[test]
fn a_terminal() {
    let mut pod = Pod::new("terminal");
    let mut container = pod.container(&[
        "sh",
        "-c",
        "tty; stty size; read line; echo got $line; stty size; ls -l /dev/console",
    ]);
    let process = container.spec.process_mut().as_mut().unwrap();
    process.set_terminal(Some(true));
    pod.create(&container, false).unwrap();
    let (read, write) = pipe();
    let request = Request::Attach {
        id: container.id.clone(),
        stdio: [true, true, true],
    };
    let (_, mut fds) = pod.ask_with(request, &[write.as_fd()]).unwrap();
    drop(write);
    pod.ask(Request::Resize {
        id: container.id.clone(),
        width: 80,
        height: 25,
    })
    .unwrap();
    pod.ask(Request::Start {
        id: container.id.clone(),
    })
    .unwrap();
    let mut output = fs::File::from(read);
    let mut text = String::new();
    let mut buffer = [0; 1000];
    while !text.contains("25 80") {
        let count = output.read(&mut buffer).unwrap();
        assert!(count > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    pod.ask(Request::Resize {
        id: container.id.clone(),
        width: 100,
        height: 30,
    })
    .unwrap();
    fs::File::from(fds.pop().unwrap()).write_all(b"words\n").unwrap();
    output.read_to_string(&mut text).unwrap();
    assert_eq!(pod.wait(&container.id).code, 0);
    assert!(text.starts_with("/dev/pts/0\r\n"), "{text}");
    assert!(
        text.contains("got words\r\n30 100\r\n") && text.contains("/dev/console"),
        "{text}"
    );
    assert!(support::output(&container.log_path).contains("got words\r\n"));
    pod.stop();
}

#[test]
fn logs_are_rotated() {
    let mut pod = Pod::new("rotate");
    let mut container = pod.container(&["sh", "-c", "yes 0123456789 | head -n 1000"]);
    (container.log_max_bytes, container.log_max_files) = (10_000, 3);
    pod.run(&container).unwrap();
    pod.wait(&container.id);
    let old = |number: u32| PathBuf::from(format!("{}.{number}", container.log_path.display()));
    for number in 1..=3 {
        let size = fs::metadata(old(number)).unwrap().len();
        assert!((10_000..11_000).contains(&size), "{size}");
    }
    assert!(!old(4).exists());
    pod.stop();
}

#[test]
fn a_full_disk_stops_the_log_and_not_the_container() {
    let mut small = PathBuf::new();
    let mut pod = Pod::with("full", |config| {
        small = config.dir.with_file_name("small");
        tmpfs(&small, "size=64k");
    });
    let mut container = pod.container(&["sh", "-c", "yes 0123456789 | head -n 10000"]);
    container.log_path = small.join("0.log");
    pod.run(&container).unwrap();
    assert_eq!(pod.wait(&container.id).code, 0);
    let log = fs::read_to_string(&container.log_path).unwrap();
    let lines = log
        .lines()
        .map(|line| &line[31..])
        .filter(|line| !line.contains("are missing here"));
    let written: usize = lines
        .map(|line| line.len() - 9 + usize::from(line.starts_with("stdout F")))
        .sum();
    let written = written as u64;
    assert!(written > 5000, "{written}");
    let state = pod.describe().containers.remove(0);
    assert_eq!(
        state.log_dropped_bytes,
        110_000 - written,
        "each byte is in the log or counted"
    );
    pod.stop();
}

#[test]
fn annotations_and_unknown_containers() {
    let mut pod = Pod::new("unknown");
    let mut container = pod.container(&["sleep", "1000"]);
    container.annotations = HashMap::from([("a".to_owned(), "b".to_owned())]).into_iter().collect();
    let state = pod.run(&container).unwrap();
    assert_eq!(state.annotations["a"], "b");
    let id = || "none".to_owned();
    for request in [
        Request::Start { id: id() },
        Request::Kill {
            id: id(),
            signal: 9,
            all: false,
        },
        Request::Attach {
            id: id(),
            stdio: [false; 3],
        },
        Request::Resize {
            id: id(),
            width: 1,
            height: 1,
        },
        Request::KillExec { exec_id: id() },
    ] {
        assert_eq!(pod.ask(request).unwrap_err().reason, Reason::NotFound);
    }
    assert_eq!(
        pod.ask(Request::Resize {
            id: container.id,
            width: 1,
            height: 1
        })
        .unwrap_err()
        .reason,
        Reason::State
    );
    pod.stop();
}
