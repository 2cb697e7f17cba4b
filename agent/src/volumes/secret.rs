//! `secret`: the keys of a Secret as files, in memory only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::kinds::{Pod, SecretVolumeSource};

use super::payload::{self, DEFAULT_MODE, Payload};
use super::{Context, Error, Volume, atomic, make_dir, mount_tmpfs};
use crate::objects::Key;
use crate::pods::shape;

pub(super) struct Secret<'a>(pub &'a SecretVolumeSource);

impl Secret<'_> {
    fn key(&self, namespace: &str) -> Key {
        Key::secret(namespace, self.0.secret_name.as_deref().unwrap_or_default())
    }
}

impl Volume for Secret<'_> {
    fn references(&self, pod: &Pod) -> BTreeSet<Key> {
        [self.key(shape::namespace(pod))].into()
    }

    fn set_up(&self, cx: &Context<'_>, dir: &Path) -> Result<PathBuf, Error> {
        let mut files = Payload::new();
        let key = self.key(shape::namespace(cx.pod));
        let mode = payload::mode(self.0.default_mode, DEFAULT_MODE);
        payload::add_object(&mut files, cx, &key, self.0.items.as_deref(), self.0.optional, mode)?;
        make_dir(dir, 0o755)?;
        mount_tmpfs(dir, "mode=0755")?;
        atomic::write(dir, &files, cx.fs_group())?;
        Ok(dir.to_owned())
    }

    fn read_only(&self) -> bool {
        true
    }
}
