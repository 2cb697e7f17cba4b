use std::time::Duration;

use serde_json::json;

use super::super::observed::{Termination, Unhealthy};
use super::*;
use crate::time;

fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": spec}))
        .unwrap()
}

fn one(policy: &str) -> Pod {
    pod(json!({"restartPolicy": policy, "containers": [{"name": "a", "image": "i"}]}))
}

fn up() -> Observed {
    Observed {
        sandbox: Step::Ready,
        volumes: Step::Ready,
        ..Observed::default()
    }
}

fn end(code: i32) -> Termination {
    Termination {
        id: "x".into(),
        code,
        signal: None,
        reason: "Error".into(),
        message: String::new(),
        started_at: None,
        finished_at: time::now(),
    }
}

fn running() -> Seen {
    Seen {
        state: State::Running { since: time::now() },
        hook_done: true,
        started: true,
        spec_image: "i".into(),
        ..Seen::default()
    }
}

fn exited(code: i32, at: Instant) -> Seen {
    Seen {
        state: State::Exited { end: end(code), at },
        spec_image: "i".into(),
        ..Seen::default()
    }
}

fn with(mut seen: Observed, name: &str, it: Seen) -> Observed {
    seen.containers.insert(name.into(), it);
    seen
}

fn start(name: &str) -> Action {
    Action::Start { container: name.into() }
}

fn stop(name: &str, why: Stop) -> Action {
    Action::Stop {
        container: name.into(),
        why,
    }
}

fn actions(pod: &Pod, seen: &Observed) -> Vec<Action> {
    plan(pod, seen, Instant::now()).actions
}

#[test]
fn everything_begins_at_once() {
    assert_eq!(
        actions(&one("Always"), &Observed::default()),
        [Action::CreateSandbox, Action::SetUpVolumes, start("a")]
    );
}

#[test]
fn nothing_is_asked_for_twice() {
    let starting = Seen {
        state: State::Starting,
        ..Seen::default()
    };
    let seen = with(
        Observed {
            sandbox: Step::Busy,
            volumes: Step::Busy,
            ..Observed::default()
        },
        "a",
        starting,
    );
    assert_eq!(plan(&one("Always"), &seen, Instant::now()), Plan::default());
    assert_eq!(
        plan(&one("Always"), &with(up(), "a", running()), Instant::now()),
        Plan::default()
    );
}

#[test]
fn no_start_while_volumes_wait_for_their_next_try() {
    let now = Instant::now();
    let retry_at = now + Duration::from_secs(2);
    let seen = Observed {
        volumes: Step::Failed { retry_at },
        ..up()
    };
    let got = plan(&one("Always"), &seen, now);
    assert_eq!((got.actions, got.wake_at), (vec![], Some(retry_at)));
    assert_eq!(
        plan(&one("Always"), &seen, retry_at).actions,
        [Action::SetUpVolumes, start("a")]
    );
}

#[test]
fn init_containers_run_one_after_the_other() {
    let pod = pod(
        json!({"initContainers": [{"name": "i1", "image": "i"}, {"name": "i2", "image": "i"}], "containers": [{"name": "a", "image": "i"}]}),
    );
    assert_eq!(actions(&pod, &up()), [start("i1")]);
    let seen = with(up(), "i1", running());
    assert_eq!(actions(&pod, &seen), []);
    let seen = with(seen, "i1", exited(0, Instant::now()));
    assert_eq!(actions(&pod, &seen), [start("i2")]);
    let seen = with(seen, "i2", exited(0, Instant::now()));
    assert_eq!(actions(&pod, &seen), [start("a")]);
    assert_eq!(actions(&pod, &with(seen, "a", running())), []);
}

#[test]
fn failed_init_container_is_tried_again_unless_never() {
    let spec = |policy| json!({"restartPolicy": policy, "initContainers": [{"name": "i", "image": "i"}], "containers": [{"name": "a", "image": "i"}]});
    let seen = with(up(), "i", exited(1, Instant::now()));
    assert_eq!(actions(&pod(spec("Always")), &seen), [start("i")]);
    assert_eq!(actions(&pod(spec("OnFailure")), &seen), [start("i")]);
    assert_eq!(actions(&pod(spec("Never")), &seen), [Action::Remove]);
}

#[test]
fn sidecar_must_have_started_before_what_follows() {
    let pod = pod(
        json!({"initContainers": [{"name": "s", "image": "i", "restartPolicy": "Always"}, {"name": "i", "image": "i"}],
        "containers": [{"name": "a", "image": "i"}]}),
    );
    assert_eq!(actions(&pod, &up()), [start("s")]);
    let seen = with(
        up(),
        "s",
        Seen {
            started: false,
            ..running()
        },
    );
    assert_eq!(actions(&pod, &seen), []);
    let seen = with(seen, "s", running());
    assert_eq!(actions(&pod, &seen), [start("i")]);
    let seen = with(with(seen, "i", exited(0, Instant::now())), "a", running());
    assert_eq!(actions(&pod, &seen), []);
    // One that ends while the main container runs is started again, whatever its code.
    assert_eq!(actions(&pod, &with(seen, "s", exited(0, Instant::now()))), [start("s")]);
}

#[test]
fn main_container_restarts_while_a_sidecar_is_down() {
    let pod = pod(
        json!({"initContainers": [{"name": "s", "image": "i", "restartPolicy": "Always"}], "containers": [{"name": "a", "image": "i"}]}),
    );
    let now = Instant::now();
    let mut sidecar = exited(1, now);
    sidecar.backoff.restarted(now, now);
    let seen = with(with(up(), "s", sidecar), "a", exited(1, now));
    assert_eq!(plan(&pod, &seen, now).actions, [start("a")]);
}

#[test]
fn restart_policies() {
    let now = Instant::now();
    for (policy, code, again) in [
        ("Always", 0, true),
        ("Always", 1, true),
        ("OnFailure", 0, false),
        ("OnFailure", 1, true),
        ("Never", 0, false),
        ("Never", 1, false),
    ] {
        let seen = with(up(), "a", exited(code, now));
        let want = if again { start("a") } else { Action::Remove };
        assert_eq!(plan(&one(policy), &seen, now).actions, [want], "{policy} {code}");
        assert_eq!(complete(&one(policy), &seen), !again, "{policy} {code}");
    }
}

#[test]
fn container_rules_come_before_the_pods_policy() {
    let pod = pod(
        json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "i", "restartPolicy": "Never",
        "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}]}),
    );
    let now = Instant::now();
    assert_eq!(plan(&pod, &with(up(), "a", exited(42, now)), now).actions, [start("a")]);
    assert_eq!(
        plan(&pod, &with(up(), "a", exited(1, now)), now).actions,
        [Action::Remove]
    );
}

#[test]
fn second_restart_waits() {
    let now = Instant::now();
    let mut it = exited(1, now);
    it.backoff.restarted(now, now);
    let seen = with(up(), "a", it);
    let got = plan(&one("Always"), &seen, now);
    assert_eq!(
        (got.actions, got.wake_at),
        (vec![], Some(now + Duration::from_secs(10)))
    );
    assert_eq!(
        plan(&one("Always"), &seen, now + Duration::from_secs(10)).actions,
        [start("a")]
    );
}

#[test]
fn failed_start_waits_for_its_next_try() {
    let now = Instant::now();
    let seen = with(
        up(),
        "a",
        Seen {
            blocked_until: Some(now + Duration::from_secs(5)),
            ..Seen::default()
        },
    );
    assert_eq!(
        plan(&one("Always"), &seen, now).wake_at,
        Some(now + Duration::from_secs(5))
    );
    assert_eq!(
        plan(&one("Always"), &seen, now + Duration::from_secs(5)).actions,
        [start("a")]
    );
}

#[test]
fn unhealthy_container_is_stopped_and_restarted_by_policy() {
    let unhealthy = Seen {
        unhealthy: Some(Unhealthy {
            message: "m".into(),
            grace_secs: None,
        }),
        ..running()
    };
    let seen = with(up(), "a", unhealthy);
    assert_eq!(actions(&one("Always"), &seen), [stop("a", Stop::Unhealthy)]);
    assert_eq!(
        actions(&one("Never"), &with(up(), "a", exited(137, Instant::now()))),
        [Action::Remove]
    );
}

#[test]
fn changed_image_restarts_at_once_even_in_back_off() {
    let now = Instant::now();
    let seen = with(
        up(),
        "a",
        Seen {
            spec_image: "old".into(),
            ..running()
        },
    );
    assert_eq!(actions(&one("Never"), &seen), [stop("a", Stop::Changed)]);
    let mut it = Seen {
        spec_image: "old".into(),
        ..exited(0, now)
    };
    it.backoff.restarted(now, now);
    assert_eq!(plan(&one("Never"), &with(up(), "a", it), now).actions, [start("a")]);
}

#[test]
fn completion_waits_for_all_and_ends_sidecars_in_reverse() {
    let pod = pod(json!({"restartPolicy": "Never",
        "initContainers": [{"name": "s1", "image": "i", "restartPolicy": "Always"}, {"name": "s2", "image": "i", "restartPolicy": "Always"}],
        "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]}));
    let now = Instant::now();
    let seen = with(with(up(), "s1", running()), "s2", running());
    let seen = with(with(seen, "a", exited(0, now)), "b", running());
    assert_eq!(actions(&pod, &seen), []);
    let seen = with(seen, "b", exited(0, now));
    assert_eq!(actions(&pod, &seen), [stop("s2", Stop::Pod)]);
    let stopping = Seen {
        state: State::Stopping { since: time::now() },
        ..Seen::default()
    };
    assert_eq!(actions(&pod, &with(seen.clone(), "s2", stopping)), []);
    let seen = with(seen, "s2", exited(0, now));
    assert_eq!(actions(&pod, &seen), [stop("s1", Stop::Pod)]);
    let seen = with(seen, "s1", exited(0, now));
    assert_eq!(actions(&pod, &seen), [Action::Remove]);
    assert_eq!(
        actions(
            &pod,
            &Observed {
                sandbox: Step::Gone,
                ..seen
            }
        ),
        []
    );
}

#[test]
fn deletion_stops_removes_and_finishes() {
    let pod = one("Always");
    let seen = with(Observed { deleting: true, ..up() }, "a", running());
    assert_eq!(actions(&pod, &seen), [stop("a", Stop::Pod)]);
    let seen = with(
        seen,
        "a",
        Seen {
            state: State::Stopping { since: time::now() },
            ..Seen::default()
        },
    );
    assert_eq!(actions(&pod, &seen), []);
    let seen = with(seen, "a", exited(137, Instant::now()));
    assert_eq!(actions(&pod, &seen), [Action::Remove]);
    let seen = Observed {
        sandbox: Step::Busy,
        ..seen
    };
    assert_eq!(actions(&pod, &seen), []);
    let seen = Observed {
        sandbox: Step::Gone,
        ..seen
    };
    assert_eq!(actions(&pod, &seen), [Action::Finish]);
}

#[test]
fn deletion_waits_for_what_is_under_way() {
    let pod = one("Always");
    let starting = Seen {
        state: State::Starting,
        ..Seen::default()
    };
    let seen = with(
        Observed {
            deleting: true,
            sandbox: Step::Busy,
            ..up()
        },
        "a",
        starting,
    );
    assert_eq!(actions(&pod, &seen), []);
    let seen = Observed {
        deleting: true,
        sandbox: Step::Ready,
        volumes: Step::Busy,
        ..Observed::default()
    };
    assert_eq!(actions(&pod, &seen), []);
    let seen = Observed {
        deleting: true,
        ..Observed::default()
    };
    assert_eq!(actions(&pod, &seen), [Action::Remove]);
}

#[test]
fn deadline_fails_the_pod_once() {
    let now = Instant::now();
    let seen = with(
        Observed {
            deadline: Some(now + Duration::from_secs(1)),
            ..up()
        },
        "a",
        running(),
    );
    assert_eq!(
        plan(&one("Always"), &seen, now).wake_at,
        Some(now + Duration::from_secs(1))
    );
    let got = plan(&one("Always"), &seen, now + Duration::from_secs(1)).actions;
    let [Action::Fail(failure)] = got.as_slice() else {
        panic!("{got:?}")
    };
    assert_eq!(failure.reason, "DeadlineExceeded");
    let failed = Observed {
        failure: Some(failure.clone()),
        ..seen
    };
    assert_eq!(plan(&one("Always"), &failed, now).actions, [stop("a", Stop::Pod)]);
}

#[test]
fn failed_pod_is_never_started_again() {
    let failure = Failure {
        reason: "SandboxLost".into(),
        message: String::new(),
    };
    let seen = with(
        Observed {
            failure: Some(failure),
            ..up()
        },
        "a",
        exited(137, Instant::now()),
    );
    assert_eq!(actions(&one("Always"), &seen), [Action::Remove]);
    assert_eq!(
        actions(
            &one("Always"),
            &Observed {
                sandbox: Step::Gone,
                ..seen
            }
        ),
        []
    );
    assert_eq!(
        actions(
            &one("Always"),
            &Observed {
                over: true,
                sandbox: Step::Gone,
                ..Observed::default()
            }
        ),
        []
    );
}

#[test]
fn two_main_containers_start_in_order_and_apart() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]}));
    assert_eq!(actions(&pod, &up()), [start("a"), start("b")]);
    let now = Instant::now();
    let seen = with(
        up(),
        "a",
        Seen {
            blocked_until: Some(now + Duration::from_secs(9)),
            ..Seen::default()
        },
    );
    assert_eq!(plan(&pod, &seen, now).actions, [start("b")]);
}
