//! Discovery: which groups, versions and resources are served.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use barepod_schema::openapi;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde::Serialize;
use serde_json::{Value, json};

use super::aggregate::Discovered;
use super::body::Body;
use super::custom::State;
use super::encode::to_bytes;
use super::registry::{Kind, Registry};
use super::request::Request;
use super::status::{ApiError, ApiResult};
use super::{Engine, reply, version};

/// Where groups are found.
pub(super) const ROOTS: [&str; 2] = ["/api", "/apis"];
/// Paths that are neither groups nor resources.
pub(super) const OTHERS: [&str; 7] = [
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/readyz",
    "/version",
];

/// Documents that depend only on what is served.
pub(super) struct Documents {
    served: Served,
    core_aggregated: Bytes,
    aggregated: Bytes,
    groups: Value,
    openapi: openapi::Documents,
    openapi_index: Bytes,
}

/// What is served, here and by other servers.
struct Served {
    kinds: Vec<Arc<Kind>>,
    foreign: Vec<Arc<Discovered>>,
}

/// The documents of what is served now.
pub(super) struct Current {
    built: Arc<Documents>,
    /// With the custom kinds and the other servers of some state.
    latest: Mutex<((State, u64), Arc<Documents>)>,
}

impl Current {
    pub(super) fn new(registry: &Registry) -> Self {
        let openapi = openapi::Documents::new(&|resource| registry.serves(resource));
        let kinds = registry.kinds().to_vec();
        let foreign = Vec::new();
        let built = Arc::new(Documents::new(Served { kinds, foreign }, openapi));
        Current {
            latest: Mutex::new(((State::new(), 0), built.clone())),
            built,
        }
    }
}

impl Engine {
    /// The documents of what is served now.
    pub(super) fn documents(&self) -> Arc<Documents> {
        let (customs_state, customs) = self.custom_kinds();
        let (generation, foreign) = self.foreign();
        let state = (customs_state, generation);
        let mut latest = self.discovery.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.0 != state {
            let built = &self.discovery.built;
            let documents = if customs.is_empty() && foreign.is_empty() {
                built.clone()
            } else {
                let documented = customs.iter().filter_map(|kind| kind.documented()).collect();
                let parts = foreign.iter().filter_map(|foreign| foreign.openapi_v2.clone());
                let openapi = built.openapi.with(documented, parts.collect());
                let kinds = built.served.kinds.iter().cloned().chain(customs).collect();
                Arc::new(Documents::new(Served { kinds, foreign }, openapi))
            };
            *latest = (state, documents);
        }
        latest.1.clone()
    }
}

impl Documents {
    fn new(served: Served, openapi: openapi::Documents) -> Self {
        let names = served.groups();
        let others = || names.iter().copied().filter(|group| !group.is_empty());
        let named: Vec<Value> = others().map(|name| served.group(name)).collect();
        let aggregated = |names: &mut dyn Iterator<Item = &str>| {
            let items: Vec<Value> = names.map(|name| served.aggregated_group(name)).collect();
            let list = json!({
                "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
            });
            Bytes::from(to_bytes(&list, false))
        };
        let mut index = openapi.v3_index();
        for foreign in served.foreign.iter().filter(|foreign| !foreign.openapi.is_empty()) {
            let path = foreign.path();
            let url = format!("/openapi/v3/{path}{}", foreign.openapi);
            index.insert(path, json!({ "serverRelativeURL": url }));
        }
        Documents {
            core_aggregated: aggregated(&mut std::iter::once("")),
            aggregated: aggregated(&mut others()),
            groups: json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": named}),
            openapi_index: to_bytes(&json!({ "paths": index }), false).into(),
            openapi,
            served,
        }
    }

    pub(super) fn openapi(&self) -> &openapi::Documents {
        &self.openapi
    }

    /// What `/openapi/v3` lists.
    pub(super) fn openapi_index(&self) -> Bytes {
        self.openapi_index.clone()
    }
}

impl Served {
    /// The groups in the order of discovery.
    fn groups(&self) -> Vec<&str> {
        let kinds = self.kinds.iter().map(|kind| &*kind.resource.group);
        let foreign = self.foreign.iter().map(|foreign| &*foreign.group);
        let mut groups: Vec<&str> = Vec::new();
        for group in kinds.chain(foreign) {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        groups
    }

    /// The versions of a group, the preferred one first.
    fn versions<'a>(&'a self, group: &'a str) -> Vec<&'a str> {
        let kinds = self.kinds.iter().filter(|kind| kind.resource.group == group);
        let mut versions: Vec<&str> = Vec::new();
        for version in kinds
            .map(|kind| &*kind.resource.version)
            .chain(self.foreign_of(group).map(|foreign| &*foreign.version))
        {
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        versions
    }

    fn foreign_of<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a Arc<Discovered>> {
        self.foreign.iter().filter(move |foreign| foreign.group == group)
    }

    fn group(&self, name: &str) -> Value {
        let versions: Vec<Value> = self
            .versions(name)
            .into_iter()
            .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
            .collect();
        json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
    }

    fn aggregated_group(&self, name: &str) -> Value {
        let version = |version: &str| {
            let in_version = |kind: &&Arc<Kind>| kind.resource.group == name && kind.resource.version == version;
            let resources: Vec<Value> = self
                .kinds
                .iter()
                .filter(in_version)
                .map(|kind| aggregated_resource(kind))
                .collect();
            match self.foreign_of(name).find(|foreign| foreign.version == version) {
                Some(foreign) if resources.is_empty() => foreign.resources.clone(),
                _ => json!({"version": version, "freshness": "Current", "resources": resources}),
            }
        };
        let versions: Vec<Value> = self.versions(name).into_iter().map(version).collect();
        let metadata = if name.is_empty() {
            json!({"creationTimestamp": null})
        } else {
            json!({"name": name, "creationTimestamp": null})
        };
        json!({"metadata": metadata, "versions": versions})
    }
}

/// An `APIResourceList`, its fields in the order that clients which search its text have always found them in.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceList<'a> {
    kind: &'static str,
    api_version: &'static str,
    group_version: String,
    resources: Vec<ResourceRow<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceRow<'a> {
    name: Cow<'a, str>,
    singular_name: &'a str,
    namespaced: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    kind: &'a str,
    verbs: &'a [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    short_names: &'a [Cow<'static, str>],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    categories: &'a [Cow<'static, str>],
    #[serde(skip_serializing_if = "String::is_empty")]
    storage_version_hash: String,
}

fn resource_list<'a>(kinds: &'a [Arc<Kind>], group: &str, version: &str) -> Option<ResourceList<'a>> {
    let mut resources = Vec::new();
    let in_version = |kind: &&Arc<Kind>| kind.resource.group == group && kind.resource.version == version;
    for kind in kinds.iter().filter(in_version) {
        let facts = &*kind.resource;
        // What is not stored can be asked for or made, but not both.
        let stored = ["get", "create"].iter().all(|verb| facts.verbs.contains(verb));
        resources.push(ResourceRow {
            name: Cow::Borrowed(&facts.plural),
            singular_name: &facts.singular,
            namespaced: facts.namespaced,
            group: "",
            version: "",
            kind: &facts.kind,
            verbs: &facts.verbs,
            short_names: &facts.short_names,
            categories: &facts.categories,
            storage_version_hash: if stored { storage_hash(kind) } else { String::new() },
        });
        for subresource in facts
            .subresources
            .iter()
            .filter(|subresource| kind.has_subresource(subresource.name))
        {
            let same = (&subresource.group, &subresource.version) == (&facts.group, &facts.version);
            resources.push(ResourceRow {
                name: Cow::Owned(format!("{}/{}", facts.plural, subresource.name)),
                singular_name: "",
                namespaced: facts.namespaced,
                group: if same { "" } else { &subresource.group },
                version: if same { "" } else { &subresource.version },
                kind: &subresource.kind,
                verbs: &subresource.verbs,
                short_names: &[],
                categories: &[],
                storage_version_hash: String::new(),
            });
        }
    }
    if resources.is_empty() {
        return None;
    }
    Some(ResourceList {
        kind: "APIResourceList",
        api_version: "v1",
        group_version: if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        },
        resources,
    })
}

/// What clients compare to see that objects are stored in another version than before: the first bytes of the digest of
/// `group/version/kind`, which kube-apiserver makes the same way.
fn storage_hash(kind: &Kind) -> String {
    use base64::Engine as _;
    let (group, version) = kind.stored_as();
    let named = format!("{group}/{version}/{}", kind.resource.kind);
    let digest = ring::digest::digest(&ring::digest::SHA256, named.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&digest.as_ref()[..8])
}

/// FNV-1a, see RFC 9923.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn aggregated_resource(kind: &Kind) -> Value {
    let facts = &*kind.resource;
    let mut row = json!({
        "resource": facts.plural, "singularResource": facts.singular, "verbs": facts.verbs,
        "scope": if facts.namespaced { "Namespaced" } else { "Cluster" },
        "responseKind": {"group": facts.group, "version": facts.version, "kind": facts.kind},
    });
    if !facts.short_names.is_empty() {
        row["shortNames"] = json!(facts.short_names);
    }
    if !facts.categories.is_empty() {
        row["categories"] = json!(facts.categories);
    }
    let subresources: Vec<Value> = facts
        .subresources
        .iter()
        .filter(|subresource| kind.has_subresource(subresource.name))
        .map(|subresource| {
            json!({
                "subresource": subresource.name, "verbs": subresource.verbs,
                "responseKind": {
                    "group": subresource.group, "version": subresource.version, "kind": subresource.kind,
                },
            })
        })
        .collect();
    if !subresources.is_empty() {
        row["subresources"] = subresources.into();
    }
    row
}

impl Engine {
    /// A document about the keys that check tokens; it may be kept for a while.
    fn openid(&self, document: Value, media: &'static str) -> Response<Body> {
        let mut response = reply::json(200, Bytes::from(document.to_string()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
        response
    }

    /// Paths that are no resources.
    pub(super) async fn plain_path(&self, request: &Request) -> ApiResult<Response<Body>> {
        if !matches!(request.method, http::Method::GET | http::Method::HEAD) {
            return Err(ApiError::method_not_allowed());
        }
        let segments: Vec<&str> = request.path.split('/').filter(|segment| !segment.is_empty()).collect();
        let aggregated = |bytes: &Bytes, version: &str| {
            let text = if version == "v2" {
                bytes.clone()
            } else {
                Bytes::from(
                    String::from_utf8_lossy(bytes).replace("apidiscovery.k8s.io/v2\"", "apidiscovery.k8s.io/v2beta1\""),
                )
            };
            let etag = format!("{:016X}", fnv(&text));
            let mut response = reply::tagged(request, &etag, || reply::json(200, text));
            let media = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
            if let Ok(media) = HeaderValue::from_str(&media) {
                response.headers_mut().insert(header::CONTENT_TYPE, media);
            }
            response
                .headers_mut()
                .insert(header::VARY, HeaderValue::from_static("Accept"));
            Ok(response)
        };
        match segments.as_slice() {
            [] => Ok(reply::value(request, 200, &self.paths())),
            ["api"] => match request.accept.aggregated_discovery() {
                Some(version) => aggregated(&self.documents().core_aggregated, version),
                None => {
                    let address = json!({"clientCIDR": "0.0.0.0/0", "serverAddress": self.address});
                    let versions = json!({
                        "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [address],
                    });
                    Ok(reply::value(request, 200, &versions))
                }
            },
            ["apis"] => match request.accept.aggregated_discovery() {
                Some(version) => aggregated(&self.documents().aggregated, version),
                None => Ok(reply::value(request, 200, &self.documents().groups)),
            },
            ["api", version] => self.version_resources(request, "", version),
            ["apis", name] => {
                let documents = self.documents();
                if name.is_empty() || !documents.served.groups().contains(name) {
                    return Err(self.nothing_in(name));
                }
                let mut group = documents.served.group(name);
                group["kind"] = "APIGroup".into();
                group["apiVersion"] = "v1".into();
                Ok(reply::value(request, 200, &group))
            }
            ["apis", group, version] => self.version_resources(request, group, version),
            [".well-known", "openid-configuration"] => Ok(self.openid(self.tokens.configuration(), "application/json")),
            ["openid", "v1", "jwks"] => Ok(self.openid(self.tokens.key_set(), "application/jwk-set+json")),
            ["metrics"] => Ok(self.tell_metrics(request).await),
            ["version"] => Ok(version::version(request)),
            [endpoint @ ("healthz" | "livez" | "readyz"), check @ ..] => {
                Ok(self.health(request, endpoint, &check.join("/")).await)
            }
            ["openapi", rest @ ..] => self.openapi(request, &rest.join("/")),
            ["version", ..] => Err(ApiError::no_such_resource()),
            _ => Err(ApiError::page_not_found()),
        }
    }

    fn version_resources(&self, request: &Request, group: &str, version: &str) -> ApiResult<Response<Body>> {
        let documents = self.documents();
        let list = resource_list(&documents.served.kinds, group, version);
        let list = list.ok_or_else(|| self.nothing_in(group))?;
        Ok(reply::value(request, 200, &list))
    }

    /// What `/` lists.
    fn paths(&self) -> Value {
        let mut paths: Vec<String> = ["/api", "/api/v1", "/apis"].map(str::to_owned).into();
        let documents = self.documents();
        let served = &documents.served;
        for group in served.groups().into_iter().filter(|group| !group.is_empty()) {
            paths.push(format!("/apis/{group}"));
            let versions = served.versions(group);
            paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
        }
        paths.extend(OTHERS.map(str::to_owned));
        json!({"paths": paths})
    }
}
