//! Balancers in the kernel: a chain with a rule for each endpoint, which takes every nth packet that comes to it.
//!
//! Of n endpoints the first rule takes every nth packet, the second every (n - 1)th of the rest, and so on: each has
//! its turn. A map of endpoints would be one rule, but a map for each service is found by walking the list of all maps,
//! and one map for all is checked against all its users with every element (Linux 6.18): both make a table of thousands
//! of services quadratic. With session affinity the rules lead to a chain per endpoint, which notes the client.

use super::plan::Balancer;
use crate::nft::types::IPV4_ADDRESS;
use crate::nft::{Rule, SetSpec, Transaction, Verdict};
use std::net::SocketAddrV4;

/// Clients that are remembered for one endpoint at most.
const CLIENTS: u32 = 65_536;

/// The chain of one endpoint of a balancer that remembers its clients.
pub(super) fn member_chain(balancer: &str, endpoint: SocketAddrV4) -> String {
    format!("{balancer}/{}/{}", endpoint.ip(), endpoint.port())
}

/// The reverse of [`member_chain`].
pub(super) fn endpoint_of_member(chain: &str) -> Option<SocketAddrV4> {
    let (rest, port) = chain.rsplit_once('/')?;
    let (_, ip) = rest.rsplit_once('/')?;
    Some(SocketAddrV4::new(ip.parse().ok()?, port.parse().ok()?))
}

/// The set of clients that are bound to an endpoint.
pub(super) fn clients_set(member: &str) -> String {
    format!("clients/{member}")
}

/// Endpoints that have a chain of their own on one side only. As long as the timeout stays the same, the clients of the
/// endpoints that stay keep them.
fn single_members(here: &Balancer, there: Option<&Balancer>) -> Vec<SocketAddrV4> {
    if here.affinity_secs.is_none() {
        return vec![];
    }
    let there = there
        .filter(|t| t.affinity_secs == here.affinity_secs)
        .map_or(&[][..], |t| &t.endpoints);
    here.endpoints.iter().filter(|e| !there.contains(e)).copied().collect()
}

/// Empties a balancer that goes or changes.
pub(super) fn empty(t: &mut Transaction, name: &str, was: &Balancer, is: Option<&Balancer>) {
    t.flush_chain(name);
    for endpoint in single_members(was, is) {
        let member = member_chain(name, endpoint);
        t.flush_chain(&member);
        t.delete_set(&clients_set(&member));
        t.delete_chain(&member);
    }
}

/// Fills the chain of a balancer that comes or changes.
pub(super) fn fill(t: &mut Transaction, name: &str, is: &Balancer, was: Option<&Balancer>) {
    let left = (0..is.endpoints.len())
        .rev()
        .map(|i| u32::try_from(i + 1).unwrap_or(u32::MAX));
    let turns = left.zip(&is.endpoints);
    let Some(seconds) = is.affinity_secs else {
        for (left, endpoint) in turns {
            t.add_rule(name, |r| {
                every(r, left).dnat_to(*endpoint);
            });
        }
        return;
    };
    for endpoint in single_members(is, was) {
        add_member(t, &member_chain(name, endpoint), endpoint, seconds);
    }
    for endpoint in &is.endpoints {
        let member = member_chain(name, *endpoint);
        t.add_rule(name, |r| {
            r.source(0)
                .in_set(&clients_set(&member), 0)
                .verdict(Verdict::Goto(&member));
        });
    }
    for (left, endpoint) in turns {
        t.add_rule(name, |r| {
            every(r, left).verdict(Verdict::Goto(&member_chain(name, *endpoint)));
        });
    }
}

/// Matches every nth packet; the last endpoint of a balancer takes all that is left.
fn every<'r, 'm, 'a>(rule: &'r mut Rule<'m, 'a>, nth: u32) -> &'r mut Rule<'m, 'a> {
    if nth > 1 { rule.every(nth) } else { rule }
}

fn add_member(t: &mut Transaction, member: &str, endpoint: SocketAddrV4, seconds: u32) {
    let clients = clients_set(member);
    t.add_chain(member);
    t.add_set(&SetSpec {
        name: &clients,
        key_type: IPV4_ADDRESS,
        key_bytes: 4,
        size: Some(CLIENTS),
        timeout_secs: Some(seconds),
        ..SetSpec::default()
    });
    t.add_rule(member, |r| {
        r.source(0).remember(&clients, 0).dnat_to(endpoint);
    });
    // When the set is full the rule above does not match.
    t.add_rule(member, |r| {
        r.dnat_to(endpoint);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_chain_tells_its_endpoint() {
        let endpoint = "10.244.0.6:8080".parse().unwrap();
        let chain = member_chain("svc/a/web/http/tcp", endpoint);
        assert_eq!(endpoint_of_member(&chain), Some(endpoint));
        assert_eq!(endpoint_of_member("svc/a/web/http/tcp"), None);
    }
}
