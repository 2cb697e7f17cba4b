//! `configMap`: the keys of a ConfigMap as files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::kinds::{ConfigMapVolumeSource, Pod};

use super::payload::{self, DEFAULT_MODE, Payload};
use super::{Context, Error, Volume, atomic, make_dir};
use crate::objects::Key;
use crate::pods::shape;

pub(super) struct ConfigMap<'a>(pub &'a ConfigMapVolumeSource);

impl Volume for ConfigMap<'_> {
    fn references(&self, pod: &Pod) -> BTreeSet<Key> {
        [Key::config_map(shape::namespace(pod), &self.0.name)].into()
    }

    fn set_up(&self, cx: &Context<'_>, dir: &Path) -> Result<PathBuf, Error> {
        let mut files = Payload::new();
        let key = Key::config_map(shape::namespace(cx.pod), &self.0.name);
        let mode = payload::mode(self.0.default_mode, DEFAULT_MODE);
        payload::add_object(&mut files, cx, &key, self.0.items.as_deref(), self.0.optional, mode)?;
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
    use crate::objects::{Data, Objects};
    use crate::spec::fields::Facts;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn keys_items_and_options() {
        let dir = scratch("cm");
        let pod = serde_json::from_value(json!({"metadata": {"namespace": "n"}})).unwrap();
        let key = Key::config_map("n", "m");
        let data = Data {
            values: [("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())].into(),
            binary: [("bin".to_owned(), vec![0, 255])].into(),
            ..Data::default()
        };
        let full = Objects::from([(key.clone(), Some(Arc::new(data)))]);
        let run = |source: serde_json::Value, objects: &Objects, name: &str| {
            let source: ConfigMapVolumeSource = serde_json::from_value(source).unwrap();
            let cx = Context {
                pod: &pod,
                facts: &Facts::default(),
                objects,
            };
            ConfigMap(&source).set_up(&cx, &dir.path().join(name))
        };
        let all = run(json!({"name": "m"}), &full, "all").unwrap();
        assert_eq!(std::fs::read(all.join("bin")).unwrap(), [0, 255]);
        assert_eq!(std::fs::read(all.join("a")).unwrap(), b"1");
        let one = run(
            json!({"name": "m", "items": [{"key": "a", "path": "x/y", "mode": 256}]}),
            &full,
            "one",
        )
        .unwrap();
        assert_eq!(std::fs::read(one.join("x/y")).unwrap(), b"1");
        assert!(!one.join("b").exists());
        let error = run(json!({"name": "m", "items": [{"key": "no", "path": "x"}]}), &full, "no").unwrap_err();
        assert_eq!(error.to_string(), "configmap \"n/m\" has no key \"no\"");
        let none = Objects::new();
        assert!(matches!(run(json!({"name": "m"}), &none, "none"), Err(Error::Missing(it)) if *it == key));
        run(json!({"name": "m", "optional": true}), &none, "optional").unwrap();
    }
}
