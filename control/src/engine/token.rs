//! `serviceaccounts/NAME/token`: a token for an account, perhaps bound to a pod, a Secret or a node.

use barepod_auth::attributes::{Attributes, Object as Asked, Resource};
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

const GROUP: &str = "authentication.k8s.io";
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
        check_place(&mut wanted, target)?;
        let account = self.store.get(&target.key()).ok_or_else(|| target.not_found())?;
        let account = parse(&account);
        let uid = meta::text(&account, "uid");
        match meta::text(&wanted, "uid") {
            "" => meta::of(&mut wanted).insert("uid".into(), uid.into()),
            given if given != uid => {
                let why = format!(
                    "the UID in the token request ({given}) does not match the UID of the service account ({uid})"
                );
                return Err(ApiError::conflict_of_kind(GROUP, "TokenRequest", target.name, &why));
            }
            _ => None,
        };
        let now = Timestamp::now();
        let audiences = complete(&mut wanted, self.tokens.audience())?;
        let seconds = wanted["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
        let mut claims = Claims {
            account: Account {
                namespace: target.namespace.into(),
                name: target.name.into(),
                uid: uid.into(),
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
        self.restrict_token(request, target, &wanted["spec"]["boundObjectRef"], &claims)?;
        let own = |audience: &String| audience == self.tokens.audience();
        if seconds == WARN_ONLY_SECONDS && claims.pod.is_some() && claims.audiences.iter().all(own) {
            // As `--service-account-extend-token-expiration` of kube-apiserver does by default.
            claims.warn_after = claims.expires_at;
            claims.expires_at = Some(now.as_second() + EXTENDED_SECONDS);
        }
        if !options.dry_run {
            let token = self.tokens.issue(&claims).map_err(ApiError::internal)?;
            let ends = Timestamp::from_second(now.as_second() + seconds).map_err(ApiError::internal)?;
            wanted["status"] = json!({"token": token, "expirationTimestamp": rfc3339(ends)});
        }
        meta::of(&mut wanted).insert("creationTimestamp".into(), rfc3339(now).into());
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
                let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
                let why = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
                return Err(ApiError::bad_request(why));
            }
        };
        let namespace = if resource == "nodes" { "" } else { target.namespace };
        let object = self.lookup("", resource, namespace, name)?;
        let uid = meta::text(&object, "uid");
        if !matches!(text("uid"), "") && text("uid") != uid {
            let why = format!(
                "the UID in the bound object reference ({}) does not match the UID in record. The object might have \
                 been deleted and then recreated",
                text("uid")
            );
            return Err(ApiError::conflict_of_kind("", kind, name, &why));
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
                let name = spec("nodeName");
                // A node that is not there is named all the same.
                let node = self.lookup("", "nodes", "", name).ok();
                let uid = node.as_ref().map_or("", |node| meta::text(node, "uid")).to_owned();
                claims.node = (!name.is_empty()).then(|| Bound { name: name.into(), uid });
                claims.pod = bound;
            }
            "Secret" => claims.secret = bound,
            _ => claims.node = bound,
        }
        Ok(())
    }

    /// A node gets tokens only for its own pods, and only for audiences that they ask for or that it may ask for itself
    /// (KEP-1205, KEP-4935).
    fn restrict_token(
        &self,
        request: &Request,
        target: Target<'_>,
        reference: &Value,
        claims: &Claims,
    ) -> ApiResult<()> {
        let Some(node) = request.user.node() else { return Ok(()) };
        let forbidden = |why: String| Err(ApiError::forbidden(target.kind, target.name, &why));
        let Some(pod) = &claims.pod else {
            return forbidden(format!("node requested token not bound to a pod, node {node:?}"));
        };
        if reference["uid"].as_str().is_none_or(str::is_empty) {
            return forbidden("node requested token with a pod binding without a uid".into());
        }
        let pod = self.lookup("", "pods", target.namespace, &pod.name)?;
        if pod["spec"]["nodeName"] != *node {
            return forbidden("node requested token bound to a pod scheduled on a different node".into());
        }
        let [audience] = claims.audiences.as_slice() else {
            return forbidden("node may only request 0 or 1 audiences".into());
        };
        let asked = Attributes {
            user: &request.user,
            verb: "request-serviceaccounts-token-audience",
            object: Asked::Resource(Resource {
                version: "v1",
                resource: audience,
                namespace: target.namespace,
                name: target.name,
                ..Resource::default()
            }),
        };
        if self.audiences_of(&pod).contains(audience) || self.access.refusal(&asked).is_none() {
            return Ok(());
        }
        forbidden(format!("audience {audience:?} not found in pod spec volume"))
    }

    /// The audiences of the tokens that a pod's volumes are made with: its own, and those of their drivers.
    fn audiences_of(&self, pod: &Value) -> Vec<String> {
        let text = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let named = |token: &Value| {
            let audience = text(token, "/audience").filter(|audience| !audience.is_empty());
            audience.unwrap_or_else(|| self.tokens.audience().to_owned())
        };
        let (namespace, own) = (meta::text(pod, "namespace"), meta::text(pod, "name"));
        let mut audiences = Vec::new();
        for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
            let sources = volume["projected"]["sources"].as_array().into_iter().flatten();
            audiences.extend(
                sources
                    .filter_map(|source| source.get("serviceAccountToken"))
                    .map(named),
            );
            let claim = match volume["ephemeral"].is_object() {
                true => text(volume, "/name").map(|name| format!("{own}-{name}")),
                false => text(volume, "/persistentVolumeClaim/claimName"),
            };
            let driver = text(volume, "/csi/driver").or_else(|| {
                let claim = self.lookup("", "persistentvolumeclaims", namespace, &claim?).ok()?;
                let volume = text(&claim, "/spec/volumeName")?;
                text(
                    &self.lookup("", "persistentvolumes", "", &volume).ok()?,
                    "/spec/csi/driver",
                )
            });
            let driver = driver.and_then(|driver| self.lookup("storage.k8s.io", "csidrivers", "", &driver).ok());
            let tokens = driver
                .as_ref()
                .and_then(|driver| driver["spec"]["tokenRequests"].as_array());
            audiences.extend(tokens.into_iter().flatten().map(named));
        }
        audiences
    }
}

/// Name and namespace may be left out but are those of the path.
fn check_place(wanted: &mut Value, target: Target<'_>) -> ApiResult<()> {
    let name = meta::text(wanted, "name");
    if !matches!(name, "") && name != target.name {
        let error = Invalid {
            field: "metadata.name".into(),
            kind: ErrorKind::Invalid,
            value: name.into(),
            detail: "must match the service account name if specified".into(),
        };
        return Err(ApiError::invalid(GROUP, "TokenRequest", target.name, &[error]));
    }
    meta::set_namespace(wanted, target)?;
    meta::of(wanted).insert("name".into(), target.name.into());
    Ok(())
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
        Err(ApiError::invalid(GROUP, "TokenRequest", "", &[error]))
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
