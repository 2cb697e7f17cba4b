//! Mount, network, PID and UTS namespaces that end with their value, and everything in them.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, setns};

/// Namespaces with nothing but loopback, held by a shell that is PID 1 in them.
pub struct Namespaces {
    holder: Child,
    init: String,
}

impl Namespaces {
    /// Makes them and runs a script in them; in front of it the host name is `node-1` and loopback is up.
    pub fn make(script: &str) -> Self {
        // The shell reaps, and ends when this end of its standard input is closed.
        let mut holder = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--uts", "--fork", "--kill-child"])
            .args(["--mount-proc", "--propagation", "private", "bash", "-ec"])
            .arg(format!(
                "hostname node-1\nip link set lo up\n{script}\necho up\nread -r _"
            ))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare(1) runs");
        let mut line = String::new();
        let output = holder.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("the shell answers");
        assert_eq!(line.trim(), "up", "namespaces could not be made: run as root");
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", holder.id())).expect("children");
        let init = children.trim().to_owned();
        Namespaces { holder, init }
    }

    /// The shell's process id.
    pub fn init(&self) -> &str {
        &self.init
    }

    /// Ends every process in them.
    pub fn end(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// A command in the namespaces of the process `init`, among its processes.
pub fn inside(init: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-t", init, "-n", "-m", "-p", "-u", "--"]).arg(program);
    command.stdin(Stdio::null());
    command
}

/// A command that has its network and files, but stays a child of this process: killing it ends it.
pub fn beside(init: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-t", init, "-n", "-m", "--"]).arg(program);
    command.stdin(Stdio::null());
    command
}

/// A connection to a port of its loopback interface.
pub fn dial(init: &str, port: u16) -> std::io::Result<TcpStream> {
    let netns = std::fs::File::open(format!("/proc/{init}/ns/net"))?;
    // A socket belongs to the namespace of the thread that made it, for good.
    let thread = std::thread::spawn(move || {
        setns(netns.as_fd(), CloneFlags::CLONE_NEWNET)?;
        TcpStream::connect(("127.0.0.1", port))
    });
    thread.join().expect("the thread does not panic")
}
