//! The fixed part of the table: base chains, their rules, and the empty maps.

use crate::nft::types::{INET_PROTOCOL, INET_SERVICE, IPV4_ADDRESS, VERDICT, concat};
use crate::nft::{SetSpec, Transaction, Verdict};
use crate::{Config, Protocol};

/// Name of the table, in the `ip` family.
pub(crate) const TABLE: &str = "barepod";
/// Raised whenever the fixed part changes, so that an older table is replaced.
const LAYOUT: u32 = 1;
/// The packet mark that asks for masquerading; the bit Kubernetes' own proxy uses.
pub(super) const MASQUERADE_MARK: u32 = 0x4000;

pub(super) const SERVICES: &str = "services";
pub(super) const NODE_PORTS: &str = "node_ports";
pub(super) const HOST_PORTS: &str = "host_ports";
pub(super) const HOST_PORTS_AT: &str = "host_ports_at";
pub(super) const HOST_PORT_PODS: &str = "host_port_pods";
pub(super) const REFUSED: &str = "refused";
pub(super) const REFUSED_PORTS: &str = "refused_ports";
pub(super) const HAIRPINS: &str = "hairpins";

const KEY: u32 = concat(&[IPV4_ADDRESS, INET_PROTOCOL, INET_SERVICE]);
const PORT_KEY: u32 = concat(&[INET_PROTOCOL, INET_SERVICE]);
const ENDPOINT: u32 = concat(&[IPV4_ADDRESS, INET_SERVICE]);
const ADDRESS_PAIR: u32 = concat(&[IPV4_ADDRESS, IPV4_ADDRESS]);

/// Kept with the table: another layout or other settings need another table.
pub(super) fn comment(config: &Config) -> String {
    format!(
        "barepod layout {LAYOUT}, bridge {}, pods {}, cluster {}, services {}",
        config.bridge, config.pod_cidr, config.cluster_cidr, config.service_cidr
    )
}

/// Writes the table without any service.
pub(super) fn write(t: &mut Transaction, config: &Config) {
    t.add_table(Some(&comment(config)));
    sets(t);
    for chain in ["dispatch", "dispatch_local", "unreachable", "refuse"] {
        t.add_chain(chain);
    }
    // NF_IP_PRI_NAT_DST, NF_IP_PRI_NAT_SRC, NF_IP_PRI_FILTER.
    t.add_base_chain("prerouting", "nat", 0, -100);
    t.add_base_chain("output", "nat", 3, -100);
    t.add_base_chain("postrouting", "nat", 4, 100);
    t.add_base_chain("filter_input", "filter", 1, 0);
    t.add_base_chain("filter_forward", "filter", 2, 0);
    t.add_base_chain("filter_output", "filter", 3, 0);
    dispatch(t);
    postrouting(t, config);
    refuse(t, config);
}

fn sets(t: &mut Transaction) {
    let set = |name, key_type, key_bytes, data| SetSpec {
        name,
        key_type,
        key_bytes,
        data,
        ..SetSpec::default()
    };
    let verdict = Some((VERDICT, 0));
    let endpoint = Some((ENDPOINT, 8));
    t.add_set(&set(SERVICES, KEY, 12, verdict));
    t.add_set(&set(NODE_PORTS, PORT_KEY, 8, verdict));
    t.add_set(&set(HOST_PORTS, PORT_KEY, 8, endpoint));
    t.add_set(&set(HOST_PORTS_AT, KEY, 12, endpoint));
    t.add_set(&set(HOST_PORT_PODS, ADDRESS_PAIR, 8, None));
    t.add_set(&set(REFUSED, KEY, 12, None));
    t.add_set(&set(REFUSED_PORTS, PORT_KEY, 8, None));
    t.add_set(&set(HAIRPINS, ADDRESS_PAIR, 8, None));
}

fn dispatch(t: &mut Transaction) {
    for chain in ["prerouting", "output"] {
        t.add_rule(chain, |r| {
            r.verdict(Verdict::Jump("dispatch"));
        });
    }
    t.add_rule("dispatch", |r| {
        r.destination(0)
            .protocol(1)
            .destination_port(2)
            .verdict_map(SERVICES, 0);
    });
    // Loopback stays alone: answers to 127.0.0.1 cannot leave the host without route_localnet, which would open
    // local services to the network (CVE-2020-8558).
    let loopback = "127.0.0.0/8".parse().expect("a constant network");
    t.add_rule("dispatch", |r| {
        r.destination_in(loopback, false)
            .destination_is_local()
            .verdict(Verdict::Goto("dispatch_local"));
    });
    t.add_rule("dispatch_local", |r| {
        r.protocol(0).destination_port(1).verdict_map(NODE_PORTS, 0);
    });
    t.add_rule("dispatch_local", |r| {
        r.destination(0)
            .protocol(1)
            .destination_port(2)
            .map(HOST_PORTS_AT, 0, 3)
            .dnat(3);
    });
    t.add_rule("dispatch_local", |r| {
        r.protocol(0).destination_port(1).map(HOST_PORTS, 0, 2).dnat(2);
    });
}

fn postrouting(t: &mut Transaction, config: &Config) {
    const CHAIN: &str = "postrouting";
    t.add_rule(CHAIN, |r| {
        r.leaves_by("lo").verdict(Verdict::Return);
    });
    // The host's end of a pod's pair has no address that masquerading could choose.
    let gateway = config.gateway();
    t.add_rule(CHAIN, |r| {
        r.has_mark(MASQUERADE_MARK)
            .destination_in(config.pod_cidr, true)
            .mark(MASQUERADE_MARK, false)
            .snat(gateway);
    });
    t.add_rule(CHAIN, |r| {
        r.has_mark(MASQUERADE_MARK).mark(MASQUERADE_MARK, false).masquerade();
    });
    // A pod that meets itself through a Service would answer itself directly, past the translation.
    for set in [HAIRPINS, HOST_PORT_PODS] {
        t.add_rule(CHAIN, |r| {
            r.source(0).destination(1).in_set(set, 0).snat(gateway);
        });
    }
    t.add_rule(CHAIN, |r| {
        r.source_in(config.pod_cidr)
            .destination_in(config.cluster_cidr, false)
            .masquerade();
    });
}

/// Address translation happens before these chains: a packet that still has a Service's address has no endpoint.
fn refuse(t: &mut Transaction, config: &Config) {
    for chain in ["filter_forward", "filter_output"] {
        t.add_rule(chain, |r| {
            r.destination_in(config.service_cidr, true)
                .verdict(Verdict::Goto("refuse"));
        });
    }
    for chain in ["filter_input", "filter_forward", "filter_output"] {
        t.add_rule(chain, |r| {
            r.connection_is_new().verdict(Verdict::Goto("unreachable"));
        });
    }
    t.add_rule("unreachable", |r| {
        r.destination(0)
            .protocol(1)
            .destination_port(2)
            .in_set(REFUSED, 0)
            .verdict(Verdict::Goto("refuse"));
    });
    t.add_rule("unreachable", |r| {
        r.protocol(0)
            .destination_port(1)
            .in_set(REFUSED_PORTS, 0)
            .destination_is_local()
            .verdict(Verdict::Goto("refuse"));
    });
    t.add_rule("refuse", |r| {
        r.protocol_is(Protocol::Tcp.number()).reset_connection();
    });
    t.add_rule("refuse", |r| {
        r.port_unreachable();
    });
}
