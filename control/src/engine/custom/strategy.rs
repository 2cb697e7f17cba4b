//! The behaviour of a custom kind.

use std::borrow::Cow;
use std::sync::Arc;

use barepod_cel::rules::{Failure, Reason, Rules};
use barepod_kinds::value::{self, keep};
use barepod_kinds::{Column, Context, Denied, Invalid, Kind as ErrorKind, ScalePaths, Strategy};
use barepod_schema::structural::{Fault, Problem, Schema};
use jiff::Timestamp;
use serde_json::Value;

use super::columns::Columns;
use super::conform::embedded_faults;
use super::jsonpath::JsonPath;

/// The behaviour of one version of a custom kind.
pub(super) struct Custom {
    pub(super) schema: Arc<Schema>,
    pub(super) rules: Rules,
    /// The schema has objects of the API inside.
    pub(super) embeds: bool,
    /// Objects were checked in another form than the stored one.
    pub(super) judged: bool,
    pub(super) has_status: bool,
    /// What everybody is told who uses this version.
    pub(super) deprecation: Option<String>,
    pub(super) scale: Option<ScalePaths>,
    pub(super) columns: Columns,
    /// Names of fields that can be selected by, and where they are.
    pub(super) selectable: Vec<(String, JsonPath)>,
}

impl Custom {
    /// What is wrong with an object; what was wrong before as well is told in `warnings`.
    pub(super) fn check(&self, new: &Value, old: Option<&Value>, warnings: &mut Vec<String>) -> Vec<Invalid> {
        if self.judged {
            return Vec::new();
        }
        let problems = self.schema.validate(new, old);
        let mut errors: Vec<Invalid> = problems.into_iter().map(invalid).collect();
        if self.embeds {
            errors.extend(embedded_faults(&self.schema, &mut new.clone()));
        }
        errors.extend(self.rules_broken(new, old, &errors, warnings));
        let paths = self.scale.as_ref();
        for path in paths
            .into_iter()
            .flat_map(|paths| [&paths.spec_replicas, &paths.status_replicas])
        {
            let number = JsonPath::parse(path).and_then(|path| path.find(new).first().and_then(|v| v.as_i64()));
            let detail = match number {
                Some(..0) => "should be a non-negative integer".to_owned(),
                Some(number) if number > i32::MAX.into() => format!("should be less than or equal to {}", i32::MAX),
                _ => continue,
            };
            errors.push(Invalid {
                field: path.clone().into_owned(),
                kind: ErrorKind::Invalid,
                value: number.into(),
                detail,
            });
        }
        errors
    }
}

impl Custom {
    /// What the rules say, which may rely on the object's structure.
    fn rules_broken(
        &self,
        new: &Value,
        old: Option<&Value>,
        errors: &[Invalid],
        warnings: &mut Vec<String>,
    ) -> Vec<Invalid> {
        if self.rules.is_empty() {
            return Vec::new();
        }
        let blocks = |error: &Invalid| {
            matches!(
                error.kind,
                ErrorKind::Required | ErrorKind::TooLong | ErrorKind::TooMany | ErrorKind::TypeInvalid
            )
        };
        if errors.iter().any(blocks) {
            return vec![Invalid {
                field: "<nil>".into(),
                kind: ErrorKind::Invalid,
                value: Value::Null,
                detail: "some validation rules were not checked because the object was invalid; correct the existing errors to \
                         complete validation"
                    .into(),
            }];
        }
        let verdict = self.rules.judge(new, old);
        warnings.extend(verdict.warnings.into_iter().map(|failure| broken(failure).to_string()));
        verdict.failures.into_iter().map(broken).collect()
    }
}

/// A rule that is broken, in the words of Status.
pub(super) fn broken(failure: Failure) -> Invalid {
    Invalid {
        field: match failure.field.as_str() {
            "" => "<nil>".to_owned(),
            _ => failure.field,
        },
        kind: match failure.reason {
            Reason::Invalid => ErrorKind::Invalid,
            Reason::Forbidden => ErrorKind::Forbidden,
            Reason::Required => ErrorKind::Required,
            Reason::Duplicate => ErrorKind::Duplicate,
        },
        value: failure.type_text.into(),
        detail: match failure.reason {
            Reason::Duplicate => String::new(),
            _ => failure.detail,
        },
    }
}

/// A problem in the words of Status.
pub(super) fn invalid(problem: Problem) -> Invalid {
    Invalid {
        field: problem.field,
        kind: match problem.fault {
            Fault::Required => ErrorKind::Required,
            Fault::Invalid => ErrorKind::Invalid,
            Fault::Type => ErrorKind::TypeInvalid,
            Fault::NotSupported => ErrorKind::NotSupported,
            Fault::Duplicate => ErrorKind::Duplicate,
            Fault::TooLong => ErrorKind::TooLong,
            Fault::TooMany => ErrorKind::TooMany,
        },
        value: problem.value,
        detail: problem.detail,
    }
}

impl Strategy for Custom {
    fn prepare_create(&self, _cx: &Context<'_>, obj: &mut Value) -> Result<(), Denied> {
        if self.has_status
            && let Some(map) = obj.as_object_mut()
        {
            map.remove("status");
        }
        Ok(())
    }

    fn prepare_update(&self, _cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        if self.has_status {
            keep(new, old, "status");
        }
        Ok(())
    }

    fn status_alone(&self) -> bool {
        true
    }

    fn judge(&self, new: &Value, old: Option<&Value>, _: bool, warnings: &mut Vec<String>) -> Vec<Invalid> {
        self.check(new, old, warnings)
    }

    /// Finalizers that do not say whose they are.
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let finalizers = |object| value::strings(object, &["metadata", "finalizers"]);
        let known = |name: &&str| ["orphan", "foregroundDeletion"].contains(name) || name.contains('/');
        let had = |name: &&str| old.is_some_and(|old| finalizers(old).any(|before| before == *name));
        let bare = finalizers(new).filter(|name| !known(name) && !had(name));
        bare.map(|name| {
            format!(
                "metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name including a path (/) to avoid \
                 accidental conflicts with other finalizer writers"
            )
        })
        .collect()
    }

    fn deprecation(&self) -> Option<&str> {
        self.deprecation.as_deref()
    }

    fn bare_finalizers(&self) -> bool {
        true
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn generation(&self) -> bool {
        true
    }

    /// Everything but metadata counts, and but the status where that is written apart.
    fn changes_generation(&self, new: &Value, old: &Value) -> bool {
        let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else {
            return false;
        };
        let counts = |key: &str| key != "metadata" && !(self.has_status && key == "status");
        new.iter()
            .filter(|(key, _)| counts(key))
            .any(|(key, value)| old.get(key) != Some(value))
            || old.keys().any(|key| counts(key) && !new.contains_key(key))
    }

    fn columns(&self) -> &[Column] {
        self.columns.shown()
    }

    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value> {
        self.columns.cells(obj, now)
    }

    fn selectable_field<'a>(&self, obj: &'a Value, name: &str) -> Option<Cow<'a, str>> {
        let (_, path) = self.selectable.iter().find(|(known, _)| known == name)?;
        Some(match path.find(obj).first() {
            Some(Value::String(text)) => text.as_str().into(),
            Some(Value::Bool(flag)) => flag.to_string().into(),
            Some(Value::Number(number)) => number.to_string().into(),
            _ => "".into(),
        })
    }

    fn selectable_fields(&self, obj: &Value) -> Vec<(Cow<'static, str>, String)> {
        let fields = self.selectable.iter();
        fields
            .filter_map(|(name, _)| Some((name.clone().into(), self.selectable_field(obj, name)?.into_owned())))
            .collect()
    }

    fn scale(&self) -> Option<ScalePaths> {
        self.scale.clone()
    }
}
