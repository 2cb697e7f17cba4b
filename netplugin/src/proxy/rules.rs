//! Which rules name an address, read from the kernel.

use super::balancer::{clients_set, endpoint_of_member, member_chain};
use super::read_endpoint;
use super::table::{HAIRPINS, HOST_PORT_PODS, HOST_PORTS, HOST_PORTS_AT, NODE_PORTS, REFUSED, SERVICES, TABLE};
use crate::netlink::Socket;
use crate::nft::{self, Found, Lead};
use crate::{Protocol, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

/// The proxy's rules and map elements that name the address, one line each: as a Service's address, as an endpoint
/// (with the addresses and node ports that lead to it), as a host port's pod. Empty when there are none, also when
/// there is no table.
///
/// # Errors
/// When the kernel's tables cannot be read.
pub fn rules_for(ip: Ipv4Addr) -> Result<Vec<String>> {
    let mut socket = Socket::netfilter()?;
    let names: BTreeSet<String> = nft::sets(&mut socket, TABLE)?.into_iter().collect();
    let mut all = BTreeMap::new();
    for name in &names {
        all.insert(name.as_str(), nft::elements(&mut socket, TABLE, name)?);
    }
    let leads = nft::leads(&mut socket, TABLE)?;
    Ok(Reader { all, leads, ip }.lines())
}

struct Reader<'a> {
    all: BTreeMap<&'a str, Vec<Found>>,
    leads: Vec<Lead>,
    ip: Ipv4Addr,
}

impl Reader<'_> {
    fn elements(&self, set: &str) -> &[Found] {
        self.all.get(set).map_or(&[], Vec::as_slice)
    }

    fn names(&self, bytes: &[u8]) -> bool {
        bytes.starts_with(&self.ip.octets())
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![];
        for found in self.elements(SERVICES).iter().filter(|f| self.names(&f.key)) {
            let chain = found.chain.as_deref().unwrap_or("?");
            lines.push(format!(
                "service {} goes to {chain}: {}",
                key_text(&found.key),
                self.endpoints(chain)
            ));
        }
        for found in self.elements(REFUSED).iter().filter(|f| self.names(&f.key)) {
            lines.push(format!(
                "service {} has no endpoint, connections are refused",
                key_text(&found.key)
            ));
        }
        lines.extend(self.memberships());
        for set in [HOST_PORTS, HOST_PORTS_AT] {
            for found in self.elements(set).iter().filter(|f| self.names(&f.data)) {
                lines.push(format!(
                    "host port {} goes to {}",
                    key_text(&found.key),
                    data_text(&found.data)
                ));
            }
        }
        if [HAIRPINS, HOST_PORT_PODS]
            .iter()
            .any(|set| self.elements(set).iter().any(|f| self.names(&f.key)))
        {
            lines.push(format!("{0} to {0} through a service is masqueraded", self.ip));
        }
        lines
    }

    /// The endpoints of every balancer, by the balancer's chain. Those with session affinity name each endpoint twice:
    /// for known clients and for new ones.
    fn balancers(&self) -> BTreeMap<&str, Vec<SocketAddrV4>> {
        let mut balancers: BTreeMap<&str, Vec<SocketAddrV4>> = BTreeMap::new();
        let is_balancer = |chain: &str| ["svc/", "loc/"].iter().any(|p| chain.starts_with(p));
        for lead in self
            .leads
            .iter()
            .filter(|l| is_balancer(&l.chain) && endpoint_of_member(&l.chain).is_none())
        {
            let endpoint = lead.endpoint.or_else(|| endpoint_of_member(lead.to.as_deref()?));
            let endpoints = balancers.entry(&lead.chain).or_default();
            endpoints.extend(endpoint.filter(|e| !endpoints.contains(e)));
        }
        balancers
    }

    /// Lines for the chains that have the address among their endpoints.
    fn memberships(&self) -> Vec<String> {
        let mut lines = vec![];
        for (name, endpoints) in self.balancers() {
            for (i, endpoint) in endpoints.iter().enumerate().filter(|(_, e)| *e.ip() == self.ip) {
                lines.push(format!(
                    "endpoint {endpoint} is number {} of {} in {name}, reached by {}",
                    i + 1,
                    endpoints.len(),
                    self.entries(name),
                ));
                let clients = self.elements(&clients_set(&member_chain(name, *endpoint))).len();
                if clients > 0 {
                    lines.push(format!("{clients} clients are bound to {endpoint} in {name}"));
                }
            }
        }
        lines
    }

    fn endpoints(&self, chain: &str) -> String {
        let balancer = chain
            .strip_prefix("ext/")
            .map_or(chain.to_owned(), |path| format!("svc/{path}"));
        let all = self.balancers().remove(balancer.as_str()).unwrap_or_default();
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        if all.is_empty() {
            "no endpoint".into()
        } else {
            all.join(", ")
        }
    }

    /// Addresses and node ports that lead to a balancer.
    fn entries(&self, balancer: &str) -> String {
        let path = balancer.split_once('/').map_or(balancer, |(_, path)| path);
        let leads = |f: &&Found| {
            f.chain
                .as_deref()
                .is_some_and(|c| c == balancer || c.strip_prefix("ext/") == Some(path))
        };
        let services = self.elements(SERVICES).iter().filter(leads).map(|f| key_text(&f.key));
        let ports = self
            .elements(NODE_PORTS)
            .iter()
            .filter(leads)
            .map(|f| format!("node port {}", key_text(&f.key)));
        let all: Vec<_> = services.chain(ports).collect();
        if all.is_empty() {
            "nothing".into()
        } else {
            all.join(", ")
        }
    }
}

/// `address:port/PROTOCOL` or `port/PROTOCOL`.
fn key_text(key: &[u8]) -> String {
    let (ip, rest) = if key.len() == 12 {
        key.split_at(4)
    } else {
        (&[][..], key)
    };
    let protocol = rest
        .first()
        .and_then(|n| Protocol::from_number(*n))
        .map_or("?".into(), |p| p.to_string());
    let port = rest.get(4..6).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]));
    match <[u8; 4]>::try_from(ip) {
        Ok(ip) => format!("{}:{port}/{protocol}", Ipv4Addr::from(ip)),
        Err(_) => format!("{port}/{protocol}"),
    }
}

fn data_text(data: &[u8]) -> String {
    read_endpoint(data).map_or_else(|| "?".into(), |e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::{key, port_key};

    fn found(key: Vec<u8>, data: Vec<u8>, chain: Option<&str>) -> Found {
        Found {
            key,
            data,
            chain: chain.map(str::to_owned),
        }
    }

    #[test]
    fn an_endpoint_is_told_with_what_leads_to_it() {
        let service = key("10.96.0.10".parse().unwrap(), Protocol::Tcp, 80);
        let lead = |chain: &str, endpoint: Option<&str>, to: Option<&str>| Lead {
            chain: chain.into(),
            endpoint: endpoint.map(|e| e.parse().unwrap()),
            to: to.map(str::to_owned),
        };
        let mut reader = Reader {
            all: BTreeMap::from([
                (SERVICES, vec![found(service, vec![], Some("svc/a/web/tcp"))]),
                (
                    NODE_PORTS,
                    vec![found(port_key(Protocol::Tcp, 30080), vec![], Some("ext/a/web/tcp"))],
                ),
            ]),
            leads: vec![
                lead("dispatch", None, Some("dispatch_local")),
                lead("svc/a/web/tcp", Some("10.244.0.5:8080"), None),
                lead("svc/a/web/tcp", Some("10.244.0.6:8080"), None),
                lead("svc/a/sticky/tcp", None, Some("svc/a/sticky/tcp/10.244.0.9/80")),
                lead("svc/a/sticky/tcp", None, Some("svc/a/sticky/tcp/10.244.0.9/80")),
                lead("svc/a/sticky/tcp/10.244.0.9/80", Some("10.244.0.9:80"), None),
            ],
            ip: "10.244.0.6".parse().unwrap(),
        };
        assert_eq!(
            reader.lines(),
            [
                "endpoint 10.244.0.6:8080 is number 2 of 2 in svc/a/web/tcp, reached by 10.96.0.10:80/TCP, node port 30080/TCP"
            ]
        );
        reader.ip = "10.96.0.10".parse().unwrap();
        assert_eq!(
            reader.lines(),
            ["service 10.96.0.10:80/TCP goes to svc/a/web/tcp: 10.244.0.5:8080, 10.244.0.6:8080"]
        );
        reader.ip = "10.244.0.9".parse().unwrap();
        assert_eq!(
            reader.lines(),
            ["endpoint 10.244.0.9:80 is number 1 of 1 in svc/a/sticky/tcp, reached by nothing"]
        );
        reader.ip = "10.96.0.1".parse().unwrap();
        assert_eq!(reader.lines(), Vec::<String>::new());
    }
}
