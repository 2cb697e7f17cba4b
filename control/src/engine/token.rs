//! `serviceaccounts/NAME/token`: a token for an account, perhaps bound to a pod, a Secret or a node.

use barepod_auth::token::{Account, Bound, Claims, EXTENDED_SECONDS, WARN_ONLY_SECONDS};
use barepod_kinds::time::rfc3339;
use barepod_kinds::{Invalid, Kind as ErrorKind};
use barepod_schema::type_of;
use http::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::body::Body;
use super::decode::{self, Expected};
use super::options::WriteOptions;
use super::request::Request;
use super::status::{ApiError, ApiResult};
use super::{Engine, Target, meta, parse, reply};

/// How long a token is good for if nothing is said.
const DEFAULT_SECONDS: i64 = 3600;
/// The shortest life that may be asked for.
const LEAST_SECONDS: i64 = 600;
/// The longest life that may be asked for.
const MOST_SECONDS: i64 = 1 << 32;

impl Engine {
    pub(super) async fn request_token(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        let options = WriteOptions::parse(request, "CreateOptions")?;
        let expected = Expected {
            api_version: "authentication.k8s.io/v1",
            kind: "TokenRequest",
            shape: type_of("authentication.k8s.io", "v1", "TokenRequest").into(),
        };
        let (mut wanted, warnings) =
            decode::object(&request.content_type, &request.body, &expected, options.validation)?;
        let sent = ("authentication.k8s.io/v1", "TokenRequest");
        let (dry_run, posted) = (options.dry_run, &mut wanted);
        self.admit_sent(request, target, "token", dry_run, sent, posted).await?;
        let account = self.store.get(&target.key()).ok_or_else(|| target.not_found())?;
        let account = parse(&account);
        let now = Timestamp::now();
        let audiences = complete(&mut wanted, self.tokens.audience())?;
        let seconds = wanted["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
        let mut claims = Claims {
            account: Account {
                namespace: target.namespace.into(),
                name: target.name.into(),
                uid: meta::text(&account, "uid").into(),
            },
            pod: None,
            secret: None,
            node: None,
            issuer: self.tokens.issuer().into(),
            id: meta::new_uid(),
            issued_at: now.as_second(),
            expires_at: Some(now.as_second() + seconds),
            warn_after: None,
            audiences,
        };
        self.bind_token(target, &wanted["spec"]["boundObjectRef"], &mut claims)?;
        self.restrict_token(request, target, &claims)?;
        if seconds == WARN_ONLY_SECONDS && claims.pod.is_some() {
            // As `--service-account-extend-token-expiration` of kube-apiserver does by default.
            claims.warn_after = claims.expires_at;
            claims.expires_at = Some(now.as_second() + EXTENDED_SECONDS);
        }
        if !options.dry_run {
            let token = self.tokens.issue(&claims).map_err(ApiError::internal)?;
            let ends = Timestamp::from_second(now.as_second() + seconds).map_err(ApiError::internal)?;
            wanted["status"] = json!({"token": token, "expirationTimestamp": rfc3339(ends)});
        }
        let metadata = meta::of(&mut wanted);
        metadata.insert("name".into(), target.name.into());
        metadata.insert("namespace".into(), target.namespace.into());
        metadata.insert("creationTimestamp".into(), rfc3339(now).into());
        let mut response = reply::value(request, 201, &wanted);
        reply::warn(&mut response, &warnings);
        Ok(response)
    }

    /// Takes the object that the token is bound to into its claims.
    fn bind_token(&self, target: Target<'_>, reference: &Value, claims: &mut Claims) -> ApiResult<()> {
        if !reference.is_object() {
            return Ok(());
        }
        let text = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or("");
        let (kind, version, name) = (text("kind"), text("apiVersion"), text("name"));
        let resource = match (kind, version) {
            ("Pod", "v1") => "pods",
            ("Secret", "v1") => "secrets",
            ("Node", "v1") => "nodes",
            _ => {
                let why = format!("cannot bind token to object of type {version}, Kind={kind}");
                return Err(ApiError::bad_request(why));
            }
        };
        let bound_kind = self
            .registry
            .find_any("", resource)
            .ok_or_else(ApiError::no_such_resource)?;
        let namespace = if resource == "nodes" { "" } else { target.namespace };
        let object = self.lookup("", resource, namespace, name)?;
        let uid = meta::text(&object, "uid");
        if !matches!(text("uid"), "") && text("uid") != uid {
            let why = format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have \
                 been deleted and then recreated",
                text("uid")
            );
            return Err(ApiError::conflict(bound_kind, name, &why));
        }
        let bound = Some(Bound {
            name: name.into(),
            uid: uid.into(),
        });
        match kind {
            "Pod" => {
                let spec = |key: &str| object["spec"][key].as_str().unwrap_or("");
                if spec("serviceAccountName") != target.name {
                    let why = format!(
                        "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                        target.name
                    );
                    return Err(ApiError::bad_request(why));
                }
                let node = spec("nodeName");
                if let Ok(node) = self
                    .lookup("", "nodes", "", node)
                    .as_ref()
                    .map(|node| meta::text(node, "uid"))
                {
                    claims.node = Some(Bound {
                        name: spec("nodeName").into(),
                        uid: node.into(),
                    });
                }
                claims.pod = bound;
            }
            "Secret" => claims.secret = bound,
            _ => claims.node = bound,
        }
        Ok(())
    }

    /// A node gets tokens only for its own pods, and only for audiences that they ask for (KEP-1205, KEP-4935).
    fn restrict_token(&self, request: &Request, target: Target<'_>, claims: &Claims) -> ApiResult<()> {
        let Some(node) = request.user.node() else { return Ok(()) };
        let forbidden = |why: String| Err(ApiError::forbidden(target.kind, target.name, &why));
        let Some(pod) = &claims.pod else {
            return forbidden(format!("node requested token not bound to a pod, node {node:?}"));
        };
        let pod = self.lookup("", "pods", target.namespace, &pod.name)?;
        if pod["spec"]["nodeName"] != *node {
            return forbidden("node requested token bound to a pod scheduled on a different node".into());
        }
        let own = self.tokens.audience();
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let sources = volumes.flat_map(|volume| volume["projected"]["sources"].as_array().into_iter().flatten());
        let asked: Vec<&str> = sources
            .filter_map(|source| source.get("serviceAccountToken"))
            .map(|token| {
                token["audience"]
                    .as_str()
                    .filter(|text| !text.is_empty())
                    .unwrap_or(own)
            })
            .collect();
        match claims
            .audiences
            .iter()
            .find(|audience| !asked.contains(&audience.as_str()))
        {
            Some(other) => forbidden(format!("audience {other:?} not found in pod spec volume")),
            None => Ok(()),
        }
    }
}

/// Fills in what is not said and checks the rest; returns the audiences.
fn complete(wanted: &mut Value, own_audience: &str) -> ApiResult<Vec<String>> {
    let invalid = |value: i64, detail: &str| {
        let error = Invalid {
            field: "spec.expirationSeconds".into(),
            kind: ErrorKind::Invalid,
            value: value.into(),
            detail: detail.into(),
        };
        Err(ApiError::invalid("authentication.k8s.io", "TokenRequest", "", &[error]))
    };
    if !wanted["spec"].is_object() {
        wanted["spec"] = json!({});
    }
    let spec = &mut wanted["spec"];
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
    spec["expirationSeconds"] = seconds.into();
    if seconds < LEAST_SECONDS {
        return invalid(seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > MOST_SECONDS {
        return invalid(seconds, "may not specify a duration larger than 2^32 seconds");
    }
    let asked = spec["audiences"].as_array().into_iter().flatten();
    let mut audiences: Vec<String> = asked.filter_map(Value::as_str).map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences.push(own_audience.to_owned());
        spec["audiences"] = audiences.as_slice().into();
    }
    Ok(audiences)
}
