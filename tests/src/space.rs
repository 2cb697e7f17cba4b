//! kubectl and watches in one Kubernetes namespace of a node.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::{Background, Cluster, Ran, kubectl, words};

/// How long something that is about to become true may take on a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Objects of one kind, by name.
pub type Objects = BTreeMap<String, Value>;

/// One namespace.
#[derive(Clone)]
pub struct Space<'a> {
    /// Its node.
    pub cluster: &'a Cluster,
    name: String,
}

impl<'a> Space<'a> {
    pub(crate) fn new(cluster: &'a Cluster, name: &str) -> Self {
        let name = name.to_owned();
        Space { cluster, name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn line(&self, line: &str) -> String {
        format!("-n {} {line}", self.name)
    }

    /// Runs kubectl and gives its standard output; panics if it fails.
    pub fn kubectl(&self, line: &str) -> String {
        self.cluster.kubectl(&self.line(line))
    }

    /// Runs kubectl, whatever comes of it.
    pub fn try_kubectl(&self, line: &str) -> Ran {
        self.cluster.try_kubectl(&self.line(line))
    }

    /// kubectl beside the test.
    pub fn kubectl_beside(&self, line: &str) -> Background {
        self.cluster.kubectl_beside(&self.line(line))
    }

    /// Runs kubectl with a manifest or other text on its standard input, whatever comes of it.
    pub fn try_with(&self, line: &str, stdin: &str) -> Ran {
        // What begins with a brace kubectl takes for JSON; the tests' one-line manifests are YAML.
        let yaml = if stdin.starts_with('{') { "---\n" } else { "" };
        let mut command = self.cluster.client(kubectl());
        Ran::fed(command.args(words(&self.line(line))), &format!("{yaml}{stdin}"))
    }

    /// [`Space::try_with`] that must succeed.
    pub fn with(&self, line: &str, stdin: &str) -> String {
        self.try_with(line, stdin)
            .ok()
            .unwrap_or_else(|e| panic!("kubectl {line}: {e}\n{}", self.cluster.logs()))
    }

    /// `kubectl apply -f -`.
    pub fn apply(&self, manifest: &str) -> String {
        self.with("apply -f -", manifest)
    }

    /// An object (or a list) as JSON.
    pub fn get(&self, line: &str) -> Value {
        let text = self.kubectl(&format!("get -o json {line}"));
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// One field of an object.
    pub fn field(&self, object: &str, path: &str) -> String {
        self.kubectl(&format!("get {object} -o 'jsonpath={path}'"))
    }

    /// A script run by `sh` in a pod (`POD` or `POD -c CONTAINER`), whatever comes of it.
    pub fn try_sh(&self, pod: &str, script: &str) -> Ran {
        let mut command = self.cluster.client(kubectl());
        command.args(words(&self.line(&format!("exec {pod} -- sh -c"))));
        Ran::of(command.arg(script))
    }

    /// [`Space::try_sh`] that must succeed.
    pub fn sh(&self, pod: &str, script: &str) -> String {
        self.try_sh(pod, script)
            .ok()
            .unwrap_or_else(|e| panic!("in {pod}: {script}: {e}\n{}", self.cluster.logs()))
    }

    /// A pod whose one container `main` runs a script in the tools image; `more` are further fields of that container,
    /// each with a comma in front.
    pub fn script(&self, pod: &str, script: &str, more: &str) {
        let script = serde_json::to_string(script).expect("a string");
        self.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {pod}, labels: {{app: {pod}}}}}, spec: {{terminationGracePeriodSeconds: 1, \
             containers: [{{name: main, image: 'tools:1', command: [sh, -c, {script}]{more}}}]}}}}"
        ));
    }

    /// A pod of the tools image that sleeps, as soon as it is ready.
    pub fn sleeper(&self, pod: &str) {
        self.script(pod, "exec sleep 1000", "");
        self.ready(pod);
    }

    /// Watches the objects of a kind until they are as wanted, and gives them back. `query` is a resource, such as
    /// `pods`, or one with a selection: `pods?labelSelector=app%3Dweb`. Panics with what was there at the end.
    pub fn until(&self, query: &str, what: &str, wanted: impl Fn(&Objects) -> bool) -> Objects {
        let end = Instant::now() + LIMIT;
        let mut last = Objects::new();
        while Instant::now() < end {
            match self.watch(query, &mut last, &wanted, end) {
                Ok(true) => return last,
                Ok(false) => break,
                // The server was ended, or is not there yet.
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        let last = serde_json::to_string_pretty(&last).unwrap_or_default();
        panic!(
            "{what}: not within {LIMIT:?}; last seen: {last}\n{}",
            self.cluster.logs()
        );
    }

    /// One list and the watch that follows it; false when the time is over.
    fn watch(&self, query: &str, seen: &mut Objects, wanted: impl Fn(&Objects) -> bool, end: Instant) -> Result<bool> {
        let path = path(&self.name, query);
        let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let mut api = self.cluster.api()?;
        let list = api.json("GET", &path, None)?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        *seen = items.into_iter().map(|item| (name(&item), item)).collect();
        if wanted(seen) {
            return Ok(true);
        }
        let and = if path.contains('?') { '&' } else { '?' };
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let mut events = api.watch(&format!("{path}{and}watch=true&resourceVersion={version}"))?;
        loop {
            events.timeout(end.saturating_duration_since(Instant::now()))?;
            let event = match events.next() {
                Ok(event) => event,
                Err(_) if Instant::now() >= end => return Ok(false),
                Err(error) => return Err(error),
            };
            let object = event["object"].clone();
            match event["type"].as_str() {
                Some("DELETED") => drop(seen.remove(&name(&object))),
                Some("ADDED" | "MODIFIED") => drop(seen.insert(name(&object), object)),
                _ => anyhow::bail!("{event}"),
            }
            if wanted(seen) {
                return Ok(true);
            }
        }
    }

    /// Watches one object (`pods/web`) until it is as wanted, and gives it back.
    pub fn until_one(&self, object: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let (kind, name) = object.split_once('/').expect("kind/name");
        let query = format!("{kind}?fieldSelector=metadata.name%3D{name}");
        let found = self.until(&query, &format!("{object}: {what}"), |all| all.values().any(&wanted));
        found.into_values().next().expect("it was there")
    }

    /// Watches until an object is gone.
    pub fn until_gone(&self, object: &str) {
        let (kind, name) = object.split_once('/').expect("kind/name");
        let query = format!("{kind}?fieldSelector=metadata.name%3D{name}");
        self.until(&query, &format!("{object} goes"), |all| all.is_empty());
    }

    /// Waits for a pod to be ready.
    pub fn ready(&self, pod: &str) -> Value {
        self.until_one(&format!("pods/{pod}"), "ready", is_ready)
    }

    /// Waits until so many pods of a label `app` are ready, and no others are there. Gives them back.
    pub fn pods(&self, app: &str, count: usize) -> Objects {
        let query = format!("pods?labelSelector=app%3D{app}");
        let all_ready = |all: &Objects| all.len() == count && all.values().all(is_ready);
        self.until(&query, &format!("{count} ready pods of {app}"), all_ready)
    }

    /// Waits for an event about an object whose reason or message has these words, and gives its message.
    pub fn event(&self, object: &str, words: &str) -> String {
        let about = |event: &Value| {
            event["involvedObject"]["name"] == *object
                && [&event["reason"], &event["message"]]
                    .iter()
                    .any(|text| text.as_str().is_some_and(|text| text.contains(words)))
        };
        let found = self.until("events", &format!("an event about {object} with {words:?}"), |all| {
            all.values().any(about)
        });
        let event = found.values().find(|event| about(event)).expect("just seen");
        event["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// Whether a pod's condition Ready holds, and nobody has deleted it.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let ready = conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}

/// Where the API has the objects of a resource.
fn path(namespace: &str, query: &str) -> String {
    let resource = query.split('?').next().unwrap_or(query);
    let group = match resource {
        "deployments" | "replicasets" => "apis/apps/v1",
        "endpointslices" => "apis/discovery.k8s.io/v1",
        "leases" => "apis/coordination.k8s.io/v1",
        _ => "api/v1",
    };
    match resource {
        "nodes" | "namespaces" => format!("/{group}/{query}"),
        _ => format!("/{group}/namespaces/{namespace}/{query}"),
    }
}
