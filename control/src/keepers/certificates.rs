//! Approves the certificate requests by which nodes renew their own certificates, signs what is approved for the
//! built-in signers, and removes requests that are done with.

use std::sync::Arc;
use std::time::Duration;

use barepod_auth::attributes::{Attributes, Object as Asked, Resource};
use barepod_auth::certificate::{Request, Signer, Validity, self_node_client};
use barepod_auth::user::User;
use barepod_kinds::time::rfc3339;
use barepod_store::{Event, EventKind, Object};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Keeper, settled};
use crate::engine::{Engine, parse};
use crate::internal::call_as;

const PREFIX: &str = "/certificates.k8s.io/certificatesigningrequests/";
const GROUP: &str = "certificates.k8s.io";
const MANAGER: &str = "certificate-controller";
/// How long certificates are good for if nothing is said.
const YEAR: i64 = 365 * 24 * 3600;
/// Clocks may be a little behind.
const BEFORE: SignedDuration = SignedDuration::from_mins(5);
/// How long requests that were decided are kept.
const DECIDED: SignedDuration = SignedDuration::from_hours(1);
/// How long requests that nobody decided are kept.
const PENDING: SignedDuration = SignedDuration::from_hours(24);

/// The keeper. Its keys are those of requests.
pub(super) struct Certificates;

impl Keeper for Certificates {
    fn prefixes(&self) -> &'static [&'static str] {
        &[PREFIX]
    }

    fn keys(&self, engine: &Engine, event: &Event) -> Vec<String> {
        if event.kind == EventKind::Deleted {
            Vec::new()
        } else {
            self.first(engine, &event.object)
        }
    }

    fn first(&self, _: &Engine, object: &Arc<Object>) -> Vec<String> {
        vec![object.key().to_owned()]
    }

    fn keep<'a>(&'a self, engine: &'a Arc<Engine>, key: &'a str) -> BoxFuture<'a, anyhow::Result<Option<Duration>>> {
        Box::pin(async move {
            let Some(stored) = engine.stored_one(key) else {
                return Ok(None);
            };
            let (csr, now) = (parse(&stored), Timestamp::now());
            let name = csr.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
            let path = format!("/apis/{GROUP}/v1/certificatesigningrequests/{name}");
            let left = match remaining(&csr, now) {
                Some(left) => left,
                None => {
                    let options = json!({"preconditions": {"uid": csr["metadata"]["uid"]}});
                    let media = "application/json";
                    let (code, answer) = call_as(engine, MANAGER, "DELETE", &path, media, Some(&options)).await?;
                    settled(code, &answer, "remove a certificate request")?;
                    return Ok(None);
                }
            };
            let (change, subresource) = match step(engine, &csr, now) {
                Step::Nothing => return Ok(Some(left)),
                Step::Decide(condition) => (with_condition(&csr, condition), "approval"),
                Step::Issue(certificate) => {
                    let mut signed = csr.clone();
                    signed["status"]["certificate"] = BASE64.encode(certificate).into();
                    (signed, "status")
                }
                Step::Fail(condition) => (with_condition(&csr, condition), "status"),
            };
            let path = format!("{path}/{subresource}");
            let (code, answer) = call_as(engine, MANAGER, "PUT", &path, "application/json", Some(&change)).await?;
            settled(code, &answer, "answer a certificate request")?;
            Ok(Some(left))
        })
    }
}

enum Step {
    Nothing,
    /// Approve it.
    Decide(Value),
    /// Write the certificate.
    Issue(String),
    /// Say that it will not be signed.
    Fail(Value),
}

fn condition<'a>(csr: &'a Value, type_: &str) -> Option<&'a Value> {
    let all = csr.pointer("/status/conditions").and_then(Value::as_array)?;
    all.iter().find(|condition| condition["type"] == type_)
}

fn with_condition(csr: &Value, condition: Value) -> Value {
    let mut changed = csr.clone();
    match changed.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
        Some(list) => list.push(condition),
        None => changed["status"]["conditions"] = json!([condition]),
    }
    changed
}

/// How long the request is still kept; `None` if its time is over.
fn remaining(csr: &Value, now: Timestamp) -> Option<Duration> {
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let decided = ["Approved", "Denied", "Failed"]
        .into_iter()
        .find_map(|type_| condition(csr, type_));
    let (from, kept) = match decided {
        Some(decided) => (time(&decided["lastUpdateTime"]), DECIDED),
        None => (None, PENDING),
    };
    let from = from
        .or_else(|| time(&csr["metadata"]["creationTimestamp"]))
        .unwrap_or(now);
    let left = from.checked_add(kept).ok()?.duration_since(now);
    Duration::try_from(left).ok().filter(|left| !left.is_zero())
}

fn step(engine: &Engine, csr: &Value, now: Timestamp) -> Step {
    let spec = &csr["spec"];
    let Some(signer) = spec["signerName"].as_str().and_then(Signer::named) else {
        return Step::Nothing;
    };
    let done = csr
        .pointer("/status/certificate")
        .is_some_and(|it| it.as_str().is_some_and(|text| !text.is_empty()));
    if done || condition(csr, "Denied").is_some() || condition(csr, "Failed").is_some() {
        return Step::Nothing;
    }
    let usages: Vec<&str> = spec["usages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let pem = BASE64
        .decode(spec["request"].as_str().unwrap_or(""))
        .unwrap_or_default();
    let request = Request::from_pem(&String::from_utf8_lossy(&pem));
    let objection = match &request {
        Ok(request) => signer.objection(request, &usages),
        Err(error) => Some(error.to_string()),
    };
    if condition(csr, "Approved").is_none() {
        let node = signer == Signer::KubeletClient && objection.is_none();
        return match request {
            Ok(request) if node => approve(engine, spec, &request, now),
            _ => Step::Nothing,
        };
    }
    let Some(authority) = engine.signs() else {
        return Step::Nothing;
    };
    let request = match (request, objection) {
        (Ok(request), None) => request,
        (_, why) => {
            let why = why.unwrap_or_default();
            let now = rfc3339(now);
            return Step::Fail(json!({
                "type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": why,
                "lastUpdateTime": now, "lastTransitionTime": now,
            }));
        }
    };
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(YEAR).clamp(600, YEAR);
    let ends = now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now);
    let from = now.checked_sub(BEFORE).unwrap_or(now);
    match authority.sign(&request, &usages, Validity { from, to: ends }) {
        Ok(certificate) => Step::Issue(certificate),
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a certificate cannot be signed"
            );
            Step::Nothing
        }
    }
}

/// Approves a node's own client certificate, if whoever asks may have it.
fn approve(engine: &Engine, spec: &Value, request: &Request, now: Timestamp) -> Step {
    let name = spec["username"].as_str().unwrap_or("");
    let groups = spec["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let user = User {
        name: name.into(),
        groups: groups.map(str::to_owned).collect(),
        ..User::default()
    };
    let may = |subresource| {
        let resource = Resource {
            group: GROUP,
            version: "v1",
            resource: "certificatesigningrequests",
            subresource,
            ..Resource::default()
        };
        let asked = Attributes {
            user: &user,
            verb: "create",
            object: Asked::Resource(resource),
        };
        engine.access().refusal(&asked).is_none()
    };
    let own = self_node_client(request, name) && may("selfnodeclient");
    if !own && !may("nodeclient") {
        return Step::Nothing;
    }
    let message = if own {
        "Auto approving self kubelet client certificate after SubjectAccessReview."
    } else {
        "Auto approving kubelet client certificate after SubjectAccessReview."
    };
    let now = rfc3339(now);
    Step::Decide(json!({
        "type": "Approved", "status": "True", "reason": "AutoApproved", "message": message,
        "lastUpdateTime": now, "lastTransitionTime": now,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_kept_for_a_while() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let mut csr = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}});
        let hours = |csr: &Value, now: &str| remaining(csr, at(now)).map(|left| left.as_secs() / 3600);
        assert_eq!(hours(&csr, "2026-01-01T01:00:00Z"), Some(23));
        assert_eq!(hours(&csr, "2026-01-02T00:00:00Z"), None);
        csr["status"]["conditions"] = json!([{"type": "Approved", "lastUpdateTime": "2026-01-01T10:00:00Z"}]);
        assert_eq!(hours(&csr, "2026-01-01T10:00:00Z"), Some(1));
        assert_eq!(hours(&csr, "2026-01-01T11:00:01Z"), None);
    }
}
