//! `create` and `run`: from a bundle to a process that is the container.

use std::fs;
use std::path::{Path, PathBuf};

use super::arguments::{Arguments, Known, Order};
use super::global::Global;
use super::launch::{self, Launched};
use super::preserved::Preserved;
use super::state::{Directory, Stored, read_document};
use super::terminal::fit;
use super::{delete, wait};
use crate::cgroup::{self, Cgroup, Layout};
use crate::document::{Document, KEEP_GROUPS, is_yes};
use crate::error::{During, Error, Result};
use crate::init::identity::Sets;
use crate::systemd::Scope;
use crate::{fault, sealed, time};

/// `no-subreaper` is for runtimes that take the orphans of a container in; this one does not.
const OPTIONS: [Known; 11] = [
    ("bundle", Some('b'), true),
    ("config", Some('f'), true),
    ("pid-file", None, true),
    ("pidfd-socket", None, true),
    ("console-socket", None, true),
    ("detach", Some('d'), false),
    ("keep", None, false),
    ("no-pivot", None, false),
    ("no-new-keyring", None, false),
    ("no-subreaper", None, false),
    ("preserve-fds", None, true),
];

/// `create`.
pub fn create(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let mut given = Arguments::parse(arguments, &OPTIONS, Order::Anywhere)?;
    let id = given.only("a container's id")?;
    make(global, &given, &id, Mode::Wait)?;
    Ok(0)
}

/// `run`.
pub fn run(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let mut given = Arguments::parse(arguments, &OPTIONS, Order::Anywhere)?;
    let id = given.only("a container's id")?;
    let mode = if given.has("detach") { Mode::Leave } else { Mode::Follow };
    let launched = make(global, &given, &id, mode)?;
    if mode == Mode::Leave {
        return Ok(0);
    }
    let code = wait::to_the_end(&launched.pidfd, launched.terminal)?;
    if !given.has("keep") {
        let directory = Directory::new(global, &id)?;
        let _lock = directory.lock()?;
        delete::remove(global, &directory)?;
    }
    Ok(code)
}

/// What becomes of a container that is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It waits for `start`.
    Wait,
    /// It is started and left alone.
    Leave,
    /// It is started and waited for.
    Follow,
}

/// Keeps containers from the runtime's own file and memory while it is on its way into them.
pub fn protect() -> Result<()> {
    if !sealed::is_sealed() {
        sealed::execute_again()?;
    }
    sealed::keep_out()
}

/// Makes a container. When it fails nothing is left of it.
fn make(global: &Global, given: &Arguments, id: &str, mode: Mode) -> Result<Launched> {
    let preserved = Preserved::new(given)?;
    let directory = Directory::new(global, id)?;
    protect()?;
    let bundle = given
        .value("bundle")
        .map_or_else(std::env::current_dir, fs::canonicalize)
        .during("find", "the bundle")?;
    let config = given.value("config").filter(|file| !file.is_empty());
    let (text, mut document) = read_document(&bundle.join(config.unwrap_or("config.json")))?;
    document.linux.complete_users();
    document.check()?;
    document.check_namespaces()?;
    if let Some(asked) = document
        .process
        .as_ref()
        .and_then(|process| process.capabilities.as_ref())
        && let Some(warning) = Sets::new(Some(asked)).left_out(asked)
    {
        global.warn(&warning);
    }
    let root = document
        .root
        .as_mut()
        .ok_or_else(|| Error::Invalid("there is no root file system".to_owned()))?;
    root.path = fs::canonicalize(bundle.join(&root.path)).during("find the root file system", root.path.display())?;
    if let Some(process) = &mut document.process {
        process.env.extend(preserved.environment());
        process.keeps_groups = document.annotations.get(KEEP_GROUPS).is_some_and(|value| is_yes(value));
        if mode == Mode::Follow {
            fit(given, process);
        }
    }
    let layout = Layout::detect()?;
    if let Some(resources) = &document.linux.resources {
        cgroup::check(&layout, resources)?;
    }
    let scope = global
        .systemd_cgroup
        .then(|| {
            let path = document.linux.cgroups_path.as_deref();
            Scope::named(path.map(Path::to_string_lossy).as_deref(), id)
        })
        .transpose()?;
    if let Some(scope) = &scope {
        scope.check(&layout, document.linux.resources.as_ref(), &document.annotations)?;
    }
    let stored = stored(id, bundle, &document, scope, &layout, given)?;
    let _lock = directory.make()?;
    fault::point("oci.directory-made");
    let made = directory
        .keep_config(text.as_bytes())
        .and_then(|()| launch::launch(&directory, &layout, stored, &document, given, &preserved, mode));
    if made.is_err() {
        // Why it could not be made is what the caller wants to hear.
        let _ = delete::remove(global, &directory);
    }
    made
}

fn stored(
    id: &str,
    bundle: PathBuf,
    document: &Document,
    scope: Option<Scope>,
    layout: &Layout,
    given: &Arguments,
) -> Result<Stored> {
    let cgroup = match &scope {
        Some(scope) => scope.cgroup(),
        None => cgroup_path(document, id)?,
    };
    let created = time::now_text();
    Ok(Stored {
        id: id.to_owned(),
        pid: 0,
        start_ticks: 0,
        unique: 0,
        pid_namespace: false,
        keyring: (!given.has("no-new-keyring")).then(|| format!("{id}.{created}")),
        bundle,
        rootfs: document.root.as_ref().map(|root| root.path.clone()).unwrap_or_default(),
        tracker: Cgroup::new(layout, &cgroup).tracker(),
        cgroup,
        scope,
        attended: is_attended(document),
        mounted_on: None,
        resctrl: None,
        created,
        annotations: document.annotations.clone(),
    })
}

/// Whether something is to be done for the container when it is started or deleted.
fn is_attended(document: &Document) -> bool {
    let hooks = &document.hooks;
    let notifies = document
        .linux
        .seccomp
        .as_ref()
        .is_some_and(|seccomp| seccomp.listener_path().is_some());
    notifies || !(hooks.poststart.is_empty() && hooks.poststop.is_empty())
}

/// The cgroup that relative paths of configurations begin at.
pub const PARENT: &str = "/barepod-runtime";

/// The cgroup asked for; without a word on it one of its own, with no parent to be made and removed.
fn cgroup_path(document: &Document, id: &str) -> Result<PathBuf> {
    use std::path::Component;
    let given = document
        .linux
        .cgroups_path
        .as_deref()
        .filter(|path| !path.as_os_str().is_empty());
    let Some(given) = given else {
        return Ok(PathBuf::from(format!("{PARENT}.{id}")));
    };
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::CurDir | Component::Normal(_));
    let is_named = given.components().any(|part| matches!(part, Component::Normal(_)));
    let path = if given.is_absolute() {
        given.to_owned()
    } else {
        Path::new(PARENT).join(given)
    };
    // All that is in a container's cgroup is killed with it: it is never one that has others in it.
    if !is_named || !given.components().all(plain) || path == Path::new(PARENT) {
        return Err(Error::Invalid(format!(
            "linux.cgroupsPath {} cannot be a container's own cgroup",
            given.display()
        )));
    }
    Ok(path)
}
