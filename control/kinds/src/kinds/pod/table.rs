//! The row of a pod in `kubectl get pods`.

use jiff::Timestamp;
use serde_json::Value;

use crate::podspec::is_sidecar;
use crate::strategy::Column;
use crate::table::{AGE, NAME, age, name, text as column, wide};
use crate::value::{at, bool_at, i64_at, list_at, str_at, text};
use crate::{conditions, time};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "Ready containers of all containers"),
    column("Status", "State of the pod in one word"),
    column("Restarts", "Restarts of its containers and when the last one was"),
    AGE,
    wide("IP", "Address of the pod"),
    wide("Node", "Node the pod is bound to"),
    wide("Nominated Node", "Node that is being made free for the pod"),
    wide("Readiness Gates", "Readiness gates that are true, of all"),
];

/// What the containers' states add up to.
#[derive(Default)]
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl Summary {
    fn count(&mut self, status: &Value) {
        self.restarts += i64_at(status, &["restartCount"]).unwrap_or(0);
        let finished = str_at(status, &["lastState", "terminated", "finishedAt"]).and_then(time::parse);
        self.last_restart = self.last_restart.max(finished);
    }
}

/// The pod's state as users know it: `Running`, `CrashLoopBackOff`, `Init:0/1`, `Completed`, `Terminating`, …
pub fn status_text(pod: &Value) -> String {
    summary(pod).reason
}

fn summary(pod: &Value) -> Summary {
    let empty = Value::Null;
    let status = pod.get("status").unwrap_or(&empty);
    let inits = list_at(pod, &["spec", "initContainers"]);
    let sidecars = inits.iter().filter(|c| is_sidecar(c)).count();
    let mut sum = Summary {
        total: list_at(pod, &["spec", "containers"]).len() + sidecars,
        ..Summary::default()
    };
    sum.reason = str_at(status, &["reason"])
        .or(str_at(status, &["phase"]))
        .unwrap_or("")
        .to_owned();
    if conditions::find(pod, "PodScheduled").is_some_and(|c| text(c, "reason") == "SchedulingGated") {
        sum.reason = "SchedulingGated".into();
    }
    let mut of_sidecars = Summary::default();
    let initializing = init_phase(status, inits, &mut sum, &mut of_sidecars);
    if !initializing || conditions::is_true(pod, "Initialized") {
        // The init phase is over: only restarts of what still runs count.
        sum.restarts = of_sidecars.restarts;
        sum.last_restart = of_sidecars.last_restart;
        regular_phase(pod, status, &mut sum);
    }
    if at(pod, &["metadata", "deletionTimestamp"]).is_some() {
        let finished = matches!(str_at(status, &["phase"]), Some("Succeeded" | "Failed"));
        if text(status, "reason") == "NodeLost" {
            sum.reason = "Unknown".into();
        } else if !finished {
            sum.reason = "Terminating".into();
        }
    }
    sum
}

/// Walks the init containers up to the first that is not done; true when there is one.
fn init_phase(status: &Value, inits: &[Value], sum: &mut Summary, of_sidecars: &mut Summary) -> bool {
    for (i, container) in list_at(status, &["initContainerStatuses"]).iter().enumerate() {
        sum.count(container);
        let own = text(container, "name");
        let sidecar = inits.iter().any(|c| text(c, "name") == own && is_sidecar(c));
        if sidecar {
            of_sidecars.count(container);
        }
        let terminated = at(container, &["state", "terminated"]);
        if terminated.is_some_and(|t| i64_at(t, &["exitCode"]).unwrap_or(0) == 0) {
            continue;
        }
        if sidecar && bool_at(container, &["started"]) {
            if bool_at(container, &["ready"]) {
                sum.ready += 1;
            }
            continue;
        }
        let waiting = str_at(container, &["state", "waiting", "reason"]).filter(|r| *r != "PodInitializing");
        sum.reason = match (terminated, waiting) {
            (Some(terminated), _) => format!("Init:{}", exit_text(terminated)),
            (None, Some(reason)) => format!("Init:{reason}"),
            (None, None) => format!("Init:{i}/{}", inits.len()),
        };
        return true;
    }
    false
}

fn regular_phase(pod: &Value, status: &Value, sum: &mut Summary) {
    let mut running = false;
    for container in list_at(status, &["containerStatuses"]).iter().rev() {
        sum.count(container);
        if let Some(reason) = str_at(container, &["state", "waiting", "reason"]) {
            sum.reason = reason.to_owned();
        } else if let Some(terminated) = at(container, &["state", "terminated"]) {
            sum.reason = exit_text(terminated);
        } else if bool_at(container, &["ready"]) && at(container, &["state", "running"]).is_some() {
            running = true;
            sum.ready += 1;
        }
    }
    if sum.reason == "Completed" && running {
        sum.reason = if conditions::is_true(pod, "Ready") {
            "Running"
        } else {
            "NotReady"
        }
        .into();
    }
}

fn exit_text(terminated: &Value) -> String {
    if let Some(reason) = str_at(terminated, &["reason"]) {
        return reason.to_owned();
    }
    match i64_at(terminated, &["signal"]).unwrap_or(0) {
        0 => format!("ExitCode:{}", i64_at(terminated, &["exitCode"]).unwrap_or(0)),
        signal => format!("Signal:{signal}"),
    }
}

fn or_none(text: Option<&str>) -> Value {
    text.unwrap_or("<none>").into()
}

pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let sum = summary(pod);
    let restarts = match sum.last_restart {
        Some(last) if sum.restarts > 0 => {
            format!(
                "{} ({} ago)",
                sum.restarts,
                time::human(now.as_second() - last.as_second())
            )
        }
        _ => sum.restarts.to_string(),
    };
    let gates = list_at(pod, &["spec", "readinessGates"]);
    let open = gates
        .iter()
        .filter(|g| conditions::is_true(pod, text(g, "conditionType")))
        .count();
    let gates: Value = if gates.is_empty() {
        "<none>".into()
    } else {
        format!("{open}/{}", gates.len()).into()
    };
    let first_ip = list_at(pod, &["status", "podIPs"]).first().map(|e| text(e, "ip"));
    let ip = first_ip
        .filter(|ip| !ip.is_empty())
        .or(str_at(pod, &["status", "podIP"]));
    vec![
        name(pod),
        format!("{}/{}", sum.ready, sum.total).into(),
        sum.reason.into(),
        restarts.into(),
        age(pod, now),
        or_none(ip),
        or_none(str_at(pod, &["spec", "nodeName"])),
        or_none(str_at(pod, &["status", "nominatedNodeName"])),
        gates,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(pod: Value) -> Vec<String> {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        cells(&pod, now)
            .iter()
            .map(|c| c.as_str().unwrap().to_owned())
            .collect()
    }

    fn pod(status: Value) -> Value {
        json!({"metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:56:40Z"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
            "status": status})
    }

    #[test]
    fn a_running_pod() {
        let mut running = pod(json!({"phase": "Running", "podIPs": [{"ip": "10.244.0.2"}],
            "initContainerStatuses": [{"name": "i", "restartCount": 4, "state": {"terminated": {"exitCode": 0}}}],
            "containerStatuses": [
                {"name": "a", "ready": true, "restartCount": 1, "state": {"running": {}},
                 "lastState": {"terminated": {"finishedAt": "2026-01-01T00:59:55Z"}}},
                {"name": "b", "ready": false, "restartCount": 0, "state": {"running": {}}}]}));
        running["spec"]["nodeName"] = json!("n1");
        assert_eq!(
            row(running),
            [
                "p",
                "1/2",
                "Running",
                "1 (5s ago)",
                "3m20s",
                "10.244.0.2",
                "n1",
                "<none>",
                "<none>"
            ]
        );
    }

    #[test]
    fn states_in_one_word() {
        let container = |state: Value| {
            json!({"phase": "Running",
            "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 0}}}],
            "containerStatuses": [{"name": "a", "state": state}]})
        };
        for (status, word) in [
            (json!({"phase": "Pending"}), "Pending"),
            (json!({"phase": "Failed", "reason": "Evicted"}), "Evicted"),
            (
                container(json!({"waiting": {"reason": "CrashLoopBackOff"}})),
                "CrashLoopBackOff",
            ),
            (
                container(json!({"waiting": {"reason": "ContainerCreating"}})),
                "ContainerCreating",
            ),
            (
                container(json!({"terminated": {"exitCode": 0, "reason": "Completed"}})),
                "Completed",
            ),
            (
                container(json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})),
                "OOMKilled",
            ),
            (container(json!({"terminated": {"exitCode": 3}})), "ExitCode:3"),
            (
                container(json!({"terminated": {"exitCode": 0, "signal": 9}})),
                "Signal:9",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
                "Init:0/1",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i",
                    "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}),
                "Init:ImagePullBackOff",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i",
                    "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
                "Init:Error",
            ),
            (
                json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
                    "reason": "SchedulingGated"}]}),
                "SchedulingGated",
            ),
        ] {
            assert_eq!(status_text(&pod(status.clone())), word, "{status}");
        }
    }

    #[test]
    fn deletion_shows_as_terminating() {
        let mut going = pod(json!({"phase": "Running"}));
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(status_text(&going), "Terminating");
        going["status"]["phase"] = json!("Succeeded");
        assert_eq!(status_text(&going), "Succeeded");
    }

    #[test]
    fn sidecars_count_as_containers() {
        let mut with = pod(json!({"phase": "Running",
            "initContainerStatuses": [{"name": "i", "started": true, "ready": true, "restartCount": 2, "state": {"running": {}}}],
            "containerStatuses": [{"name": "a", "ready": true, "state": {"running": {}}},
                {"name": "b", "ready": true, "state": {"running": {}}}]}));
        with["spec"]["initContainers"][0]["restartPolicy"] = json!("Always");
        assert_eq!(row(with)[1..4], ["3/3", "Running", "2"]);
    }
}
