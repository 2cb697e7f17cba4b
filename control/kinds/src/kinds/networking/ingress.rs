//! Ingresses.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cells::Cell;
use crate::declared::{Declared, NewStatus, PLAIN, SPEC};
use crate::names;
use crate::path::{Errors, Path};
use crate::rules::{Check, rule, subdomain};
use crate::table::{AGE, NAME, shows};
use crate::value::{at, i64_at, list_at, str_at, strings, text};

const ANNOTATION: &str = "kubernetes.io/ingress.class";
const PATH: Path<'static> = Path::new("spec");
const SHOWN_HOSTS: usize = 3;

/// Ingresses.
pub static INGRESS: Declared = Declared {
    generation: SPEC,
    new_status: NewStatus::Empty,
    columns: &[
        NAME,
        shows(
            "Class",
            Cell::Text("spec.ingressClassName", "<none>"),
            "Class of the Ingress",
        ),
        shows("Hosts", Cell::By(hosts), "Hosts that requests are for"),
        shows("Address", Cell::By(address), "Where the Ingress is reached"),
        shows("Ports", Cell::By(ports), "Ports that are open"),
        AGE,
    ],
    rules: &[
        rule("spec.ingressClassName", Check::Text(subdomain)),
        rule("spec.tls[*].secretName", Check::Text(subdomain)),
    ],
    more_rules,
    status_rules: super::BALANCER,
    warn: |ingress, _, warnings| {
        if str_at(ingress, &["metadata", "annotations", ANNOTATION]).is_some() {
            warnings.say(format!(
                "annotation {ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead"
            ));
        }
    },
    ..PLAIN
};

fn more_rules(ingress: &Value, old: Option<&Value>, errors: &mut Errors) {
    let empty = json!({});
    let spec = at(ingress, &["spec"]).unwrap_or(&empty);
    let rules = list_at(spec, &["rules"]);
    let default = at(spec, &["defaultBackend"]);
    if rules.is_empty() && default.is_none() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.invalid(&PATH, rules.to_vec(), detail);
    }
    if let Some(default) = default {
        backend(default, &PATH.child("defaultBackend"), errors);
    }
    let list = PATH.child("rules");
    for (i, rule) in rules.iter().enumerate() {
        host_rule(rule, &list.index(i), errors);
    }
    let list = PATH.child("tls");
    for (i, tls) in list_at(spec, &["tls"]).iter().enumerate() {
        let item = list.index(i);
        let hosts = item.child("hosts");
        for (j, host) in strings(tls, &["hosts"]).enumerate() {
            errors.invalid_each(&hosts.index(j), host, host_errors(host));
        }
    }
    let annotated = str_at(ingress, &["metadata", "annotations", ANNOTATION]);
    if let (None, Some(class), Some(_)) = (old, annotated, str_at(spec, &["ingressClassName"])) {
        let path = Path::new("metadata.annotations");
        let detail = "can not be set when the class field is also set";
        errors.invalid(&path.child(ANNOTATION), class, detail);
    }
}

fn host_errors(host: &str) -> Vec<String> {
    if host.contains('*') {
        names::wildcard_subdomain_errors(host)
    } else {
        names::subdomain_errors(host)
    }
}

fn host_rule(rule: &Value, path: &Path<'_>, errors: &mut Errors) {
    let host = text(rule, "host");
    if !host.is_empty() {
        let at = path.child("host");
        if names::ip(host).is_some() {
            errors.invalid(&at, host, "must be a DNS name, not an IP address");
        }
        errors.invalid_each(&at, host, host_errors(host));
    }
    let Some(http) = at(rule, &["http"]) else { return };
    let list = path.child("http.paths");
    let paths = list_at(http, &["paths"]);
    if paths.is_empty() {
        errors.required(&list, "");
    }
    for (i, one) in paths.iter().enumerate() {
        let item = list.index(i);
        http_path(one, &item, errors);
        backend(
            at(one, &["backend"]).unwrap_or(&Value::Null),
            &item.child("backend"),
            errors,
        );
    }
}

fn http_path(one: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (kind, content) = (text(one, "pathType"), text(one, "path"));
    let at = path.child("path");
    match kind {
        "" if one.get("pathType").is_none() => errors.required(&path.child("pathType"), "pathType must be specified"),
        "Exact" | "Prefix" => {
            if !content.starts_with('/') {
                errors.invalid(&at, content, "must be an absolute path");
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"]
                .into_iter()
                .filter(|p| content.contains(p))
            {
                errors.invalid(&at, content, format!("must not contain '{part}'"));
            }
            for end in ["/..", "/."].into_iter().filter(|e| content.ends_with(e)) {
                errors.invalid(&at, content, format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" if !content.is_empty() && !content.starts_with('/') => {
            errors.invalid(&at, content, "must be an absolute path");
        }
        _ => {
            let supported = ["Exact", "ImplementationSpecific", "Prefix"];
            errors.optional_one_of(&path.child("pathType"), one.get("pathType"), &supported);
        }
    }
}

fn backend(backend: &Value, path: &Path<'_>, errors: &mut Errors) {
    match (at(backend, &["service"]), at(backend, &["resource"])) {
        (Some(_), Some(_)) => errors.invalid(path, "", "cannot set both resource and service backends"),
        (None, None) => errors.invalid(path, "", "resource or service backend is required"),
        (None, Some(resource)) => {
            let at = path.child("resource");
            if let Some(group) = str_at(resource, &["apiGroup"]) {
                errors.invalid_each(&at.child("apiGroup"), group, names::subdomain_errors(group));
            }
            for key in ["kind", "name"] {
                match text(resource, key) {
                    "" => errors.required(&at.child(key), &format!("{key} is required")),
                    name => errors.invalid_each(&at.child(key), name, names::path_segment_errors(name)),
                }
            }
        }
        (Some(service), None) => {
            let at = path.child("service");
            let name = text(service, "name");
            if name.is_empty() {
                errors.required(&at.child("name"), "");
            } else {
                errors.invalid_each(&at.child("name"), name, names::label1035_errors(name));
            }
            let port_name = str_at(service, &["port", "name"]);
            let number = i64_at(service, &["port", "number"]).filter(|n| *n != 0);
            match (port_name, number) {
                (Some(_), Some(_)) => errors.invalid(&at, "", "cannot set both port name & port number"),
                (Some(name), None) => {
                    errors.invalid_each(&at.child("port.name"), name, names::port_name_errors(name));
                }
                (None, Some(number)) => {
                    if let Some(detail) = names::port_errors(number) {
                        errors.invalid(&at.child("port.number"), number, detail);
                    }
                }
                (None, None) => errors.required(&at, "port name or number is required"),
            }
        }
    }
}

fn hosts(ingress: &Value, _now: Timestamp) -> Value {
    let rules = list_at(ingress, &["spec", "rules"]);
    let named: Vec<&str> = rules
        .iter()
        .map(|r| text(r, "host"))
        .filter(|h| !h.is_empty())
        .collect();
    if named.is_empty() {
        return "*".into();
    }
    let shown = named.iter().take(SHOWN_HOSTS).copied().collect::<Vec<_>>().join(",");
    if named.len() > SHOWN_HOSTS || (named.len() == SHOWN_HOSTS && rules.len() > SHOWN_HOSTS) {
        return format!("{shown} + {} more...", rules.len() - SHOWN_HOSTS).into();
    }
    shown.into()
}

fn address(ingress: &Value, _now: Timestamp) -> Value {
    let points = list_at(ingress, &["status", "loadBalancer", "ingress"]).iter();
    let mut all: Vec<&str> = points
        .filter_map(|p| str_at(p, &["ip"]).or(str_at(p, &["hostname"])))
        .collect();
    all.sort_unstable();
    all.dedup();
    all.join(",").into()
}

fn ports(ingress: &Value, _now: Timestamp) -> Value {
    match list_at(ingress, &["spec", "tls"]) {
        [] => "80",
        _ => "80, 443",
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;

    fn ingress() -> Value {
        json!({"metadata": {"name": "i", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {
            "ingressClassName": "c", "tls": [{"hosts": ["a.example.com"], "secretName": "s"}], "rules": [{"host": "a.example.com",
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}})
    }

    fn lines(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut obj = ingress();
        change(&mut obj);
        INGRESS.validate(&obj, None).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rows() {
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(
            INGRESS.cells(&ingress(), now),
            ["i", "c", "a.example.com", "192.0.2.1", "80, 443", "1s"]
        );
    }

    #[test]
    fn mistakes_are_reported() {
        assert_eq!(lines(|_| {}), Vec::<String>::new());
        assert_eq!(
            lines(|i| i["spec"] = json!({})),
            ["spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"]
        );
        assert_eq!(
            lines(|i| i["spec"]["rules"][0]["host"] = json!("192.0.2.1")),
            [r#"spec.rules[0].host: Invalid value: "192.0.2.1": must be a DNS name, not an IP address"#]
        );
        let path = |path: Value| lines(|i| i["spec"]["rules"][0]["http"]["paths"][0] = path);
        assert_eq!(
            path(json!({"path": "x//y", "backend": {"service": {"name": "web", "port": {}}}, "pathType": "Exact"})),
            [
                "spec.rules[0].http.paths[0].path: Invalid value: \"x//y\": must be an absolute path",
                "spec.rules[0].http.paths[0].path: Invalid value: \"x//y\": must not contain '//'",
                "spec.rules[0].http.paths[0].backend.service: Required value: port name or number is required"
            ]
        );
        assert_eq!(
            path(json!({"path": "/", "backend": {}})),
            [
                "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
                "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required"
            ]
        );
        assert!(
            lines(|i| i["spec"]["rules"][0]["host"] = json!("a.*.com"))[0].contains("a wildcard DNS-1123 subdomain")
        );
        assert_eq!(
            lines(|i| i["spec"]["rules"][0]["host"] = json!("*.example.com")),
            Vec::<String>::new()
        );
    }
}
