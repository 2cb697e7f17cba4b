//! The API, called as clients call it: most of it without a socket, some of it over TLS. One program, because each links
//! the whole control service.

#[path = "../support/server.rs"]
mod server;
#[path = "../support/mod.rs"]
mod support;

mod access;
mod admission;
mod aggregate;
mod conversion;
mod custom;
mod delete;
mod fairness;
mod keepers;
mod kinds;
mod metrics;
mod parts;
mod policies;
mod read;
mod reviews;
mod rules;
mod rust_client;
mod tokens;
mod transport;
mod versions;
mod warnings;
mod watch;
mod webhooks;
mod write;
