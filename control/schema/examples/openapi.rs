//! Prints an OpenAPI document: `openapi` the index, `openapi api/v1` a document of version 3, `openapi v2` the one of
//! version 2, `openapi v2-protobuf` the same in protobuf.

use std::io::Write as _;

use barepod_schema::openapi::Documents;

fn main() -> std::io::Result<()> {
    let documents = Documents::new(&|_| true);
    let text = match std::env::args().nth(1).as_deref() {
        None => serde_json::json!({"paths": documents.v3_index()}).to_string().into(),
        Some("v2") => documents.v2().plain(),
        Some("v2-protobuf") => documents.v2_protobuf().plain(),
        Some(path) => documents.v3(path).map(|document| document.plain()).unwrap_or_default(),
    };
    std::io::stdout().write_all(&text)
}
