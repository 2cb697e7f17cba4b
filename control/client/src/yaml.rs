//! YAML, as it is written by hand: manifests and kubeconfig files.

use serde_json::Value;

/// The documents of a text; empty ones are left out. Numbers such as `0644` are octal, as Kubernetes has them.
///
/// # Errors
/// It is no YAML.
pub fn documents(text: &str) -> Result<Vec<Value>, String> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| error.to_string())?;
    Ok(documents.into_iter().filter(|it| !it.is_null()).collect())
}

#[cfg(test)]
mod tests {
    use super::documents;
    use serde_json::json;

    #[test]
    fn documents_are_told_apart() {
        assert_eq!(
            documents("---\na: 0644\n---\n# none\n---\n[b]\n").unwrap(),
            [json!({"a": 0o644}), json!(["b"])]
        );
        assert!(documents("a: [").is_err());
    }
}
