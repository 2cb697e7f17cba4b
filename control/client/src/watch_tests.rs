//! The watch against a server that answers from a script.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http_body::Frame as BodyFrame;
use http_body_util::StreamBody;
use serde_json::json;
use tokio::time::Instant;

use super::*;
use crate::transport::{Body, BoxError, Transport};

/// What is asked for, status, lines, and whether the answer ends after them.
type Answer = (&'static str, u16, Vec<serde_json::Value>, bool);

#[derive(Clone)]
struct Script(Arc<Mutex<VecDeque<Answer>>>);

impl Transport for Script {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>, Error>> {
        let asked = request.uri().to_string();
        Box::pin(async move {
            let (wanted, code, lines, ends) = self.0.lock().unwrap().pop_front().expect("no more was expected");
            assert!(asked.contains(wanted), "{asked} instead of {wanted}");
            if code == 0 {
                return Err(Error::Answer("down".into()));
            }
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let first = stream::iter([Ok::<_, BoxError>(BodyFrame::data(Bytes::from(text)))]);
            let body = if ends {
                Body::new(StreamBody::new(first))
            } else {
                Body::new(StreamBody::new(first.chain(stream::pending())))
            };
            Ok(http::Response::builder().status(code).body(body).unwrap())
        })
    }
}

fn script(answers: Vec<Answer>) -> (BoxStream<'static, Event<PartialObject>>, Script) {
    let script = Script(Arc::new(Mutex::new(answers.into())));
    let pods = Resource {
        group: "",
        version: "v1",
        plural: "pods",
        kind: "Pod",
    };
    (watch(Client::new(script.clone()), Selection::all(pods)), script)
}

fn event(kind: &str, name: &str, revision: &str) -> serde_json::Value {
    json!({"type": kind, "object": {"metadata": {"name": name, "resourceVersion": revision}}})
}

fn bookmark(revision: &str, end: bool) -> serde_json::Value {
    let annotations = if end { json!({END: "true"}) } else { json!({}) };
    json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": revision, "annotations": annotations}}})
}

/// Events in short: `+a` for one of a list, `a` for a change, `-a` for a deletion.
async fn take(events: &mut BoxStream<'static, Event<PartialObject>>, count: usize) -> Vec<String> {
    let name = |it: PartialObject| it.metadata.name.unwrap_or_default();
    let short = |event| match event {
        Event::Init => "init".to_owned(),
        Event::InitApply(it) => format!("+{}", name(it)),
        Event::InitDone => "done".to_owned(),
        Event::Apply(it) => name(it),
        Event::Delete(it) => format!("-{}", name(it)),
    };
    events.take(count).map(short).collect().await
}

const STREAMED: &str = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&watch=true&allowWatchBookmarks=true";

#[tokio::test(start_paused = true)]
async fn goes_on_from_the_last_revision() {
    let list = vec![
        event("ADDED", "a", "3"),
        bookmark("5", true),
        event("MODIFIED", "a", "6"),
        bookmark("9", false),
    ];
    let (mut events, script) = script(vec![
        (STREAMED, 200, list, true),
        (
            "?resourceVersion=9&watch=true",
            200,
            vec![event("DELETED", "a", "10")],
            true,
        ),
        (
            "?resourceVersion=10&watch=true",
            200,
            vec![event("ADDED", "b", "12")],
            false,
        ),
    ]);
    assert_eq!(take(&mut events, 6).await, ["init", "+a", "done", "a", "-a", "b"]);
    let quiet = tokio::time::timeout(Duration::from_secs(600), events.next()).await;
    assert!(quiet.is_err() && script.0.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn lists_again_when_the_revision_is_too_old() {
    let gone = json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}});
    let (mut events, _) = script(vec![
        (STREAMED, 200, vec![bookmark("5", true), gone], true),
        (STREAMED, 200, vec![event("ADDED", "c", "7"), bookmark("8", true)], true),
        ("resourceVersion=8", 410, vec![json!({"code": 410})], true),
        (STREAMED, 200, vec![bookmark("20", true)], false),
    ]);
    let found = take(&mut events, 7).await;
    assert_eq!(found, ["init", "done", "init", "+c", "done", "init", "done"]);
}

#[tokio::test(start_paused = true)]
async fn lists_in_pages_where_the_server_does_not_stream_lists() {
    let page = |name: &str, next: &str| {
        vec![
            json!({"metadata": {"resourceVersion": "4", "continue": next}, "items": [{"metadata": {"name": name}}, 7]}),
        ]
    };
    let (mut events, _) = script(vec![
        (STREAMED, 422, vec![json!({"code": 422})], true),
        ("pods?limit=500", 200, page("a", "x y"), true),
        ("pods?limit=500&continue=x%20y", 200, page("b", ""), true),
        (
            "?resourceVersion=4&watch=true",
            200,
            vec![event("ADDED", "c", "5")],
            false,
        ),
    ]);
    assert_eq!(take(&mut events, 5).await, ["init", "+a", "+b", "done", "c"]);
}

#[tokio::test(start_paused = true)]
async fn waits_longer_while_the_server_is_away_and_begins_an_unfinished_list_anew() {
    let mut answers: Vec<Answer> = (0..10).map(|_| (STREAMED, 0, Vec::new(), true)).collect();
    answers.push((STREAMED, 200, vec![event("ADDED", "a", "1")], true));
    answers.push((
        STREAMED,
        200,
        vec![event("ADDED", "a", "1"), bookmark("1", true)],
        false,
    ));
    let (mut events, _) = script(answers);
    let before = Instant::now();
    assert_eq!(take(&mut events, 2).await, ["init", "+a"]);
    let waited = before.elapsed();
    assert!(
        waited > Duration::from_secs(10) && waited < Duration::from_secs(40),
        "{waited:?}"
    );
    assert_eq!(take(&mut events, 3).await, ["init", "+a", "done"]);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_given_up_loses_nothing() {
    let (mut events, _) = script(vec![
        (STREAMED, 0, Vec::new(), true),
        (STREAMED, 200, vec![bookmark("1", true)], false),
    ]);
    let soon = tokio::time::timeout(Duration::from_millis(5), events.next()).await;
    assert!(soon.is_err(), "it waits before it tries again");
    assert_eq!(take(&mut events, 2).await, ["init", "done"]);
}
