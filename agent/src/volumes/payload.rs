//! What files a volume made from objects shows: all keys or chosen items, with their modes.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::kinds::{Container, DownwardApiVolumeFile, KeyToPath};

use super::{Context, Error};
use crate::objects::{Data, Key};
use crate::pods::shape;
use crate::spec::fields;

/// Mode of files for which none is given.
pub const DEFAULT_MODE: u32 = 0o644;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}

/// Files by their path in the volume.
pub type Payload = BTreeMap<PathBuf, File>;

/// Permission bits of a mode field.
pub fn mode(field: Option<i32>, default: u32) -> u32 {
    field.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(default) & 0o777
}

/// Adds the keys of an object: the listed items, or all.
pub fn add_object(
    payload: &mut Payload,
    cx: &Context<'_>,
    object: &Key,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    default_mode: u32,
) -> Result<(), Error> {
    let optional = optional == Some(true);
    let empty = Data::default();
    let data = match cx.objects.get(object).and_then(Option::as_deref) {
        Some(data) => data,
        None if optional => &empty,
        None => return Err(Error::Missing(Box::new(object.clone()))),
    };
    let Some(items) = items.filter(|it| !it.is_empty()) else {
        for (key, bytes) in data.files() {
            payload.insert(
                plain(key)?,
                File {
                    bytes: bytes.clone(),
                    mode: default_mode,
                },
            );
        }
        return Ok(());
    };
    for item in items {
        match data.file(&item.key) {
            Some(bytes) => {
                payload.insert(
                    plain(&item.path)?,
                    File {
                        bytes: bytes.clone(),
                        mode: mode(item.mode, default_mode),
                    },
                );
            }
            None if optional => {}
            None => {
                return Err(Error::MissingKey {
                    object: Box::new(object.clone()),
                    key: item.key.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Adds one key of an object as a file.
pub fn add_key(
    payload: &mut Payload,
    cx: &Context<'_>,
    object: &Key,
    key: &str,
    path: &str,
    mode: u32,
) -> Result<(), Error> {
    let item = KeyToPath {
        key: key.into(),
        path: path.into(),
        ..KeyToPath::default()
    };
    add_object(payload, cx, object, Some(&[item]), None, mode)
}

/// Adds files that show the pod's own fields and resources.
pub fn add_downward(
    payload: &mut Payload,
    cx: &Context<'_>,
    files: &[DownwardApiVolumeFile],
    default_mode: u32,
) -> Result<(), Error> {
    for file in files {
        let text = if let Some(field) = &file.field_ref {
            fields::field(cx.pod, &field.field_path, cx.facts)?
        } else if let Some(selector) = &file.resource_field_ref {
            let name = selector.container_name.as_deref().unwrap_or_default();
            let container: &Container = shape::container(cx.pod, name)
                .map(|(_, it)| it)
                .ok_or_else(|| Error::Container(name.to_owned()))?;
            fields::resource(container, selector, cx.facts)?
        } else {
            continue;
        };
        payload.insert(
            plain(&file.path)?,
            File {
                bytes: text.into_bytes(),
                mode: mode(file.mode, default_mode),
            },
        );
    }
    Ok(())
}

/// A relative path without `..` whose first part does not look like the writer's own entries.
fn plain(path: &str) -> Result<PathBuf, Error> {
    let wrong = || Error::Path(path.to_owned());
    let parts = Path::new(path).components().map(|part| match part {
        Component::Normal(name) => Ok(name),
        Component::CurDir => Err(()),
        _ => Err(()),
    });
    let clean: PathBuf = parts.collect::<Result<_, _>>().map_err(|()| wrong())?;
    if clean.as_os_str().is_empty() || path.starts_with("..") || path.len() > 4096 {
        return Err(wrong());
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for good in ["a", "a/b.c", "a..b", ".hidden"] {
            assert!(plain(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "../a", "a/../b", "..data", "."] {
            assert!(plain(bad).is_err(), "{bad}");
        }
    }
}
