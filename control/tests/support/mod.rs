//! An engine over a store in a temporary directory, called without a socket.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod hook;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use barepod_control::access::Tokens;
use barepod_control::bootstrap::{Bootstrap, bootstrap};
use barepod_control::engine::Engine;
use barepod_control::engine::body::Body;
use barepod_control::engine::identity::User;
use barepod_control::engine::request::Request;
use barepod_kinds::Settings;
use barepod_store::{Embedded, Options};
use http_body_util::BodyExt;
use serde_json::{Value, json};

pub struct Api {
    pub engine: Arc<Engine>,
    pub store: Arc<Embedded>,
    directory: PathBuf,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub warnings: Vec<String>,
    pub value: Value,
}

impl Answer {
    /// `reason` and `message` of a Status.
    pub fn status(&self) -> (u16, &str, &str) {
        (
            self.code,
            self.value["reason"].as_str().unwrap_or(""),
            self.value["message"].as_str().unwrap_or(""),
        )
    }

    pub fn ok(self) -> Value {
        assert!(self.code < 300, "{}", self.value);
        self.value
    }
}

/// A watch, line by line.
pub struct Watch {
    body: Body,
    lines: Vec<Value>,
}

impl Watch {
    /// Type and object of the next event; `None` at the end.
    pub async fn next(&mut self) -> Option<(String, Value)> {
        while self.lines.is_empty() {
            let frame = tokio::time::timeout(Duration::from_secs(300), self.body.frame()).await;
            let data = frame.expect("an event in time")?.unwrap().into_data().unwrap();
            let lines = data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            self.lines = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
        }
        let mut line = self.lines.remove(0);
        Some((line["type"].as_str().unwrap().to_owned(), line["object"].take()))
    }

    /// Type and name of the next events.
    pub async fn names(&mut self, number: usize) -> Vec<String> {
        let mut names = Vec::new();
        for _ in 0..number {
            let (type_, object) = self.next().await.expect("another event");
            names.push(format!("{type_} {}", object["metadata"]["name"].as_str().unwrap_or("")));
        }
        names
    }

    /// Whether nothing more comes for a moment.
    pub async fn quiet(&mut self) -> bool {
        self.lines.is_empty()
            && tokio::time::timeout(Duration::from_millis(50), self.body.frame())
                .await
                .is_err()
    }
}

impl Api {
    pub async fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("barepodtest-engine-{}-{number}", std::process::id()));
        let store = Arc::new(Embedded::open(Options::new(&directory.join("store.redb"))).unwrap());
        let engine = Arc::new(Engine::new(
            store.clone(),
            Settings::default(),
            Tokens::ephemeral().unwrap(),
        ));
        let api = Api {
            engine,
            store,
            directory,
        };
        for name in ["default", "kube-system"] {
            api.post("/api/v1/namespaces", json!({"metadata": {"name": name}}))
                .await
                .ok();
        }
        api.post(
            "/api/v1/namespaces/default/serviceaccounts",
            json!({"metadata": {"name": "default"}}),
        )
        .await
        .ok();
        api
    }

    /// With what every cluster has from the start.
    pub async fn bootstrapped() -> Self {
        let api = Self::new().await;
        api.bootstrap().await;
        api
    }

    pub async fn bootstrap(&self) {
        let plan = Bootstrap {
            service_cidr: ([10, 96, 0, 0].into(), 16),
            service_address: [10, 96, 0, 1].into(),
            advertise: [192, 0, 2, 1].into(),
            port: 6443,
        };
        bootstrap(&self.engine, &plan).await.unwrap();
    }

    pub async fn raw(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> http::Response<Body> {
        let user = User::new("admin", vec!["system:masters".into()]);
        self.raw_as(&user, method, path, headers, body).await
    }

    pub async fn raw_as(
        &self,
        user: &User,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> http::Response<Body> {
        let mut builder = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (parts, ()) = builder.body(()).unwrap().into_parts();
        let user = Arc::new(user.clone());
        self.engine.handle(Request::new(&parts, user, body.into())).await
    }

    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        Self::answer(self.raw(method, path, headers, body).await).await
    }

    /// A request with a JSON body, or without one, of somebody.
    pub async fn call_as(&self, user: &User, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let content_type = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let headers = [("content-type", content_type), ("user-agent", "tester/1.0 (linux)")];
        Self::answer(self.raw_as(user, method, path, &headers, body).await).await
    }

    /// A request with these headers over a connection without a certificate, or with one of `certificate`.
    pub async fn call_with(
        &self,
        certificate: Option<&User>,
        headers: &[(&str, &str)],
        method: &str,
        path: &str,
        body: Value,
    ) -> Answer {
        let certificate = Arc::new(certificate.cloned().unwrap_or_else(User::anonymous));
        let mut map = http::HeaderMap::new();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            map.append(name, value.parse().unwrap());
        }
        match self.engine.identify(&certificate, &map) {
            Ok(user) => self.call_as(&user, method, path, body).await,
            Err(error) => Answer {
                code: error.code,
                warnings: Vec::new(),
                value: error.to_value(),
            },
        }
    }

    async fn answer(response: http::Response<Body>) -> Answer {
        let code = response.status().as_u16();
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings.map(|value| value.to_str().unwrap().to_owned()).collect();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let value = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into());
        Answer { code, warnings, value }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], Vec::new()).await
    }

    pub async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.call("GET", path, &[("accept", accept)], Vec::new()).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.json("POST", path, "application/json", body).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.json("PUT", path, "application/json", body).await
    }

    pub async fn patch(&self, path: &str, type_: &str, body: Value) -> Answer {
        let type_ = format!("application/{type_}");
        self.json("PATCH", path, &type_, body).await
    }

    pub async fn delete(&self, path: &str, body: Value) -> Answer {
        self.json("DELETE", path, "application/json", body).await
    }

    pub async fn json(&self, method: &str, path: &str, content_type: &str, body: Value) -> Answer {
        let headers = [("content-type", content_type), ("user-agent", "tester/1.0 (linux)")];
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        self.call(method, path, &headers, body).await
    }

    pub async fn watch(&self, path: &str, accept: &str) -> Watch {
        let response = self.raw("GET", path, &[("accept", accept)], Vec::new()).await;
        assert_eq!(response.status(), 200, "{path}");
        Watch {
            body: response.into_body(),
            lines: Vec::new(),
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.store.close();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/api/v1/namespaces/default/pods";

pub fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]},
    })
}

pub fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}
