//! `/healthz`, `/livez`, `/readyz`: checks that people and probes ask for.

use http::Response;

use super::body::Body;
use super::request::Request;
use super::{Engine, reply};

impl Engine {
    /// `check` is empty for all, or the name of one check.
    pub(super) fn health(&self, request: &Request, endpoint: &str, check: &str) -> Response<Body> {
        let ready = self.is_ready();
        let mut checks = vec![("ping", true), ("store", true)];
        if endpoint == "readyz" {
            checks.push(("bootstrap", ready));
        }
        if !check.is_empty() {
            return match checks.iter().find(|(name, _)| *name == check) {
                Some((_, true)) => reply::text(200, "ok"),
                Some((_, false)) => reply::text(500, "internal server error: not ready yet"),
                None => reply::text(404, "404 page not found\n"),
            };
        }
        let excluded: Vec<&str> = request.query.all("exclude").collect();
        checks.retain(|(name, _)| !excluded.contains(name));
        let passed = checks.iter().all(|(_, ok)| *ok);
        if passed && request.query.get("verbose").is_none() {
            return reply::text(200, "ok");
        }
        let mut text = String::new();
        for (name, ok) in &checks {
            text.push_str(&if *ok {
                format!("[+]{name} ok\n")
            } else {
                format!("[-]{name} failed: not ready yet\n")
            });
        }
        text.push_str(&format!(
            "{endpoint} check {}\n",
            if passed { "passed" } else { "failed" }
        ));
        reply::text(if passed { 200 } else { 500 }, text)
    }
}
