//! What the kernel is to hold for a list of service ports: computed, not applied.

use crate::{Config, Protocol, ServicePort};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Destination address, protocol and port.
pub(super) type Key = (Ipv4Addr, Protocol, u16);
/// Protocol and port on the host's own addresses.
pub(super) type PortKey = (Protocol, u16);

/// Chains, maps and elements, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Chains that pick an endpoint.
    pub(super) balancers: BTreeMap<String, Balancer>,
    /// Chains for traffic from outside, in front of a balancer.
    pub(super) externals: BTreeMap<String, External>,
    /// Addresses that lead to a chain.
    pub(super) services: BTreeMap<Key, String>,
    /// Node ports that lead to a chain.
    pub(super) node_ports: BTreeMap<PortKey, String>,
    /// Addresses without an endpoint.
    pub(super) refused: BTreeSet<Key>,
    /// Node ports without an endpoint.
    pub(super) refused_ports: BTreeSet<PortKey>,
    /// Pods of this node that can meet themselves through a Service.
    pub(super) hairpins: BTreeSet<Ipv4Addr>,
}

/// A chain that picks an endpoint, in turn or by the client's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Balancer {
    /// Sorted, without repetition, never empty.
    pub(super) endpoints: Vec<SocketAddrV4>,
    pub(super) affinity_secs: Option<u32>,
}

impl Balancer {
    fn new(service: &ServicePort, endpoints: Vec<SocketAddrV4>) -> Self {
        Self {
            endpoints,
            affinity_secs: service.affinity_secs.filter(|s| *s > 0),
        }
    }
}

/// A chain for traffic from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum External {
    /// Any endpoint; masqueraded, so that the answer comes back through this host.
    Cluster {
        /// The balancer.
        to: String,
    },
    /// This node's endpoints only, with the client's address kept. Pods and the host itself may go anywhere.
    Local {
        /// The balancer of all endpoints.
        all: String,
        /// The balancer of the local ones; without it the packet is dropped.
        local: Option<String>,
    },
}

impl Plan {
    /// Computes the plan and one line for each service port that collides with another. `locals` are the host's own
    /// addresses. The result does not depend on the order of `services` and of their endpoints.
    pub(super) fn compile(services: &[ServicePort], config: &Config, locals: &[Ipv4Addr]) -> (Self, Vec<String>) {
        let mut sorted: Vec<&ServicePort> = services.iter().collect();
        sorted.sort_by_key(|s| (&s.name, s.protocol));
        let mut compiler = Compiler {
            plan: Self::default(),
            conflicts: vec![],
            config,
            locals,
        };
        for service in sorted {
            compiler.service(service);
        }
        (compiler.plan, compiler.conflicts)
    }
}

struct Compiler<'a> {
    plan: Plan,
    conflicts: Vec<String>,
    config: &'a Config,
    locals: &'a [Ipv4Addr],
}

impl Compiler<'_> {
    fn service(&mut self, service: &ServicePort) {
        let path = path(service);
        let mut endpoints = service.endpoints.clone();
        endpoints.sort_unstable();
        endpoints.dedup();
        let balancer = format!("svc/{path}");
        if self.plan.balancers.contains_key(&balancer) {
            self.conflicts
                .push(format!("{} ({}) is listed twice", service.name, service.protocol));
            return;
        }
        let has_endpoints = !endpoints.is_empty();
        if has_endpoints {
            let pods = self.config.pod_cidr;
            self.plan
                .hairpins
                .extend(endpoints.iter().map(|e| *e.ip()).filter(|ip| pods.contains(*ip)));
        }
        let external = self.external(service, &path, &balancer, &endpoints);
        let key = |ip| (ip, service.protocol, service.port);
        if let Some(ip) = service.cluster_ip {
            self.lead(service, key(ip), has_endpoints.then_some(&balancer));
        }
        for ip in &service.external_ips {
            self.lead(service, key(*ip), external.as_ref());
        }
        if let Some(port) = service.node_port {
            self.lead_port(service, (service.protocol, port), external.as_ref());
        }
        if has_endpoints {
            self.plan.balancers.insert(balancer, Balancer::new(service, endpoints));
        }
    }

    /// The chain for traffic from outside, if the service can have such traffic and has endpoints.
    fn external(
        &mut self,
        service: &ServicePort,
        path: &str,
        balancer: &str,
        endpoints: &[SocketAddrV4],
    ) -> Option<String> {
        if endpoints.is_empty() || (service.external_ips.is_empty() && service.node_port.is_none()) {
            return None;
        }
        let name = format!("ext/{path}");
        let external = if service.local_endpoints_only_external {
            let near = |e: &&SocketAddrV4| self.is_pod(*e.ip()) || self.locals.contains(e.ip());
            let near: Vec<_> = endpoints.iter().filter(near).copied().collect();
            let local = (!near.is_empty()).then(|| format!("loc/{path}"));
            if let Some(local) = &local {
                self.plan.balancers.insert(local.clone(), Balancer::new(service, near));
            }
            External::Local {
                all: balancer.to_owned(),
                local,
            }
        } else {
            External::Cluster {
                to: balancer.to_owned(),
            }
        };
        self.plan.externals.insert(name.clone(), external);
        Some(name)
    }

    fn is_pod(&self, ip: Ipv4Addr) -> bool {
        self.config.pod_cidr.contains(ip)
    }

    fn lead(&mut self, service: &ServicePort, key: Key, chain: Option<&String>) {
        if self.plan.services.contains_key(&key) || self.plan.refused.contains(&key) {
            self.conflict(service, &format!("{}:{}", key.0, key.2));
        } else if let Some(chain) = chain {
            self.plan.services.insert(key, chain.clone());
        } else {
            self.plan.refused.insert(key);
        }
    }

    fn lead_port(&mut self, service: &ServicePort, key: PortKey, chain: Option<&String>) {
        if self.plan.node_ports.contains_key(&key) || self.plan.refused_ports.contains(&key) {
            self.conflict(service, &format!("node port {}", key.1));
        } else if let Some(chain) = chain {
            self.plan.node_ports.insert(key, chain.clone());
        } else {
            self.plan.refused_ports.insert(key);
        }
    }

    fn conflict(&mut self, service: &ServicePort, what: &str) {
        self.conflicts.push(format!(
            "{} ({}): {what} is taken by another service",
            service.name, service.protocol
        ));
    }
}

/// The middle of a chain's name: `namespace/service/port/protocol`.
///
/// What the `nft` program could not read, or what could make two names equal, is told apart by a checksum.
fn path(service: &ServicePort) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/');
    let mut path: String = service
        .name
        .replace(':', "/")
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    let plain = service.name.chars().all(|c| fits(c) || c == ':')
        && service.name.matches('/').count() <= 1
        && service.name.matches(':').count() <= 1;
    if !plain || path.len() > 200 {
        path.truncate(200);
        let _ = write!(path, "_{:016x}", crate::names::checksum(service.name.as_bytes()));
    }
    let _ = write!(path, "/{}", service.protocol.lower());
    path
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn config() -> Config {
        Config {
            bridge: "barepod0".into(),
            pod_cidr: "10.244.1.0/24".parse().unwrap(),
            cluster_cidr: "10.244.0.0/16".parse().unwrap(),
            service_cidr: "10.96.0.0/16".parse().unwrap(),
            state_dir: "/nonexistent".into(),
            mtu: None,
        }
    }

    pub(crate) fn service(name: &str, ip: &str, endpoints: &[&str]) -> ServicePort {
        ServicePort {
            name: name.into(),
            cluster_ip: Some(ip.parse().unwrap()),
            port: 80,
            endpoints: endpoints.iter().map(|e| e.parse().unwrap()).collect(),
            ..ServicePort::default()
        }
    }

    fn compile(services: &[ServicePort]) -> Plan {
        let (plan, conflicts) = Plan::compile(services, &config(), &["192.0.2.1".parse().unwrap()]);
        assert_eq!(conflicts, Vec::<String>::new());
        plan
    }

    #[test]
    fn a_cluster_ip_leads_to_its_balancer() {
        let plan = compile(&[service(
            "default/web:http",
            "10.96.0.10",
            &[
                "10.244.1.6:8080",
                "10.244.1.5:8080",
                "10.244.1.5:8080",
                "10.244.2.5:8080",
            ],
        )]);
        let name = "svc/default/web/http/tcp";
        assert_eq!(plan.services[&("10.96.0.10".parse().unwrap(), Protocol::Tcp, 80)], name);
        let endpoints: Vec<_> = plan.balancers[name].endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(endpoints, ["10.244.1.5:8080", "10.244.1.6:8080", "10.244.2.5:8080"]);
        let hairpins: Vec<_> = plan.hairpins.iter().map(ToString::to_string).collect();
        assert_eq!(
            hairpins,
            ["10.244.1.5", "10.244.1.6"],
            "a pod of another node cannot meet itself here"
        );
        assert!(plan.externals.is_empty() && plan.refused.is_empty());
    }

    #[test]
    fn the_order_does_not_matter() {
        let a = service("default/a:", "10.96.0.1", &["10.244.1.5:1", "10.244.1.6:1"]);
        let b = service("default/b:", "10.96.0.2", &["10.244.1.7:1"]);
        let turned = service("default/a:", "10.96.0.1", &["10.244.1.6:1", "10.244.1.5:1"]);
        assert_eq!(compile(&[a, b.clone()]), compile(&[b, turned]));
    }

    #[test]
    fn without_endpoints_everything_is_refused() {
        let mut s = service("default/web:http", "10.96.0.10", &[]);
        s.node_port = Some(30080);
        s.external_ips = vec!["203.0.113.7".parse().unwrap()];
        let plan = compile(&[s]);
        assert!(plan.balancers.is_empty() && plan.externals.is_empty() && plan.services.is_empty());
        assert_eq!(plan.refused.len(), 2);
        assert!(plan.refused_ports.contains(&(Protocol::Tcp, 30080)));
    }

    #[test]
    fn outside_traffic_goes_through_its_own_chain() {
        let mut s = service("default/web:http", "10.96.0.10", &["10.244.1.5:1"]);
        s.node_port = Some(30080);
        s.external_ips = vec!["203.0.113.7".parse().unwrap()];
        let plan = compile(&[s]);
        assert_eq!(plan.node_ports[&(Protocol::Tcp, 30080)], "ext/default/web/http/tcp");
        assert_eq!(
            plan.services[&("203.0.113.7".parse().unwrap(), Protocol::Tcp, 80)],
            "ext/default/web/http/tcp"
        );
        assert_eq!(
            plan.externals["ext/default/web/http/tcp"],
            External::Cluster {
                to: "svc/default/web/http/tcp".into()
            }
        );
    }

    #[test]
    fn local_policy_keeps_to_this_node() {
        let mut s = service(
            "default/web:http",
            "10.96.0.10",
            &["10.244.1.5:1", "10.244.2.5:1", "192.0.2.1:1"],
        );
        s.node_port = Some(30080);
        s.local_endpoints_only_external = true;
        let plan = compile(std::slice::from_ref(&s));
        let near: Vec<_> = plan.balancers["loc/default/web/http/tcp"]
            .endpoints
            .iter()
            .map(|e| *e.ip())
            .collect();
        assert_eq!(
            near,
            ["10.244.1.5".parse::<Ipv4Addr>().unwrap(), "192.0.2.1".parse().unwrap()]
        );
        s.endpoints = vec!["10.244.2.5:1".parse().unwrap()];
        let plan = compile(&[s]);
        assert_eq!(
            plan.externals["ext/default/web/http/tcp"],
            External::Local {
                all: "svc/default/web/http/tcp".into(),
                local: None
            }
        );
    }

    #[test]
    fn the_first_of_two_services_keeps_the_address() {
        let mut one = service("a/one:", "10.96.0.10", &["10.244.1.5:1"]);
        let mut two = service("a/two:", "10.96.0.10", &["10.244.1.6:1"]);
        one.node_port = Some(30080);
        two.node_port = Some(30080);
        let (plan, conflicts) = Plan::compile(&[two, one.clone(), one], &config(), &[]);
        assert_eq!(conflicts.len(), 3, "{conflicts:?}");
        assert_eq!(plan.services.values().collect::<Vec<_>>(), ["svc/a/one//tcp"]);
        assert_eq!(plan.node_ports.values().collect::<Vec<_>>(), ["ext/a/one//tcp"]);
    }

    #[test]
    fn names_stay_readable_and_distinct() {
        let name = |name: &str| {
            path(&ServicePort {
                name: name.into(),
                ..ServicePort::default()
            })
        };
        assert_eq!(name("default/web:http"), "default/web/http/tcp");
        assert_ne!(name("a/b:c"), name("a/b/c"));
        assert_ne!(name("a/b:c d"), name("a/b:c_d"));
        assert!(name(&"x".repeat(500)).len() < 250);
    }
}
