//! Label and field selectors of lists, watches and deletecollection.

use barepod_schema::selector::{FieldSelector, LabelSelector};
use barepod_store::Object;

use super::head::Head;
use super::registry::Kind;
use super::request::Query;
use super::status::{ApiError, ApiResult};

/// Which objects a request is about.
#[derive(Debug, Default)]
pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    /// Reads `labelSelector` and `fieldSelector`, and refuses what goes with them and is no number, whether it matters to
    /// the request or not.
    pub fn parse(kind: &Kind, query: &Query) -> ApiResult<Self> {
        for name in ["limit", "timeoutSeconds"] {
            query.number(name)?;
        }
        let labels = LabelSelector::parse(query.text("labelSelector"))
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        let mut fields = FieldSelector::parse(query.text("fieldSelector"))
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        for requirement in fields.requirements_mut() {
            let field = requirement.field.as_str();
            if field == "metadata.name" || (field == "metadata.namespace" && kind.resource.namespaced) {
                continue;
            }
            let Some(stored) = kind.selectable(field) else {
                return Err(ApiError::bad_request(format!("field label not supported: {field}")));
            };
            if stored != field {
                requirement.field = stored.to_owned();
            }
        }
        Ok(Selection { labels, fields })
    }

    /// Whether every object is selected.
    pub fn is_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The one name that is selected, if it can be only one.
    pub fn name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }

    /// The one namespace that is selected, if it can be only one.
    pub fn namespace(&self) -> Option<&str> {
        self.fields.exact("metadata.namespace")
    }

    /// Whether a stored object is selected.
    pub fn matches(&self, kind: &Kind, object: &Object) -> bool {
        if self.is_all() {
            return true;
        }
        let head = Head::of(kind, object);
        self.labels.matches(|name| head.label(name)) && self.fields.matches(|name| head.field(name))
    }

    /// The key that a request can be narrowed to, or the prefix of all it may be about.
    pub fn scope(&self, kind: &Kind, namespace: Option<&str>) -> Scope {
        let namespace = namespace.or_else(|| self.namespace());
        match (self.name(), namespace) {
            (Some(name), Some(namespace)) => Scope::One(kind.key(namespace, name)),
            (Some(name), None) if !kind.resource.namespaced => Scope::One(kind.key("", name)),
            _ => Scope::Below(kind.prefix_in(namespace)),
        }
    }
}

/// The part of the key space that a request is about.
#[derive(Debug, PartialEq, Eq)]
pub enum Scope {
    /// Exactly this key.
    One(String),
    /// Every key with this prefix.
    Below(String),
}

impl Scope {
    /// The key or the prefix.
    pub fn text(&self) -> &str {
        match self {
            Scope::One(text) | Scope::Below(text) => text,
        }
    }

    /// Whether the key belongs to it.
    pub fn contains(&self, key: &str) -> bool {
        match self {
            Scope::One(one) => key == one,
            Scope::Below(prefix) => key.starts_with(prefix.as_str()),
        }
    }
}
