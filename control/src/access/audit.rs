//! The audit log: events as `audit.k8s.io/v1` has them, one in JSON a line.
//!
//! Long-lived: one thread, `audit`, which takes lines from a bounded queue and appends them. When the queue is full,
//! requests wait: nothing is answered that is not on its way to the log.

use std::path::PathBuf;

use barepod_auth::attributes::{Attributes, Decision, Object};
use barepod_auth::audit::{Level, Policy, PolicyError, Ruling, Stage};
use barepod_auth::user::User;
use barepod_kinds::time::rfc3339_micro;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::audit_file::AuditFile;
use crate::config::AuditConfig;
use crate::engine::new_uid;

/// Lines that may wait.
const QUEUE: usize = 4096;
/// Bytes after which lines are written and no more are waited for.
const TOGETHER: usize = 256 << 10;

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file cannot be used.
    #[error("use the file {path} of the audit log")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The policy is neither YAML nor JSON.
    #[error("read the audit policy {path}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The policy says something that cannot be followed.
    #[error("use the audit policy {path}")]
    Policy {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: PolicyError,
    },
}

/// The audit log.
pub struct Audit {
    policy: Policy,
    lines: mpsc::Sender<Vec<u8>>,
}

impl Audit {
    /// Reads the policy and opens the log.
    pub fn start(config: &AuditConfig) -> Result<Self, AuditError> {
        let path = &config.policy;
        let file = |path: &PathBuf| {
            let path = path.clone();
            |source| AuditError::File { path, source }
        };
        let text = std::fs::read(path).map_err(file(path))?;
        let decoded = barepod_schema::body::decode("application/yaml", &text).map_err(|error| AuditError::Syntax {
            path: path.clone(),
            source: Box::new(error),
        })?;
        let policy = Policy::from_value(&decoded.value).map_err(|source| AuditError::Policy {
            path: path.clone(),
            source,
        })?;
        let log = AuditFile::open(config).map_err(file(&config.log))?;
        let (lines, waiting) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("audit".into());
        thread.spawn(move || write(log, waiting)).map_err(file(&config.log))?;
        Ok(Audit { policy, lines })
    }

    /// Begins to write down a request; `None` if the policy does not want it.
    pub async fn begin(&self, request: Request<'_>) -> Option<Entry> {
        let ruling = self.policy.rule_on(&request.asked);
        if ruling.level == Level::None {
            return None;
        }
        let entry = Entry {
            event: event(&request, &ruling),
            ruling,
            decision: None,
            lines: self.lines.clone(),
            done: false,
        };
        entry.write(Stage::RequestReceived).await;
        Some(entry)
    }
}

/// What is known of a request in the beginning.
pub struct Request<'a> {
    /// Who asks for what; the user is the one acted as.
    pub asked: Attributes<'a>,
    /// Who asks in truth.
    pub by: &'a User,
    /// Path and query.
    pub uri: String,
    /// The client.
    pub user_agent: &'a str,
    /// The client's address.
    pub source: Option<std::net::IpAddr>,
}

fn event(request: &Request<'_>, ruling: &Ruling) -> Value {
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": ruling.level.name(), "auditID": new_uid(),
        "requestURI": request.uri, "verb": request.asked.verb, "user": request.by.to_value(),
        "userAgent": request.user_agent,
        "requestReceivedTimestamp": rfc3339_micro(Timestamp::now()),
    });
    if let Some(source) = request.source {
        event["sourceIPs"] = json!([source.to_string()]);
    }
    if request.by != request.asked.user {
        event["impersonatedUser"] = request.asked.user.to_value();
    }
    if let Object::Resource(resource) = request.asked.object {
        let parts = [
            ("resource", resource.resource),
            ("namespace", resource.namespace),
            ("name", resource.name),
            ("apiGroup", resource.group),
            ("apiVersion", resource.version),
            ("subresource", resource.subresource),
        ];
        let given = parts.into_iter().filter(|(_, text)| !text.is_empty());
        event["objectRef"] = given
            .map(|(key, text)| (key.to_owned(), text.into()))
            .collect::<Map<_, _>>()
            .into();
    }
    event
}

/// A request that is being written down.
pub struct Entry {
    event: Value,
    ruling: Ruling,
    decision: Option<Decision>,
    lines: mpsc::Sender<Vec<u8>>,
    done: bool,
}

impl Entry {
    /// Whether the sent object is wanted.
    pub fn wants_request(&self) -> bool {
        self.ruling.level >= Level::Request
    }

    /// Whether the answered object is wanted.
    pub fn wants_response(&self) -> bool {
        self.ruling.level >= Level::RequestResponse
    }

    /// Notes what the authorizer says; `None` if it is not asked.
    pub fn decided(&mut self, decision: Option<Decision>) {
        self.decision = decision;
    }

    /// Notes what was sent, if it is JSON.
    pub fn request(&mut self, body: &[u8]) {
        self.object("requestObject", body);
    }

    /// Notes what is answered, if it is JSON.
    pub fn response(&mut self, body: &[u8]) {
        self.object("responseObject", body);
    }

    fn object(&mut self, key: &str, body: &[u8]) {
        let Ok(mut object) = serde_json::from_slice::<Value>(body) else {
            return;
        };
        if self.ruling.omit_managed_fields {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
            for item in object
                .get_mut("items")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                if let Some(metadata) = item.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove("managedFields");
                }
            }
        }
        self.event[key] = object;
    }

    /// Notes the outcome and what admission said.
    pub fn outcome(&mut self, code: u16, annotations: &[(String, String)]) {
        self.event["responseStatus"] = json!({"metadata": {}, "code": code});
        if let Some(decision) = self.decision.take() {
            let (decision, reason) = match decision {
                Decision::Allow(reason) => ("allow", reason),
                Decision::NoOpinion(reason) => ("forbid", reason),
            };
            self.event["annotations"] =
                json!({"authorization.k8s.io/decision": decision, "authorization.k8s.io/reason": reason});
        }
        for (key, value) in annotations {
            self.event["annotations"][key] = value.as_str().into();
        }
    }

    fn line(&self, stage: Stage) -> Option<Vec<u8>> {
        if !self.ruling.covers(stage) {
            return None;
        }
        let mut event = self.event.clone();
        event["stage"] = stage.name().into();
        event["stageTimestamp"] = rfc3339_micro(Timestamp::now()).into();
        let mut line = event.to_string().into_bytes();
        line.push(b'\n');
        Some(line)
    }

    async fn write(&self, stage: Stage) {
        if let Some(line) = self.line(stage) {
            // An error means that the thread is gone, which it has told of.
            let _ = self.lines.send(line).await;
        }
    }

    /// A long answer begins; its end is written when the entry is dropped.
    pub async fn started(&self) {
        self.write(Stage::ResponseStarted).await;
    }

    /// The answer is complete.
    pub async fn completed(mut self) {
        self.done = true;
        self.write(Stage::ResponseComplete).await;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.done
            && let Some(line) = self.line(Stage::ResponseComplete)
            && self.lines.try_send(line).is_err()
        {
            tracing::error!("the end of a long request could not be written to the audit log");
        }
    }
}

fn write(mut log: AuditFile, mut waiting: mpsc::Receiver<Vec<u8>>) {
    while let Some(mut lines) = waiting.blocking_recv() {
        // What waits already goes with one write, which is smaller than a log may be.
        while lines.len() < TOGETHER
            && let Ok(more) = waiting.try_recv()
        {
            lines.extend_from_slice(&more);
        }
        if let Err(error) = log.write(&lines) {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }
}
