//! Image names, normalised the way docker and containerd do it.

use std::fmt;

use crate::digest;
use crate::error::{Error, Result};

const DEFAULT_DOMAIN: &str = "docker.io";
/// Longest repository name the distribution specification's reference grammar is used with.
const MAX_NAME: usize = 255;

/// A parsed and normalised image name.
///
/// `nginx` becomes `docker.io/library/nginx:latest`. A name with both a tag and a digest keeps only the digest, since
/// that alone decides what is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Registry and repository, `docker.io/library/nginx`.
    pub repository: String,
    /// Tag or digest.
    pub version: Version,
}

/// Which of a repository's images is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// A tag, `latest` unless the name said otherwise.
    Tag(String),
    /// A digest, `sha256:…`.
    Digest(String),
}

impl Reference {
    /// Parses a name as people write it.
    ///
    /// # Errors
    /// [`Error::InvalidReference`] with the reason, [`Error::InvalidDigest`].
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |reason| Error::InvalidReference {
            reference: text.to_owned(),
            reason,
        };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        // A colon belongs to a tag only behind the last slash; before it, it introduces a registry's port.
        let tag_at = name
            .rfind(':')
            .filter(|&colon| name.rfind('/').is_none_or(|slash| slash < colon));
        let (name, tag) = match tag_at {
            Some(colon) => (&name[..colon], Some(&name[colon + 1..])),
            None => (name, None),
        };
        if name.is_empty() {
            return Err(invalid("the name is empty"));
        }
        if digest::is_hex64(name) {
            return Err(invalid("a name cannot be 64 hexadecimal characters"));
        }
        let (domain, path) = split_domain(name);
        if !is_domain(domain) {
            return Err(invalid("the registry is not a host name with an optional port"));
        }
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(invalid("the repository must be lower case"));
        }
        if !path.split('/').all(is_component) {
            return Err(invalid(
                "the repository may have letters, digits and single separators (. _ - /) only",
            ));
        }
        let repository = match (domain, path.contains('/')) {
            (DEFAULT_DOMAIN, false) => format!("{DEFAULT_DOMAIN}/library/{path}"),
            _ => format!("{domain}/{path}"),
        };
        if repository.len() > MAX_NAME {
            return Err(invalid("the name is longer than 255 characters"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid("a tag has 1 to 128 letters, digits and _ . -"));
        }
        let version = match digest {
            Some(digest) => {
                digest::hex(digest)?;
                Version::Digest(digest.to_owned())
            }
            None => Version::Tag(tag.unwrap_or("latest").to_owned()),
        };
        Ok(Self { repository, version })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Version::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            Version::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

/// The first part of a name is a registry if it looks like a host.
fn split_domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (
                if first == "index.docker.io" {
                    DEFAULT_DOMAIN
                } else {
                    first
                },
                rest,
            )
        }
        _ => (DEFAULT_DOMAIN, name),
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        // An IPv6 address stands in brackets.
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                return port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            }
            _ => return false,
        },
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    port.is_none_or(is_port)
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

/// `[a-z0-9]+` joined by one `.`, one or two `_`, or any number of `-`.
fn is_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    alphanumeric(first)
        && alphanumeric(last)
        && bytes.split(|&b| alphanumeric(b)).all(|separator| match separator {
            [] | b"." | b"_" | b"__" => true,
            dashes => dashes.iter().all(|&b| b == b'-'),
        })
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> String {
        Reference::parse(text).unwrap().to_string()
    }

    #[test]
    fn names_become_what_docker_makes_of_them() {
        let digest = digest::sha256(b"x");
        for (given, wanted) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/library/nginx", "docker.io/library/nginx:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("[::1]:5000/a/b", "[::1]:5000/a/b:latest"),
            ("Upper/app", "Upper/app:latest"),
            ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest"),
        ] {
            assert_eq!(normal(given), wanted);
        }
        assert_eq!(
            normal(&format!("nginx:1@{digest}")),
            format!("docker.io/library/nginx@{digest}")
        );
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let hex = "a".repeat(64);
        for bad in [
            "",
            ":latest",
            "nginx:",
            "Nginx",
            "a/B",
            "a//b",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a:b:c",
            "a/../b",
            "a b",
            "nginx:.x",
            "nginx@sha256:12",
            "nginx@md5:00",
            "host.x:port/a",
            "/a",
            "[::g]/a",
            "a@b@c",
            &hex,
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad:?}");
        }
    }
}
