//! Roles, bindings, and their cluster-wide kin.

use jiff::Timestamp;
use serde_json::Value;

use crate::cells::Cell;
use crate::declared::{Declared, PLAIN};
use crate::names::{self, NameRule};
use crate::path::{Errors, Path};
use crate::rules::{Check, rule, segment, text as text_default};
use crate::strategy::Column;
use crate::table::{AGE, NAME, shows, shows_wide};
use crate::value::{at, items_mut, list_at, str_at, text};

const GROUP: &str = "rbac.authorization.k8s.io";

/// What all four kinds have in common.
const NAMED: Declared = Declared {
    name_rule: NameRule::PathSegment,
    create_on_update: true,
    ..PLAIN
};

/// Roles.
pub static ROLE: Declared = Declared {
    more_rules: |role, _, errors| rules(role, true, errors),
    ..NAMED
};

/// ClusterRoles.
pub static CLUSTER_ROLE: Declared = Declared {
    rules: &[
        rule(
            "aggregationRule.clusterRoleSelectors",
            Check::Required("at least one clusterRoleSelector required if aggregationRule is non-nil"),
        ),
        rule("aggregationRule.clusterRoleSelectors[*]", Check::Selector),
    ],
    more_rules: |role, _, errors| {
        // An aggregated role may be empty until the controller fills it.
        rules(role, false, errors);
    },
    ..NAMED
};

const COLUMNS: &[Column] = &[
    NAME,
    shows("Role", Cell::By(role), "The role that is given"),
    AGE,
    shows_wide("Users", Cell::By(|b, _| subjects(b, "User")), "Users it is given to"),
    shows_wide("Groups", Cell::By(|b, _| subjects(b, "Group")), "Groups it is given to"),
    shows_wide(
        "ServiceAccounts",
        Cell::By(|b, _| subjects(b, "ServiceAccount")),
        "Service accounts it is given to",
    ),
];

const BINDING: Declared = Declared {
    columns: COLUMNS,
    defaults: &[text_default("roleRef.apiGroup", GROUP)],
    more_defaults: |binding| {
        for subject in items_mut(binding, "subjects") {
            if matches!(text(subject, "kind"), "User" | "Group") {
                crate::value::fill(subject, "apiGroup", GROUP);
            }
        }
    },
    ..NAMED
};

/// RoleBindings.
pub static ROLE_BINDING: Declared = Declared {
    rules: &[
        rule("roleRef.apiGroup", Check::OneOf(&[GROUP])),
        rule("roleRef.kind", Check::OneOf(&["ClusterRole", "Role"])),
        rule("roleRef.name", Check::Required("")),
        rule("roleRef.name", Check::Text(segment)),
    ],
    more_rules: |binding, old, errors| self::binding(binding, old, true, errors),
    ..BINDING
};

/// ClusterRoleBindings.
pub static CLUSTER_ROLE_BINDING: Declared = Declared {
    rules: &[
        rule("roleRef.apiGroup", Check::OneOf(&[GROUP])),
        rule("roleRef.kind", Check::OneOf(&["ClusterRole"])),
        rule("roleRef.name", Check::Required("")),
        rule("roleRef.name", Check::Text(segment)),
    ],
    more_rules: |binding, old, errors| self::binding(binding, old, false, errors),
    ..BINDING
};

fn rules(role: &Value, namespaced: bool, errors: &mut Errors) {
    let list = Path::new("rules");
    for (i, rule) in list_at(role, &["rules"]).iter().enumerate() {
        let item = list.index(i);
        let given = |key: &str| list_at(rule, &[key]);
        if given("verbs").is_empty() {
            errors.required(&item.child("verbs"), "verbs must contain at least one value");
        }
        let urls = given("nonResourceURLs");
        if urls.is_empty() {
            if given("apiGroups").is_empty() {
                let detail = "resource rules must supply at least one api group";
                errors.required(&item.child("apiGroups"), detail);
            }
            if given("resources").is_empty() {
                let detail = "resource rules must supply at least one resource";
                errors.required(&item.child("resources"), detail);
            }
            continue;
        }
        let at = item.child("nonResourceURLs");
        if namespaced {
            let detail = "namespaced rules cannot apply to non-resource URLs";
            errors.invalid(&at, urls.to_vec(), detail);
        }
        if ["apiGroups", "resources", "resourceNames"]
            .iter()
            .any(|key| !given(key).is_empty())
        {
            let detail = "rules cannot apply to both regular resources and non-resource URLs";
            errors.invalid(&at, urls.to_vec(), detail);
        }
    }
}

fn binding(binding: &Value, old: Option<&Value>, namespaced: bool, errors: &mut Errors) {
    if let Some(old) = old
        && at(old, &["roleRef"]) != at(binding, &["roleRef"])
    {
        let given = at(binding, &["roleRef"]).cloned().unwrap_or_default();
        errors.invalid(&Path::new("roleRef"), given, "cannot change roleRef");
    }
    let list = Path::new("subjects");
    for (i, subject) in list_at(binding, &["subjects"]).iter().enumerate() {
        let item = list.index(i);
        let name = text(subject, "name");
        if name.is_empty() {
            errors.required(&item.child("name"), "");
        }
        let group = text(subject, "apiGroup");
        match text(subject, "kind") {
            "ServiceAccount" => {
                if !name.is_empty() {
                    errors.invalid_each(&item.child("name"), name, names::subdomain_errors(name));
                }
                if !group.is_empty() {
                    errors.not_supported(&item.child("apiGroup"), group, &[""]);
                }
                if !namespaced && text(subject, "namespace").is_empty() {
                    errors.required(&item.child("namespace"), "");
                }
            }
            "User" | "Group" if group != GROUP => {
                errors.not_supported(&item.child("apiGroup"), group, &[GROUP]);
            }
            "User" | "Group" => {}
            other => errors.not_supported(&item.child("kind"), other, &["Group", "ServiceAccount", "User"]),
        }
    }
}

/// `ClusterRole/view`
fn role(binding: &Value, _now: Timestamp) -> Value {
    let part = |key| str_at(binding, &["roleRef", key]).unwrap_or("");
    format!("{}/{}", part("kind"), part("name")).into()
}

fn subjects(binding: &Value, kind: &str) -> Value {
    let all = list_at(binding, &["subjects"])
        .iter()
        .filter(|s| text(s, "kind") == kind);
    let shown = all.map(|s| match text(s, "namespace") {
        "" => text(s, "name").to_owned(),
        namespace => format!("{namespace}/{}", text(s, "name")),
    });
    shown.collect::<Vec<_>>().join(", ").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    fn lines(kind: &Declared, new: Value, old: Option<Value>) -> Vec<String> {
        let mut new = new;
        kind.default(&mut new);
        kind.validate(&new, old.as_ref())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn roles_need_verbs_groups_and_resources() {
        assert_eq!(
            lines(&ROLE, json!({"rules": [{}]}), None),
            [
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource"
            ]
        );
        let urls = json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]});
        assert_eq!(lines(&CLUSTER_ROLE, urls.clone(), None), Vec::<String>::new());
        assert_eq!(
            lines(&ROLE, urls, None),
            [
                "rules[0].nonResourceURLs: Invalid value: [\"/healthz\"]: namespaced rules cannot apply to non-resource URLs"
            ]
        );
        assert_eq!(lines(&CLUSTER_ROLE, json!({}), None), Vec::<String>::new());
    }

    #[test]
    fn bindings_are_filled_shown_and_fixed() {
        let mut binding = json!({"metadata": {"name": "b", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": "ann"},
            {"kind": "ServiceAccount", "name": "sa", "namespace": "n"}]});
        CLUSTER_ROLE_BINDING.default(&mut binding);
        assert_eq!(binding["subjects"][0]["apiGroup"], GROUP);
        assert_eq!(binding["roleRef"]["apiGroup"], GROUP);
        assert_eq!(CLUSTER_ROLE_BINDING.validate(&binding, None), vec![]);
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(
            CLUSTER_ROLE_BINDING.cells(&binding, now),
            ["b", "ClusterRole/view", "1s", "ann", "", "n/sa"]
        );
        let mut other = binding.clone();
        other["roleRef"]["name"] = json!("edit");
        assert!(lines(&ROLE_BINDING, other, Some(binding))[0].ends_with("cannot change roleRef"));
        let without =
            json!({"roleRef": {"kind": "Role", "name": "x"}, "subjects": [{"kind": "ServiceAccount", "name": "sa"}]});
        assert_eq!(
            lines(&CLUSTER_ROLE_BINDING, without, None),
            [
                "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
                "subjects[0].namespace: Required value"
            ]
        );
    }
}
