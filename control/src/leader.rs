//! Leadership among several control services, by a Lease (KEP-589, and client-go's leader election).
//!
//! Whoever holds the Lease renews it; the others watch its content, by their own clocks, and take it when it has not
//! changed for as long as it is given for. A leader that cannot renew stops some time before that.

use std::time::Duration;

use barepod_client::{Client, Error, Request};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

/// How long a Lease is given for.
const GIVEN: Duration = Duration::from_secs(15);
/// How long a leader tries to renew before it gives up, which must be over before anybody else may begin.
const RENEWAL: Duration = Duration::from_secs(10);
/// How often it renews, and the others look.
const INTERVAL: Duration = Duration::from_secs(2);

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";

/// A candidate.
pub struct Election {
    client: Client,
    /// The name of the Lease.
    name: &'static str,
    /// Who this is.
    identity: String,
    /// What the Lease was when it was last seen to be different, and when that was.
    seen: Option<(Value, Instant)>,
}

impl Election {
    /// A candidate for a Lease in `kube-system`.
    pub fn new(client: Client, name: &'static str, identity: String) -> Self {
        Election {
            client,
            name,
            identity,
            seen: None,
        }
    }

    /// Does `work` whenever this is the leader, until `stopped`. `work` gets a sign to end at once, and its own end is
    /// the end of this.
    pub async fn run<F, W>(mut self, mut stopped: watch::Receiver<bool>, mut work: W) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<()>>,
        W: FnMut(watch::Receiver<bool>) -> F,
    {
        loop {
            tokio::select! {
                () = self.acquire() => {}
                _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
            }
            tracing::info!(lease = self.name, identity = self.identity, "leading");
            let (end, ended) = watch::channel(false);
            let mut working = std::pin::pin!(work(ended));
            let stop = tokio::select! {
                outcome = working.as_mut() => return outcome,
                () = self.keep() => false,
                _ = stopped.wait_for(|stopped| *stopped) => true,
            };
            // The work listens as long as it runs.
            let _ = end.send(true);
            let outcome = working.await;
            if stop {
                self.release().await;
                return outcome;
            }
            tracing::warn!(lease = self.name, "not leading any more");
            outcome?;
        }
    }

    /// Returns when the Lease is held.
    async fn acquire(&mut self) {
        loop {
            match self.claim().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(lease = self.name, error = error.chain(), "the lease cannot be claimed"),
            }
            sleep(INTERVAL).await;
        }
    }

    /// Returns when the Lease can no longer be relied on.
    async fn keep(&mut self) {
        loop {
            sleep(INTERVAL).await;
            let renewed = async {
                loop {
                    match self.claim().await {
                        Ok(held) => return held,
                        Err(error) => tracing::warn!(error = error.chain(), "the lease cannot be renewed"),
                    }
                    sleep(INTERVAL).await;
                }
            };
            if !timeout(RENEWAL, renewed).await.unwrap_or(false) {
                return;
            }
        }
    }

    /// Makes, takes or renews the Lease; false if somebody else has it.
    async fn claim(&mut self) -> Result<bool, Error> {
        let path = format!("{LEASES}/{}", self.name);
        let lease: Value = match self.client.read(Request::get(&path)).await {
            Ok(lease) => lease,
            Err(error) if error.code() == Some(404) => {
                let lease = self.lease(&json!({"metadata": {"name": self.name}}));
                return held(
                    self.client
                        .send(Request::create(LEASES, lease.to_string().into_bytes()))
                        .await,
                );
            }
            Err(error) => return Err(error),
        };
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != lease["spec"]) {
            self.seen = Some((lease["spec"].clone(), Instant::now()));
        }
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or("");
        let given = lease["spec"]["leaseDurationSeconds"].as_u64().unwrap_or(0);
        let stale = |(_, since): &(Value, Instant)| since.elapsed() >= Duration::from_secs(given);
        if holder != self.identity && !holder.is_empty() && !self.seen.as_ref().is_some_and(stale) {
            return Ok(false);
        }
        let lease = self.lease(&lease);
        held(
            self.client
                .send(Request::replace(path, lease.to_string().into_bytes()))
                .await,
        )
    }

    /// The Lease as this one holds it.
    fn lease(&self, before: &Value) -> Value {
        let now = micro_time();
        let mut lease = before.clone();
        lease["apiVersion"] = "coordination.k8s.io/v1".into();
        lease["kind"] = "Lease".into();
        let spec = &mut lease["spec"];
        if spec["holderIdentity"] != self.identity {
            spec["leaseTransitions"] = (spec["leaseTransitions"].as_u64().map_or(0, |count| count + 1)).into();
            spec["acquireTime"] = now.as_str().into();
        }
        spec["holderIdentity"] = self.identity.as_str().into();
        spec["leaseDurationSeconds"] = GIVEN.as_secs().into();
        spec["renewTime"] = now.into();
        lease
    }

    /// Lets the next one begin at once.
    async fn release(&mut self) {
        let released = async {
            let path = format!("{LEASES}/{}", self.name);
            let mut lease: Value = self.client.read(Request::get(&path)).await?;
            if lease["spec"]["holderIdentity"] != self.identity {
                return Ok(());
            }
            lease["spec"]["holderIdentity"] = "".into();
            lease["spec"]["leaseDurationSeconds"] = 1.into();
            lease["spec"]["renewTime"] = micro_time().into();
            self.client
                .send(Request::replace(path, lease.to_string().into_bytes()))
                .await
        };
        match timeout(INTERVAL, released).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = error.chain(), "the lease could not be given back"),
            Err(_) => tracing::warn!("the lease could not be given back in time"),
        }
    }
}

/// Losing a race is no failure.
fn held(outcome: Result<(), Error>) -> Result<bool, Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.code() == Some(409) => Ok(false),
        Err(error) => Err(error),
    }
}

fn micro_time() -> String {
    format!("{:.6}", Timestamp::now())
}
