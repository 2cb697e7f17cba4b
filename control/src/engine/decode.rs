//! Request bodies: decoding, kind and version, unknown and duplicate fields.

use barepod_schema::Shape;
use barepod_schema::body::{self, DecodeError, Decoded};
use barepod_schema::check::{self, TypeMismatch};
use serde_json::Value;

use super::custom;
use super::options::FieldValidation;
use super::status::{ApiError, ApiResult, quote};

/// Media types of bodies that are objects.
pub const MEDIA_TYPES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// What a body is expected to be.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// `v1`, `apps/v1`.
    pub api_version: &'a str,
    /// The kind.
    pub kind: &'a str,
    /// Its structure, if it is to be checked.
    pub shape: Shape<'a>,
}

impl Expected<'_> {
    fn version(&self) -> &str {
        self.api_version.rsplit('/').next().unwrap_or(self.api_version)
    }

    fn cannot(&self, why: impl std::fmt::Display) -> ApiError {
        self.cannot_as(self.kind, self.version(), why)
    }

    fn cannot_as(&self, kind: &str, version: &str, why: impl std::fmt::Display) -> ApiError {
        let version = quote(version);
        ApiError::bad_request(format!(
            "{kind} in version {version} cannot be handled as a {}: {why}",
            self.kind
        ))
    }
}

/// Decodes a body of any type.
pub fn decode(content_type: &str, bytes: &[u8], expected: &Expected<'_>) -> ApiResult<Decoded> {
    body::decode(content_type, bytes).map_err(|error| match error {
        DecodeError::UnsupportedMediaType { .. } => ApiError::unsupported_media_type(MEDIA_TYPES),
        error => {
            let cause = std::error::Error::source(&error)
                .map(|source| format!(": {source}"))
                .unwrap_or_default();
            let kind = expected.kind;
            ApiError::bad_request(format!(
                "the object provided is unrecognized (must be of type {kind}): {error}{cause}"
            ))
        }
    })
}

/// Decodes a body that must be one object of the expected kind, checks its fields and says what to warn of.
pub fn object(
    content_type: &str,
    bytes: &[u8],
    expected: &Expected<'_>,
    validation: FieldValidation,
) -> ApiResult<(Value, Vec<String>)> {
    let Decoded {
        mut value,
        duplicate_fields,
    } = decode(content_type, bytes, expected)?;
    if let Shape::Custom(_) = expected.shape {
        require_kind(&value, expected)?;
    }
    set_kind(&mut value, expected)?;
    let problems = conform(&mut value, expected, duplicate_fields)?;
    let warnings = judge(problems, validation).map_err(|text| expected.cannot(text))?;
    Ok((value, warnings))
}

/// Objects of built-in kinds may leave out what they are, custom ones may not.
fn require_kind(value: &Value, expected: &Expected<'_>) -> ApiResult<()> {
    let stated = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty())
    };
    if value.is_object() && !stated("kind") {
        let kind = expected.kind;
        let why = format!("the object provided is unrecognized (must be of type {kind}): Object 'Kind' is missing");
        return Err(ApiError::bad_request(why));
    }
    if value.is_object() && !stated("apiVersion") {
        return Err(other_version("", expected));
    }
    Ok(())
}

fn other_version(given: &str, expected: &Expected<'_>) -> ApiError {
    ApiError::bad_request(format!(
        "the API version in the data ({given}) does not match the expected API version ({})",
        expected.api_version
    ))
}

/// Fills kind and version in, or refuses other ones.
pub fn set_kind(value: &mut Value, expected: &Expected<'_>) -> ApiResult<()> {
    let Some(map) = value.as_object_mut() else {
        let what = match value {
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
            _ => "null",
        };
        return Err(expected.cannot(format!(
            "json: cannot unmarshal {what} into Go value of type {}",
            expected.kind
        )));
    };
    let text = |key: &str| map.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let (kind, api_version) = (text("kind"), text("apiVersion"));
    if !kind.is_empty() && kind != expected.kind {
        let given = if api_version.is_empty() {
            expected.api_version
        } else {
            &api_version
        };
        let version = given.rsplit('/').next().unwrap_or(given).to_owned();
        let why = format!(
            "converting ({version}.{kind}) to ({}.{}): unknown conversion",
            expected.version(),
            expected.kind
        );
        return Err(expected.cannot_as(&kind, &version, why));
    }
    if !api_version.is_empty() && api_version != expected.api_version {
        return Err(other_version(&api_version, expected));
    }
    map.insert("kind".into(), expected.kind.into());
    map.insert("apiVersion".into(), expected.api_version.into());
    Ok(())
}

/// Brings an object into the form of its type; says what is wrong but can be passed over.
pub fn conform(value: &mut Value, expected: &Expected<'_>, duplicates: Vec<String>) -> ApiResult<Vec<String>> {
    fit(value, expected, duplicates).map_err(|mismatch| expected.cannot(mismatch))
}

/// As [`conform`], for callers that have their own words for what does not fit.
pub fn fit(value: &mut Value, expected: &Expected<'_>, duplicates: Vec<String>) -> Result<Vec<String>, TypeMismatch> {
    let unknown = match expected.shape {
        Shape::Table(ty) => check::check(ty, value)?,
        Shape::Custom(schema) => custom::conform(schema, value)?,
        Shape::Unknown => Vec::new(),
    };
    let metadata = value.as_object_mut().map(|map| {
        map.entry("metadata")
            .or_insert_with(|| Value::Object(Default::default()))
    });
    match metadata {
        Some(Value::Object(_)) => {}
        Some(null @ Value::Null) => *null = Value::Object(Default::default()),
        _ => return Err(TypeMismatch::plain("metadata is not an object")),
    }
    let duplicate = duplicates
        .into_iter()
        .map(|path| format!("duplicate field {}", quote(&path)));
    let unknown = unknown
        .into_iter()
        .map(|path| format!("unknown field {}", quote(&path)));
    Ok(duplicate.chain(unknown).collect())
}

/// Turns problems into warnings, or into one error text.
pub fn judge(problems: Vec<String>, validation: FieldValidation) -> Result<Vec<String>, String> {
    match validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(problems),
        FieldValidation::Strict if problems.is_empty() => Ok(problems),
        FieldValidation::Strict => Err(format!("strict decoding error: {}", problems.join(", "))),
    }
}
