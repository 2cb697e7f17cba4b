//! Requests about pods that several controllers make.

use crate::api::{Error, Part, Writer};
use crate::informer::{Informer, Key};
use crate::objects::Pod;
use barepod_client::DeleteOptions;
use barepod_client::types::Time;
use jiff::Timestamp;
use serde_json::json;
use std::time::Duration;

/// When a ready pod counts as available: `None` if it is not ready, else the time still to wait.
pub(crate) fn available_in(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Option<Duration> {
    if !pod.is_ready() {
        return None;
    }
    if min_ready_seconds <= 0 {
        return Some(Duration::ZERO);
    }
    let since = pod.ready_since()?.0;
    let waited = now.duration_since(since).as_secs_f64();
    Some(Duration::try_from_secs_f64(f64::from(min_ready_seconds) - waited).unwrap_or(Duration::ZERO))
}

/// Says on the pod why it is about to be removed (KEP-3329), then deletes it.
pub(crate) async fn disrupt(
    writer: &Writer,
    pods: &Informer<Pod>,
    pod: &Pod,
    reason: &str,
    message: &str,
    params: DeleteOptions,
) -> Result<(), Error> {
    let key = Key::of(&pod.metadata);
    let condition = json!({"status": {"conditions": [{
        "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": Time(Timestamp::now()),
    }]}});
    match writer.strategic(pods, &key, Part::Status, &condition).await {
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => tracing::debug!(pod = %key, error = %error.chain(), "disruption condition not set"),
        Ok(_) => {}
    }
    writer.delete(pods, &key, pod.uid(), params).await
}
