//! Pods.

use std::sync::Arc;

use barepod_client::types::{ObjectMeta, nullable};
use barepod_client::{Read, api_struct, decode, object};
use serde::Deserialize;

use super::{Container, PodSecurityContext, PodStatus, Volume};

api_struct! {
    /// A pod.
    #[derive(Deserialize)]
    pub struct Pod {
        metadata: ObjectMeta,
        #[serde(skip)]
        text: Text,
    } optional {
        spec: PodSpec,
        status: PodStatus,
    }
}

impl Read for Pod {
    fn read(json: &str) -> serde_json::Result<Self> {
        let mut pod: Self = decode(json)?;
        pod.text = Text(Some(json.into()));
        Ok(pod)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

object!(resource Pod, "", "v1", "pods");

/// The text an object was read from, with every field. Two objects do not differ by it: what matters is read.
#[derive(Clone, Default)]
pub struct Text(Option<Arc<str>>);

impl PartialEq for Text {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Text")
    }
}

impl Text {
    /// The text; an empty object for one that was not read.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("{}")
    }
}

api_struct! {
    /// What a pod is to be.
    #[derive(Deserialize)]
    pub struct PodSpec {
        #[serde(deserialize_with = "nullable")]
        containers: Vec<Container>,
    } optional {
        active_deadline_seconds: i64,
        dns_config: PodDnsConfig,
        dns_policy: String,
        enable_service_links: bool,
        host_aliases: Vec<HostAlias>,
        #[serde(rename = "hostIPC")]
        host_ipc: bool,
        host_network: bool,
        #[serde(rename = "hostPID")]
        host_pid: bool,
        hostname: String,
        hostname_override: String,
        init_containers: Vec<Container>,
        priority: i32,
        readiness_gates: Vec<PodReadinessGate>,
        restart_policy: String,
        security_context: PodSecurityContext,
        service_account_name: String,
        #[serde(rename = "setHostnameAsFQDN")]
        set_hostname_as_fqdn: bool,
        share_process_namespace: bool,
        subdomain: String,
        termination_grace_period_seconds: i64,
        volumes: Vec<Volume>,
    }
}

api_struct! {
    /// A condition that others set and the pod waits for.
    #[derive(Deserialize)]
    pub struct PodReadinessGate {
        condition_type: String,
    }
}

api_struct! {
    /// A line of `/etc/hosts`.
    #[derive(Deserialize)]
    pub struct HostAlias {
        ip: String,
    } optional {
        hostnames: Vec<String>,
    }
}

api_struct! {
    /// Lines of `/etc/resolv.conf`.
    #[derive(Deserialize)]
    pub struct PodDnsConfig {} optional {
        nameservers: Vec<String>,
        searches: Vec<String>,
        options: Vec<PodDnsConfigOption>,
    }
}

api_struct! {
    /// An option of the resolver.
    #[derive(Deserialize)]
    pub struct PodDnsConfigOption {} optional {
        name: String,
        value: String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_keeps_the_text_it_came_as() {
        let text = r#"{"metadata": {"name": "p"}, "spec": {"containers": null, "schedulerName": "s"}}"#;
        let pod = Pod::read(text).unwrap();
        assert_eq!(pod.text.as_str(), text);
        assert_eq!(
            pod,
            Pod::read(&text.replace("\"s\"", "\"t\"")).unwrap(),
            "nobody here reads that field"
        );
        assert_ne!(pod, Pod::read(&text.replace("\"p\"", "\"q\"")).unwrap());
        assert_eq!(Pod::default().text.as_str(), "{}");
    }
}
