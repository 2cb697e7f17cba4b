//! Latency, throughput and cost of an API server, any that a kubeconfig leads to. Works in a namespace of its own, which
//! it makes and deletes. The disk beside which the durable writes are to be seen is that of the temporary directory.

mod crowd;
mod disk;
mod latency;
mod memory;
mod objects;
mod watchers;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use barepod_tests::api::Server;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

const USAGE: &str = "usage: apiload --kubeconfig FILE [--server https://HOST:PORT] [--count N] [--connections N]
               [--objects N,...] [--watchers N,...] [--events N] [--pid PID,...] [--disk DIRECTORY]
  --count        requests of each kind over one connection (1000)
  --connections  connections that create objects at the same time (16)
  --objects      how many objects there are to be, step by step (10,100,1000,10000)
  --watchers     how many watchers there are to be, step by step (10,100,1000,10000); those beyond 1000 come when
                 everything else has been measured
  --events       creates that are timed with each number of watchers (50)
  --pid          processes of the server, whose memory is printed as it grows
  --disk         a directory on the server's disk, whose sync is printed (the temporary directory)";

/// How long a server may take to give memory back.
const QUIET: Duration = Duration::from_secs(5);

/// Descriptors for other things than watchers.
const RESERVE: usize = 100;

/// What the measurements need to know.
struct Load {
    server: Server,
    /// The path of the ConfigMaps it works with.
    base: String,
    memory: memory::Memory,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let options: BTreeMap<&str, &str> = args
        .chunks(2)
        .filter(|c| c.len() == 2)
        .map(|c| (c[0].trim_start_matches("--"), c[1].as_str()))
        .collect();
    let numbers = |name: &str, default: &str| -> Result<Vec<usize>> {
        let text = options.get(name).copied().unwrap_or(default);
        let parts = text.split(',').filter(|part| !part.is_empty());
        let numbers = parts.map(|part| part.parse().with_context(|| format!("--{name}: {part}")));
        numbers.collect()
    };
    let one = |name: &str, default: &str| -> Result<usize> {
        numbers(name, default)?
            .first()
            .copied()
            .with_context(|| format!("--{name}"))
    };
    let kubeconfig = options.get("kubeconfig").context(USAGE)?;
    let server = Server::from_kubeconfig(Path::new(kubeconfig), options.get("server").copied())?;
    let namespace = format!("apiload-{}", std::process::id());
    let load = Load {
        base: format!("/api/v1/namespaces/{namespace}/configmaps"),
        memory: memory::Memory::of(&numbers("pid", "")?),
        server,
    };
    let mut connection = load.server.connect()?;
    let body = format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{namespace}"}}}}"#);
    connection.done("POST", "/api/v1/namespaces", "application/json", body.as_bytes())?;
    load.memory.show("at the start");
    let directory = options.get("disk").map_or_else(std::env::temp_dir, |path| path.into());
    disk::measure(&directory)?;
    latency::measure(&load, one("count", "1000")?)?;
    objects::measure(
        &load,
        one("connections", "16")?,
        &numbers("objects", "10,100,1000,10000")?,
    )?;
    let mut watchers = numbers("watchers", "10,100,1000,10000")?;
    let descriptors = descriptors()?;
    watchers.retain(|count| {
        let enough = *count + RESERVE <= descriptors;
        if !enough {
            println!("{count} watchers are left out: only {descriptors} descriptors may be open (ulimit -Hn)");
        }
        enough
    });
    let (few, many): (Vec<usize>, Vec<usize>) = watchers.into_iter().partition(|count| *count <= 1000);
    let events = one("events", "50")?;
    watchers::measure(&load, &few, events)?;
    let start = Instant::now();
    connection.done("DELETE", &load.base, "application/json", &[])?;
    let took = start.elapsed().as_secs_f64() * 1e3;
    println!("{:<44} {took:>9.3} ms", "deletecollection of all of them");
    load.memory.show("after all of it");
    std::thread::sleep(QUIET);
    load.memory.show("five seconds later");
    if !many.is_empty() {
        watchers::measure(&load, &many, events.min(10))?;
        std::thread::sleep(QUIET);
        load.memory.show("five seconds after they went");
    }
    connection.done(
        "DELETE",
        &format!("/api/v1/namespaces/{namespace}"),
        "application/json",
        &[],
    )
}

/// Takes all the descriptors that the process may have, and says how many those are.
fn descriptors() -> Result<usize> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(usize::try_from(hard)?)
}

/// A ConfigMap of about half a kibibyte.
fn config_map(name: &str) -> Vec<u8> {
    let data = "x".repeat(256);
    format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"key":"{data}"}}}}"#)
        .into_bytes()
}
