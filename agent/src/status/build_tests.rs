use serde_json::json;

use super::*;
use crate::pods::observed::{Failure, Waiting};
use crate::time;

fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "generation": 3}, "spec": spec})).unwrap()
}

fn place() -> Place {
    Place {
        host_ip: Some(Ipv4Addr::new(1, 2, 3, 4)),
        now: time::now(),
        instant: Instant::now(),
    }
}

fn up(container: &str) -> Seen {
    let _ = container;
    Seen {
        state: State::Running { since: time::now() },
        id: Some("i".into()),
        image: "full".into(),
        image_id: "sha".into(),
        hook_done: true,
        started: true,
        ready: true,
        ..Seen::default()
    }
}

fn end(code: i32) -> Seen {
    let end = Termination {
        id: "i".into(),
        code,
        signal: None,
        reason: "Error".into(),
        message: "bye".into(),
        started_at: Some(time::now()),
        finished_at: time::now(),
    };
    Seen {
        state: State::Exited {
            end,
            at: Instant::now(),
        },
        id: Some("i".into()),
        ..Seen::default()
    }
}

fn seen(containers: &[(&str, Seen)]) -> Observed {
    Observed {
        sandbox: Step::Ready,
        ip: Some(Ipv4Addr::new(10, 1, 0, 2)),
        containers: containers
            .iter()
            .map(|(name, it)| ((*name).to_owned(), it.clone()))
            .collect(),
        ..Observed::default()
    }
}

fn get<'a>(status: &'a PodStatus, kind: &str) -> &'a PodCondition {
    status.conditions.iter().flatten().find(|it| it.type_ == kind).unwrap()
}

#[test]
fn running_and_ready() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "x"}]}));
    let status = build(&pod, &seen(&[("a", up("a"))]), None, &place());
    assert_eq!(status.phase.as_deref(), Some("Running"));
    for kind in [
        "Ready",
        "ContainersReady",
        "Initialized",
        "PodScheduled",
        "PodReadyToStartContainers",
    ] {
        let condition = get(&status, kind);
        assert_eq!(
            (condition.status.as_str(), condition.observed_generation),
            ("True", Some(3)),
            "{kind}"
        );
    }
    let container = &status.container_statuses.as_ref().unwrap()[0];
    assert!(container.ready && container.started == Some(true));
    assert_eq!(container.container_id.as_deref(), Some("barepod://i"));
    assert_eq!(
        (status.pod_ip.as_deref(), status.host_ip.as_deref()),
        (Some("10.1.0.2"), Some("1.2.3.4"))
    );
    assert_eq!(
        (status.observed_generation, status.qos_class.as_deref()),
        (Some(3), Some("BestEffort"))
    );
}

#[test]
fn waiting_reasons_and_phase_before_the_first_start() {
    let pod =
        pod(json!({"initContainers": [{"name": "i", "image": "x"}], "containers": [{"name": "a", "image": "x"}]}));
    let why = Waiting::new("ErrImagePull", "no such image");
    let status = build(
        &pod,
        &seen(&[(
            "i",
            Seen {
                waiting: Some(why),
                ..Seen::default()
            },
        )]),
        None,
        &place(),
    );
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    let reason = |list: &Option<Vec<ContainerStatus>>| {
        list.as_ref().unwrap()[0]
            .state
            .as_ref()
            .unwrap()
            .waiting
            .as_ref()
            .unwrap()
            .reason
            .clone()
            .unwrap()
    };
    assert_eq!(reason(&status.init_container_statuses), "ErrImagePull");
    assert_eq!(reason(&status.container_statuses), "PodInitializing");
    assert_eq!(
        get(&status, "Initialized").reason.as_deref(),
        Some("ContainersNotInitialized")
    );
    let status = build(&pod, &seen(&[("i", end(0))]), None, &place());
    assert_eq!(reason(&status.container_statuses), "PodInitializing");
    assert_eq!(get(&status, "Initialized").status, "True");
    assert!(status.init_container_statuses.unwrap()[0].ready);
    let two = json!([{"name": "i", "image": "x"}, {"name": "j", "image": "x"}]);
    let status = build(
        &self::pod(json!({"initContainers": two, "containers": [{"name": "a", "image": "x"}]})),
        &seen(&[]),
        None,
        &place(),
    );
    assert_eq!(reason(&status.init_container_statuses), "PodInitializing");
    let status = build(
        &self::pod(json!({"containers": [{"name": "a", "image": "x"}]})),
        &seen(&[]),
        None,
        &place(),
    );
    assert_eq!(reason(&status.container_statuses), "ContainerCreating");
}

#[test]
fn phases_of_ended_pods() {
    for (policy, code, want) in [
        ("Always", 0, "Running"),
        ("OnFailure", 1, "Running"),
        ("OnFailure", 0, "Succeeded"),
        ("Never", 0, "Succeeded"),
        ("Never", 3, "Failed"),
    ] {
        let pod = pod(json!({"restartPolicy": policy, "containers": [{"name": "a", "image": "x"}]}));
        assert_eq!(phase(&pod, &seen(&[("a", end(code))])), want, "{policy} {code}");
    }
    let two = pod(
        json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]}),
    );
    assert_eq!(phase(&two, &seen(&[("a", end(1)), ("b", up("b"))])), "Running");
    assert_eq!(phase(&two, &seen(&[("a", end(1)), ("b", end(0))])), "Failed");
    let init = pod(
        json!({"restartPolicy": "Never", "initContainers": [{"name": "i", "image": "x"}], "containers": [{"name": "a", "image": "x"}]}),
    );
    assert_eq!(phase(&init, &seen(&[("i", end(1))])), "Failed");
    let side = pod(
        json!({"restartPolicy": "Never", "initContainers": [{"name": "s", "image": "x", "restartPolicy": "Always"}], "containers": [{"name": "a", "image": "x"}]}),
    );
    assert_eq!(phase(&side, &seen(&[("s", up("s")), ("a", end(0))])), "Running");
    assert_eq!(phase(&side, &seen(&[("s", end(143)), ("a", end(0))])), "Succeeded");
}

#[test]
fn whole_pod_failure_is_told() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "x"}]}));
    let failure = Failure {
        reason: "SandboxLost".into(),
        message: "gone".into(),
    };
    let status = build(
        &pod,
        &Observed {
            failure: Some(failure),
            ..seen(&[("a", end(137))])
        },
        None,
        &place(),
    );
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref()),
        (Some("Failed"), Some("SandboxLost"))
    );
    assert_eq!(get(&status, "Ready").reason.as_deref(), Some("PodFailed"));
}

#[test]
fn back_off_shows_the_last_end() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "x"}]}));
    let mut it = end(1);
    let now = Instant::now();
    it.backoff.restarted(now, now);
    it.restarts = 1;
    let status = build(&pod, &seen(&[("a", it.clone())]), None, &place());
    let container = &status.container_statuses.as_ref().unwrap()[0];
    assert_eq!(
        container
            .state
            .as_ref()
            .unwrap()
            .waiting
            .as_ref()
            .unwrap()
            .reason
            .as_deref(),
        Some("CrashLoopBackOff")
    );
    assert_eq!(
        container
            .last_state
            .as_ref()
            .unwrap()
            .terminated
            .as_ref()
            .unwrap()
            .exit_code,
        1
    );
    assert_eq!(container.restart_count, 1);
    let gone = build(
        &pod,
        &Observed {
            deleting: true,
            ..seen(&[("a", it)])
        },
        None,
        &place(),
    );
    assert!(
        gone.container_statuses.unwrap()[0]
            .state
            .as_ref()
            .unwrap()
            .terminated
            .is_some()
    );
}

#[test]
fn transition_times_stay_and_gates_count() {
    let mut pod = pod(json!({"containers": [{"name": "a", "image": "x"}], "readinessGates": [{"conditionType": "g"}]}));
    let early = Place {
        now: time::parse("2020-01-01T00:00:00Z"),
        ..place()
    };
    let first = build(&pod, &seen(&[("a", up("a"))]), None, &early);
    assert_eq!(get(&first, "Ready").reason.as_deref(), Some("ReadinessGatesNotReady"));
    pod.status = Some(serde_json::from_value(json!({"conditions": [{"type": "g", "status": "True"}]})).unwrap());
    let second = build(&pod, &seen(&[("a", up("a"))]), Some(&first), &place());
    assert_eq!(get(&second, "Ready").status, "True");
    assert_eq!(
        get(&second, "ContainersReady").last_transition_time,
        Some(early.now.clone())
    );
    assert_ne!(get(&second, "Ready").last_transition_time, Some(early.now));
}

#[test]
fn container_with_running_hook_still_waits() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "x"}]}));
    let status = build(
        &pod,
        &seen(&[(
            "a",
            Seen {
                hook_done: false,
                ..up("a")
            },
        )]),
        None,
        &place(),
    );
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert!(
        status.container_statuses.unwrap()[0]
            .state
            .as_ref()
            .unwrap()
            .waiting
            .is_some()
    );
}
