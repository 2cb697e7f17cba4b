mod recorded;

use serde_json::{Value, json};

use super::*;
use crate::{TypeRef, type_of};

fn deployment() -> TypeRef {
    type_of("apps", "v1", "Deployment").unwrap()
}

fn web(replicas: i32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
           "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                    "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [
                        {"name": "nginx", "image": "nginx:1", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}}}})
}

fn by<'a>(manager: &'a str, now: &'a str) -> UpdateOptions<'a> {
    UpdateOptions {
        manager,
        api_version: "apps/v1",
        subresource: "",
        now,
        reset_fields: &["status"],
    }
}

fn applied_by(manager: &str) -> ApplyOptions<'_> {
    ApplyOptions {
        manager,
        force: false,
        api_version: "apps/v1",
        subresource: "",
        now: "2024-01-01T00:00:09Z",
        reset_fields: &["status"],
    }
}

fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    entries
        .into_iter()
        .find(|entry| entry["manager"] == manager)
        .map_or(Value::Null, |mut entry| entry["fieldsV1"].take())
}

fn created() -> Value {
    let mut object = web(3);
    update(
        Some(deployment()),
        None,
        &mut object,
        &by("kubectl-create", "2024-01-01T00:00:00Z"),
    );
    object
}

#[test]
fn a_create_is_booked_as_kube_books_it() {
    assert_eq!(
        created()["metadata"]["managedFields"],
        json!([{
            "manager": "kubectl-create", "operation": "Update", "apiVersion": "apps/v1", "time": "2024-01-01T00:00:00Z", "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:replicas": {},
                    "f:selector": {},
                    "f:template": {
                        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                        "f:spec": {"f:containers": {"k:{\"name\":\"nginx\"}": {
                            ".": {}, "f:name": {}, "f:image": {},
                            "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}, "f:protocol": {}}},
                        }}},
                    },
                },
            },
        }])
    );
}

#[test]
fn an_update_moves_what_it_changes_and_nothing_else() {
    let old = created();
    let mut new = old.clone();
    new["spec"]["replicas"] = json!(5);
    new["spec"]["paused"] = json!(true);
    update(
        Some(deployment()),
        Some(&old),
        &mut new,
        &by("kubectl-edit", "2024-01-01T00:00:01Z"),
    );
    assert_eq!(
        owned(&new, "kubectl-edit"),
        json!({"f:spec": {"f:replicas": {}, "f:paused": {}}})
    );
    assert_eq!(owned(&new, "kubectl-create")["f:spec"].get("f:replicas"), None);
    assert_eq!(new["metadata"]["managedFields"][0]["time"], "2024-01-01T00:00:00Z");

    // The same again, without the books (as a client that does not know them would send it): nothing changes.
    let mut same = new.clone();
    same["metadata"].as_object_mut().unwrap().remove("managedFields");
    update(
        Some(deployment()),
        Some(&new),
        &mut same,
        &by("other", "2024-01-01T00:00:02Z"),
    );
    assert_eq!(same, new);

    // A removed field is nobody's; who owns nothing more is forgotten.
    let mut less = new.clone();
    less["spec"].as_object_mut().unwrap().remove("paused");
    less["spec"]["replicas"] = json!(6);
    update(
        Some(deployment()),
        Some(&new),
        &mut less,
        &by("third", "2024-01-01T00:00:03Z"),
    );
    assert_eq!(owned(&less, "kubectl-edit"), Value::Null);
    assert_eq!(owned(&less, "third"), json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn the_status_is_booked_under_its_subresource() {
    let old = created();
    let mut new = old.clone();
    new["status"] = json!({"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
    let mut through_main = new.clone();
    update(
        Some(deployment()),
        Some(&old),
        &mut through_main,
        &by("m", "2024-01-01T00:00:01Z"),
    );
    assert_eq!(owned(&through_main, "m"), Value::Null);
    let options = UpdateOptions {
        subresource: "status",
        reset_fields: &["spec"],
        ..by("controller", "2024-01-01T00:00:01Z")
    };
    update(Some(deployment()), Some(&old), &mut new, &options);
    assert_eq!(
        owned(&new, "controller"),
        json!({"f:status": {"f:replicas": {}, "f:conditions": {".": {}, "k:{\"type\":\"Available\"}": {".": {}, "f:type": {}, "f:status": {}}}}})
    );
    assert_eq!(new["metadata"]["managedFields"][1]["subresource"], "status");
}

#[test]
fn books_can_be_reset_and_stay_absent() {
    let old = created();
    let mut reset = old.clone();
    reset["metadata"]["managedFields"] = json!([{}]);
    update(
        Some(deployment()),
        Some(&old),
        &mut reset,
        &by("m", "2024-01-01T00:00:01Z"),
    );
    assert_eq!(reset["metadata"].get("managedFields"), None);
    let mut later = reset.clone();
    later["spec"]["replicas"] = json!(9);
    update(
        Some(deployment()),
        Some(&reset),
        &mut later,
        &by("m", "2024-01-01T00:00:02Z"),
    );
    assert_eq!(later["metadata"].get("managedFields"), None);
    // An empty list does not reset, so that clients that do not know the field do no harm.
    let mut emptied = old.clone();
    emptied["metadata"]["managedFields"] = json!([]);
    update(
        Some(deployment()),
        Some(&old),
        &mut emptied,
        &by("m", "2024-01-01T00:00:01Z"),
    );
    assert_eq!(emptied, old);
}

#[test]
fn old_updaters_are_summed_up() {
    let mut object = created();
    for at in 0..14 {
        let old = object.clone();
        object["metadata"]["labels"][format!("l{at}")] = json!("x");
        let (manager, now) = (format!("m{at}"), format!("2024-01-01T00:01:{at:02}Z"));
        update(Some(deployment()), Some(&old), &mut object, &by(&manager, &now));
    }
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 10);
    let ancient = owned(&object, "ancient-changes");
    assert!(ancient["f:metadata"]["f:labels"].get("f:l3").is_some() && ancient["f:spec"].get("f:replicas").is_some());
}

#[test]
fn applying_creates_merges_and_removes() {
    let config = web(2);
    let first = apply(Some(deployment()), None, &config, &applied_by("a")).unwrap();
    assert_eq!(first["spec"], config["spec"]);
    let entry = &first["metadata"]["managedFields"][0];
    assert_eq!((&entry["operation"], &entry["manager"]), (&json!("Apply"), &json!("a")));
    assert_eq!(
        owned(&first, "a")["f:spec"]["f:template"]["f:spec"]["f:containers"],
        json!({"k:{\"name\":\"nginx\"}": {".": {}, "f:name": {}, "f:image": {},
               "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}, "f:protocol": {}}}}})
    );

    // The same once more changes nothing at all.
    let again = ApplyOptions {
        now: "2025-01-01T00:00:00Z",
        ..applied_by("a")
    };
    assert_eq!(apply(Some(deployment()), Some(&first), &config, &again).unwrap(), first);

    // Somebody else adds a container; the next configuration drops a label, a port and the replicas.
    let mut live = first.clone();
    live["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "sidecar", "image": "s"}));
    live["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
    update(
        Some(deployment()),
        Some(&first),
        &mut live,
        &by("injector", "2024-01-01T00:00:10Z"),
    );
    let mut next = config.clone();
    next["metadata"].as_object_mut().unwrap().remove("labels");
    next["spec"].as_object_mut().unwrap().remove("replicas");
    next["spec"]["template"]["spec"]["containers"][0]
        .as_object_mut()
        .unwrap()
        .remove("ports");
    next["spec"]["template"]["spec"]["containers"][0]["image"] = json!("nginx:2");
    let merged = apply(Some(deployment()), Some(&live), &next, &applied_by("a")).unwrap();
    assert_eq!(merged["metadata"].get("labels"), None);
    assert_eq!(merged["spec"].get("replicas"), None);
    assert_eq!(
        merged["spec"]["template"]["spec"]["containers"],
        json!([{"name": "nginx", "image": "nginx:2", "imagePullPolicy": "Always"}, {"name": "sidecar", "image": "s"}])
    );
}

#[test]
fn an_item_that_somebody_else_uses_too_stays() {
    let config = web(1);
    let first = apply(Some(deployment()), None, &config, &applied_by("a")).unwrap();
    let mut live = first.clone();
    live["spec"]["template"]["spec"]["containers"][0]["stdin"] = json!(true);
    update(
        Some(deployment()),
        Some(&first),
        &mut live,
        &by("b", "2024-01-01T00:00:10Z"),
    );
    let mut next = config;
    next["spec"]["template"]["spec"]["containers"] = json!([{"name": "other", "image": "o"}]);
    let merged = apply(Some(deployment()), Some(&live), &next, &applied_by("a")).unwrap();
    // The container goes with everything in it: no one but "a" applied the item itself.
    let containers = merged["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert!(containers.iter().any(|container| container["name"] == "other"));
    let both = apply(Some(deployment()), None, &web(1), &applied_by("a")).unwrap();
    let both = apply(Some(deployment()), Some(&both), &web(1), &applied_by("b")).unwrap();
    let merged = apply(Some(deployment()), Some(&both), &next, &applied_by("a")).unwrap();
    assert_eq!(
        merged["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn conflicts_are_worded_as_kube_words_them() {
    let live = {
        let mut object = web(3);
        let options = by("kubectl-client-side-apply", "2024-01-01T00:00:00Z");
        update(Some(deployment()), None, &mut object, &options);
        object
    };
    let mut config =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 4}});
    let error = apply(Some(deployment()), Some(&live), &config, &applied_by("kubectl")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    config["spec"]["template"]["spec"]["containers"] = json!([{"name": "nginx", "image": "nginx:9"}]);
    let error = apply(Some(deployment()), Some(&live), &config, &applied_by("kubectl")).unwrap_err();
    assert_eq!(
        error,
        ApplyError::Conflicts {
            message: "Apply failed with 2 conflicts: conflicts with \"kubectl-client-side-apply\" using apps/v1:\n- .spec.replicas\n\
                      - .spec.template.spec.containers[name=\"nginx\"].image"
                .to_owned(),
            causes: vec![
                Conflict { message: "conflict with \"kubectl-client-side-apply\" using apps/v1".to_owned(), field: ".spec.replicas".to_owned() },
                Conflict {
                    message: "conflict with \"kubectl-client-side-apply\" using apps/v1".to_owned(),
                    field: ".spec.template.spec.containers[name=\"nginx\"].image".to_owned(),
                },
            ],
        }
    );
    let forced = apply(
        Some(deployment()),
        Some(&live),
        &config,
        &ApplyOptions {
            force: true,
            ..applied_by("kubectl")
        },
    )
    .unwrap();
    assert_eq!(forced["spec"]["replicas"], 4);
    assert_eq!(
        owned(&forced, "kubectl-client-side-apply")["f:spec"].get("f:replicas"),
        None
    );
    // Equal values are shared, not fought over.
    config["spec"] = json!({"replicas": 3});
    let shared = apply(Some(deployment()), Some(&live), &config, &applied_by("kubectl")).unwrap();
    assert_eq!(owned(&shared, "kubectl"), json!({"f:spec": {"f:replicas": {}}}));
    assert!(
        owned(&shared, "kubectl-client-side-apply")["f:spec"]
            .get("f:replicas")
            .is_some()
    );
}

#[test]
fn objects_without_books_belong_to_before_first_apply() {
    let config =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 4}});
    let error = apply(Some(deployment()), Some(&web(3)), &config, &applied_by("a")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using apps/v1: .spec.replicas"
    );
}

#[test]
fn broken_lists_and_foreign_books_are_refused() {
    let mut config = web(1);
    config["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "nginx"}));
    assert_eq!(
        apply(Some(deployment()), None, &config, &applied_by("a"))
            .unwrap_err()
            .to_string(),
        "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.template.spec.containers: duplicate entries for \
         key [name=\"nginx\"]"
    );
    config["spec"]["template"]["spec"]["containers"] = json!([{"image": "x"}]);
    assert!(
        apply(Some(deployment()), None, &config, &applied_by("a"))
            .unwrap_err()
            .to_string()
            .contains("omits key field \"name\"")
    );
    let mut config = web(1);
    config["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    assert_eq!(
        apply(Some(deployment()), None, &config, &applied_by("a")),
        Err(ApplyError::Invalid("metadata.managedFields must be nil".to_owned()))
    );
}

#[test]
fn kinds_without_a_type_are_deduced() {
    let config = json!({"apiVersion": "x/v1", "kind": "Thing", "metadata": {"name": "t", "labels": {"a": "b"}},
                        "spec": {"list": [1, 2], "map": {"k": {"v": 1}}}});
    let first = apply(None, None, &config, &applied_by("a")).unwrap();
    assert_eq!(
        owned(&first, "a"),
        json!({"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:list": {}, "f:map": {".": {}, "f:k": {".": {}, "f:v": {}}}}})
    );
    let next =
        json!({"apiVersion": "x/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"list": [3], "map": {}}});
    let merged = apply(None, Some(&first), &next, &applied_by("a")).unwrap();
    assert_eq!(merged["spec"]["list"], json!([3]));
    assert_eq!(merged["metadata"].get("labels"), None);
}

#[test]
fn applied_order_leads_and_foreign_items_keep_their_place() {
    let list = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|name| json!({"name": name, "image": "i"})).collect();
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": containers}}}})
    };
    let order = |live: &[&str], config: &[&str]| -> Vec<String> {
        let options = ApplyOptions {
            force: true,
            ..applied_by("a")
        };
        let merged = apply(Some(deployment()), Some(&list(live)), &list(config), &options).unwrap();
        let containers = merged["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        containers
            .iter()
            .map(|container| container["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(order(&["a", "b", "c"], &["c", "d", "a"]), ["b", "c", "d", "a"]);
    assert_eq!(order(&["a", "x", "b"], &["a", "n", "b"]), ["a", "x", "n", "b"]);
    assert_eq!(order(&["x"], &["a", "b"]), ["x", "a", "b"]);
    assert_eq!(order(&["a", "b"], &["a", "b"]), ["a", "b"]);
}

#[test]
fn dropping_all_applied_metadata_keeps_the_name() {
    let mut config = web(1);
    let live = apply(Some(deployment()), None, &config, &applied_by("kubectl")).unwrap();
    config["metadata"].as_object_mut().unwrap().remove("labels");
    let next = apply(Some(deployment()), Some(&live), &config, &applied_by("kubectl")).unwrap();
    assert_eq!(
        (&next["metadata"]["name"], next["metadata"].get("labels")),
        (&json!("web"), None)
    );
}

#[test]
fn kubectl_takes_over_what_it_applied_from_the_client() {
    const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let mut live = web(3);
    live["metadata"]["annotations"] = json!({ANNOTATION: web(3).to_string()});
    let from_client = by("kubectl-client-side-apply", "2024-01-01T00:00:00Z");
    update(Some(deployment()), None, &mut live, &from_client);
    let other = apply(Some(deployment()), Some(&live), &web(5), &applied_by("other"));
    assert!(matches!(other, Err(ApplyError::Conflicts { .. })), "{other:?}");
    let applied = apply(Some(deployment()), Some(&live), &web(5), &applied_by("kubectl")).unwrap();
    assert_eq!(applied["spec"]["replicas"], 5);
    let kept = applied["metadata"]["annotations"][ANNOTATION].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(kept).unwrap(), web(5));
    assert!(kept.ends_with('\n'));
    // Where somebody else changed the field meanwhile, it is not kubectl's.
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = json!(7);
    update(
        Some(deployment()),
        Some(&live),
        &mut scaled,
        &by("scaler", "2024-01-01T00:00:01Z"),
    );
    let refused = apply(Some(deployment()), Some(&scaled), &web(5), &applied_by("kubectl"));
    assert!(matches!(refused, Err(ApplyError::Conflicts { causes, .. }) if causes[0].field == ".spec.replicas"));
    // An object without the annotation gets none.
    let plain = apply(Some(deployment()), Some(&created()), &web(3), &applied_by("kubectl")).unwrap();
    assert_eq!(plain["metadata"].get("annotations"), None);
}
