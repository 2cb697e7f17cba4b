//! The store on etcd v3, which several control services share.
//!
//! A key is its own name behind a prefix, a value is the object's JSON without its revision: that is the key's
//! `mod_revision`. Writes are transactions that compare it. Everything below the prefix is kept in memory by one watch,
//! so reads cost etcd nothing; [`Store::current`] asks etcd for its revision and waits for the memory to be there. Keys
//! that begin with `/.` are not objects.
//!
//! Long-lived tasks, ended by [`Store::close`]: `follow` keeps the memory up to date and is its only writer; `compact`
//! forgets what is older than some minutes, one replica for all. Both end with the store.

mod channel;
mod compact;
mod follow;
mod grpc;
mod lease;
mod messages;
mod tls;
mod wire;
mod write;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::memory::{Memory, Past};
use crate::{BoxFuture, Error, Object, Page, Range, ReadError, Store, Watcher, Write, WriteError};
use grpc::{CallError, Channel};
use lease::Leases;
use messages::{RangeRequest, RangeResponse};
use wire::Writer;

/// How many transactions of this process are under way at a time.
const TRANSACTIONS: usize = 256;
/// How long one call may take.
const CALL: Duration = Duration::from_secs(10);
/// How long the memory may be behind what etcd says before its own pulse is sent through: somebody else's writes, outside
/// of the prefix, raise the revision too.
const PATIENCE: Duration = Duration::from_millis(50);

const RANGE: &str = "/etcdserverpb.KV/Range";
const PUT: &str = "/etcdserverpb.KV/Put";
const TXN: &str = "/etcdserverpb.KV/Txn";
const COMPACT: &str = "/etcdserverpb.KV/Compact";
const WATCH: &str = "/etcdserverpb.Watch/Watch";
const STATUS: &str = "/etcdserverpb.Maintenance/Status";
const LEASE_GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";

/// How etcd is reached and used.
#[derive(Debug, Clone)]
pub struct EtcdOptions {
    /// `https://HOST:PORT` or `http://HOST:PORT`, tried in this order.
    pub endpoints: Vec<String>,
    /// The authority of etcd's certificate, as PEM.
    pub ca_file: Option<PathBuf>,
    /// The certificate to show, as PEM.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// What all keys begin with.
    pub prefix: String,
    /// Key prefixes below which objects go by themselves so long after their last write.
    pub expiring: Vec<(String, Duration)>,
    /// How much of the past is kept in memory.
    pub past: Past,
    /// How long etcd keeps the past; `None` leaves compaction to somebody else.
    pub compact_every: Option<Duration>,
}

impl EtcdOptions {
    /// The defaults for some endpoints.
    pub fn new(endpoints: Vec<String>) -> Self {
        EtcdOptions {
            endpoints,
            ca_file: None,
            cert_file: None,
            key_file: None,
            prefix: "/barepod".into(),
            expiring: Vec::new(),
            past: Past::default(),
            compact_every: Some(Duration::from_secs(300)),
        }
    }
}

/// The store on etcd.
pub struct Etcd {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

/// What the store and its tasks share.
struct Shared {
    channel: Channel,
    memory: Memory,
    /// Without a slash at its end: every key begins with one.
    prefix: String,
    /// The revision of the memory, for those who wait for it.
    applied: watch::Sender<u64>,
    leases: Leases,
    transactions: Semaphore,
    /// Held by whoever sends a pulse.
    pulse: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Etcd")
            .field("prefix", &self.shared.prefix)
            .finish_non_exhaustive()
    }
}

impl Etcd {
    /// Connects, reads everything below the prefix and starts to follow it.
    pub async fn connect(options: EtcdOptions) -> Result<Self, Error> {
        let channel = channel::channel(&options)?;
        let prefix = options.prefix.trim_end_matches('/').to_owned();
        let (objects, revision) = follow::load(&channel, &prefix).await.map_err(remote)?;
        let shared = Arc::new(Shared {
            channel,
            memory: Memory::new(objects, revision, options.past),
            prefix,
            applied: watch::Sender::new(revision),
            leases: Leases::new(options.expiring),
            transactions: Semaphore::new(TRANSACTIONS),
            pulse: tokio::sync::Mutex::new(()),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(follow::follow(shared.clone()));
        if let Some(interval) = options.compact_every {
            tasks.spawn(compact::compact(shared.clone(), interval));
        }
        Ok(Etcd {
            shared,
            tasks: Mutex::new(tasks),
        })
    }
}

impl Etcd {
    /// Writes until etcd's revision is at least this.
    pub(crate) async fn raise(&self, revision: u64) -> Result<(), Error> {
        let key = self.shared.key("/.pulse");
        let put = messages::put(key.as_bytes(), b"", 0);
        let mut now = self.shared.ask().await.map_err(remote)?;
        while now < revision {
            let count = (revision - now).min(TRANSACTIONS as u64);
            let puts = (0..count).map(|_| self.shared.channel.call(PUT, &put, CALL));
            for answer in join_all(puts).await {
                answer.map_err(remote)?;
            }
            now += count;
        }
        self.shared.catch_up(revision).await.map_err(remote)
    }
}

impl Shared {
    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Asks etcd for its revision, which no earlier write of anybody is beyond.
    async fn ask(&self) -> Result<u64, CallError> {
        let key = self.key("/.none");
        let request = RangeRequest {
            key: key.as_bytes(),
            limit: 1,
            keys_only: true,
            ..RangeRequest::default()
        };
        let answer = self.channel.call(RANGE, &request.encode(), CALL).await?;
        let answer = RangeResponse::decode(&answer).map_err(|cause| CallError::Malformed { path: RANGE, cause })?;
        Ok(answer.revision)
    }

    /// Waits until the memory is at a revision that etcd has reported.
    async fn catch_up(&self, revision: u64) -> Result<(), CallError> {
        let reached = async || {
            let mut applied = self.applied.subscribe();
            // The sender lives as long as this.
            let _ = applied.wait_for(|applied| *applied >= revision).await;
        };
        if tokio::time::timeout(PATIENCE, reached()).await.is_ok() {
            return Ok(());
        }
        let pulse = async {
            let _one = self.pulse.lock().await;
            if *self.applied.borrow() < revision {
                let key = self.key("/.pulse");
                self.channel
                    .call(PUT, &messages::put(key.as_bytes(), b"", 0), CALL)
                    .await?;
            }
            Ok::<_, CallError>(())
        };
        pulse.await?;
        let slow = CallError::Slow {
            path: WATCH,
            limit: CALL,
        };
        tokio::time::timeout(CALL, reached()).await.map_err(|_| slow)
    }
}

fn remote(source: CallError) -> Error {
    Error::Remote { source: source.into() }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.close();
    }
}

impl Store for Etcd {
    fn revision(&self) -> u64 {
        self.shared.memory.revision()
    }

    fn current(&self) -> BoxFuture<'_, Result<u64, Arc<Error>>> {
        Box::pin(async {
            let caught_up = async {
                let revision = self.shared.ask().await?;
                self.shared.catch_up(revision).await
            };
            caught_up.await.map_err(|error| Arc::new(remote(error)))?;
            Ok(self.revision())
        })
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.shared.memory.get(key)
    }

    fn range(&self, range: &Range<'_>) -> Result<Page, ReadError> {
        self.shared.memory.range(range)
    }

    fn count(&self, prefix: &str) -> usize {
        self.shared.memory.count(prefix)
    }

    fn size_bytes(&self) -> BoxFuture<'_, Option<u64>> {
        Box::pin(async {
            let answer = self.shared.channel.call(STATUS, &Writer::default(), CALL).await;
            messages::decode_status(&answer.ok()?).ok()
        })
    }

    fn write_all(&self, writes: Vec<Write>) -> BoxFuture<'_, Vec<Result<Arc<Object>, WriteError>>> {
        Box::pin(write::write_all(&self.shared, writes))
    }

    fn watch(&self, prefix: &str, after: u64) -> Result<Watcher, ReadError> {
        self.shared.memory.watch(prefix, after)
    }

    fn compact(&self, revision: u64) {
        self.shared.memory.compact(revision);
    }

    fn close(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        self.shared.transactions.close();
        self.shared.memory.close();
    }
}
