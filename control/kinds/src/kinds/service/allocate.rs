//! Cluster addresses and node ports: what a Service asks for is checked, what it leaves open is chosen.
//!
//! Both ranges keep their lower part for fixed requests (KEP-3070, KEP-3668): chosen values come from the upper part
//! until that is full, so that well-known numbers stay free.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};

use super::{HEADLESS, has_cluster_ip, has_node_ports, needs_health_check_port};
use crate::conditions;
use crate::context::Context;
use crate::invalid::Denied;
use crate::names;
use crate::path::{Errors, Path};
use crate::value::{self, i64_at, list_at, object_mut, str_at, strings, text};

const SPEC: Path<'static> = Path::new("spec");

/// Gives the Service its address and ports; `old` is the stored Service on an update.
pub(super) fn allocate(cx: &Context<'_>, service: &mut Value, old: Option<&Value>) -> Result<(), Denied> {
    let kind = str_at(service, &["spec", "type"]).unwrap_or("").to_owned();
    let mut errors = Errors::new();
    let wants_ports = has_node_ports(service) || needs_health_check_port(service);
    let headless = str_at(service, &["spec", "clusterIP"]) == Some(HEADLESS);
    let held = old.and_then(|o| str_at(o, &["spec", "clusterIP"]));
    let needs_address =
        has_cluster_ip(&kind) && !headless && (held.is_none() || held != str_at(service, &["spec", "clusterIP"]));
    if !needs_address && !wants_ports {
        return Ok(());
    }
    let others = Others::of(cx, service);
    if needs_address {
        cluster_ip(cx, service, &others, &mut errors);
    }
    if has_node_ports(service) {
        node_ports(cx, service, &others, &mut errors);
    }
    if needs_health_check_port(service) {
        health_check_port(cx, service, &others, &mut errors);
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Denied::Invalid(errors.into_vec()))
    }
}

/// What all other Services hold.
struct Others {
    addresses: HashSet<Ipv4Addr>,
    /// Port and protocol; a health check port counts as TCP.
    ports: HashSet<(u16, String)>,
}

impl Others {
    fn of(cx: &Context<'_>, service: &Value) -> Self {
        let own = (
            str_at(service, &["metadata", "namespace"]).unwrap_or(cx.namespace),
            name(service),
        );
        let mut others = Others {
            addresses: HashSet::new(),
            ports: HashSet::new(),
        };
        for other in cx.cluster.list("", "services", None) {
            if (str_at(&other, &["metadata", "namespace"]).unwrap_or(""), name(&other)) == own {
                continue;
            }
            let single = str_at(&other, &["spec", "clusterIP"]);
            let addresses = strings(&other, &["spec", "clusterIPs"]).chain(single);
            others
                .addresses
                .extend(addresses.filter_map(|a| a.parse::<Ipv4Addr>().ok()));
            for port in list_at(&other, &["spec", "ports"]) {
                if let Some(number) = port_number(port, "nodePort") {
                    others.ports.insert((number, text(port, "protocol").to_owned()));
                }
            }
            if let Some(number) = port_number(other.get("spec").unwrap_or(&Value::Null), "healthCheckNodePort") {
                others.ports.insert((number, "TCP".into()));
            }
        }
        others
    }

    /// Whether a port is taken for any protocol.
    fn takes(&self, number: u16) -> bool {
        ["TCP", "UDP", "SCTP"]
            .iter()
            .any(|p| self.ports.contains(&(number, (*p).to_owned())))
    }
}

fn name(service: &Value) -> &str {
    str_at(service, &["metadata", "name"]).unwrap_or("")
}

fn port_number(obj: &Value, key: &str) -> Option<u16> {
    i64_at(obj, &[key])
        .filter(|n| *n != 0)
        .and_then(|n| u16::try_from(n).ok())
}

/// A number that differs between Services and requests, to start the search for a free value at.
fn spread(cx: &Context<'_>, service: &Value) -> u64 {
    // FNV-1a; this needs no quality, only that neighbours start far apart.
    let namespace = cx.namespace.bytes();
    let text = namespace
        .chain(name(service).bytes())
        .chain(cx.now.as_nanosecond().to_le_bytes());
    text.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The first free number of `low..=high`, searched from a spread start above the part kept for fixed requests.
fn pick(low: u64, high: u64, kept: u64, start: u64, taken: impl Fn(u64) -> bool) -> Option<u64> {
    let middle = (low + kept).min(high);
    let upper = high - middle + 1;
    let in_upper = (0..upper).map(|i| middle + (start % upper + i) % upper);
    in_upper.chain(low..middle).find(|n| !taken(*n))
}

/// A network that Services get addresses from.
struct Range {
    base: u64,
    size: u64,
    prefix: u8,
}

impl Range {
    fn new((network, prefix): (Ipv4Addr, u8)) -> Self {
        let size = 1u64 << (32 - u32::from(prefix.min(32)));
        let base = u64::from(u32::from(network)) & !(size - 1);
        Range { base, size, prefix }
    }

    /// The first and the last address that is given out: neither the network's own one nor the broadcast address is.
    fn bounds(&self) -> (u64, u64) {
        (self.base + 1, self.base + self.size.saturating_sub(2).max(1))
    }

    fn holds(&self, address: Ipv4Addr) -> bool {
        let (low, high) = self.bounds();
        (low..=high).contains(&u64::from(u32::from(address)))
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", ip(self.base), self.prefix)
    }
}

fn ip(number: u64) -> Ipv4Addr {
    Ipv4Addr::from(u32::try_from(number).unwrap_or(0))
}

/// The networks of the ServiceCIDRs that are ready and stay (KEP-1880), the default one first. Before there are any it is
/// the one that the server was started with.
fn ranges(cx: &Context<'_>) -> Vec<Range> {
    let all = cx.cluster.list("networking.k8s.io", "servicecidrs", None);
    if all.is_empty() {
        return vec![Range::new(cx.settings.service_cidr)];
    }
    let mut usable: Vec<_> = all
        .iter()
        .filter(|cidr| str_at(cidr, &["metadata", "deletionTimestamp"]).is_none() && conditions::is_true(cidr, "Ready"))
        .collect();
    usable.sort_by_key(|cidr| name(cidr) != "kubernetes");
    let cidrs = usable.iter().flat_map(|cidr| strings(cidr, &["spec", "cidrs"]));
    let ranges = cidrs.filter_map(|text| match names::cidr(text)? {
        (IpAddr::V4(network), prefix) => Some(Range::new((network, prefix))),
        _ => None,
    });
    ranges.collect()
}

/// Whether somebody holds an address for something else than a Service.
fn held_otherwise(cx: &Context<'_>, address: Ipv4Addr) -> bool {
    let found = cx
        .cluster
        .get("networking.k8s.io", "ipaddresses", None, &address.to_string());
    found.is_some_and(|held| str_at(&held, &["spec", "parentRef", "resource"]) != Some("services"))
}

fn cluster_ip(cx: &Context<'_>, service: &mut Value, others: &Others, errors: &mut Errors) {
    let ranges = ranges(cx);
    let path = SPEC.child("clusterIPs");
    let asked = str_at(service, &["spec", "clusterIP"]).map(str::to_owned);
    let chosen = match asked {
        Some(text) => {
            let Ok(address) = text.parse::<Ipv4Addr>() else { return };
            let problem = if !ranges.iter().any(|range| range.holds(address)) {
                let valid: Vec<String> = ranges.iter().map(Range::to_string).collect();
                let valid = valid.join(", ");
                format!("the provided IP ({text}) is not in the valid range. The range of valid IPs is {valid}")
            } else if others.addresses.contains(&address) || held_otherwise(cx, address) {
                "provided IP is already allocated".to_owned()
            } else {
                String::new()
            };
            if !problem.is_empty() {
                let value = json!(strings(service, &["spec", "clusterIPs"]).collect::<Vec<_>>());
                errors.invalid(&path, value, format!("failed to allocate IP {text}: {problem}"));
                return;
            }
            address
        }
        None => {
            let taken = |n: u64| others.addresses.contains(&ip(n)) || held_otherwise(cx, ip(n));
            let free = ranges.iter().find_map(|range| {
                let ((low, high), kept) = (range.bounds(), (range.size / 16).clamp(16, 256));
                pick(low, high, kept, spread(cx, service), taken)
            });
            let Some(number) = free else {
                errors.invalid(&path, Value::Null, "failed to allocate an IP: range is full");
                return;
            };
            ip(number)
        }
    };
    if let Some(spec) = object_mut(service, "spec") {
        spec.insert("clusterIP".into(), chosen.to_string().into());
        spec.insert("clusterIPs".into(), json!([chosen.to_string()]));
    }
}

fn choose_port(cx: &Context<'_>, service: &Value, salt: u64, taken: impl Fn(u16) -> bool) -> Option<u16> {
    let (low, high) = (
        u64::from(*cx.settings.node_port_range.start()),
        u64::from(*cx.settings.node_port_range.end()),
    );
    let kept = ((high - low + 1) / 32).clamp(16, 128);
    let start = spread(cx, service).wrapping_add(salt);
    let number = pick(low, high, kept, start, |n| u16::try_from(n).is_ok_and(&taken))?;
    u16::try_from(number).ok()
}

fn range_problem(cx: &Context<'_>, number: u16) -> Option<String> {
    let range = &cx.settings.node_port_range;
    (!range.contains(&number)).then(|| {
        format!(
            "provided port is not in the valid range. The range of valid ports is {}-{}",
            range.start(),
            range.end()
        )
    })
}

fn node_ports(cx: &Context<'_>, service: &mut Value, others: &Others, errors: &mut Errors) {
    let list = SPEC.child("ports");
    let mut own: Vec<(u16, String)> = Vec::new();
    // Ports asked for come first, so that no chosen one gets in their way.
    for (i, port) in list_at(service, &["spec", "ports"]).iter().enumerate() {
        let Some(number) = port_number(port, "nodePort") else {
            continue;
        };
        let key = (number, text(port, "protocol").to_owned());
        let item = list.index(i);
        let at = item.child("nodePort");
        if let Some(problem) = range_problem(cx, number) {
            errors.invalid(&at, number, problem);
        } else if others.ports.contains(&key) {
            errors.invalid(&at, number, "provided port is already allocated");
        }
        own.push(key);
    }
    if !errors.is_empty() {
        return;
    }
    for i in 0..list_at(service, &["spec", "ports"]).len() {
        let port = &list_at(service, &["spec", "ports"])[i];
        if port_number(port, "nodePort").is_some() {
            continue;
        }
        let protocol = text(port, "protocol").to_owned();
        let number = i64_at(port, &["port"]);
        // One port number with several protocols keeps one node port for all of them (DNS over UDP and TCP).
        let sibling = list_at(service, &["spec", "ports"]).iter().find_map(|p| {
            let node_port = port_number(p, "nodePort").filter(|_| i64_at(p, &["port"]) == number)?;
            let key = (node_port, protocol.clone());
            (!own.contains(&key) && !others.ports.contains(&key)).then_some(node_port)
        });
        let salt = u64::try_from(i).unwrap_or(0).wrapping_mul(977);
        let taken = |n: u16| others.takes(n) || own.iter().any(|(o, _)| *o == n);
        let Some(chosen) = sibling.or_else(|| choose_port(cx, service, salt, taken)) else {
            let item = list.index(i);
            errors.invalid(
                &item.child("nodePort"),
                0,
                "failed to allocate a nodePort: range is full",
            );
            return;
        };
        own.push((chosen, protocol));
        let port = service
            .get_mut("spec")
            .and_then(|s| value::items_mut(s, "ports").get_mut(i));
        if let Some(map) = port.and_then(Value::as_object_mut) {
            map.insert("nodePort".into(), chosen.into());
        }
    }
}

fn health_check_port(cx: &Context<'_>, service: &mut Value, others: &Others, errors: &mut Errors) {
    let path = SPEC.child("healthCheckNodePort");
    let own: Vec<u16> = list_at(service, &["spec", "ports"])
        .iter()
        .filter_map(|p| port_number(p, "nodePort"))
        .collect();
    let asked = service.get("spec").and_then(|s| port_number(s, "healthCheckNodePort"));
    if let Some(number) = asked {
        if let Some(problem) = range_problem(cx, number) {
            errors.invalid(&path, number, problem);
        } else if others.ports.contains(&(number, "TCP".into())) || own.contains(&number) {
            errors.invalid(&path, number, "provided port is already allocated");
        }
        return;
    }
    let taken = |n: u16| others.takes(n) || own.contains(&n);
    match choose_port(cx, service, 7, taken) {
        Some(number) => {
            if let Some(spec) = object_mut(service, "spec") {
                spec.insert("healthCheckNodePort".into(), number.into());
            }
        }
        None => errors.invalid(&path, 0, "failed to allocate a healthCheckNodePort: range is full"),
    }
}
