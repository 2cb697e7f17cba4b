//! Looks whether the servers that APIServices name are there, notes what they serve, and lists what this server itself
//! serves as APIServices too.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use barepod_store::{Event, Object};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use serde_json::{Value, json};

use super::{Condition, Keeper, place, settled, tell};
use crate::engine::aggregate::{Aggregated, Discovered};
use crate::engine::{Engine, parse};
use crate::http::{Extension, aggregate};
use crate::internal::call;

/// The keeper. Its keys are names of APIServices.
pub(super) struct ApiServices;

const API_SERVICES: &str = "/apiregistration.k8s.io/apiservices/";
const DEFINITIONS: &str = "/apiextensions.k8s.io/customresourcedefinitions/";
const SERVICES: &str = "/services/";
const SLICES: &str = "/discovery.k8s.io/endpointslices/";
const COLLECTION: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
/// The label of APIServices that come and go with what they name.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// How often a server is asked whether it is still there.
const INTERVAL: Duration = Duration::from_secs(30);
/// How soon one that is not there is asked again.
const RETRY: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of an answer is read.
const ANSWER_BYTES: usize = 8 << 20;
/// Discovery in one document.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

impl Keeper for ApiServices {
    fn prefixes(&self) -> &'static [&'static str] {
        &[API_SERVICES, DEFINITIONS, SERVICES, SLICES]
    }

    fn keys(&self, engine: &Engine, event: &Event) -> Vec<String> {
        concerned(engine, &event.object)
    }

    fn first(&self, engine: &Engine, object: &Arc<Object>) -> Vec<String> {
        match object.key() {
            key if key.starts_with(API_SERVICES) || key.starts_with(DEFINITIONS) => concerned(engine, object),
            _ => Vec::new(),
        }
    }

    fn keep<'a>(&'a self, engine: &'a Arc<Engine>, key: &'a str) -> BoxFuture<'a, anyhow::Result<Option<Duration>>> {
        Box::pin(keep(engine, key))
    }
}

/// The names of the APIServices that an object matters to.
fn concerned(engine: &Engine, object: &Object) -> Vec<String> {
    let key = object.key();
    if let Some(name) = key.strip_prefix(API_SERVICES) {
        return vec![name.to_owned()];
    }
    if key.starts_with(DEFINITIONS) {
        let spec = &parse(object)["spec"];
        let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let name = |version: &Value| Some(format!("{}.{}", version["name"].as_str()?, spec["group"].as_str()?));
        return versions.iter().filter_map(name).collect();
    }
    let (namespace, service) = if let Some((namespace, service)) = place(SERVICES, key) {
        (namespace, service.to_owned())
    } else if let Some((namespace, _)) = place(SLICES, key) {
        let service = &parse(object)["metadata"]["labels"]["kubernetes.io/service-name"];
        (namespace, service.as_str().unwrap_or("").to_owned())
    } else {
        return Vec::new();
    };
    let named = engine.stored(API_SERVICES);
    let served = named.iter().filter_map(|object| Aggregated::read(&parse(object)));
    served
        .filter(|it| it.namespace == namespace && it.service == service)
        .map(|it| it.name)
        .collect()
}

async fn keep(engine: &Arc<Engine>, name: &str) -> anyhow::Result<Option<Duration>> {
    let path = format!("{COLLECTION}/{name}");
    let (code, object) = call(engine, "GET", &path, "", None).await?;
    let local = defined(engine, name);
    if code == 404 {
        engine.set_discovered(name, None);
        if local {
            register(engine, name, true).await?;
        }
        return Ok(None);
    }
    let Some(aggregated) = Aggregated::read(&object) else {
        engine.set_discovered(name, None);
        if !local && object["metadata"]["labels"][MANAGED] == "true" {
            let (code, answer) = call(engine, "DELETE", &path, "", None).await?;
            settled(code, &answer, "remove the APIService of a definition that is gone")?;
        }
        return Ok(None);
    };
    let (status, reason, message, found) = match look(engine, &aggregated).await {
        Ok(found) => ("True", "Passed", "all checks passed".to_owned(), Some(found)),
        Err(Missing { reason, message }) => ("False", reason, message, None),
    };
    let available = found.is_some();
    engine.set_discovered(name, found);
    let condition = Condition {
        type_: "Available",
        status,
        reason,
        message: &message,
    };
    tell(engine, "kube-aggregator", &path, &object, condition).await?;
    Ok(Some(if available { INTERVAL } else { RETRY }))
}

/// Whether a definition of custom resources serves what the APIService names.
fn defined(engine: &Engine, name: &str) -> bool {
    let Some((version, group)) = name.split_once('.') else {
        return false;
    };
    engine.serves_custom(group, version)
}

/// Makes an APIService of something that this server itself serves.
async fn register(engine: &Engine, name: &str, managed: bool) -> anyhow::Result<()> {
    let (version, group) = name.split_once('.').context("an APIService is named version.group")?;
    let labels = json!({ MANAGED: if managed { "true" } else { "onstart" } });
    // As kube-aggregator ranks them: the built-in groups before all others.
    let (groups, versions) = if managed { (1000, 100) } else { (17_800, 15) };
    let object = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name, "labels": labels},
        "spec": {"group": group, "version": version, "groupPriorityMinimum": groups, "versionPriority": versions},
    });
    let (code, answer) = call(engine, "POST", COLLECTION, "application/json", Some(&object)).await?;
    settled(code, &answer, "make the APIService of what is served here")
}

/// Makes the APIServices of what is built in.
pub(super) async fn register_built_in(engine: &Engine) -> anyhow::Result<()> {
    let versions = engine.registry().versions();
    let present = engine.stored(API_SERVICES);
    let names = versions
        .into_iter()
        .map(|(group, version)| format!("{version}.{group}"));
    let absent = names.filter(|name| !present.iter().any(|object| object.key().ends_with(&format!("/{name}"))));
    let made = absent.map(|name| async move { register(engine, &name, false).await });
    futures_util::future::try_join_all(made).await?;
    Ok(())
}

/// What is not there, as the condition tells it.
struct Missing {
    reason: &'static str,
    message: String,
}

/// Looks for the server and asks it what it serves.
async fn look(engine: &Engine, of: &Aggregated) -> Result<Discovered, Missing> {
    let missing = |reason, message| Missing { reason, message };
    if engine.lookup("", "services", &of.namespace, &of.service).is_err() {
        let message = format!("service/{} in {:?} is not present", of.service, of.namespace);
        return Err(missing("ServiceNotFound", message));
    }
    let extension = of
        .extension(engine)
        .map_err(|error| missing("MissingEndpoints", error.message))?;
    let asked = discover(engine, of, &extension);
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(missing(
            "FailedDiscoveryCheck",
            format!("failing or missing response: {error:#}"),
        )),
        Err(_) => Err(missing("FailedDiscoveryCheck", "no response in 5 seconds".to_owned())),
    }
}

async fn discover(engine: &Engine, of: &Aggregated, extension: &Extension) -> anyhow::Result<Discovered> {
    let plain = get(
        engine,
        extension,
        &format!("/apis/{}/{}", of.group, of.version),
        "application/json",
    )
    .await?;
    let found = get(engine, extension, "/apis", AGGREGATED)
        .await
        .ok()
        .and_then(|list| Discovered::aggregated(of, &list))
        .unwrap_or_else(|| Discovered::plain(of, &plain));
    // Not every server has documents of version 3.
    let index = get(engine, extension, "/openapi/v3", "application/json").await;
    let found = found.documented(&index.unwrap_or_default());
    let before = engine.discovered_before(&of.name);
    match before.filter(|before| !found.openapi.is_empty() && before.openapi == found.openapi) {
        // The whole document is large: it is read again only when version 3 says that something changed.
        Some(before) => Ok(Discovered {
            openapi_v2: before.openapi_v2.clone(),
            ..found
        }),
        None => {
            let document = get(engine, extension, "/openapi/v2", "application/json").await;
            Ok(found.documented_v2(&document.unwrap_or_default()))
        }
    }
}

async fn get(engine: &Engine, extension: &Extension, path: &str, accept: &str) -> anyhow::Result<Value> {
    let mut request = Request::get(path)
        .body(Empty::<Bytes>::new())
        .context("build a request")?;
    let headers = request.headers_mut();
    headers.insert(
        header::HOST,
        HeaderValue::from_str(&extension.name).context("name the host")?,
    );
    headers.insert(header::ACCEPT, HeaderValue::from_str(accept).context("name the form")?);
    headers.insert(aggregate::USER, HeaderValue::from_static("system:kube-aggregator"));
    headers.insert(aggregate::GROUP, HeaderValue::from_static("system:masters"));
    let response = engine.extensions().call(extension, request).await;
    let response = response.with_context(|| format!("get {path}"))?;
    if !response.status().is_success() {
        bail!("get {path}: {}", response.status());
    }
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("read the answer of {path}: {error}"))?;
    serde_json::from_slice(&body.to_bytes()).with_context(|| format!("parse the answer of {path}"))
}
