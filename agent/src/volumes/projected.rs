//! `projected`: several sources in one directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::kinds::ProjectedVolumeSource;

use super::payload::{self, DEFAULT_MODE, Payload};
use super::{Context, Error, Volume, atomic, make_dir, mount_tmpfs};
use crate::objects::Key;
use crate::pods::shape;

pub(super) struct Projected<'a>(pub &'a ProjectedVolumeSource);

impl Volume for Projected<'_> {
    fn references(&self, namespace: &str) -> BTreeSet<Key> {
        let sources = self.0.sources.iter().flatten();
        sources
            .flat_map(|it| {
                let map = it.config_map.as_ref().map(|it| Key::config_map(namespace, &it.name));
                map.into_iter()
                    .chain(it.secret.as_ref().map(|it| Key::secret(namespace, &it.name)))
            })
            .collect()
    }

    fn set_up(&self, cx: &Context<'_>, dir: &Path) -> Result<PathBuf, Error> {
        let namespace = shape::namespace(cx.pod);
        let mode = payload::mode(self.0.default_mode, DEFAULT_MODE);
        let mut files = Payload::new();
        let mut secret = false;
        for source in self.0.sources.iter().flatten() {
            if let Some(it) = &source.config_map {
                let key = Key::config_map(namespace, &it.name);
                payload::add_object(&mut files, cx, &key, it.items.as_deref(), it.optional, mode)?;
            }
            if let Some(it) = &source.secret {
                secret = true;
                let key = Key::secret(namespace, &it.name);
                payload::add_object(&mut files, cx, &key, it.items.as_deref(), it.optional, mode)?;
            }
            if let Some(it) = &source.downward_api {
                payload::add_downward(&mut files, cx, it.items.as_deref().unwrap_or_default(), mode)?;
            }
            if source.service_account_token.is_some() {
                return Err(Error::Unsupported("projected serviceAccountToken".into()));
            }
            if source.cluster_trust_bundle.is_some() {
                return Err(Error::Unsupported("projected clusterTrustBundle".into()));
            }
            if source.pod_certificate.is_some() {
                return Err(Error::Unsupported("projected podCertificate".into()));
            }
        }
        make_dir(dir, 0o755)?;
        if secret {
            mount_tmpfs(dir, "mode=0755")?;
        }
        atomic::write(dir, &files, cx.fs_group())?;
        Ok(dir.to_owned())
    }

    fn read_only(&self) -> bool {
        true
    }
}
