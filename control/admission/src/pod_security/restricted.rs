//! What the restricted level asks beyond the baseline, in the order of the checks' names.

use barepod_kinds::value::{at, i64_at, list_at, str_at, strings, text};
use serde_json::Value;

use super::baseline::{self, named};
use super::check::{Check, Finding, plural, push_new, quoted};
use super::containers;
use super::level::Policy;

const fn check(since: u32, find: fn(&Value, Policy) -> Option<Finding>) -> Check {
    Check {
        since,
        find,
        stricter: false,
    }
}

pub(super) static CHECKS: &[Check] = &[
    check(8, allow_privilege_escalation),
    check(0, capabilities),
    check(0, run_as_non_root),
    check(23, run_as_user),
    check(0, seccomp),
    check(0, volumes),
];

/// Checks that make no sense on Windows are left out for pods that say they run there.
fn on_windows(pod: &Value, policy: Policy) -> bool {
    policy.minor() >= 25 && str_at(pod, &["spec", "os", "name"]) == Some("windows")
}

/// In a user namespace of its own, root is nobody outside.
fn own_users(pod: &Value, policy: Policy) -> bool {
    policy.minor() >= 35 && at(pod, &["spec", "hostUsers"]) == Some(&Value::Bool(false))
}

fn allow_privilege_escalation(pod: &Value, policy: Policy) -> Option<Finding> {
    if on_windows(pod, policy) {
        return None;
    }
    let off = |container: &Value| {
        at(container, &["securityContext", "allowPrivilegeEscalation"]) == Some(&Value::Bool(false))
    };
    let bad: Vec<String> = containers(pod)
        .filter(|(_, container)| !off(container))
        .map(|(name, _)| name.to_owned())
        .collect();
    if bad.is_empty() {
        return None;
    }
    Some(Finding {
        reason: "allowPrivilegeEscalation != false",
        detail: format!(
            "{} must set securityContext.allowPrivilegeEscalation=false",
            named(&bad)
        ),
    })
}

fn capabilities(pod: &Value, policy: Policy) -> Option<Finding> {
    if policy.minor() < 22 {
        return baseline::capabilities(pod, policy);
    }
    if on_windows(pod, policy) {
        return None;
    }
    let (mut keeping, mut adding, mut added) = (Vec::new(), Vec::new(), Vec::new());
    for (name, container) in containers(pod) {
        let list = |key: &str| strings(container, &["securityContext", "capabilities", key]).collect::<Vec<_>>();
        if !list("drop").contains(&"ALL") {
            keeping.push(name.to_owned());
        }
        let mut forbidden = list("add");
        forbidden.retain(|capability| *capability != "NET_BIND_SERVICE");
        if !forbidden.is_empty() {
            adding.push(name.to_owned());
            forbidden
                .into_iter()
                .for_each(|capability| push_new(&mut added, capability));
        }
    }
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!(
            "{} must set securityContext.capabilities.drop=[\"ALL\"]",
            named(&keeping)
        ));
    }
    if !adding.is_empty() {
        added.sort();
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            named(&adding),
            quoted(&added)
        ));
    }
    if details.is_empty() {
        return None;
    }
    Some(Finding {
        reason: "unrestricted capabilities",
        detail: details.join("; "),
    })
}

fn run_as_non_root(pod: &Value, policy: Policy) -> Option<Finding> {
    if own_users(pod, policy) {
        return None;
    }
    let said = |object: &Value| at(object, &["securityContext", "runAsNonRoot"]).and_then(Value::as_bool);
    let of_pod = said(&pod["spec"]);
    let (mut explicit, mut implicit) = (Vec::new(), Vec::new());
    for (name, container) in containers(pod) {
        match said(container) {
            Some(true) => {}
            Some(false) => explicit.push(name.to_owned()),
            None if of_pod == Some(true) => {}
            None => implicit.push(name.to_owned()),
        }
    }
    let reason = "runAsNonRoot != true";
    let mut setters = Vec::new();
    if of_pod == Some(false) {
        setters.push("pod".to_owned());
    }
    if !explicit.is_empty() {
        setters.push(named(&explicit));
    }
    if !setters.is_empty() {
        let detail = format!(
            "{} must not set securityContext.runAsNonRoot=false",
            setters.join(" and ")
        );
        return Some(Finding { reason, detail });
    }
    if implicit.is_empty() {
        return None;
    }
    let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", named(&implicit));
    Some(Finding { reason, detail })
}

fn run_as_user(pod: &Value, policy: Policy) -> Option<Finding> {
    if own_users(pod, policy) {
        return None;
    }
    let root = |object: &Value| i64_at(object, &["securityContext", "runAsUser"]) == Some(0);
    let mut setters = Vec::new();
    if root(&pod["spec"]) {
        setters.push("pod".to_owned());
    }
    let bad: Vec<String> = containers(pod)
        .filter(|(_, container)| root(container))
        .map(|(name, _)| name.to_owned())
        .collect();
    if !bad.is_empty() {
        setters.push(named(&bad));
    }
    if setters.is_empty() {
        return None;
    }
    Some(Finding {
        reason: "runAsUser=0",
        detail: format!("{} must not set runAsUser=0", setters.join(" and ")),
    })
}

fn seccomp(pod: &Value, policy: Policy) -> Option<Finding> {
    if on_windows(pod, policy) || policy.minor() < 19 {
        return None;
    }
    let type_of = |object: &Value| str_at(object, &["securityContext", "seccompProfile", "type"]).map(str::to_owned);
    let good = |type_: &str| matches!(type_, "RuntimeDefault" | "Localhost");
    let reason = "seccompProfile";
    let (mut setters, mut values) = (Vec::new(), Vec::new());
    let of_pod = type_of(&pod["spec"]);
    if let Some(type_) = of_pod.clone().filter(|type_| !good(type_)) {
        setters.push("pod".to_owned());
        push_new(&mut values, type_);
    }
    let (mut explicit, mut implicit) = (Vec::new(), Vec::new());
    for (name, container) in containers(pod) {
        match type_of(container) {
            Some(type_) if good(&type_) => {}
            Some(type_) => {
                explicit.push(name.to_owned());
                push_new(&mut values, type_);
            }
            None if of_pod.as_deref().is_some_and(good) => {}
            None => implicit.push(name.to_owned()),
        }
    }
    if !explicit.is_empty() {
        setters.push(named(&explicit));
    }
    if !setters.is_empty() {
        let detail = format!(
            "{} must not set securityContext.seccompProfile.type to {}",
            setters.join(" and "),
            quoted(&values)
        );
        return Some(Finding { reason, detail });
    }
    if implicit.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        named(&implicit)
    );
    Some(Finding { reason, detail })
}

fn volumes(pod: &Value, _: Policy) -> Option<Finding> {
    const ALLOWED: [&str; 9] = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let (mut bad, mut types) = (Vec::new(), Vec::new());
    for volume in list_at(pod, &["spec", "volumes"]) {
        let sources = volume.as_object().into_iter().flatten();
        let source = sources
            .filter(|(key, value)| *key != "name" && !value.is_null())
            .map(|(key, _)| key.as_str())
            .next();
        if let Some(source) = source.filter(|source| !ALLOWED.contains(source)) {
            bad.push(text(volume, "name").to_owned());
            push_new(&mut types, source);
        }
    }
    if bad.is_empty() {
        return None;
    }
    types.sort();
    let uses = plural("uses", "use", bad.len());
    let word = plural("volume", "volumes", bad.len());
    Some(Finding {
        reason: "restricted volume types",
        detail: format!(
            "{word} {} {uses} restricted volume {} {}",
            quoted(&bad),
            plural("type", "types", types.len()),
            quoted(&types)
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Level, Policy, evaluate};
    use serde_json::{Value, json};

    fn found(minor: Option<u32>, spec: Value) -> Vec<String> {
        let policy = Policy {
            level: Level::Restricted,
            version: minor,
        };
        evaluate(policy, &json!({"spec": spec}))
            .into_iter()
            .map(|finding| format!("{}: {}", finding.reason, finding.detail))
            .collect()
    }

    fn good() -> Value {
        json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}, "containers": [
            {"name": "c", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]})
    }

    #[test]
    fn careful_pods_pass() {
        assert_eq!(found(None, good()), Vec::<String>::new());
    }

    #[test]
    fn each_demand_is_made() {
        for (pointer, value, text) in [
            (
                "/containers/0/securityContext/capabilities",
                json!({"drop": ["ALL"], "add": ["CHOWN"]}),
                "unrestricted capabilities: container \"c\" must not include \"CHOWN\" in securityContext.capabilities.add",
            ),
            (
                "/securityContext/runAsNonRoot",
                json!(false),
                "runAsNonRoot != true: pod must not set securityContext.runAsNonRoot=false",
            ),
            (
                "/securityContext/seccompProfile",
                json!({"type": "Unconfined"}),
                "seccompProfile: pod must not set securityContext.seccompProfile.type to \"Unconfined\"",
            ),
            (
                "/containers/0/securityContext/allowPrivilegeEscalation",
                json!(true),
                "allowPrivilegeEscalation != false: container \"c\" must set securityContext.allowPrivilegeEscalation=false",
            ),
        ] {
            let mut spec = good();
            *spec.pointer_mut(pointer).unwrap() = value;
            assert_eq!(found(None, spec), [text]);
        }
        let mut spec = good();
        spec["volumes"] = json!([{"name": "v", "nfs": {}}, {"name": "w", "emptyDir": {}}]);
        spec["securityContext"]["runAsUser"] = json!(0);
        assert_eq!(
            found(None, spec),
            [
                "runAsUser=0: pod must not set runAsUser=0",
                "restricted volume types: volume \"v\" uses restricted volume type \"nfs\""
            ]
        );
    }

    #[test]
    fn versions_and_systems_make_a_difference() {
        let mut spec = good();
        spec["containers"][0]["securityContext"] = json!({});
        assert_eq!(
            (found(None, spec.clone()).len(), found(Some(7), spec.clone()).len()),
            (2, 0)
        );
        spec["os"] = json!({"name": "windows"});
        assert_eq!((found(None, spec.clone()).len(), found(Some(24), spec).len()), (0, 2));
        let mut spec = good();
        spec["hostUsers"] = json!(false);
        spec["securityContext"]["runAsUser"] = json!(0);
        assert_eq!((found(None, spec.clone()).len(), found(Some(34), spec).len()), (0, 1));
    }
}
