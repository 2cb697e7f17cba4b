//! The signers that every cluster has, and what they sign.

use super::request::Request;
use crate::user::{NODE, NODES};

/// The signer of certificates by which nodes call the API server.
pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

/// A built-in signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// Certificates of any client of the API server.
    Client,
    /// Certificates by which nodes call the API server.
    KubeletClient,
    /// Certificates that nodes show to the API server.
    KubeletServing,
}

impl Signer {
    /// The signer with this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            CLIENT => Signer::Client,
            KUBELET_CLIENT => Signer::KubeletClient,
            KUBELET_SERVING => Signer::KubeletServing,
            _ => return None,
        })
    }

    /// Why it does not sign a request with these usages, if it does not.
    pub fn objection(self, request: &Request, usages: &[&str]) -> Option<String> {
        let only = |purpose: &str| {
            let known = |usage: &&&str| [purpose, "digital signature", "key encipherment"].contains(usage);
            usages.iter().filter(known).count() == usages.len() && usages.contains(&purpose)
        };
        let node = || {
            if request.organizations != [NODES] {
                return Some("organization is not system:nodes".to_owned());
            }
            let named = request
                .common_name
                .strip_prefix(NODE)
                .is_some_and(|name| !name.is_empty());
            (!named).then(|| "subject common name does not begin with system:node:".to_owned())
        };
        match self {
            Signer::Client => {
                let fits = usages.contains(&"client auth") && !usages.contains(&"server auth");
                (!fits).then(|| "usages must include \"client auth\" and no \"server auth\"".to_owned())
            }
            Signer::KubeletClient => node().or_else(|| {
                if !request.dns.is_empty() || !request.ips.is_empty() || request.other_names {
                    return Some("subject alternative names are not allowed".to_owned());
                }
                let signs = usages.contains(&"digital signature");
                (!only("client auth") || !signs).then(|| "usages did not match those of a kubelet's client".to_owned())
            }),
            Signer::KubeletServing => node().or_else(|| {
                if request.dns.is_empty() && request.ips.is_empty() {
                    return Some("a DNS or IP subject alternative name is required".to_owned());
                }
                if request.other_names {
                    return Some("only DNS and IP subject alternative names are allowed".to_owned());
                }
                let signs = usages.contains(&"digital signature");
                (!only("server auth") || !signs).then(|| "usages did not match those of a kubelet's server".to_owned())
            }),
        }
    }
}

/// Whether a user asks for what it is already.
pub fn self_node_client(request: &Request, user: &str) -> bool {
    request.common_name == user
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, group: &str, dns: &[&str]) -> Request {
        Request {
            common_name: name.into(),
            organizations: vec![group.into()],
            dns: dns.iter().map(|name| (*name).to_owned()).collect(),
            ..Request::default()
        }
    }

    #[test]
    fn signers_sign_what_is_theirs() {
        let client = ["client auth", "digital signature"];
        let server = ["server auth", "digital signature", "key encipherment"];
        let node = request("system:node:n", NODES, &[]);
        let serving = request("system:node:n", NODES, &["n"]);
        let objects = |signer: Signer, request: &Request, usages: &[&str]| signer.objection(request, usages).is_some();
        assert!(!objects(Signer::KubeletClient, &node, &client) && !objects(Signer::KubeletServing, &serving, &server));
        assert!(objects(Signer::KubeletClient, &serving, &client) && objects(Signer::KubeletServing, &node, &server));
        assert!(
            objects(Signer::KubeletClient, &node, &server) && objects(Signer::KubeletClient, &node, &["client auth"])
        );
        assert!(objects(Signer::KubeletClient, &request("bob", NODES, &[]), &client));
        assert!(objects(
            Signer::KubeletClient,
            &request("system:node:n", "system:masters", &[]),
            &client
        ));
        assert!(
            !objects(Signer::Client, &request("bob", "dev", &[]), &client) && objects(Signer::Client, &node, &server)
        );
        assert_eq!(Signer::named("example.com/own"), None);
    }
}
