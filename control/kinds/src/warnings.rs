//! What a client is told although its object is stored: fields that do nothing any more, and values that surprise.

use std::fmt::Display;

use serde_json::{Map, Value};

use crate::names;
use crate::path::Path;
use crate::quantity::Quantity;
use crate::value::{at, list_at, map_at, str_at, text};
use crate::walk;

/// Workloads and where their pod templates are.
const TEMPLATES: [(&str, &str, &[&str]); 8] = [
    ("", "podtemplates", &["template"]),
    ("", "replicationcontrollers", &["spec", "template"]),
    ("apps", "daemonsets", &["spec", "template"]),
    ("apps", "deployments", &["spec", "template"]),
    ("apps", "replicasets", &["spec", "template"]),
    ("apps", "statefulsets", &["spec", "template"]),
    ("batch", "cronjobs", &["spec", "jobTemplate", "spec", "template"]),
    ("batch", "jobs", &["spec", "template"]),
];

/// Kinds whose names become parts of those of pods.
const NAMED_AFTER: [(&str, &str); 6] = [
    ("", "replicationcontrollers"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
    ("batch", "cronjobs"),
    ("batch", "jobs"),
];

/// Labels of nodes that have another name now.
const NODE_LABELS: [(&str, &str); 5] = [
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
];

/// Annotations of pods that became fields.
const POD_ANNOTATIONS: [(&str, &str); 3] = [
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

/// Volumes that nothing mounts any more.
const VOLUMES: [(&str, &str); 9] = [
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

const CLASS_ANNOTATION: [(&str, &str); 1] = [(
    "volume.beta.kubernetes.io/storage-class",
    "deprecated since v1.8; use \"storageClassName\" attribute instead",
)];

const ACCOUNT_ANNOTATION: [(&str, &str); 1] = [(
    "kubernetes.io/enforce-mountable-secrets",
    "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets",
)];

/// Where the pod template of a resource is.
pub fn template_path(group: &str, resource: &str) -> Option<&'static [&'static str]> {
    let found = TEMPLATES
        .iter()
        .find(|(of, plural, _)| (*of, *plural) == (group, resource));
    found.map(|(_, _, path)| *path)
}

/// What to tell about a new object, or about an update of `old`.
pub fn of(group: &str, resource: &str, new: &Value, old: Option<&Value>) -> Vec<String> {
    let mut said = Said(Vec::new());
    match (group, resource) {
        ("", "pods") => {
            let looked_at =
                |pod: &Value| [at(pod, &["spec"]), at(pod, &["metadata", "annotations"])].map(|it| it.cloned());
            if old.is_none_or(|old| looked_at(old) != looked_at(new)) {
                pod(new, None, &mut said);
            }
        }
        ("", "services") => service(new, &mut said),
        ("", "serviceaccounts") => said.keys(new, "metadata.annotations", None, &ACCOUNT_ANNOTATION),
        ("", "persistentvolumeclaims") => claim(new, &mut said),
        ("", "persistentvolumes") => volume(new, &mut said),
        ("", "nodes") if str_at(new, &["spec", "externalID"]).is_some() => {
            said.add(
                "spec.externalID",
                "this field is deprecated, and is unused by Kubernetes",
            );
        }
        ("networking.k8s.io", "ingresses")
            if old.is_none() && at(new, &["metadata", "annotations", "kubernetes.io/ingress.class"]).is_some() =>
        {
            let text =
                "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead";
            said.0.push(text.to_owned());
        }
        ("node.k8s.io", "runtimeclasses") => said.keys(new, "scheduling.nodeSelector", None, &NODE_LABELS),
        ("storage.k8s.io", "storageclasses") => {
            said.values(new, "allowedTopologies[*].matchLabelExpressions[*].key", None);
        }
        _ => {}
    }
    if let Some(path) = template_path(group, resource)
        && let Some(template) = at(new, path)
        && old.is_none_or(|old| at(old, path) != Some(template))
    {
        let joined = path.join(".");
        pod(template, Some(&Path::new(&joined)), &mut said);
    }
    if old.is_none() {
        name(group, resource, new, &mut said);
    }
    said.0
}

/// What to tell of finalizers that do not say whose they are, if they are new.
pub fn of_finalizers(new: &Value, old: Option<&Value>) -> Vec<String> {
    let list = |object| list_at(object, &["metadata", "finalizers"]);
    let before = old.map(list).unwrap_or_default();
    let bare = |finalizer: &&Value| finalizer.as_str().is_some_and(|text| !text.contains('/'));
    let standard = |finalizer: &Value| finalizer == crate::delete::ORPHAN || finalizer == crate::delete::FOREGROUND;
    let new = list(new).iter().filter(bare);
    let new = new.filter(|finalizer| !before.contains(finalizer) && !standard(finalizer));
    new.map(|finalizer| {
        format!(
            "metadata.finalizers: {finalizer}: prefer a domain-qualified finalizer name including a path (/) to avoid \
             accidental conflicts with other finalizer writers"
        )
    })
    .collect()
}

struct Said(Vec<String>);

impl Said {
    fn add(&mut self, path: impl Display, what: impl Display) {
        self.0.push(format!("{path}: {what}"));
    }

    /// Tells of keys of a map.
    fn keys(&mut self, object: &Value, pattern: &str, base: Option<&Path<'_>>, known: &[(&str, &str)]) {
        each(object, pattern, base, &mut |map, path| {
            for (key, what) in known {
                if map.as_object().is_some_and(|map| map.contains_key(*key)) {
                    self.add(path.key(key), what);
                }
            }
        });
    }

    /// Tells of names of node labels.
    fn values(&mut self, object: &Value, pattern: &str, base: Option<&Path<'_>>) {
        each(object, pattern, base, &mut |value, path| {
            if let Some((key, what)) = NODE_LABELS.iter().find(|(key, _)| value == key) {
                self.add(path, format_args!("{key} is {what}"));
            }
        });
    }

    /// Tells of amounts of memory that are no whole number of bytes.
    fn fractions(&mut self, object: &Value, pattern: &str, base: Option<&Path<'_>>) {
        each(object, pattern, base, &mut |map, path| {
            for (name, amount) in map.as_object().into_iter().flatten() {
                let in_bytes = matches!(name.as_str(), "memory" | "ephemeral-storage" | "storage");
                let amount = Quantity::from_value(amount)
                    .ok()
                    .filter(|amount| in_bytes && !amount.is_integer());
                if let Some(amount) = amount {
                    let shown = format!("fractional byte value \"{amount}\" is invalid, must be an integer");
                    self.add(path.key(name), shown);
                }
            }
        });
    }
}

fn each(object: &Value, pattern: &str, base: Option<&Path<'_>>, visit: &mut dyn FnMut(&Value, &Path<'_>)) {
    let mut present = |value: Option<&Value>, path: &Path<'_>| {
        if let Some(value) = value {
            visit(value, path);
        }
    };
    match base {
        Some(base) => walk::each_below(base, object, pattern, &mut present),
        None => walk::each(object, pattern, &mut present),
    }
}

/// A pod or a template of one, at a path.
fn pod(pod: &Value, base: Option<&Path<'_>>, said: &mut Said) {
    said.keys(pod, "spec.nodeSelector", base, &NODE_LABELS);
    let affinity = "spec.affinity.nodeAffinity";
    for (kind, below) in [
        ("requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms[*]"),
        ("preferredDuringSchedulingIgnoredDuringExecution[*]", "preference"),
    ] {
        said.values(pod, &format!("{affinity}.{kind}.{below}.matchExpressions[*].key"), base);
    }
    said.values(pod, "spec.topologySpreadConstraints[*].topologyKey", base);
    each(
        pod,
        "spec.topologySpreadConstraints[*]",
        base,
        &mut |constraint, path| {
            if at(constraint, &["labelSelector"]).is_none() {
                said.add(
                    path.child("labelSelector"),
                    "a null labelSelector results in matching no pod",
                );
            }
        },
    );
    said.keys(pod, "metadata.annotations", base, &POD_ANNOTATIONS);
    each(pod, "spec.volumes[*]", base, &mut |volume, path| {
        for (key, what) in VOLUMES.iter().filter(|(key, _)| at(volume, &[key]).is_some()) {
            said.add(path.child(key), what);
        }
    });
    for (list, key) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let mut seen: Vec<String> = Vec::new();
        each(
            pod,
            &format!("spec.{list}[*]"),
            base,
            &mut |item, path| match text(item, key) {
                "" => said.add(path.child(key), format_args!("invalid empty {key} \"\"")),
                given if seen.iter().any(|known| known == given) => {
                    said.add(path.child(key), format_args!("duplicate {key} {given:?}"));
                }
                given => seen.push(given.to_owned()),
            },
        );
    }
    said.fractions(pod, "spec.overhead", base);
    for list in ["initContainers", "containers"] {
        each(pod, &format!("spec.{list}[*]"), base, &mut |container, path| {
            repeated(container, path, said);
        });
        for kind in ["requests", "limits"] {
            said.fractions(pod, &format!("spec.{list}[*].resources.{kind}"), base);
        }
    }
}

/// Variables and ports that a container has twice.
fn repeated(container: &Value, path: &Path<'_>, said: &mut Said) {
    let variables = list_at(container, &["env"]);
    let list = path.child("env");
    for (i, variable) in variables.iter().enumerate() {
        let name = text(variable, "name");
        if variables[..i].iter().any(|other| text(other, "name") == name) {
            let what = format!("hides previous definition of {name:?}, which may be dropped when using apply");
            said.add(list.index(i), what);
        }
    }
    let ports = list_at(container, &["ports"]);
    let list = path.child("ports");
    let same = |port: &Value| ["containerPort", "protocol", "hostPort", "hostIP"].map(|key| port.get(key).cloned());
    for (i, port) in ports.iter().enumerate() {
        if let Some(first) = ports[..i].iter().position(|other| same(other) == same(port)) {
            said.add(
                list.index(i),
                format_args!("duplicate port definition with {}", list.index(first)),
            );
        }
    }
}

fn service(service: &Value, said: &mut Said) {
    let old = "service.kubernetes.io/topology-aware-hints";
    if at(service, &["metadata", "annotations", old]).is_some() {
        let new = "service.kubernetes.io/topology-mode";
        said.0
            .push(format!("annotation {old} is deprecated, please use {new} instead"));
    }
    let headless = str_at(service, &["spec", "clusterIP"]) == Some("None");
    let ignored = [
        ("loadBalancerIP", str_at(service, &["spec", "loadBalancerIP"]).is_some()),
        ("externalIPs", !list_at(service, &["spec", "externalIPs"]).is_empty()),
        (
            "SessionAffinity",
            str_at(service, &["spec", "sessionAffinity"]).is_some_and(|affinity| affinity != "None"),
        ),
    ];
    for (field, _) in ignored.iter().filter(|(_, set)| headless && *set) {
        said.0.push(format!("spec.{field} is ignored for headless services"));
    }
    if str_at(service, &["spec", "type"]) == Some("ExternalName") && ignored[1].1 {
        said.0
            .push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
}

fn claim(claim: &Value, said: &mut Said) {
    said.keys(claim, "metadata.annotations", None, &CLASS_ANNOTATION);
    for kind in ["requests", "limits"] {
        said.fractions(claim, &format!("spec.resources.{kind}"), None);
    }
}

fn volume(volume: &Value, said: &mut Said) {
    said.keys(volume, "metadata.annotations", None, &CLASS_ANNOTATION);
    if str_at(volume, &["spec", "persistentVolumeReclaimPolicy"]) == Some("Recycle") {
        let what = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic \
                    provisioning.";
        said.add("spec.persistentVolumeReclaimPolicy", what);
    }
    let terms = "spec.nodeAffinity.required.nodeSelectorTerms[*].matchExpressions[*].key";
    said.values(volume, terms, None);
    let empty = Map::new();
    let spec = map_at(volume, &["spec"]).unwrap_or(&empty);
    for (key, what) in VOLUMES.iter().filter(|(key, _)| spec.contains_key(*key)) {
        said.add(Path::new("spec").child(key), what);
    }
    said.fractions(volume, "spec.capacity", None);
}

/// A name that is no label makes hosts of pods that cannot be named.
fn name(group: &str, resource: &str, object: &Value, said: &mut Said) {
    let used = match (group, resource) {
        ("", "pods") => "the Pod's hostname",
        which if NAMED_AFTER.contains(&which) => "Pod names and hostnames",
        _ => return,
    };
    let wrong = names::label_errors(str_at(object, &["metadata", "name"]).unwrap_or(""));
    if !wrong.is_empty() {
        let what = format!(
            "this is used in {used}, which can result in surprising behavior; a DNS label is recommended: [{}]",
            wrong.join(" ")
        );
        said.add("metadata.name", what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_and_templates_are_looked_at_alike() {
        let spec = json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}, "volumes": [{"gitRepo": {}}],
            "imagePullSecrets": [{"name": "a"}, {"name": "a"}],
            "containers": [{"env": [{"name": "A"}, {"name": "A"}], "ports": [{"containerPort": 1}, {"containerPort": 1}],
                "resources": {"limits": {"memory": "100m", "cpu": "100m"}}}]});
        let expected = [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
            "spec.imagePullSecrets[1].name: duplicate name \"a\"",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
        ];
        let pod = json!({"metadata": {"name": "p"}, "spec": spec});
        assert_eq!(of("", "pods", &pod, None), expected);
        assert_eq!(of("", "pods", &pod, Some(&pod)), [""; 0], "nothing new");
        let cron = json!({"metadata": {"name": "c"}, "spec": {"jobTemplate": {"spec": {"template": {"spec": spec}}}}});
        let shown = of("batch", "cronjobs", &cron, None);
        let below = expected.map(|text| text.replace("spec.containers[0].ports[0]", "PORTS"));
        let below = below.map(|text| format!("spec.jobTemplate.spec.template.{text}"));
        let below =
            below.map(|text| text.replace("PORTS", "spec.jobTemplate.spec.template.spec.containers[0].ports[0]"));
        assert_eq!(shown, below);
    }

    #[test]
    fn names_of_workloads_become_names_of_hosts() {
        let dotted = json!({"metadata": {"name": "a.b"}});
        let told = of("apps", "deployments", &dotted, None);
        assert!(
            told[0].starts_with("metadata.name: this is used in Pod names and hostnames"),
            "{told:?}"
        );
        assert_eq!(of("apps", "deployments", &dotted, Some(&dotted)), [""; 0]);
        assert_eq!(of("apps", "daemonsets", &dotted, None), [""; 0]);
    }

    #[test]
    fn other_kinds_have_their_own() {
        let headless = json!({"spec": {"clusterIP": "None", "sessionAffinity": "ClientIP"}});
        assert_eq!(
            of("", "services", &headless, None),
            ["spec.SessionAffinity is ignored for headless services"]
        );
        let account = json!({"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}});
        assert_eq!(
            of("", "serviceaccounts", &account, None),
            [
                "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate \
              namespaces to isolate access to mounted secrets"
            ]
        );
        let class = json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": "beta.kubernetes.io/arch"}]}]});
        assert_eq!(
            of("storage.k8s.io", "storageclasses", &class, None),
            [
                "allowedTopologies[0].matchLabelExpressions[0].key: beta.kubernetes.io/arch is deprecated since v1.14; use \
              \"kubernetes.io/arch\" instead"
            ]
        );
    }

    #[test]
    fn finalizers_should_say_whose_they_are() {
        let held = |names: Value| json!({"metadata": {"finalizers": names}});
        let both = held(json!(["mine", "example.com/mine", "orphan"]));
        let told = of_finalizers(&both, None);
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("metadata.finalizers: \"mine\": prefer a domain-qualified"));
        assert_eq!(of_finalizers(&both, Some(&held(json!(["mine"])))), [""; 0]);
    }
}
