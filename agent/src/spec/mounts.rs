//! A container's mounts: what every container has, the pod's shared files, its volumes.

use std::path::{Path, PathBuf};

use crate::kinds::{Container, VolumeMount};
use oci_spec::runtime::Mount;

use super::Error;
use super::env::Environment;
use super::expand::{expand, unresolved};
use crate::volumes::{Volumes, subpath};

/// Files and directories of the pod that each of its containers sees, unless it mounts something of its own there.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    /// Host path and place in the container.
    pub binds: Vec<(PathBuf, PathBuf)>,
}

/// A bind mount.
pub fn bind(source: &Path, destination: &Path, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount.set_destination(destination.to_owned());
    mount.set_typ(Some("bind".into()));
    mount.set_source(Some(source.to_owned()));
    mount.set_options(Some(options.iter().map(|it| (*it).to_owned()).collect()));
    mount
}

/// What the container's `volumeMounts` become. `staging` is where sub-paths are bound; blocking.
pub fn volumes(container: &Container, ready: &Volumes, env: &Environment, staging: &Path) -> Result<Vec<Mount>, Error> {
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let volume = ready
            .get(&mount.name)
            .ok_or_else(|| Error::NoVolume(mount.name.clone()))?;
        let source = match sub_path(mount, env)? {
            None => volume.path.clone(),
            Some(path) => subpath::bind(&volume.path, &path, &staging.join(index.to_string())).map_err(|source| {
                Error::SubPath {
                    mount: mount.mount_path.clone(),
                    source,
                }
            })?,
        };
        let read_only = volume.read_only || mount.read_only == Some(true);
        mounts.push(bind(&source, Path::new(&mount.mount_path), &options(mount, read_only)));
    }
    // What is mounted below something comes after it.
    mounts.sort_by_key(|mount| mount.destination().components().count());
    Ok(mounts)
}

fn options(mount: &VolumeMount, read_only: bool) -> [&'static str; 3] {
    let access = match (read_only, mount.recursive_read_only.as_deref()) {
        (false, _) => "rw",
        (true, Some("Enabled" | "IfPossible")) => "rro",
        (true, _) => "ro",
    };
    ["rbind", access, propagation(mount)]
}

fn propagation(mount: &VolumeMount) -> &'static str {
    match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => "rslave",
        Some("Bidirectional") => "rshared",
        _ => "rprivate",
    }
}

fn sub_path(mount: &VolumeMount, env: &Environment) -> Result<Option<String>, Error> {
    if let Some(text) = mount.sub_path_expr.as_deref().filter(|it| !it.is_empty()) {
        if let Some(name) = unresolved(text, |name| env.get(name)).into_iter().next() {
            return Err(Error::SubPathExpr {
                expr: text.to_owned(),
                name,
            });
        }
        return Ok(Some(expand(text, |name| env.get(name))));
    }
    Ok(mount.sub_path.clone().filter(|it| !it.is_empty()))
}

/// The root file system's propagation that the volume mounts need.
pub fn root_propagation(container: &Container) -> Option<&'static str> {
    let all = || container.volume_mounts.iter().flatten().map(propagation);
    if all().any(|it| it == "rshared") {
        Some("rshared")
    } else {
        all().any(|it| it == "rslave").then_some("rslave")
    }
}

/// The shared files, without those the container mounts something of its own on.
pub fn shared(container: &Container, shared: &Shared) -> Vec<Mount> {
    let own = |place: &Path| {
        container
            .volume_mounts
            .iter()
            .flatten()
            .any(|it| Path::new(&it.mount_path) == place)
    };
    shared
        .binds
        .iter()
        .filter(|(_, place)| !own(place))
        .map(|(source, place)| bind(source, place, &["rbind", "rprivate", "rw"]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volumes::Ready;
    use serde_json::json;

    #[test]
    fn volumes_become_bind_mounts_in_order() {
        let container: Container = serde_json::from_value(json!({"name": "c", "volumeMounts": [
            {"name": "v", "mountPath": "/a/b", "readOnly": true},
            {"name": "v", "mountPath": "/a", "mountPropagation": "HostToContainer"},
            {"name": "w", "mountPath": "/w"}]}))
        .unwrap();
        let ready = Volumes::from([
            (
                "v".to_owned(),
                Ready {
                    path: "/host/v".into(),
                    read_only: false,
                },
            ),
            (
                "w".to_owned(),
                Ready {
                    path: "/host/w".into(),
                    read_only: true,
                },
            ),
        ]);
        let got = volumes(&container, &ready, &Environment::default(), Path::new("/s")).unwrap();
        let show: Vec<_> = got
            .iter()
            .map(|it| {
                (
                    it.destination().to_str().unwrap(),
                    it.options().clone().unwrap().join(","),
                )
            })
            .collect();
        assert_eq!(
            show,
            [
                ("/a", "rbind,rw,rslave".to_owned()),
                ("/w", "rbind,ro,rprivate".to_owned()),
                ("/a/b", "rbind,ro,rprivate".to_owned())
            ]
        );
        assert_eq!(root_propagation(&container), Some("rslave"));
    }

    #[test]
    fn sub_path_expressions_need_their_variables() {
        let mount: VolumeMount =
            serde_json::from_value(json!({"name": "v", "mountPath": "/a", "subPathExpr": "$(POD)/x"})).unwrap();
        let mut env = Environment::default();
        assert!(matches!(sub_path(&mount, &env), Err(Error::SubPathExpr { name, .. }) if name == "POD"));
        env.set("POD", "p");
        assert_eq!(sub_path(&mount, &env).unwrap().as_deref(), Some("p/x"));
    }

    #[test]
    fn own_mounts_win_over_shared_files() {
        let container: Container =
            serde_json::from_value(json!({"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/etc/hosts"}]}))
                .unwrap();
        let files = Shared {
            binds: vec![
                ("/p/hosts".into(), "/etc/hosts".into()),
                ("/p/r".into(), "/etc/resolv.conf".into()),
            ],
        };
        let got = shared(&container, &files);
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].destination(), Path::new("/etc/resolv.conf"));
    }
}
