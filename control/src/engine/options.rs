//! The options of writes, from query parameters.

use barepod_kinds::{Invalid, Kind as ErrorKind};
use serde_json::Value;

use super::request::Request;
use super::status::{ApiError, ApiResult};

/// What happens to unknown and duplicate fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped silently.
    Ignore,
    /// They are dropped with a warning.
    Warn,
    /// The request is refused.
    Strict,
}

/// Options of create, update and patch.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Do everything but store.
    pub dry_run: bool,
    /// The manager named by the client, or derived from its user agent.
    pub manager: String,
    /// Whether the client named the manager itself.
    pub manager_given: bool,
    /// What happens to unknown fields.
    pub validation: FieldValidation,
    /// `force`, of an apply patch only.
    pub force: Option<bool>,
}

impl WriteOptions {
    /// Reads the query; `options` is the kind that errors name, such as `CreateOptions`.
    pub fn parse(request: &Request, options: &str) -> ApiResult<Self> {
        let invalid = |field: &str, kind, value: &str, detail: String| {
            let field = field.into();
            ApiError::invalid_options(
                options,
                Invalid {
                    field,
                    kind,
                    value: Value::from(value),
                    detail,
                },
            )
        };
        let query = &request.query;
        let dry_run = match query.all("dryRun").find(|value| *value != "All" && !value.is_empty()) {
            Some(other) => {
                return Err(invalid(
                    "dryRun",
                    ErrorKind::NotSupported,
                    other,
                    "supported values: \"All\"".into(),
                ));
            }
            None => query.all("dryRun").any(|value| value == "All"),
        };
        let validation = match query.text("fieldValidation") {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            other => {
                let detail = "supported values: \"Ignore\", \"Warn\", \"Strict\"".into();
                return Err(invalid("fieldValidation", ErrorKind::NotSupported, other, detail));
            }
        };
        let given = query.text("fieldManager");
        if given.len() > MANAGER_BYTES {
            let detail = format!("may not be more than {MANAGER_BYTES} bytes");
            return Err(invalid("fieldManager", ErrorKind::TooLong, given, detail));
        }
        if given.chars().any(char::is_control) {
            let detail = "should only contain printable characters".into();
            return Err(invalid("fieldManager", ErrorKind::Invalid, given, detail));
        }
        let manager = if given.is_empty() {
            manager_of(&request.user_agent)
        } else {
            given.to_owned()
        };
        let force = query.flag("force")?;
        Ok(WriteOptions {
            dry_run,
            manager,
            manager_given: !given.is_empty(),
            validation,
            force,
        })
    }
}

const MANAGER_BYTES: usize = 128;

/// The first part of a user agent, as the manager of clients that name none.
fn manager_of(user_agent: &str) -> String {
    let first = user_agent.split('/').next().unwrap_or("");
    let mut manager = String::new();
    for c in first.chars().filter(|c| !c.is_control()) {
        if manager.len() + c.len_utf8() > MANAGER_BYTES {
            break;
        }
        manager.push(c);
    }
    if manager.is_empty() { "unknown".into() } else { manager }
}
