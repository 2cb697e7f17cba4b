//! What an image reference says about pulling.

/// `Always` for references that mean the tag `latest`, `IfNotPresent` for others.
///
/// A reference without tag and digest means `latest`; one with a digest alone does not.
pub fn default_pull_policy(reference: &str) -> &'static str {
    let (rest, digest) = match reference.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (reference, None),
    };
    if rest.is_empty() || reference.contains(char::is_whitespace) || rest.bytes().any(|b| b.is_ascii_control()) {
        return "IfNotPresent";
    }
    // A colon before the last slash separates a registry's host from its port.
    let last = rest.rsplit('/').next().unwrap_or(rest);
    let latest = match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_none(),
    };
    if latest { "Always" } else { "IfNotPresent" }
}

#[cfg(test)]
mod tests {
    use super::default_pull_policy;

    #[test]
    fn latest_is_pulled_always() {
        for image in ["nginx", "nginx:latest", "localhost:5000/a/b", "a/b:latest@sha256:00"] {
            assert_eq!(default_pull_policy(image), "Always", "{image}");
        }
        for image in ["nginx:1.27", "localhost:5000/a/b:v1", "nginx@sha256:00", "", " nginx"] {
            assert_eq!(default_pull_policy(image), "IfNotPresent", "{image}");
        }
    }
}
