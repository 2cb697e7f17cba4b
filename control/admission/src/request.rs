//! What plugins see.

use barepod_auth::attributes::Attributes;
use barepod_auth::rbac::Policy;
use barepod_auth::user::User;
use barepod_kinds::{Cluster, Denied};
use jiff::Timestamp;
use serde_json::Value;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// An object is made.
    Create,
    /// An object is changed, or something is put beside it, as ephemeral containers are.
    Update,
    /// An object is removed.
    Delete,
}

/// A write.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What is being done.
    pub operation: Operation,
    /// The verb as the authorizer names it: of an update `update` or `patch`.
    pub verb: &'a str,
    /// Who does it.
    pub user: &'a User,
    /// The group.
    pub group: &'a str,
    /// The plural name.
    pub resource: &'a str,
    /// The subresource written through; empty for the object itself.
    pub subresource: &'a str,
    /// The namespace; empty for cluster-scoped resources.
    pub namespace: &'a str,
    /// The name.
    pub name: &'a str,
    /// The stored object, of updates and removals.
    pub old: Option<&'a Value>,
    /// The time of the request.
    pub now: Timestamp,
}

impl Request<'_> {
    /// Whether it is about this resource of this group, whatever the subresource.
    pub fn is(&self, group: &str, resource: &str) -> bool {
        self.resource == resource && self.group == group
    }

    /// Whether it is about objects of the core group themselves.
    pub fn is_core(&self, resource: &str) -> bool {
        self.subresource.is_empty() && self.is("", resource)
    }
}

/// What plugins may ask.
pub trait World {
    /// Stored objects.
    fn cluster(&self) -> &dyn Cluster;

    /// Whether somebody may do something.
    fn may(&self, asked: &Attributes<'_>) -> bool;

    /// Shows the roles and bindings.
    fn policy(&self, ask: &mut dyn FnMut(&Policy));

    /// A name that begins with `base` and ends at random.
    fn generate_name(&self, base: &str) -> String;
}

/// What plugins want to say besides yes and no.
#[derive(Debug, Default)]
pub struct Notes {
    /// For the client, as `Warning` headers.
    pub warnings: Vec<String>,
    /// For the audit log: keys and values.
    pub audit: Vec<(String, String)>,
}

/// Why not.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// As a kind refuses.
    Denied(Denied),
    /// Something that the object names is not there.
    NotFound {
        /// Its group.
        group: &'static str,
        /// Its plural name.
        resource: &'static str,
        /// Its name.
        name: String,
    },
}

impl Refusal {
    /// 403 with a reason.
    pub fn forbidden(why: impl Into<String>) -> Self {
        Refusal::Denied(Denied::Forbidden(why.into()))
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Refusal::Denied(denied)
    }
}
