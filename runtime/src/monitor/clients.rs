//! Those who are connected: packets that wait to be sent, and who wants events.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::epoll::EpollFlags;

use super::poller::{Poller, Source};
use crate::error::{During, Result};
use crate::protocol::{Event, Failure, FromMonitor, Reply, Response};
use crate::sys::socket::{accept, receive, send};

/// How much may wait for a client that does not read before it is given up.
const MAX_WAITING: usize = 4 << 20;

/// Where a reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// Which client.
    pub client: u32,
    /// Its number for the request.
    pub seq: u64,
}

/// All clients by key.
#[derive(Debug, Default)]
pub struct Clients {
    next: u32,
    all: BTreeMap<u32, Client>,
}

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    /// What the poller waits for.
    interest: EpollFlags,
    subscribed: bool,
    waiting: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
    waiting_bytes: usize,
}

impl Clients {
    /// Accepts everybody who wants to connect.
    pub fn accept(&mut self, listener: BorrowedFd<'_>, poller: &Poller) -> Result<()> {
        loop {
            let socket = match accept(listener) {
                Ok(socket) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // Gone again before it was accepted.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error).during("accept", "a client"),
            };
            self.next += 1;
            poller.add(&socket, EpollFlags::EPOLLIN, Source::Client(self.next))?;
            let client = Client {
                socket,
                interest: EpollFlags::EPOLLIN,
                subscribed: false,
                waiting: VecDeque::new(),
                waiting_bytes: 0,
            };
            self.all.insert(self.next, client);
        }
    }

    /// The next packet of a client; `None` when there is none now. A client that is gone is forgotten.
    pub fn receive(&mut self, key: u32, poller: &Poller) -> Option<(Vec<u8>, Vec<OwnedFd>)> {
        let client = self.all.get(&key)?;
        match receive(&client.socket) {
            Ok(Some(packet)) => Some(packet),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Ok(None) | Err(_) => {
                self.forget(key, poller);
                None
            }
        }
    }

    /// Sends what waits, as far as the client takes it.
    pub fn flush(&mut self, key: u32, poller: &Poller) {
        let Some(client) = self.all.get_mut(&key) else { return };
        let before = client.interest;
        match client.flush() {
            Ok(()) if client.interest == before => {}
            Ok(()) => poller.modify(&client.socket, client.interest, Source::Client(key)),
            Err(_) => self.forget(key, poller),
        }
    }

    /// Sends a reply.
    pub fn reply(&mut self, to: Caller, result: Result<Response, Failure>, fds: Vec<OwnedFd>, poller: &Poller) {
        self.send(
            to.client,
            &FromMonitor::Reply(Reply { seq: to.seq, result }),
            fds,
            poller,
        );
    }

    /// Sends an event to one client.
    pub fn tell(&mut self, key: u32, event: Event, poller: &Poller) {
        self.send(key, &FromMonitor::Event(event), Vec::new(), poller);
    }

    /// Sends an event to all subscribers.
    pub fn publish(&mut self, event: &Event, poller: &Poller) {
        let subscribers: Vec<u32> = self
            .all
            .iter()
            .filter(|(_, client)| client.subscribed)
            .map(|(key, _)| *key)
            .collect();
        for key in subscribers {
            self.tell(key, event.clone(), poller);
        }
    }

    /// From now on a client gets events.
    pub fn subscribe(&mut self, key: u32) {
        if let Some(client) = self.all.get_mut(&key) {
            client.subscribed = true;
        }
    }

    fn send(&mut self, key: u32, message: &FromMonitor, fds: Vec<OwnedFd>, poller: &Poller) {
        // A client that is gone needs no answer.
        let Some(client) = self.all.get_mut(&key) else { return };
        let Ok(packet) = serde_json::to_vec(message) else {
            return;
        };
        client.waiting_bytes += packet.len();
        client.waiting.push_back((packet, fds));
        if client.waiting_bytes > MAX_WAITING {
            self.forget(key, poller);
            return;
        }
        let idle = client.waiting.len() == 1;
        if idle {
            self.flush(key, poller);
        }
    }

    fn forget(&mut self, key: u32, poller: &Poller) {
        if let Some(client) = self.all.remove(&key) {
            poller.remove(&client.socket);
        }
    }
}

impl Client {
    fn flush(&mut self) -> io::Result<()> {
        while let Some((packet, fds)) = self.waiting.front() {
            let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            match send(&self.socket, packet, &borrowed) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            self.waiting_bytes -= packet.len();
            self.waiting.pop_front();
        }
        self.interest.set(EpollFlags::EPOLLOUT, !self.waiting.is_empty());
        Ok(())
    }
}
