//! Deletion of the interfaces of removed pods.
//!
//! The kernel deletes a veth pair by itself when the pod's network namespace ends, in about 33 ms and without anybody
//! waiting. Deleting it by request keeps the caller waiting as long, for each pair. So a removed pod's interface gets
//! time to go by itself; those that stay are deleted by a thread of their own, all at once.

use crate::netlink::{Batch, Socket, delete_group, delete_link, link_exists, set_group};
use crate::{Error, Result};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing::warn;

/// How long an interface may take to go with its namespace.
const GRACE: Duration = Duration::from_millis(250);
/// The group interfaces are put into to be deleted together; nobody else uses that number.
const GROUP: u32 = 0x6261_7265;

enum Order {
    Condemn(u32),
    Spare(u32, Sender<()>),
    Flush(Sender<Result<()>>),
}

/// The thread, started with the first interface. When this is dropped, what is left is deleted at once.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    running: Option<(Sender<Order>, JoinHandle<()>)>,
}

impl Reaper {
    /// Leaves an interface, named by its index, to the thread.
    pub(crate) fn condemn(&mut self, index: u32) -> Result<()> {
        let sender = match &self.running {
            Some((sender, _)) => sender,
            None => {
                // The socket is opened here, so that a failure is known here and the namespace is the caller's.
                let socket = Socket::route()?;
                let (sender, receiver) = channel();
                let thread = std::thread::Builder::new()
                    .name("link-reaper".into())
                    .spawn(move || run(socket, &receiver))
                    .map_err(Error::socket("start the thread that deletes interfaces"))?;
                &self.running.insert((sender, thread)).0
            }
        };
        sender.send(Order::Condemn(index)).map_err(|_| gone())
    }

    /// Takes an interface back. It may be gone when this returns, but it will not go later.
    pub(crate) fn spare(&mut self, index: u32) -> Result<()> {
        let Some((sender, _)) = &self.running else {
            return Ok(());
        };
        let (reply, answer) = channel();
        sender.send(Order::Spare(index, reply)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())
    }

    /// Deletes what was left to the thread and waits for it.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let Some((sender, _)) = &self.running else {
            return Ok(());
        };
        let (reply, answer) = channel();
        sender.send(Order::Flush(reply)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.running.take() {
            drop(sender);
            if thread.join().is_err() {
                warn!("the thread that deletes interfaces panicked");
            }
        }
    }
}

fn gone() -> Error {
    Error::socket("delete the interfaces of removed pods")(io::Error::other("the thread for it has ended"))
}

fn run(mut socket: Socket, orders: &Receiver<Order>) {
    let mut pending: Vec<(u32, Instant)> = vec![];
    loop {
        // The oldest is the first.
        let order = match pending.first() {
            Some((_, due)) => orders.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match order {
            Ok(Order::Condemn(index)) => pending.push((index, Instant::now() + GRACE)),
            Ok(Order::Spare(spared, reply)) => {
                pending.retain(|(index, _)| *index != spared);
                let _ = reply.send(());
            }
            Ok(Order::Flush(reply)) => {
                let all: Vec<u32> = pending.drain(..).map(|(index, _)| index).collect();
                let _ = reply.send(delete(&mut socket, &all));
            }
            Err(reason) => {
                let ended = reason == RecvTimeoutError::Disconnected;
                let now = Instant::now();
                let (due, rest) = pending.into_iter().partition(|(_, due)| ended || *due <= now);
                pending = rest;
                let due: Vec<u32> = due.into_iter().map(|(index, _)| index).collect();
                if let Err(error) = delete(&mut socket, &due) {
                    warn!(%error, "interfaces of removed pods stay until the next garbage collection");
                }
                if ended {
                    return;
                }
            }
        }
    }
}

/// Deletes the interfaces that are still there, waiting for the network stack once.
pub(crate) fn delete(socket: &mut Socket, indices: &[u32]) -> Result<()> {
    const OPERATION: &str = "delete the interfaces of removed pods";
    let mut present = vec![];
    for index in indices {
        if link_exists(socket, *index)? {
            present.push(*index);
        }
    }
    let mut batch = Batch::new();
    match present.as_slice() {
        [] => {}
        [one] => drop(batch.route(delete_link(*one), 0)),
        many => {
            for index in many {
                batch.route(set_group(*index, GROUP), 0);
            }
            batch.route(delete_group(GROUP), 0);
        }
    }
    let refusals = socket.transact(&mut batch).map_err(Error::socket(OPERATION))?;
    // Those that went by themselves in the meantime are just as gone.
    let bad = refusals.into_iter().find(|r| r.errno != nix::errno::Errno::ENODEV);
    bad.map_or(Ok(()), |r| Err(r.into_error(OPERATION)))
}
