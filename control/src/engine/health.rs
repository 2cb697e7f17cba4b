//! `/healthz`, `/livez`, `/readyz`: checks that people and probes ask for, by the names that kube-apiserver gives them.

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Response};

use super::body::Body;
use super::request::Request;
use super::{Engine, reply};

/// How long the store may take to say where it is.
const PATIENCE: Duration = Duration::from_secs(2);
const NO_SNIFF: (HeaderName, HeaderValue) = (
    http::header::X_CONTENT_TYPE_OPTIONS,
    HeaderValue::from_static("nosniff"),
);

/// What a check depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// That somebody answers.
    Nothing,
    /// That the store answers, and what is in memory is what it has.
    Store,
    /// That the cluster has its first objects.
    Bootstrap,
    /// That the process is not about to end.
    Future,
}

/// In the order in which they are shown; those of the second list are about readiness only. What kube-apiserver starts
/// after its first answer is there or not as a whole here: such checks wait for the same.
const CHECKS: [(&str, Needs); 29] = [
    ("ping", Needs::Nothing),
    ("log", Needs::Nothing),
    ("etcd", Needs::Store),
    ("poststarthook/start-apiserver-admission-initializer", Needs::Store),
    ("poststarthook/generic-apiserver-start-informers", Needs::Store),
    ("poststarthook/priority-and-fairness-config-consumer", Needs::Store),
    ("poststarthook/priority-and-fairness-filter", Needs::Nothing),
    ("poststarthook/storage-object-count-tracker-hook", Needs::Nothing),
    ("poststarthook/start-apiextensions-informers", Needs::Store),
    ("poststarthook/start-apiextensions-controllers", Needs::Store),
    ("poststarthook/crd-informer-synced", Needs::Store),
    ("poststarthook/start-system-namespaces-controller", Needs::Bootstrap),
    (
        "poststarthook/start-cluster-authentication-info-controller",
        Needs::Bootstrap,
    ),
    (
        "poststarthook/start-kube-apiserver-identity-lease-controller",
        Needs::Bootstrap,
    ),
    (
        "poststarthook/start-kube-apiserver-identity-lease-garbage-collector",
        Needs::Bootstrap,
    ),
    ("poststarthook/start-legacy-token-tracking-controller", Needs::Bootstrap),
    ("poststarthook/rbac/bootstrap-roles", Needs::Bootstrap),
    (
        "poststarthook/scheduling/bootstrap-system-priority-classes",
        Needs::Bootstrap,
    ),
    ("poststarthook/priority-and-fairness-config-producer", Needs::Bootstrap),
    ("poststarthook/bootstrap-controller", Needs::Bootstrap),
    ("poststarthook/start-kube-aggregator-informers", Needs::Store),
    (
        "poststarthook/apiservice-status-local-available-controller",
        Needs::Bootstrap,
    ),
    (
        "poststarthook/apiservice-status-remote-available-controller",
        Needs::Bootstrap,
    ),
    ("poststarthook/apiservice-registration-controller", Needs::Bootstrap),
    ("poststarthook/apiservice-discovery-controller", Needs::Bootstrap),
    ("poststarthook/kube-apiserver-autoregistration", Needs::Bootstrap),
    ("autoregister-completion", Needs::Bootstrap),
    ("poststarthook/apiservice-openapi-controller", Needs::Bootstrap),
    ("poststarthook/apiservice-openapiv3-controller", Needs::Bootstrap),
];
const READINESS: [(&str, Needs); 3] = [
    ("etcd-readiness", Needs::Store),
    ("informer-sync", Needs::Store),
    ("shutdown", Needs::Future),
];

impl Engine {
    /// `check` is empty for all, or the name of one check.
    pub(super) async fn health(&self, request: &Request, endpoint: &str, check: &str) -> Response<Body> {
        let more: &[(&str, Needs)] = if endpoint == "readyz" { &READINESS } else { &[] };
        let mut checks = CHECKS.iter().chain(more);
        if !check.is_empty() {
            let Some((_, needs)) = checks.find(|(name, _)| *name == check) else {
                return reply::text(404, "404 page not found\n");
            };
            let store = match needs {
                Needs::Store => self.store_trouble().await,
                _ => None,
            };
            return match self.trouble(*needs, store.as_deref()) {
                None => reply::text(200, "ok"),
                Some(why) => told(500, format!("internal server error: {why}\n")),
            };
        }
        let store = self.store_trouble().await;
        let mut excluded: Vec<&str> = request.query.all("exclude").collect();
        excluded.sort_unstable();
        excluded.dedup();
        let (mut lines, mut passed) = (String::new(), true);
        for (name, needs) in checks {
            let before = excluded.len();
            excluded.retain(|excluded| excluded != name);
            // Writing to a text does not fail.
            let _ = if excluded.len() < before {
                writeln!(lines, "[+]{name} excluded: ok")
            } else if let Some(why) = self.trouble(*needs, store.as_deref()) {
                passed = false;
                // Everybody may ask: why is for those who may read the log, or the check alone.
                tracing::warn!(endpoint, check = name, why, "a health check failed");
                writeln!(lines, "[-]{name} failed: reason withheld")
            } else {
                writeln!(lines, "[+]{name} ok")
            };
        }
        if !excluded.is_empty() {
            let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
            let names = names.join(",");
            let _ = writeln!(
                lines,
                "warn: some health checks cannot be excluded: no matches for {names}"
            );
        }
        match passed {
            false => told(500, format!("{lines}{endpoint} check failed\n")),
            true if request.query.get("verbose").is_some() => told(200, format!("{lines}{endpoint} check passed\n")),
            true => told(200, "ok".to_owned()),
        }
    }

    /// Why a check fails.
    fn trouble<'a>(&self, needs: Needs, store: Option<&'a str>) -> Option<&'a str> {
        match needs {
            Needs::Nothing => None,
            Needs::Store => store,
            Needs::Bootstrap => (!self.is_ready()).then_some("not finished"),
            Needs::Future => self.is_stopping().then_some("process is shutting down"),
        }
    }

    async fn store_trouble(&self) -> Option<String> {
        match tokio::time::timeout(PATIENCE, self.store.current()).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(super::chain(&*error)),
            Err(_) => Some(format!("no answer of the store within {} s", PATIENCE.as_secs())),
        }
    }
}

fn told(code: u16, text: String) -> Response<Body> {
    let mut response = reply::text(code, text);
    let (name, value) = NO_SNIFF;
    response.headers_mut().insert(name, value);
    response
}
