//! FlowSchemas and PriorityLevelConfigurations.

use jiff::Timestamp;
use serde_json::Value;

use crate::cells::Cell;
use crate::conditions;
use crate::declared::{Declared, NewStatus, PLAIN, SPEC};
use crate::names;
use crate::path::{Errors, Path};
use crate::rules::{Check, number, rule, subdomain};
use crate::table::{AGE, NAME, shows};
use crate::value::{at, bool_at, i64_at, list_at, str_at, strings, text};

const EXEMPT: &str = "exempt";
const VERBS: [&str; 9] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];
const MOST_QUEUES: i64 = 10_000_000;
/// Bits of the hash that deals requests out to queues.
const HASH_BITS: f64 = 60.0;

/// FlowSchemas.
pub static FLOW_SCHEMA: Declared = Declared {
    generation: SPEC,
    new_status: NewStatus::Empty,
    columns: &[
        NAME,
        shows(
            "PriorityLevel",
            Cell::Text("spec.priorityLevelConfiguration.name", ""),
            "Priority level of the requests",
        ),
        shows(
            "MatchingPrecedence",
            Cell::Number("spec.matchingPrecedence"),
            "Order of the schemas; the lowest first",
        ),
        shows(
            "DistinguisherMethod",
            Cell::Text("spec.distinguisherMethod.type", "<none>"),
            "What tells one flow from another",
        ),
        AGE,
        shows(
            "MissingPL",
            Cell::By(missing),
            "Whether the priority level does not exist",
        ),
    ],
    defaults: &[number("spec.matchingPrecedence", 1000)],
    rules: &[
        rule("spec.matchingPrecedence", Check::Above(0, "must be a positive value")),
        rule("spec.priorityLevelConfiguration.name", Check::Text(subdomain)),
        rule(
            "spec.distinguisherMethod.type",
            Check::OneOf(&["ByNamespace", "ByUser"]),
        ),
        rule("spec.rules[*]", Check::By(policy_rule)),
    ],
    more_rules: |schema, _, errors| {
        let path = Path::new("spec.matchingPrecedence");
        let precedence = i64_at(schema, &["spec", "matchingPrecedence"]).unwrap_or(0);
        if precedence > 10_000 {
            errors.invalid(&path, precedence, "must not be greater than 10000");
        }
        if precedence == 1 && str_at(schema, &["metadata", "name"]) != Some(EXEMPT) {
            let detail = "only the schema named 'exempt' may have matchingPrecedence 1";
            errors.invalid(&path, precedence, detail);
        }
        if str_at(schema, &["spec", "priorityLevelConfiguration", "name"]).is_none() {
            let path = Path::new("spec.priorityLevelConfiguration.name");
            errors.required(&path, "must reference a priority level");
        }
    },
    ..PLAIN
};

/// PriorityLevelConfigurations.
pub static PRIORITY_LEVEL: Declared = Declared {
    generation: SPEC,
    new_status: NewStatus::Empty,
    columns: &[
        NAME,
        shows("Type", Cell::Text("spec.type", ""), "Whether the level is limited"),
        shows(
            "NominalConcurrencyShares",
            Cell::Text("spec.limited.nominalConcurrencyShares", "<none>"),
            "Share of the requests that run at a time",
        ),
        shows(
            "Queues",
            Cell::Text("spec.limited.limitResponse.queuing.queues", "<none>"),
            "Queues of the level",
        ),
        shows(
            "HandSize",
            Cell::Text("spec.limited.limitResponse.queuing.handSize", "<none>"),
            "Queues that a flow may use",
        ),
        shows(
            "QueueLengthLimit",
            Cell::Text("spec.limited.limitResponse.queuing.queueLengthLimit", "<none>"),
            "Requests that a queue may hold",
        ),
        AGE,
    ],
    defaults: &[
        number("spec.exempt.nominalConcurrencyShares", 0),
        number("spec.exempt.lendablePercent", 0),
        number("spec.limited.nominalConcurrencyShares", 30),
        number("spec.limited.lendablePercent", 0),
        number("spec.limited.limitResponse.queuing.queues", 64),
        number("spec.limited.limitResponse.queuing.handSize", 8),
        number("spec.limited.limitResponse.queuing.queueLengthLimit", 50),
    ],
    rules: &[
        rule("spec.type", Check::OneOf(&["Exempt", "Limited"])),
        rule("spec.exempt.nominalConcurrencyShares", Check::AtLeast(0)),
        rule("spec.exempt.lendablePercent", Check::Within(0, 100)),
        rule("spec.limited.nominalConcurrencyShares", Check::AtLeast(0)),
        rule("spec.limited.lendablePercent", Check::Within(0, 100)),
        rule("spec.limited.borrowingLimitPercent", Check::AtLeast(0)),
    ],
    more_rules: |level, _, errors| priority_level(level, errors),
    ..PLAIN
};

fn priority_level(level: &Value, errors: &mut Errors) {
    let path = Path::new("spec");
    let kind = str_at(level, &["spec", "type"]).unwrap_or("");
    let named = str_at(level, &["metadata", "name"]) == Some(EXEMPT);
    if named != (kind == "Exempt") {
        let detail = "type must be 'Exempt' if and only if name is 'exempt'";
        errors.invalid(&path.child("type"), kind, detail);
    }
    let given = |key| at(level, &["spec", key]);
    match kind {
        "Exempt" if given("limited").is_some() => {
            errors.forbidden(&path.child("limited"), "must be nil if the type is not Limited");
        }
        "Limited" => {
            if given("exempt").is_some() {
                errors.forbidden(&path.child("exempt"), "must be nil if the type is Limited");
            }
            match given("limited") {
                None => errors.required(&path.child("limited"), "must not be empty when type is Limited"),
                Some(limited) => limit_response(limited, &path.child("limited.limitResponse"), errors),
            }
        }
        _ => {}
    }
}

fn limit_response(limited: &Value, path: &Path<'_>, errors: &mut Errors) {
    let kind = str_at(limited, &["limitResponse", "type"]).unwrap_or("");
    let queuing = at(limited, &["limitResponse", "queuing"]);
    let at_queuing = path.child("queuing");
    match (kind, queuing) {
        ("Reject", Some(_)) => {
            errors.forbidden(&at_queuing, "must be nil if limited.limitResponse.type is not Limited")
        }
        ("Reject", None) => {}
        ("Queue", None) => errors.required(
            &at_queuing,
            "must not be empty if limited.limitResponse.type is Limited",
        ),
        ("Queue", Some(queuing)) => queues(queuing, &at_queuing, errors),
        (other, _) => errors.not_supported(&path.child("type"), other, &["Queue", "Reject"]),
    }
}

fn queues(queuing: &Value, path: &Path<'_>, errors: &mut Errors) {
    let number = |key| i64_at(queuing, &[key]).unwrap_or(0);
    for key in ["queueLengthLimit", "queues", "handSize"] {
        if number(key) <= 0 {
            errors.invalid(&path.child(key), number(key), "must be positive");
        }
    }
    let (queues, hand) = (number("queues"), number("handSize"));
    if queues > MOST_QUEUES {
        let detail = format!("must not be greater than {MOST_QUEUES}");
        errors.invalid(&path.child("queues"), queues, detail);
    } else if hand > queues {
        let detail = format!("should not be greater than queues ({queues})");
        errors.invalid(&path.child("handSize"), hand, detail);
    } else if queues > 0 && hand > 0 {
        #[expect(clippy::cast_precision_loss, reason = "at most ten million")]
        let bits: f64 = (0..hand).map(|dealt| ((queues - dealt) as f64).log2()).sum();
        if bits > HASH_BITS {
            let detail =
                format!("required entropy bits of deckSize {queues} and handSize {hand} should not be greater than 60");
            errors.invalid(&path.child("handSize"), hand, detail);
        }
    }
}

fn policy_rule(rule: &Value, path: &Path<'_>, errors: &mut Errors) {
    let subjects = list_at(rule, &["subjects"]);
    let list = path.child("subjects");
    if subjects.is_empty() {
        errors.required(&list, "subjects must contain at least one value");
    }
    for (i, subject) in subjects.iter().enumerate() {
        self::subject(subject, &list.index(i), errors);
    }
    let (by_resource, by_url) = (list_at(rule, &["resourceRules"]), list_at(rule, &["nonResourceRules"]));
    if by_resource.is_empty() && by_url.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.required(path, detail);
    }
    let list = path.child("resourceRules");
    for (i, rule) in by_resource.iter().enumerate() {
        let item = list.index(i);
        verbs(rule, &item, errors);
        one_or_all(rule, "apiGroups", "api group", &item, errors);
        one_or_all(rule, "resources", "resource", &item, errors);
        let namespaces = item.child("namespaces");
        let given: Vec<&str> = strings(rule, &["namespaces"]).collect();
        if given.is_empty() && !bool_at(rule, &["clusterScope"]) {
            let detail = "resource rules that are not cluster scoped must supply at least one namespace";
            errors.required(&namespaces, detail);
        } else if given.contains(&"*") {
            if given.len() > 1 {
                let detail = "if '*' is present, must not specify other namespaces";
                errors.invalid(&namespaces, given, detail);
            }
        } else {
            for (j, namespace) in given.iter().enumerate() {
                for message in names::label_errors(namespace) {
                    let detail = format!("each member of this list must be '*' or a DNS-1123 label; {message}");
                    errors.invalid(&namespaces.index(j), *namespace, detail);
                }
            }
        }
    }
    let list = path.child("nonResourceRules");
    for (i, rule) in by_url.iter().enumerate() {
        let item = list.index(i);
        verbs(rule, &item, errors);
        let at = item.child("nonResourceURLs");
        let urls: Vec<&str> = strings(rule, &["nonResourceURLs"]).collect();
        if urls.is_empty() {
            errors.required(&at, "nonResourceURLs must contain at least one value");
        } else if urls.contains(&"*") && urls.len() > 1 {
            let detail = "if '*' is present, must not specify other non-resource URLs";
            errors.invalid(&at, urls, detail);
        }
    }
}

fn verbs(rule: &Value, path: &Path<'_>, errors: &mut Errors) {
    let at = path.child("verbs");
    let verbs: Vec<&str> = strings(rule, &["verbs"]).collect();
    if verbs.is_empty() {
        errors.required(&at, "verbs must contain at least one value");
    } else if verbs.contains(&"*") {
        if verbs.len() > 1 {
            errors.invalid(&at, verbs, "if '*' is present, must not specify other verbs");
        }
    } else if verbs.iter().any(|verb| !VERBS.contains(verb)) {
        errors.not_supported(&at, &format!("[{}]", verbs.join(" ")), &VERBS);
    }
}

fn one_or_all(rule: &Value, key: &str, word: &str, path: &Path<'_>, errors: &mut Errors) {
    let given: Vec<&str> = strings(rule, &[key]).collect();
    let at = path.child(key);
    if given.is_empty() {
        errors.required(&at, &format!("resource rules must supply at least one {word}"));
    } else if given.len() > 1 && given.contains(&"*") {
        errors.invalid(&at, given, format!("if '*' is present, must not specify other {word}s"));
    }
}

fn subject(subject: &Value, path: &Path<'_>, errors: &mut Errors) {
    const FIELDS: [(&str, &str); 3] = [
        ("Group", "group"),
        ("ServiceAccount", "serviceAccount"),
        ("User", "user"),
    ];
    let kind = text(subject, "kind");
    let Some((_, own)) = FIELDS.iter().find(|(known, _)| *known == kind) else {
        errors.not_supported(&path.child("kind"), kind, &["Group", "ServiceAccount", "User"]);
        return;
    };
    let at_own = path.child(own);
    match at(subject, &[own]) {
        None => errors.required(&at_own, &format!("{own} is required when subject kind is '{kind}'")),
        Some(named) => {
            let name = text(named, "name");
            if name.is_empty() {
                errors.required(&at_own.child("name"), "");
            } else if *own == "serviceAccount" && name != "*" {
                errors.invalid_each(&at_own.child("name"), name, names::subdomain_errors(name));
            }
            if *own == "serviceAccount" {
                match text(named, "namespace") {
                    "" => errors.required(&at_own.child("namespace"), "must specify namespace for service account"),
                    namespace => {
                        errors.invalid_each(&at_own.child("namespace"), namespace, names::label_errors(namespace));
                    }
                }
            }
        }
    }
    for (other, field) in FIELDS.iter().filter(|(known, _)| *known != kind) {
        if at(subject, &[field]).is_some() {
            let detail = format!("{field} is forbidden when subject kind is not '{other}'");
            errors.forbidden(&path.child(field), detail);
        }
    }
}

fn missing(schema: &Value, _now: Timestamp) -> Value {
    conditions::find(schema, "Dangling")
        .map_or("?", |c| text(c, "status"))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    fn lines(kind: &Declared, obj: Value) -> Vec<String> {
        let mut obj = obj;
        kind.default(&mut obj);
        kind.validate(&obj, None).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn levels_are_filled_and_checked() {
        let level = json!({"metadata": {"name": "l", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"type": "Limited",
            "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}});
        assert_eq!(lines(&PRIORITY_LEVEL, level.clone()), Vec::<String>::new());
        let mut filled = level;
        PRIORITY_LEVEL.default(&mut filled);
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(
            PRIORITY_LEVEL.cells(&filled, now),
            ["l", "Limited", "30", "64", "8", "50", "1s"]
        );
        assert_eq!(
            lines(
                &PRIORITY_LEVEL,
                json!({"metadata": {"name": "l"}, "spec": {"type": "Exempt"}})
            ),
            ["spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'"]
        );
    }

    #[test]
    fn schemas_are_checked() {
        let schema = json!({"metadata": {"name": "s"}, "spec": {"priorityLevelConfiguration": {"name": "l"}, "rules": [{
            "subjects": [{"kind": "User", "user": {"name": "*"}}],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}]}]}});
        assert_eq!(lines(&FLOW_SCHEMA, schema.clone()), Vec::<String>::new());
        let mut bad = schema;
        bad["spec"]["rules"][0]["subjects"] = json!([{"kind": "User", "group": {"name": "g"}}]);
        bad["spec"]["rules"][0]["resourceRules"][0]["verbs"] = json!(["get", "*"]);
        assert_eq!(
            lines(&FLOW_SCHEMA, bad),
            [
                "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
                "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
                "spec.rules[0].resourceRules[0].verbs: Invalid value: [\"get\",\"*\"]: if '*' is present, must not specify \
                 other verbs"
            ]
        );
    }
}
