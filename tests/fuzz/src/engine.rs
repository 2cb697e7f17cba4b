//! Requests that read: query parameters, selectors, continue tokens, headers. The first line is the query; a word in it
//! `TOKEN` stands for a continue token of the second part. The third part is the `Accept` header.

use std::sync::{Arc, OnceLock};

use barepod_control::access::Tokens;
use barepod_control::engine::Engine;
use barepod_control::engine::body::Body;
use barepod_control::engine::identity::User;
use barepod_control::engine::request::Request;
use barepod_kinds::Settings;
use barepod_store::{Embedded, Options};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::BodyExt;

struct World {
    runtime: tokio::runtime::Runtime,
    engine: Engine,
    user: Arc<User>,
}

/// An engine with some objects, made once. Its directory is removed while it is used: nothing is written any more.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let directory = std::env::temp_dir().join(format!("barepodtest-fuzz-{}", std::process::id()));
        let store = Embedded::open(Options::new(&directory.join("store"))).expect("a store");
        let tokens = Tokens::ephemeral().expect("tokens");
        let engine = Engine::new(Arc::new(store), Settings::default(), tokens);
        let user = Arc::new(User::new("admin", vec!["system:masters".into()]));
        let world = World { runtime, engine, user };
        world.call("POST", "/api/v1/namespaces", "", br#"{"metadata":{"name":"default"}}"#);
        for n in 0..5 {
            let map = format!(r#"{{"metadata":{{"name":"m{n}","labels":{{"a":"{n}"}}}},"data":{{"k":"v"}}}}"#);
            let (code, _) = world.call("POST", "/api/v1/namespaces/default/configmaps", "", map.as_bytes());
            assert_eq!(code, 201);
        }
        let _ = std::fs::remove_dir_all(directory);
        world
    })
}

impl World {
    fn call(&self, method: &str, uri: &str, accept: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let builder = http::Request::builder()
            .method(method)
            .uri(uri)
            .header("accept", accept);
        let Ok(request) = builder.body(()) else {
            return (0, Vec::new());
        };
        let (parts, ()) = request.into_parts();
        let request = Request::new(&parts, self.user.clone(), body.to_vec().into());
        self.runtime.block_on(async {
            let response = self.engine.handle(request).await;
            let code = response.status().as_u16();
            let body = match response.into_body() {
                // Its end is far.
                Body::Watch(_) => Vec::new(),
                body => body
                    .collect()
                    .await
                    .map(|body| body.to_bytes().to_vec())
                    .unwrap_or_default(),
            };
            (code, body)
        })
    }
}

pub fn request(data: &[u8]) {
    let mut parts = crate::parts(data);
    let query = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let token = URL_SAFE_NO_PAD.encode(parts.next().unwrap_or_default());
    let accept = parts.next().unwrap_or_default();
    let Ok(accept) = std::str::from_utf8(accept) else {
        return;
    };
    let query = query.replace("TOKEN", &token);
    for path in ["configmaps", "configmaps/m1"] {
        let uri = format!("/api/v1/namespaces/default/{path}?{query}");
        let (code, body) = world().call("GET", &uri, accept, &[]);
        // 0 is for what is no request at all.
        assert!(
            matches!(code, 0 | 200 | 400..=422 | 504),
            "{uri}: {code}: {}",
            String::from_utf8_lossy(&body)
        );
        if !body.is_empty() {
            let answer: serde_json::Value = serde_json::from_slice(&body).expect("an answer is JSON");
            assert!(code == 200 || answer["kind"] == "Status", "{uri}: {answer}");
        }
    }
}
