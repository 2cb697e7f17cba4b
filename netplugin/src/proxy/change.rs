//! The transaction that leads from one plan to another.
//!
//! Order matters to the kernel: what is referred to must exist, what is deleted must not be referred to. So elements
//! go first and come last; rules are emptied before maps and chains are deleted.

use super::plan::{External, Key, Plan, PortKey};
use super::table::{HAIRPINS, MASQUERADE_MARK, NODE_PORTS, REFUSED, REFUSED_PORTS, SERVICES};
use super::{balancer, key, port_key};
use crate::Config;
use crate::nft::{Element, Transaction, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Appends everything that turns `old` into `new`; nothing if they are equal.
pub(super) fn write(t: &mut Transaction, old: &Plan, new: &Plan, config: &Config) {
    let externals = Difference::new(&old.externals, &new.externals);
    let balancers = Difference::new(&old.balancers, &new.balancers);
    delete_elements(t, old, new);
    for (name, _) in externals.leaving() {
        t.flush_chain(name);
    }
    for (name, was) in balancers.leaving() {
        balancer::empty(t, name, was, new.balancers.get(name));
    }
    for name in externals.gone.iter().chain(&balancers.gone) {
        t.delete_chain(name);
    }
    for name in balancers.fresh.iter().chain(&externals.fresh) {
        t.add_chain(name);
    }
    for (name, is) in balancers.coming() {
        balancer::fill(t, name, is, old.balancers.get(name));
    }
    for (name, external) in externals.coming() {
        outside(t, name, external, config);
    }
    add_elements(t, old, new);
}

/// Two maps compared by name.
struct Difference<'a, V> {
    old: &'a BTreeMap<String, V>,
    new: &'a BTreeMap<String, V>,
    gone: Vec<&'a str>,
    changed: Vec<&'a str>,
    fresh: Vec<&'a str>,
}

impl<'a, V: PartialEq> Difference<'a, V> {
    fn new(old: &'a BTreeMap<String, V>, new: &'a BTreeMap<String, V>) -> Self {
        let mut gone = vec![];
        let mut changed = vec![];
        for (name, was) in old {
            match new.get(name) {
                None => gone.push(name.as_str()),
                Some(is) if is != was => changed.push(name.as_str()),
                Some(_) => {}
            }
        }
        let fresh = new
            .keys()
            .filter(|name| !old.contains_key(*name))
            .map(String::as_str)
            .collect();
        Self {
            old,
            new,
            gone,
            changed,
            fresh,
        }
    }

    fn leaving(&self) -> impl Iterator<Item = (&'a str, &'a V)> {
        self.gone
            .iter()
            .chain(&self.changed)
            .map(|name| (*name, &self.old[*name]))
    }

    fn coming(&self) -> impl Iterator<Item = (&'a str, &'a V)> {
        self.changed
            .iter()
            .chain(&self.fresh)
            .map(|name| (*name, &self.new[*name]))
    }
}

/// Rules of a chain for traffic from outside.
fn outside(t: &mut Transaction, chain: &str, external: &External, config: &Config) {
    match external {
        External::Cluster { to } => t.add_rule(chain, |r| {
            r.mark(MASQUERADE_MARK, true).verdict(Verdict::Goto(to));
        }),
        External::Local { all, local } => {
            t.add_rule(chain, |r| {
                r.source_in(config.cluster_cidr).verdict(Verdict::Goto(all));
            });
            t.add_rule(chain, |r| {
                r.source_is_local()
                    .mark(MASQUERADE_MARK, true)
                    .verdict(Verdict::Goto(all));
            });
            t.add_rule(chain, |r| {
                r.verdict(local.as_deref().map_or(Verdict::Drop, Verdict::Goto));
            });
        }
    }
}

fn delete_elements(t: &mut Transaction, old: &Plan, new: &Plan) {
    t.delete_elements(
        SERVICES,
        differing(&old.services, &new.services).map(|(k, _)| Element::key(key_bytes(k))),
    );
    t.delete_elements(
        NODE_PORTS,
        differing(&old.node_ports, &new.node_ports).map(|(k, _)| Element::key(port_bytes(k))),
    );
    t.delete_elements(
        REFUSED,
        missing(&old.refused, &new.refused).map(|k| Element::key(key_bytes(k))),
    );
    t.delete_elements(
        REFUSED_PORTS,
        missing(&old.refused_ports, &new.refused_ports).map(|k| Element::key(port_bytes(k))),
    );
    t.delete_elements(
        HAIRPINS,
        missing(&old.hairpins, &new.hairpins).map(|ip| Element::key(pair(*ip))),
    );
}

fn add_elements(t: &mut Transaction, old: &Plan, new: &Plan) {
    t.add_elements(
        SERVICES,
        differing(&new.services, &old.services).map(|(k, chain)| Element::verdict(key_bytes(k), Verdict::Goto(chain))),
    );
    t.add_elements(
        NODE_PORTS,
        differing(&new.node_ports, &old.node_ports)
            .map(|(k, chain)| Element::verdict(port_bytes(k), Verdict::Goto(chain))),
    );
    t.add_elements(
        REFUSED,
        missing(&new.refused, &old.refused).map(|k| Element::key(key_bytes(k))),
    );
    t.add_elements(
        REFUSED_PORTS,
        missing(&new.refused_ports, &old.refused_ports).map(|k| Element::key(port_bytes(k))),
    );
    t.add_elements(
        HAIRPINS,
        missing(&new.hairpins, &old.hairpins).map(|ip| Element::key(pair(*ip))),
    );
}

/// Entries of `left` that `right` lacks or has otherwise.
fn differing<'a, K: Ord, V: PartialEq>(
    left: &'a BTreeMap<K, V>,
    right: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    left.iter().filter(|(k, v)| right.get(k) != Some(v))
}

/// Members of `left` that `right` lacks.
fn missing<'a, K: Ord>(left: &'a BTreeSet<K>, right: &'a BTreeSet<K>) -> impl Iterator<Item = &'a K> {
    left.difference(right)
}

fn key_bytes((ip, protocol, port): &Key) -> Vec<u8> {
    key(*ip, *protocol, *port)
}

fn port_bytes((protocol, port): &PortKey) -> Vec<u8> {
    port_key(*protocol, *port)
}

/// An address that meets itself.
pub(super) fn pair(ip: Ipv4Addr) -> Vec<u8> {
    [ip.octets(), ip.octets()].concat()
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{config, service};
    use super::*;
    use crate::ServicePort;

    fn requests(old: &[ServicePort], new: &[ServicePort]) -> usize {
        let plan = |services: &[ServicePort]| Plan::compile(services, &config(), &[]).0;
        let (old, new) = (plan(old), plan(new));
        let mut t = Transaction::new("barepod");
        write(&mut t, &old, &new, &config());
        t.len()
    }

    fn many() -> Vec<ServicePort> {
        (0..50)
            .map(|i| service(&format!("ns/s{i}:"), &format!("10.96.1.{i}"), &["10.244.1.2:80"]))
            .collect()
    }

    #[test]
    fn equal_plans_need_nothing() {
        assert_eq!(requests(&many(), &many()), 0);
        assert_eq!(requests(&[], &[]), 0);
    }

    #[test]
    fn one_change_touches_one_service() {
        let mut changed = many();
        changed[7].endpoints.push("10.244.2.9:80".parse().unwrap());
        // Flush, two rules.
        assert_eq!(requests(&many(), &changed), 3);
        changed[7].endpoints.push("10.244.1.9:80".parse().unwrap());
        assert_eq!(
            requests(&many(), &changed),
            5,
            "and the hairpin entry of a pod of this node"
        );
    }

    #[test]
    fn a_service_comes_and_goes_in_few_requests() {
        let one = [service("a/b:", "10.96.0.9", &["10.244.2.9:80"])];
        // Chain, rule, element.
        assert_eq!(requests(&[], &one), 3);
        assert_eq!(requests(&one, &[]), 3);
    }

    #[test]
    fn affinity_keeps_the_clients_of_other_endpoints() {
        let mut one = service("a/b:", "10.96.0.9", &["10.244.2.8:80", "10.244.2.9:80"]);
        one.affinity_secs = Some(60);
        let mut two = one.clone();
        two.endpoints.pop();
        // Flush, the member that goes (its rules, its set, itself); the other one's rules for known and new clients.
        assert_eq!(requests(&[one.clone()], &[two.clone()]), 1 + 3 + 2);
        two.affinity_secs = Some(90);
        // Both members go and one comes (chain, set, two rules).
        assert_eq!(requests(&[one], &[two]), 1 + 6 + 4 + 2);
    }
}
