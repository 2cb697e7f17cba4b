//! A netlink socket: one transaction at a time, and dumps.

use super::{Attributes, Batch};
use crate::{Error, Result};
use netlink_sys::SocketAddr;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// The kernel's default limit of a socket's send buffer; larger batches ask for more first.
const DEFAULT_SEND_BUFFER: usize = 160 * 1024;
/// Enough for every part of a dump (the kernel makes parts of at most 32 KiB).
const RECEIVE_BUFFER: usize = 64 * 1024;

/// A message of a batch that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Index of the message in its batch.
    pub(crate) message: usize,
    pub(crate) errno: Errno,
    /// The kernel's explanation (extended acknowledgement), where it gives one.
    pub(crate) detail: Option<String>,
}

impl Refusal {
    pub(crate) fn into_error(self, operation: impl Into<String>) -> Error {
        Error::Netlink {
            operation: operation.into(),
            detail: self.detail,
            source: self.errno,
        }
    }
}

/// A socket of one netlink protocol in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: netlink_sys::Socket,
    buffer: Vec<u8>,
    send_buffer: usize,
}

impl Socket {
    /// A socket for rtnetlink(7).
    pub(crate) fn route() -> Result<Self> {
        Self::open(netlink_sys::constants::NETLINK_ROUTE, "open a route netlink socket")
    }

    /// A socket for nf_tables and conntrack.
    pub(crate) fn netfilter() -> Result<Self> {
        Self::open(
            netlink_sys::constants::NETLINK_NETFILTER,
            "open a netfilter netlink socket",
        )
    }

    fn open(protocol: isize, operation: &'static str) -> Result<Self> {
        let open = || {
            let mut inner = netlink_sys::Socket::new(protocol)?;
            inner.bind(&SocketAddr::new(0, 0))?;
            inner.set_ext_ack(true)?;
            inner.set_cap_ack(true)?;
            Ok(inner)
        };
        let inner = open().map_err(Error::socket(operation))?;
        Ok(Self {
            inner,
            buffer: vec![0; RECEIVE_BUFFER],
            send_buffer: DEFAULT_SEND_BUFFER,
        })
    }

    /// Sends the batch and returns what was refused, in the order of the messages.
    ///
    /// The messages of an rtnetlink batch stand for themselves: the ones after a refused one are still carried out. An
    /// nf_tables transaction is carried out whole or not at all.
    pub(crate) fn transact(&mut self, batch: &mut Batch) -> io::Result<Vec<Refusal>> {
        let Some(last) = batch.seal() else { return Ok(vec![]) };
        self.drain()?;
        self.make_room(batch.bytes().len());
        send(self.inner.as_raw_fd(), batch.bytes(), MsgFlags::empty())?;
        let mut refusals = vec![];
        let mut acknowledged = false;
        loop {
            let length = match recv(self.inner.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            for (header, payload) in Messages(&self.buffer[..length]) {
                if header.kind != NLMSG_ERROR {
                    continue;
                }
                let message = (header.sequence as usize).wrapping_sub(1);
                acknowledged |= message == last;
                if let Some(refusal) = refusal(message, header.flags, payload) {
                    refusals.push(refusal);
                }
            }
        }
        if !acknowledged && refusals.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the kernel did not acknowledge the request",
            ));
        }
        refusals.sort_by_key(|r| r.message);
        Ok(refusals)
    }

    /// Sends a batch of which every message has to succeed.
    pub(crate) fn apply(&mut self, batch: &mut Batch, operation: &str) -> Result<()> {
        let refusals = self.transact(batch).map_err(Error::socket(operation))?;
        refusals
            .into_iter()
            .next()
            .map_or(Ok(()), |refusal| Err(refusal.into_error(operation)))
    }

    /// Sends a one-message request and lets `each` read every message of the answer.
    ///
    /// A dump of something that changed under way is asked for again.
    pub(crate) fn dump<T>(
        &mut self,
        batch: &Batch,
        operation: &str,
        mut each: impl FnMut(&mut Vec<T>, &[u8]),
    ) -> Result<Vec<T>> {
        let mut found = vec![];
        // A table that changes all the time is taken as it is after a few rounds.
        for round in 0..8 {
            found.clear();
            let interrupted = self.dump_once(batch, operation, &mut |payload| each(&mut found, payload))?;
            if !interrupted || round == 7 {
                break;
            }
        }
        Ok(found)
    }

    fn dump_once(&mut self, batch: &Batch, operation: &str, each: &mut dyn FnMut(&[u8])) -> Result<bool> {
        self.drain().map_err(Error::socket(operation))?;
        send(self.inner.as_raw_fd(), batch.bytes(), MsgFlags::empty())
            .map_err(|errno| Error::socket(operation)(errno.into()))?;
        let mut interrupted = false;
        loop {
            let length = match recv(self.inner.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => length,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Error::socket(operation)(errno.into())),
            };
            for (header, payload) in Messages(&self.buffer[..length]) {
                interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                match header.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        return match refusal(0, header.flags, payload) {
                            Some(refusal) => Err(refusal.into_error(operation)),
                            None => Ok(interrupted),
                        };
                    }
                    _ => each(payload),
                }
            }
        }
    }

    /// Throws away what an abandoned exchange may have left behind.
    fn drain(&mut self) -> io::Result<()> {
        loop {
            match recv(self.inner.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// A transaction has to fit into the send buffer, as it is one datagram.
    fn make_room(&mut self, length: usize) {
        if length <= self.send_buffer {
            return;
        }
        let size = length * 2;
        // Beyond net.core.wmem_max only with CAP_NET_ADMIN; without it the send says EMSGSIZE.
        if setsockopt(&self.inner.as_fd(), sockopt::SndBufForce, &size).is_ok() {
            self.send_buffer = length;
        }
    }
}

fn refusal(message: usize, flags: u16, payload: &[u8]) -> Option<Refusal> {
    let code = i32::from_ne_bytes(payload.get(0..4)?.try_into().ok()?);
    if code == 0 {
        return None;
    }
    let echoed = u32::from_ne_bytes(payload.get(4..8).and_then(|b| b.try_into().ok()).unwrap_or_default()) as usize;
    let skip = 4 + if flags & NLM_F_CAPPED != 0 {
        16
    } else {
        echoed.max(16).next_multiple_of(4)
    };
    let detail = (flags & NLM_F_ACK_TLVS != 0)
        .then(|| {
            Attributes::new(payload.get(skip..).unwrap_or_default())
                .text(NLMSGERR_ATTR_MSG)
                .map(str::to_owned)
        })
        .flatten();
    Some(Refusal {
        message,
        errno: Errno::from_raw(code.saturating_neg()),
        detail,
    })
}

#[derive(Debug, Clone, Copy)]
struct Header {
    kind: u16,
    flags: u16,
    sequence: u32,
}

/// Splits a datagram into its messages.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (Header, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.0;
        let length = u32::from_ne_bytes(bytes.get(0..4)?.try_into().ok()?) as usize;
        let header = Header {
            kind: u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?),
            flags: u16::from_ne_bytes(bytes.get(6..8)?.try_into().ok()?),
            sequence: u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?),
        };
        let payload = bytes.get(16..length)?;
        self.0 = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((header, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Message;

    #[test]
    fn splits_a_datagram() {
        let mut bytes = vec![];
        drop(Message::new(&mut bytes, 16, 2, 1));
        Message::new(&mut bytes, 3, 0, 2).header(&[0; 4]);
        let messages: Vec<_> = Messages(&bytes)
            .map(|(h, p)| (h.kind, h.flags, h.sequence, p.len()))
            .collect();
        assert_eq!(messages, [(16, 2, 1, 0), (3, 0, 2, 4)]);
        assert_eq!(Messages(&bytes[..17]).count(), 1);
        assert_eq!(Messages(&[0; 16]).count(), 0, "a length of zero ends the datagram");
    }

    #[test]
    fn reads_the_kernels_explanation() {
        let mut bytes = (-17i32).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&[0; 16]);
        {
            let mut attributes = vec![];
            Message::new(&mut attributes, 0, 0, 0).text(NLMSGERR_ATTR_MSG, "no room");
            bytes.extend_from_slice(&attributes[16..]);
        }
        let got = refusal(4, NLM_F_CAPPED | NLM_F_ACK_TLVS, &bytes).unwrap();
        assert_eq!(
            got,
            Refusal {
                message: 4,
                errno: Errno::EEXIST,
                detail: Some("no room".into())
            }
        );
        assert_eq!(refusal(0, 0, &[0; 20]), None);
    }

    #[test]
    fn talks_to_the_kernel_without_privileges() {
        let mut socket = Socket::route().unwrap();
        let mut batch = Batch::new();
        batch.message(18, 0x300).header(&[0; 16]); // RTM_GETLINK dump
        let lengths = socket
            .dump(&batch, "list links", |found, payload| found.push(payload.len()))
            .unwrap();
        assert!(!lengths.is_empty() && lengths.iter().all(|l| *l > 16), "{lengths:?}");
        let mut batch = Batch::new();
        batch.message(0x7777, 0).header(&[0; 16]);
        let refusals = socket.transact(&mut batch).unwrap();
        assert_eq!(refusals.len(), 1);
        assert_eq!(refusals[0].message, 0);
    }
}
