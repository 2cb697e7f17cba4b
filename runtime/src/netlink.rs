//! Just enough of rtnetlink(7) to move a network interface with its addresses.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

// linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h.
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_REPLACE_OR_CREATE: u16 = 0x500;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_F_PERMANENT: u32 = 0x80;
/// What is kept of an address' flags: the others tell of its state.
const KEPT_FLAGS: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;

/// A socket of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

/// An address of an interface that stays when the interface moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Netlink {
    /// Opens a socket.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The number of an interface.
    ///
    /// # Errors
    /// `ENODEV` if there is none.
    pub fn index(&mut self, name: &str) -> io::Result<i32> {
        let mut body = link(0, 0);
        attribute(&mut body, IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat());
        let answers = self.request(RTM_GETLINK, 0, &body)?;
        let index = answers.iter().find_map(|answer| number(answer, 4));
        index.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
    }

    /// The numbers of all interfaces.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn indices(&mut self) -> io::Result<Vec<i32>> {
        let answers = self.request(RTM_GETLINK, NLM_F_DUMP, &link(0, 0))?;
        Ok(answers.iter().filter_map(|answer| number(answer, 4)).collect())
    }

    /// The addresses of an interface that somebody has given it for good and for everywhere.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn addresses(&mut self, index: i32) -> io::Result<Vec<Address>> {
        const BODY: usize = 8;
        let answers = self.request(RTM_GETADDR, NLM_F_DUMP, &[0; BODY])?;
        let of_this = answers
            .iter()
            .filter(|answer| answer.len() >= BODY && number(answer, 4) == Some(index));
        Ok(of_this.filter_map(|answer| Address::read(answer, BODY)).collect())
    }

    /// Moves an interface to a namespace, where it gets a name.
    ///
    /// # Errors
    /// What the kernel says: `EINVAL` for one that cannot be moved.
    pub fn move_to(&mut self, index: i32, namespace: &impl AsRawFd, name: &str) -> io::Result<()> {
        let mut body = link(index, 0);
        attribute(&mut body, IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes());
        attribute(&mut body, IFLA_IFNAME, &[name.as_bytes(), b"\0"].concat());
        self.request(RTM_NEWLINK, NLM_F_ACK, &body).map(drop)
    }

    /// Gives an interface an address.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn add(&mut self, index: i32, address: &Address) -> io::Result<()> {
        let mut body = vec![address.family, address.prefix, 0, 0];
        body.extend(index.to_ne_bytes());
        for (kind, value) in &address.attributes {
            attribute(&mut body, *kind, value);
        }
        self.request(RTM_NEWADDR, NLM_F_ACK | NLM_F_REPLACE_OR_CREATE, &body)
            .map(drop)
    }

    /// Brings an interface up.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn up(&mut self, index: i32) -> io::Result<()> {
        let up = libc::IFF_UP.cast_unsigned();
        self.request(RTM_NEWLINK, NLM_F_ACK, &link(index, up)).map(drop)
    }

    /// Sends a request and reads the bodies of what is answered, to the end.
    fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.sequence += 1;
        let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
        let mut packet = length.to_ne_bytes().to_vec();
        packet.extend(kind.to_ne_bytes());
        packet.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        packet.extend(self.sequence.to_ne_bytes());
        packet.extend([0; 4]);
        packet.extend(body);
        send(self.socket.as_raw_fd(), &packet, MsgFlags::empty())?;
        let many = flags & (NLM_F_DUMP | NLM_F_ACK) != 0;
        let mut answers = Vec::new();
        loop {
            let mut buffer = vec![0; 64 * 1024];
            let received = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            if self.take(&buffer[..received], &mut answers)? || !many {
                return Ok(answers);
            }
        }
    }

    /// Takes a packet apart; `true` when nothing comes after it.
    fn take(&self, mut packet: &[u8], answers: &mut Vec<Vec<u8>>) -> io::Result<bool> {
        while packet.len() >= HEADER {
            let length = usize::try_from(number(packet, 0).unwrap_or(0)).unwrap_or(0);
            if length < HEADER || length > packet.len() {
                break;
            }
            let kind = u16::from_ne_bytes([packet[4], packet[5]]);
            let mine = number(packet, 8).map(i32::cast_unsigned) == Some(self.sequence);
            let body = &packet[HEADER..length];
            match kind {
                NLMSG_ERROR if mine => {
                    return match number(body, 0) {
                        Some(0) | None => Ok(true),
                        Some(error) => Err(io::Error::from_raw_os_error(-error)),
                    };
                }
                NLMSG_DONE if mine => return Ok(true),
                _ if mine => answers.push(body.to_vec()),
                _ => {}
            }
            packet = &packet[aligned(length).min(packet.len())..];
        }
        Ok(false)
    }
}

impl Address {
    /// Reads the body of an answer, whose attributes begin at `attributes`.
    fn read(body: &[u8], attributes: usize) -> Option<Self> {
        let (family, prefix, flags, scope) = (body[0], body[1], body[2], body[3]);
        let mut kept = Vec::new();
        let mut flags = u32::from(flags);
        let mut rest = &body[attributes..];
        while rest.len() >= 4 {
            let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
            let kind = u16::from_ne_bytes([rest[2], rest[3]]);
            if length < 4 || length > rest.len() {
                break;
            }
            let value = &rest[4..length];
            match kind {
                IFA_FLAGS => flags = number(value, 0).map_or(flags, i32::cast_unsigned),
                IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST => kept.push((kind, value.to_vec())),
                _ => {}
            }
            rest = &rest[aligned(length).min(rest.len())..];
        }
        // RT_SCOPE_UNIVERSE is 0.
        if flags & IFA_F_PERMANENT == 0 || scope != 0 {
            return None;
        }
        kept.push((IFA_FLAGS, (flags & KEPT_FLAGS).to_ne_bytes().to_vec()));
        Some(Self {
            family,
            prefix,
            attributes: kept,
        })
    }
}

/// `struct ifinfomsg`, with these flags changed to be set.
fn link(index: i32, flags: u32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body.extend(flags.to_ne_bytes());
    body
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(aligned(body.len()), 0);
}

fn number(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_known() {
        let mut netlink = Netlink::open().unwrap();
        let index = netlink.index("lo").unwrap();
        assert!(netlink.indices().unwrap().contains(&index));
        // Its addresses are of the machine's only.
        let mut all = netlink.addresses(index).unwrap();
        all.retain(|address| address.attributes.iter().any(|(_, value)| value == &[127, 0, 0, 1]));
        assert!(all.is_empty());
        assert_eq!(netlink.index("no-such").unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
