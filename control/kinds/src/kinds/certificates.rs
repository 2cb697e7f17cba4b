//! CertificateSigningRequests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cells::Cell;
use crate::conditions;
use crate::context::Context;
use crate::declared::{Declared, NewStatus, PLAIN};
use crate::invalid::{Denied, Invalid};
use crate::names::{self, NameRule};
use crate::path::{Errors, Path};
use crate::rules::{Check, rule};
use crate::strategy::Strategy;
use crate::table::{AGE, NAME, shows};
use crate::time;
use crate::value::{self, at, i64_at, items_mut, list_at, str_at, strings, text};

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
/// Conditions that say what was decided, and are never taken back.
const DECISIONS: [&str; 3] = ["Approved", "Denied", "Failed"];

/// The part of a CertificateSigningRequest that is data.
static TABLE: Declared = Declared {
    name_rule: NameRule::PathSegment,
    new_status: NewStatus::Empty,
    columns: &[
        NAME,
        AGE,
        shows("SignerName", Cell::Text("spec.signerName", "<none>"), "Who is to sign"),
        shows("Requestor", Cell::Text("spec.username", ""), "Who asks"),
        shows(
            "RequestedDuration",
            Cell::By(duration),
            "How long the certificate is to be valid",
        ),
        shows("Condition", Cell::By(state), "What became of the request"),
    ],
    selectable: &["spec.signerName"],
    rules: &[
        rule("spec.usages", Check::Required("")),
        rule("spec.usages", Check::Unique(&[])),
        rule("spec.usages[*]", Check::AnyOf(&USAGES)),
    ],
    more_rules: |csr, _, errors| {
        request(csr, errors);
        signer_name(csr, errors);
        if let Some(seconds) = i64_at(csr, &["spec", "expirationSeconds"]).filter(|s| *s < 600) {
            let detail = "may not specify a duration less than 600 seconds (10 minutes)";
            errors.invalid(&Path::new("spec.expirationSeconds"), seconds, detail);
        }
    },
    ..PLAIN
};

/// CertificateSigningRequests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request;

impl Strategy for Request {
    /// Who asks is who makes the request, whatever it says.
    fn prepare_create(&self, cx: &Context<'_>, obj: &mut Value) -> Result<(), Denied> {
        TABLE.prepare_create(cx, obj)?;
        if let Some(spec) = value::object_mut(obj, "spec") {
            for key in ["uid", "extra"] {
                spec.remove(key);
            }
            spec.insert("username".into(), cx.user.into());
            spec.insert("groups".into(), cx.groups.into());
        }
        Ok(())
    }

    fn prepare_update(&self, _cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        value::keep(new, old, "spec");
        value::keep(new, old, "status");
        Ok(())
    }

    fn prepare_status(&self, cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        value::keep(new, old, "spec");
        stamp(new, cx.now);
        Ok(())
    }

    fn prepare_part(&self, part: &str, cx: &Context<'_>, new: &mut Value, old: &Value) -> Result<(), Denied> {
        self.prepare_status(cx, new, old)?;
        if part == "approval"
            && let (Some(status), Some(before)) = (new.get_mut("status"), old.get("status"))
        {
            value::keep(status, before, "certificate");
        }
        Ok(())
    }

    fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<Invalid> {
        // What is stored was checked before and never changes.
        old.map_or_else(|| TABLE.validate(new, None), |_| Vec::new())
    }

    fn validate_status(&self, new: &Value, old: &Value) -> Vec<Invalid> {
        let mut errors = Errors::new();
        decided(new, old, &mut errors);
        for kind in ["Approved", "Denied"] {
            if conditions::find(new, kind).is_some() && conditions::find(old, kind).is_none() {
                errors.forbidden(&STATUS, format!("updates may not add a condition of type {kind:?}"));
            } else if conditions::find(new, kind) != conditions::find(old, kind) {
                errors.forbidden(&STATUS, format!("updates may not modify a condition of type {kind:?}"));
            }
        }
        certificate(new, old, &mut errors);
        errors.into_vec()
    }

    fn validate_part(&self, _part: &str, new: &Value, old: &Value) -> Vec<Invalid> {
        let mut errors = Errors::new();
        decided(new, old, &mut errors);
        errors.into_vec()
    }

    fn name_rule(&self) -> NameRule {
        TABLE.name_rule()
    }

    fn columns(&self) -> &[crate::strategy::Column] {
        Strategy::columns(&TABLE)
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        TABLE.selectable_field_names()
    }

    fn selectable_field<'a>(&self, obj: &'a Value, name: &str) -> Option<std::borrow::Cow<'a, str>> {
        TABLE.selectable_field(obj, name)
    }
}

const STATUS: Path<'static> = Path::new("status.conditions");

fn request(csr: &Value, errors: &mut Errors) {
    let text = str_at(csr, &["spec", "request"]).unwrap_or("");
    let decoded = STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    if decoded.is_none_or(|pem| !pem.contains("-----BEGIN CERTIFICATE REQUEST-----")) {
        errors.invalid(
            &Path::new("spec.request"),
            text,
            "PEM block type must be CERTIFICATE REQUEST",
        );
    }
}

fn signer_name(csr: &Value, errors: &mut Errors) {
    let path = Path::new("spec.signerName");
    let name = str_at(csr, &["spec", "signerName"]).unwrap_or("");
    if name.is_empty() {
        errors.required(&path, "");
        return;
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.invalid(&path, name, detail);
        return;
    };
    if name == "kubernetes.io/legacy-unknown" {
        let detail = "the legacy signerName is not allowed via this API version";
        errors.invalid(&path, name, detail);
    }
    errors.invalid_each(&path, domain, names::subdomain_errors(domain));
    if domain.split('.').count() < 2 {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.invalid(&path, domain, detail);
    }
    for label in rest.split('.') {
        errors.invalid_each(&path, label, names::label_errors(label));
    }
}

/// New conditions get their times.
fn stamp(csr: &mut Value, now: Timestamp) {
    let Some(status) = csr.get_mut("status") else { return };
    for condition in items_mut(status, "conditions") {
        for key in ["lastUpdateTime", "lastTransitionTime"] {
            value::fill(condition, key, time::rfc3339(now));
        }
    }
}

/// What holds for every write of conditions.
fn decided(new: &Value, old: &Value, errors: &mut Errors) {
    let all = list_at(new, &["status", "conditions"]);
    for (i, condition) in all.iter().enumerate() {
        let item = STATUS.index(i);
        let (kind, status) = (text(condition, "type"), text(condition, "status"));
        if kind.is_empty() {
            errors.required(&item.child("type"), "");
        }
        let supported: &[&str] = if DECISIONS.contains(&kind) {
            &["True"]
        } else {
            &["False", "True", "Unknown"]
        };
        errors.one_of(&item.child("status"), status, supported);
        let others: Vec<&str> = all[..i].iter().map(|c| text(c, "type")).collect();
        let excluded = match kind {
            "Approved" => others.contains(&"Denied"),
            "Denied" => others.contains(&"Approved"),
            _ => false,
        };
        if excluded {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.invalid(&item.child("type"), kind, detail);
        }
        if others.contains(&kind) {
            errors.duplicate(&item.child("type"), kind);
        }
    }
    for kind in DECISIONS {
        if conditions::find(old, kind).is_some() && conditions::find(new, kind).is_none() {
            errors.forbidden(&STATUS, format!("updates may not remove a condition of type {kind:?}"));
        }
    }
}

fn certificate(new: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::new("status.certificate");
    let of = |csr: &Value| str_at(csr, &["status", "certificate"]).map(str::to_owned);
    let (issued, before) = (of(new), of(old));
    if issued == before {
        return;
    }
    if before.is_some() {
        errors.forbidden(&path, "updates may not modify existing certificate content");
        return;
    }
    let decoded = issued.and_then(|text| STANDARD.decode(text).ok());
    let pem = decoded
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default();
    let blocks: Vec<&str> = pem
        .lines()
        .filter_map(|line| line.strip_prefix("-----BEGIN "))
        .collect();
    if blocks.is_empty() {
        errors.invalid(
            &path,
            "<certificate data>",
            "must contain at least one CERTIFICATE PEM block",
        );
    }
    for block in blocks {
        let kind = block.trim_end_matches('-').trim_end();
        if kind != "CERTIFICATE" {
            let detail = format!("only CERTIFICATE PEM blocks are allowed, found {kind:?}");
            errors.invalid(&path, "<certificate data>", detail);
        }
    }
}

/// Whether the base64 of a bundle holds certificates, each of them at least in form.
pub fn is_bundle(encoded: &str) -> bool {
    let decoded = STANDARD.decode(encoded).ok();
    let pem = decoded
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default();
    let mut blocks = pem.split("-----BEGIN CERTIFICATE-----").skip(1).peekable();
    let is_sequence = |block: &str| {
        let body = block
            .split_once("-----END CERTIFICATE-----")
            .map_or("", |(body, _)| body);
        let body: String = body.split_whitespace().collect();
        STANDARD.decode(body).is_ok_and(|der| der.first() == Some(&0x30))
    };
    blocks.peek().is_some() && blocks.all(is_sequence)
}

fn duration(csr: &Value, _now: Timestamp) -> Value {
    match i64_at(csr, &["spec", "expirationSeconds"]) {
        Some(seconds) => time::human(seconds).into(),
        None => "<none>".into(),
    }
}

fn state(csr: &Value, _now: Timestamp) -> Value {
    let has = |kind| conditions::find(csr, kind).is_some();
    let mut shown = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if has("Failed") {
        shown.push_str(",Failed");
    }
    if at(csr, &["status", "certificate"]).is_some() {
        shown.push_str(",Issued");
    }
    json!(shown)
}

/// What a request may be used for.
pub fn usages(csr: &Value) -> impl Iterator<Item = &str> {
    strings(csr, &["spec", "usages"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{EmptyCluster, Settings};

    fn csr(change: impl FnOnce(&mut Value)) -> Value {
        let pem = STANDARD.encode("-----BEGIN CERTIFICATE REQUEST-----\nx\n-----END CERTIFICATE REQUEST-----\n");
        let mut csr = json!({"metadata": {"name": "c", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"request": pem,
            "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"], "username": "root"}});
        change(&mut csr);
        let settings = Settings::default();
        let groups = ["dev".to_owned()];
        let cx = Context {
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            user: "ann",
            groups: &groups,
            namespace: "",
            cluster: &EmptyCluster,
            settings: &settings,
        };
        Request.prepare_create(&cx, &mut csr).unwrap();
        csr
    }

    #[test]
    fn who_asks_is_who_writes() {
        let made = csr(|c| c["spec"]["expirationSeconds"] = json!(3600));
        assert_eq!(
            (&made["spec"]["username"], &made["spec"]["groups"]),
            (&json!("ann"), &json!(["dev"]))
        );
        assert_eq!(Request.validate(&made, None), vec![]);
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(
            Request.cells(&made, now),
            [
                "c",
                "1s",
                "kubernetes.io/kube-apiserver-client",
                "ann",
                "60m",
                "Pending"
            ]
        );
        let lines: Vec<String> = Request
            .validate(
                &csr(|c| {
                    c["spec"]["signerName"] = json!("signer");
                    c["spec"]["usages"] = json!(["fun"]);
                    c["spec"]["request"] = json!("AA==");
                }),
                None,
            )
            .iter()
            .map(|e| e.field.clone())
            .collect();
        assert_eq!(lines, ["spec.usages[0]", "spec.request", "spec.signerName"]);
    }

    #[test]
    fn only_approvals_decide_and_only_once() {
        let old = csr(|_| {});
        let mut approved = old.clone();
        approved["status"] = json!({"conditions": [{"type": "Approved", "status": "True"}]});
        assert_eq!(Request.validate_part("approval", &approved, &old), vec![]);
        assert_eq!(Request.validate_status(&approved, &old).len(), 1);
        let mut both = approved.clone();
        both["status"]["conditions"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "Denied", "status": "True"}));
        assert_eq!(Request.validate_part("approval", &both, &old).len(), 1);
        assert_eq!(
            Request.validate_part("approval", &old, &approved)[0].to_string(),
            "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""
        );
        let mut issued = approved.clone();
        issued["status"]["certificate"] = json!(STANDARD.encode("-----BEGIN CERTIFICATE-----\n"));
        assert_eq!(Request.validate_status(&issued, &approved), vec![]);
        let now = "2026-01-01T00:00:01Z".parse().unwrap();
        assert_eq!(Request.cells(&issued, now)[5], "Approved,Issued");
    }
}
