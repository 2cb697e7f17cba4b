//! OpenAPI documents of what is served.
//!
//! They are written from the table when first asked for, with the descriptions that `build.rs` collected, and kept
//! compressed: clients ask once per version of the server and accept gzip.

mod custom;
mod descriptions;
mod foreign;
mod messages;
mod operations;
mod protobuf;
mod schemas;
mod write;

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use self::protobuf::ProtobufWriter;
use self::write::{JsonWriter, Sink};
use crate::{Resource, TypeRef, resources};

pub use self::custom::Custom;
pub use self::foreign::Foreign;

/// A rendered document.
#[derive(Clone, Debug)]
pub struct Document {
    /// The document, gzip-compressed (send as it is with `Content-Encoding: gzip`, or inflate with
    /// [`Document::plain`]).
    pub gzip: Bytes,
    /// Changes when the document does; without quotes.
    pub etag: String,
}

impl Document {
    /// The document without compression.
    pub fn plain(&self) -> Vec<u8> {
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&self.gzip[..])
            .read_to_end(&mut text)
            .expect("a document was compressed in this process");
        text
    }
}

/// Which version of the specification a document follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    V2,
    V3,
}

impl Version {
    fn reference(self, name: &str) -> Value {
        Value::from(match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        })
    }
}

/// The documents for a set of served resources, rendered when first asked for and kept compressed.
pub struct Documents {
    served: Arc<[&'static Resource]>,
    etag: String,
    rendered: Arc<Cache>,
    customs: Vec<Custom>,
    foreign: Vec<Arc<Foreign>>,
    /// Those in which there is more than what is built in.
    with_more: Cache,
}

type Cache = Mutex<HashMap<String, Document>>;

impl Documents {
    /// Prepares the documents for the resources that are served.
    pub fn new(served: &dyn Fn(&Resource) -> bool) -> Self {
        let served: Arc<[&'static Resource]> = resources().iter().filter(|resource| served(resource)).collect();
        // Documents follow from this crate and from what is served.
        let mut hash = Fnv::default();
        hash.add(env!("CARGO_PKG_VERSION").as_bytes());
        hash.add(descriptions::COMPRESSED);
        for resource in &*served {
            hash.add(resource.group_path().as_bytes());
            hash.add(resource.plural.as_bytes());
        }
        Self {
            served,
            etag: hash.text(),
            rendered: Arc::default(),
            customs: Vec::new(),
            foreign: Vec::new(),
            with_more: Mutex::default(),
        }
    }

    /// The same documents with these custom resources and, in version 2, with what other servers serve. What is rendered
    /// already stays so.
    pub fn with(&self, customs: Vec<Custom>, foreign: Vec<Arc<Foreign>>) -> Self {
        Self {
            served: self.served.clone(),
            etag: self.etag.clone(),
            rendered: self.rendered.clone(),
            customs,
            foreign,
            with_more: Mutex::default(),
        }
    }

    /// The custom resources of a path, or all.
    fn customs<'a>(&'a self, path: Option<&str>) -> Vec<&'a Custom> {
        let customs = self.customs.iter();
        customs
            .filter(|custom| path.is_none_or(|path| custom.resource.group_path() == path))
            .collect()
    }

    /// Changes when the document of these does.
    fn etag(&self, customs: &[&Custom], foreign: &[&Foreign]) -> String {
        if customs.is_empty() && foreign.is_empty() {
            return self.etag.clone();
        }
        let mut hash = Fnv::default();
        hash.add(self.etag.as_bytes());
        for custom in customs {
            hash.add(custom.resource.plural.as_bytes());
            hash.add(custom.resource.group_path().as_bytes());
            hash.add(custom.revision.as_bytes());
        }
        for part in foreign {
            hash.add(part.revision.as_bytes());
        }
        hash.text()
    }

    /// What `/openapi/v3` lists, by path.
    pub fn v3_index(&self) -> Map<String, Value> {
        let mut paths = Map::new();
        let customs = self.customs.iter().map(|custom| &custom.resource);
        for resource in self.served.iter().copied().chain(customs) {
            let path = resource.group_path();
            if !paths.contains_key(&path) {
                let url = format!("/openapi/v3/{path}?hash={}", self.etag(&self.customs(Some(&path)), &[]));
                paths.insert(path, json!({ "serverRelativeURL": url }));
            }
        }
        paths
    }

    /// What `/openapi/v3/{path}` shows: `api/v1`, `apis/apps/v1`, ….
    pub fn v3(&self, path: &str) -> Option<Document> {
        let of_path: Vec<&'static Resource> = self
            .served
            .iter()
            .copied()
            .filter(|resource| resource.group_path() == path)
            .collect();
        let customs = self.customs(Some(path));
        if of_path.is_empty() && customs.is_empty() {
            None
        } else {
            Some(self.cached(path, &customs, &[], || {
                render(Version::V3, Box::new(JsonWriter::new()), &of_path, &customs, &[])
            }))
        }
    }

    /// What `/openapi/v2` shows.
    pub fn v2(&self) -> Document {
        self.v2_by("", || Box::new(JsonWriter::new()))
    }

    /// What `/openapi/v2` shows to who wants protobuf: gnostic's `openapi.v2.Document`.
    pub fn v2_protobuf(&self) -> Document {
        let mut document = self.v2_by("protobuf", || Box::new(ProtobufWriter::new()));
        // It stands at the same path as the one in JSON.
        document.etag.push_str("-PB");
        document
    }

    fn v2_by(&self, key: &str, writer: impl FnOnce() -> Box<dyn Sink>) -> Document {
        let customs = self.customs(None);
        let foreign: Vec<&Foreign> = self.foreign.iter().map(|part| &**part).collect();
        self.cached(key, &customs, &foreign, || {
            render(Version::V2, writer(), &self.served, &customs, &foreign)
        })
    }

    fn cached(
        &self,
        key: &str,
        customs: &[&Custom],
        foreign: &[&Foreign],
        render: impl FnOnce() -> Vec<u8>,
    ) -> Document {
        let cache = if customs.is_empty() && foreign.is_empty() {
            &*self.rendered
        } else {
            &self.with_more
        };
        let mut rendered = cache.lock().expect("rendering a document does not panic");
        let document = rendered.entry(key.to_owned()).or_insert_with(|| Document {
            gzip: render().into(),
            etag: self.etag(customs, foreign),
        });
        document.clone()
    }
}

/// 128-bit FNV-1a.
struct Fnv(u128);

impl Default for Fnv {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Fnv {
    fn text(&self) -> String {
        format!("{:032X}", self.0)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }
}

/// Writes the document of these resources, compressed.
fn render(
    version: Version,
    mut writer: Box<dyn Sink>,
    of: &[&'static Resource],
    customs: &[&Custom],
    foreign: &[&Foreign],
) -> Vec<u8> {
    let of: Vec<&Resource> = of
        .iter()
        .copied()
        .chain(customs.iter().map(|custom| &custom.resource))
        .collect();
    let inflated = descriptions::inflate();
    let descriptions = descriptions::parse(&inflated);
    match version {
        Version::V2 => {
            writer.entry("swagger", &json!("2.0"));
            writer.entry("info", &json!({ "title": "Kubernetes", "version": "v1.36.0" }));
        }
        Version::V3 => {
            writer.entry("openapi", &json!("3.0.0"));
            writer.entry("info", &json!({ "title": "Kubernetes", "version": "unversioned" }));
        }
    }
    writer.open("paths");
    let mut paths: Vec<(String, Value)> = of
        .iter()
        .flat_map(|resource| operations::paths(version, resource))
        .collect();
    let types: Vec<TypeRef> = schemas::closure(&of).collect();
    let own = customs.iter().flat_map(|custom| custom::schemas(version, custom));
    let own: Vec<(String, Value)> = own.collect();
    let has = |name: &str| types.iter().any(|ty| ty.name() == name) || own.iter().any(|(own, _)| own == name);
    let (foreign_paths, foreign_schemas) = foreign::merged(foreign, &has);
    paths.extend(foreign_paths);
    paths.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, item) in &paths {
        writer.entry(path, item);
    }
    writer.close();
    if version == Version::V3 {
        writer.open("components");
    }
    writer.open(if version == Version::V3 {
        "schemas"
    } else {
        "definitions"
    });
    for ty in types {
        writer.entry(
            ty.name(),
            &schemas::schema(version, ty, &descriptions, group_version(version, &of)),
        );
    }
    for (name, schema) in own.into_iter().chain(foreign_schemas) {
        writer.entry(&name, &schema);
    }
    writer.close();
    if version == Version::V3 {
        writer.close();
    }
    writer.finish()
}

/// The one group and version a document of version 3 is about.
fn group_version<'a>(version: Version, of: &[&'a Resource]) -> Option<(&'a str, &'a str)> {
    of.first()
        .filter(|_| version == Version::V3)
        .map(|resource| (&*resource.group, &*resource.version))
}

/// The type of a kind, which the table has for every resource.
fn kind_type(group: &str, version: &str, kind: &str) -> Option<TypeRef> {
    crate::type_of(group, version, kind)
}

#[cfg(test)]
mod tests;
