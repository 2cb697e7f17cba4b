//! `emptyDir`: a directory of the pod's own, on disk or in memory.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use barepod_client::types::Quantity;

use super::{Context, Error, Volume, io, make_dir, mount_tmpfs};
use crate::kinds::EmptyDirVolumeSource;

pub(super) struct EmptyDir<'a>(pub &'a EmptyDirVolumeSource);

impl Volume for EmptyDir<'_> {
    fn set_up(&self, cx: &Context<'_>, dir: &Path) -> Result<PathBuf, Error> {
        let fresh = !dir.try_exists().map_err(io("look at", dir))?;
        make_dir(dir, 0o777)?;
        match self.0.medium.as_deref().unwrap_or_default() {
            "" => {}
            "Memory" => {
                let limit = self
                    .0
                    .size_limit
                    .as_ref()
                    .and_then(Quantity::units)
                    .filter(|it| *it > 0);
                let size = limit.unwrap_or(cx.facts.allocatable_memory).max(1);
                mount_tmpfs(dir, &format!("size={size},mode=0777"))?;
            }
            _ => return Err(Error::Unsupported("emptyDir with huge pages".into())),
        }
        if fresh {
            own(dir, cx.fs_group())?;
        }
        Ok(dir.to_owned())
    }
}

/// Everybody may write; with an owning group, new files are of that group.
fn own(dir: &Path, group: Option<u32>) -> Result<(), Error> {
    let mode = match group {
        Some(gid) => {
            chown(dir, None, Some(gid)).map_err(io("change group of", dir))?;
            0o2777
        }
        None => 0o777,
    };
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)).map_err(io("change mode of", dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::scratch;
    use crate::objects::Objects;
    use crate::spec::fields::Facts;

    #[test]
    fn directory_for_everybody_that_keeps_its_content() {
        let dir = scratch("empty");
        let cx = Context {
            pod: &Default::default(),
            facts: &Facts::default(),
            objects: &Objects::new(),
        };
        let none = EmptyDirVolumeSource::default();
        let path = EmptyDir(&none).set_up(&cx, &dir.path().join("v")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o777);
        std::fs::write(path.join("f"), "x").unwrap();
        EmptyDir(&none).set_up(&cx, &path).unwrap();
        assert!(path.join("f").exists());
    }
}
