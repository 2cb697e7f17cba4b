//! PodSecurity: holds pods to the level that labels of their namespace name (Pod Security Standards).
//!
//! `enforce` refuses pods; `warn` and `audit` speak of pods and of the templates of workloads.

mod baseline;
mod check;
mod level;
mod restricted;

pub use check::{Finding, evaluate};
pub use level::{Level, Policies, Policy, label_errors};

use std::collections::BTreeMap;

use barepod_kinds::podspec::template;
use barepod_kinds::value::{at, list_at, map_at, str_at};
use serde_json::Value;

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// The plugin.
pub(crate) struct PodSecurity;

fn template_path(request: &Request<'_>) -> Option<&'static [&'static str]> {
    template::path(request.group, request.resource)
}

impl Plugin for PodSecurity {
    fn handles(&self, request: &Request<'_>) -> bool {
        match (request.group, request.resource, request.subresource) {
            _ if request.operation == Operation::Delete => false,
            ("", "pods", "" | "ephemeralcontainers") | ("", "namespaces", "") => true,
            (_, _, "") => template_path(request).is_some(),
            _ => false,
        }
    }

    fn validate(
        &self,
        world: &dyn World,
        request: &Request<'_>,
        object: &Value,
        notes: &mut Notes,
    ) -> Result<(), Refusal> {
        if request.is_core("namespaces") {
            return namespace(world, request, object, notes);
        }
        let Some(policies) = policies_of(world, request.namespace) else {
            return Ok(());
        };
        if request.resource == "pods" {
            // An update that leaves what is looked at as it was has nothing new to say.
            let same = |old: &Value| relevant(old) == relevant(object);
            if request.old.is_some_and(same) {
                return Ok(());
            }
            return pod(&policies, object, notes);
        }
        let Some(template) = template_path(request).and_then(|path| at(object, path)) else {
            return Ok(());
        };
        speak(&policies, template, notes);
        Ok(())
    }
}

/// What of a pod decides.
fn relevant(pod: &Value) -> (Option<&Value>, Vec<(&String, &Value)>) {
    let annotations = map_at(pod, &["metadata", "annotations"]).into_iter().flatten();
    let annotations = annotations.filter(|(key, _)| key.starts_with(baseline::APPARMOR_ANNOTATION));
    (pod.get("spec"), annotations.collect())
}

/// The levels of a namespace, or `None` if nothing is asked of its pods.
fn policies_of(world: &dyn World, namespace: &str) -> Option<Policies> {
    let namespace = world.cluster().get("", "namespaces", None, namespace)?;
    Policies::of_labels(map_at(&namespace, &["metadata", "labels"])?)
}

fn pod(policies: &Policies, pod: &Value, notes: &mut Notes) -> Result<(), Refusal> {
    if let Some(enforce) = &policies.enforce {
        let findings = evaluate(*enforce, pod);
        notes
            .audit
            .push(("pod-security.kubernetes.io/enforce-policy".into(), enforce.to_string()));
        if !findings.is_empty() {
            let why = check::describe(&findings);
            return Err(Refusal::forbidden(format!("violates PodSecurity \"{enforce}\": {why}")));
        }
    }
    speak(policies, pod, notes);
    Ok(())
}

/// Warnings and notes for the audit log.
fn speak(policies: &Policies, pod: &Value, notes: &mut Notes) {
    if let Some(audit) = policies.audit {
        let findings = evaluate(audit, pod);
        if !findings.is_empty() {
            let text = format!("would violate PodSecurity \"{audit}\": {}", check::describe(&findings));
            notes
                .audit
                .push(("pod-security.kubernetes.io/audit-violations".into(), text));
        }
    }
    if let Some(warn) = policies.warn {
        let findings = evaluate(warn, pod);
        if !findings.is_empty() {
            let text = format!("would violate PodSecurity \"{warn}\": {}", check::describe(&findings));
            notes.warnings.push(text);
        }
    }
}

/// Labels have to be readable; pods that are there already and would not be let in any more are warned of.
fn namespace(world: &dyn World, request: &Request<'_>, new: &Value, notes: &mut Notes) -> Result<(), Refusal> {
    let empty = serde_json::Map::new();
    let labels = map_at(new, &["metadata", "labels"]).unwrap_or(&empty);
    let old_labels = request
        .old
        .and_then(|old| map_at(old, &["metadata", "labels"]))
        .unwrap_or(&empty);
    let errors = label_errors(labels);
    if !errors.is_empty() && errors != label_errors(old_labels) {
        return Err(barepod_kinds::Denied::Invalid(errors).into());
    }
    let enforce = |labels| Policies::of_labels(labels).and_then(|policies| policies.enforce);
    let (Some(now), before) = (enforce(labels), enforce(old_labels)) else {
        return Ok(());
    };
    let stricter = before.is_none_or(|before| now != before);
    if request.operation != Operation::Update || !stricter {
        return Ok(());
    }
    let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in world.cluster().list("", "pods", Some(request.name)) {
        if matches!(str_at(&pod, &["status", "phase"]), Some("Succeeded" | "Failed")) {
            continue;
        }
        let findings = evaluate(now, &pod);
        if !findings.is_empty() {
            let reasons: Vec<&str> = findings.iter().map(|finding| finding.reason).collect();
            let name = str_at(&pod, &["metadata", "name"]).unwrap_or("").to_owned();
            by_reason.entry(reasons.join(", ")).or_default().push(name);
        }
    }
    if by_reason.is_empty() {
        return Ok(());
    }
    notes.warnings.push(format!(
        "existing pods in namespace \"{}\" violate the new PodSecurity enforce level \"{now}\"",
        request.name
    ));
    for (reasons, mut names) in by_reason {
        names.sort();
        let more = match names.len() - 1 {
            0 => String::new(),
            1 => " (and 1 other pod)".into(),
            others => format!(" (and {others} other pods)"),
        };
        notes.warnings.push(format!("{}{more}: {reasons}", names[0]));
    }
    Ok(())
}

/// Every container of a pod, with its name.
fn containers(pod: &Value) -> impl Iterator<Item = (&str, &Value)> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| list_at(pod, &["spec", list]))
        .map(|container| (str_at(container, &["name"]).unwrap_or(""), container))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Small, handle_noting, request};
    use serde_json::json;

    fn world(labels: Value, pods: Vec<Value>) -> Small {
        let namespace = json!({"metadata": {"name": "ns", "labels": labels}});
        let mut objects = vec![("namespaces", namespace)];
        objects.extend(pods.into_iter().map(|pod| ("pods", pod)));
        Small(objects, Default::default())
    }

    fn plain() -> Value {
        json!({"spec": {"containers": [{"name": "c"}]}})
    }

    #[test]
    fn pods_are_refused_in_known_words() {
        let world = world(json!({"pod-security.kubernetes.io/enforce": "restricted"}), vec![]);
        let create = request(Operation::Create, "", "pods", None);
        let refused = handle_noting(&PodSecurity, &world, &create, plain(), &mut Notes::default()).unwrap_err();
        assert_eq!(
            refused,
            "violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"c\" must set \
             securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set \
             securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set \
             securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set \
             securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
        );
        let old = plain();
        let update = request(Operation::Update, "", "pods", Some(&old));
        assert!(handle_noting(&PodSecurity, &world, &update, plain(), &mut Notes::default()).is_ok());
    }

    #[test]
    fn workloads_are_only_spoken_of() {
        let labels =
            json!({"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "baseline"});
        let world = world(labels, vec![]);
        let create = request(Operation::Create, "apps", "deployments", None);
        let mut template = plain();
        template["spec"]["hostNetwork"] = json!(true);
        let mut notes = Notes::default();
        let deployment = json!({"spec": {"template": template}});
        handle_noting(&PodSecurity, &world, &create, deployment, &mut notes).unwrap();
        assert_eq!(
            notes.warnings,
            ["would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"]
        );
    }

    #[test]
    fn pods_that_are_there_are_warned_of() {
        let pod = |name: &str| json!({"metadata": {"name": name, "namespace": "ns"}, "spec": {"hostPID": true, "containers": []}});
        let world = world(json!({}), vec![pod("a"), pod("b")]);
        let old = json!({"metadata": {"name": "ns"}});
        let update = Request {
            name: "ns",
            ..request(Operation::Update, "", "namespaces", Some(&old))
        };
        let namespace =
            |level: &str| json!({"metadata": {"name": "ns", "labels": {"pod-security.kubernetes.io/enforce": level}}});
        let mut notes = Notes::default();
        handle_noting(&PodSecurity, &world, &update, namespace("baseline"), &mut notes).unwrap();
        assert_eq!(
            notes.warnings,
            [
                "existing pods in namespace \"ns\" violate the new PodSecurity enforce level \"baseline:latest\"",
                "a (and 1 other pod): host namespaces"
            ]
        );
        let wrong = handle_noting(&PodSecurity, &world, &update, namespace("strict"), &mut notes).unwrap_err();
        assert!(
            wrong.contains("must be one of privileged, baseline, restricted"),
            "{wrong}"
        );
    }
}
