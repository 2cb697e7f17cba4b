//! What a pod, or a template of pods, is warned about.

use std::collections::HashSet;
use std::fmt;

use serde_json::{Map, Value};

use super::CONTAINER_LISTS;
use crate::kinds::storage;
use crate::path::Path;
use crate::value::{at, i64_at, list_at, map_at, str_at, text};
use crate::warnings::{Warnings, old_node_label};

/// Resources whose amounts are bytes.
const BYTES: [&str; 2] = ["memory", "ephemeral-storage"];

const OLD_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APPARMOR_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";
const NO_SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const OLD_APPARMOR: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";

/// Kinds of volumes that are no longer carried out, or will not be.
pub const OLD_VOLUMES: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Warnings about a pod.
pub fn pod(pod: &Value, warnings: &mut Warnings) {
    Scope::new(pod, Path::new("spec"), Path::new("metadata.annotations")).all(warnings);
}

/// Warnings about a template.
pub fn template(template: &Value, path: &Path<'_>, warnings: &mut Warnings) {
    let metadata = path.child("metadata");
    Scope::new(template, path.child("spec"), metadata.child("annotations")).all(warnings);
}

/// A pod or template and where its parts are.
struct Scope<'a> {
    spec: &'a Value,
    metadata: &'a Value,
    path: Path<'a>,
    annotations: Path<'a>,
}

impl<'a> Scope<'a> {
    fn new(object: &'a Value, path: Path<'a>, annotations: Path<'a>) -> Self {
        static NOTHING: Value = Value::Null;
        Scope {
            spec: object.get("spec").unwrap_or(&NOTHING),
            metadata: object.get("metadata").unwrap_or(&NOTHING),
            path,
            annotations,
        }
    }

    fn all(&self, warnings: &mut Warnings) {
        self.node_labels(warnings);
        self.spread(warnings);
        for (key, what) in OLD_ANNOTATIONS {
            warnings.annotation(self.metadata, &self.annotations, key, what);
        }
        self.volumes(warnings);
        self.projected_paths(warnings);
        self.repeated(warnings);
        for name in BYTES {
            warnings.fraction(self.spec.get("overhead"), name, &self.path.child("overhead"));
        }
        if at(self.spec, &["securityContext", "seccompProfile"]).is_none() {
            warnings.annotation(self.metadata, &self.annotations, SECCOMP_POD, NO_SECCOMP);
        }
        self.each_container(|container, path| self.container(container, path, warnings));
        self.ports(warnings);
        self.pod_affinity(warnings);
    }

    fn each_container(&self, mut visit: impl FnMut(&'a Value, &Path<'_>)) {
        for key in CONTAINER_LISTS {
            let list = self.path.child(key);
            for (i, container) in list_at(self.spec, &[key]).iter().enumerate() {
                visit(container, &list.index(i));
            }
        }
    }

    fn node_labels(&self, warnings: &mut Warnings) {
        warnings.node_labels(map_at(self.spec, &["nodeSelector"]), &self.path.child("nodeSelector"));
        let Some(affinity) = at(self.spec, &["affinity", "nodeAffinity"]) else {
            return;
        };
        let path = self.path.child("affinity.nodeAffinity");
        if let Some(required) = at(affinity, &["requiredDuringSchedulingIgnoredDuringExecution"]) {
            let path = path.child("requiredDuringSchedulingIgnoredDuringExecution");
            warnings.node_terms(required, &path);
        }
        let key = "preferredDuringSchedulingIgnoredDuringExecution";
        let list = path.child(key);
        for (i, term) in list_at(affinity, &[key]).iter().enumerate() {
            if let Some(preference) = at(term, &["preference"]) {
                warnings.node_expressions(preference, &list.index(i).child("preference"));
            }
        }
    }

    fn spread(&self, warnings: &mut Warnings) {
        let list = self.path.child("topologySpreadConstraints");
        for (i, constraint) in list_at(self.spec, &["topologySpreadConstraints"]).iter().enumerate() {
            let item = list.index(i);
            let key = text(constraint, "topologyKey");
            if let Some(text) = old_node_label(key) {
                warnings.at(&item.child("topologyKey"), format_args!("{key} is {text}"));
            }
            selects_nothing(constraint, &item, warnings);
        }
    }

    fn volumes(&self, warnings: &mut Warnings) {
        let list = self.path.child("volumes");
        for (i, volume) in list_at(self.spec, &["volumes"]).iter().enumerate() {
            let item = list.index(i);
            for (kind, what) in OLD_VOLUMES {
                if at(volume, &[kind]).is_some() {
                    warnings.at(&item.child(shown(kind)), what);
                }
            }
            if let Some(spec) = at(volume, &["ephemeral", "volumeClaimTemplate", "spec"]) {
                storage::claim_warnings(spec, &item.child("ephemeral.volumeClaimTemplate.spec"), warnings);
            }
        }
    }

    /// Files that a token of the service account is projected over.
    fn projected_paths(&self, warnings: &mut Warnings) {
        let sources = |volume: &'a Value| list_at(volume, &["projected", "sources"]).iter();
        let volumes = list_at(self.spec, &["volumes"]);
        let tokens: HashSet<&str> = volumes
            .iter()
            .flat_map(sources)
            .filter_map(|source| at(source, &["serviceAccountToken"]))
            .map(|token| text(token, "path"))
            .collect();
        if tokens.is_empty() {
            return;
        }
        let mut taken = |path: &Path<'_>, file: &str| {
            if tokens.contains(file) {
                warnings.at(
                    path,
                    format_args!("has duplicated path with ServiceAccountToken {file:?}"),
                );
            }
        };
        let list = self.path.child("volumes");
        for (i, volume) in volumes.iter().enumerate() {
            let item = list.index(i);
            let path = item.child("projected.sources");
            for source in sources(volume) {
                for (key, shown) in [
                    ("configMap", "configMap"),
                    ("secret", "secrets"),
                    ("downwardAPI", "downwardAPI"),
                ] {
                    for (j, file) in list_at(source, &[key, "items"]).iter().enumerate() {
                        taken(&path.child(shown).index(j), text(file, "path"));
                    }
                }
                if let Some(bundle) = at(source, &["clusterTrustBundle"]) {
                    taken(&path.child("ClusterTrustBundle"), text(bundle, "path"));
                }
            }
        }
    }

    /// Items of lists that should not be there twice.
    fn repeated(&self, warnings: &mut Warnings) {
        for (key, field) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
            let mut seen = HashSet::new();
            let list = self.path.child(key);
            for (i, item) in list_at(self.spec, &[key]).iter().enumerate() {
                let value = text(item, field);
                if !seen.insert(value) {
                    warnings.at(&list.index(i).child(field), format_args!("duplicate {field} {value:?}"));
                }
            }
        }
        let list = self.path.child("imagePullSecrets");
        for (i, secret) in list_at(self.spec, &["imagePullSecrets"]).iter().enumerate() {
            if text(secret, "name").is_empty() {
                warnings.at(&list.index(i).child("name"), "invalid empty name \"\"");
            }
        }
    }

    fn container(&self, container: &Value, path: &Path<'_>, warnings: &mut Warnings) {
        let name = text(container, "name");
        let has = |profile: &str| at(container, &["securityContext", profile]).is_some();
        if !has("seccompProfile") {
            let key = format!("{SECCOMP_CONTAINER}{name}");
            warnings.annotation(self.metadata, &self.annotations, &key, NO_SECCOMP);
        }
        if !has("appArmorProfile") && at(self.spec, &["securityContext", "appArmorProfile"]).is_none() {
            let key = format!("{APPARMOR_CONTAINER}{name}");
            warnings.annotation(self.metadata, &self.annotations, &key, OLD_APPARMOR);
        }
        if let Some(resources) = at(container, &["resources"]) {
            warnings.fractions(resources, &BYTES, &path.child("resources"));
        }
        let mut seen = HashSet::new();
        let list = path.child("env");
        for (i, variable) in list_at(container, &["env"]).iter().enumerate() {
            let (name, value) = (text(variable, "name"), text(variable, "value"));
            let reference = format!("$({name})");
            // A value that is made of the former one hides nothing.
            let made_of_it = at(variable, &["valueFrom"]).is_none() && value != reference && value.contains(&reference);
            if !seen.insert(name) && !made_of_it {
                let what = format_args!("hides previous definition of {name:?}, which may be dropped when using apply");
                warnings.at(&list.index(i), what);
            }
        }
    }

    fn ports(&self, warnings: &mut Warnings) {
        let mut known: Vec<(Port, String)> = Vec::new();
        self.each_container(|container, path| {
            let list = path.child("ports");
            for (i, value) in list_at(container, &["ports"]).iter().enumerate() {
                let (item, port) = (list.index(i), Port::new(value));
                if !port.host_ip.is_empty() && port.host == 0 {
                    warnings.at(&item, format_args!("hostIP set without hostPort: {port}"));
                }
                for (other, path) in &known {
                    if let Some(how) = port.clashes(other) {
                        warnings.at(&item, format_args!("{how} port definition with {path}"));
                    }
                }
                known.push((port, item.to_string()));
            }
        });
    }

    fn pod_affinity(&self, warnings: &mut Warnings) {
        let Some(affinity) = at(self.spec, &["affinity"]) else {
            return;
        };
        let base = self.path.child("affinity");
        for kind in ["podAffinity", "podAntiAffinity"] {
            let path = base.child(kind);
            let key = "requiredDuringSchedulingIgnoredDuringExecution";
            let list = path.child(key);
            for (i, term) in list_at(affinity, &[kind, key]).iter().enumerate() {
                selects_nothing(term, &list.index(i), warnings);
            }
            let key = "preferredDuringSchedulingIgnoredDuringExecution";
            let list = path.child(key);
            for (i, term) in list_at(affinity, &[kind, key]).iter().enumerate() {
                if let Some(term) = at(term, &["podAffinityTerm"]) {
                    selects_nothing(term, &list.index(i).child("podAffinityTerm"), warnings);
                }
            }
        }
    }
}

/// The name of a kind of volume as warnings have it.
fn shown(kind: &str) -> &str {
    if kind == "storageos" { "storageOS" } else { kind }
}

/// As for pods, of a volume that is an object of its own.
pub fn volume(spec: &Map<String, Value>, path: &Path<'_>, warnings: &mut Warnings) {
    for (kind, what) in OLD_VOLUMES {
        if spec.get(kind).is_some_and(|source| !source.is_null()) {
            warnings.at(&path.child(shown(kind)), what);
        }
    }
}

fn selects_nothing(term: &Value, path: &Path<'_>, warnings: &mut Warnings) {
    if at(term, &["labelSelector"]).is_none() {
        let what = "a null labelSelector results in matching no pod";
        warnings.at(&path.child("labelSelector"), what);
    }
}

/// A container's port, shown as its type in Go is.
struct Port<'a> {
    name: &'a str,
    host: i64,
    container: i64,
    protocol: &'a str,
    host_ip: &'a str,
}

impl<'a> Port<'a> {
    fn new(port: &'a Value) -> Self {
        Port {
            name: text(port, "name"),
            host: i64_at(port, &["hostPort"]).unwrap_or(0),
            container: i64_at(port, &["containerPort"]).unwrap_or(0),
            protocol: str_at(port, &["protocol"]).unwrap_or(""),
            host_ip: text(port, "hostIP"),
        }
    }

    /// In what way two definitions are about the same port.
    fn clashes(&self, other: &Port<'_>) -> Option<&'static str> {
        if (self.container, self.protocol) != (other.container, other.protocol) {
            return None;
        }
        if (self.host_ip, self.host) == (other.host_ip, other.host) {
            Some("duplicate")
        } else if self.host == 0 || other.host == 0 {
            Some("overlapping")
        } else if self.host == other.host && self.host_ip.is_empty() != other.host_ip.is_empty() {
            Some("dangerously ambiguous")
        } else {
            None
        }
    }
}

impl fmt::Display for Port<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
            self.name, self.host, self.container, self.protocol, self.host_ip
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn warned(metadata: Value, spec: Value) -> Vec<String> {
        let mut warnings = Warnings::default();
        pod(&json!({"metadata": metadata, "spec": spec}), &mut warnings);
        warnings.into_vec()
    }

    #[test]
    fn what_is_old_is_named() {
        assert_eq!(
            warned(
                json!({"annotations": {SECCOMP_POD: "x", "scheduler.alpha.kubernetes.io/critical-pod": ""}}),
                json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}, "volumes": [{"gitRepo": {}}]})
            ),
            [
                "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the \
                 \"priorityClassName\" field instead",
                "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
                "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \
                 \"seccompProfile\" field instead",
            ]
        );
    }

    #[test]
    fn repetitions_are_named() {
        let container = json!({"name": "c",
            "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "3"}],
            "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "UDP"},
                {"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP", "hostPort": 8080}]});
        let secrets = json!([{"name": "s"}, {"name": "s"}, {}]);
        assert_eq!(
            warned(
                json!({}),
                json!({"containers": [container], "imagePullSecrets": secrets})
            ),
            [
                "spec.imagePullSecrets[1].name: duplicate name \"s\"",
                "spec.imagePullSecrets[2].name: invalid empty name \"\"",
                "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[0].ports[2]: duplicate port definition with spec.containers[0].ports[0]",
                "spec.containers[0].ports[3]: overlapping port definition with spec.containers[0].ports[0]",
                "spec.containers[0].ports[3]: overlapping port definition with spec.containers[0].ports[2]",
            ]
        );
    }

    #[test]
    fn templates_say_where_they_are() {
        let mut warnings = Warnings::default();
        let given = json!({"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/c": "x"}},
            "spec": {"containers": [{"name": "c"}], "topologySpreadConstraints": [{"topologyKey": "a"}]}});
        template(&given, &Path::new("spec.template"), &mut warnings);
        assert_eq!(
            warnings.into_vec(),
            [
                "spec.template.spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in \
                 matching no pod",
                "spec.template.metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since \
                 v1.30; use the \"appArmorProfile\" field instead",
            ]
        );
    }
}
