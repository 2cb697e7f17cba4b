//! What is in the kernel's tables.

use super::Verdict;
use super::abi::{
    GETRULE, GETSET, GETSETELEM, GETTABLE, NFNL_SUBSYS_NFTABLES, NFPROTO_IPV4, NFTA_DATA_VALUE, NFTA_DATA_VERDICT,
    NFTA_EXPR_DATA, NFTA_EXPR_NAME, NFTA_IMMEDIATE_DATA, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS, NFTA_RULE_TABLE,
    NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET,
    NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_NAME, NFTA_SET_TABLE, NFTA_TABLE_HANDLE, NFTA_TABLE_NAME, NFTA_TABLE_USERDATA,
    NFTA_VERDICT_CHAIN, generic_header,
};
use crate::Result;
use crate::netlink::{Attributes, Batch, Socket};
use netlink_packet_core::NLM_F_DUMP;
use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddrV4};

/// One element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    pub(crate) key: Vec<u8>,
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) verdict: Option<Verdict<'a>>,
}

impl<'a> Element<'a> {
    pub(crate) fn key(key: Vec<u8>) -> Self {
        Self {
            key,
            data: None,
            verdict: None,
        }
    }

    pub(crate) fn data(key: Vec<u8>, data: Vec<u8>) -> Self {
        Self {
            key,
            data: Some(data),
            verdict: None,
        }
    }

    pub(crate) fn verdict(key: Vec<u8>, verdict: Verdict<'a>) -> Self {
        Self {
            key,
            data: None,
            verdict: Some(verdict),
        }
    }
}

/// An element as it was read: the key, and the data or the name of the chain its verdict leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) key: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) chain: Option<String>,
}

/// A table's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// Never used twice while the kernel runs.
    pub(crate) handle: u64,
    pub(crate) comment: Option<String>,
}

fn request(batch: &mut Batch, kind: u16, flags: u16) -> crate::netlink::Message<'_> {
    let mut message = batch.message(NFNL_SUBSYS_NFTABLES << 8 | kind, flags);
    message.header(&generic_header(NFPROTO_IPV4, 0));
    message
}

/// The table, if there is one of that name.
pub(crate) fn table(socket: &mut Socket, name: &str) -> Result<Option<Table>> {
    let mut batch = Batch::new();
    request(&mut batch, GETTABLE, 0).text(NFTA_TABLE_NAME, name);
    batch.seal();
    let found = socket.dump(&batch, "look up an nf_tables table", |found, payload| {
        let attributes = Attributes::new(payload.get(4..).unwrap_or_default());
        let comment = attributes
            .get(NFTA_TABLE_USERDATA)
            .and_then(|data| data.get(2..data.len().saturating_sub(1)))
            .map(|text| Cow::into_owned(String::from_utf8_lossy(text)));
        found.extend(
            attributes
                .be64(NFTA_TABLE_HANDLE)
                .map(|handle| Table { handle, comment }),
        );
    });
    match found {
        Ok(found) => Ok(found.into_iter().next()),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The names of a table's sets and maps; none if there is no such table.
pub(crate) fn sets(socket: &mut Socket, table: &str) -> Result<Vec<String>> {
    let mut batch = Batch::new();
    request(&mut batch, GETSET, NLM_F_DUMP).text(NFTA_SET_TABLE, table);
    let found = socket.dump(&batch, "list nf_tables sets", |found, payload| {
        let attributes = Attributes::new(payload.get(4..).unwrap_or_default());
        found.extend(attributes.text(NFTA_SET_NAME).map(str::to_owned));
    });
    match found {
        Err(error) if error.is_missing() => Ok(vec![]),
        other => other,
    }
}

/// Where a rule leads: its chain, and the address it translates to or the chain it goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lead {
    pub(crate) chain: String,
    pub(crate) endpoint: Option<SocketAddrV4>,
    pub(crate) to: Option<String>,
}

/// The rules of a table that lead somewhere, in order; none if there is no such table.
pub(crate) fn leads(socket: &mut Socket, table: &str) -> Result<Vec<Lead>> {
    let mut batch = Batch::new();
    request(&mut batch, GETRULE, NLM_F_DUMP).text(NFTA_RULE_TABLE, table);
    let found = socket.dump(&batch, "list nf_tables rules", |found, payload| {
        let rule = Attributes::new(payload.get(4..).unwrap_or_default());
        if let Some(chain) = rule
            .text(NFTA_RULE_CHAIN)
            .filter(|_| rule.text(NFTA_RULE_TABLE) == Some(table))
        {
            found.extend(lead(chain, rule.inside(NFTA_RULE_EXPRESSIONS)));
        }
    });
    match found {
        Err(error) if error.is_missing() => Ok(vec![]),
        other => other,
    }
}

fn lead(chain: &str, expressions: Attributes<'_>) -> Option<Lead> {
    let (mut ip, mut port, mut to) = (None, None, None);
    for (_, expression) in expressions {
        let expression = Attributes::new(expression);
        if expression.text(NFTA_EXPR_NAME) != Some("immediate") {
            continue;
        }
        let data = expression.inside(NFTA_EXPR_DATA).inside(NFTA_IMMEDIATE_DATA);
        match data.get(NFTA_DATA_VALUE) {
            Some(&[a, b, c, d]) => ip = Some(Ipv4Addr::new(a, b, c, d)),
            Some(&[high, low]) => port = Some(u16::from_be_bytes([high, low])),
            _ => {
                to = data
                    .inside(NFTA_DATA_VERDICT)
                    .text(NFTA_VERDICT_CHAIN)
                    .map(str::to_owned)
            }
        }
    }
    let endpoint = ip.zip(port).map(|(ip, port)| SocketAddrV4::new(ip, port));
    (endpoint.is_some() || to.is_some()).then(|| Lead {
        chain: chain.to_owned(),
        endpoint,
        to,
    })
}

/// The elements of a set; none if there is no such set.
pub(crate) fn elements(socket: &mut Socket, table: &str, set: &str) -> Result<Vec<Found>> {
    let mut batch = Batch::new();
    request(&mut batch, GETSETELEM, NLM_F_DUMP)
        .text(NFTA_SET_ELEM_LIST_TABLE, table)
        .text(NFTA_SET_ELEM_LIST_SET, set);
    let found = socket.dump(&batch, "list the elements of an nf_tables set", |found, payload| {
        let list = Attributes::new(payload.get(4..).unwrap_or_default()).inside(NFTA_SET_ELEM_LIST_ELEMENTS);
        for (_, element) in list {
            let element = Attributes::new(element);
            let data = element.inside(NFTA_SET_ELEM_DATA);
            found.push(Found {
                key: element
                    .inside(NFTA_SET_ELEM_KEY)
                    .get(NFTA_DATA_VALUE)
                    .unwrap_or_default()
                    .to_vec(),
                data: data.get(NFTA_DATA_VALUE).unwrap_or_default().to_vec(),
                chain: data
                    .inside(NFTA_DATA_VERDICT)
                    .text(NFTA_VERDICT_CHAIN)
                    .map(str::to_owned),
            });
        }
    });
    match found {
        Err(error) if error.is_missing() => Ok(vec![]),
        other => other,
    }
}
