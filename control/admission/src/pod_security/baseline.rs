//! The baseline level, in the order of the checks' names.

use barepod_kinds::value::{at, bool_at, i64_at, list_at, map_at, str_at, strings, text};
use serde_json::Value;

use super::check::{Check, Finding, plural, push_new, quoted};
use super::containers;
use super::level::Policy;

/// What annotations that name AppArmor profiles begin with.
pub(super) const APPARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

const fn check(since: u32, find: fn(&Value, Policy) -> Option<Finding>) -> Check {
    Check {
        since,
        find,
        stricter: false,
    }
}

pub(super) static CHECKS: &[Check] = &[
    check(0, apparmor),
    Check {
        since: 0,
        find: capabilities,
        stricter: true,
    },
    check(0, host_namespaces),
    check(0, host_path_volumes),
    check(0, host_ports),
    check(34, host_probes),
    check(0, privileged),
    check(0, proc_mount),
    Check {
        since: 0,
        find: seccomp,
        stricter: true,
    },
    check(0, selinux),
    check(0, sysctls),
    check(0, windows_host_process),
];

fn find(reason: &'static str, detail: String) -> Option<Finding> {
    Some(Finding { reason, detail })
}

/// `container "a"` or `containers "a", "b"`.
pub(super) fn named(names: &[String]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

fn bad_containers(pod: &Value, bad: impl Fn(&Value) -> bool) -> Vec<String> {
    containers(pod)
        .filter(|(_, container)| bad(container))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn apparmor(pod: &Value, _: Policy) -> Option<Finding> {
    let allowed = |type_: &str| matches!(type_, "" | "RuntimeDefault" | "Localhost");
    let type_of = |object: &Value| {
        str_at(object, &["securityContext", "appArmorProfile", "type"])
            .unwrap_or("")
            .to_owned()
    };
    let (mut setters, mut values) = (Vec::new(), Vec::new());
    let of_pod = type_of(&pod["spec"]);
    if !allowed(&of_pod) {
        setters.push("pod".to_owned());
        push_new(&mut values, of_pod);
    }
    let mut bad = Vec::new();
    for (name, container) in containers(pod) {
        let type_ = type_of(container);
        if !allowed(&type_) {
            bad.push(name.to_owned());
            push_new(&mut values, type_);
        }
    }
    if !bad.is_empty() {
        setters.push(named(&bad));
    }
    let mut annotations = Vec::new();
    for (key, value) in map_at(pod, &["metadata", "annotations"]).into_iter().flatten() {
        let profile = value.as_str().unwrap_or("");
        let fine = matches!(profile, "" | "runtime/default") || profile.starts_with("localhost/");
        if key.starts_with(APPARMOR_ANNOTATION) && !fine {
            annotations.push(format!("{key}={profile:?}"));
        }
    }
    let mut details = Vec::new();
    if !setters.is_empty() {
        details.push(format!(
            "{} must not set AppArmor profile type to {}",
            setters.join(" and "),
            quoted(&values)
        ));
    }
    if !annotations.is_empty() {
        annotations.sort();
        let word = plural("annotation", "annotations", annotations.len());
        details.push(format!("{word} {} must not be used", annotations.join(", ")));
    }
    let number = values.len() + annotations.len();
    let reason = if number == 1 {
        "forbidden AppArmor profile"
    } else {
        "forbidden AppArmor profiles"
    };
    if details.is_empty() {
        None
    } else {
        find(reason, details.join(" and "))
    }
}

const CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
    "",
];

pub(super) fn capabilities(pod: &Value, _: Policy) -> Option<Finding> {
    let (mut bad, mut added) = (Vec::new(), Vec::new());
    for (name, container) in containers(pod) {
        let forbidden: Vec<&str> = strings(container, &["securityContext", "capabilities", "add"])
            .filter(|capability| !CAPABILITIES.contains(capability))
            .collect();
        if !forbidden.is_empty() {
            bad.push(name.to_owned());
            forbidden
                .into_iter()
                .for_each(|capability| push_new(&mut added, capability));
        }
    }
    added.sort();
    if bad.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must not include {} in securityContext.capabilities.add",
        named(&bad),
        quoted(&added)
    );
    find("non-default capabilities", detail)
}

fn host_namespaces(pod: &Value, _: Policy) -> Option<Finding> {
    let set: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|key| bool_at(pod, &["spec", key]))
        .map(|key| format!("{key}=true"))
        .collect();
    if set.is_empty() {
        None
    } else {
        find("host namespaces", set.join(", "))
    }
}

fn host_path_volumes(pod: &Value, _: Policy) -> Option<Finding> {
    let volumes = list_at(pod, &["spec", "volumes"]).iter();
    let names: Vec<&str> = volumes
        .filter(|volume| at(volume, &["hostPath"]).is_some())
        .map(|volume| text(volume, "name"))
        .collect();
    if names.is_empty() {
        return None;
    }
    find(
        "hostPath volumes",
        format!("{} {}", plural("volume", "volumes", names.len()), quoted(&names)),
    )
}

fn host_ports(pod: &Value, _: Policy) -> Option<Finding> {
    let (mut bad, mut ports) = (Vec::new(), Vec::new());
    for (name, container) in containers(pod) {
        let used: Vec<i64> = list_at(container, &["ports"])
            .iter()
            .filter_map(|port| i64_at(port, &["hostPort"]).filter(|port| *port != 0))
            .collect();
        if !used.is_empty() {
            bad.push(name.to_owned());
            ports.extend(used);
        }
    }
    ports.sort_unstable();
    ports.dedup();
    if bad.is_empty() {
        return None;
    }
    let uses = plural("uses", "use", bad.len());
    let word = plural("hostPort", "hostPorts", ports.len());
    let ports: Vec<String> = ports.iter().map(i64::to_string).collect();
    find(
        "hostPort",
        format!("{} {uses} {word} {}", named(&bad), ports.join(", ")),
    )
}

fn host_probes(pod: &Value, _: Policy) -> Option<Finding> {
    const HANDLERS: [&[&str]; 5] = [
        &["livenessProbe"],
        &["readinessProbe"],
        &["startupProbe"],
        &["lifecycle", "postStart"],
        &["lifecycle", "preStop"],
    ];
    let (mut bad, mut hosts) = (Vec::new(), Vec::new());
    for (name, container) in containers(pod) {
        let handlers = HANDLERS.iter().filter_map(|path| at(container, path));
        let own: Vec<&str> = handlers
            .flat_map(|handler| ["httpGet", "tcpSocket"].map(|way| str_at(handler, &[way, "host"])))
            .flatten()
            .collect();
        if !own.is_empty() {
            bad.push(name.to_owned());
            own.into_iter().for_each(|host| push_new(&mut hosts, host));
        }
    }
    if bad.is_empty() {
        return None;
    }
    let uses = plural("uses", "use", bad.len());
    let word = plural("host", "hosts", hosts.len());
    find(
        "probe or lifecycle host",
        format!("{} {uses} probe or lifecycle {word} {}", named(&bad), quoted(&hosts)),
    )
}

fn privileged(pod: &Value, _: Policy) -> Option<Finding> {
    let bad = bad_containers(pod, |container| bool_at(container, &["securityContext", "privileged"]));
    if bad.is_empty() {
        return None;
    }
    find(
        "privileged",
        format!("{} must not set securityContext.privileged=true", named(&bad)),
    )
}

fn proc_mount(pod: &Value, policy: Policy) -> Option<Finding> {
    // In a user namespace of its own, what /proc shows is harmless.
    if policy.minor() >= 35 && at(pod, &["spec", "hostUsers"]) == Some(&Value::Bool(false)) {
        return None;
    }
    let (mut bad, mut values) = (Vec::new(), Vec::new());
    for (name, container) in containers(pod) {
        if let Some(value) = str_at(container, &["securityContext", "procMount"]).filter(|value| *value != "Default") {
            bad.push(name.to_owned());
            push_new(&mut values, value);
        }
    }
    if bad.is_empty() {
        return None;
    }
    find(
        "procMount",
        format!(
            "{} must not set securityContext.procMount to {}",
            named(&bad),
            quoted(&values)
        ),
    )
}

fn seccomp(pod: &Value, _: Policy) -> Option<Finding> {
    let unconfined = |object: &Value| {
        str_at(object, &["securityContext", "seccompProfile", "type"])
            .is_some_and(|type_| !matches!(type_, "RuntimeDefault" | "Localhost"))
    };
    let value = |object: &Value| {
        str_at(object, &["securityContext", "seccompProfile", "type"])
            .unwrap_or("")
            .to_owned()
    };
    let (mut setters, mut values) = (Vec::new(), Vec::new());
    if unconfined(&pod["spec"]) {
        setters.push("pod".to_owned());
        push_new(&mut values, value(&pod["spec"]));
    }
    let mut bad = Vec::new();
    for (name, container) in containers(pod).filter(|(_, container)| unconfined(container)) {
        bad.push(name.to_owned());
        push_new(&mut values, value(container));
    }
    if !bad.is_empty() {
        setters.push(named(&bad));
    }
    if setters.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must not set securityContext.seccompProfile.type to {}",
        setters.join(" and "),
        quoted(&values)
    );
    find("seccompProfile", detail)
}

fn selinux(pod: &Value, policy: Policy) -> Option<Finding> {
    let allowed = |type_: &str| match type_ {
        "" | "container_t" | "container_init_t" | "container_kvm_t" => true,
        "container_engine_t" => policy.minor() >= 31,
        _ => false,
    };
    let (mut setters, mut types, mut user, mut role) = (Vec::new(), Vec::new(), false, false);
    let mut look = |object: &Value| {
        let text = |key: &str| str_at(object, &["securityContext", "seLinuxOptions", key]).unwrap_or("");
        let mut bad = false;
        if !allowed(text("type")) {
            push_new(&mut types, text("type"));
            bad = true;
        }
        user |= !text("user").is_empty();
        role |= !text("role").is_empty();
        bad || !text("user").is_empty() || !text("role").is_empty()
    };
    if look(&pod["spec"]) {
        setters.push("pod".to_owned());
    }
    let bad: Vec<String> = containers(pod)
        .filter(|(_, container)| look(container))
        .map(|(name, _)| name.to_owned())
        .collect();
    if !bad.is_empty() {
        setters.push(named(&bad));
    }
    if setters.is_empty() {
        return None;
    }
    let mut details = Vec::new();
    if !types.is_empty() {
        let word = plural("type", "types", types.len());
        details.push(format!("{word} {}", quoted(&types)));
    }
    for (set, what) in [(user, "user may not be set"), (role, "role may not be set")] {
        if set {
            details.push(what.to_owned());
        }
    }
    let detail = format!(
        "{} set forbidden securityContext.seLinuxOptions: {}",
        setters.join(" and "),
        details.join("; ")
    );
    find("seLinuxOptions", detail)
}

fn sysctls(pod: &Value, policy: Policy) -> Option<Finding> {
    let allowed = |name: &str| match name {
        "kernel.shm_rmid_forced"
        | "net.ipv4.ip_local_port_range"
        | "net.ipv4.tcp_syncookies"
        | "net.ipv4.ping_group_range"
        | "net.ipv4.ip_unprivileged_port_start" => true,
        "net.ipv4.ip_local_reserved_ports" => policy.minor() >= 27,
        "net.ipv4.tcp_keepalive_time"
        | "net.ipv4.tcp_fin_timeout"
        | "net.ipv4.tcp_keepalive_intvl"
        | "net.ipv4.tcp_keepalive_probes" => policy.minor() >= 29,
        "net.ipv4.tcp_rmem" | "net.ipv4.tcp_wmem" => policy.minor() >= 32,
        _ => false,
    };
    let mut bad: Vec<&str> = list_at(pod, &["spec", "securityContext", "sysctls"])
        .iter()
        .map(|sysctl| text(sysctl, "name"))
        .filter(|name| !allowed(name))
        .collect();
    bad.sort_unstable();
    if bad.is_empty() {
        None
    } else {
        find("forbidden sysctls", bad.join(", "))
    }
}

fn windows_host_process(pod: &Value, _: Policy) -> Option<Finding> {
    let set = |object: &Value| bool_at(object, &["securityContext", "windowsOptions", "hostProcess"]);
    let mut setters = Vec::new();
    if set(&pod["spec"]) {
        setters.push("pod".to_owned());
    }
    let bad = bad_containers(pod, set);
    if !bad.is_empty() {
        setters.push(named(&bad));
    }
    if setters.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must not set securityContext.windowsOptions.hostProcess=true",
        setters.join(" and ")
    );
    find("hostProcess", detail)
}

#[cfg(test)]
mod tests {
    use super::super::{Level, Policy, evaluate};
    use serde_json::{Value, json};

    fn found(minor: Option<u32>, spec: Value) -> Vec<String> {
        let policy = Policy {
            level: Level::Baseline,
            version: minor,
        };
        evaluate(policy, &json!({"spec": spec}))
            .into_iter()
            .map(|finding| format!("{}: {}", finding.reason, finding.detail))
            .collect()
    }

    fn container(more: Value) -> Value {
        let mut container = json!({"name": "c"});
        container
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"containers": [container]})
    }

    #[test]
    fn ordinary_pods_pass() {
        let context = json!({"capabilities": {"add": ["NET_BIND_SERVICE"]}, "procMount": "Default", "seccompProfile": {"type": "Localhost"},
            "seLinuxOptions": {"type": "container_t", "level": "s0"}, "appArmorProfile": {"type": "RuntimeDefault"}});
        let mut spec = container(json!({"securityContext": context, "ports": [{"containerPort": 80}]}));
        spec["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
        spec["securityContext"] = json!({"sysctls": [{"name": "net.ipv4.tcp_syncookies"}]});
        assert_eq!(found(None, spec), Vec::<String>::new());
    }

    #[test]
    fn ways_out_are_found() {
        let context = |more: Value| container(json!({"securityContext": more}));
        for (spec, text) in [
            (
                context(json!({"privileged": true})),
                "privileged: container \"c\" must not set securityContext.privileged=true",
            ),
            (
                context(json!({"capabilities": {"add": ["SYS_ADMIN"]}})),
                "non-default capabilities: container \"c\" must not include \"SYS_ADMIN\" in securityContext.capabilities.add",
            ),
            (
                context(json!({"procMount": "Unmasked"})),
                "procMount: container \"c\" must not set securityContext.procMount to \"Unmasked\"",
            ),
            (
                context(json!({"seccompProfile": {"type": "Unconfined"}})),
                "seccompProfile: container \"c\" must not set securityContext.seccompProfile.type to \"Unconfined\"",
            ),
            (
                context(json!({"seLinuxOptions": {"user": "root"}})),
                "seLinuxOptions: container \"c\" set forbidden securityContext.seLinuxOptions: user may not be set",
            ),
            (
                context(json!({"appArmorProfile": {"type": "Unconfined"}})),
                "forbidden AppArmor profile: container \"c\" must not set AppArmor profile type to \"Unconfined\"",
            ),
            (
                context(json!({"windowsOptions": {"hostProcess": true}})),
                "hostProcess: container \"c\" must not set securityContext.windowsOptions.hostProcess=true",
            ),
            (
                container(json!({"ports": [{"hostPort": 80}, {"hostPort": 22}]})),
                "hostPort: container \"c\" uses hostPorts 22, 80",
            ),
            (
                container(json!({"livenessProbe": {"httpGet": {"host": "x"}}})),
                "probe or lifecycle host: container \"c\" uses probe or lifecycle host \"x\"",
            ),
            (
                json!({"hostIPC": true, "hostPID": true}),
                "host namespaces: hostPID=true, hostIPC=true",
            ),
            (
                json!({"volumes": [{"name": "v", "hostPath": {}}]}),
                "hostPath volumes: volume \"v\"",
            ),
            (
                json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}}),
                "forbidden sysctls: kernel.msgmax",
            ),
        ] {
            assert_eq!(found(None, spec), [text]);
        }
    }

    #[test]
    fn versions_keep_their_rules() {
        let sysctl = json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}});
        assert_eq!(
            (found(None, sysctl.clone()).len(), found(Some(31), sysctl).len()),
            (0, 1)
        );
        let probe = container(json!({"lifecycle": {"preStop": {"tcpSocket": {"host": "x"}}}}));
        assert_eq!((found(None, probe.clone()).len(), found(Some(33), probe).len()), (1, 0));
    }
}
