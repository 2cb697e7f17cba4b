//! Certificates on request: what is asked for, whether a signer gives it, and the signed certificate.

mod authority;
mod request;
mod signer;

pub use authority::{Authority, AuthorityError, Validity};
pub use request::{Request, RequestError};
pub use signer::{KUBELET_CLIENT, Signer, self_node_client};
