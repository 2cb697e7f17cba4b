//! The same with the real kubectl, which the machine must have.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::{Server, apiserver, portforward};

struct Kubectl {
    server: Arc<Server>,
    /// Whether streams are carried by WebSockets, or by SPDY as before kubectl 1.31.
    websockets: bool,
}

impl Kubectl {
    /// One for each of the ways that streams are carried.
    async fn both() -> [Self; 2] {
        [Self::new(true).await, Self::new(false).await]
    }

    async fn new(websockets: bool) -> Self {
        let server = Arc::new(Server::start().await);
        let address = apiserver::start(server.clone()).await;
        let config = apiserver::kubeconfig(&server, address).to_string();
        std::fs::write(server.node.dir.join("kubeconfig"), config).unwrap();
        Self { server, websockets }
    }

    /// Asserts that the last streams were carried so.
    fn was_carried_so(&self) {
        let wanted = if self.websockets { "websocket" } else { "SPDY/3.1" };
        assert_eq!(self.server.node.upgrade.lock().unwrap().as_deref(), Some(wanted));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        let websockets = self.websockets.to_string();
        command
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", &websockets)
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", &websockets)
            .arg("--kubeconfig")
            .arg(self.server.node.dir.join("kubeconfig"))
            .arg("--cache-dir")
            .arg(self.server.node.dir.join("cache"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Exit code, stdout and stderr.
    async fn run(&self, arguments: &[&str], input: &[u8]) -> (i32, String, String) {
        let mut child = self.command(arguments).spawn().expect("kubectl is installed");
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input).await.unwrap();
        drop(stdin);
        let output = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output()).await;
        let output = output.expect("kubectl does not end").unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec() {
    for kubectl in Kubectl::both().await {
        let script = ["exec", "-i", "pod", "--", "sh", "-c", "cat; echo err >&2; exit 7"];
        let (code, out, err) = kubectl.run(&script, b"from kubectl").await;
        assert_eq!((code, out.as_str()), (7, "from kubectl"));
        assert_eq!(err, "err\ncommand terminated with exit code 7\n");
        assert_eq!(
            kubectl.run(&["exec", "pod", "--", "true"], b"").await,
            (0, String::new(), String::new())
        );
        let (code, _, err) = kubectl.run(&["exec", "pod", "--", "/no/such"], b"").await;
        assert!(code == 1 && err.contains("/no/such"), "{code} {err}");
        // As kubectl cp does it: an archive of some size through the streams.
        let (code, out, _) = kubectl
            .run(&["exec", "pod", "--", "head", "-c", "5000000", "/dev/zero"], b"")
            .await;
        assert_eq!((code, out.len()), (0, 5_000_000));
        let input = vec![b'x'; 5_000_000];
        let (code, out, _) = kubectl.run(&["exec", "-i", "pod", "--", "wc", "-c"], &input).await;
        assert_eq!((code, out.trim()), (0, "5000000"));
        kubectl.was_carried_so();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attach_and_logs() {
    for kubectl in Kubectl::both().await {
        let (code, out, err) = kubectl.run(&["attach", "-i", "pod"], b"typed").await;
        assert_eq!((code, out.as_str()), (0, "attached\ntyped"), "{err}");
        kubectl.was_carried_so();
        let log = "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stdout F two\n";
        std::fs::write(kubectl.server.node.log(), log).unwrap();
        let (_, out, err) = kubectl.run(&["logs", "pod", "--tail", "1", "--timestamps"], b"").await;
        assert_eq!(out, "2026-01-01T00:00:01Z two\n", "{err}");
        kubectl.server.node.finished.send_replace(true);
        let (code, out, _) = kubectl.run(&["logs", "-f", "pod"], b"").await;
        assert_eq!((code, out.as_str()), (0, "one\ntwo\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_forward() {
    for kubectl in Kubectl::both().await {
        let port = portforward::service().await.port();
        let mapping = format!(":{port}");
        let mut child = kubectl
            .command(&["port-forward", "pod", &mapping])
            .spawn()
            .expect("kubectl is installed");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(Duration::from_secs(20), lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        // "Forwarding from 127.0.0.1:40000 -> 80"
        let local: u16 = line.split([':', ' ']).nth(3).unwrap().parse().unwrap();
        for size in [0, 1, 100_000, 3_000_000] {
            let mut stream = TcpStream::connect(("127.0.0.1", local)).await.unwrap();
            let (mut read, mut write) = stream.split();
            let sent = vec![b'x'; size];
            let exchange = async {
                let mut seen = Vec::new();
                let write = async {
                    write.write_all(&sent).await.unwrap();
                    write.shutdown().await.unwrap();
                };
                let (read, ()) = tokio::join!(read.read_to_end(&mut seen), write);
                read.unwrap();
                seen
            };
            let seen = tokio::time::timeout(Duration::from_secs(20), exchange)
                .await
                .expect("the connection hangs");
            assert_eq!(seen, [&b"hello "[..], &sent, b" goodbye"].concat(), "{size}");
        }
        kubectl.was_carried_so();
        child.kill().await.unwrap();
    }
}
