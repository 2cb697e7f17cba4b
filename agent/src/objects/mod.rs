//! ConfigMaps, Secrets and tokens that pods of this node use: what they are called, what is in them, and how they are got.

mod cache;
mod token;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use barepod_client::types::{ByteString, ConfigMap, Secret};
use jiff::Timestamp;

pub use cache::{Cache, Feed};
pub use token::Bound;

/// Which sort of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
    /// A token of a service account, made for one pod.
    Token,
}

/// Names one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Which sort.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name; of a token that of the service account.
    pub name: String,
    /// Whom a token is for.
    pub bound: Option<Bound>,
}

impl Key {
    /// A ConfigMap.
    pub fn config_map(namespace: &str, name: &str) -> Self {
        Self {
            kind: Kind::ConfigMap,
            namespace: namespace.into(),
            name: name.into(),
            bound: None,
        }
    }

    /// A Secret.
    pub fn secret(namespace: &str, name: &str) -> Self {
        Self {
            kind: Kind::Secret,
            namespace: namespace.into(),
            name: name.into(),
            bound: None,
        }
    }

    /// A token of a service account.
    pub fn token(namespace: &str, account: &str, bound: Bound) -> Self {
        Self {
            kind: Kind::Token,
            namespace: namespace.into(),
            name: account.into(),
            bound: Some(bound),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::ConfigMap => "configmap",
            Kind::Secret => "secret",
            Kind::Token => "token of serviceaccount",
        };
        write!(f, "{kind} {:?}", format!("{}/{}", self.namespace, self.name))
    }
}

/// What is in an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Data {
    /// Its resource version.
    pub version: String,
    /// Keys with text values: all of a Secret, `data` of a ConfigMap.
    pub values: BTreeMap<String, Vec<u8>>,
    /// Keys of a ConfigMap's `binaryData`, which only volumes see.
    pub binary: BTreeMap<String, Vec<u8>>,
    /// When a token is to be had anew.
    pub renew_at: Option<Timestamp>,
}

impl Data {
    /// Every key with its bytes, as a volume shows them.
    pub fn files(&self) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        self.values.iter().chain(&self.binary)
    }

    /// One key's bytes, as a volume shows them.
    pub fn file(&self, key: &str) -> Option<&Vec<u8>> {
        self.values.get(key).or_else(|| self.binary.get(key))
    }
}

impl From<ConfigMap> for Data {
    fn from(object: ConfigMap) -> Self {
        let texts = object.data.unwrap_or_default().into_iter();
        Self {
            version: object.metadata.resource_version.unwrap_or_default(),
            values: texts.map(|(key, value)| (key, value.into_bytes())).collect(),
            binary: bytes(object.binary_data),
            renew_at: None,
        }
    }
}

impl From<Secret> for Data {
    fn from(object: Secret) -> Self {
        Self {
            version: object.metadata.resource_version.unwrap_or_default(),
            values: bytes(object.data),
            binary: BTreeMap::new(),
            renew_at: None,
        }
    }
}

fn bytes(data: Option<BTreeMap<String, ByteString>>) -> BTreeMap<String, Vec<u8>> {
    let data = data.unwrap_or_default().into_iter();
    data.map(|(key, value)| (key, value.0)).collect()
}

/// A set of objects as they were at one moment; `None` is one that does not exist.
pub type Objects = BTreeMap<Key, Option<Arc<Data>>>;
