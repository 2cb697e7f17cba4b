//! ServiceAccounts.

use jiff::Timestamp;
use serde_json::Value;

use crate::strategy::{Column, Strategy};
use crate::table::{AGE, NAME, age, name, number};
use crate::value::list_at;

/// The strategy of ServiceAccounts.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServiceAccount;

impl Strategy for ServiceAccount {
    fn columns(&self) -> &[Column] {
        const { &[NAME, number("Secrets", "Number of secrets the account lists"), AGE] }
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(obj), list_at(obj, &["secrets"]).len().into(), age(obj, now)]
    }
}
