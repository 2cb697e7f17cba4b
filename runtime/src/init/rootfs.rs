//! The root file system: an overlay or a directory, mounted in the container's own mount namespace only.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, chroot, fchdir, pivot_root};

use super::root::Root;
use crate::broken;
use crate::error::{During, Error, Result};
use crate::protocol::Overlay;
use crate::sys::mount::{Attributes, Context, attach, clone_tree, set_attributes};

/// `mount(2)` takes its options in one page.
const MAX_OPTIONS: usize = 4095;

/// Cuts the mount namespace off from the machine's, so that nothing mounted from now on is seen there. What the machine
/// mounts is seen here if the root is to be a slave.
///
/// # Errors
/// The kernel refuses.
pub fn cut_off(propagation: Option<&str>) -> Result<()> {
    if broken::lacks("private-mounts") {
        return Ok(());
    }
    let slave = matches!(propagation, Some("slave" | "rslave"));
    let kind = if slave { MsFlags::MS_SLAVE } else { MsFlags::MS_PRIVATE };
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | kind, None::<&str>).during("cut off", "/")
}

/// Gives the root its propagation: OCI runtime specification, "Rootfs Mount Propagation". A slave is one from the
/// beginning, and `/` private already; the kernel lets nobody enter a root that is shared: pivot_root(2).
///
/// # Errors
/// The kernel refuses.
pub fn propagate(propagation: Option<&str>) -> Result<()> {
    let Some((kind, recursive)) = propagation.and_then(super::propagation) else {
        return Ok(());
    };
    let kind = match kind {
        libc::MS_SHARED => MsFlags::MS_SHARED,
        libc::MS_UNBINDABLE => MsFlags::MS_UNBINDABLE,
        _ => return Ok(()),
    };
    let flags = if recursive { kind | MsFlags::MS_REC } else { kind };
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).during("change the propagation of", "/")
}

/// Mounts an overlay over its own writable layer: a directory is needed to mount on, this one is there already and,
/// covered by the overlay, cannot be changed behind its back from this namespace.
///
/// # Errors
/// A layer is not there, or the kernel refuses.
pub fn overlay(overlay: &Overlay) -> Result<Root> {
    // Nothing of the writable layer outlives the container, so it is never synced: unmounting would write back the
    // whole file system it is on. Kernels before 5.10 do not know the option. Others leave a mark that refuses a second
    // mount, in case the machine crashed meanwhile; whoever asks for the layer again has seen to that.
    match mount_overlay(overlay, true) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            match std::fs::remove_dir_all(overlay.work.join("work/incompat/volatile")) {
                Ok(()) => mount_overlay(overlay, true),
                Err(_) => mount_overlay(overlay, false),
            }
        }
        other => other,
    }
    .during("mount the overlay of", overlay.upper.display())?;
    open(&overlay.upper)
}

fn mount_overlay(overlay: &Overlay, volatile: bool) -> io::Result<()> {
    if overlay.lower.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no lower layer"));
    }
    let mount_with = |options: &str| {
        Ok(mount(
            Some("overlay"),
            &overlay.upper,
            Some("overlay"),
            MsFlags::empty(),
            Some(options),
        )?)
    };
    let whole = options(overlay, &overlay.lower, volatile);
    if whole.len() <= MAX_OPTIONS {
        return mount_with(&whole);
    }
    // Layers are mostly neighbours: seen from the directory they are in their names are short.
    let (dir, layers) = shorten(&overlay.lower);
    let short = options(overlay, &layers, volatile);
    if short.len() <= MAX_OPTIONS {
        chdir(&dir)?;
        return mount_with(&short);
    }
    let context = Context::open("overlay")?;
    // One layer at a time, the uppermost first (since Linux 6.5).
    overlay
        .lower
        .iter()
        .try_for_each(|layer| context.set("lowerdir+", layer))?;
    context.set("upperdir", &overlay.upper)?;
    context.set("workdir", &overlay.work)?;
    if volatile {
        context.flag("volatile")?;
    }
    attach(context.mount(0)?, open_path(&overlay.upper)?)
}

/// The options in one line. Commas and colons separate there and are escaped in paths.
fn options(overlay: &Overlay, lower: &[PathBuf], volatile: bool) -> String {
    let escape = |path: &PathBuf| {
        path.to_string_lossy()
            .replace('\\', "\\\\")
            .replace(',', "\\,")
            .replace(':', "\\:")
    };
    let lower: Vec<String> = lower.iter().map(escape).collect();
    let (upper, work) = (escape(&overlay.upper), escape(&overlay.work));
    let volatile = if volatile { ",volatile" } else { "" };
    format!("lowerdir={},upperdir={upper},workdir={work}{volatile}", lower.join(":"))
}

/// The directory seen from which the paths are shortest, and the paths seen from there; absolute ones elsewhere.
fn shorten(paths: &[PathBuf]) -> (PathBuf, Vec<PathBuf>) {
    let seen_from = |dir: &Path| -> Vec<PathBuf> {
        let inside = |path: &PathBuf| match path.strip_prefix(dir) {
            Ok(inside) if !inside.as_os_str().is_empty() => inside.to_owned(),
            _ => path.clone(),
        };
        paths.iter().map(inside).collect()
    };
    let dirs: BTreeSet<&Path> = paths.iter().flat_map(|path| path.ancestors().skip(1)).collect();
    let length = |dir: &&Path| seen_from(dir).iter().map(|path| path.as_os_str().len()).sum::<usize>();
    let best = dirs.into_iter().min_by_key(length).unwrap_or(Path::new("/"));
    (best.to_owned(), seen_from(best))
}

/// Makes a mount of a directory, which a root has to be, and opens it.
///
/// # Errors
/// The directory is not there.
pub fn directory(path: &Path) -> Result<Root> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(path), path, None::<&str>, flags, None::<&str>).during("bind", path.display())?;
    open(path)
}

/// [`directory`] in a mount namespace that others are in too: nothing mounted below is seen outside of it.
///
/// # Errors
/// The directory is not there.
pub fn shared_directory(path: &Path) -> Result<Root> {
    let root = directory(path)?;
    let private = Attributes {
        propagation: libc::MS_PRIVATE,
        ..Attributes::default()
    };
    set_attributes(&root, true, private).during("make private", path.display())?;
    Ok(root)
}

fn open(path: &Path) -> Result<Root> {
    Ok(Root::new(open_path(path).during("open", path.display())?))
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    Ok(File::options().read(true).custom_flags(flags).open(path)?.into())
}

/// Makes `root` the root of the mount namespace, and lets go of the old one.
///
/// # Errors
/// The kernel refuses, for one because the machine still runs on its initial RAM disk.
pub fn enter(root: &Root) -> Result<()> {
    fchdir(root).during("enter", "the root file system")?;
    // Old and new root on the same directory: the old one ends up on top and is taken away from there; pivot_root(2).
    pivot_root(".", ".").map_err(|error| match error {
        nix::errno::Errno::EINVAL => Error::Invalid(
            "the root file system cannot be changed: this machine runs on its initial RAM disk, which has to be left \
             with switch_root first"
                .to_owned(),
        ),
        error => Error::System {
            operation: "pivot",
            object: "the root file system".to_owned(),
            source: error.into(),
        },
    })?;
    if !broken::lacks("no-old-root") {
        umount2(".", MntFlags::MNT_DETACH).during("unmount", "the old root file system")?;
    }
    chdir("/").during("enter", "/")
}

/// Attaches a root that was cloned before: on its own path, where hooks look for it. Where that cannot be opened the
/// whole of a mount namespace that nobody shares does as well.
///
/// # Errors
/// The path leads nowhere, or the kernel refuses.
pub fn prepared(tree: OwnedFd, path: &Path, shared: bool) -> Result<Root> {
    let place = match open_path(path) {
        Err(_) if !shared => open_path(Path::new("/")),
        other => other,
    };
    attach(&tree, place.during("open", path.display())?).during("mount on", path.display())?;
    Ok(Root::new(tree))
}

/// Clones a directory for [`prepared`], with what is mounted below.
///
/// # Errors
/// The directory is not there.
pub fn prepare(path: &Path, propagation: Option<&str>) -> Result<OwnedFd> {
    let tree = clone_tree(AT_FDCWD, path, true).during("clone", path.display())?;
    let slave = matches!(propagation, Some("slave" | "rslave"));
    let kind = Attributes {
        propagation: if slave { libc::MS_SLAVE } else { libc::MS_PRIVATE },
        ..Attributes::default()
    };
    set_attributes(&tree, true, kind).during("cut off", path.display())?;
    Ok(tree)
}

/// Makes `root` the root of this process alone, in a mount namespace that it shares with others.
///
/// # Errors
/// The kernel refuses.
pub fn enter_shared(root: impl AsFd) -> Result<()> {
    fchdir(root).during("enter", "the root file system")?;
    chroot(".").during("change the root to", "the root file system")?;
    chdir("/").during("enter", "/")
}

/// Opens a descriptor of a namespace of the calling process.
///
/// # Errors
/// `/proc` is not mounted.
pub fn own_namespace(name: &str) -> Result<OwnedFd> {
    let path = Path::new("/proc/self/ns").join(name);
    let file = nix::fcntl::openat(
        AT_FDCWD,
        &path,
        nix::fcntl::OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    );
    file.during("open", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_named_from_where_they_are() {
        let paths = ["/l/a/1", "/l/a/2", "/l/a/3", "/other/rootfs"].map(PathBuf::from);
        let (dir, short) = shorten(&paths);
        assert_eq!(dir, Path::new("/l/a"));
        assert_eq!(short, ["1", "2", "3", "/other/rootfs"].map(PathBuf::from));
        let (dir, short) = shorten(&["/l/a".into(), "/l/a/b/c".into()]);
        assert!(
            short.iter().all(|path| !path.as_os_str().is_empty()),
            "{dir:?} {short:?}"
        );
    }

    #[test]
    fn paths_are_escaped_in_options() {
        let overlay = Overlay {
            lower: vec!["/a:b".into(), "/c,d".into()],
            upper: "/u\\x".into(),
            work: "/w".into(),
        };
        assert_eq!(
            options(&overlay, &overlay.lower, true),
            "lowerdir=/a\\:b:/c\\,d,upperdir=/u\\\\x,workdir=/w,volatile"
        );
    }
}
