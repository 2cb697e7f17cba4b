//! `/metrics`, and by which labels a request is counted.

use std::collections::BTreeSet;

use http::{Method, Response};

use super::body::Body;
use super::discovery::{OTHERS, ROOTS};
use super::request::{Query, Request, ResourcePath};
use super::route::verb_of;
use super::version::GIT_VERSION;
use super::{Engine, reply};
use crate::metrics::{Metrics, Page, Running, Sort, labels};

/// Subresources whose requests last as long as the client wants.
const STREAMS: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

/// What tells a request apart from others in the metrics.
#[derive(Default)]
struct Told<'a> {
    verb: &'a str,
    group: &'a str,
    version: &'a str,
    resource: &'a str,
    subresource: &'a str,
    scope: &'a str,
    dry_run: &'a str,
}

impl Told<'_> {
    /// In the order of their names, without the code.
    fn labels(&self) -> String {
        labels(&[
            ("component", "apiserver"),
            ("dry_run", self.dry_run),
            ("group", self.group),
            ("resource", self.resource),
            ("scope", self.scope),
            ("subresource", self.subresource),
            ("verb", self.verb),
            ("version", self.version),
        ])
    }
}

impl Engine {
    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Begins to count a request; `apply` says that it is a server-side apply.
    pub(crate) fn measured(&self, method: &Method, path: &str, query: &str, apply: bool) -> Running {
        let query = Query::parse(query);
        let dry_run = if query.get("dryRun").is_some() { "All" } else { "" };
        let Some(asked) = ResourcePath::parse(path) else {
            let told = Told {
                verb: known_method(method),
                subresource: ROOTS.iter().chain(&OTHERS).find(|known| **known == path).unwrap_or(&""),
                dry_run,
                ..Told::default()
            };
            return self.metrics.requests.begin(&told.labels(), sort(method));
        };
        let verb = verb_of(method, &query, &asked);
        let subresource = asked.subresource.as_deref().unwrap_or("");
        let stream = STREAMS.contains(&subresource);
        let sort = if stream || verb == "watch" {
            Sort::Long
        } else {
            sort(method)
        };
        let told = Told {
            verb: match verb {
                _ if stream => "CONNECT",
                "patch" if apply => "APPLY",
                "list" if *method == Method::GET => "LIST",
                "watch" => "WATCH",
                "deletecollection" => "DELETECOLLECTION",
                _ => known_method(method),
            },
            group: &asked.group,
            version: &asked.version,
            resource: &asked.resource,
            subresource,
            scope: match (&asked.name, &asked.namespace) {
                (Some(_), _) => "resource",
                _ if verb == "create" => "resource",
                (None, Some(_)) => "namespace",
                (None, None) => "cluster",
            },
            dry_run,
        };
        let labels = told.labels();
        if self.metrics.requests.knows(&labels) || self.is_served(&asked) {
            return self.metrics.requests.begin(&labels, sort);
        }
        // What another server has is not known; what nobody has is all the same.
        let foreign = self.aggregated(&asked.group, &asked.version).is_some();
        let told = Told {
            group: if foreign { told.group } else { "" },
            version: if foreign { told.version } else { "" },
            resource: "",
            subresource: "",
            ..told
        };
        self.metrics.requests.begin(&told.labels(), sort)
    }

    fn is_served(&self, path: &ResourcePath) -> bool {
        self.find(&path.group, &path.version, &path.resource)
            .is_some_and(|kind| path.subresource.as_ref().is_none_or(|name| kind.has_subresource(name)))
    }

    /// Everything that is counted, as Prometheus reads it.
    pub(super) async fn tell_metrics(&self, request: &Request) -> Response<Body> {
        let mut page = Page::default();
        self.metrics.tell(&mut page);
        self.fairness.tell(&mut page);
        self.tell_objects(&mut page);
        if let Some(size) = self.store.size_bytes().await {
            let name = "apiserver_storage_size_bytes";
            page.head(name, "gauge", "Bytes that the store takes on its disk.");
            page.row(name, &labels(&[("storage_cluster_id", "etcd-0")]), size);
        }
        let build = labels(&[("git_version", GIT_VERSION), ("major", "1"), ("minor", "36")]);
        let name = "kubernetes_build_info";
        page.head(name, "gauge", "The version of this server, always 1.");
        page.row(name, &build, 1);
        let mut response = reply::text(200, page.into_text());
        let media = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(http::header::CONTENT_TYPE, media);
        if request.method == Method::HEAD {
            *response.body_mut() = Body::Full(None);
        }
        response
    }

    fn tell_objects(&self, page: &mut Page) {
        let name = "apiserver_storage_objects";
        page.head(name, "gauge", "Objects that are stored, by resource.");
        let (_, customs) = self.custom_kinds();
        // Several versions of a kind share their objects.
        let mut seen = BTreeSet::new();
        for kind in self.registry.kinds().iter().chain(&customs) {
            let facts = &kind.resource;
            if !facts.verbs.contains(&"list") || !seen.insert(&kind.prefix) {
                continue;
            }
            let resource = match &*facts.group {
                "" => facts.plural.to_string(),
                group => format!("{}.{group}", facts.plural),
            };
            page.row(
                name,
                &labels(&[("resource", &resource)]),
                self.store.count(&kind.prefix),
            );
        }
    }
}

fn sort(method: &Method) -> Sort {
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => Sort::ReadOnly,
        _ => Sort::Mutating,
    }
}

/// A method by its name, if it is one that anybody knows.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
