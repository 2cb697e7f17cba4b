use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::*;
use crate::sys;
use crate::testing::{RawTar, TempDir};
use crate::view::OPAQUE;

/// Unpacks onto `lower` (uppermost first) with a directory beside the layer that must stay as it is.
fn unpack_onto(tar: RawTar, lower: &[&Path]) -> (TempDir, PathBuf, Result<u64, LayerError>) {
    unpack_with(tar, lower, Limits::default())
}

fn unpack_with(tar: RawTar, lower: &[&Path], limits: Limits) -> (TempDir, PathBuf, Result<u64, LayerError>) {
    let dir = TempDir::new();
    let layer = dir.path().join("layer");
    fs::create_dir(&layer).unwrap();
    fs::create_dir(dir.path().join("outside")).unwrap();
    fs::write(dir.path().join("outside/secret"), "secret").unwrap();
    let view = View::open(lower).unwrap();
    let root = OwnedFd::from(File::open(&layer).unwrap());
    let result = unpack(&tar.finish()[..], root, &view, limits);
    assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 1);
    assert_eq!(fs::read(dir.path().join("outside/secret")).unwrap(), b"secret");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    (dir, layer, result)
}

fn layer(tar: RawTar) -> (TempDir, PathBuf) {
    let (dir, layer, result) = unpack_onto(tar, &[]);
    result.unwrap();
    (dir, layer)
}

fn is_whiteout(path: &Path) -> bool {
    let data = fs::symlink_metadata(path).unwrap();
    data.file_type().is_char_device() && data.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    sys::get_xattr(File::open(path).unwrap(), OPAQUE).unwrap().as_deref() == Some(b"y")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn every_kind_of_file_keeps_its_attributes() {
    let tar = RawTar::default()
        .with(b'5', "./", |header| header.set_mode(0o711))
        .dir("etc/")
        .xattr("user.note", b"line\nbreak")
        .xattr("trusted.overlay.redirect", b"/secret")
        .with(b'0', "etc/suid", |header| {
            header.set_mode(0o4755);
            header.set_uid(12);
            header.set_gid(34);
        })
        .hard_link("etc/same", "./etc/suid")
        .symlink("etc/link", "../../../outside/secret")
        .with(b'3', "null", |header| {
            header.set_mode(0o666);
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        })
        .with(b'6', "pipe", |header| header.set_mode(0o640))
        .file("/absolute", "stays inside");
    let (_dir, root) = layer(tar);
    let suid = fs::metadata(root.join("etc/suid")).unwrap();
    assert_eq!(
        (suid.mode() & 0o7777, suid.uid(), suid.gid(), suid.mtime()),
        (0o4755, 12, 34, 1_000_000_000)
    );
    assert_eq!(
        (suid.nlink(), suid.ino()),
        (2, fs::metadata(root.join("etc/same")).unwrap().ino())
    );
    let link = root.join("etc/link");
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("../../../outside/secret"));
    assert_eq!(fs::symlink_metadata(&link).unwrap().mtime(), 1_000_000_000);
    let null = fs::metadata(root.join("null")).unwrap();
    assert!(null.file_type().is_char_device() && null.rdev() == nix::sys::stat::makedev(1, 3));
    assert_eq!(null.permissions().mode() & 0o7777, 0o666);
    assert!(fs::metadata(root.join("pipe")).unwrap().file_type().is_fifo());
    assert_eq!(read(&root.join("absolute")), "stays inside");
    let top = fs::metadata(&root).unwrap();
    assert_eq!((top.mode() & 0o7777, top.mtime()), (0o711, 1_000_000_000));
    assert_eq!(fs::metadata(root.join("etc")).unwrap().mtime(), 1_000_000_000);
    let file = File::open(root.join("etc/suid")).unwrap();
    assert_eq!(
        sys::get_xattr(&file, c"user.note").unwrap(),
        None,
        "two pax headers: the last one counts"
    );
    assert_eq!(sys::get_xattr(&file, c"trusted.overlay.redirect").unwrap(), None);
}

#[test]
fn capabilities_survive_the_change_of_owner() {
    // Version 2, cap_net_bind_service effective and permitted; the newline-like byte is on purpose.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = RawTar::default()
        .xattr("security.capability", &capability)
        .with(b'0', "ping", |header| {
            header.set_uid(5);
            header.set_mode(0o755);
        });
    let (_dir, root) = layer(tar);
    let file = File::open(root.join("ping")).unwrap();
    assert_eq!(
        sys::get_xattr(&file, c"security.capability").unwrap().unwrap(),
        capability
    );
}

#[test]
fn whiteouts_hide_what_lies_below_and_nothing_else() {
    let tar = RawTar::default()
        .file("gone/.wh.file", "")
        .file("opaque/.wh..wh..opq", "")
        .file("opaque/new", "new")
        .file(".wh..wh.plnk", "")
        .file("kept", "this layer's")
        .file(".wh.kept", "")
        .dir("replaced")
        .file(".wh.replaced", "")
        .file(".wh.later", "")
        .file("later/inner", "")
        .file(".wh.dir", "")
        .dir("dir");
    let (_dir, root) = layer(tar);
    assert!(is_whiteout(&root.join("gone/file")));
    assert!(!root.join("gone/.wh.file").exists());
    assert!(is_opaque(&root.join("opaque")) && root.join("opaque/new").exists());
    assert_eq!(read(&root.join("kept")), "this layer's");
    for hiding in ["replaced", "later", "dir"] {
        assert!(is_opaque(&root.join(hiding)), "{hiding}");
    }
    assert!(!root.join(".wh..wh.plnk").exists() && root.join("later/inner").exists());
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../outside/x", "a/../../outside/x", "/../outside/x", "a/..", ".."] {
        for tar in [
            RawTar::default().file(name, ""),
            RawTar::default().dir(name),
            RawTar::default().symlink(name, "x"),
        ] {
            assert!(
                matches!(unpack_onto(tar, &[]).2, Err(LayerError::Name { .. })),
                "{name}"
            );
        }
    }
    for name in ["a/.wh...", "a/.wh..", ".wh."] {
        let result = unpack_onto(RawTar::default().dir("a").file(name, ""), &[]).2;
        assert!(matches!(result, Err(LayerError::Name { .. })), "{name}");
    }
    for target in [
        "../outside/secret",
        "/../../etc/passwd",
        ".",
        "",
        "missing",
        "missing/x",
    ] {
        let result = unpack_onto(RawTar::default().dir("a").hard_link("a/x", target), &[]).2;
        assert!(
            matches!(result, Err(LayerError::Name { .. } | LayerError::LinkTarget { .. })),
            "{target}"
        );
    }
}

#[test]
fn links_as_parents_stay_inside() {
    // All of them resolve beneath the layer's root, where `outside` is just another name.
    for target in ["../outside", "/outside", "../../../../../../outside", "x/../../outside"] {
        let tar = RawTar::default()
            .symlink("evil", target)
            .file("evil/secret", "mine")
            .file("evil/.wh.gone", "")
            .file("evil/.wh..wh..opq", "")
            .hard_link("copy", "evil/secret");
        let (_dir, layer, result) = unpack_onto(tar, &[]);
        result.unwrap();
        assert_eq!(read(&layer.join("outside/secret")), "mine", "{target}");
        assert_eq!(read(&layer.join("copy")), "mine");
        assert!(is_whiteout(&layer.join("outside/gone")) && is_opaque(&layer.join("outside")));
    }
    // Deeper: a link through a link, an absolute host path, and one that is swapped after use.
    let tar = RawTar::default()
        .symlink("a", "/proc/self/root")
        .file("a/tmp/x", "1")
        .dir("b")
        .file("b/x", "2")
        .symlink("b", "/etc")
        .file("b/x", "3")
        .symlink("c", "d")
        .symlink("d", "/outside")
        .file("c/y", "4");
    let (_dir, layer) = layer(tar);
    assert_eq!(read(&layer.join("proc/self/root/tmp/x")), "1");
    assert_eq!(read(&layer.join("etc/x")), "3");
    assert_eq!(read(&layer.join("outside/y")), "4");
    let looped = RawTar::default().symlink("a", "b").symlink("b", "a").file("a/x", "");
    assert!(matches!(unpack_onto(looped, &[]).2, Err(LayerError::Entry { .. })));
}

#[test]
fn a_file_is_written_over_a_link_and_not_through_it() {
    let tar = RawTar::default()
        .symlink("log", "../outside/secret")
        .file("log", "mine")
        .file("dev", "")
        .with(b'3', "dev", |header| {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        })
        .file("dev", "a file again")
        .dir("tree/deep")
        .file("tree/deep/x", "")
        .file("tree", "now a file");
    let (_dir, root) = layer(tar);
    assert_eq!(read(&root.join("log")), "mine");
    assert!(fs::symlink_metadata(root.join("log")).unwrap().is_file());
    assert_eq!(read(&root.join("dev")), "a file again");
    assert_eq!(read(&root.join("tree")), "now a file");
    let through_file = RawTar::default().file("f", "").file("f/x", "");
    assert!(matches!(
        unpack_onto(through_file, &[]).2,
        Err(LayerError::Entry { .. })
    ));
}

#[test]
fn implied_directories_look_like_those_below() {
    let lower = TempDir::new();
    let tmp = lower.path().join("tmp");
    fs::create_dir(&tmp).unwrap();
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).unwrap();
    std::os::unix::fs::chown(&tmp, Some(7), Some(8)).unwrap();
    File::open(&tmp)
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(99))
        .unwrap();
    fs::create_dir_all(lower.path().join("usr/bin")).unwrap();
    std::os::unix::fs::symlink("usr/bin", lower.path().join("bin")).unwrap();
    let tar = RawTar::default()
        .file("tmp/x", "")
        .file("new/x", "")
        .file("bin/tool", "t")
        .hard_link("bin/same", "bin/tool");
    let (_dir, root, result) = unpack_onto(tar, &[lower.path()]);
    result.unwrap();
    let copied = fs::metadata(root.join("tmp")).unwrap();
    assert_eq!((copied.mode() & 0o7777, copied.uid(), copied.gid()), (0o1777, 7, 8));
    assert_eq!(copied.mtime(), fs::metadata(&tmp).unwrap().mtime());
    assert_eq!(fs::metadata(root.join("new")).unwrap().mode() & 0o7777, 0o755);
    // A link below is followed instead of being hidden by a directory of its name.
    assert_eq!(read(&root.join("usr/bin/tool")), "t");
    assert_eq!(fs::metadata(root.join("usr/bin/same")).unwrap().nlink(), 2);
    assert!(!root.join("bin").exists());
    assert!(!lower.path().join("usr/bin/tool").exists());
}

#[test]
fn a_whiteout_ends_the_look_below() {
    let (lower, upper) = (TempDir::new(), TempDir::new());
    fs::create_dir(lower.path().join("secret")).unwrap();
    fs::set_permissions(lower.path().join("secret"), fs::Permissions::from_mode(0o700)).unwrap();
    let file = OwnedFd::from(File::open(upper.path()).unwrap());
    let tar = RawTar::default().file(".wh.secret", "").finish();
    unpack(&tar[..], file, &View::open([lower.path()]).unwrap(), Limits::default()).unwrap();
    let (_dir, root, result) = unpack_onto(RawTar::default().file("secret/x", ""), &[upper.path(), lower.path()]);
    result.unwrap();
    assert_eq!(fs::metadata(root.join("secret")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn limits_hold() {
    let limits = Limits {
        entries: 3,
        content_bytes: 10,
    };
    let many = (0..4).fold(RawTar::default(), |tar, n| tar.dir(&format!("d{n}")));
    assert!(matches!(
        unpack_with(many, &[], limits).2,
        Err(LayerError::TooManyEntries { limit: 3 })
    ));
    let large = RawTar::default().file("a", "123456").file("b", "12345");
    assert!(matches!(
        unpack_with(large, &[], limits).2,
        Err(LayerError::TooLarge { limit_bytes: 10 })
    ));
    // A size that is only claimed does not make anybody allocate or wait for it.
    let claimed = RawTar::default().with(b'0', "a", |header| header.set_size(1 << 40));
    assert!(unpack_with(claimed, &[], Limits::default()).2.is_err());
    // Headers without end that never become an entry.
    let headers = (0..20).fold(RawTar::default(), |tar, _| tar.entry(b'g', "pax", "", b""));
    assert!(matches!(unpack_onto(headers, &[]).2, Err(LayerError::Header { .. })));
    // Directories nested ever deeper through links.
    let deep = (0..40).fold(RawTar::default(), |tar, n| {
        let path = "d/".repeat(20);
        tar.dir(&format!("l{n}/{path}"))
            .symlink(&format!("l{}", n + 1), &format!("l{n}/{path}"))
    });
    assert!(matches!(unpack_onto(deep, &[]).2, Err(LayerError::Entry { .. })));
    let sparse = RawTar::default().with(b'S', "sparse", |_| {});
    assert!(matches!(unpack_onto(sparse, &[]).2, Err(LayerError::Header { .. })));
}
