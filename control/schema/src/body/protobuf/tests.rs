//! Bodies that kubectl 1.32 sent, and the JSON that the same command prints.

use serde_json::json;

use super::*;

macro_rules! fixtures {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!("fixtures/", $name, ".bin")), include_str!(concat!("fixtures/", $name, ".json")))),*]
    };
}

/// What Go prints beyond what the object says: nulls, and empty structures that are not pointers.
fn normalise(ty: TypeRef, value: &mut Value) {
    let Value::Object(map) = value else { return };
    for field in ty.fields() {
        let Some(value) = map.get_mut(field.name) else { continue };
        if let Some(ty) = field.item_type() {
            match (field.container, &mut *value) {
                (Container::One, value) => normalise(ty, value),
                (Container::List, Value::Array(items)) => items.iter_mut().for_each(|item| normalise(ty, item)),
                (Container::Map, Value::Object(items)) => items.values_mut().for_each(|item| normalise(ty, item)),
                _ => {}
            }
        }
        if value.is_null() || (field.always && value.as_object().is_some_and(Map::is_empty)) {
            map.remove(field.name);
        }
    }
}

#[test]
fn bodies_of_kubectl_decode_to_what_kubectl_prints() {
    let fixtures: &[(&str, &[u8], &str)] = fixtures![
        "configmap",
        "cronjob",
        "deployment",
        "externalname",
        "full-job",
        "ingress",
        "job",
        "namespace",
        "nodeport",
        "poddisruptionbudget",
        "priorityclass",
        "resourcequota",
        "rolebinding",
        "secret",
        "service",
        "serviceaccount",
    ];
    for (name, body, printed) in fixtures {
        let decoded = decode(body).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut expected: Value = serde_json::from_str(printed).unwrap();
        let api_version = expected["apiVersion"].as_str().unwrap();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let ty = type_of(group, version, expected["kind"].as_str().unwrap()).unwrap();
        normalise(ty, &mut expected);
        let mut decoded = decoded;
        // Some commands set the namespace only in what they send.
        for object in [&mut expected, &mut decoded] {
            object["metadata"].as_object_mut().unwrap().remove("namespace");
        }
        compare(name, "", &decoded, &expected);
        let mut checked = decoded.clone();
        assert_eq!(crate::check::check(ty, &mut checked), Ok(Vec::new()), "{name}");
        assert_eq!(checked, decoded, "{name}");
    }
}

fn compare(name: &str, path: &str, decoded: &Value, expected: &Value) {
    match (decoded, expected) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(a), keys(b), "{name}: fields of {path}");
            a.iter()
                .for_each(|(key, value)| compare(name, &format!("{path}.{key}"), value, &b[key]));
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            (0..a.len()).for_each(|at| compare(name, &format!("{path}[{at}]"), &a[at], &b[at]));
        }
        _ => assert_eq!(decoded, expected, "{name}: {path}"),
    }
}

#[test]
fn requests_without_a_stored_kind_decode() {
    assert_eq!(
        decode(include_bytes!("fixtures/tokenrequest.bin")).unwrap(),
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}})
    );
    assert_eq!(
        decode(include_bytes!("fixtures/selfsubjectaccessreview.bin")).unwrap()["spec"]["resourceAttributes"],
        json!({"namespace": "default", "verb": "get", "resource": "pods"})
    );
    let review = decode(include_bytes!("fixtures/selfsubjectreview.bin")).unwrap();
    assert_eq!(review["kind"], "SelfSubjectReview");
}

/// Builds wire bytes: a field with bytes, and one with a number.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
    out.extend_from_slice(bytes);
    out
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [
        MAGIC.to_vec(),
        field(1, &type_meta),
        field(2, raw),
        field(3, b""),
        field(4, b""),
    ]
    .concat()
}

#[test]
fn options_scales_bindings_and_evictions_decode() {
    let options = [
        vec![0x08, 30],
        field(2, &field(1, b"uid")),
        field(4, b"Background"),
        field(5, b"All"),
    ]
    .concat();
    assert_eq!(
        decode(&envelope("apps/v1", "DeleteOptions", &options)).unwrap(),
        json!({"apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 30, "preconditions": {"uid": "uid"},
               "propagationPolicy": "Background", "dryRun": ["All"]})
    );
    let scale = [field(1, &field(1, b"web")), field(2, &[0x08, 0])].concat();
    assert_eq!(
        decode(&envelope("autoscaling/v1", "Scale", &scale)).unwrap(),
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 0}})
    );
    let binding = [
        field(1, &field(1, b"p")),
        field(2, &[field(1, b"Node"), field(3, b"n1"), field(4, b"")].concat()),
    ]
    .concat();
    assert_eq!(
        decode(&envelope("v1", "Binding", &binding)).unwrap(),
        json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}})
    );
    let eviction = [field(1, &field(1, b"p")), field(2, &[0x08, 0])].concat();
    assert_eq!(
        decode(&envelope("policy/v1", "Eviction", &eviction)).unwrap()["deleteOptions"],
        json!({"gracePeriodSeconds": 0})
    );
}

#[test]
fn json_inside_an_envelope_is_json() {
    let body = [MAGIC.to_vec(), field(2, b"{\"a\":1}"), field(4, b"application/json")].concat();
    assert_eq!(decode(&body).unwrap(), json!({"a": 1}));
}

#[test]
fn every_cut_and_flip_of_a_body_is_survived() {
    let body = include_bytes!("fixtures/full-job.bin");
    for end in 0..body.len() {
        let _ = decode(&body[..end]);
    }
    let mut flipped = body.to_vec();
    for at in 4..body.len() {
        for bit in [at % 8, (at + 3) % 8] {
            flipped[at] ^= 1 << bit;
            let _ = decode(&flipped);
            flipped[at] ^= 1 << bit;
        }
    }
    assert!(matches!(decode(b"{}"), Err(DecodeError::Protobuf { offset: 0, .. })));
    assert!(matches!(
        decode(&envelope("x/v1", "Unknown", b"")),
        Err(DecodeError::UnknownKind { .. })
    ));
    assert!(decode(&[0xff; 64]).is_err());
}
