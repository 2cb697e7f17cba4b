//! What an object is to the client: something to decode from text, with metadata and a place in the API.

use serde::Deserialize;

use crate::types::ObjectMeta;

/// Where objects of one kind are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The name in paths, such as `pods`.
    pub plural: &'a str,
    /// The name in objects, such as `Pod`.
    pub kind: &'a str,
}

impl Resource<'_> {
    /// `v1` or `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// The path of all objects: of one namespace, or with an empty name of all there are.
    #[must_use]
    pub fn collection(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let api_version = self.api_version();
        match namespace {
            "" => format!("{root}/{api_version}/{}", self.plural),
            namespace => format!("{root}/{api_version}/namespaces/{namespace}/{}", self.plural),
        }
    }

    /// The path of one object; the namespace of an object without one is empty.
    #[must_use]
    pub fn path(&self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.collection(namespace))
    }
}

/// What can be read of the API.
pub trait Read: Sized + Send + 'static {
    /// Decodes it.
    ///
    /// # Errors
    /// The text is no such object.
    fn read(json: &str) -> serde_json::Result<Self>;

    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;

    /// Its metadata, to be changed before it is kept.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
}

/// A kind that is known when the program is built.
pub trait Object: Read {
    /// Where its objects are.
    const RESOURCE: Resource<'static>;
}

/// Decodes any JSON text.
///
/// # Errors
/// It is not what is asked for.
pub fn decode<'a, T: Deserialize<'a>>(json: &'a str) -> serde_json::Result<T> {
    serde_json::from_str(json)
}

/// Makes a struct with `metadata` something that can be read, and with a resource an [`Object`].
#[macro_export]
macro_rules! object {
    ($kind:ident) => {
        impl $crate::Read for $kind {
            fn read(json: &str) -> ::serde_json::Result<Self> {
                $crate::decode(json)
            }
            fn meta(&self) -> &$crate::types::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut $crate::types::ObjectMeta {
                &mut self.metadata
            }
        }
    };
    ($kind:ident, $group:literal, $version:literal, $plural:literal) => {
        $crate::object!($kind);
        $crate::object!(resource $kind, $group, $version, $plural);
    };
    (resource $kind:ident, $group:literal, $version:literal, $plural:literal) => {
        impl $crate::Object for $kind {
            const RESOURCE: $crate::Resource<'static> = $crate::Resource {
                group: $group,
                version: $version,
                plural: $plural,
                kind: stringify!($kind),
            };
        }
    };
}

/// An object of any kind of which only the metadata matters.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PartialObject {
    /// The metadata.
    pub metadata: ObjectMeta,
}

crate::object!(PartialObject);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let pods = Resource {
            group: "",
            version: "v1",
            plural: "pods",
            kind: "Pod",
        };
        assert_eq!(pods.collection(""), "/api/v1/pods");
        assert_eq!(pods.path("n", "p"), "/api/v1/namespaces/n/pods/p");
        let leases = Resource {
            group: "coordination.k8s.io",
            version: "v1",
            plural: "leases",
            kind: "Lease",
        };
        assert_eq!(leases.api_version(), "coordination.k8s.io/v1");
        assert_eq!(
            leases.path("n", "l"),
            "/apis/coordination.k8s.io/v1/namespaces/n/leases/l"
        );
    }
}
