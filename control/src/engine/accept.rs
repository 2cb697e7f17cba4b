//! Which representation the client wants.

use http::HeaderMap;

use super::request::header;

/// The OpenAPI document of version 2 in protobuf. An `@` may not stand in a media type, which is why the name that clients
/// ask by is not the one they are answered with.
pub const OPENAPI_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const OPENAPI_PROTOBUF_ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The form of objects in an answer; of the forms that have versions of their own, the group and version asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The object itself.
    Object,
    /// Rows for people.
    Table(&'static str),
    /// `metadata` only.
    Metadata(&'static str),
    /// `metadata` only, of every item of a list.
    MetadataList(&'static str),
}

/// The `Accept` and `Accept-Encoding` headers.
#[derive(Debug, Clone, Default)]
pub struct Accept {
    ranges: Vec<MediaRange>,
    /// Whether gzip is welcome.
    pub gzip: bool,
}

#[derive(Debug, Clone, Default)]
struct MediaRange {
    media: String,
    as_: String,
    group: String,
    version: String,
    quality: f32,
}

impl Accept {
    /// Reads the headers.
    pub fn from_headers(headers: &HeaderMap) -> Self {
        let encodings = header(headers, http::header::ACCEPT_ENCODING);
        let gzip = encodings.split(',').any(|part| {
            let (name, rest) = part.split_once(';').unwrap_or((part, ""));
            name.trim() == "gzip" && rest.trim() != "q=0"
        });
        let values = headers
            .get_all(http::header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok());
        Accept {
            ranges: parse(&values.collect::<Vec<_>>().join(",")),
            gzip,
        }
    }

    /// The first form that the client wants and the engine has; `None` if there is none.
    pub fn form(&self) -> Option<Form> {
        if self.ranges.is_empty() {
            return Some(Form::Object);
        }
        self.ranges.iter().find_map(|range| {
            if !range.json() && !range.yaml() {
                return None;
            }
            let version = match (range.group.as_str(), range.version.as_str()) {
                ("meta.k8s.io", "v1") => Some("meta.k8s.io/v1"),
                ("meta.k8s.io", "v1beta1") => Some("meta.k8s.io/v1beta1"),
                _ => None,
            };
            match range.as_.as_str() {
                "" => Some(Form::Object),
                "Table" => version.map(Form::Table),
                "PartialObjectMetadata" => version.map(Form::Metadata),
                "PartialObjectMetadataList" => version.map(Form::MetadataList),
                _ => None,
            }
        })
    }

    /// Whether the client takes an object as it is.
    pub fn plain(&self) -> bool {
        let mut ranges = self.ranges.iter().filter(|range| range.json() || range.yaml());
        self.ranges.is_empty() || ranges.any(|range| range.as_.is_empty())
    }

    /// Whether the client wants YAML before JSON.
    pub fn yaml(&self) -> bool {
        let mut known = self.ranges.iter().filter(|range| range.json() || range.yaml());
        known.next().is_some_and(MediaRange::yaml)
    }

    /// The version of aggregated discovery that the client wants before plain discovery, if any.
    pub fn aggregated_discovery(&self) -> Option<&'static str> {
        for range in self.ranges.iter().filter(|range| range.json()) {
            match (range.as_.as_str(), range.group.as_str(), range.version.as_str()) {
                ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => return Some("v2"),
                ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => return Some("v2beta1"),
                ("", _, _) => return None,
                _ => {}
            }
        }
        None
    }

    /// Whether the client wants OpenAPI documents of version 2 in protobuf before JSON; `None` if it wants neither.
    pub fn openapi_protobuf(&self) -> Option<bool> {
        if self.ranges.is_empty() {
            return Some(false);
        }
        self.ranges.iter().find_map(|range| match range.media.as_str() {
            OPENAPI_PROTOBUF | OPENAPI_PROTOBUF_ASKED => Some(true),
            _ => range.json().then_some(false),
        })
    }
}

impl MediaRange {
    fn yaml(&self) -> bool {
        self.media == "application/yaml"
    }

    fn json(&self) -> bool {
        matches!(self.media.as_str(), "application/json" | "application/*" | "*/*")
    }
}

fn parse(text: &str) -> Vec<MediaRange> {
    let mut ranges: Vec<MediaRange> = text
        .split(',')
        .filter(|part| !part.trim().is_empty())
        .map(|part| {
            let mut pieces = part.split(';').map(str::trim);
            let media = pieces.next().unwrap_or("").to_ascii_lowercase();
            let mut range = MediaRange {
                media,
                quality: 1.0,
                ..MediaRange::default()
            };
            for (key, value) in pieces.filter_map(|piece| piece.split_once('=')) {
                match key {
                    "as" => range.as_ = value.to_owned(),
                    "g" => range.group = value.to_owned(),
                    "v" => range.version = value.to_owned(),
                    "q" => range.quality = value.parse().unwrap_or(0.0),
                    _ => {}
                }
            }
            range
        })
        .filter(|range| range.quality > 0.0)
        .collect();
    ranges.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &str) -> Accept {
        Accept {
            ranges: parse(text),
            gzip: false,
        }
    }

    #[test]
    fn what_kubectl_sends() {
        let get = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(accept(get).form(), Some(Form::Table("meta.k8s.io/v1")));
        assert_eq!(
            accept("application/vnd.kubernetes.protobuf,application/json").form(),
            Some(Form::Object)
        );
        assert_eq!(accept("application/vnd.kubernetes.protobuf").form(), None);
        assert!(accept(get).plain() && accept("").plain());
        assert!(!accept("application/json;as=Table;v=v1;g=meta.k8s.io").plain());
        assert_eq!(accept("").form(), Some(Form::Object));
        assert_eq!(accept("application/yaml").form(), Some(Form::Object));
        assert!(accept("application/yaml,application/json").yaml() && !accept("*/*,application/yaml").yaml());
        assert_eq!(accept("*/*").form(), Some(Form::Object));
        let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        assert_eq!(accept(partial).form(), Some(Form::MetadataList("meta.k8s.io/v1")));
        let discovery = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(accept(discovery).aggregated_discovery(), Some("v2"));
        assert_eq!(accept("application/json").aggregated_discovery(), None);
        assert_eq!(accept(OPENAPI_PROTOBUF_ASKED).openapi_protobuf(), Some(true));
        assert_eq!(accept("application/json").openapi_protobuf(), Some(false));
        assert_eq!(accept("text/html").openapi_protobuf(), None);
        assert_eq!(
            accept("text/html;q=0.9,application/json;q=0.1").form(),
            Some(Form::Object)
        );
    }
}
