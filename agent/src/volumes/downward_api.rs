//! `downwardAPI`: fields and resources of the pod itself as files.

use std::path::{Path, PathBuf};

use crate::kinds::DownwardApiVolumeSource;

use super::payload::{self, DEFAULT_MODE, Payload};
use super::{Context, Error, Volume, atomic, make_dir};

pub(super) struct DownwardApi<'a>(pub &'a DownwardApiVolumeSource);

impl Volume for DownwardApi<'_> {
    fn set_up(&self, cx: &Context<'_>, dir: &Path) -> Result<PathBuf, Error> {
        let mut files = Payload::new();
        let mode = payload::mode(self.0.default_mode, DEFAULT_MODE);
        payload::add_downward(&mut files, cx, self.0.items.as_deref().unwrap_or_default(), mode)?;
        make_dir(dir, 0o755)?;
        atomic::write(dir, &files, cx.fs_group())?;
        Ok(dir.to_owned())
    }

    fn read_only(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::scratch;
    use crate::objects::Objects;
    use crate::spec::fields::Facts;
    use serde_json::json;

    #[test]
    fn labels_and_limits() {
        let dir = scratch("downward");
        let pod = serde_json::from_value(json!({"metadata": {"name": "p", "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]}}))
        .unwrap();
        let source: DownwardApiVolumeSource = serde_json::from_value(json!({"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]}))
        .unwrap();
        let cx = Context {
            pod: &pod,
            facts: &Facts::default(),
            objects: &Objects::new(),
        };
        let path = DownwardApi(&source).set_up(&cx, &dir.path().join("v")).unwrap();
        assert_eq!(std::fs::read_to_string(path.join("labels")).unwrap(), "a=\"b\"");
        assert_eq!(std::fs::read_to_string(path.join("cpu")).unwrap(), "2");
    }
}
