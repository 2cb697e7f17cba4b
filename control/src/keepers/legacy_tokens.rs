//! Fills Secrets of type `kubernetes.io/service-account-token` with a token that is good as long as they are there, and
//! removes them with their account.

use std::sync::Arc;
use std::time::Duration;

use barepod_auth::token::{Account, Bound, Claims, LEGACY_ISSUER};
use barepod_store::{Event, EventKind, Object};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{Keeper, place, settled};
use crate::engine::{Engine, parse};
use crate::internal::call_as;

const SECRETS: &str = "/secrets/";
const ACCOUNTS: &str = "/serviceaccounts/";
const TYPE: &str = "kubernetes.io/service-account-token";
const MANAGER: &str = "tokens-controller";

/// The keeper. Its keys are those of Secrets.
pub(super) struct LegacyTokens;

fn is_token(engine: &Engine, secret: &Arc<Object>) -> bool {
    engine.field(secret, "secrets", "type").as_deref() == Some(TYPE)
}

impl Keeper for LegacyTokens {
    fn prefixes(&self) -> &'static [&'static str] {
        &[SECRETS, ACCOUNTS]
    }

    fn keys(&self, engine: &Engine, event: &Event) -> Vec<String> {
        let key = event.object.key();
        match place(ACCOUNTS, key) {
            Some(_) if event.kind == EventKind::Modified => Vec::new(),
            Some((namespace, _)) => {
                let secrets = engine.stored(&format!("{SECRETS}{namespace}/"));
                let tokens = secrets.iter().filter(|secret| is_token(engine, secret));
                tokens.map(|secret| secret.key().to_owned()).collect()
            }
            None if event.kind == EventKind::Deleted => Vec::new(),
            None => self.first(engine, &event.object),
        }
    }

    fn first(&self, engine: &Engine, object: &Arc<Object>) -> Vec<String> {
        let secret = object.key().starts_with(SECRETS) && is_token(engine, object);
        if secret {
            vec![object.key().to_owned()]
        } else {
            Vec::new()
        }
    }

    fn keep<'a>(&'a self, engine: &'a Arc<Engine>, key: &'a str) -> BoxFuture<'a, anyhow::Result<Option<Duration>>> {
        Box::pin(async move {
            let (Some(stored), Some((namespace, name))) = (engine.stored_one(key), place(SECRETS, key)) else {
                return Ok(None);
            };
            let secret = parse(&stored);
            let annotation = |name: &str| {
                let key = format!("/metadata/annotations/kubernetes.io~1service-account.{name}");
                secret.pointer(&key).and_then(Value::as_str).unwrap_or("").to_owned()
            };
            let path = format!("/api/v1/namespaces/{namespace}/secrets/{name}");
            let (account, known_uid) = (annotation("name"), annotation("uid"));
            let uid = engine.lookup("", "serviceaccounts", namespace, &account).ok();
            let uid = uid.and_then(|account| account.pointer("/metadata/uid")?.as_str().map(str::to_owned));
            let metadata = &secret["metadata"];
            let Some(uid) = uid.filter(|uid| known_uid.is_empty() || known_uid == *uid) else {
                // A Secret may be there before its account; only one that had an account goes with it.
                if known_uid.is_empty() {
                    return Ok(None);
                }
                let options = json!({"preconditions": {"uid": metadata["uid"]}});
                let (code, answer) =
                    call_as(engine, MANAGER, "DELETE", &path, "application/json", Some(&options)).await?;
                settled(code, &answer, "remove the token of an account that is gone")?;
                return Ok(None);
            };
            let data = |key: &str| secret["data"][key].as_str().unwrap_or("").to_owned();
            let mut missing = json!({});
            if data("token").is_empty() {
                let claims = Claims {
                    account: Account {
                        namespace: namespace.into(),
                        name: account,
                        uid: uid.clone(),
                    },
                    pod: None,
                    secret: Some(Bound {
                        name: name.into(),
                        uid: String::new(),
                    }),
                    node: None,
                    audiences: Vec::new(),
                    issuer: LEGACY_ISSUER.into(),
                    id: String::new(),
                    issued_at: 0,
                    expires_at: None,
                    warn_after: None,
                };
                missing["token"] = BASE64.encode(engine.tokens().issue(&claims)?).into();
            }
            if data("namespace").is_empty() {
                missing["namespace"] = BASE64.encode(namespace).into();
            }
            let authority = engine.tokens().authority();
            if !authority.is_empty() && data("ca.crt").is_empty() {
                missing["ca.crt"] = BASE64.encode(authority).into();
            }
            if known_uid == uid && missing.as_object().is_none_or(serde_json::Map::is_empty) {
                return Ok(None);
            }
            let patch = json!({
                "metadata": {
                    "resourceVersion": metadata["resourceVersion"],
                    "annotations": {"kubernetes.io/service-account.uid": uid},
                },
                "data": missing,
            });
            let media = "application/merge-patch+json";
            let (code, answer) = call_as(engine, MANAGER, "PATCH", &path, media, Some(&patch)).await?;
            settled(code, &answer, "fill the token of an account")?;
            Ok(None)
        })
    }
}
