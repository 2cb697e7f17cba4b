//! The versions of a custom resource.

use std::cmp::Ordering;
use std::sync::Arc;

use barepod_schema::structural::Schema;
use barepod_schema::{Resource, Shape, openapi};
use serde_json::Value;

use super::conform;

/// The versions of a custom resource, seen from one of them.
#[derive(Debug)]
pub struct Versions {
    /// Of this version.
    pub(super) schema: Arc<Schema>,
    /// Of this version.
    pub(super) api_version: String,
    /// Of the version that objects are stored in.
    pub(super) stored: String,
    /// The schema as the definition states it.
    pub(super) stated: Value,
    /// Another one whenever the definition says something else.
    pub(super) revision: String,
    /// Every version.
    pub(super) all: Arc<[(String, Arc<Schema>)]>,
}

impl Versions {
    /// As OpenAPI documents show this version of a kind.
    pub fn documented(&self, resource: &Resource) -> openapi::Custom {
        openapi::Custom {
            resource: resource.clone(),
            schema: self.stated.clone(),
            revision: self.revision.clone(),
        }
    }

    /// Whether there is only one.
    pub fn is_alone(&self) -> bool {
        self.all.len() < 2
    }

    /// Fills the defaults of this version.
    pub fn fill(&self, object: &mut Value) {
        self.schema.fill(object);
    }

    /// Makes an object of this version a stored one. Versions differ in their names only.
    pub fn to_stored(&self, object: &mut Value) {
        self.fill(object);
        stamp(object, &self.stored);
    }

    /// Makes a stored object one of this version: what the schema meanwhile knows, and with its defaults.
    pub fn show(&self, object: &mut Value) {
        stamp(object, &self.api_version);
        show(&self.schema, object);
    }

    /// An object of this version in another one.
    pub fn convert(&self, object: &Value, api_version: &str) -> Option<(Shape<'_>, Value)> {
        let (name, schema) = self.all.iter().find(|(name, _)| name == api_version)?;
        let mut object = object.clone();
        stamp(&mut object, name);
        show(schema, &mut object);
        Some((Shape::Custom(schema), object))
    }
}

fn show(schema: &Schema, object: &mut Value) {
    if let Err(mismatch) = conform(schema, object) {
        tracing::debug!(%mismatch, "the metadata of a stored object does not fit");
    }
    schema.fill(object);
}

fn stamp(object: &mut Value, api_version: &str) {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), api_version.into());
    }
}

/// The order in which versions are preferred: stable ones before beta and alpha, newer before older, others last.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    match (parts(a), parts(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

/// Stability, major and minor number: `v1`, `v2beta1`.
fn parts(version: &str) -> Option<(u8, u32, u32)> {
    let rest = version.strip_prefix('v')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, rest) = rest.split_at(end);
    let major = major.parse().ok()?;
    if rest.is_empty() {
        return Some((2, major, 0));
    }
    let (stability, minor) = match rest.strip_prefix("beta") {
        Some(minor) => (1, minor),
        None => (0, rest.strip_prefix("alpha")?),
    };
    Some((stability, major, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_and_new_versions_come_first() {
        let mut versions = [
            "foo1",
            "v1alpha2",
            "v10",
            "v2beta1",
            "v2",
            "v1",
            "v1beta2",
            "foo10",
            "v11alpha1",
        ];
        versions.sort_by(|a, b| compare(a, b));
        assert_eq!(
            versions,
            [
                "v10",
                "v2",
                "v1",
                "v2beta1",
                "v1beta2",
                "v11alpha1",
                "v1alpha2",
                "foo1",
                "foo10"
            ]
        );
    }
}
