//! Many connections in one thread: the load program takes little of the machine that it measures, and no thread has to
//! be woken between the socket and the clock.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use barepod_tests::api::Connection;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustls::ClientConnection;

/// Connections that are waited for together.
pub struct Crowd {
    epoll: Epoll,
    members: Vec<Member>,
    ready: Vec<EpollEvent>,
}

struct Member {
    tls: ClientConnection,
    socket: TcpStream,
    /// What has arrived and was not taken yet.
    inbox: Vec<u8>,
}

impl Crowd {
    pub fn new() -> Result<Self> {
        Ok(Crowd {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            members: Vec::new(),
            ready: vec![EpollEvent::empty(); 256],
        })
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Takes a connection on which nothing is under way.
    pub fn join(&mut self, connection: Connection) -> Result<()> {
        let (mut tls, mut socket) = connection.into_parts();
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        socket.set_nonblocking(true)?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, self.members.len() as u64);
        self.epoll.add(&socket, event)?;
        self.members.push(Member {
            tls,
            socket,
            inbox: Vec::new(),
        });
        Ok(())
    }

    /// Sends a request, which must be small enough for the socket's buffer.
    pub fn send(&mut self, member: usize, request: &[u8]) -> Result<()> {
        let Member { tls, socket, .. } = &mut self.members[member];
        tls.writer().write_all(request)?;
        while tls.wants_write() {
            tls.write_tls(socket).context("send a request")?;
        }
        Ok(())
    }

    /// Waits until something arrives and shows it: the member and all that it has got. What `each` returns is sent.
    pub fn wait(
        &mut self,
        until: Instant,
        mut each: impl FnMut(usize, &mut Vec<u8>) -> Result<Option<Vec<u8>>>,
    ) -> Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("an answer that was waited for did not come");
        }
        let limit = EpollTimeout::try_from(left.max(Duration::from_millis(1)))?;
        let count = self.epoll.wait(&mut self.ready, limit)?;
        for at in 0..count {
            let index = usize::try_from(self.ready[at].data())?;
            let member = &mut self.members[index];
            member.receive()?;
            if let Some(request) = each(index, &mut member.inbox)? {
                self.send(index, &request)?;
            }
        }
        Ok(())
    }
}

impl Member {
    fn receive(&mut self) -> Result<()> {
        match self.tls.read_tls(&mut self.socket) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let arrived = self.tls.process_new_packets()?.plaintext_bytes_to_read();
        let start = self.inbox.len();
        self.inbox.resize(start + arrived, 0);
        self.tls.reader().read_exact(&mut self.inbox[start..])?;
        Ok(())
    }
}

/// Takes one whole answer out of what has arrived; returns its status.
pub fn answer(inbox: &mut Vec<u8>) -> Result<Option<u16>> {
    let Some(head) = find(inbox, b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&inbox[..head])?;
    let status = text.split(' ').nth(1).context("a status line")?.parse()?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    let end = match length {
        Some(length) => head + 4 + length.parse::<usize>()?,
        None => match find(&inbox[head..], b"\r\n0\r\n\r\n") {
            Some(at) => head + at + 7,
            None => return Ok(None),
        },
    };
    if inbox.len() < end {
        return Ok(None);
    }
    inbox.drain(..end);
    Ok(Some(status))
}

/// Where something begins.
pub fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
