//! Validation of a whole pod specification.

use serde_json::Value;

use super::{container, scheduling, security, volume};
use crate::names;
use crate::path::{Errors, Path};
use crate::value::{self, at, bool_at, list_at, text};

/// What the checks of parts need to know about the whole.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The pod specification.
    pub spec: &'a Value,
    /// A Pod, or only a template of Pods.
    pub is_pod: bool,
}

/// Checks a pod specification. The object is expected to have its defaults.
pub fn pod_spec(spec: &Value, is_pod: bool, path: &Path<'_>, errors: &mut Errors) {
    let scope = Scope { spec, is_pod };
    volume::volumes(spec, path, errors);
    container::all(scope, path, errors);
    errors.one_of(
        &path.child("restartPolicy"),
        text(spec, "restartPolicy"),
        &["Always", "Never", "OnFailure"],
    );
    dns(spec, path, errors);
    if let Some(deadline) = value::i64_at(spec, &["activeDeadlineSeconds"])
        && !(1..=i64::from(i32::MAX)).contains(&deadline)
    {
        let detail = "must be between 1 and 2147483647, inclusive";
        errors.invalid(&path.child("activeDeadlineSeconds"), deadline, detail);
    }
    let pod_claims = list_at(spec, &["resourceClaims"]);
    if let Some(resources) = at(spec, &["resources"]) {
        super::resources::requirements(resources, pod_claims, &path.child("resources"), errors);
    }
    security::pod(spec, path, errors);
    scheduling::scheduling(spec, path, errors);
    host_network(scope, path, errors);
    for key in [
        "serviceAccountName",
        "nodeName",
        "runtimeClassName",
        "priorityClassName",
    ] {
        let name = text(spec, key);
        if !name.is_empty() {
            errors.invalid_each(&path.child(key), name, names::subdomain_errors(name));
        }
    }
    for key in ["hostname", "subdomain"] {
        let name = text(spec, key);
        if !name.is_empty() {
            errors.invalid_each(&path.child(key), name, names::label_errors(name));
        }
    }
    errors.optional_one_of(
        &path.child("preemptionPolicy"),
        spec.get("preemptionPolicy"),
        &["Never", "PreemptLowerPriority"],
    );
    host_aliases(spec, path, errors);
    gates(spec, path, errors);
    let os = path.child("os.name");
    if at(spec, &["os"]).is_some() {
        errors.one_of(
            &os,
            value::str_at(spec, &["os", "name"]).unwrap_or(""),
            &["linux", "windows"],
        );
    }
    if bool_at(spec, &["shareProcessNamespace"]) && bool_at(spec, &["hostPID"]) {
        errors.invalid(
            &path.child("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        );
    }
}

fn dns(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let policy = text(spec, "dnsPolicy");
    let policies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    errors.one_of(&path.child("dnsPolicy"), policy, &policies);
    let config_path = path.child("dnsConfig");
    let config = at(spec, &["dnsConfig"]);
    let servers_path = config_path.child("nameservers");
    let servers = config.map_or(&[][..], |c| list_at(c, &["nameservers"]));
    if policy == "None" && servers.is_empty() {
        if config.is_none() {
            errors.required(&config_path, "must provide `dnsConfig` when `dnsPolicy` is None");
        } else {
            errors.required(
                &servers_path,
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            );
        }
    }
    let Some(config) = config else { return };
    if servers.len() > 3 {
        errors.invalid(&servers_path, servers.to_vec(), "must not have more than 3 nameservers");
    }
    for (i, server) in servers.iter().filter_map(Value::as_str).enumerate() {
        if names::ip(server).is_none() {
            errors.invalid(&servers_path.index(i), server, names::IP_MESSAGE);
        }
    }
    let searches_path = config_path.child("searches");
    let searches: Vec<&str> = value::strings(config, &["searches"]).collect();
    if searches.len() > 32 {
        errors.invalid(
            &searches_path,
            searches.clone(),
            "must not have more than 32 search paths",
        );
    }
    if searches.iter().map(|s| s.len() + 1).sum::<usize>() > 2049 {
        errors.invalid(
            &searches_path,
            searches.clone(),
            "must not have more than 2048 characters (including spaces) in the search list",
        );
    }
    for (i, search) in searches.iter().enumerate() {
        let name = search.strip_suffix('.').unwrap_or(search);
        if !name.is_empty() {
            // Search paths may have underscores, other than names of objects.
            errors.invalid_each(
                &searches_path.index(i),
                search,
                names::subdomain_errors(&name.replace('_', "-")),
            );
        }
    }
    let options_path = config_path.child("options");
    for (i, option) in list_at(config, &["options"]).iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.required(&options_path.index(i), "must not be empty");
        }
    }
}

/// In the host's network a container's port is a port of the host, so both numbers have to agree.
fn host_network(scope: Scope<'_>, path: &Path<'_>, errors: &mut Errors) {
    if !bool_at(scope.spec, &["hostNetwork"]) {
        return;
    }
    for list in ["containers", "initContainers"] {
        let containers = path.child(list);
        for (i, container) in list_at(scope.spec, &[list]).iter().enumerate() {
            let item = containers.index(i);
            let ports = item.child("ports");
            for (j, port) in list_at(container, &["ports"]).iter().enumerate() {
                let number = |key| value::i64_at(port, &[key]).unwrap_or(0);
                let (host, inner) = (number("hostPort"), number("containerPort"));
                if (scope.is_pod || host != 0) && host != inner {
                    let at = ports.index(j);
                    let detail = "must match `containerPort` when `hostNetwork` is true";
                    errors.invalid(&at.child("hostPort"), host, detail);
                }
            }
        }
    }
}

fn host_aliases(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("hostAliases");
    for (i, alias) in list_at(spec, &["hostAliases"]).iter().enumerate() {
        let item = list.index(i);
        let address = text(alias, "ip");
        if names::ip(address).is_none() {
            errors.invalid(&item.child("ip"), address, names::IP_MESSAGE);
        }
        for hostname in value::strings(alias, &["hostnames"]) {
            errors.invalid_each(&item.child("hostnames"), hostname, names::subdomain_errors(hostname));
        }
    }
}

fn gates(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("readinessGates");
    for (i, gate) in list_at(spec, &["readinessGates"]).iter().enumerate() {
        let kind = text(gate, "conditionType");
        let item = list.index(i);
        errors.invalid_each(&item.child("conditionType"), kind, names::qualified_name_errors(kind));
    }
    let list = path.child("schedulingGates");
    let mut seen: Vec<&str> = Vec::new();
    for (i, gate) in list_at(spec, &["schedulingGates"]).iter().enumerate() {
        let name = text(gate, "name");
        let item = list.index(i);
        errors.invalid_each(&item, name, names::qualified_name_errors(name));
        if seen.contains(&name) {
            errors.duplicate(&item, name);
        }
        seen.push(name);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::podspec::defaults;
    use serde_json::json;

    /// Errors of a pod specification after defaulting, one line each.
    pub(crate) fn lines(spec: Value) -> Vec<String> {
        let mut spec = spec;
        defaults::pod_spec(&mut spec);
        defaults::pod_only(&mut spec);
        let mut errors = Errors::new();
        pod_spec(&spec, true, &Path::new("spec"), &mut errors);
        errors.into_vec().iter().map(ToString::to_string).collect()
    }

    fn with(key: &str, v: Value) -> Vec<String> {
        lines(json!({"containers": [{"name": "a", "image": "b"}], key: v}))
    }

    #[test]
    fn a_plain_pod_is_fine_and_an_empty_one_is_not() {
        assert_eq!(with("hostname", json!("web")), Vec::<String>::new());
        assert_eq!(lines(json!({})), ["spec.containers: Required value"]);
    }

    #[test]
    fn enumerations_and_names() {
        assert_eq!(
            with("restartPolicy", json!("Sometimes")),
            [r#"spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure""#]
        );
        assert_eq!(
            with("dnsPolicy", json!("None")),
            ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]
        );
        assert_eq!(
            with("activeDeadlineSeconds", json!(0)),
            ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"]
        );
        assert!(with("nodeName", json!("N"))[0].starts_with(r#"spec.nodeName: Invalid value: "N": a lowercase RFC"#));
        assert!(with("hostname", json!("a.b"))[0].contains("RFC 1123 label"));
        assert_eq!(
            with("hostAliases", json!([{"ip": "x", "hostnames": ["ok"]}])),
            [
                r#"spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#
            ]
        );
    }

    #[test]
    fn host_network_ports_agree() {
        let spec = json!({"hostNetwork": true, "containers": [{"name": "a", "image": "b",
            "ports": [{"containerPort": 80, "hostPort": 81}]}]});
        assert_eq!(
            lines(spec),
            [
                "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when \
                 `hostNetwork` is true"
            ]
        );
    }
}
