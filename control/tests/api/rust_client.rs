//! The Rust client of Kubernetes, kube, and its runtime, as its users have it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::server::Cluster;
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event as Finalizer, finalizer};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher::{self, watcher};
use kube::runtime::{PredicateConfig, WatchStreamExt, predicates};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(60);

/// A client by the kubeconfig of the administrator.
async fn client(cluster: &Cluster) -> Client {
    let mut file = Kubeconfig::read_from(cluster.directory.path().join("admin.kubeconfig")).unwrap();
    let server = Some(format!("https://{}", cluster.address));
    file.clusters[0].cluster.as_mut().unwrap().server = server;
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

fn map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            labels: Some(BTreeMap::from([("app".into(), "kube".into())])),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("a".into(), value.into())])),
        ..ConfigMap::default()
    }
}

fn value(map: &ConfigMap) -> &str {
    map.data.as_ref().map_or("", |data| &data["a"])
}

/// Code and reason of a refusal.
fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String) {
    match result.unwrap_err() {
        kube::Error::Api(status) => (status.code, status.reason.clone()),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn typed_and_dynamic_objects() {
    let cluster = Cluster::start().await;
    let client = client(&cluster).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let made = maps.create(&PostParams::default(), &map("a", "1")).await.unwrap();
    assert_eq!(
        refusal(maps.create(&PostParams::default(), &map("a", "1")).await),
        (409, "AlreadyExists".into())
    );
    assert_eq!(refusal(maps.get("none").await), (404, "NotFound".into()));
    assert!(maps.get_opt("none").await.unwrap().is_none());
    let mut changed = made.clone();
    changed.data = map("a", "2").data;
    let changed = maps.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_eq!(value(&changed), "2");
    assert_eq!(
        refusal(maps.replace("a", &PostParams::default(), &made).await),
        (409, "Conflict".into())
    );
    for (patch, after) in [
        (Patch::Merge(json!({"data": {"a": "merge"}})), "merge"),
        (Patch::Strategic(json!({"data": {"a": "strategic"}})), "strategic"),
        (
            Patch::Json(
                serde_json::from_value(json!([{"op": "replace", "path": "/data/a", "value": "json"}])).unwrap(),
            ),
            "json",
        ),
    ] {
        assert_eq!(
            value(&maps.patch("a", &PatchParams::default(), &patch).await.unwrap()),
            after
        );
    }
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "apply"}});
    let applied = maps.patch("a", &PatchParams::apply("one"), &Patch::Apply(&apply)).await;
    assert_eq!(refusal(applied), (409, "Conflict".into()));
    let applied = maps
        .patch("a", &PatchParams::apply("one").force(), &Patch::Apply(&apply))
        .await
        .unwrap();
    assert_eq!(value(&applied), "apply");
    assert!(
        applied
            .managed_fields()
            .iter()
            .any(|entry| entry.manager.as_deref() == Some("one"))
    );
    let entry = maps.entry("b").await.unwrap().or_insert(|| map("b", "1"));
    let mut entry = entry;
    entry.commit(&PostParams::default()).await.unwrap();
    assert_eq!(maps.get_metadata("b").await.unwrap().name_any(), "b");
    let list = maps
        .list(&ListParams::default().labels("app=kube").limit(1))
        .await
        .unwrap();
    assert_eq!(
        (list.items.len(), list.metadata.remaining_item_count),
        (1, None),
        "not counted with a selector"
    );
    assert_eq!(
        maps.list_metadata(&ListParams::default().labels("app"))
            .await
            .unwrap()
            .items
            .len(),
        2
    );
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    maps.create(&dry, &map("c", "1")).await.unwrap();
    assert!(maps.get_opt("c").await.unwrap().is_none());

    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"));
    let deployments: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &kind);
    let spec = json!({
        "replicas": 0, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    });
    let object = DynamicObject::new("web", &kind).data(json!({"spec": spec}));
    let made = deployments.create(&PostParams::default(), &object).await.unwrap();
    assert_eq!(made.data["spec"]["strategy"]["type"], "RollingUpdate");
    let three = Patch::Merge(json!({"spec": {"replicas": 3}}));
    let scale = deployments.patch_scale("web", &PatchParams::default(), &three).await;
    assert_eq!(scale.unwrap().spec.unwrap().replicas, Some(3));
    let typed: Api<Deployment> = Api::namespaced(client.clone(), "default");
    assert_eq!(typed.get("web").await.unwrap().spec.unwrap().replicas, Some(3));
    let ready = json!({"status": {"observedGeneration": 1, "replicas": 3}});
    typed
        .patch_status("web", &PatchParams::default(), &Patch::Merge(ready))
        .await
        .unwrap();
    assert_eq!(typed.get_status("web").await.unwrap().status.unwrap().replicas, Some(3));

    let found = kube::discovery::Discovery::new(client.clone()).run().await.unwrap();
    let (resource, capabilities) = found
        .resolve_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment"))
        .unwrap();
    assert_eq!(
        (resource.plural.as_str(), capabilities.supports_operation("watch")),
        ("deployments", true)
    );
    assert!(client.apiserver_version().await.unwrap().git_version.starts_with("v1."));
    let gone = maps
        .delete_collection(&DeleteParams::default(), &ListParams::default().labels("app=kube"))
        .await;
    assert!(
        gone.is_ok()
            && maps
                .list(&ListParams::default().labels("app=kube"))
                .await
                .unwrap()
                .items
                .is_empty()
    );
}

#[tokio::test]
async fn watches() {
    let cluster = Cluster::start().await;
    let client = client(&cluster).await;
    let maps: Api<ConfigMap> = Api::namespaced(client, "default");
    for n in 0..7 {
        maps.create(&PostParams::default(), &map(&format!("m{n}"), "0"))
            .await
            .unwrap();
    }
    let list = maps.list(&ListParams::default()).await.unwrap();
    let version = list.metadata.resource_version.unwrap();
    let plain = maps
        .watch(&WatchParams::default().labels("app=kube").timeout(1), &version)
        .await
        .unwrap();
    maps.delete("m6", &DeleteParams::default()).await.unwrap();
    // It ends after a second.
    let events: Vec<WatchEvent<ConfigMap>> = timeout(LIMIT, plain.try_collect()).await.unwrap().unwrap();
    assert!(matches!(&events[0], WatchEvent::Deleted(map) if map.name_any() == "m6"));

    let labels = watcher::Config::default().labels("app=kube");
    for config in [
        labels.clone().page_size(2),
        labels.clone().streaming_lists(),
        labels.timeout(1),
    ] {
        let (reader, writer) = reflector::store();
        let stream = reflector::reflector(writer, watcher(maps.clone(), config)).default_backoff();
        let mut stream = std::pin::pin!(stream);
        let mut begun = Vec::new();
        loop {
            match timeout(LIMIT, stream.next()).await.unwrap().unwrap().unwrap() {
                watcher::Event::InitApply(map) => begun.push(map.name_any()),
                watcher::Event::InitDone => break,
                watcher::Event::Init => {}
                other => panic!("{other:?}"),
            }
        }
        begun.sort();
        assert_eq!(begun, ["m0", "m1", "m2", "m3", "m4", "m5"]);
        // Across the ends of watches nothing is missed and nothing comes twice.
        for round in 1..=25 {
            let text = round.to_string();
            let patch = Patch::Merge(json!({"data": {"a": text}}));
            maps.patch("m3", &PatchParams::default(), &patch).await.unwrap();
            match timeout(LIMIT, stream.next()).await.unwrap().unwrap().unwrap() {
                watcher::Event::Apply(map) => assert_eq!(value(&map), text),
                other => panic!("{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let known = reader.get(&ObjectRef::new("m3").within("default")).unwrap();
        assert_eq!((value(&known), reader.len()), ("25", 6));
    }
}

/// What the controller of the test works with.
struct Context {
    client: Client,
    cleaned: AtomicU32,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

/// Every labelled ConfigMap gets a Secret that it owns; a finalizer sees to its end.
async fn reconcile(map: Arc<ConfigMap>, context: Arc<Context>) -> Result<Action, Failed> {
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), "default");
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), "default");
    let step = finalizer(&maps, "test.example.com/secret", map, |event| async {
        match event {
            Finalizer::Apply(map) => {
                let owner = map.controller_owner_ref(&()).unwrap();
                let name = map.name_any();
                let secret = json!({
                    "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "ownerReferences": [owner]},
                    "stringData": {"a": value(&map)},
                });
                secrets
                    .patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(secret))
                    .await?;
            }
            Finalizer::Cleanup(map) => {
                secrets.delete(&map.name_any(), &DeleteParams::default()).await?;
                context.cleaned.fetch_add(1, Ordering::SeqCst);
            }
        }
        Ok::<_, kube::Error>(Action::await_change())
    });
    step.await.map_err(|error| Failed(error.to_string()))
}

/// Waits until a Secret says so.
async fn until(secrets: &Api<Secret>, name: &str, wanted: &str) {
    let says = |secret: Option<&Secret>| {
        let data = secret.and_then(|secret| secret.data.as_ref()?.get("a"));
        data.is_some_and(|data| data.0 == wanted.as_bytes())
    };
    timeout(LIMIT, await_condition(secrets.clone(), name, says))
        .await
        .expect(wanted)
        .unwrap();
}

#[tokio::test]
async fn a_controller() {
    let cluster = Cluster::start().await;
    let client = client(&cluster).await;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
    let context = Arc::new(Context {
        client: client.clone(),
        cleaned: AtomicU32::new(0),
    });
    maps.create(&PostParams::default(), &map("before", "1")).await.unwrap();
    let controller = Controller::new(maps.clone(), watcher::Config::default().labels("app=kube"))
        .owns(secrets.clone(), watcher::Config::default())
        .run(
            reconcile,
            |_, _, _| Action::requeue(Duration::from_millis(200)),
            context.clone(),
        );
    let running = tokio::spawn(controller.for_each(|step| {
        // Conflicts are tried again.
        let _ = step.inspect_err(|error| eprintln!("{error}"));
        std::future::ready(())
    }));
    until(&secrets, "before", "1").await;
    maps.create(&PostParams::default(), &map("after", "2")).await.unwrap();
    until(&secrets, "after", "2").await;
    maps.patch(
        "before",
        &PatchParams::default(),
        &Patch::Merge(json!({"data": {"a": "3"}})),
    )
    .await
    .unwrap();
    until(&secrets, "before", "3").await;
    // What it owns comes back.
    let first = secrets.get("after").await.unwrap().uid().unwrap();
    secrets.delete("after", &DeleteParams::default()).await.unwrap();
    timeout(
        LIMIT,
        await_condition(secrets.clone(), "after", conditions::is_deleted(&first)),
    )
    .await
    .unwrap()
    .unwrap();
    until(&secrets, "after", "2").await;
    let uid = maps.get("after").await.unwrap().uid().unwrap();
    maps.delete("after", &DeleteParams::default()).await.unwrap();
    timeout(
        LIMIT,
        await_condition(maps.clone(), "after", conditions::is_deleted(&uid)),
    )
    .await
    .unwrap()
    .unwrap();
    assert_eq!(context.cleaned.load(Ordering::SeqCst), 1);
    assert!(secrets.get_opt("after").await.unwrap().is_none());
    running.abort();
    // Watches with the runtime's filters, over all namespaces.
    let all: Api<Namespace> = Api::all(client);
    let changes = watcher(all.clone(), watcher::Config::default()).applied_objects();
    let mut changes = std::pin::pin!(changes.predicate_filter(predicates::labels, PredicateConfig::default()));
    let patch = json!({"metadata": {"labels": {"seen": "yes"}}});
    let mut patched = false;
    loop {
        let namespace = timeout(LIMIT, changes.next()).await.unwrap().unwrap().unwrap();
        if namespace.name_any() != "default" {
            continue;
        }
        if namespace.labels().contains_key("seen") {
            break;
        }
        assert!(!std::mem::replace(&mut patched, true));
        all.patch("default", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }
}
