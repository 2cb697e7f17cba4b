//! Resources and groups, as rows of the table.

use std::borrow::Cow;

use super::parse::table;

/// An API group, in the order of discovery.
#[derive(Debug)]
pub struct Group {
    /// Name; empty for the core group.
    pub name: &'static str,
    /// Versions, the preferred one first.
    pub versions: Vec<GroupVersion>,
}

/// A version of a group.
#[derive(Debug)]
pub struct GroupVersion {
    /// Name, such as `v1`.
    pub name: &'static str,
    /// What aggregated discovery says of it, such as `Current`.
    pub freshness: &'static str,
}

/// A resource: what is served below one path.
#[derive(Clone, Debug, Default)]
pub struct Resource {
    /// Group; empty for the core group.
    pub group: Cow<'static, str>,
    /// Version.
    pub version: Cow<'static, str>,
    /// Kind of the objects.
    pub kind: Cow<'static, str>,
    /// Kind of a list of its objects; empty where that is the kind with `List` behind it.
    pub list: Cow<'static, str>,
    /// Name in paths.
    pub plural: Cow<'static, str>,
    /// Name for one object, as people type it.
    pub singular: Cow<'static, str>,
    /// Objects live in a namespace.
    pub namespaced: bool,
    /// Abbreviations.
    pub short_names: Vec<Cow<'static, str>>,
    /// Categories, such as `all`.
    pub categories: Vec<Cow<'static, str>>,
    /// Verbs.
    pub verbs: Vec<&'static str>,
    /// Subresources.
    pub subresources: Vec<Subresource>,
}

/// A subresource.
#[derive(Clone, Debug)]
pub struct Subresource {
    /// Name in paths, such as `status`.
    pub name: &'static str,
    /// Group of the kind it speaks.
    pub group: Cow<'static, str>,
    /// Version of the kind it speaks.
    pub version: Cow<'static, str>,
    /// The kind it speaks.
    pub kind: Cow<'static, str>,
    /// Verbs.
    pub verbs: Vec<&'static str>,
}

impl Resource {
    /// `group/version`, or only the version in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone().into_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Path of the group and version without a leading slash: `api/v1`, `apis/apps/v1`.
    pub fn group_path(&self) -> String {
        if self.group.is_empty() {
            format!("api/{}", self.version)
        } else {
            format!("apis/{}/{}", self.group, self.version)
        }
    }

    /// Kind of a list of its objects.
    pub fn list_kind(&self) -> Cow<'_, str> {
        match &*self.list {
            "" => format!("{}List", self.kind).into(),
            list => list.into(),
        }
    }

    /// The subresource with this name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }
}

/// Every resource of the release, by group in the order of discovery.
pub fn resources() -> &'static [Resource] {
    &table().resources
}

/// Every group of the release, in the order of discovery; the core group first.
pub fn groups() -> &'static [Group] {
    &table().groups
}

/// The resource with this plural name.
pub fn resource(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    resources()
        .iter()
        .find(|r| r.plural == plural && r.group == group && r.version == version)
}
