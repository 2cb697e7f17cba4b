//! The files every container of a pod shares: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::kinds::Pod;

use crate::pods::shape;

/// Most characters a host name may have on Linux.
const HOST_NAME_MAX: usize = 63;

/// The pod's host name.
pub fn hostname(pod: &Pod, node_name: &str) -> String {
    let spec = shape::spec(pod);
    if let Some(name) = spec.hostname_override.as_deref().filter(|it| !it.is_empty()) {
        return name.to_owned();
    }
    if shape::host_network(pod) {
        return node_name.to_owned();
    }
    let name = spec
        .hostname
        .as_deref()
        .filter(|it| !it.is_empty())
        .unwrap_or(shape::name(pod));
    if spec.set_hostname_as_fqdn == Some(true)
        && let Some(full) = fqdn(pod, name)
    {
        return full;
    }
    name.chars()
        .take(HOST_NAME_MAX)
        .collect::<String>()
        .trim_end_matches(['-', '.'])
        .to_owned()
}

/// `name.subdomain.namespace.svc.cluster.local` of a pod with a subdomain.
fn fqdn(pod: &Pod, name: &str) -> Option<String> {
    let subdomain = shape::spec(pod).subdomain.as_deref().filter(|it| !it.is_empty())?;
    Some(format!(
        "{name}.{subdomain}.{}.svc.{CLUSTER_DOMAIN}",
        shape::namespace(pod)
    ))
}

/// Domain of the cluster's names.
const CLUSTER_DOMAIN: &str = "cluster.local";

/// `/etc/hosts`. On the node's network the node's own file comes first. The first line is the kubelet's, which
/// programs look for (`pkg/kubelet/kubelet_pods.go`).
pub fn hosts(pod: &Pod, ip: Option<Ipv4Addr>, hostname: &str, node_hosts: &str) -> String {
    let mut out = String::from("# Kubernetes-managed hosts file");
    if shape::host_network(pod) {
        out.push_str(" (host network).\n");
        out.push_str(node_hosts);
        if !out.ends_with('\n') {
            out.push('\n');
        }
    } else {
        out.push_str(".\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        out.push_str(
            "fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        if let Some(ip) = ip {
            let short = hostname.split('.').next().unwrap_or(hostname);
            let _ = match fqdn(pod, short) {
                Some(full) => writeln!(out, "{ip}\t{full}\t{short}"),
                None => writeln!(out, "{ip}\t{hostname}"),
            };
        }
    }
    for alias in shape::spec(pod).host_aliases.iter().flatten() {
        let _ = writeln!(
            out,
            "{}\t{}",
            alias.ip,
            alias.hostnames.as_deref().unwrap_or_default().join("\t")
        );
    }
    out
}

/// `/etc/resolv.conf`: the node's, unless the policy is `None`, with the pod's own settings added.
pub fn resolv_conf(pod: &Pod, node_resolv: &str) -> String {
    let spec = shape::spec(pod);
    let mut file = if spec.dns_policy.as_deref() == Some("None") {
        Resolv::default()
    } else {
        Resolv::parse(node_resolv)
    };
    if let Some(own) = &spec.dns_config {
        file.nameservers.extend(own.nameservers.iter().flatten().cloned());
        file.searches.extend(own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            file.options.retain(|known| known.split(':').next() != Some(name));
            file.options.push(
                option
                    .value
                    .as_ref()
                    .map_or_else(|| name.clone(), |value| format!("{name}:{value}")),
            );
        }
    }
    file.print()
}

#[derive(Debug, Default)]
struct Resolv {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Resolv {
    fn parse(text: &str) -> Self {
        let mut it = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let rest = |words: std::str::SplitWhitespace<'_>| words.map(str::to_owned).collect::<Vec<_>>();
            match words.next() {
                Some("nameserver") => it.nameservers.extend(words.next().map(str::to_owned)),
                // resolv.conf(5): the last of several search or domain lines counts.
                Some("search" | "domain") => it.searches = rest(words),
                Some("options") => it.options.extend(rest(words)),
                _ => {}
            }
        }
        it
    }

    fn print(&self) -> String {
        let unique = |list: &[String]| {
            let mut seen = Vec::<String>::new();
            for it in list {
                if !seen.contains(it) {
                    seen.push(it.clone());
                }
            }
            seen
        };
        let mut out = String::new();
        for server in unique(&self.nameservers) {
            let _ = writeln!(out, "nameserver {server}");
        }
        if !self.searches.is_empty() {
            let _ = writeln!(out, "search {}", unique(&self.searches).join(" "));
        }
        if !self.options.is_empty() {
            let _ = writeln!(out, "options {}", self.options.join(" "));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec})).unwrap()
    }

    #[test]
    fn host_names() {
        let cases = [
            (json!({}), "p"),
            (json!({"hostname": "h"}), "h"),
            (json!({"hostNetwork": true}), "node"),
            (
                json!({"hostname": "h", "subdomain": "s", "setHostnameAsFQDN": true}),
                "h.s.n.svc.cluster.local",
            ),
            (json!({"hostname": "h", "subdomain": "s"}), "h"),
        ];
        for (mut spec, want) in cases {
            spec["containers"] = json!([]);
            assert_eq!(hostname(&pod(spec.clone()), "node"), want, "{spec}");
        }
    }

    #[test]
    fn hosts_name_the_pod_and_its_aliases() {
        let with_aliases = pod(
            json!({"containers": [], "subdomain": "s", "hostAliases": [{"ip": "1.1.1.1", "hostnames": ["a", "b"]}]}),
        );
        let got = hosts(&with_aliases, Some(Ipv4Addr::new(10, 1, 0, 2)), "p", "");
        let begin = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n";
        assert!(got.starts_with(begin), "{got}");
        assert!(got.contains("10.1.0.2\tp.s.n.svc.cluster.local\tp\n"), "{got}");
        assert!(got.ends_with("1.1.1.1\ta\tb\n"), "{got}");
        let on_the_node = pod(json!({"containers": [], "hostNetwork": true}));
        assert_eq!(
            hosts(&on_the_node, None, "node", "127.0.0.1 here"),
            "# Kubernetes-managed hosts file (host network).\n127.0.0.1 here\n"
        );
    }

    #[test]
    fn own_settings_are_added_to_the_nodes() {
        let node = "# x\nnameserver 1.1.1.1\nsearch a b\noptions ndots:1 rotate\n";
        let default = resolv_conf(&pod(json!({"containers": []})), node);
        assert_eq!(default, "nameserver 1.1.1.1\nsearch a b\noptions ndots:1 rotate\n");
        let own = json!({"nameservers": ["2.2.2.2"], "searches": ["c", "a"], "options": [{"name": "ndots", "value": "5"}, {"name": "edns0"}]});
        let mixed = resolv_conf(&pod(json!({"containers": [], "dnsConfig": own})), node);
        assert_eq!(
            mixed,
            "nameserver 1.1.1.1\nnameserver 2.2.2.2\nsearch a b c\noptions rotate ndots:5 edns0\n"
        );
        let none = resolv_conf(
            &pod(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": own})),
            node,
        );
        assert_eq!(none, "nameserver 2.2.2.2\nsearch c a\noptions ndots:5 edns0\n");
    }
}
