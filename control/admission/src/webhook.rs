//! Admission webhooks: what a configuration says, and the review that goes there and back (`admission.k8s.io`).

use barepod_kinds::value::{at, bool_at, i64_at, list_at, str_at, strings, text};
use base64::Engine;
use serde_json::{Value, json};

use crate::matching::Matching;
use crate::policy::{Text, conditions};

/// Whether webhooks may change objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// They may.
    Mutating,
    /// They say yes or no.
    Validating,
}

impl Phase {
    /// As keys of audit annotations name it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Mutating => "mutation",
            Phase::Validating => "validating",
        }
    }
}

/// One webhook of a configuration.
#[derive(Debug)]
pub struct Webhook {
    /// The configuration's name.
    pub configuration: String,
    /// Its own name.
    pub name: String,
    /// What it is for.
    pub matching: Matching,
    /// Conditions in CEL, with their names.
    pub conditions: Vec<(String, Text)>,
    /// `clientConfig`.
    pub client: Value,
    /// How long a call may take, in seconds.
    pub timeout_seconds: u64,
    /// Whether a request passes when the call fails.
    pub passes_on_failure: bool,
    /// Whether it wants to see what others changed after it.
    pub again: bool,
    /// Whether it may be called for a dry run.
    pub dry_run: bool,
    /// The version of reviews that it understands.
    pub version: &'static str,
}

/// The webhooks of a MutatingWebhookConfiguration or a ValidatingWebhookConfiguration.
pub fn webhooks(configuration: &Value) -> Vec<Webhook> {
    let name = str_at(configuration, &["metadata", "name"]).unwrap_or("");
    let one = |webhook: &Value| {
        let first = strings(webhook, &["admissionReviewVersions"]).find(|version| matches!(*version, "v1" | "v1beta1"));
        Webhook {
            configuration: name.to_owned(),
            name: text(webhook, "name").to_owned(),
            matching: Matching::of_webhook(webhook),
            conditions: conditions(webhook),
            client: webhook.get("clientConfig").cloned().unwrap_or_default(),
            timeout_seconds: i64_at(webhook, &["timeoutSeconds"])
                .map_or(10, |seconds| seconds.clamp(1, 30).unsigned_abs()),
            passes_on_failure: text(webhook, "failurePolicy") == "Ignore",
            again: text(webhook, "reinvocationPolicy") == "IfNeeded",
            dry_run: matches!(text(webhook, "sideEffects"), "None" | "NoneOnDryRun"),
            version: if first == Some("v1beta1") { "v1beta1" } else { "v1" },
        }
    };
    list_at(configuration, &["webhooks"]).iter().map(one).collect()
}

/// What a webhook answered.
#[derive(Debug, Default, PartialEq)]
pub struct Verdict {
    /// The Status of a refusal.
    pub refused: Option<Value>,
    /// A JSON patch.
    pub patch: Option<Value>,
    /// Warnings for the client.
    pub warnings: Vec<String>,
    /// Annotations for the audit log; the keys begin with the webhook's name.
    pub audit: Vec<(String, String)>,
}

/// Reads the answer to the review `uid`.
///
/// # Errors
/// It is no answer to this review; the text says why.
pub fn verdict(webhook: &Webhook, phase: Phase, uid: &str, answer: &Value) -> Result<Verdict, String> {
    let expected = format!("admission.k8s.io/{}", webhook.version);
    if text(answer, "kind") != "AdmissionReview" || text(answer, "apiVersion") != expected {
        return Err(format!(
            "expected webhook response of {expected}, Kind=AdmissionReview, got {}, Kind={}",
            text(answer, "apiVersion"),
            text(answer, "kind")
        ));
    }
    let response = at(answer, &["response"]).filter(|response| response.is_object());
    let response = response.ok_or("webhook response was absent")?;
    if webhook.version == "v1" && text(response, "uid") != uid {
        return Err(format!(
            "expected response.uid={uid:?}, got {:?}",
            text(response, "uid")
        ));
    }
    let (patch, patch_type) = (text(response, "patch"), text(response, "patchType"));
    match phase {
        Phase::Validating if webhook.version == "v1" && !patch.is_empty() => {
            return Err("validating webhook may not return response.patch".into());
        }
        Phase::Mutating if !patch.is_empty() && patch_type.is_empty() && webhook.version == "v1" => {
            return Err("webhook returned response.patch but not response.patchType".into());
        }
        Phase::Mutating if patch.is_empty() && !patch_type.is_empty() => {
            return Err("webhook returned response.patchType but not response.patch".into());
        }
        Phase::Mutating if !matches!(patch_type, "" | "JSONPatch") => {
            return Err(format!("webhook returned unknown response.patchType {patch_type:?}"));
        }
        _ => {}
    }
    let annotations = at(response, &["auditAnnotations"]).and_then(Value::as_object);
    let annotations = annotations.into_iter().flatten();
    let audit = annotations.map(|(key, value)| {
        (
            format!("{}/{key}", webhook.name),
            value.as_str().unwrap_or("").to_owned(),
        )
    });
    let mut verdict = Verdict {
        warnings: strings(response, &["warnings"]).map(str::to_owned).collect(),
        audit: audit.collect(),
        ..Verdict::default()
    };
    if !bool_at(response, &["allowed"]) {
        verdict.refused = Some(refusal(webhook, response.get("status")));
    } else if phase == Phase::Mutating && !patch.is_empty() {
        let unreadable = |error: &dyn std::fmt::Display| format!("the patch cannot be read: {error}");
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(patch)
            .map_err(|error| unreadable(&error))?;
        verdict.patch = Some(serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?);
    }
    Ok(verdict)
}

/// The Status of a refusal: always a failure, whatever the webhook says.
fn refusal(webhook: &Webhook, status: Option<&Value>) -> Value {
    let empty = Value::Null;
    let given = status.unwrap_or(&empty);
    let denied = format!("admission webhook \"{}\" denied the request", webhook.name);
    let message = match (text(given, "message"), text(given, "reason")) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let code = i64_at(given, &["code"])
        .filter(|code| (400..600).contains(code))
        .unwrap_or(400);
    let mut status = json!({"code": code, "message": message});
    for key in ["reason", "details"] {
        if let Some(value) = at(given, &[key]) {
            status[key] = value.clone();
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook() -> Webhook {
        webhooks(
            &json!({"metadata": {"name": "c"}, "webhooks": [{"name": "a.b.c", "admissionReviewVersions": ["v2", "v1"],
            "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 3}]}),
        )
        .remove(0)
    }

    fn answer(response: Value) -> Value {
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
    }

    #[test]
    fn configurations_are_read() {
        let hook = hook();
        assert_eq!((hook.version, hook.timeout_seconds), ("v1", 3));
        assert!(hook.dry_run && !hook.passes_on_failure && !hook.again);
    }

    #[test]
    fn answers_are_for_one_review() {
        let verdict = |phase, value: &Value| verdict(&hook(), phase, "u", value);
        let allowed = answer(json!({"uid": "u", "allowed": true, "warnings": ["w"], "auditAnnotations": {"k": "v"}}));
        let yes = verdict(Phase::Validating, &allowed).unwrap();
        assert_eq!((yes.refused, yes.warnings), (None, vec!["w".to_owned()]));
        assert_eq!(yes.audit, [("a.b.c/k".to_owned(), "v".to_owned())]);
        let other = answer(json!({"uid": "x", "allowed": true}));
        assert!(
            verdict(Phase::Validating, &other)
                .unwrap_err()
                .contains("expected response.uid")
        );
        assert!(verdict(Phase::Validating, &json!({"kind": "Pod"})).is_err());
        let patch = base64::engine::general_purpose::STANDARD.encode("[{\"op\":\"remove\",\"path\":\"/a\"}]");
        let patched =
            |type_: Option<&str>| answer(json!({"uid": "u", "allowed": true, "patch": patch, "patchType": type_}));
        let both = verdict(Phase::Mutating, &patched(Some("JSONPatch"))).unwrap();
        assert_eq!(both.patch, Some(json!([{"op": "remove", "path": "/a"}])));
        assert!(verdict(Phase::Mutating, &patched(None)).is_err());
        assert!(verdict(Phase::Validating, &patched(Some("JSONPatch"))).is_err());
    }

    #[test]
    fn refusals_are_failures() {
        let refused = |status: Value| {
            let value = answer(json!({"uid": "u", "allowed": false, "status": status}));
            verdict(&hook(), Phase::Validating, "u", &value)
                .unwrap()
                .refused
                .unwrap()
        };
        assert_eq!(
            refused(Value::Null),
            json!({"code": 400, "message": "admission webhook \"a.b.c\" denied the request without explanation"})
        );
        let given = refused(json!({"code": 200, "message": "no", "reason": "Forbidden"}));
        assert_eq!((&given["code"], &given["reason"]), (&json!(400), &json!("Forbidden")));
        assert_eq!(given["message"], "admission webhook \"a.b.c\" denied the request: no");
    }
}
