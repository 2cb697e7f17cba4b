//! Several netlink messages that go to the kernel in one send.

use super::Message;
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage};
use netlink_packet_route::RouteNetlinkMessage;

/// Messages in the order the kernel shall handle them. A message's sequence number is its index plus one.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Where each message begins.
    starts: Vec<usize>,
    /// The message whose acknowledgement is asked for.
    acknowledged: Option<usize>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Appends a message to be filled by the caller; the request flag is added.
    pub(crate) fn message(&mut self, kind: u16, flags: u16) -> Message<'_> {
        self.starts.push(self.bytes.len());
        let sequence = self.sequence();
        Message::new(&mut self.bytes, kind, flags | NLM_F_REQUEST, sequence)
    }

    /// Appends an rtnetlink message and returns its index.
    pub(crate) fn route(&mut self, message: RouteNetlinkMessage, flags: u16) -> usize {
        let index = self.starts.len();
        let start = self.bytes.len();
        self.starts.push(start);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags | NLM_F_REQUEST;
        message.header.sequence_number = self.sequence();
        message.finalize();
        self.bytes.resize((start + message.buffer_len()).next_multiple_of(4), 0);
        message.serialize(&mut self.bytes[start..]);
        index
    }

    fn sequence(&self) -> u32 {
        u32::try_from(self.starts.len()).expect("a batch has fewer than four billion messages")
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Asks for an acknowledgement of this message.
    pub(crate) fn acknowledge(&mut self, index: usize) {
        let flags = self.starts[index] + 6;
        let old = u16::from_ne_bytes([self.bytes[flags], self.bytes[flags + 1]]);
        self.bytes[flags..flags + 2].copy_from_slice(&(old | NLM_F_ACK).to_ne_bytes());
        self.acknowledged = Some(index);
    }

    /// The message whose acknowledgement ends the exchange: the one asked for, else the last.
    pub(crate) fn seal(&mut self) -> Option<usize> {
        if self.acknowledged.is_none() && !self.is_empty() {
            self.acknowledge(self.len() - 1);
        }
        self.acknowledged
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::link_up;

    #[test]
    fn messages_are_aligned_numbered_and_the_last_is_acknowledged() {
        let mut batch = Batch::new();
        assert_eq!(batch.seal(), None);
        batch.message(1, 0).header(&[0; 4]).bytes(1, &[1]);
        assert_eq!(batch.route(link_up(3), 0), 1);
        assert_eq!(batch.seal(), Some(1));
        let bytes = batch.bytes();
        let first = u32::from_ne_bytes(bytes[0..4].try_into().unwrap()) as usize;
        assert_eq!(first, 28);
        assert_eq!(bytes[6], 1, "request");
        assert_eq!(bytes[8], 1, "sequence");
        let second = &bytes[first..];
        assert_eq!(
            u32::from_ne_bytes(second[0..4].try_into().unwrap()) as usize,
            second.len()
        );
        assert_eq!(second[4], 16, "RTM_NEWLINK");
        assert_eq!(second[6], 5, "request and acknowledge");
        assert_eq!(second[8], 2, "sequence");
    }
}
