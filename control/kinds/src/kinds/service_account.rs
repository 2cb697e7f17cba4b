//! ServiceAccounts.

use jiff::Timestamp;
use serde_json::Value;

use crate::path::Path;
use crate::strategy::{Column, Strategy};
use crate::table::{AGE, NAME, age, name, number};
use crate::value::{list_at, map_at};
use crate::warnings::Warnings;

const MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";

/// The strategy of ServiceAccounts.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServiceAccount;

impl Strategy for ServiceAccount {
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let had = |old| map_at(old, &["metadata", "annotations"]).is_some_and(|map| map.contains_key(MOUNTABLE));
        let mut warnings = Warnings::default();
        if let Some(metadata) = new.get("metadata").filter(|_| !old.is_some_and(had)) {
            let what = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
            warnings.annotation(metadata, &Path::new("metadata.annotations"), MOUNTABLE, what);
        }
        warnings.into_vec()
    }

    fn columns(&self) -> &[Column] {
        const { &[NAME, number("Secrets", "Number of secrets the account lists"), AGE] }
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(obj), list_at(obj, &["secrets"]).len().into(), age(obj, now)]
    }
}
