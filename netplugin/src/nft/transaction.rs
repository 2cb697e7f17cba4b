//! An nf_tables transaction: everything in it takes effect at once, or nothing does.

use super::abi::{
    DELCHAIN, DELRULE, DELSET, DELSETELEM, DELTABLE, NEWCHAIN, NEWRULE, NEWSET, NEWSETELEM, NEWTABLE,
    NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES, NFPROTO_IPV4, NFT_SET_EVAL, NFT_SET_MAP,
    NFT_SET_TIMEOUT, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE, NFTA_CHAIN_TYPE,
    NFTA_DATA_VALUE, NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_LIST_ELEM, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS,
    NFTA_RULE_TABLE, NFTA_SET_DATA_LEN, NFTA_SET_DATA_TYPE, NFTA_SET_DESC, NFTA_SET_DESC_SIZE, NFTA_SET_ELEM_DATA,
    NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_FLAGS,
    NFTA_SET_ID, NFTA_SET_KEY_LEN, NFTA_SET_KEY_TYPE, NFTA_SET_NAME, NFTA_SET_TABLE, NFTA_SET_TIMEOUT,
    NFTA_SET_USERDATA, NFTA_TABLE_NAME, NFTA_TABLE_USERDATA, generic_header,
};
use super::{Element, Rule, types};
use crate::Result;
use crate::netlink::{Batch, Message, Socket};
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};

/// A list of elements is one attribute, which cannot be longer than 64 KiB; a new message begins before that.
const ELEMENT_LIST_BYTES: usize = 48 * 1024;

/// What a set or map is like.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SetSpec<'a> {
    pub(crate) name: &'a str,
    pub(crate) key_type: u32,
    pub(crate) key_bytes: u32,
    /// Makes it a map: type and length of the data.
    pub(crate) data: Option<(u32, u32)>,
    /// The number of elements, if it does not change: the kernel can choose a smaller table.
    pub(crate) size: Option<u32>,
    /// Entries are made by packets and vanish after this time.
    pub(crate) timeout_secs: Option<u32>,
}

/// A transaction on one table of the `ip` family.
#[derive(Debug)]
pub(crate) struct Transaction {
    batch: Batch,
    table: &'static str,
    sets: u32,
}

impl Transaction {
    pub(crate) fn new(table: &'static str) -> Self {
        let mut batch = Batch::new();
        batch
            .message(NFNL_MSG_BATCH_BEGIN, 0)
            .header(&generic_header(0, NFNL_SUBSYS_NFTABLES));
        Self { batch, table, sets: 0 }
    }

    /// Requests so far.
    pub(crate) fn len(&self) -> usize {
        self.batch.len() - 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn message(&mut self, kind: u16, flags: u16) -> Message<'_> {
        let mut message = self.batch.message(NFNL_SUBSYS_NFTABLES << 8 | kind, flags);
        message.header(&generic_header(NFPROTO_IPV4, 0));
        message
    }

    /// Makes the table unless it is there; the comment is kept with it when it is new.
    pub(crate) fn add_table(&mut self, comment: Option<&str>) {
        let table = self.table;
        let mut message = self.message(NEWTABLE, NLM_F_CREATE);
        message.text(NFTA_TABLE_NAME, table);
        if let Some(comment) = comment {
            message.bytes(NFTA_TABLE_USERDATA, &comment_data(comment));
        }
    }

    pub(crate) fn delete_table(&mut self) {
        let table = self.table;
        self.message(DELTABLE, 0).text(NFTA_TABLE_NAME, table);
    }

    /// Makes a chain that other rules lead to.
    pub(crate) fn add_chain(&mut self, name: &str) {
        let table = self.table;
        self.message(NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL)
            .text(NFTA_CHAIN_TABLE, table)
            .text(NFTA_CHAIN_NAME, name);
    }

    /// Makes a chain the kernel calls at a hook (0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting).
    pub(crate) fn add_base_chain(&mut self, name: &str, kind: &str, hook: u32, priority: i32) {
        let table = self.table;
        self.message(NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL)
            .text(NFTA_CHAIN_TABLE, table)
            .text(NFTA_CHAIN_NAME, name)
            .nest(NFTA_CHAIN_HOOK, |m| {
                m.be32(NFTA_HOOK_HOOKNUM, hook)
                    .bytes(NFTA_HOOK_PRIORITY, &priority.to_be_bytes());
            })
            .be32(NFTA_CHAIN_POLICY, 1)
            .text(NFTA_CHAIN_TYPE, kind);
    }

    /// Deletes a chain; nothing may lead to it any more.
    pub(crate) fn delete_chain(&mut self, name: &str) {
        let table = self.table;
        self.message(DELCHAIN, 0)
            .text(NFTA_CHAIN_TABLE, table)
            .text(NFTA_CHAIN_NAME, name);
    }

    /// Appends a rule to a chain.
    pub(crate) fn add_rule(&mut self, chain: &str, fill: impl FnOnce(&mut Rule<'_, '_>)) {
        let table = self.table;
        let mut message = self.message(NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
        message
            .text(NFTA_RULE_TABLE, table)
            .text(NFTA_RULE_CHAIN, chain)
            .nest(NFTA_RULE_EXPRESSIONS, |m| {
                fill(&mut Rule::new(m));
            });
    }

    /// Deletes every rule of a chain.
    pub(crate) fn flush_chain(&mut self, chain: &str) {
        let table = self.table;
        self.message(DELRULE, 0)
            .text(NFTA_RULE_TABLE, table)
            .text(NFTA_RULE_CHAIN, chain);
    }

    pub(crate) fn add_set(&mut self, spec: &SetSpec<'_>) {
        let table = self.table;
        self.sets += 1;
        let id = self.sets;
        let mut flags = 0;
        if spec.data.is_some() {
            flags |= NFT_SET_MAP;
        }
        if spec.timeout_secs.is_some() {
            flags |= NFT_SET_TIMEOUT | NFT_SET_EVAL;
        }
        let mut message = self.message(NEWSET, NLM_F_CREATE | NLM_F_EXCL);
        message
            .text(NFTA_SET_TABLE, table)
            .text(NFTA_SET_NAME, spec.name)
            .be32(NFTA_SET_FLAGS, flags)
            .be32(NFTA_SET_KEY_TYPE, spec.key_type)
            .be32(NFTA_SET_KEY_LEN, spec.key_bytes)
            .be32(NFTA_SET_ID, id);
        if let Some((kind, length)) = spec.data {
            message.be32(NFTA_SET_DATA_TYPE, kind);
            if kind != types::VERDICT {
                message.be32(NFTA_SET_DATA_LEN, length);
            }
        }
        if let Some(size) = spec.size {
            message.nest(NFTA_SET_DESC, |m| {
                m.be32(NFTA_SET_DESC_SIZE, size);
            });
        }
        if let Some(seconds) = spec.timeout_secs {
            message.be64(NFTA_SET_TIMEOUT, u64::from(seconds) * 1000);
        }
        if spec.key_type == types::MARK {
            // Tells `nft list` that the key is a number in host order (NFTNL_UDATA_SET_KEYBYTEORDER).
            message.bytes(NFTA_SET_USERDATA, &[0, 4, 1, 0, 0, 0]);
        }
    }

    /// Deletes a set; no rule may use it any more.
    pub(crate) fn delete_set(&mut self, name: &str) {
        let table = self.table;
        self.message(DELSET, 0)
            .text(NFTA_SET_TABLE, table)
            .text(NFTA_SET_NAME, name);
    }

    pub(crate) fn add_elements<'e>(&mut self, set: &str, elements: impl IntoIterator<Item = Element<'e>>) {
        self.elements(NEWSETELEM, NLM_F_CREATE, set, elements);
    }

    pub(crate) fn delete_elements<'e>(&mut self, set: &str, elements: impl IntoIterator<Item = Element<'e>>) {
        self.elements(DELSETELEM, 0, set, elements);
    }

    fn elements<'e>(&mut self, kind: u16, flags: u16, set: &str, elements: impl IntoIterator<Item = Element<'e>>) {
        let table = self.table;
        let mut elements = elements.into_iter().peekable();
        while elements.peek().is_some() {
            let mut message = self.message(kind, flags);
            message
                .text(NFTA_SET_ELEM_LIST_TABLE, table)
                .text(NFTA_SET_ELEM_LIST_SET, set);
            message.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
                while let Some(element) = elements.next_if(|_| m.len() < ELEMENT_LIST_BYTES) {
                    m.nest(NFTA_LIST_ELEM, |m| element.write(m));
                }
            });
        }
    }

    /// Hands the transaction to the kernel; when this returns without an error, it is in the data path.
    pub(crate) fn commit(mut self, socket: &mut Socket, operation: &str) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        // Requests without an error are only answered after the whole transaction took effect.
        self.batch.acknowledge(self.batch.len() - 1);
        self.batch
            .message(NFNL_MSG_BATCH_END, 0)
            .header(&generic_header(0, NFNL_SUBSYS_NFTABLES));
        socket.apply(&mut self.batch, operation)
    }
}

impl Element<'_> {
    fn write(&self, m: &mut Message<'_>) {
        m.nest(NFTA_SET_ELEM_KEY, |m| {
            m.bytes(NFTA_DATA_VALUE, &self.key);
        });
        match (&self.data, self.verdict) {
            (Some(data), _) => {
                m.nest(NFTA_SET_ELEM_DATA, |m| {
                    m.bytes(NFTA_DATA_VALUE, data);
                });
            }
            (None, Some(verdict)) => {
                m.nest(NFTA_SET_ELEM_DATA, |m| verdict.write(m));
            }
            (None, None) => {}
        }
    }
}

/// The form in which `nft` keeps a comment: type 0, length, text with its zero.
fn comment_data(comment: &str) -> Vec<u8> {
    let text = &comment.as_bytes()[..comment.len().min(254)];
    let mut data = vec![0, u8::try_from(text.len() + 1).expect("cut to 254 bytes above")];
    data.extend_from_slice(text);
    data.push(0);
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Attributes;
    use crate::nft::Verdict;

    /// Kind, flags and attributes of every message.
    fn messages(transaction: &Transaction) -> Vec<(u16, u16, Attributes<'_>)> {
        let mut bytes = transaction.batch.bytes();
        let mut found = vec![];
        while bytes.len() >= 20 {
            let length = u32::from_ne_bytes(bytes[0..4].try_into().unwrap()) as usize;
            let number = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
            found.push((number(4), number(6), Attributes::new(&bytes[20..length])));
            bytes = &bytes[length.next_multiple_of(4)..];
        }
        assert!(bytes.is_empty());
        found
    }

    #[test]
    fn a_transaction_begins_with_its_subsystem() {
        let transaction = Transaction::new("t");
        assert!(transaction.is_empty());
        assert_eq!(&transaction.batch.bytes()[4..8], &[0x10, 0, 1, 0]);
        assert_eq!(&transaction.batch.bytes()[16..20], &[0, 0, 0, 10]);
    }

    #[test]
    fn many_elements_are_split_into_messages() {
        let mut transaction = Transaction::new("t");
        let key = |i: u32| i.to_be_bytes().to_vec();
        transaction.add_elements(
            "s",
            (0..5000).map(|i| Element::verdict(key(i), Verdict::Goto("svc/a/b/http/tcp"))),
        );
        assert!(transaction.len() > 1);
        let mut seen = 0;
        for (kind, _, attributes) in messages(&transaction).into_iter().skip(1) {
            assert_eq!(kind, 10 << 8 | NEWSETELEM);
            assert_eq!(attributes.text(NFTA_SET_ELEM_LIST_SET), Some("s"));
            for (_, element) in attributes.inside(NFTA_SET_ELEM_LIST_ELEMENTS) {
                let element = Attributes::new(element);
                assert_eq!(
                    element.inside(NFTA_SET_ELEM_KEY).get(NFTA_DATA_VALUE),
                    Some(&key(seen)[..])
                );
                seen += 1;
            }
        }
        assert_eq!(seen, 5000);
    }

    #[test]
    fn no_elements_make_no_message() {
        let mut transaction = Transaction::new("t");
        transaction.add_elements("s", []);
        assert!(transaction.is_empty());
    }

    #[test]
    fn a_rule_lists_its_expressions_in_order() {
        let mut transaction = Transaction::new("t");
        transaction.add_rule("c", |r| {
            r.destination(0)
                .protocol(1)
                .destination_port(2)
                .verdict_map("services", 0);
        });
        let (kind, flags, attributes) = messages(&transaction).remove(1);
        assert_eq!((kind, flags), (10 << 8 | NEWRULE, 0xc01));
        let names: Vec<_> = attributes
            .inside(NFTA_RULE_EXPRESSIONS)
            .map(|(_, e)| Attributes::new(e).text(1).unwrap().to_owned())
            .collect();
        assert_eq!(names, ["payload", "meta", "payload", "lookup"]);
    }

    #[test]
    fn long_comments_are_cut() {
        assert_eq!(comment_data("ab"), [0, 3, b'a', b'b', 0]);
        assert_eq!(comment_data(&"x".repeat(400)).len(), 257);
    }
}
