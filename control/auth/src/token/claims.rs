//! What a service account's token says.

use serde_json::{Value, json};

use crate::user::{SERVICE_ACCOUNT, User};

/// The issuer of tokens that are kept in Secrets.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";
/// The lifetime that admission asks for: such a token is good for longer, because old clients read it only once.
pub const WARN_ONLY_SECONDS: i64 = 3607;
/// How long those are good for.
pub const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

/// An object by name and UID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// Its UID; empty of the node of a pod that is not there.
    pub uid: String,
}

/// The account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// Everything that is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Whose token it is.
    pub account: Account,
    /// The pod that it ends with.
    pub pod: Option<Bound>,
    /// The Secret that it ends with.
    pub secret: Option<Bound>,
    /// The node that it ends with, or that the pod is on.
    pub node: Option<Bound>,
    /// For whom it is meant; empty for tokens in Secrets.
    pub audiences: Vec<String>,
    /// Who issued it.
    pub issuer: String,
    /// Its own name.
    pub id: String,
    /// Since when it is good, in seconds since 1970.
    pub issued_at: i64,
    /// Until when it is good; `None` for tokens in Secrets.
    pub expires_at: Option<i64>,
    /// From when its use is warned of.
    pub warn_after: Option<i64>,
}

fn bound(value: &Value, key: &str) -> Option<Bound> {
    let text = |field: &str| value.get(key)?.get(field)?.as_str().map(str::to_owned);
    Some(Bound {
        name: text("name")?,
        uid: text("uid").unwrap_or_default(),
    })
}

fn numeric(claims: &Value, key: &str) -> Option<i64> {
    let value = claims.get(key)?;
    // RFC 7519 allows fractions of seconds.
    value.as_i64().or_else(|| {
        let whole = value
            .as_f64()
            .filter(|number| number.is_finite() && number.abs() < 1e15)?;
        format!("{whole:.0}").parse().ok()
    })
}

impl Claims {
    /// Reads the claims of a verified token; `None` if they are not those of a service account.
    pub fn from_value(claims: &Value) -> Option<Self> {
        let text = |key: &str| claims.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        let issuer = text("iss");
        let read = if issuer == LEGACY_ISSUER {
            let own = |key: &str| text(&format!("kubernetes.io/serviceaccount/{key}"));
            Claims {
                account: Account {
                    namespace: own("namespace"),
                    name: own("service-account.name"),
                    uid: own("service-account.uid"),
                },
                pod: None,
                secret: Some(Bound {
                    name: own("secret.name"),
                    uid: String::new(),
                }),
                node: None,
                audiences: Vec::new(),
                id: String::new(),
                issued_at: 0,
                expires_at: None,
                warn_after: None,
                issuer,
            }
        } else {
            let private = claims.get("kubernetes.io")?;
            let account = bound(private, "serviceaccount")?;
            let audiences = match claims.get("aud") {
                Some(Value::String(one)) => vec![one.clone()],
                Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                _ => Vec::new(),
            };
            Claims {
                account: Account {
                    namespace: private.get("namespace")?.as_str()?.to_owned(),
                    name: account.name,
                    uid: account.uid,
                },
                pod: bound(private, "pod"),
                secret: bound(private, "secret"),
                node: bound(private, "node"),
                audiences,
                id: text("jti"),
                issued_at: numeric(claims, "nbf").or_else(|| numeric(claims, "iat"))?,
                expires_at: Some(numeric(claims, "exp")?),
                warn_after: numeric(private, "warnafter"),
                issuer,
            }
        };
        (text("sub") == read.user_name()).then_some(read)
    }

    /// As they are signed.
    pub fn to_value(&self) -> Value {
        let account = &self.account;
        if self.issuer == LEGACY_ISSUER {
            let secret = self.secret.as_ref().map_or("", |secret| &secret.name);
            return json!({
                "iss": LEGACY_ISSUER,
                "kubernetes.io/serviceaccount/namespace": account.namespace,
                "kubernetes.io/serviceaccount/secret.name": secret,
                "kubernetes.io/serviceaccount/service-account.name": account.name,
                "kubernetes.io/serviceaccount/service-account.uid": account.uid,
                "sub": self.user_name(),
            });
        }
        let mut private = json!({
            "namespace": account.namespace,
            "serviceaccount": {"name": account.name, "uid": account.uid},
        });
        for (key, bound) in [("pod", &self.pod), ("secret", &self.secret), ("node", &self.node)] {
            if let Some(bound) = bound {
                private[key] = json!({"name": bound.name});
                if !bound.uid.is_empty() {
                    private[key]["uid"] = bound.uid.as_str().into();
                }
            }
        }
        if let Some(warn_after) = self.warn_after {
            private["warnafter"] = warn_after.into();
        }
        let mut claims = json!({
            "aud": self.audiences, "iat": self.issued_at, "nbf": self.issued_at, "iss": self.issuer,
            "jti": self.id, "kubernetes.io": private, "sub": self.user_name(),
        });
        if let Some(expires_at) = self.expires_at {
            claims["exp"] = expires_at.into();
        }
        claims
    }

    fn user_name(&self) -> String {
        format!("{SERVICE_ACCOUNT}{}:{}", self.account.namespace, self.account.name)
    }

    /// Whether it is good at a time, in seconds since 1970, as far as time is concerned. Clocks may differ a little.
    pub fn is_in_time(&self, now: i64) -> bool {
        const LEEWAY: i64 = 10;
        self.issued_at - LEEWAY <= now && self.expires_at.is_none_or(|end| now < end)
    }

    /// The user it makes of its bearer.
    pub fn user(&self) -> User {
        let account = &self.account;
        let mut user = User::service_account(&account.namespace, &account.name, &account.uid);
        let mut extra = |key: &str, value: String| {
            let key = format!("authentication.kubernetes.io/{key}");
            user.extra.push((key, vec![value]));
        };
        if !self.id.is_empty() {
            extra("credential-id", format!("JTI={}", self.id));
        }
        for (kind, bound) in [("node", &self.node), ("pod", &self.pod)] {
            if let Some(bound) = bound {
                extra(&format!("{kind}-name"), bound.name.clone());
                if !bound.uid.is_empty() {
                    extra(&format!("{kind}-uid"), bound.uid.clone());
                }
            }
        }
        user
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let bound = |name: &str| {
            Some(Bound {
                name: name.into(),
                uid: "u".into(),
            })
        };
        Claims {
            account: Account {
                namespace: "ns".into(),
                name: "sa".into(),
                uid: "1".into(),
            },
            pod: bound("p"),
            secret: None,
            node: bound("n"),
            audiences: vec!["a".into()],
            issuer: "https://x".into(),
            id: "j".into(),
            issued_at: 100,
            expires_at: Some(200),
            warn_after: Some(150),
        }
    }

    #[test]
    fn claims_come_out_as_they_went_in() {
        assert_eq!(Claims::from_value(&claims().to_value()), Some(claims()));
        let mut legacy = claims();
        legacy.issuer = LEGACY_ISSUER.into();
        legacy.secret = Some(Bound {
            name: "s".into(),
            uid: String::new(),
        });
        let read = Claims::from_value(&legacy.to_value()).unwrap();
        assert_eq!(
            (read.secret, read.expires_at, read.audiences.len()),
            (legacy.secret, None, 0)
        );
        let mut elsewhere = claims();
        elsewhere.node.as_mut().unwrap().uid.clear();
        let said = elsewhere.to_value();
        assert_eq!(said["kubernetes.io"]["node"], json!({"name": "n"}));
        assert_eq!(
            Claims::from_value(&said)
                .unwrap()
                .user()
                .extra("authentication.kubernetes.io/node-uid"),
            [""; 0]
        );
        let mut other = claims().to_value();
        other["sub"] = "system:serviceaccount:ns:other".into();
        assert_eq!(Claims::from_value(&other), None);
        assert_eq!(Claims::from_value(&json!({"sub": "x", "exp": 1})), None);
    }

    #[test]
    fn tokens_end() {
        let claims = claims();
        assert!(!claims.is_in_time(80) && claims.is_in_time(100) && claims.is_in_time(199) && !claims.is_in_time(200));
    }

    #[test]
    fn the_user_knows_where_the_token_is_from() {
        let user = claims().user();
        assert_eq!(
            (user.name.as_str(), user.uid.as_str()),
            ("system:serviceaccount:ns:sa", "1")
        );
        assert_eq!(user.extra("authentication.kubernetes.io/credential-id"), ["JTI=j"]);
        assert_eq!(user.extra("authentication.kubernetes.io/pod-name"), ["p"]);
        assert_eq!(user.extra("authentication.kubernetes.io/node-uid"), ["u"]);
    }
}
