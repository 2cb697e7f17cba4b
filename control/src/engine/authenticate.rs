//! Who a request comes from: the certificate of the connection, or the token of the request, or nobody; and whom it
//! wants to act as.

use std::sync::Arc;

use barepod_auth::impersonation::{self, Impersonation};
use barepod_auth::token::{Bound, Claims, bootstrap};
use http::{HeaderMap, header};
use jiff::Timestamp;
use serde_json::Value;

use super::identity::{User, refused};
use super::status::{ApiError, ApiResult};
use super::{Engine, parse};

/// How long what is being deleted is still good for, as its programs may need it to end well.
const LEEWAY_SECONDS: i64 = 60;

/// What a token turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The user.
    pub user: User,
    /// Those of the audiences asked for that it is meant for.
    pub audiences: Vec<String>,
}

impl Engine {
    /// The user of a request: `certificate` is who the connection's certificate names, anonymous without one.
    pub fn identify(&self, certificate: &Arc<User>, headers: &HeaderMap) -> ApiResult<Arc<User>> {
        let mut user = certificate.clone();
        if certificate.is_anonymous()
            && let Some(token) = bearer_token(headers)
        {
            let bearer = self.authenticate(token, &[]).map_err(|_| ApiError::unauthorized())?;
            user = Arc::new(bearer.user);
        }
        if !headers.keys().any(|name| impersonation::is_about(name.as_str())) {
            return Ok(user);
        }
        if user.is_anonymous() {
            return Err(ApiError::unauthorized());
        }
        let headers = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let wanted = Impersonation::from_headers(headers).map_err(ApiError::bad_request)?;
        let Some(wanted) = wanted else { return Ok(user) };
        let mut denied = None;
        let allowed = wanted.check(&user, |asked| match self.access.refusal(asked) {
            None => Ok(()),
            Some(why) => {
                denied = Some(refused(asked, &why));
                Err(why)
            }
        });
        match (allowed, denied) {
            (Ok(()), _) => Ok(Arc::new(wanted.into_user())),
            (Err(_), Some(error)) => Err(error),
            (Err(why), None) => Err(ApiError::internal(why)),
        }
    }

    /// The user that a token makes of its bearer, if it is good for one of the audiences: without any, for the API
    /// server's. The text of the error says why it is not good.
    pub fn authenticate(&self, token: &str, audiences: &[String]) -> Result<Bearer, String> {
        let now = Timestamp::now();
        let own = [self.tokens.audience().to_owned()];
        let audiences = if audiences.is_empty() { &own[..] } else { audiences };
        if let Some((id, secret)) = bootstrap::split(token) {
            let name = bootstrap::secret_name(id);
            let stored = self.lookup("", "secrets", bootstrap::NAMESPACE, &name).ok();
            let user = stored.and_then(|stored| bootstrap::user(id, secret, &stored, now));
            let user = user.ok_or("unknown bootstrap token")?;
            return meant_for(&own, audiences).map(|audiences| Bearer { user, audiences });
        }
        let claims = self
            .tokens
            .claims(token)
            .ok_or("the token is not one of this cluster")?;
        if !claims.is_in_time(now.as_second()) {
            return Err("service account token has expired".into());
        }
        let meant = if claims.audiences.is_empty() {
            &own[..]
        } else {
            &claims.audiences
        };
        let audiences = meant_for(meant, audiences)?;
        self.still_there(&claims, token, now)?;
        let user = claims.user();
        Ok(Bearer { user, audiences })
    }

    /// Whether what the token names is what is there.
    fn still_there(&self, claims: &Claims, token: &str, now: Timestamp) -> Result<(), String> {
        let account = &claims.account;
        let bound = |name: &str, uid: &str| Bound {
            name: name.into(),
            uid: uid.into(),
        };
        let namespace = account.namespace.as_str();
        self.is_there("serviceaccounts", namespace, &bound(&account.name, &account.uid), now)?;
        if let Some(pod) = &claims.pod {
            self.is_there("pods", namespace, pod, now)?;
        }
        if let Some(secret) = &claims.secret {
            if claims.expires_at.is_none() {
                self.is_legacy_token(namespace, &secret.name, token)?;
            } else {
                self.is_there("secrets", namespace, secret, now)?;
            }
        }
        // The node of a pod may go before the pod does.
        if let (Some(node), None) = (&claims.node, &claims.pod) {
            self.is_there("nodes", "", node, now)?;
        }
        Ok(())
    }

    fn is_there(&self, resource: &str, namespace: &str, bound: &Bound, now: Timestamp) -> Result<(), String> {
        let Some(kind) = self.registry.find_any("", resource) else {
            return Err(format!("{resource} are not served"));
        };
        let gone = || format!("{} {:?} is not there any more", kind.resource.singular, bound.name);
        let object = self.store.get(&kind.key(namespace, &bound.name)).ok_or_else(gone)?;
        let head: Head<'_> = serde_json::from_slice(object.bytes()).map_err(|error| error.to_string())?;
        if head.metadata.uid != bound.uid {
            return Err(gone());
        }
        match head.metadata.deletion_timestamp.map(|text| text.parse::<Timestamp>()) {
            Some(Ok(time)) if time.as_second() + LEEWAY_SECONDS < now.as_second() => Err(gone()),
            _ => Ok(()),
        }
    }

    /// A token that is kept in a Secret is good as long as it is kept there.
    fn is_legacy_token(&self, namespace: &str, secret: &str, token: &str) -> Result<(), String> {
        use base64::Engine as _;
        let gone = || format!("secret {secret:?} does not hold this token");
        let kind = self.registry.find_any("", "secrets").ok_or_else(gone)?;
        let object = self.store.get(&kind.key(namespace, secret)).ok_or_else(gone)?;
        let object = parse(&object);
        let kept = object.pointer("/data/token").and_then(Value::as_str).unwrap_or("");
        let kept = base64::engine::general_purpose::STANDARD
            .decode(kept)
            .unwrap_or_default();
        let invalid = object.pointer("/metadata/labels/kubernetes.io~1legacy-token-invalid-since");
        let deleted = object
            .pointer("/metadata/deletionTimestamp")
            .is_some_and(|time| !time.is_null());
        if kept != token.as_bytes() || invalid.is_some() || deleted {
            return Err(gone());
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(serde::Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    uid: std::borrow::Cow<'a, str>,
    #[serde(borrow, default, rename = "deletionTimestamp")]
    deletion_timestamp: Option<std::borrow::Cow<'a, str>>,
}

/// The token of `Authorization: Bearer TOKEN`, RFC 6750.
fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn meant_for(meant: &[String], wanted: &[String]) -> Result<Vec<String>, String> {
    let both: Vec<String> = wanted.iter().filter(|one| meant.contains(one)).cloned().collect();
    if both.is_empty() {
        return Err(format!(
            "token audiences {meant:?} is invalid for the target audiences {wanted:?}"
        ));
    }
    Ok(both)
}
