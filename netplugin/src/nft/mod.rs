//! nf_tables over netlink: transactions, expressions, and reading back.
//!
//! Only what the pod network needs, in the kernel's own terms (`linux/netfilter/nf_tables.h`, nft(8)).

mod abi;
mod expression;
mod read;
mod transaction;

pub(crate) use expression::{Rule, Verdict};
pub(crate) use read::{Element, Found, Lead, elements, leads, sets, table};
pub(crate) use transaction::{SetSpec, Transaction};

/// Types of set keys and data as the `nft` program knows them; to the kernel they are opaque.
pub(crate) mod types {
    pub(crate) const IPV4_ADDRESS: u32 = 7;
    pub(crate) const INET_PROTOCOL: u32 = 12;
    pub(crate) const INET_SERVICE: u32 = 13;
    pub(crate) const MARK: u32 = 19;
    /// Data that is a verdict (`NFT_DATA_VERDICT`).
    pub(crate) const VERDICT: u32 = 0xffff_ff00;

    /// A concatenation: six bits for each part.
    pub(crate) const fn concat(parts: &[u32]) -> u32 {
        let mut all = 0;
        let mut i = 0;
        while i < parts.len() {
            all = all << 6 | parts[i];
            i += 1;
        }
        all
    }
}
