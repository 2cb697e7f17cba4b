//! Volumes of a pod: one file a kind, one trait.
//!
//! A volume is made in `<pod dir>/volumes/<name>` (or is a path of the node's), with blocking calls; making it again
//! is how it is brought up to date. Everything below the pod's directory is taken down by
//! [`crate::files::remove_tree`], which detaches mounts first and never removes through one.

mod atomic;
mod config_map;
mod downward_api;
mod empty_dir;
mod host_path;
mod payload;
mod projected;
mod secret;
pub mod subpath;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::kinds::{Pod, Volume as VolumeSpec, VolumeSource};
use crate::objects::{Key, Objects};
use crate::pods::shape;
use crate::spec::fields::{self, Facts};

/// Why a volume cannot be made. Users see the text in a `FailedMount` event.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An object that is not optional does not exist.
    #[error("{0} not found")]
    Missing(Box<Key>),
    /// A key that is not optional is not in its object.
    #[error("{object} has no key {key:?}")]
    MissingKey {
        /// The object.
        object: Box<Key>,
        /// The key.
        key: String,
    },
    /// A path that would leave the volume, or is empty or absolute.
    #[error("path {0:?} is not a plain relative path inside of the volume")]
    Path(String),
    /// A field or resource reference is wrong.
    #[error(transparent)]
    Field(#[from] fields::Error),
    /// A reference to a container the pod does not have.
    #[error("the pod has no container {0:?}")]
    Container(String),
    /// The host's path is not what was asked for.
    #[error("hostPath {path} is not {wanted}")]
    HostPath {
        /// The path.
        path: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A kind of volume this agent does not have.
    #[error("volumes of kind {0} are not supported")]
    Unsupported(String),
    /// The kernel or the file system refused.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// Adds the operation and the path to an I/O error.
fn io(operation: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |source| Error::Io {
        operation,
        path: path.clone(),
        source,
    }
}

/// What volumes are made from.
pub struct Context<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The pod's place.
    pub facts: &'a Facts,
    /// The objects that [`references`] names.
    pub objects: &'a Objects,
}

impl Context<'_> {
    /// Group that owns the pod's volumes.
    fn fs_group(&self) -> Option<u32> {
        shape::spec(self.pod)
            .security_context
            .as_ref()?
            .fs_group
            .and_then(|gid| u32::try_from(gid).ok())
    }
}

/// A volume of one kind.
trait Volume {
    /// The objects its content comes from.
    fn references(&self, _pod: &Pod) -> BTreeSet<Key> {
        BTreeSet::new()
    }

    /// Makes it in `dir`, or brings it up to date. Returns where it is.
    fn set_up(&self, cx: &Context<'_>, dir: &Path) -> Result<PathBuf, Error>;

    /// Whether containers may only ever read it.
    fn read_only(&self) -> bool {
        false
    }
}

/// A volume that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Where it is on the node.
    pub path: PathBuf,
    /// Containers may only ever read it.
    pub read_only: bool,
}

/// Volumes by name.
pub type Volumes = BTreeMap<String, Ready>;

/// A volume that failed.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?}: {source}")]
pub struct Failed {
    /// Its name.
    pub volume: String,
    /// Why.
    pub source: Error,
}

/// The objects that the pod's volumes need.
pub fn references(pod: &Pod) -> BTreeSet<Key> {
    let volumes = shape::spec(pod).volumes.iter().flatten();
    volumes
        .filter_map(|it| of(it).ok())
        .flat_map(|it| it.references(pod))
        .collect()
}

/// Whether volumes show something of the pod object itself, so that they change when its labels do.
pub fn follow_pod(pod: &Pod) -> bool {
    shape::spec(pod)
        .volumes
        .iter()
        .flatten()
        .any(|volume| match &volume.source {
            VolumeSource::DownwardApi(_) => true,
            VolumeSource::Projected(it) => it.sources.iter().flatten().any(|it| it.downward_api.is_some()),
            _ => false,
        })
}

/// Makes every volume of the pod, or brings them up to date.
pub fn set_up(cx: &Context<'_>, pod_dir: &Path) -> Result<Volumes, Failed> {
    let mut ready = Volumes::new();
    for spec in shape::spec(cx.pod).volumes.iter().flatten() {
        let fail = |source| Failed {
            volume: spec.name.clone(),
            source,
        };
        let volume = of(spec).map_err(fail)?;
        let path = volume
            .set_up(cx, &pod_dir.join("volumes").join(&spec.name))
            .map_err(fail)?;
        ready.insert(
            spec.name.clone(),
            Ready {
                path,
                read_only: volume.read_only(),
            },
        );
    }
    Ok(ready)
}

fn of(spec: &VolumeSpec) -> Result<Box<dyn Volume + '_>, Error> {
    Ok(match &spec.source {
        VolumeSource::EmptyDir(it) => Box::new(empty_dir::EmptyDir(it)),
        VolumeSource::HostPath(it) => Box::new(host_path::HostPath(it)),
        VolumeSource::ConfigMap(it) => Box::new(config_map::ConfigMap(it)),
        VolumeSource::Secret(it) => Box::new(secret::Secret(it)),
        VolumeSource::DownwardApi(it) => Box::new(downward_api::DownwardApi(it)),
        VolumeSource::Projected(it) => Box::new(projected::Projected(it)),
        VolumeSource::Unsupported(kind) => return Err(Error::Unsupported(kind.clone())),
    })
}

/// Mounts a tmpfs at `dir` unless something is mounted there.
fn mount_tmpfs(dir: &Path, options: &str) -> Result<(), Error> {
    use nix::mount::{MsFlags, mount};
    if is_mount_point(dir)? {
        return Ok(());
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), dir, Some("tmpfs"), flags, Some(options))
        .map_err(|errno| io("mount tmpfs on", dir)(errno.into()))
}

fn is_mount_point(dir: &Path) -> Result<bool, Error> {
    use std::os::unix::fs::MetadataExt;
    let parent = dir.parent().unwrap_or(dir);
    let device = |path: &Path| {
        std::fs::symlink_metadata(path)
            .map(|it| it.dev())
            .map_err(io("look at", path))
    };
    Ok(device(dir)? != device(parent)?)
}

/// Makes a directory that is there for everybody.
fn make_dir(dir: &Path, mode: u32) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(dir)
        .map_err(io("make directory", dir))
}
