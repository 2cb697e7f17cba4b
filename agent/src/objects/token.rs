//! Tokens of service accounts, each made for one pod and good as long as that pod is there.

use std::sync::Arc;
use std::time::Duration;

use barepod_client::{Backoff, Client, Error, Request};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::{Data, Key};

/// Whom a token is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bound {
    /// The pod's name.
    pub pod: String,
    /// The pod's UID.
    pub uid: String,
    /// Who accepts it; empty for the API server.
    pub audience: String,
    /// How long it is to be good for.
    pub seconds: i64,
}

/// The longest time that a token is kept, however long it is good for: as the kubelet has it.
const OLDEST: i64 = 24 * 60 * 60;

/// How soon one that could not be had is asked for again.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

#[derive(Deserialize)]
struct TokenRequest {
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: String,
    expiration_timestamp: Timestamp,
}

/// A new token, under the key `token`; `None` if the account does not exist.
pub async fn request(client: &Client, key: &Key) -> Result<Option<Data>, Error> {
    let Some(bound) = &key.bound else { return Ok(None) };
    let audiences: Vec<&str> = Some(bound.audience.as_str())
        .filter(|it| !it.is_empty())
        .into_iter()
        .collect();
    let wanted = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "spec": {
            "audiences": audiences, "expirationSeconds": bound.seconds,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": bound.pod, "uid": bound.uid},
        },
    });
    let path = format!(
        "/api/v1/namespaces/{}/serviceaccounts/{}/token",
        key.namespace, key.name
    );
    let asked = Timestamp::now();
    let answer = client
        .read::<TokenRequest>(Request::create(path, wanted.to_string().into_bytes()))
        .await;
    let status = match answer {
        Ok(answer) => answer.status,
        Err(error) if error.code() == Some(404) => return Ok(None),
        Err(error) => return Err(error),
    };
    let renew_at = renewal(asked, status.expiration_timestamp);
    Ok(Some(Data {
        version: status.expiration_timestamp.to_string(),
        values: [("token".to_owned(), status.token.into_bytes())].into(),
        renew_at: Some(renew_at),
        ..Data::default()
    }))
}

/// When four fifths of its life are over, or after a day.
fn renewal(from: Timestamp, to: Timestamp) -> Timestamp {
    let life = to.as_second() - from.as_second();
    let kept = (life * 4 / 5).clamp(1, OLDEST);
    Timestamp::from_second(from.as_second() + kept).unwrap_or(to)
}

/// Gets tokens anew in time, and one that is not there when it may be, until nobody listens any more.
pub async fn renew(client: &Client, key: &Key, sender: &watch::Sender<Option<Arc<Data>>>) {
    let mut backoff = BACKOFF;
    loop {
        let due = sender.borrow().as_ref().and_then(|data| data.renew_at);
        match due {
            Some(due) => {
                let left = due.duration_since(Timestamp::now());
                tokio::time::sleep(left.try_into().unwrap_or(Duration::ZERO)).await;
            }
            None => tokio::time::sleep(backoff.step()).await,
        }
        match request(client, key).await {
            Ok(Some(data)) => {
                backoff = BACKOFF;
                sender.send_replace(Some(Arc::new(data)));
            }
            Ok(None) => {
                // The old one is no good either, but its files say more than none.
                tokio::time::sleep(backoff.step()).await;
            }
            Err(error) => {
                tracing::warn!(%error, token = %key, "token not renewed; it is tried again");
                tokio::time::sleep(backoff.step()).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_before_they_end() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(renewal(at(1000), at(4600)), at(1000 + 2880));
        assert_eq!(renewal(at(0), at(365 * 86_400)), at(86_400));
        assert_eq!(renewal(at(1000), at(900)), at(1001));
    }
}
