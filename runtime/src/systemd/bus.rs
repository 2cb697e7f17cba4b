//! A connection to systemd, its own socket or the system bus.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::wire::{Call, Kind, Message, Writer, length};
use crate::error::{Error, Result};

/// Where systemd itself listens for root, with or without a bus.
const PRIVATE: &str = "/run/systemd/private";
/// Where the system's message bus listens.
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
/// What waits longer for an answer than this would wait for ever.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// systemd's object, which is its interface's name as a path.
const MANAGER: Call<'static> = Call {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    member: "",
    signature: "",
};
const BUS: Call<'static> = Call {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "",
    signature: "",
};

/// A connection on which calls are answered one after the other.
#[derive(Debug)]
pub struct Bus {
    stream: BufReader<UnixStream>,
    serial: u32,
    /// Signals that came while something else was waited for.
    signals: Vec<Message>,
}

impl Bus {
    /// Connects to systemd.
    ///
    /// # Errors
    /// It does not run here, or does not let this process in.
    pub fn systemd() -> Result<Self> {
        if let Ok(bus) = Self::connect(PRIVATE) {
            return Ok(bus);
        }
        let on_bus = || {
            let mut bus = Self::connect(SYSTEM_BUS)?;
            bus.call(&Call { member: "Hello", ..BUS }, Writer::default())?;
            let mut rule = Writer::default();
            rule.text("type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'");
            let add = Call {
                member: "AddMatch",
                signature: "s",
                ..BUS
            };
            bus.call(&add, rule)?;
            // Otherwise it tells nobody of its jobs.
            bus.manager("Subscribe", "", Writer::default())?;
            Ok(bus)
        };
        on_bus().map_err(|error: io::Error| {
            Error::State(format!(
                "cgroups are asked of systemd (--systemd-cgroup), and it is not there: {PRIVATE} cannot be connected to, \
                 {SYSTEM_BUS}: {}. Boot with systemd, or leave --systemd-cgroup out, which podman does with \
                 --cgroup-manager=cgroupfs and containerd with SystemdCgroup = false",
                crate::error::plain(&error)
            ))
        })
    }

    /// Connects to a socket and says who this is.
    fn connect(path: &str) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut bus = Self {
            stream: BufReader::new(stream),
            serial: 0,
            signals: Vec::new(),
        };
        bus.authenticate()?;
        Ok(bus)
    }

    /// The mechanism EXTERNAL: the socket tells the other side who this is, and this says the same in hexadecimal
    /// digits of decimal digits. D-Bus specification, "Authentication Protocol".
    ///
    /// `BEGIN` does not wait for the answer. systemd reads up to 256 bytes at a time until it has it, and does not look
    /// at what it has read beyond it before more comes: a short call right behind it would never be answered.
    fn authenticate(&mut self) -> io::Result<()> {
        let user: String = nix::unistd::geteuid()
            .to_string()
            .bytes()
            .map(|digit| format!("{digit:02x}"))
            .collect();
        self.send(format!("\0AUTH EXTERNAL {user}\r\nBEGIN\r\n").as_bytes())?;
        let mut line = String::new();
        (&mut self.stream).take(1024).read_line(&mut line)?;
        if line.starts_with("OK ") {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, line.trim_end()))
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    fn receive(&mut self) -> io::Result<Message> {
        let mut fixed = [0; 16];
        self.stream.read_exact(&mut fixed)?;
        let mut bytes = fixed.to_vec();
        bytes.resize(length(&fixed)?, 0);
        self.stream.read_exact(&mut bytes[16..])?;
        Message::parse(bytes)
    }

    /// A method of systemd's manager.
    ///
    /// # Errors
    /// systemd's refusal, whose name its text begins with; what the socket says.
    pub fn manager(&mut self, member: &str, signature: &str, body: Writer) -> io::Result<Vec<String>> {
        let call = Call {
            member,
            signature,
            ..MANAGER
        };
        self.call(&call, body)
    }

    fn call(&mut self, call: &Call<'_>, body: Writer) -> io::Result<Vec<String>> {
        self.serial += 1;
        let message = call.message(self.serial, body.into_bytes());
        self.send(&message)?;
        loop {
            let message = self.receive()?;
            match message.kind {
                Kind::Return if message.reply_to == self.serial => return Ok(message.arguments()),
                Kind::Error if message.reply_to == self.serial => {
                    let text = message.arguments().into_iter().next().unwrap_or_default();
                    return Err(io::Error::other(format!("{}: {text}", message.error)));
                }
                Kind::Signal => self.signals.push(message),
                _ => {}
            }
        }
    }

    /// Whether something comes within a time.
    fn hears(&mut self, within: Duration) -> io::Result<bool> {
        self.stream.get_ref().set_read_timeout(Some(within))?;
        let heard = match self.stream.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            other => other.map(|_| true),
        };
        self.stream.get_ref().set_read_timeout(Some(PATIENCE))?;
        heard
    }

    /// Waits until a job is over; how it ended, `done` if well. `None` if nothing is heard for a time.
    ///
    /// # Errors
    /// The connection ends.
    pub fn job(&mut self, job: &str, patience: Duration) -> io::Result<Option<String>> {
        loop {
            for signal in std::mem::take(&mut self.signals) {
                // JobRemoved(u id, o job, s unit, s result): org.freedesktop.systemd1(5).
                if signal.member == "JobRemoved"
                    && let [_, removed, _, result] = signal.arguments().as_slice()
                    && removed == job
                {
                    return Ok(Some(result.clone()));
                }
            }
            if !self.hears(patience)? {
                return Ok(None);
            }
            let message = self.receive()?;
            if message.kind == Kind::Signal {
                self.signals.push(message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::process::{Command, Stdio};

    /// An independent reader of what is written here, where there is one.
    #[test]
    fn a_message_bus_understands() {
        if Command::new("dbus-daemon").arg("--version").output().is_err() {
            return;
        }
        let dir = directory("daemon");
        let address = dir.join("bus");
        let config = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\"><busconfig><listen>unix:path={}</listen>\
             <policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
            address.display()
        );
        std::fs::write(dir.join("config"), config).unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .arg("--nofork")
            .arg("--nopidfile")
            .arg("--print-address")
            .arg(format!("--config-file={}", dir.join("config").display()))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let mut bus = Bus::connect(address.to_str().unwrap()).unwrap();
        let hello = bus.call(&Call { member: "Hello", ..BUS }, Writer::default()).unwrap();
        assert!(hello[0].starts_with(':'), "{hello:?}");
        let mut name = Writer::default();
        name.text("org.freedesktop.DBus");
        let call = Call {
            member: "GetNameOwner",
            signature: "s",
            ..BUS
        };
        assert_eq!(bus.call(&call, name).unwrap(), ["org.freedesktop.DBus"]);
        // It looks through messages it only passes on, and hangs up on those that are wrong.
        let mut body = Writer::default();
        super::super::scope::write_start(
            &mut body,
            "a.scope",
            &[("Delegate".into(), super::super::wire::Value::Bool(true))],
        );
        let refused = bus
            .manager("StartTransientUnit", super::super::scope::START, body)
            .unwrap_err();
        assert!(refused.to_string().contains("ServiceUnknown"), "{refused}");
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        std::fs::remove_dir_all(dir).unwrap();
    }

    fn directory(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("barepodtest-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// A server that has heard all before it answers, and then says one line.
    fn greeted_with(name: &str, answer: &'static str) -> (io::Result<Bus>, Vec<u8>) {
        let dir = directory(name);
        let path = dir.join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = vec![0; 256];
            let length = stream.read(&mut heard).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            heard.truncate(length);
            heard
        });
        let bus = Bus::connect(path.to_str().unwrap());
        let heard = server.join().unwrap();
        std::fs::remove_dir_all(dir).unwrap();
        (bus, heard)
    }

    #[test]
    fn who_is_not_let_in_is_told() {
        let (bus, heard) = greeted_with("refusing", "REJECTED EXTERNAL\r\n");
        assert_eq!(bus.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(heard.starts_with(b"\0AUTH EXTERNAL 3"), "{heard:?}");
    }

    #[test]
    fn no_call_follows_begin_at_once() {
        let (bus, heard) = greeted_with("answering", "OK 0\r\n");
        bus.unwrap();
        assert!(heard.ends_with(b"\r\nBEGIN\r\n"), "{heard:?}");
    }
}
