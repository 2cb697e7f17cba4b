//! Field ownership (`metadata.managedFields`) and server-side apply, as KEP-555 describes them.

mod apply;
mod compare;
mod element;
mod last_applied;
mod managers;
mod merge;
mod node;
mod set;
mod update;
mod versions;

pub use self::apply::apply;
pub use self::update::update;

/// Who updates, and how.
#[derive(Clone, Copy, Debug)]
pub struct UpdateOptions<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// `apiVersion` of the request.
    pub api_version: &'a str,
    /// The subresource of the request, or empty.
    pub subresource: &'a str,
    /// Time of the request, RFC 3339 in seconds.
    pub now: &'a str,
    /// Fields that this endpoint ignores and that therefore nobody comes to own through it, as dotted paths (`status`,
    /// `metadata.labels`).
    pub reset_fields: &'a [&'a str],
}

/// Who applies, and how.
#[derive(Clone, Copy, Debug)]
pub struct ApplyOptions<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// Take over fields that others own.
    pub force: bool,
    /// `apiVersion` of the request.
    pub api_version: &'a str,
    /// The subresource of the request, or empty.
    pub subresource: &'a str,
    /// Time of the request, RFC 3339 in seconds.
    pub now: &'a str,
    /// As in [`UpdateOptions::reset_fields`].
    pub reset_fields: &'a [&'a str],
}

/// Why a configuration could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Other managers own fields with other values; kube answers 409 with one cause of type `FieldManagerConflict` for
    /// each.
    #[error("{message}")]
    Conflicts {
        /// Worded as kube words it: `Apply failed with 1 conflict: conflict with "kubectl" using apps/v1:
        /// .spec.replicas`.
        message: String,
        /// One for each field.
        causes: Vec<Conflict>,
    },
    /// The configuration or the live object cannot be applied to; kube answers 400 or 422.
    #[error("{0}")]
    Invalid(String),
}

/// One field in conflict, as a cause of a `Status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// `conflict with "kubectl" using apps/v1`.
    pub message: String,
    /// `.spec.replicas`.
    pub field: String,
}

#[cfg(test)]
mod tests;
