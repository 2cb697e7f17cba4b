//! Sends one pod's status: one patch at a time, the newest state always next, nothing when nothing changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use barepod_client::{Client, Error, Object, Patch, Request, Status};
use serde_json::{Value, json};

use super::diff::diff;
use crate::kinds::{Pod, PodStatus};
use crate::laps::Laps;
use crate::pods::backoff::Retry;
use crate::pods::shape;
use crate::slots::Slots;

/// How long a status that is about to change again may wait.
const PATIENCE: Duration = Duration::from_millis(300);

/// Who the status belongs to in the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    namespace: String,
    name: String,
    uid: String,
}

/// One pod's status on its way to the API.
#[derive(Debug)]
pub struct Publisher {
    /// What the API is known to have.
    base: Option<Arc<PodStatus>>,
    /// What it should have.
    wanted: Option<Arc<PodStatus>>,
    /// The status last asked for.
    last: Option<Arc<PodStatus>>,
    in_flight: bool,
    dirty_since: Option<Instant>,
    retry: Retry,
    retry_at: Option<Instant>,
    gone: bool,
}

/// A patch under way.
pub struct Patching {
    client: Client,
    subject: Subject,
    status: Arc<PodStatus>,
    patch: Value,
}

/// How a patch went.
#[derive(Debug)]
pub struct Sent {
    status: Arc<PodStatus>,
    result: Result<(), Error>,
}

impl Publisher {
    /// For a pod whose status in the API is `known`.
    pub fn new(known: Option<PodStatus>) -> Self {
        Self {
            base: known.map(Arc::new),
            wanted: None,
            last: None,
            in_flight: false,
            dirty_since: None,
            retry: Retry::new(Duration::from_millis(200), Duration::from_secs(5)),
            retry_at: None,
            gone: false,
        }
    }

    /// The status last asked for.
    pub fn last(&self) -> Option<Arc<PodStatus>> {
        self.last.clone()
    }

    /// The API's object is another one now, with this status.
    pub fn rebase(&mut self, known: Option<PodStatus>) {
        self.base = known.map(Arc::new);
        self.gone = false;
        self.wanted.clone_from(&self.last);
    }

    /// Asks for a status. Whether it differs from the one asked for before.
    pub fn set(&mut self, status: PodStatus, now: Instant) -> bool {
        if self.last.as_deref() == Some(&status) {
            return false;
        }
        self.last = Some(Arc::new(status));
        self.wanted.clone_from(&self.last);
        self.dirty_since.get_or_insert(now);
        true
    }

    /// Whether nothing is left to send.
    pub fn settled(&self) -> bool {
        !self.in_flight && (self.gone || self.wanted.is_none())
    }

    /// What to send now, if anything. While the pod is `busy` a status waits a little for the next one.
    pub fn next(&mut self, client: &Client, subject: Option<Subject>, busy: bool, now: Instant) -> Option<Patching> {
        if self.in_flight || self.gone || self.wanted.is_none() || self.retry_at.is_some_and(|at| at > now) {
            return None;
        }
        let subject = subject?;
        if busy && self.dirty_since.is_some_and(|since| now < since + PATIENCE) {
            return None;
        }
        let status = self.wanted.take()?;
        self.dirty_since = None;
        let patch = diff(&value(self.base.as_deref()), &value(Some(&*status)))?;
        self.in_flight = true;
        self.retry_at = None;
        let patch = json!({"metadata": {"uid": subject.uid}, "status": patch});
        Some(Patching {
            client: client.clone(),
            subject,
            status,
            patch,
        })
    }

    /// When to look again.
    pub fn wake_at(&self) -> Option<Instant> {
        if self.in_flight || self.gone || self.wanted.is_none() {
            return None;
        }
        self.retry_at.or(self.dirty_since.map(|since| since + PATIENCE))
    }

    /// A patch has ended.
    pub fn sent(&mut self, sent: Sent, now: Instant) {
        self.in_flight = false;
        match sent.result {
            Ok(()) => {
                self.base = Some(sent.status);
                self.retry.reset();
            }
            Err(error) if is_gone(&error) => self.gone = true,
            Err(error) => {
                tracing::warn!(error = error.chain(), "status not written; it is tried again");
                // A newer one may have been asked for meanwhile.
                self.wanted.get_or_insert(sent.status);
                self.retry_at = Some(now + self.retry.step());
            }
        }
    }
}

impl Subject {
    /// The pod itself, or for a static pod its mirror with that UID.
    pub fn new(pod: &Pod, uid: &str) -> Self {
        Self {
            namespace: shape::namespace(pod).into(),
            name: shape::name(pod).into(),
            uid: uid.into(),
        }
    }
}

impl Patching {
    /// Sends it.
    pub async fn send(self, slots: &Slots) -> Sent {
        let Self {
            client,
            subject,
            status,
            patch,
        } = self;
        let laps = Laps::begin(&subject.uid);
        let path = Pod::RESOURCE.path(&subject.namespace, &subject.name) + "/status";
        // The answer is the whole pod, which the watch brings anyway.
        let result = slots
            .run(client.send(Request::patch(path, Patch::Strategic, &patch)))
            .await;
        laps.done("status");
        Sent { status, result }
    }
}

fn value(status: Option<&PodStatus>) -> Value {
    serde_json::to_value(status).expect("a status has text keys only")
}

/// The object is gone, or another one has its name: nobody is left to tell.
fn is_gone(error: &Error) -> bool {
    let of_another = |it: &Status| it.code == 409 && it.message.to_lowercase().contains("uid");
    error.code() == Some(404) || error.status().is_some_and(of_another)
}

#[cfg(test)]
mod tests {
    use super::*;
    use barepod_client::{Body, Transport};
    use bytes::Bytes;
    use futures_util::future::BoxFuture;

    fn status(phase: &str) -> PodStatus {
        PodStatus {
            phase: Some(phase.into()),
            ..PodStatus::default()
        }
    }

    fn subject() -> Option<Subject> {
        Some(Subject {
            namespace: "n".into(),
            name: "p".into(),
            uid: "u".into(),
        })
    }

    fn client() -> Client {
        Client::new(Never)
    }

    /// A server that is never asked.
    struct Never;

    impl Transport for Never {
        fn send(&self, _: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, Error>> {
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn one_patch_at_a_time_and_the_newest_next() {
        let client = client();
        let now = Instant::now();
        let mut it = Publisher::new(Some(status("Pending")));
        assert!(it.set(status("Running"), now));
        assert!(!it.set(status("Running"), now));
        let first = it.next(&client, subject(), false, now).unwrap();
        assert_eq!(
            first.patch,
            json!({"metadata": {"uid": "u"}, "status": {"phase": "Running"}})
        );
        it.set(status("Failed"), now);
        assert!(it.next(&client, subject(), false, now).is_none() && !it.settled());
        it.sent(
            Sent {
                status: first.status,
                result: Ok(()),
            },
            now,
        );
        assert_eq!(
            it.next(&client, subject(), false, now).unwrap().patch["status"],
            json!({"phase": "Failed"})
        );
    }

    #[tokio::test]
    async fn busy_pod_is_waited_for_but_not_for_ever() {
        let client = client();
        let now = Instant::now();
        let mut it = Publisher::new(None);
        it.set(status("Pending"), now);
        assert!(it.next(&client, subject(), true, now).is_none());
        assert_eq!(it.wake_at(), Some(now + PATIENCE));
        assert!(it.next(&client, subject(), true, now + PATIENCE).is_some());
    }

    #[tokio::test]
    async fn failure_is_tried_again_later() {
        let client = client();
        let now = Instant::now();
        let mut it = Publisher::new(None);
        it.set(status("Running"), now);
        let first = it.next(&client, subject(), false, now).unwrap();
        it.sent(
            Sent {
                status: first.status,
                result: Err(Error::Late(Duration::ZERO)),
            },
            now,
        );
        assert!(it.next(&client, subject(), false, now).is_none());
        let at = it.wake_at().unwrap();
        assert!(it.next(&client, subject(), false, at).is_some());
    }

    #[tokio::test]
    async fn unchanged_status_is_settled_without_a_patch() {
        let mut it = Publisher::new(Some(status("Running")));
        it.set(status("Running"), Instant::now());
        assert!(it.next(&client(), subject(), false, Instant::now()).is_none());
        assert!(it.settled());
    }
}
