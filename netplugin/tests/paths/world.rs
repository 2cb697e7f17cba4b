//! Pods, servers, clients and snapshots for the cases.

use barepod_netplugin::{AddRequest, Attachment, Config, HostPort, Network, ServicePort};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{Shutdown, shutdown};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub const TIMEOUT: Duration = Duration::from_secs(3);

/// A network under test with its pods; its state directory is removed with it.
pub struct World {
    pub network: Option<Network>,
    pub dir: PathBuf,
}

impl World {
    /// A host that has a loopback interface and nothing else.
    pub fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("barepod-paths-{}", std::process::id()));
        let mut world = Self { network: None, dir };
        world.open();
        world
    }

    pub fn config(&self) -> Config {
        config(&self.dir)
    }

    pub fn open(&mut self) {
        self.network = None;
        self.network = Some(Network::open(self.config()).unwrap());
    }

    pub fn net(&mut self) -> &mut Network {
        self.network.as_mut().unwrap()
    }

    pub fn sync(&mut self, services: &[ServicePort]) {
        let synced = self.net().sync(services).unwrap();
        assert_eq!(synced.conflicts, Vec::<String>::new());
    }

    /// Pods that are attached but serve nothing yet.
    pub fn pods(&mut self, names: &[&str]) -> Vec<Pod> {
        let mut pods: Vec<Pod> = names.iter().map(|name| Pod::new(name)).collect();
        let requests: Vec<AddRequest<'_>> = pods.iter().map(Pod::request).collect();
        let results: Vec<Attachment> = self.net().add(&requests).into_iter().map(Result::unwrap).collect();
        for (pod, attachment) in pods.iter_mut().zip(results) {
            pod.ip = attachment.ip;
        }
        pods
    }

    /// Pods that serve TCP and UDP on port 8080.
    pub fn servers(&mut self, names: &[&str]) -> Vec<Pod> {
        let mut pods = self.pods(names);
        for pod in &mut pods {
            pod.serve(8080);
        }
        pods
    }

    /// Removes everything and compares with what was there before.
    pub fn reset(mut self, before: &Snapshot) {
        self.network = None;
        let errors = barepod_netplugin::reset(&self.dir, "barepod0");
        assert!(errors.is_empty(), "{errors:?}");
        assert!(!self.dir.exists(), "state directory is left behind");
        Snapshot::take().expect_equal(before);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.network = None;
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub fn config(dir: &Path) -> Config {
    Config {
        bridge: "barepod0".into(),
        pod_cidr: "10.244.0.0/24".parse().unwrap(),
        cluster_cidr: "10.244.0.0/16".parse().unwrap(),
        service_cidr: "10.96.0.0/16".parse().unwrap(),
        state_dir: dir.to_owned(),
        mtu: None,
    }
}

/// A network namespace with servers in it.
pub struct Pod {
    pub name: String,
    pub ip: Ipv4Addr,
    pub netns: File,
    stop: Arc<AtomicBool>,
    listeners: Vec<TcpListener>,
    threads: Vec<JoinHandle<()>>,
}

impl Pod {
    pub fn new(name: &str) -> Self {
        let netns = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Self {
            name: name.to_owned(),
            ip: Ipv4Addr::UNSPECIFIED,
            netns: netns.join().unwrap(),
            stop: Arc::default(),
            listeners: vec![],
            threads: vec![],
        }
    }

    pub fn request(&self) -> AddRequest<'_> {
        AddRequest {
            uid: &self.name,
            netns: self.netns.as_fd(),
            host_ports: vec![],
        }
    }

    pub fn request_ports(&self, host_ports: &[HostPort]) -> AddRequest<'_> {
        AddRequest {
            host_ports: host_ports.to_vec(),
            ..self.request()
        }
    }

    pub fn at(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.ip, port)
    }

    /// Runs something inside the pod and returns what it returns.
    pub fn run<T: Send + 'static>(&self, action: impl FnOnce() -> T + Send + 'static) -> T {
        let netns = self.netns.try_clone().unwrap();
        thread::spawn(move || {
            setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
            action()
        })
        .join()
        .unwrap()
    }

    pub fn tcp(&self, to: SocketAddrV4) -> io::Result<Answer> {
        self.run(move || tcp(to))
    }

    pub fn udp(&self, to: SocketAddrV4) -> io::Result<Answer> {
        self.run(move || udp(to))
    }

    /// Serves TCP and UDP: every request is answered with the pod's name and the client's address.
    pub fn serve(&mut self, port: u16) {
        let any = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        let (listener, socket) = self.run(move || (TcpListener::bind(any).unwrap(), UdpSocket::bind(any).unwrap()));
        self.listeners.push(listener.try_clone().unwrap());
        let (stop, name) = (self.stop.clone(), self.name.clone());
        self.threads
            .push(thread::spawn(move || serve_tcp(&listener, &name, &stop)));
        let (stop, name) = (self.stop.clone(), self.name.clone());
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        self.threads
            .push(thread::spawn(move || serve_udp(&socket, &name, &stop)));
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for listener in &self.listeners {
            let _ = shutdown(listener.as_raw_fd(), Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn serve_tcp(listener: &TcpListener, name: &str, stop: &AtomicBool) {
    while let Ok((stream, peer)) = listener.accept() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let name = name.to_owned();
        thread::spawn(move || {
            let mut out = stream.try_clone().unwrap();
            for line in BufReader::new(stream).lines() {
                if line.is_err() || writeln!(out, "{name} {peer}").is_err() {
                    return;
                }
            }
        });
    }
}

fn serve_udp(socket: &UdpSocket, name: &str, stop: &AtomicBool) {
    let mut buffer = [0; 100];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            socket.send_to(format!("{name} {peer}").as_bytes(), peer).unwrap();
        }
    }
}

/// Who answered, and which client address it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub name: String,
    pub client: Ipv4Addr,
}

impl Answer {
    fn read(text: &str) -> Self {
        let (name, client) = text.trim().split_once(' ').unwrap();
        let client: SocketAddrV4 = client.parse().unwrap();
        Self {
            name: name.to_owned(),
            client: *client.ip(),
        }
    }
}

pub fn answer(name: &str, client: Ipv4Addr) -> Answer {
    Answer {
        name: name.to_owned(),
        client,
    }
}

/// A TCP connection that can be asked again and again.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub fn open(to: SocketAddrV4) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&SocketAddr::V4(to), TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub fn ask(&mut self) -> io::Result<Answer> {
        self.0.get_mut().write_all(b"?\n")?;
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Answer::read(&line))
    }
}

pub fn tcp(to: SocketAddrV4) -> io::Result<Answer> {
    Connection::open(to)?.ask()
}

pub fn udp_socket() -> UdpSocket {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket
}

pub fn ask_udp(socket: &UdpSocket, to: SocketAddrV4) -> io::Result<Answer> {
    socket.connect(to)?;
    socket.send(b"?")?;
    let mut buffer = [0; 100];
    let length = socket.recv(&mut buffer)?;
    Ok(Answer::read(std::str::from_utf8(&buffer[..length]).unwrap()))
}

pub fn udp(to: SocketAddrV4) -> io::Result<Answer> {
    ask_udp(&udp_socket(), to)
}

/// Connections are refused at once, not timed out. The kernel tells a UDP sender on this very host by EPERM.
pub fn assert_refused(result: &io::Result<Answer>, what: &str) {
    let kind = result.as_ref().map_err(io::Error::kind);
    let refused = matches!(
        kind,
        Err(io::ErrorKind::ConnectionRefused | io::ErrorKind::PermissionDenied)
    );
    assert!(refused, "{what}: {result:?}");
}

pub fn assert_silent(result: &io::Result<Answer>, what: &str) {
    let kind = result.as_ref().map_err(io::Error::kind);
    assert!(
        matches!(kind, Err(io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)),
        "{what}: {result:?}"
    );
}

pub fn service(name: &str, ip: &str, port: u16, endpoints: &[&Pod]) -> ServicePort {
    ServicePort {
        name: name.into(),
        cluster_ip: Some(ip.parse().unwrap()),
        port,
        endpoints: endpoints.iter().map(|p| p.at(8080)).collect(),
        ..ServicePort::default()
    }
}

/// A machine outside the cluster, linked to the host by a cable: 198.51.100.2, the host being 198.51.100.1.
pub fn outsider() -> Pod {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut pod = Pod::new("outsider");
    let target = format!("/proc/{}/fd/{}", std::process::id(), pod.netns.as_raw_fd());
    let link = format!("cable{number}");
    sh(&format!(
        "mkdir -p /run/netns && touch /run/netns/{link} && mount --bind {target} /run/netns/{link} &&
         ip link add {link} type veth peer name eth0 netns {link} &&
         ip addr add 198.51.100.1/24 dev {link} && ip link set {link} up &&
         ip -n {link} addr add 198.51.100.2/24 dev eth0 && ip -n {link} link set eth0 up &&
         ip -n {link} link set lo up && ip -n {link} route add default via 198.51.100.1 &&
         umount /run/netns/{link} && rm /run/netns/{link}"
    ));
    pod.ip = Ipv4Addr::new(198, 51, 100, 2);
    pod
}

pub fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// What the kernel holds in this network namespace.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    parts: BTreeMap<String, String>,
}

impl Snapshot {
    pub fn take() -> Self {
        let mut parts = BTreeMap::new();
        for command in [
            "ip -d -o link",
            "ip -o addr",
            "ip route show table all",
            "ip rule",
            "ip neigh",
            "nft list ruleset",
        ] {
            parts.insert(command.to_owned(), sh(command));
        }
        for dir in ["/proc/sys/net/ipv4", "/proc/sys/net/ipv6", "/proc/sys/net/netfilter"] {
            settings(Path::new(dir), &mut parts);
        }
        // Counts what there is at the moment.
        parts.retain(|name, _| !name.ends_with("nf_conntrack_count"));
        Self { parts }
    }

    pub fn expect_equal(&self, before: &Self) {
        for (name, value) in &before.parts {
            assert_eq!(self.parts.get(name), Some(value), "{name} changed");
        }
        for name in self.parts.keys() {
            assert!(before.parts.contains_key(name), "{name} is new");
        }
    }
}

fn settings(dir: &Path, parts: &mut BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            settings(&path, parts);
        } else {
            let mut content = String::new();
            if File::open(&path).is_ok_and(|mut f| f.read_to_string(&mut content).is_ok()) {
                parts.insert(path.display().to_string(), content);
            }
        }
    }
}

/// Waits for something the kernel does by itself.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not happen in time");
        thread::yield_now();
    }
}
