//! Validation of security contexts.

use serde_json::Value;

use crate::path::{Errors, Path};
use crate::value::{self, at, bool_at, list_at, text};

/// What is said of a user or group id out of range.
pub const ID_RANGE: &str = "must be between 0 and 2147483647, inclusive";

fn id(context: &Value, key: &str, path: &Path<'_>, errors: &mut Errors) {
    if let Some(id) = value::i64_at(context, &[key])
        && !(0..=i64::from(i32::MAX)).contains(&id)
    {
        errors.invalid(&path.child(key), id, ID_RANGE);
    }
}

/// Checks the security context of a container.
pub fn container(context: &Value, path: &Path<'_>, errors: &mut Errors) {
    id(context, "runAsUser", path, errors);
    id(context, "runAsGroup", path, errors);
    let mounts = ["Default", "Unmasked"];
    errors.optional_one_of(&path.child("procMount"), context.get("procMount"), &mounts);
    profile(context, "seccompProfile", path, errors);
    profile(context, "appArmorProfile", path, errors);
    if at(context, &["allowPrivilegeEscalation"]) == Some(&Value::Bool(false)) {
        if bool_at(context, &["privileged"]) {
            errors.invalid(
                path,
                context.clone(),
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            );
        }
        if value::strings(context, &["capabilities", "add"]).any(|c| c == "CAP_SYS_ADMIN") {
            errors.invalid(
                path,
                context.clone(),
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
}

/// Checks the security context of a pod.
pub fn pod(spec: &Value, spec_path: &Path<'_>, errors: &mut Errors) {
    let Some(context) = at(spec, &["securityContext"]) else {
        return;
    };
    let path = &spec_path.child("securityContext");
    for key in ["runAsUser", "runAsGroup", "fsGroup"] {
        id(context, key, path, errors);
    }
    let list = path.child("supplementalGroups");
    for (i, group) in list_at(context, &["supplementalGroups"]).iter().enumerate() {
        if let Some(group) = group.as_i64().filter(|g| !(0..=i64::from(i32::MAX)).contains(g)) {
            errors.invalid(&list.index(i), group, ID_RANGE);
        }
    }
    errors.optional_one_of(
        &path.child("supplementalGroupsPolicy"),
        context.get("supplementalGroupsPolicy"),
        &["Merge", "Strict"],
    );
    errors.optional_one_of(
        &path.child("fsGroupChangePolicy"),
        context.get("fsGroupChangePolicy"),
        &["Always", "OnRootMismatch"],
    );
    profile(context, "seccompProfile", path, errors);
    profile(context, "appArmorProfile", path, errors);
    sysctls(context, path, errors);
}

fn profile(context: &Value, key: &str, path: &Path<'_>, errors: &mut Errors) {
    let Some(profile) = at(context, &[key]) else { return };
    let path = path.child(key);
    let kind = text(profile, "type");
    let kinds = ["Localhost", "RuntimeDefault", "Unconfined"];
    errors.one_of(&path.child("type"), kind, &kinds);
    let local = text(profile, "localhostProfile");
    let local_path = path.child("localhostProfile");
    match (kind, local.is_empty()) {
        ("Localhost", true) => {
            errors.required(
                &local_path,
                &format!("must be set when {} type is Localhost", short(key)),
            );
        }
        ("Localhost", false) => {
            if key == "seccompProfile" {
                super::volume::descending_path(local, &local_path, errors);
            }
        }
        (_, false) => {
            errors.invalid(
                &local_path,
                local,
                format!("can only be set when {} type is Localhost", short(key)),
            );
        }
        (_, true) => {}
    }
}

fn short(key: &str) -> &'static str {
    if key == "seccompProfile" { "seccomp" } else { "AppArmor" }
}

fn sysctls(context: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("sysctls");
    let mut seen: Vec<&str> = Vec::new();
    for (i, sysctl) in list_at(context, &["sysctls"]).iter().enumerate() {
        let item = list.index(i);
        let name = text(sysctl, "name");
        if name.is_empty() {
            errors.required(&item.child("name"), "");
        } else if !is_sysctl_name(name) {
            errors.invalid(
                &item.child("name"),
                name,
                "must have at most 253 characters and match regex \
                 ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            );
        } else if seen.contains(&name) {
            errors.duplicate(&item.child("name"), name);
        }
        seen.push(name);
    }
}

fn is_sysctl_name(name: &str) -> bool {
    let good = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 253
        && name.split(['.', '/']).all(|part| {
            let bytes = part.as_bytes();
            bytes.first().is_some_and(good)
                && bytes.last().is_some_and(good)
                && bytes.iter().all(|b| good(b) || *b == b'-' || *b == b'_')
        })
}

#[cfg(test)]
mod tests {
    use crate::podspec::validate::tests::lines;
    use serde_json::{Value, json};

    fn container(context: Value) -> Vec<String> {
        lines(json!({"containers": [{"name": "a", "image": "b", "securityContext": context}]}))
    }

    fn pod(context: Value) -> Vec<String> {
        lines(json!({"containers": [{"name": "a", "image": "b"}], "securityContext": context}))
    }

    #[test]
    fn contradictions_and_ranges() {
        assert_eq!(
            container(json!({"runAsUser": -1})),
            [
                "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, \
                 inclusive"
            ]
        );
        assert!(
            container(json!({"privileged": true, "allowPrivilegeEscalation": false}))[0]
                .ends_with("cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
        );
        assert_eq!(
            container(json!({"runAsNonRoot": true, "runAsUser": 1000})),
            Vec::<String>::new()
        );
    }

    #[test]
    fn profiles_and_sysctls() {
        assert_eq!(
            pod(json!({"seccompProfile": {"type": "Localhost"}})),
            [
                "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type \
                 is Localhost"
            ]
        );
        assert_eq!(
            pod(json!({"seccompProfile": {"type": "RuntimeDefault"}})),
            Vec::<String>::new()
        );
        assert_eq!(
            pod(json!({"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]})),
            Vec::<String>::new()
        );
        assert!(pod(json!({"sysctls": [{"name": "Net"}]}))[0].contains("must have at most 253 characters"));
    }
}
