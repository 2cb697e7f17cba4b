//! Why an object is refused, in the words of `metav1.Status` and its causes.

use std::fmt;

use serde_json::Value;

/// The class of a field error; it decides the wording and the cause's reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The field must be set.
    Required,
    /// The value is malformed or out of range.
    Invalid,
    /// As [`Kind::Invalid`], where showing the value would not help.
    InvalidUnshown,
    /// The value is not one of an enumeration.
    NotSupported,
    /// The value appears twice where it must be unique.
    Duplicate,
    /// The field may not be set here, or not be changed.
    Forbidden,
    /// The string is too long.
    TooLong,
    /// The list has too many items.
    TooMany,
    /// The value refers to something that does not exist.
    NotFound,
    /// The value has the wrong JSON type.
    TypeInvalid,
    /// The server failed.
    Internal,
}

impl Kind {
    /// The `reason` of the cause in `Status.details.causes`.
    pub fn reason(self) -> &'static str {
        match self {
            Kind::Required => "FieldValueRequired",
            Kind::Invalid | Kind::InvalidUnshown => "FieldValueInvalid",
            Kind::NotSupported => "FieldValueNotSupported",
            Kind::Duplicate => "FieldValueDuplicate",
            Kind::Forbidden => "FieldValueForbidden",
            Kind::TooLong => "FieldValueTooLong",
            Kind::TooMany => "FieldValueTooMany",
            Kind::NotFound => "FieldValueNotFound",
            Kind::TypeInvalid => "FieldValueTypeInvalid",
            Kind::Internal => "InternalError",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Kind::Required => "Required value",
            Kind::Invalid | Kind::InvalidUnshown | Kind::TypeInvalid => "Invalid value",
            Kind::NotSupported => "Unsupported value",
            Kind::Duplicate => "Duplicate value",
            Kind::Forbidden => "Forbidden",
            Kind::TooLong => "Too long",
            Kind::TooMany => "Too many",
            Kind::NotFound => "Not found",
            Kind::Internal => "Internal error",
        }
    }

    fn shows_value(self) -> bool {
        !matches!(
            self,
            Kind::Required | Kind::InvalidUnshown | Kind::Forbidden | Kind::TooLong | Kind::Internal
        )
    }
}

/// One field error. `Display` gives the line users see: `spec.containers[0].name: Required value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Invalid {
    /// Path of the field, for example `spec.containers[0].ports[1].name`.
    pub field: String,
    /// The class of the error.
    pub kind: Kind,
    /// The refused value (`Null` where it is not shown).
    pub value: Value,
    /// What would be acceptable; may be empty.
    pub detail: String,
}

impl Invalid {
    /// The message of the cause: everything after the field's path.
    pub fn body(&self) -> String {
        let mut text = String::from(self.kind.words());
        if self.kind.shows_value() {
            text.push_str(": ");
            match &self.value {
                Value::String(s) => text.push_str(&quote(s)),
                // In quotes, as kube-apiserver always had it.
                Value::Null => text.push_str("\"null\""),
                other => text.push_str(&other.to_string()),
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// A string in double quotes with Go's escapes, which JSON's escapes equal for all that users type.
pub(crate) fn quote(text: &str) -> String {
    Value::from(text).to_string()
}

/// The message of a 422 answer: `Pod "x" is invalid: <errors>`, as `kubectl` prints it after "The ".
pub fn aggregate(kind: &str, name: &str, errors: &[Invalid]) -> String {
    let mut lines: Vec<String> = Vec::with_capacity(errors.len());
    for error in errors {
        let line = error.to_string();
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let list = if lines.len() == 1 {
        lines.remove(0)
    } else {
        format!("[{}]", lines.join(", "))
    };
    format!("{kind} {} is invalid: {list}", quote(name))
}

/// Why a request is refused before validation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Denied {
    /// 403 Forbidden. The text is what follows `pods "x" is forbidden: `.
    #[error("{0}")]
    Forbidden(String),
    /// 409 Conflict. The text is what follows `Operation cannot be fulfilled on pods "x": `.
    #[error("{0}")]
    Conflict(String),
    /// 400 Bad Request.
    #[error("{0}")]
    BadRequest(String),
    /// 422 Invalid with causes.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Invalid(Vec<Invalid>),
    /// 500 Internal error.
    #[error("{0}")]
    Internal(String),
}

impl From<Invalid> for Denied {
    fn from(error: Invalid) -> Self {
        Denied::Invalid(vec![error])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn error(kind: Kind, value: Value, detail: &str) -> Invalid {
        Invalid {
            field: "spec.x".into(),
            kind,
            value,
            detail: detail.into(),
        }
    }

    #[test]
    fn words_match_what_users_know() {
        assert_eq!(
            error(Kind::Required, Value::Null, "").to_string(),
            "spec.x: Required value"
        );
        assert_eq!(
            error(Kind::Invalid, json!("A\"b"), "no").to_string(),
            r#"spec.x: Invalid value: "A\"b": no"#
        );
        assert_eq!(
            error(Kind::Invalid, json!(-1), "no").to_string(),
            "spec.x: Invalid value: -1: no"
        );
        assert_eq!(
            error(Kind::Forbidden, json!(1), "no").to_string(),
            "spec.x: Forbidden: no"
        );
        assert_eq!(
            error(Kind::Duplicate, json!("a"), "").to_string(),
            r#"spec.x: Duplicate value: "a""#
        );
    }

    #[test]
    fn aggregate_lists_several_errors_once_each() {
        let one = error(Kind::Required, Value::Null, "");
        assert_eq!(
            aggregate("Pod", "a", std::slice::from_ref(&one)),
            r#"Pod "a" is invalid: spec.x: Required value"#
        );
        let two = error(Kind::Forbidden, Value::Null, "no");
        assert_eq!(
            aggregate("Pod", "a", &[one.clone(), two, one]),
            r#"Pod "a" is invalid: [spec.x: Required value, spec.x: Forbidden: no]"#
        );
    }
}
