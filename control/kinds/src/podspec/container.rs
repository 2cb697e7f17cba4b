//! Validation of containers: init, regular and (on a running pod) ephemeral ones.

use serde_json::Value;

use super::validate::Scope;
use super::{env, is_sidecar, probe, resources, security, volume};
use crate::names;
use crate::path::{Errors, Path};
use crate::value::{self, at, list_at, text};

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// Checks all containers of a pod specification.
pub fn all(scope: Scope<'_>, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("containers");
    let containers = list_at(scope.spec, &["containers"]);
    let inits = list_at(scope.spec, &["initContainers"]);
    if containers.is_empty() {
        errors.required(&list, "");
    }
    let mut names: Vec<&str> = Vec::with_capacity(containers.len() + inits.len());
    let mut host_ports: Vec<(&str, &str, i64)> = Vec::new();
    for (i, container) in containers.iter().enumerate() {
        let item = list.index(i);
        common(scope, container, &item, &mut names, errors);
        running(container, &item, errors);
        if container.get("restartPolicy").is_some() {
            errors.forbidden(&item.child("restartPolicy"), "may not be set for non-init containers");
        }
        unique_host_ports(container, &item, &mut host_ports, errors);
    }
    let list = path.child("initContainers");
    for (i, container) in inits.iter().enumerate() {
        let item = list.index(i);
        common(scope, container, &item, &mut names, errors);
        if is_sidecar(container) {
            running(container, &item, errors);
        } else {
            only_for_sidecars(container, &item, errors);
        }
        errors.optional_one_of(
            &item.child("restartPolicy"),
            container.get("restartPolicy"),
            &["Always"],
        );
        // Init containers run one after the other, so that a port may repeat between them.
        unique_host_ports(container, &item, &mut Vec::new(), errors);
    }
    let list = path.child("ephemeralContainers");
    for (i, container) in list_at(scope.spec, &["ephemeralContainers"]).iter().enumerate() {
        let item = list.index(i);
        common(scope, container, &item, &mut names, errors);
        let target = text(container, "targetContainerName");
        if !target.is_empty() && !containers.iter().any(|c| text(c, "name") == target) {
            errors.not_found(&item.child("targetContainerName"), target);
        }
        for key in [
            "ports",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
            "resizePolicy",
        ] {
            if at(container, &[key]).is_some() {
                errors.forbidden(&item.child(key), "cannot be set for an Ephemeral Container");
            }
        }
        if at(container, &["resources"])
            .and_then(Value::as_object)
            .is_some_and(|m| !m.is_empty())
        {
            errors.forbidden(&item.child("resources"), "cannot be set for an Ephemeral Container");
        }
    }
}

fn common<'a>(scope: Scope<'_>, c: &'a Value, path: &Path<'_>, names: &mut Vec<&'a str>, errors: &mut Errors) {
    let name = text(c, "name");
    let name_path = path.child("name");
    if name.is_empty() {
        errors.required(&name_path, "");
    } else {
        errors.invalid_each(&name_path, name, names::label_errors(name));
    }
    if names.contains(&name) {
        errors.duplicate(&name_path, name);
    } else if !name.is_empty() {
        names.push(name);
    }
    let image = text(c, "image");
    if image.is_empty() {
        errors.required(&path.child("image"), "");
    } else if scope.is_pod && image.trim() != image {
        errors.invalid(
            &path.child("image"),
            image,
            "must not have leading or trailing whitespace",
        );
    }
    errors.one_of(
        &path.child("terminationMessagePolicy"),
        text(c, "terminationMessagePolicy"),
        &["FallbackToLogsOnError", "File"],
    );
    errors.one_of(
        &path.child("imagePullPolicy"),
        text(c, "imagePullPolicy"),
        &PULL_POLICIES,
    );
    ports(c, path, errors);
    env::variables(c, path, errors);
    volume::mounts(scope.spec, c, path, errors);
    if let Some(resources) = at(c, &["resources"]) {
        let claims = list_at(scope.spec, &["resourceClaims"]);
        resources::requirements(resources, claims, &path.child("resources"), errors);
    }
    let list = path.child("resizePolicy");
    for (i, policy) in list_at(c, &["resizePolicy"]).iter().enumerate() {
        let item = list.index(i);
        errors.one_of(
            &item.child("resourceName"),
            text(policy, "resourceName"),
            &["cpu", "memory"],
        );
        let restarts = ["NotRequired", "RestartContainer"];
        errors.one_of(&item.child("restartPolicy"), text(policy, "restartPolicy"), &restarts);
    }
    if let Some(context) = at(c, &["securityContext"]) {
        security::container(context, &path.child("securityContext"), errors);
    }
}

/// Probes and hooks of containers that keep running.
fn running(c: &Value, path: &Path<'_>, errors: &mut Errors) {
    if let Some(lifecycle) = at(c, &["lifecycle"]) {
        let base = path.child("lifecycle");
        for key in ["postStart", "preStop"] {
            if let Some(handler) = at(lifecycle, &[key]) {
                probe::handler(handler, probe::HOOKS, &base.child(key), errors);
            }
        }
    }
    for kind in [probe::Use::Liveness, probe::Use::Readiness, probe::Use::Startup] {
        if let Some(settings) = at(c, &[kind.key()]) {
            probe::probe(settings, kind, &path.child(kind.key()), errors);
        }
    }
}

fn only_for_sidecars(c: &Value, path: &Path<'_>, errors: &mut Errors) {
    for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if at(c, &[key]).is_some() {
            errors.forbidden(
                &path.child(key),
                "may not be set for init containers without restartPolicy=Always",
            );
        }
    }
}

fn ports(c: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("ports");
    let mut seen: Vec<&str> = Vec::new();
    for (i, port) in list_at(c, &["ports"]).iter().enumerate() {
        let item = list.index(i);
        let name = text(port, "name");
        if !name.is_empty() {
            let messages = names::port_name_errors(name);
            if !messages.is_empty() {
                errors.invalid_each(&item.child("name"), name, messages);
            } else if seen.contains(&name) {
                errors.duplicate(&item.child("name"), name);
            } else {
                seen.push(name);
            }
        }
        match value::i64_at(port, &["containerPort"]) {
            None | Some(0) => errors.required(&item.child("containerPort"), ""),
            Some(number) => {
                if let Some(detail) = names::port_errors(number) {
                    errors.invalid(&item.child("containerPort"), number, detail);
                }
            }
        }
        if let Some(number) = value::i64_at(port, &["hostPort"]).filter(|n| *n != 0)
            && let Some(detail) = names::port_errors(number)
        {
            errors.invalid(&item.child("hostPort"), number, detail);
        }
        errors.one_of(&item.child("protocol"), text(port, "protocol"), &PROTOCOLS);
        let address = text(port, "hostIP");
        if !address.is_empty() && names::ip(address).is_none() {
            errors.invalid(&item.child("hostIP"), address, names::IP_MESSAGE);
        }
    }
}

fn unique_host_ports<'a>(c: &'a Value, path: &Path<'_>, seen: &mut Vec<(&'a str, &'a str, i64)>, errors: &mut Errors) {
    let list = path.child("ports");
    for (i, port) in list_at(c, &["ports"]).iter().enumerate() {
        let number = value::i64_at(port, &["hostPort"]).unwrap_or(0);
        if number == 0 {
            continue;
        }
        let key = (text(port, "protocol"), text(port, "hostIP"), number);
        if seen.contains(&key) {
            let item = list.index(i);
            errors.duplicate(&item.child("hostPort"), format!("{}/{}/{}", key.0, key.1, key.2));
        } else {
            seen.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::podspec::validate::tests::lines;
    use serde_json::{Value, json};

    fn with(key: &str, v: Value) -> Vec<String> {
        let mut container = json!({"name": "a", "image": "b"});
        container[key] = v;
        lines(json!({"containers": [container]}))
    }

    #[test]
    fn names_and_images() {
        assert_eq!(
            lines(json!({"containers": [{"image": "b"}]})),
            ["spec.containers[0].name: Required value"]
        );
        assert_eq!(
            lines(json!({"containers": [{"name": "a"}]})),
            ["spec.containers[0].image: Required value"]
        );
        assert!(
            with("name", json!("A"))[0]
                .starts_with(r#"spec.containers[0].name: Invalid value: "A": a lowercase RFC 1123 label must consist"#)
        );
        assert_eq!(
            lines(json!({"containers": [{"name": "a", "image": "b"}, {"name": "a", "image": "b"}]})),
            [r#"spec.containers[1].name: Duplicate value: "a""#]
        );
        assert_eq!(
            with("image", json!(" nginx")),
            [r#"spec.containers[0].image: Invalid value: " nginx": must not have leading or trailing whitespace"#]
        );
        assert_eq!(
            with("imagePullPolicy", json!("Maybe")),
            [
                r#"spec.containers[0].imagePullPolicy: Unsupported value: "Maybe": supported values: "Always", "IfNotPresent", "Never""#
            ]
        );
    }

    #[test]
    fn port_numbers_names_and_protocols() {
        assert_eq!(
            with("ports", json!([{"containerPort": 70000}])),
            ["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"]
        );
        assert_eq!(
            with("ports", json!([{"name": "x"}])),
            ["spec.containers[0].ports[0].containerPort: Required value"]
        );
        assert_eq!(
            with("ports", json!([{"containerPort": 1, "protocol": "tcp"}])),
            [
                r#"spec.containers[0].ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP""#
            ]
        );
        assert_eq!(
            with(
                "ports",
                json!([{"containerPort": 1, "name": "x"}, {"containerPort": 2, "name": "x"}])
            ),
            [r#"spec.containers[0].ports[1].name: Duplicate value: "x""#]
        );
        assert_eq!(
            with(
                "ports",
                json!([{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}])
            ),
            [r#"spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//9""#]
        );
    }

    #[test]
    fn init_containers_have_no_probes_unless_sidecars() {
        let mut init = json!({"name": "i", "image": "b", "readinessProbe": {"exec": {"command": ["true"]}}});
        let spec = |init: &Value| json!({"containers": [{"name": "a", "image": "b"}], "initContainers": [init]});
        assert_eq!(
            lines(spec(&init)),
            [
                "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without \
                 restartPolicy=Always"
            ]
        );
        init["restartPolicy"] = json!("Always");
        assert_eq!(lines(spec(&init)), Vec::<String>::new());
    }
}
