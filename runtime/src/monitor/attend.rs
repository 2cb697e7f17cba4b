//! What a container's configuration wants done in the machine's namespaces: hooks, and a listener for notifications of
//! its filter. It may take its time, so a process of its own does it and the monitor goes on; nobody waits for that
//! process, which is no child of the monitor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sys::wait::{Id, WaitPidFlag, waitid};

use super::containers::Container;
use super::execs::Exec;
use super::request::{Config, parse};
use super::sandbox::Monitor;
use crate::cgroup::{self, Cgroup};
use crate::document::Document;
use crate::error::{During, Result};
use crate::init::channel::Message;
use crate::init::hooks::{self, Place, Told};
use crate::init::outside::Outside;
use crate::init::{self, Shared};
use crate::sys::clone::{Side, clone3};
use crate::sys::process::{close_all_but, exit_now};

/// Where the hooks of a container without a bundle are executed.
fn place() -> Place<'static> {
    Place {
        directory: Path::new("/"),
        environment: None,
    }
}

impl Monitor {
    /// A container being made asks for something.
    pub(super) fn attend(&self, container: &Container, message: &Message) -> Result<()> {
        let Some((channel, pid)) = container.channel.as_ref().zip(container.state.pid) else {
            return Ok(());
        };
        let mut keep = vec![channel.as_fd()];
        if let Message::Notifications(listener) = message {
            keep.push(listener.as_fd());
        }
        self.apart(&keep, || {
            let config: Config<'_> = parse("the container's configuration", &container.config)?;
            let document: Document = parse("the container's OCI configuration", config.spec.get())?;
            let told = Told::new(&config.id, Path::new("/"), &document.annotations);
            if let Err(error) = Outside::new(&document, told, "created", pid).answer(channel, message) {
                // The process tells it on, as why it could not be made; it may be gone.
                let _ = channel.refuse(&error);
            }
            Ok(())
        })
    }

    /// A process being executed in a container has a filter that notifies.
    pub(super) fn attend_exec(&self, exec: &Exec, listener: &OwnedFd) -> Result<()> {
        let container = self.containers.get(&exec.container);
        let Some((container, channel)) = container.zip(exec.channel.as_ref()) else {
            return Ok(());
        };
        self.apart(&[channel.as_fd(), listener.as_fd()], || {
            let config: Config<'_> = parse("the container's configuration", &container.config)?;
            let shared: Shared = parse("the container's OCI configuration", config.spec.get())?;
            let told = Told::new(&config.id, Path::new("/"), &container.state.annotations);
            let answered = shared.attend(&told, exec.pid).notify(channel, listener);
            if let Err(error) = answered {
                // The process tells it on, as why it could not be made; it may be gone.
                let _ = channel.refuse(&error);
            }
            Ok(())
        })
    }

    /// Executes the hooks of a container that was started; if one fails the container is killed.
    pub(super) fn attend_start(&self, container: &Container) {
        if !container.hooks {
            return;
        }
        let tracker = Cgroup::new(&self.layout, &container.state.cgroup).tracker();
        self.note(self.apart(&[], || {
            let config: Config<'_> = parse("the container's configuration", &container.config)?;
            let document: Document = parse("the container's OCI configuration", config.spec.get())?;
            let told = Told::new(&config.id, Path::new("/"), &document.annotations).at("running", container.state.pid);
            if let Err(error) = hooks::run("poststart", &document.hooks.poststart, &told, place()) {
                cgroup::kill(&tracker).during("kill the processes of", tracker.display())?;
                return Err(error);
            }
            Ok(())
        }));
    }

    /// Executes the hooks of a container that is gone.
    pub(super) fn attend_end(&self, container: &Container) {
        if !container.hooks {
            return;
        }
        self.note(self.apart(&[], || {
            let config: Config<'_> = parse("the container's configuration", &container.config)?;
            let document: Document = parse("the container's OCI configuration", config.spec.get())?;
            let told = Told::new(&config.id, Path::new("/"), &document.annotations).at("stopped", None);
            // Each gets its chance, whatever becomes of those before it.
            let run = |hook| hooks::run("poststop", std::slice::from_ref(hook), &told, place());
            document.hooks.poststop.iter().map(run).fold(Ok(()), Result::and)
        }));
    }

    /// Does something in a process of its own, that of a process which ends at once. What goes wrong there is noted as
    /// what goes wrong here is.
    fn apart(&self, keep: &[BorrowedFd<'_>], work: impl FnOnce() -> Result<()>) -> Result<()> {
        match clone3(self.single, 0, None).during("clone", "a process for hooks")? {
            Side::Parent { pidfd, .. } => {
                // It cannot fail: it is our child, and not reaped.
                let _ = waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED);
                Ok(())
            }
            Side::Child => {
                if let Ok(Side::Child) = clone3(self.single, 0, None) {
                    init::default_signals();
                    let done = close_all_but(keep)
                        .during("close", "inherited descriptors")
                        .and_then(|()| work());
                    self.note(done);
                }
                exit_now(0)
            }
        }
    }
}
