//! `projected`: several sources in one directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::kinds::{Pod, ProjectedVolumeSource, ServiceAccountTokenProjection};

use super::payload::{self, DEFAULT_MODE, Payload};
use super::{Context, Error, Volume, atomic, make_dir, mount_tmpfs};
use crate::objects::{Bound, Key};
use crate::pods::shape;

pub(super) struct Projected<'a>(pub &'a ProjectedVolumeSource);

impl Volume for Projected<'_> {
    fn references(&self, pod: &Pod) -> BTreeSet<Key> {
        let namespace = shape::namespace(pod);
        let sources = self.0.sources.iter().flatten();
        sources
            .flat_map(|it| {
                let map = it.config_map.as_ref().map(|it| Key::config_map(namespace, &it.name));
                let secret = it.secret.as_ref().map(|it| Key::secret(namespace, &it.name));
                let token = it.service_account_token.as_ref().map(|it| token(pod, it));
                map.into_iter().chain(secret).chain(token)
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
            if let Some(it) = &source.service_account_token {
                secret = true;
                // With a group of its own, nobody but the group reads it.
                let mode = if cx.fs_group().is_some() { 0o600 } else { mode };
                payload::add_key(&mut files, cx, &token(cx.pod, it), "token", &it.path, mode)?;
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

/// How long a token is good for where nothing is said.
const TOKEN_SECONDS: i64 = 3600;

/// The token of the pod's service account that a source asks for.
fn token(pod: &Pod, source: &ServiceAccountTokenProjection) -> Key {
    let account = shape::spec(pod).service_account_name.as_deref().unwrap_or("default");
    let bound = Bound {
        pod: shape::name(pod).into(),
        uid: shape::uid(pod).into(),
        audience: source.audience.clone().unwrap_or_default(),
        seconds: source.expiration_seconds.unwrap_or(TOKEN_SECONDS),
    };
    Key::token(shape::namespace(pod), account, bound)
}
