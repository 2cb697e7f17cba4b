//! The API server's transport: TLS, HTTP/1.1 and HTTP/2, identity from certificates, and streams to nodes.

pub mod aggregate;
mod audit;
mod compress;
mod extension;
mod identity;
mod links;
mod measure;
mod proxy;
mod route;
mod server;
mod service;
mod socket;
mod tls;
mod trust;
mod tunnel;
mod upstream;

pub use extension::{Extension, ExtensionError, Extensions, Identity, Trust};
pub(crate) use measure::{measured, until_answered};
pub use server::{Limits, Server};
pub use tls::{ServerTls, TlsError, UpstreamTls, front_proxy};
pub use upstream::{Peer, Security};
