//! `delete`.

use std::path::Path;
use std::time::Duration;

use nix::mount::{MntFlags, umount2};

use super::arguments::{Arguments, Order};
use super::create::PARENT;
use super::global::Global;
use super::list;
use super::state::{Directory, Status, Stored};
use crate::cgroup::{self, Cgroup, Layout};
use crate::document::Document;
use crate::error::{During, Error, Result, chain};
use crate::init::hooks::{self, Place};
use crate::resctrl::Group;
use crate::sys::path::mount_id;
use crate::sys::regex::Regex;
use crate::{fault, records, systemd};

/// How long what was killed may take to be gone.
const DEATH: Duration = Duration::from_secs(10);

/// How long it mostly takes, so that longer means that something holds it.
const SOON: Duration = Duration::from_millis(500);

/// Removes a container that has ended, or any with `--force`; with `--regex` every one in whose id an expression is found.
pub fn delete(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let options = [("force", Some('f'), false), ("regex", Some('r'), false)];
    let mut given = Arguments::parse(arguments, &options, Order::Anywhere)?;
    let (id, force) = (given.only("a container's id")?, given.has("force"));
    if !given.has("regex") {
        return one(global, &id, force).map(|()| 0);
    }
    let regex = Regex::new(&id).ok_or_else(|| Error::Invalid(format!("{id:?} is no regular expression")))?;
    let mut failed = None;
    for id in list::ids(global).filter(|id| regex.is_in(id)) {
        // One that cannot be removed keeps no other.
        if let Err(error) = one(global, &id, force)
            && let Some(earlier) = failed.replace(error)
        {
            global.warn(&chain(&earlier));
        }
    }
    failed.map_or(Ok(0), Err)
}

fn one(global: &Global, id: &str, force: bool) -> Result<()> {
    let directory = Directory::new(global, id)?;
    let _lock = match directory.lock() {
        Err(Error::NotFound(_)) if force => return Ok(()),
        lock => lock?,
    };
    match directory.read() {
        // One that was never started runs nothing of the user's: other runtimes remove it as well.
        Ok(stored) => match directory.status(&stored) {
            status @ (Status::Running | Status::Paused) if !force => {
                return Err(Error::State(format!(
                    "container {id} is {status}: stop it first, or use --force"
                )));
            }
            _ => {}
        },
        // Whoever was making it died before it came so far; nothing else was made then.
        Err(Error::NotFound(_)) => {}
        Err(error) if !force => return Err(error),
        Err(_) => {}
    }
    remove(global, &directory)
}

/// Kills what is left of a container and removes its cgroups and its directory. The lock is the caller's.
pub fn remove(global: &Global, directory: &Directory) -> Result<()> {
    let mut after = None;
    if let Ok(stored) = directory.read() {
        if let Some((process, _)) = stored.process() {
            // It may not have got into its cgroup yet. Gone meanwhile is what is wanted.
            let _ = crate::sys::process::pidfd_send_signal(std::os::fd::AsFd::as_fd(&process), libc::SIGKILL);
        }
        let layout = Layout::detect()?;
        let cgroup = Cgroup::new(&layout, &stored.cgroup);
        end(&layout, &cgroup.tracker())?;
        fault::point("oci.delete-killed");
        unmount(&stored)?;
        if let Some(scope) = &stored.scope {
            systemd::remove(scope, &layout)?;
        }
        let busy = || records::remove_patiently(|| cgroup.remove()).into_iter().next();
        if busy().is_some() {
            // Somebody has moved its processes out of the tracker, which is a freezer where there is nothing but v1.
            for hierarchy in &layout.v1 {
                end(&layout, &cgroup.dir(hierarchy))?;
            }
            busy().map_or(Ok(()), Err)?;
        }
        if stored.scope.is_some() {
            cgroup.remove_empty_parents(|hierarchy| !layout.is_systemds(hierarchy));
        } else if stored.cgroup.starts_with(PARENT) {
            cgroup.remove_empty_parents(|_| true);
        }
        stored.resctrl.as_ref().map_or(Ok(()), Group::remove)?;
        fault::point("oci.delete-cgroup-removed");
        // One whose process was never cloned has not been created.
        after = directory
            .attended(&stored)?
            .filter(|_| stored.pid > 0)
            .zip(Some(stored));
    }
    directory.remove()?;
    if let Some((document, stored)) = after {
        poststop(global, &document, &stored);
    }
    Ok(())
}

/// Kills whatever is in a directory of a container's cgroup, and waits until nothing is.
fn end(layout: &Layout, dir: &Path) -> Result<()> {
    if !cgroup::populated(dir) {
        return Ok(());
    }
    cgroup::kill(dir).during("kill the processes of", dir.display())?;
    if !cgroup::wait_empty(dir, SOON) {
        cgroup::leave_freezers(layout, dir);
    }
    if !cgroup::wait_empty(dir, DEATH) {
        return Err(Error::State(format!("processes in {} do not die", dir.display())));
    }
    Ok(())
}

/// Unmounts the root file system of a container without a mount namespace of its own, with all that is mounted there. It
/// was bound to its own path, so another mount is there than before.
fn unmount(stored: &Stored) -> Result<()> {
    let Some(before) = stored.mounted_on else { return Ok(()) };
    match mount_id(&stored.rootfs) {
        Ok(now) if now != before => {
            umount2(&stored.rootfs, MntFlags::MNT_DETACH).during("unmount", stored.rootfs.display())
        }
        // Never mounted, or gone.
        _ => Ok(()),
    }
}

/// Executes the hooks of a container that is gone. Each gets its chance: OCI runtime specification, "Lifecycle".
fn poststop(global: &Global, document: &Document, stored: &Stored) {
    let told = stored.told().at("stopped", None);
    let place = Place {
        directory: &stored.bundle,
        environment: None,
    };
    for hook in &document.hooks.poststop {
        if let Err(error) = hooks::run("poststop", std::slice::from_ref(hook), &told, place) {
            global.warn(&error.to_string());
        }
    }
}
