//! The versions of a custom resource.

use std::cmp::Ordering;
use std::slice;
use std::sync::Arc;

use barepod_kinds::Invalid;
use barepod_schema::structural::Schema;
use barepod_schema::{Resource, Shape, openapi};
use serde_json::Value;

use super::conform;
use super::conversion::Converter;
use super::strategy::Custom;
use crate::engine::status::ApiResult;

/// The versions of a custom resource, seen from one of them.
pub struct Versions {
    /// Of this version.
    pub(super) schema: Arc<Schema>,
    /// Of this version.
    pub(super) api_version: String,
    /// Of the version that objects are stored in.
    pub(super) stored: String,
    /// Of that version.
    pub(super) stored_schema: Arc<Schema>,
    /// The schema as the definition states it.
    pub(super) stated: Value,
    /// Another one whenever the definition says something else.
    pub(super) revision: String,
    /// Every version.
    pub(super) all: Arc<[(String, Arc<Schema>)]>,
    /// Makes objects of one version those of another; without it versions differ in their names only.
    pub(super) converter: Option<Arc<Converter>>,
    /// Checks objects before they are converted to the stored version.
    pub(super) judge: Option<Arc<Custom>>,
}

impl std::fmt::Debug for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Versions")
            .field("api_version", &self.api_version)
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
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

    /// The version that objects are stored in.
    pub fn stored_version(&self) -> &str {
        self.stored.rsplit('/').next().unwrap_or(&self.stored)
    }

    /// Whether there is only one.
    pub fn is_alone(&self) -> bool {
        self.all.len() < 2
    }

    /// Whether stored objects may look otherwise than this version shows them.
    pub fn reshapes(&self) -> bool {
        self.converter.is_some() && !self.is_alone()
    }

    /// Fills the defaults of stored objects.
    pub fn fill(&self, object: &mut Value) {
        match self.converter {
            Some(_) => self.stored_schema.fill(object),
            None => self.schema.fill(object),
        }
    }

    /// Fills the defaults of this version.
    pub fn schema_fill(&self, object: &mut Value) {
        self.schema.fill(object);
    }

    /// What is wrong with an object of this version, where that cannot be told of the stored one.
    pub fn check(&self, object: &Value, old: Option<&Value>, warnings: &mut Vec<String>) -> Vec<Invalid> {
        let judge = self.judge.as_ref();
        judge
            .map(|judge| judge.check(object, old, warnings))
            .unwrap_or_default()
    }

    /// Makes an object of this version a stored one.
    pub async fn to_stored(&self, object: &mut Value) -> ApiResult<()> {
        self.schema.fill(object);
        self.reshape(slice::from_mut(object), &self.stored).await?;
        stamp(object, &self.stored);
        if self.judge.is_some() {
            show(&self.stored_schema, object);
        }
        Ok(())
    }

    /// Makes stored objects those of this version.
    pub async fn show(&self, objects: &mut [Value]) -> ApiResult<()> {
        self.reshape(objects, &self.api_version).await?;
        objects.iter_mut().for_each(|object| self.dress(object));
        Ok(())
    }

    /// Makes an object that differs from this version in name at most one of it: what the schema meanwhile knows, and
    /// with its defaults.
    pub fn dress(&self, object: &mut Value) {
        stamp(object, &self.api_version);
        show(&self.schema, object);
    }

    /// Makes an object that was stored in a version of former times one of the version that is stored now; true if it was.
    pub async fn renew(&self, object: &mut Value) -> ApiResult<bool> {
        let former = self.converter.is_some() && object["apiVersion"] != self.stored.as_str();
        self.reshape(slice::from_mut(object), &self.stored).await?;
        Ok(former)
    }

    /// An object of this version in another one; `None` if there is no such version.
    pub async fn convert(&self, object: &Value, api_version: &str) -> Option<Value> {
        let (name, schema) = self.all.iter().find(|(name, _)| name == api_version)?;
        let mut object = object.clone();
        if let Err(error) = self.reshape(slice::from_mut(&mut object), name).await {
            tracing::warn!(%error, "the owners of fields are those of another version");
            return None;
        }
        stamp(&mut object, name);
        show(schema, &mut object);
        Some(object)
    }

    /// The structure of objects of a version.
    pub fn shape(&self, api_version: &str) -> Option<Shape<'_>> {
        let (_, schema) = self.all.iter().find(|(name, _)| name == api_version)?;
        Some(Shape::Custom(schema))
    }

    /// Lets the webhook convert the objects that are of another version.
    async fn reshape(&self, objects: &mut [Value], api_version: &str) -> ApiResult<()> {
        let Some(converter) = &self.converter else {
            return Ok(());
        };
        let is_other = |object: &Value| object["apiVersion"] != api_version;
        let others: Vec<usize> = (0..objects.len()).filter(|at| is_other(&objects[*at])).collect();
        if others.is_empty() {
            return Ok(());
        }
        let sent: Vec<&Value> = others.iter().map(|at| &objects[*at]).collect();
        let converted = converter.convert(&sent, api_version).await?;
        for (at, converted) in others.into_iter().zip(converted) {
            objects[at] = converted;
        }
        Ok(())
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
