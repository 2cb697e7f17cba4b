//! The loop, and which request goes where.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

use nix::sys::epoll::EpollFlags;

use super::clients::Caller;
use super::log::Stream;
use super::poller::Source;
use super::request::{Body, Incoming, Verb};
use super::sandbox::Monitor;
use crate::error::{During, Error, Result, chain};
use crate::protocol::{Failure, Response};
use crate::sys::memory;
use crate::{records, time};

impl Monitor {
    /// Serves until the sandbox has ended; returns the exit code.
    pub fn run(&mut self) -> i32 {
        self.note(records::make_containers(&self.state.config.dir));
        memory::trim();
        memory::map_code();
        while !self.finished() {
            let events = match self.poller.wait(self.next_deadline()) {
                Ok(events) => events,
                Err(error) => {
                    self.note(Err::<(), _>(error).during("wait for", "events"));
                    return 1;
                }
            };
            for (source, flags) in events {
                self.dispatch(source, flags);
            }
            self.expire(Instant::now());
        }
        self.remove();
        0
    }

    fn dispatch(&mut self, source: Source, flags: EpollFlags) {
        match source {
            Source::Listener => {
                let accepted = self
                    .clients
                    .accept(std::os::fd::AsFd::as_fd(&self.listener), &self.poller);
                self.note(accepted);
            }
            Source::Client(key) => {
                if flags.contains(EpollFlags::EPOLLOUT) {
                    self.clients.flush(key, &self.poller);
                }
                if let Some((packet, fds)) = self.clients.receive(key, &self.poller) {
                    self.packet(key, &packet, fds);
                }
            }
            Source::Signals => {
                while matches!(self.signals.read_signal(), Ok(Some(_))) {
                    self.terminating = true;
                }
            }
            Source::Pause => self.pause_ended(),
            Source::ContainerExit(key) => self.container_ended(key),
            Source::ContainerChannel(key) => self.container_says(key),
            Source::Stdout(key) => self.container_wrote(key, Stream::Stdout),
            Source::Stderr(key) => self.container_wrote(key, Stream::Stderr),
            Source::Cgroup(key) => self.settle(key),
            Source::ExecExit(key) => self.exec_ended(key),
            Source::ExecChannel(key) => self.exec_says(key),
            Source::Attachment(key) => self.attachments.ready(key, flags, &self.poller),
        }
    }

    fn packet(&mut self, client: u32, packet: &[u8], fds: Vec<OwnedFd>) {
        let incoming: Incoming<'_> = match serde_json::from_slice(packet) {
            Ok(incoming) => incoming,
            Err(source) => {
                let error = Error::Document {
                    object: "the request".to_owned(),
                    source,
                };
                let seq = serde_json::from_slice::<OnlySeq>(packet).map_or(0, |only| only.seq);
                self.clients
                    .reply(Caller { client, seq }, Err((&error).into()), Vec::new(), &self.poller);
                return;
            }
        };
        let caller = Caller {
            client,
            seq: incoming.seq,
        };
        match self.handle(caller, &incoming.request, fds) {
            Ok(Some((response, fds))) => self.clients.reply(caller, Ok(response), fds, &self.poller),
            // The answer comes when the thing has happened.
            Ok(None) => {}
            Err(error) => self
                .clients
                .reply(caller, Err(Failure::from(&error)), Vec::new(), &self.poller),
        }
    }

    fn handle(
        &mut self,
        caller: Caller,
        body: &Body<'_>,
        fds: Vec<OwnedFd>,
    ) -> Result<Option<(Response, Vec<OwnedFd>)>> {
        let done = Ok(Some((Response::Done, Vec::new())));
        match body.verb {
            Verb::Sandbox => Ok(Some((Response::Sandbox(self.describe()), self.descriptors()))),
            Verb::Subscribe => {
                self.clients.subscribe(caller.client);
                done
            }
            Verb::Stop => {
                self.stop(caller);
                Ok(None)
            }
            _ if !self.stopping.is_empty() => Err(Error::State("the sandbox is being stopped".to_owned())),
            Verb::Claim => {
                self.claim(body.config.map_or("{}", |raw| raw.get()))?;
                done
            }
            _ if self.state.config.spare => Err(Error::State("the sandbox belongs to no pod yet".to_owned())),
            Verb::Create => {
                match (body.config, fds.into_iter().next()) {
                    (Some(config), _) => self.create_container(caller, config.get(), body.start)?,
                    (None, Some(file)) => self.create_container(caller, &read_file(file)?, body.start)?,
                    (None, None) => return Err(Error::Invalid("a container needs a configuration".to_owned())),
                }
                Ok(None)
            }
            Verb::Start => self.start_container(caller, &body.id).map(|()| None),
            Verb::Kill => {
                self.kill_container(&body.id, body.signal, body.all)?;
                done
            }
            Verb::Delete => {
                if self.delete_container(caller, &body.id) {
                    Ok(None)
                } else {
                    done
                }
            }
            Verb::Update => {
                self.update_container(&body.id, body.resources.map_or("{}", |raw| raw.get()))?;
                done
            }
            Verb::Exec => self.exec(caller, body, fds).map(|()| None),
            Verb::KillExec => {
                self.kill_exec(&body.exec_id)?;
                done
            }
            Verb::Attach => Ok(Some((Response::Done, self.attach(&body.id, body.stdio, fds)?))),
            Verb::Resize => {
                self.resize(&body.id, body.width, body.height)?;
                done
            }
        }
    }

    /// Writes down what nobody can be told.
    pub(super) fn note<T>(&self, result: Result<T>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let path = self.state.config.dir.join(records::LOG);
        if let Ok(mut log) = File::options().append(true).create(true).mode(0o600).open(path) {
            // There is nobody left to tell.
            let _ = log.write_all(format!("{} {}\n", time::now_text(), chain(&error)).as_bytes());
        }
        None
    }
}

/// The number of a request whose rest cannot be read.
#[derive(serde::Deserialize)]
struct OnlySeq {
    seq: u64,
}

/// The text of a memory file, from its beginning wherever the sender left its position.
fn read_file(file: OwnedFd) -> Result<String> {
    const WHAT: &str = "the configuration's memory file";
    let mut file = File::from(file);
    file.rewind().during("rewind", WHAT)?;
    let mut text = String::new();
    file.read_to_string(&mut text).during("read", WHAT)?;
    Ok(text)
}
