//! `root`, `mounts`, devices, and masked and read-only paths, in containers that really run.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};
use support::bundle::Bundle;
use support::{base, emulated, until};

fn bundle(name: &str, script: &str, change: impl FnOnce(&mut Value)) -> Bundle {
    Bundle::new(name, |document| {
        document["process"]["args"] = json!(["sh", "-c", script]);
        change(document);
    })
}

/// Runs the container to its end; what it says.
#[track_caller]
fn run(bundle: &Bundle) -> String {
    bundle.good(&["run", "--bundle", bundle.path(), &bundle.id])
}

#[track_caller]
fn says(name: &str, script: &str, change: impl FnOnce(&mut Value)) -> String {
    run(&bundle(name, script, change))
}

#[track_caller]
fn refused(name: &str, words: &str, change: impl FnOnce(&mut Value)) {
    let bundle = bundle(name, "echo it ran", change);
    let said = bundle.bad(&["run", "--bundle", bundle.path(), &bundle.id]);
    assert!(said.contains(words) && said.trim_end().lines().count() == 1, "{said}");
}

fn add(document: &mut Value, mount: Value) {
    document["mounts"].as_array_mut().unwrap().push(mount);
}

/// A root file system of the bundle's own.
fn own_root(bundle: &Bundle) -> PathBuf {
    let root = bundle.dir.join("rootfs");
    fs::remove_file(&root).unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(base().join("rootfs"))
        .arg(&root)
        .status()
        .unwrap();
    assert!(copied.success());
    root
}

/// The options of a mount point as the container sees them: of the mount, and of its file system.
const OPTIONS: &str = "options() { awk -v m=$1 '$5 == m { print $6 }' /proc/self/mountinfo | tail -n 1; }; ";

#[test]
fn the_root_is_read_only_or_not() {
    let script = "touch /x 2>/dev/null && echo written || echo not; touch /tmp/x && echo written";
    let out = says("root-ro", script, |document| {
        document["root"]["readonly"] = json!(true);
        add(
            document,
            json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs" }),
        );
    });
    assert_eq!(out, "not\nwritten\n");
    let bundle = bundle("root-rw", "touch /x; umask; ls /", |document| {
        document["root"] = json!({ "path": "./other" });
        document["process"]["args"] = json!(["sh", "-c", "echo text >/x; cat /x"]);
    });
    let root = own_root(&bundle);
    fs::rename(&root, bundle.dir.join("other")).unwrap();
    assert_eq!(run(&bundle), "text\n");
    assert_eq!(fs::read_to_string(bundle.dir.join("other/x")).unwrap(), "text\n");
}

#[test]
fn mounts_are_made_in_their_order() {
    let bundle = bundle("order", "find /a -type f | sort; cat /a/from", |document| {
        add(
            document,
            json!({ "destination": "/a", "type": "tmpfs", "source": "tmpfs" }),
        );
        add(
            document,
            json!({ "destination": "a/b", "type": "none", "source": "volume", "options": ["rbind", "ro"] }),
        );
        add(
            document,
            json!({ "destination": "/a/from", "source": "file", "options": ["bind"] }),
        );
        document["root"]["readonly"] = json!(false);
    });
    own_root(&bundle);
    fs::create_dir(bundle.dir.join("volume")).unwrap();
    fs::write(bundle.dir.join("volume/in"), "").unwrap();
    fs::write(bundle.dir.join("file"), "of the bundle\n").unwrap();
    assert_eq!(run(&bundle), "/a/b/in\n/a/from\nof the bundle\n");
}

/// Programs take the order of the kernel's list for that of mounting. Since 6.8 it is that of making the mounts, of which
/// that of the cgroups waits for the limits.
#[test]
fn mounts_are_listed_in_their_order() {
    let mut expected = Vec::new();
    let bundle = bundle("listed", "awk '{ print $5 }' /proc/self/mountinfo", |document| {
        let tmpfs = |at| json!({ "destination": at, "type": "tmpfs", "source": "tmpfs", "options": ["mode=0750", "ro", "size=4k"] });
        let bound = |at| json!({ "destination": at, "source": "volume", "options": ["bind"] });
        for mount in [bound("/a"), tmpfs("/b"), bound("/c"), tmpfs("/d")] {
            add(document, mount);
        }
        let mounts = document["mounts"].as_array().unwrap().iter();
        expected = mounts
            .filter(|mount| mount["type"] != "cgroup")
            .map(|mount| mount["destination"].as_str().unwrap().to_owned())
            .collect();
    });
    fs::create_dir(bundle.dir.join("volume")).unwrap();
    own_root(&bundle);
    let said = run(&bundle);
    let listed: Vec<&str> = said
        .lines()
        .filter(|line| expected.iter().any(|it| it == line))
        .collect();
    assert_eq!(listed, expected);
}

#[test]
fn links_to_what_is_missing() {
    let bundle = bundle("dangling", "cat /etc/named /run/made/named; ls /d/e", |document| {
        add(
            document,
            json!({ "destination": "/etc/named", "source": "file", "options": ["bind"] }),
        );
        add(
            document,
            json!({ "destination": "/d/e", "source": "volume", "options": ["bind"] }),
        );
    });
    let root = own_root(&bundle);
    symlink("../run/made/named", root.join("etc/named")).unwrap();
    symlink("/not/there", root.join("d")).unwrap();
    fs::write(bundle.dir.join("file"), "text\n").unwrap();
    fs::create_dir(bundle.dir.join("volume")).unwrap();
    fs::write(bundle.dir.join("volume/in"), "").unwrap();
    assert_eq!(run(&bundle), "text\ntext\nin\n");
    assert!(root.join("not/there/e").is_dir() && !Path::new("/not").exists());
    // Not for what is to be the kernel's own.
    fs::remove_dir(root.join("proc")).unwrap();
    symlink("other", root.join("proc")).unwrap();
    let said = bundle.bad(&["run", "--bundle", bundle.path(), &bundle.id]);
    assert!(
        said.contains("proc must be mounted on ordinary directory /proc"),
        "{said}"
    );
    assert!(!root.join("other").exists());
}

#[test]
fn a_read_only_dev_has_everything() {
    let script =
        "ls /dev/null /dev/pts/ptmx /dev/made; touch /dev/x 2>/dev/null || echo ro; touch /dev/shm/x && echo rw";
    let out = says("dev-ro", script, |document| {
        let mounts = document["mounts"].as_array_mut().unwrap();
        let dev = mounts.iter_mut().find(|mount| mount["destination"] == "/dev").unwrap();
        dev["options"].as_array_mut().unwrap().push(json!("ro"));
        document["linux"]["devices"] = json!([{ "path": "/dev/made", "type": "c", "major": 1, "minor": 5 }]);
    });
    assert_eq!(out, "/dev/made\n/dev/null\n/dev/pts/ptmx\nro\nrw\n");
}

#[test]
fn options_of_file_systems() {
    let bundle = bundle(
        "options",
        &format!(
            "{OPTIONS} for m in /m/1 /m/2 /m/3 /m/4 /m/5; do options $m; done; stat -c %a /m/1; grep ' /m/1 ' /proc/mounts | cut -d ' ' -f 4"
        ),
        |document| {
            for (at, options) in [
                (
                    1,
                    json!(["nosuid", "nodev", "noexec", "noatime", "mode=711", "size=64k"]),
                ),
                (
                    2,
                    json!([
                        "ro",
                        "rw",
                        "nosuid",
                        "suid",
                        "noexec",
                        "exec",
                        "nodev",
                        "dev",
                        "strictatime"
                    ]),
                ),
                (
                    3,
                    json!(["ro", "nodiratime", "noatime", "atime", "defaults", "async", "loud"]),
                ),
                (4, json!(["rro", "rnosuid", "nosymfollow"])),
                (
                    5,
                    json!([
                        "sync",
                        "dirsync",
                        "relatime",
                        "norelatime",
                        "nostrictatime",
                        "nolazytime",
                        "noiversion"
                    ]),
                ),
            ] {
                add(
                    document,
                    json!({ "destination": format!("/m/{at}"), "type": "tmpfs", "source": "t", "options": options }),
                );
            }
            document["root"]["readonly"] = json!(false);
        },
    );
    own_root(&bundle);
    let out = run(&bundle);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines[..6],
        [
            "rw,nosuid,nodev,noexec,noatime",
            "rw",
            "ro,nodiratime,relatime",
            "ro,nosuid,relatime,nosymfollow",
            "rw,relatime",
            "711"
        ],
        "{out}"
    );
    assert!(lines[6].contains("size=64k"), "{out}");
}

/// A directory with a mount below it, in the test's own mount namespace.
fn tree(bundle: &Bundle, name: &str) -> PathBuf {
    let outer = bundle.dir.join(name);
    let mount_on = |dir: &Path| {
        fs::create_dir_all(dir).unwrap();
        if emulated() {
            // Its kernel is older than tmpfs with other users.
            let from = dir.with_extension("of");
            fs::create_dir_all(&from).unwrap();
            mount(Some(&from), dir, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        } else {
            mount(Some("tree"), dir, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        }
    };
    mount_on(&outer);
    mount_on(&outer.join("inner"));
    fs::write(outer.join("inner/file"), "").unwrap();
    outer
}

fn untree(tree: &Path) {
    umount2(tree, MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn options_of_bind_mounts() {
    let script =
        format!("{OPTIONS} for m in 1 1/inner 2 3 3/inner 4 4/inner; do echo $m $(options /b/$m); done; ls /b/2/inner");
    let bundle = bundle("bind", &script, |document| {
        for (at, options) in [
            (1, json!(["rbind", "ro", "nosuid"])),
            (2, json!(["bind", "noexec"])),
            (3, json!(["rbind", "rro", "rnoatime", "rnodev"])),
            (4, json!(["rbind", "rnosuid", "suid", "rstrictatime"])),
        ] {
            add(
                document,
                json!({ "destination": format!("/b/{at}"), "type": "bind", "source": "tree", "options": options }),
            );
        }
        document["root"]["readonly"] = json!(false);
    });
    own_root(&bundle);
    let tree = tree(&bundle, "tree");
    let out = run(&bundle);
    untree(&tree);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(
        lines,
        [
            "1 ro,nosuid,relatime",
            "1/inner rw,relatime",
            "2 rw,noexec,relatime",
            "3 ro,nodev,noatime",
            "3/inner ro,nodev,noatime",
            "4 rw",
            "4/inner rw,nosuid",
        ],
        "without recursion there is nothing below"
    );
}

#[test]
fn mounts_are_changed() {
    let bundle = bundle(
        "remount",
        &format!(
            "{OPTIONS} for m in /r/1 /r/2 /r/3; do options $m; done; awk '$5 == \"/r/4\" {{ print $7 }}' /proc/self/mountinfo | cut -d : -f 1; grep ' /r/2 ' /proc/mounts | grep -o size=8k"
        ),
        |document| {
            for at in 1..=4 {
                add(
                    document,
                    json!({ "destination": format!("/r/{at}"), "type": "tmpfs", "source": "t", "options": ["nosuid"] }),
                );
            }
            add(
                document,
                json!({ "destination": "/r/1", "type": "none", "options": ["remount", "bind", "ro", "noexec"] }),
            );
            add(
                document,
                json!({ "destination": "/r/2", "type": "tmpfs", "source": "t", "options": ["remount", "ro", "size=8k"] }),
            );
            add(document, json!({ "destination": "/r/3", "options": ["rprivate"] }));
            add(document, json!({ "destination": "/r/4", "options": ["shared"] }));
            document["root"]["readonly"] = json!(false);
        },
    );
    own_root(&bundle);
    assert_eq!(
        run(&bundle),
        "ro,noexec,relatime\nro,relatime\nrw,nosuid,relatime\nshared\nsize=8k\n"
    );
}

#[test]
fn propagation_of_volumes() {
    let script = "echo up; while [ ! -e /v/slave/new/file ]; do sleep 0.05; done; ls /v/private/new 2>/dev/null; echo seen; \
        mount -t tmpfs x /v/shared/made && touch /v/shared/made/inside; echo mounted; sleep 1000";
    let bundle = bundle("propagation", script, |document| {
        for (kind, option) in [("private", "rprivate"), ("slave", "rslave"), ("shared", "rshared")] {
            add(
                document,
                json!({ "destination": format!("/v/{kind}"), "type": "bind", "source": "tree", "options": ["rbind", option] }),
            );
        }
        document["root"]["readonly"] = json!(false);
        let all = json!(["CAP_SYS_ADMIN"]);
        document["process"]["capabilities"] = json!({ "bounding": all, "effective": all, "permitted": all });
        document["linux"]["seccomp"] = Value::Null;
    });
    own_root(&bundle);
    let tree = tree(&bundle, "tree");
    fs::create_dir(tree.join("new")).unwrap();
    fs::create_dir(tree.join("made")).unwrap();
    mount(None::<&str>, &tree, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
    let said = |words: &str| {
        until(words, || {
            fs::read_to_string(bundle.dir.join("out"))
                .unwrap()
                .contains(words)
                .then_some(())
        });
    };
    bundle.good(&["run", "--detach", "--bundle", bundle.path(), &bundle.id]);
    said("up");
    mount(
        Some("new"),
        &tree.join("new"),
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
    fs::write(tree.join("new/file"), "").unwrap();
    said("seen");
    said("mounted");
    assert!(
        tree.join("made/inside").exists(),
        "what is mounted in a shared volume is seen outside"
    );
    assert!(!fs::read_to_string(bundle.dir.join("out")).unwrap().contains("file"));
    bundle.good(&["delete", "--force", &bundle.id]);
    untree(&tree);
}

#[test]
fn propagation_of_the_root() {
    let read = "awk '$5 == \"/\" { for (i = 7; $i != \"-\"; i++) print $i; print \"end\" }' /proc/self/mountinfo";
    let root = |kind: Value| move |document: &mut Value| document["linux"]["rootfsPropagation"] = kind;
    for kind in [Value::Null, json!("private"), json!("rprivate")] {
        assert_eq!(says("root-private", read, root(kind)), "end\n");
    }
    assert!(says("root-shared", read, root(json!("shared"))).starts_with("shared:"));
    assert_eq!(
        says("root-unbind", read, root(json!("unbindable"))),
        "unbindable\nend\n"
    );
    refused("root-loud", "rootfsPropagation cannot be", root(json!("loud")));

    let bundle = bundle(
        "root-slave",
        &format!("{read}; while [ ! -e /tmp/new ]; do sleep 0.05; done; echo seen; sleep 1000"),
        root(json!("slave")),
    );
    let path = own_root(&bundle);
    mount(Some(&path), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    mount(None::<&str>, &path, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
    bundle.good(&["run", "--detach", "--bundle", bundle.path(), &bundle.id]);
    let out = || fs::read_to_string(bundle.dir.join("out")).unwrap();
    until("it is a slave", || out().starts_with("master:").then_some(()));
    mount(
        Some("new"),
        &path.join("tmp"),
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
    fs::write(path.join("tmp/new"), "").unwrap();
    until("it has seen the mount", || out().contains("seen").then_some(()));
    bundle.good(&["delete", "--force", &bundle.id]);
    untree(&path);
}

#[test]
fn a_tmpfs_begins_with_what_it_covers() {
    let script = "ls -ln /etc/passwd | cut -c 1-10; wc -l </etc/passwd; readlink /etc/link; stat -c %a:%u /etc /etc/dir; \
        stat -c %a /empty /none /said; touch /etc/new && echo new; ls /empty; touch /ro/x 2>/dev/null || echo ro; cat /ro/file";
    let bundle = bundle("copyup", script, |document| {
        add(
            document,
            json!({ "destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "size=1m"] }),
        );
        add(
            document,
            json!({ "destination": "/ro", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "ro"] }),
        );
        add(
            document,
            json!({ "destination": "/empty", "type": "tmpfs", "source": "tmpfs" }),
        );
        add(document, json!({ "destination": "/none", "type": "tmpfs" }));
        add(
            document,
            json!({ "destination": "/said", "type": "tmpfs", "options": ["mode=0700"] }),
        );
        document["root"]["readonly"] = json!(false);
    });
    let root = own_root(&bundle);
    fs::create_dir_all(root.join("etc/dir")).unwrap();
    fs::create_dir(root.join("ro")).unwrap();
    fs::write(root.join("ro/file"), "kept\n").unwrap();
    for (name, mode) in [("empty", 0o3741), ("said", 0o711)] {
        fs::create_dir(root.join(name)).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(root.join("empty/covered"), "").unwrap();
    symlink("passwd", root.join("etc/link")).unwrap();
    fs::set_permissions(root.join("etc/dir"), fs::Permissions::from_mode(0o1770)).unwrap();
    chown(root.join("etc/dir"), Some(7), Some(7)).unwrap();
    assert_eq!(
        run(&bundle),
        "-rw-r--r--\n2\npasswd\n755:0\n1770:7\n3741\n1777\n700\nnew\nro\nkept\n"
    );
    assert!(!root.join("etc/new").exists());
}

#[test]
fn volumes_with_other_users() {
    let mapping = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 10 }]);
    let script = "stat -c %u:%g /i/1/a /i/2/a /i/2/inner/b /i/3/inner/b /i/4/a; touch /i/1/new";
    let bundle = bundle("idmap", script, |document| {
        // The same in the mount's options, as podman(1) passes it.
        let words = "idmap=uids=0-4000-3#3-4103-7;gids=0-4000-10";
        add(
            document,
            json!({ "destination": "/i/4", "source": "tree", "options": ["rbind", words] }),
        );
        for (at, option, host) in [(1, "idmap", 1000), (2, "ridmap", 2000), (3, "idmap", 3000)] {
            add(
                document,
                json!({ "destination": format!("/i/{at}"), "source": "tree", "options": ["rbind", option],
                        "uidMappings": mapping(host), "gidMappings": mapping(host) }),
            );
        }
        document["root"]["readonly"] = json!(false);
        document["process"]["user"] = json!({ "uid": 1003, "gid": 1003 });
    });
    own_root(&bundle);
    let tree = tree(&bundle, "tree");
    for (file, owner) in [("a", 3), ("inner/b", 4)] {
        fs::write(tree.join(file), "").unwrap();
        chown(tree.join(file), Some(owner), Some(owner + 1)).unwrap();
    }
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o777)).unwrap();
    let out = bundle.command(&["run", "--bundle", bundle.path(), &bundle.id]);
    let new = fs::metadata(tree.join("new")).map(|new| new.uid());
    untree(&tree);
    assert_eq!(
        String::from_utf8(out.stdout).unwrap(),
        "1003:1004\n2003:2004\n2004:2005\n4:5\n4103:4004\n",
        "{:?}",
        String::from_utf8(out.stderr)
    );
    assert_eq!(new.unwrap(), 3, "who writes is mapped back");
    let volume = |options: Value| {
        move |document: &mut Value| {
            add(
                document,
                json!({ "destination": "/i", "source": "/tmp", "options": options }),
            );
        }
    };
    refused(
        "idmap-words",
        "not of the form",
        volume(json!(["bind", "idmap=uids=0-1"])),
    );
    refused("idmap-none", "no mappings", volume(json!(["bind", "idmap"])));
    refused("idmap-tmpfs", "only bind mounts", |document| {
        add(
            document,
            json!({ "destination": "/tmp", "type": "tmpfs", "options": ["idmap"] }),
        );
    });
}

#[test]
fn links_are_copied_or_mounted_themselves() {
    let script = "for l in /made/again /made/mounted /etc/there; do readlink $l; done";
    let bundle = bundle("links", script, |document| {
        for (at, option) in [
            ("/made/again", "copy-symlink"),
            ("/etc/there", "copy-symlink"),
            ("/made/mounted", "src-nofollow"),
        ] {
            add(
                document,
                json!({ "destination": at, "type": "bind", "source": "link", "options": ["rbind", option] }),
            );
        }
        document["root"]["readonly"] = json!(false);
    });
    let root = own_root(&bundle);
    symlink("to/nowhere", bundle.dir.join("link")).unwrap();
    symlink("to/nowhere", root.join("etc/there")).unwrap();
    assert_eq!(run(&bundle), "to/nowhere\n".repeat(3));
    fs::remove_file(root.join("etc/there")).unwrap();
    symlink("elsewhere", root.join("etc/there")).unwrap();
    let said = bundle.bad(&["run", "--bundle", bundle.path(), &bundle.id]);
    assert!(said.contains("make link /etc/there"), "{said}");
}

#[test]
fn a_directory_takes_the_place_of_the_root() {
    let bundle = bundle(
        "on-root",
        "cat /mark /in/file; ls /proc/1/status /dev/null",
        |document| {
            add(
                document,
                json!({ "destination": "/in", "source": "volume", "options": ["bind"] }),
            );
            let all = document["mounts"].as_array_mut().unwrap();
            all.insert(
                0,
                json!({ "destination": "/", "source": "other", "options": ["rbind"] }),
            );
        },
    );
    let root = own_root(&bundle);
    fs::rename(&root, bundle.dir.join("other")).unwrap();
    fs::create_dir(&root).unwrap();
    fs::write(bundle.dir.join("other/mark"), "other\n").unwrap();
    fs::create_dir(bundle.dir.join("volume")).unwrap();
    fs::write(bundle.dir.join("volume/file"), "volume\n").unwrap();
    assert_eq!(run(&bundle), "other\nvolume\n/dev/null\n/proc/1/status\n");
    refused("tmpfs-on-root", "only bind mounts can be mounted on /", |document| {
        add(
            document,
            json!({ "destination": "/", "type": "tmpfs", "source": "tmpfs" }),
        );
    });
}

#[test]
fn a_user_namespace_has_its_volumes_mapped() {
    let mapping = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    let bundle = bundle(
        "idmap-users",
        "stat -c %u /v/a /v/inner /w/a; touch /v/new && stat -c %u /v/new",
        |document| {
            document["linux"]["namespaces"]
                .as_array_mut()
                .unwrap()
                .push(json!({ "type": "user" }));
            document["linux"]["uidMappings"] = mapping.clone();
            document["linux"]["gidMappings"] = mapping;
            add(
                document,
                json!({ "destination": "/v", "source": "tree", "options": ["rbind", "idmap"] }),
            );
            add(
                document,
                json!({ "destination": "/w", "source": "tree", "options": ["rbind"] }),
            );
            document["root"]["readonly"] = json!(false);
        },
    );
    let root = own_root(&bundle);
    assert!(
        Command::new("chown")
            .args(["-hR", "100000:100000"])
            .arg(&root)
            .status()
            .unwrap()
            .success()
    );
    let tree = tree(&bundle, "tree");
    fs::write(tree.join("a"), "").unwrap();
    let out = bundle.command(&["run", "--bundle", bundle.path(), &bundle.id]);
    let new = fs::metadata(tree.join("new")).map(|new| new.uid());
    untree(&tree);
    assert_eq!(
        String::from_utf8(out.stdout).unwrap(),
        "0\n65534\n65534\n0\n",
        "{:?}",
        String::from_utf8(out.stderr)
    );
    assert_eq!(new.unwrap(), 0, "the container's root is the volume's");
}

#[test]
fn default_devices_and_links() {
    let script = "for d in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' /dev/$d; done; \
        for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; [ -c /dev/ptmx ] && echo ptmx; echo x >/dev/null; \
        head -c 3 /dev/zero | wc -c; echo x >/dev/full 2>/dev/null || echo full";
    let out = says("default-devices", script, |_| {});
    let expected = "/dev/null character special file 1:3 666\n/dev/zero character special file 1:5 666\n\
        /dev/full character special file 1:7 666\n/dev/random character special file 1:8 666\n\
        /dev/urandom character special file 1:9 666\n/dev/tty character special file 5:0 666\n\
        /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\nptmx\n3\nfull\n";
    assert_eq!(out, expected);
}

#[test]
fn devices_of_the_configuration() {
    let bundle = bundle(
        "devices",
        "stat -c '%n %F %t:%T %a %u:%g' /dev/a /made/b /dev/pipe /dev/null /there",
        |document| {
            document["root"]["readonly"] = json!(false);
            document["linux"]["devices"] = json!([
                { "path": "/dev/a", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 1, "gid": 2 },
                { "path": "/made/b", "type": "b", "major": 8, "minor": 1, "fileMode": 416 },
                { "path": "/dev/pipe", "type": "p", "fileMode": 384 },
                { "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 432, "gid": 6 },
                { "path": "/there", "type": "u", "major": 1, "minor": 5 }
            ]);
        },
    );
    let root = own_root(&bundle);
    assert!(
        Command::new("mknod")
            .arg(root.join("there"))
            .args(["c", "1", "5"])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(
        run(&bundle),
        "/dev/a character special file a:e5 666 1:2\n/made/b block special file 8:1 640 0:0\n\
         /dev/pipe fifo 0:0 600 0:0\n/dev/null character special file 1:3 660 0:6\n\
         /there character special file 1:5 666 0:0\n"
    );
    for (name, device) in [
        (
            "device-file",
            json!({ "path": "/etc/passwd", "type": "c", "major": 1, "minor": 3 }),
        ),
        (
            "device-other",
            json!({ "path": "/dev/zero", "type": "c", "major": 1, "minor": 3 }),
        ),
        (
            "device-kind",
            json!({ "path": "/dev/zero", "type": "b", "major": 1, "minor": 5 }),
        ),
    ] {
        refused(name, "something else is at", |document| {
            document["linux"]["devices"] = json!([device])
        });
    }
    refused("device-path", "not absolute", |document| {
        document["linux"]["devices"] = json!([{ "path": "dev/x", "type": "p" }]);
    });
}

#[test]
fn paths_are_hidden_and_read_only() {
    let script = "cat /proc/keys | wc -c; ls /sys/firmware | wc -l; cat /secret/file 2>/dev/null | wc -c; \
        echo 1 >/proc/sys/kernel/domainname 2>/dev/null || echo ro; touch /kept/x 2>/dev/null || echo ro; cat /kept/file";
    let bundle = bundle("paths", script, |document| {
        document["root"]["readonly"] = json!(false);
        document["linux"]["maskedPaths"]
            .as_array_mut()
            .unwrap()
            .extend([json!("/secret"), json!("/no/such")]);
        document["linux"]["readonlyPaths"]
            .as_array_mut()
            .unwrap()
            .extend([json!("/kept"), json!("/no/such")]);
    });
    let root = own_root(&bundle);
    for dir in ["secret", "kept"] {
        fs::create_dir(root.join(dir)).unwrap();
        fs::write(root.join(dir).join("file"), "text\n").unwrap();
    }
    assert_eq!(run(&bundle), "0\n0\n0\nro\nro\ntext\n");
    refused("masked", "maskedPaths", |document| {
        document["linux"]["maskedPaths"] = json!(["proc/kcore"])
    });
    refused("readonly", "readonlyPaths", |document| {
        document["linux"]["readonlyPaths"] = json!(["x"])
    });
}
