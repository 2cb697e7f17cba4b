//! What clients are told of objects that are accepted all the same: what is on its way out, and what is hardly meant as it
//! is written.

use std::fmt::Display;
use std::net::IpAddr;

use serde_json::Value;

use crate::names;
use crate::path::Path;
use crate::quantity::Quantity;
use crate::value::{list_at, map_at, text};

/// Labels of nodes that have other names now, with what those who use them are told.
const OLD_NODE_LABELS: [(&str, &str); 8] = [
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "node-role.kubernetes.io/master",
        "use \"node-role.kubernetes.io/control-plane\" instead",
    ),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
];

/// What is said of a label of nodes that has another name now.
pub fn old_node_label(key: &str) -> Option<&'static str> {
    let known = OLD_NODE_LABELS.iter().find(|(label, _)| *label == key);
    known.map(|(_, text)| *text)
}

/// Collected warnings.
#[derive(Debug, Default)]
pub struct Warnings {
    list: Vec<String>,
}

impl Warnings {
    /// What was collected.
    pub fn into_vec(self) -> Vec<String> {
        self.list
    }

    /// Says something about the object as a whole.
    pub fn say(&mut self, text: impl Into<String>) {
        self.list.push(text.into());
    }

    /// Says something about a field.
    pub fn at(&mut self, path: &Path<'_>, text: impl Display) {
        self.list.push(format!("{path}: {text}"));
    }

    /// Names old labels of nodes among the keys of a selector's map.
    pub fn node_labels(&mut self, selector: Option<&serde_json::Map<String, Value>>, path: &Path<'_>) {
        for key in selector.into_iter().flat_map(serde_json::Map::keys) {
            if let Some(text) = old_node_label(key) {
                self.at(&path.key(key), text);
            }
        }
    }

    /// Names old labels of nodes in the expressions of a selector or of one of its terms.
    pub fn node_expressions(&mut self, term: &Value, path: &Path<'_>) {
        let list = path.child("matchExpressions");
        for (i, expression) in list_at(term, &["matchExpressions"]).iter().enumerate() {
            let key = text(expression, "key");
            if let Some(text) = old_node_label(key) {
                self.at(&list.index(i).child("key"), format_args!("{key} is {text}"));
            }
        }
    }

    /// As [`node_expressions`](Self::node_expressions), of every term of a node selector.
    pub fn node_terms(&mut self, selector: &Value, path: &Path<'_>) {
        let list = path.child("nodeSelectorTerms");
        for (i, term) in list_at(selector, &["nodeSelectorTerms"]).iter().enumerate() {
            self.node_expressions(term, &list.index(i));
        }
    }

    /// Names quantities of bytes in `requests` and `limits` that are no whole numbers.
    pub fn fractions(&mut self, resources: &Value, names: &[&str], path: &Path<'_>) {
        for list in ["limits", "requests"] {
            for name in names {
                self.fraction(resources.get(list), name, &path.child(list));
            }
        }
    }

    /// Names a quantity of bytes that is no whole number.
    pub fn fraction(&mut self, list: Option<&Value>, name: &str, path: &Path<'_>) {
        let Some(amount) = list.and_then(|list| list.get(name)) else {
            return;
        };
        if let Ok(quantity) = Quantity::from_value(amount)
            && !quantity.is_integer()
        {
            let text = format!("fractional byte value \"{quantity}\" is invalid, must be an integer");
            self.at(&path.key(name), text);
        }
    }

    /// Names an address of version 6 that can be written in another way.
    pub fn address(&mut self, address: &str, path: &Path<'_>) {
        if let Some(IpAddr::V6(known)) = names::ip(address)
            && known.to_string() != address
        {
            let text = format!("IPv6 address {address:?} should be in RFC 5952 canonical format (\"{known}\")");
            self.at(path, text);
        }
    }

    /// Names a network of version 6 that can be written in another way.
    pub fn network(&mut self, network: &str, path: &Path<'_>) {
        if let Some((IpAddr::V6(known), length)) = names::cidr(network)
            && format!("{known}/{length}") != network
        {
            let text =
                format!("IPv6 CIDR value {network:?} should be in RFC 5952 canonical format (\"{known}/{length}\")");
            self.at(path, text);
        }
    }

    /// Names an annotation that is there and should not be.
    pub fn annotation(&mut self, metadata: &Value, path: &Path<'_>, key: &str, what: impl Display) {
        if map_at(metadata, &["annotations"]).is_some_and(|map| map.contains_key(key)) {
            self.at(&path.key(key), what);
        }
    }

    /// Says that a name that becomes part of host names has characters that those cannot have.
    pub fn host_name(&mut self, object: &Value, used_in: &str) {
        let name = object.get("metadata").map_or("", |metadata| text(metadata, "name"));
        let mut errors = names::label_errors(name);
        if errors.is_empty() {
            return;
        }
        if name.len() <= 63 && names::subdomain_errors(name).is_empty() {
            errors = vec!["must not contain dots".to_owned()];
        }
        self.say(format!(
            "metadata.name: this is used in {used_in}, which can result in surprising behavior; a DNS label is recommended: [{}]",
            errors.join(" ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn warnings_name_fields() {
        let mut warnings = Warnings::default();
        let object = json!({"metadata": {"name": "a.b"}, "limits": {"memory": "100m", "storage": "1Gi"}});
        warnings.host_name(&object, "names");
        warnings.fractions(&object, &["memory", "storage"], &Path::new("resources"));
        warnings.address("fd00::0001", &Path::new("ip"));
        warnings.network("fd00:0::/64", &Path::new("cidr"));
        warnings.address("10.0.0.1", &Path::new("ip"));
        let term = json!({"matchExpressions": [{"key": "kubernetes.io/os"}, {"key": "beta.kubernetes.io/os"}]});
        warnings.node_expressions(&term, &Path::new("term"));
        assert_eq!(
            warnings.into_vec(),
            [
                "metadata.name: this is used in names, which can result in surprising behavior; a DNS label is \
                 recommended: [must not contain dots]",
                "resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
                "ip: IPv6 address \"fd00::0001\" should be in RFC 5952 canonical format (\"fd00::1\")",
                "cidr: IPv6 CIDR value \"fd00:0::/64\" should be in RFC 5952 canonical format (\"fd00::/64\")",
                "term.matchExpressions[1].key: beta.kubernetes.io/os is deprecated since v1.14; use \
                 \"kubernetes.io/os\" instead",
            ]
        );
    }
}
