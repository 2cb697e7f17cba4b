//! What is asked for, as authorizers see it.

use crate::user::User;

/// One request. Texts that do not apply are empty.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Who asks.
    pub user: &'a User,
    /// What is to be done: `get`, `list`, `create`, …; for other paths than resources the method in lower case.
    pub verb: &'a str,
    /// What it is to be done to.
    pub object: Object<'a>,
}

/// What a request is about.
#[derive(Debug, Clone, Copy)]
pub enum Object<'a> {
    /// A resource.
    Resource(Resource<'a>),
    /// Another path.
    Path(&'a str),
}

/// A resource that a request is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resource<'a> {
    /// The group.
    pub group: &'a str,
    /// The version.
    pub version: &'a str,
    /// The plural name.
    pub resource: &'a str,
    /// The subresource.
    pub subresource: &'a str,
    /// The namespace; empty for all and for cluster-scoped resources.
    pub namespace: &'a str,
    /// The name. A list of one name by field selector has it too.
    pub name: &'a str,
    /// The field selector of lists, watches and deletecollection.
    pub field_selector: &'a str,
}

impl<'a> Attributes<'a> {
    /// The resource asked for.
    pub fn resource(&self) -> Option<Resource<'a>> {
        match self.object {
            Object::Resource(resource) => Some(resource),
            Object::Path(_) => None,
        }
    }

    /// The words of a refusal, without its reason: `User "bob" cannot list resource "pods" in API group "" …`.
    pub fn refusal(&self) -> String {
        let name = quote(&self.user.name);
        let verb = self.verb;
        match self.object {
            Object::Path(path) => format!("User {name} cannot {verb} path {}", quote(path)),
            Object::Resource(resource) => {
                let full = quote(&resource.full());
                let group = quote(resource.group);
                let scope = match resource.namespace {
                    "" => "at the cluster scope".to_owned(),
                    namespace => format!("in the namespace {}", quote(namespace)),
                };
                format!("User {name} cannot {verb} resource {full} in API group {group} {scope}")
            }
        }
    }
}

impl<'a> Resource<'a> {
    /// `pods/log`, or only the resource.
    pub fn full(&self) -> String {
        match self.subresource {
            "" => self.resource.to_owned(),
            subresource => format!("{}/{subresource}", self.resource),
        }
    }

    /// Whether it is this resource of this group, whatever the subresource.
    pub fn is(&self, group: &str, resource: &str) -> bool {
        self.resource == resource && self.group == group
    }

    /// The one value that the field selector demands of a field, if it does.
    pub fn selects(&self, field: &str) -> Option<&'a str> {
        self.field_selector.split(',').find_map(|term| {
            let (name, value) = term.split_once("==").or_else(|| term.split_once('='))?;
            (name == field && !name.ends_with('!')).then_some(value)
        })
    }
}

/// A text in double quotes with escapes.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What an authorizer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes, for this reason.
    Allow(String),
    /// Nobody said yes; the reason may be empty.
    NoOpinion(String),
}

impl Decision {
    /// Whether it is a yes.
    pub fn allowed(&self) -> bool {
        matches!(self, Decision::Allow(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_worded_as_users_know_them() {
        let user = User::new("bob", vec![]);
        let resource = Resource {
            resource: "pods",
            subresource: "log",
            namespace: "default",
            ..Resource::default()
        };
        let asked = Attributes {
            user: &user,
            verb: "get",
            object: Object::Resource(resource),
        };
        let expected = r#"User "bob" cannot get resource "pods/log" in API group "" in the namespace "default""#;
        assert_eq!(asked.refusal(), expected);
        let asked = Attributes {
            object: Object::Path("/metrics"),
            ..asked
        };
        assert_eq!(asked.refusal(), r#"User "bob" cannot get path "/metrics""#);
    }

    #[test]
    fn selectors_tell_the_one_value() {
        let selects = |text| {
            Resource {
                field_selector: text,
                ..Resource::default()
            }
            .selects("spec.nodeName")
            .is_some()
        };
        assert!(selects("spec.nodeName=a") && selects("status.phase!=x,spec.nodeName==a"));
        assert!(!selects("spec.nodeName!=a") && !selects(""));
    }
}
