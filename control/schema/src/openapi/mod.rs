//! OpenAPI documents of what is served.

use bytes::Bytes;

use crate::Resource;

/// A rendered document.
#[derive(Clone, Debug)]
pub struct Document {
    /// The document, gzip-compressed (send as it is with `Content-Encoding: gzip`, or inflate with [`Document::plain`]).
    pub gzip: Bytes,
    /// Changes when the document does; without quotes.
    pub etag: String,
}

impl Document {
    /// The document as JSON text.
    pub fn plain(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// The documents for a set of served resources, rendered when first asked for and kept compressed.
pub struct Documents {
}

impl Documents {
    /// Prepares the documents for the resources that are served.
    pub fn new(served: &dyn Fn(&Resource) -> bool) -> Self {
        let _ = served;
        Self {}
    }

    /// What `/openapi/v3` lists.
    pub fn v3_index(&self) -> Bytes {
        Bytes::new()
    }

    /// What `/openapi/v3/{path}` shows: `api/v1`, `apis/apps/v1`, ….
    pub fn v3(&self, path: &str) -> Option<Document> {
        let _ = path;
        None
    }

    /// What `/openapi/v2` shows.
    pub fn v2(&self) -> Document {
        Document { gzip: Bytes::new(), etag: String::new() }
    }
}
