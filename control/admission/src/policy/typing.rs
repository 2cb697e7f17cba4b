//! Type checks of validating policies: what is wrong with their expressions in view of the kinds that they are about.
//! Nothing depends on it: it is told in the status of a policy.

use std::sync::Arc;

use barepod_cel::{Decl, Env, Part, Type};
use barepod_kinds::value::{at, list_at, strings, text};
use barepod_schema::type_of;
use serde_json::{Value, json};

use super::declared;

/// The most kinds that one policy is checked against.
const MOST_KINDS: usize = 10;

/// A kind that a policy is about.
pub struct Subject {
    /// Its group.
    pub group: String,
    /// Its version.
    pub version: String,
    /// Its name.
    pub kind: String,
    /// What expressions know of its objects.
    pub decl: Arc<Decl>,
}

/// Group, version and resource of what a policy names without wildcards, as its rules have them.
pub fn named(policy: &Value) -> Vec<(String, String, String)> {
    let empty = Value::Null;
    let constraints = at(policy, &["spec", "matchConstraints"]).unwrap_or(&empty);
    let mut named = Vec::new();
    for rule in list_at(constraints, &["resourceRules"]) {
        let exact = |key: &str| -> Vec<&str> {
            let all: Vec<&str> = strings(rule, &[key]).collect();
            let wild = all.iter().any(|name| name.contains('*'));
            if wild { Vec::new() } else { all }
        };
        let resources = strings(rule, &["resources"]).filter(|name| !name.contains(['*', '/']));
        let resources: Vec<&str> = resources.collect();
        for group in exact("apiGroups") {
            for version in exact("apiVersions") {
                let each = resources.iter().map(|resource| (group, version, *resource));
                named.extend(each.map(|(g, v, r)| (g.to_owned(), v.to_owned(), r.to_owned())));
            }
        }
    }
    named
}

/// `status.typeChecking.expressionWarnings` of a policy. `params` is what is known of its parameters; without it they are
/// not known at all.
pub fn warnings(policy: &Value, mut subjects: Vec<Subject>, params: Option<&Arc<Decl>>) -> Vec<Value> {
    let order = |it: &Subject| (it.group.clone(), it.version.clone(), it.kind.clone());
    subjects.sort_by_key(order);
    subjects.dedup_by_key(|it| order(it));
    subjects.truncate(MOST_KINDS);
    let empty = Value::Null;
    let spec = at(policy, &["spec"]).unwrap_or(&empty);
    let subjects: Vec<(String, Env)> = subjects
        .into_iter()
        .map(|subject| {
            let Subject {
                group,
                version,
                kind,
                decl,
            } = subject;
            (format!("{group}/{version}, Kind={kind}"), env(spec, &decl, params))
        })
        .collect();
    let check = |source: &str| -> Option<String> {
        let wrong = subjects.iter().filter_map(|(name, env)| {
            let issues = env.compile(source).err()?;
            Some(format!("{name}: {issues}\n"))
        });
        let wrong: Vec<String> = wrong.collect();
        (!wrong.is_empty()).then(|| wrong.join("\n"))
    };
    let mut warnings = Vec::new();
    for (i, validation) in list_at(spec, &["validations"]).iter().enumerate() {
        for key in ["expression", "messageExpression"] {
            let source = text(validation, key);
            if !source.is_empty()
                && let Some(warning) = check(source)
            {
                warnings.push(json!({"fieldRef": format!("spec.validations[{i}].{key}"), "warning": warning}));
            }
        }
    }
    warnings
}

/// The variables of a policy's expressions, with the types they have for objects of one kind.
fn env(spec: &Value, object: &Arc<Decl>, params: Option<&Arc<Decl>>) -> Env {
    let namespace = type_of("", "v1", "Namespace").map_or_else(Decl::unknown, declared::of_type);
    let mut env = Env::new()
        .declare("object", object)
        .declare("oldObject", object)
        .declare("request", &request())
        .declare("namespaceObject", &namespace)
        .variable("authorizer", Type::authorizer())
        .variable("authorizer.requestResource", Type::check())
        // Each has a name of its own below; no others are known.
        .declare("variables", &Decl::of(Part::Object(Vec::new())));
    if let Some(params) = params {
        env = env.declare("params", params);
    }
    for variable in list_at(spec, &["variables"]) {
        let program = env.compile(text(variable, "expression"));
        let ty = program.map_or(Type::Dyn, |program| program.result().clone());
        env = env.variable(&format!("variables.{}", text(variable, "name")), ty);
    }
    env
}

/// The variable `request`.
fn request() -> Arc<Decl> {
    let text = || Decl::of(Part::String);
    let texts = |names: &[&str]| -> Vec<(String, Arc<Decl>)> {
        names.iter().map(|name| ((*name).to_owned(), text())).collect()
    };
    let kind = Decl::of(Part::Object(texts(&["group", "version", "kind"])));
    let resource = Decl::of(Part::Object(texts(&["group", "version", "resource"])));
    let list = Decl::of(Part::List(text()));
    let mut user = texts(&["username", "uid"]);
    user.push(("extra".to_owned(), Decl::of(Part::Map(list.clone()))));
    user.push(("groups".to_owned(), list));
    let mut fields = texts(&["subResource", "requestSubResource", "name", "namespace", "operation"]);
    for (name, decl) in [
        ("kind", kind.clone()),
        ("requestKind", kind),
        ("resource", resource.clone()),
        ("requestResource", resource),
        ("userInfo", Decl::of(Part::Object(user))),
        ("dryRun", Decl::of(Part::Bool)),
        ("options", Decl::unknown()),
    ] {
        fields.push((name.to_owned(), decl));
    }
    Decl::of(Part::Object(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(group: &str, kind: &str) -> Subject {
        let ty = type_of(group, "v1", kind).unwrap();
        Subject {
            group: group.to_owned(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            decl: declared::of_type(ty),
        }
    }

    fn checked(validations: Value, variables: Value) -> Vec<(String, String)> {
        let policy = json!({"spec": {"validations": validations, "variables": variables}});
        let subjects = vec![subject("apps", "Deployment"), subject("", "Pod")];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let all = warnings(&policy, subjects, None);
        all.iter()
            .map(|it| (text(&it["fieldRef"]), text(&it["warning"])))
            .collect()
    }

    #[test]
    fn what_fits_every_kind_is_fine() {
        let fine = [
            "object.metadata.labels['a'] == 'b' && object.apiVersion != ''",
            "has(object.metadata.creationTimestamp) && object.metadata.creationTimestamp < timestamp('2030-01-01T00:00:00Z')",
            "variables.name.startsWith('a') && request.userInfo.groups.exists(g, g == 'x')",
            "authorizer.requestResource.check('get').allowed() && namespaceObject.metadata.name != 'n'",
            "oldObject == null || object.metadata.ownerReferences.all(o, o.controller)",
        ];
        let fine: Vec<Value> = fine.iter().map(|it| json!({"expression": it})).collect();
        let variables = json!([{"name": "name", "expression": "object.metadata.name"}]);
        assert_eq!(checked(fine.into(), variables), []);
    }

    #[test]
    fn what_does_not_fit_is_told_by_kind() {
        let validations = json!([
            {"expression": "object.spec.replicas > 1"},
            {"expression": "true", "messageExpression": "object.metadata.nothing"},
            {"expression": "variables.unknown && params.x"},
        ]);
        let found = checked(validations, json!([]));
        let fields: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
        let expected = [
            "spec.validations[0].expression",
            "spec.validations[1].messageExpression",
            "spec.validations[2].expression",
        ];
        assert_eq!(fields, expected);
        let pods = "/v1, Kind=Pod: ERROR: <input>:1:12: undefined field 'replicas'\n | object.spec.replicas > 1\n | ...........^\n";
        assert_eq!(found[0].1, pods);
        assert!(
            found[1].1.contains("apps/v1, Kind=Deployment: ERROR") && found[1].1.contains("undefined field 'nothing'")
        );
        assert!(found[2].1.contains("undefined field 'unknown'") && found[2].1.contains("'params'"));
    }

    #[test]
    fn wildcards_name_nothing() {
        let rule = |group: &str, resources: Value| json!({"apiGroups": [group], "apiVersions": ["v1"], "resources": resources});
        let rules = json!([rule("", json!(["pods", "pods/status", "*"])), rule("*", json!(["x"]))]);
        let policy = json!({"spec": {"matchConstraints": {"resourceRules": rules}}});
        assert_eq!(named(&policy), [(String::new(), "v1".to_owned(), "pods".to_owned())]);
    }
}
