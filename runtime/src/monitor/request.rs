//! Reading a packet without making a tree of it: a container's configuration is passed on as the text it is, to be
//! parsed by the process that becomes the container, so that the monitor stays small.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::protocol::Overlay;

/// A packet of [`crate::protocol::Envelope`]'s form.
#[derive(Debug, Deserialize)]
pub struct Incoming<'a> {
    /// The client's number for it.
    pub seq: u64,
    /// What is asked.
    #[serde(borrow)]
    pub request: Body<'a>,
}

/// The fields of all requests together; each verb has its own.
#[derive(Debug, Deserialize)]
pub struct Body<'a> {
    pub verb: Verb,
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub exec_id: String,
    #[serde(default)]
    pub signal: i32,
    #[serde(default)]
    pub all: bool,
    #[serde(default)]
    pub start: bool,
    #[serde(default)]
    pub tty: bool,
    #[serde(default)]
    pub stdio: [bool; 3],
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    #[serde(default)]
    pub width: u16,
    #[serde(default)]
    pub height: u16,
    #[serde(default, borrow)]
    pub config: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub process: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub resources: Option<&'a RawValue>,
}

/// The tag of [`crate::protocol::Request`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Sandbox,
    Subscribe,
    Claim,
    Create,
    Start,
    Kill,
    Delete,
    Update,
    Exec,
    KillExec,
    Attach,
    Resize,
    Stop,
}

/// A container's configuration ([`crate::protocol::ContainerConfig`]) as far as the monitor needs it.
#[derive(Debug, Deserialize)]
pub struct Config<'a> {
    pub id: String,
    pub name: String,
    #[serde(borrow)]
    pub spec: &'a RawValue,
    #[serde(default)]
    pub filter: Option<&'a RawValue>,
    #[serde(default)]
    pub overlay: Option<Overlay>,
    pub log_path: PathBuf,
    #[serde(default)]
    pub log_max_bytes: u64,
    #[serde(default)]
    pub log_max_files: u32,
    #[serde(default)]
    pub stdin: bool,
    #[serde(default)]
    pub stdin_once: bool,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// Parses a document that came with a request.
pub fn parse<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| Error::Document {
        object: what.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{ContainerConfig, Envelope, Request};
    use oci_spec::runtime::{LinuxResources, Process, Spec};

    fn read(request: Request, check: impl FnOnce(&Body<'_>)) {
        let text = serde_json::to_string(&Envelope { seq: 7, request }).unwrap();
        let incoming: Incoming<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(incoming.seq, 7);
        check(&incoming.request);
    }

    #[test]
    fn every_request_of_the_protocol_is_understood() {
        let id = || "c".to_owned();
        read(Request::Sandbox, |b| assert_eq!(b.verb, Verb::Sandbox));
        read(Request::Subscribe, |b| assert_eq!(b.verb, Verb::Subscribe));
        read(
            Request::Create {
                config: None,
                start: true,
            },
            |b| assert!(b.verb == Verb::Create && b.start && b.config.is_none()),
        );
        read(Request::Start { id: id() }, |b| {
            assert!(b.verb == Verb::Start && b.id == "c")
        });
        read(
            Request::Kill {
                id: id(),
                signal: 9,
                all: true,
            },
            |b| assert!(b.verb == Verb::Kill && b.signal == 9 && b.all),
        );
        read(Request::Delete { id: id() }, |b| {
            assert!(b.verb == Verb::Delete && b.id == "c")
        });
        read(
            Request::Update {
                id: id(),
                resources: Box::default(),
            },
            |b| {
                assert_eq!(b.verb, Verb::Update);
                parse::<LinuxResources>("resources", b.resources.unwrap().get()).unwrap();
            },
        );
        read(
            Request::Exec {
                id: id(),
                exec_id: "e".to_owned(),
                process: Box::default(),
                tty: true,
                stdio: [true, false, true],
                timeout_ms: Some(5),
            },
            |b| {
                assert!(b.verb == Verb::Exec && b.exec_id == "e" && b.tty && b.timeout_ms == Some(5));
                assert_eq!(b.stdio, [true, false, true]);
                parse::<Process>("process", b.process.unwrap().get()).unwrap();
            },
        );
        read(
            Request::KillExec {
                exec_id: "e".to_owned(),
            },
            |b| assert!(b.verb == Verb::KillExec && b.exec_id == "e"),
        );
        read(
            Request::Attach {
                id: id(),
                stdio: [true; 3],
            },
            |b| assert!(b.verb == Verb::Attach && b.stdio == [true; 3]),
        );
        read(
            Request::Resize {
                id: id(),
                width: 80,
                height: 25,
            },
            |b| {
                assert!(b.verb == Verb::Resize && b.width == 80 && b.height == 25);
            },
        );
        read(Request::Stop, |b| assert_eq!(b.verb, Verb::Stop));
    }

    #[test]
    fn a_configuration_is_understood() {
        let config = ContainerConfig {
            id: "0123".to_owned(),
            name: "web".to_owned(),
            spec: Box::new(Spec::default()),
            filter: None,
            overlay: Some(Overlay {
                lower: vec!["/l".into()],
                upper: "/u".into(),
                work: "/w".into(),
            }),
            log_path: "/log".into(),
            log_max_bytes: 10,
            log_max_files: 2,
            stdin: true,
            stdin_once: false,
            annotations: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        };
        let text = serde_json::to_string(&config).unwrap();
        let read: Config<'_> = parse("configuration", &text).unwrap();
        assert_eq!(
            (read.id, read.name, read.overlay, read.log_path),
            (config.id, config.name, config.overlay, config.log_path)
        );
        assert_eq!(
            (read.log_max_bytes, read.log_max_files, read.stdin, read.stdin_once),
            (10, 2, true, false)
        );
        assert_eq!(parse::<Spec>("spec", read.spec.get()).unwrap(), *config.spec);
    }
}
