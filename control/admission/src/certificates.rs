//! CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who may approve and sign for which signer,
//! and that nobody gets a certificate of those who may do everything.

use barepod_auth::attributes::{Attributes, Object, Resource};
use barepod_auth::certificate;
use barepod_auth::user::MASTERS;
use barepod_kinds::value::{at, str_at};
use serde_json::Value;

use crate::{Notes, Operation, Plugin, Refusal, Request, World};

/// The three plugins, which never meet in one request.
pub(crate) struct Certificates;

const GROUP: &str = "certificates.k8s.io";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

impl Plugin for Certificates {
    fn handles(&self, request: &Request<'_>) -> bool {
        request.is(GROUP, "certificatesigningrequests")
            && match request.subresource {
                "" => request.operation == Operation::Create,
                subresource => matches!(subresource, "approval" | "status"),
            }
    }

    fn validate(&self, world: &dyn World, request: &Request<'_>, csr: &Value, _: &mut Notes) -> Result<(), Refusal> {
        let old = request.old.unwrap_or(&Value::Null);
        match request.subresource {
            "approval" => permitted(world, request, "approve", old),
            "status" => {
                let certificate = |csr| at(csr, &["status", "certificate"]);
                if certificate(old) == certificate(csr) {
                    Ok(())
                } else {
                    permitted(world, request, "sign", old)
                }
            }
            _ => subject(request, csr),
        }
    }
}

/// For a signer, or for all signers of its domain.
fn permitted(world: &dyn World, request: &Request<'_>, verb: &str, csr: &Value) -> Result<(), Refusal> {
    let signer = str_at(csr, &["spec", "signerName"]).unwrap_or("");
    let domain = signer.split('/').next().unwrap_or("");
    let may = |name: &str| {
        world.may(&Attributes {
            user: request.user,
            verb,
            object: Object::Resource(Resource {
                group: GROUP,
                version: "v1",
                resource: "signers",
                name,
                ..Resource::default()
            }),
        })
    };
    if may(signer) || may(&format!("{domain}/*")) {
        return Ok(());
    }
    Err(Refusal::forbidden(format!(
        "user not permitted to {verb} requests with signerName \"{signer}\""
    )))
}

fn subject(request: &Request<'_>, csr: &Value) -> Result<(), Refusal> {
    use base64::Engine;
    let signer = str_at(csr, &["spec", "signerName"]).unwrap_or("");
    let node = request.user.node();
    let of_nodes = matches!(signer, certificate::KUBELET_CLIENT | "kubernetes.io/kubelet-serving");
    if signer != CLIENT && !(of_nodes && node.is_some()) {
        return Ok(());
    }
    let pem = str_at(csr, &["spec", "request"]).unwrap_or("");
    let pem = base64::engine::general_purpose::STANDARD
        .decode(pem)
        .unwrap_or_default();
    let asked = certificate::Request::from_pem(&String::from_utf8_lossy(&pem));
    let asked = asked.map_err(|error| Refusal::forbidden(error.to_string()))?;
    if signer == CLIENT && asked.organizations.iter().any(|group| group == MASTERS) {
        return Err(Refusal::forbidden(format!(
            "use of {CLIENT} signer with {MASTERS} group is not allowed"
        )));
    }
    match node {
        Some(node) if of_nodes && asked.common_name != format!("system:node:{node}") => Err(Refusal::forbidden(
            format!("can only create a node CSR with CN=system:node:{node}"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Small, handle, request};
    use barepod_auth::rbac::Source;
    use serde_json::json;

    const RESOURCE: &str = "certificatesigningrequests";

    #[test]
    fn approving_and_signing_take_permission_for_the_signer() {
        let old = json!({"spec": {"signerName": "example.com/own"}});
        let mut signed = old.clone();
        signed["status"] = json!({"certificate": "x"});
        let mut world = Small::default();
        let (approval, status) = (format!("{RESOURCE}/approval"), format!("{RESOURCE}/status"));
        let approve = request(Operation::Update, GROUP, &approval, Some(&old));
        let sign = request(Operation::Update, GROUP, &status, Some(&old));
        let refused = handle(&Certificates, &world, &approve, old.clone()).unwrap_err();
        assert_eq!(
            refused,
            "user not permitted to approve requests with signerName \"example.com/own\""
        );
        assert!(handle(&Certificates, &world, &sign, old.clone()).is_ok());
        assert!(handle(&Certificates, &world, &sign, signed.clone()).is_err());
        let rule = |verb: &str, name: &str| json!({"verbs": [verb], "apiGroups": [GROUP], "resources": ["signers"], "resourceNames": [name]});
        let role = json!({"rules": [rule("approve", "example.com/own"), rule("sign", "example.com/*")]});
        world.1.set(Source::ClusterRole, "", "r", Some(&role));
        let binding =
            json!({"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "bob"}]});
        world.1.set(Source::ClusterRoleBinding, "", "b", Some(&binding));
        assert!(handle(&Certificates, &world, &approve, old.clone()).is_ok());
        assert!(handle(&Certificates, &world, &sign, signed).is_ok());
    }

    #[test]
    fn nobody_asks_to_be_a_master() {
        use base64::Engine;
        let create = request(Operation::Create, GROUP, RESOURCE, None);
        let ask = |signer: &str, group: &str| {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name.push(rcgen::DnType::OrganizationName, group);
            let pem = params
                .serialize_request(&rcgen::KeyPair::generate().unwrap())
                .unwrap()
                .pem()
                .unwrap();
            let pem = base64::engine::general_purpose::STANDARD.encode(pem);
            handle(
                &Certificates,
                &Small::default(),
                &create,
                json!({"spec": {"signerName": signer, "request": pem}}),
            )
            .map(drop)
        };
        assert_eq!(ask(CLIENT, "dev"), Ok(()));
        assert_eq!(ask("example.com/own", MASTERS), Ok(()));
        assert!(ask(CLIENT, MASTERS).unwrap_err().contains("is not allowed"));
    }
}
