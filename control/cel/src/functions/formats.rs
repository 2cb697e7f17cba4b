//! Named formats of texts.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::url::Url;
use super::{Cost, EvalError, ONE, Opaque, Row, regex, text};
use crate::value::Value;

/// A format.
#[derive(Debug)]
pub struct Format {
    pub(super) name: &'static str,
    /// What is wrong with a text.
    problems: fn(&str) -> Vec<String>,
    /// How long a regular expression for it would be.
    pub(crate) pattern_length: u64,
}

const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const SUBDOMAIN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
const LABEL_1035: &str = "^[a-z]([-a-z0-9]*[a-z0-9])?$";
const QUALIFIED: &str = "^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$";

static FORMATS: [(&str, Format); 13] = [
    (
        "dns1123Label",
        Format {
            name: "DNS1123Label",
            problems: |given| label(given),
            pattern_length: 30,
        },
    ),
    (
        "dns1123Subdomain",
        Format {
            name: "DNS1123Subdomain",
            problems: |given| subdomain(given),
            pattern_length: 60,
        },
    ),
    (
        "dns1035Label",
        Format {
            name: "DNS1035Label",
            problems: |given| label_1035(given),
            pattern_length: 30,
        },
    ),
    (
        "qualifiedName",
        Format {
            name: "QualifiedName",
            problems: |given| qualified(given),
            pattern_length: 60,
        },
    ),
    (
        "dns1123LabelPrefix",
        Format {
            name: "DNS1123LabelPrefix",
            problems: |given| label(&prefix(given)),
            pattern_length: 30,
        },
    ),
    (
        "dns1123SubdomainPrefix",
        Format {
            name: "DNS1123SubdomainPrefix",
            problems: |given| subdomain(&prefix(given)),
            pattern_length: 60,
        },
    ),
    (
        "dns1035LabelPrefix",
        Format {
            name: "DNS1035LabelPrefix",
            problems: |given| label_1035(&prefix(given)),
            pattern_length: 30,
        },
    ),
    (
        "labelValue",
        Format {
            name: "LabelValue",
            problems: |given| label_value(given),
            pattern_length: 40,
        },
    ),
    (
        "uri",
        Format {
            name: "URI",
            problems: |given| {
                unless(Url::parse(given).is_some(), || {
                    format!("parse {given:?}: invalid URI for request")
                })
            },
            pattern_length: 1500,
        },
    ),
    (
        "uuid",
        Format {
            name: "uuid",
            problems: |given| unless(is(given, UUID), || "does not match the UUID format".to_owned()),
            pattern_length: 86,
        },
    ),
    (
        "byte",
        Format {
            name: "byte",
            problems: |given| unless(STANDARD.decode(given).is_ok(), || "invalid base64".to_owned()),
            pattern_length: 76,
        },
    ),
    (
        "date",
        Format {
            name: "date",
            problems: |given| {
                unless(is(given, DATE) && given.parse::<jiff::civil::Date>().is_ok(), || {
                    "invalid date".to_owned()
                })
            },
            pattern_length: 150,
        },
    ),
    (
        "datetime",
        Format {
            name: "datetime",
            problems: |given| {
                unless(given.len() > 10 && given.parse::<jiff::Timestamp>().is_ok(), || {
                    "invalid datetime".to_owned()
                })
            },
            pattern_length: 150,
        },
    ),
];

const UUID: &str = "^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$";
const DATE: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";

macro_rules! constant {
    ($($name:literal),*) => {
        &[
            ("format.named(string) optional<NamedFormat>", ONE, |args| {
                let given = text(args, 0)?;
                Ok(find(given).map_or_else(Value::none, Value::some))
            }),
            (".NamedFormat.validate(string) optional<list<string>>", Cost::Validate, |args| {
                let Some(Value::Opaque(opaque)) = args.first() else {
                    return Err(EvalError::NoSuchOverload);
                };
                let Opaque::Format(format) = &**opaque else {
                    return Err(EvalError::NoSuchOverload);
                };
                let problems = (format.problems)(text(args, 1)?);
                if problems.is_empty() {
                    return Ok(Value::none());
                }
                Ok(Value::some(Value::list(problems.into_iter().map(Value::string).collect())))
            }),
            $((concat!("format.", $name, "() NamedFormat"), ONE, |_| find($name).ok_or(EvalError::NoSuchOverload))),*
        ]
    };
}

pub(super) const ROWS: &[Row] = constant![
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime"
];

fn find<'a>(name: &str) -> Option<Value<'a>> {
    let (_, format) = FORMATS.iter().find(|(known, _)| *known == name)?;
    Some(Value::Opaque(Rc::new(Opaque::Format(format))))
}

fn is(given: &str, pattern: &str) -> bool {
    regex(pattern).is_ok_and(|regex| regex.is_match(given))
}

fn unless(fits: bool, why: impl FnOnce() -> String) -> Vec<String> {
    if fits { Vec::new() } else { vec![why()] }
}

/// A name without the dash that it may end with because more follows.
fn prefix(given: &str) -> String {
    match given.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => given.to_owned(),
    }
}

fn too_long(given: &str, most: usize) -> Vec<String> {
    unless(given.len() <= most, || {
        format!("must be no more than {most} characters")
    })
}

fn label(given: &str) -> Vec<String> {
    let mut problems = too_long(given, 63);
    problems.extend(unless(is(given, LABEL), || {
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an \
         alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            .to_owned()
    }));
    problems
}

fn subdomain(given: &str) -> Vec<String> {
    let mut problems = too_long(given, 253);
    problems.extend(unless(is(given, SUBDOMAIN), || {
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end \
         with an alphanumeric character (e.g. 'example.com', regex used for validation is \
         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            .to_owned()
    }));
    problems
}

fn label_1035(given: &str) -> Vec<String> {
    let mut problems = too_long(given, 63);
    problems.extend(unless(is(given, LABEL_1035), || {
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and \
         end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
         '[a-z]([-a-z0-9]*[a-z0-9])?')"
            .to_owned()
    }));
    problems
}

fn name_part(given: &str) -> Vec<String> {
    let mut problems = too_long(given, 63);
    problems.extend(unless(is(given, QUALIFIED), || {
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
         character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
         '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            .to_owned()
    }));
    problems
}

fn qualified(given: &str) -> Vec<String> {
    match given.split_once('/') {
        None => name_part(given),
        Some((_, name)) if name.contains('/') => vec![
            "a qualified name must consist of alphanumeric characters, '-', '_' or '.', with an optional DNS subdomain prefix \
             and '/' (e.g. 'example.com/MyName')"
                .to_owned(),
        ],
        Some((domain, name)) => {
            let mut problems: Vec<String> = match domain {
                "" => vec!["prefix part must be non-empty".to_owned()],
                domain => subdomain(domain).into_iter().map(|why| format!("prefix part {why}")).collect(),
            };
            problems.extend(name_part(name));
            problems
        }
    }
}

fn label_value(given: &str) -> Vec<String> {
    let mut problems = too_long(given, 63);
    problems.extend(unless(given.is_empty() || is(given, QUALIFIED), || {
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end \
         with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
         '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            .to_owned()
    }));
    problems
}

/// How long the pattern of a format is that a value is.
pub(crate) fn pattern_length(value: &Value<'_>) -> u64 {
    let Value::Opaque(opaque) = value else { return 1 };
    match &**opaque {
        Opaque::Format(format) => format.pattern_length,
        _ => 1,
    }
}
