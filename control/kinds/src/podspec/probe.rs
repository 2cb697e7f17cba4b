//! Validation of probes, lifecycle hooks and the actions both consist of.

use serde_json::Value;

use crate::names;
use crate::path::{Errors, Path};
use crate::value::{self, at, list_at, text};

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Restarts a container that hangs.
    Liveness,
    /// Takes a container out of Services.
    Readiness,
    /// Holds the other two back.
    Startup,
}

impl Use {
    /// The field of the container.
    pub fn key(self) -> &'static str {
        match self {
            Use::Liveness => "livenessProbe",
            Use::Readiness => "readinessProbe",
            Use::Startup => "startupProbe",
        }
    }
}

/// Actions of probes.
pub const PROBES: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc"];
/// Actions of lifecycle hooks.
pub const HOOKS: &[&str] = &["exec", "httpGet", "tcpSocket", "sleep"];

/// Checks a probe.
pub fn probe(probe: &Value, purpose: Use, path: &Path<'_>, errors: &mut Errors) {
    handler(probe, PROBES, path, errors);
    for key in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        errors.not_negative(&path.child(key), value::i64_at(probe, &[key]));
    }
    let grace_path = path.child("terminationGracePeriodSeconds");
    if let Some(grace) = value::i64_at(probe, &["terminationGracePeriodSeconds"]) {
        if purpose == Use::Readiness {
            errors.invalid(&grace_path, grace, "must not be set for readinessProbes");
        } else if grace <= 0 {
            errors.invalid(&grace_path, grace, "must be greater than 0");
        }
    }
    if let Some(threshold) = value::i64_at(probe, &["successThreshold"])
        && purpose != Use::Readiness
        && threshold != 1
    {
        errors.invalid(&path.child("successThreshold"), threshold, "must be 1");
    }
}

/// Checks that exactly one of the allowed actions is set, and that action.
pub fn handler(handler: &Value, allowed: &[&str], path: &Path<'_>, errors: &mut Errors) {
    let mut count = 0;
    for key in allowed {
        let Some(action) = at(handler, &[key]) else { continue };
        let at = path.child(key);
        count += 1;
        if count > 1 {
            errors.forbidden(&at, "may not specify more than 1 handler type");
            continue;
        }
        match *key {
            "exec" => {
                if list_at(action, &["command"]).is_empty() {
                    errors.required(&at.child("command"), "");
                }
            }
            "httpGet" => http_get(action, &at, errors),
            "tcpSocket" => port(action, &at.child("port"), errors),
            "grpc" => {
                let number = value::i64_at(action, &["port"]).unwrap_or(0);
                if let Some(detail) = names::port_errors(number) {
                    errors.invalid(&at.child("port"), number, detail);
                }
            }
            _ => {
                let seconds = value::i64_at(action, &["seconds"]).unwrap_or(0);
                if seconds < 0 {
                    errors.invalid(&at.child("seconds"), seconds, "must be greater than or equal to 0");
                }
            }
        }
    }
    if count == 0 {
        errors.required(path, "must specify a handler type");
    }
}

fn http_get(action: &Value, path: &Path<'_>, errors: &mut Errors) {
    if text(action, "path").is_empty() {
        errors.required(&path.child("path"), "");
    }
    port(action, &path.child("port"), errors);
    errors.one_of(&path.child("scheme"), text(action, "scheme"), &["HTTP", "HTTPS"]);
    let list = path.child("httpHeaders");
    for (i, header) in list_at(action, &["httpHeaders"]).iter().enumerate() {
        let name = text(header, "name");
        let item = list.index(i);
        errors.invalid_each(&item, name, names::header_name_errors(name));
    }
}

fn port(action: &Value, path: &Path<'_>, errors: &mut Errors) {
    match action.get("port") {
        Some(Value::String(name)) => errors.invalid_each(path, name, names::port_name_errors(name)),
        other => {
            let number = other.and_then(Value::as_i64).unwrap_or(0);
            if let Some(detail) = names::port_errors(number) {
                errors.invalid(path, number, detail);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::podspec::validate::tests::lines;
    use serde_json::{Value, json};

    fn probe(kind: &str, settings: Value) -> Vec<String> {
        let mut container = json!({"name": "a", "image": "b"});
        container[kind] = settings;
        lines(json!({"containers": [container]}))
    }

    #[test]
    fn probes_have_one_action() {
        assert_eq!(
            probe("livenessProbe", json!({"tcpSocket": {"port": "http"}})),
            Vec::<String>::new()
        );
        assert_eq!(
            probe("livenessProbe", json!({})),
            ["spec.containers[0].livenessProbe: Required value: must specify a handler type"]
        );
        assert_eq!(
            probe(
                "livenessProbe",
                json!({"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}})
            ),
            ["spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"]
        );
        assert_eq!(
            probe("readinessProbe", json!({"exec": {}})),
            ["spec.containers[0].readinessProbe.exec.command: Required value"]
        );
        assert_eq!(
            probe("readinessProbe", json!({"httpGet": {"port": 0}})),
            [
                "spec.containers[0].readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, \
                 inclusive"
            ]
        );
    }

    #[test]
    fn numbers_of_probes() {
        let exec = |more: Value| {
            let mut settings = json!({"exec": {"command": ["true"]}});
            settings
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            settings
        };
        assert_eq!(
            probe("livenessProbe", exec(json!({"periodSeconds": -1}))),
            ["spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"]
        );
        assert_eq!(
            probe("livenessProbe", exec(json!({"successThreshold": 2}))),
            ["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"]
        );
        assert_eq!(
            probe("readinessProbe", exec(json!({"successThreshold": 2}))),
            Vec::<String>::new()
        );
        assert_eq!(
            probe("readinessProbe", exec(json!({"terminationGracePeriodSeconds": 2})))[0],
            "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 2: must not be set for \
             readinessProbes"
        );
    }
}
