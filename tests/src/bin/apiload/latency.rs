//! One connection, one request after the other.

use std::time::Instant;

use anyhow::Result;
use barepod_tests::api::Connection;
use barepod_tests::stats::Samples;

use super::{Load, config_map};

type Run<'a> = &'a dyn Fn(usize, &mut Connection) -> Result<()>;

/// Prints a line for each verb.
pub fn measure(load: &Load, count: usize) -> Result<()> {
    let (base, json) = (&load.base, "application/json");
    let mut connection = load.server.connect()?;
    let verbs: [(&str, Run<'_>); 4] = [
        ("create, one connection", &|i, c| {
            c.done("POST", base, json, &config_map(&format!("l{i}")))
        }),
        ("get", &|i, c| c.done("GET", &format!("{base}/l{i}"), json, &[])),
        ("merge patch", &|i, c| {
            let patch = br#"{"data":{"key":"y"}}"#;
            c.done("PATCH", &format!("{base}/l{i}"), "application/merge-patch+json", patch)
        }),
        ("delete", &|i, c| c.done("DELETE", &format!("{base}/l{i}"), json, &[])),
    ];
    for (name, run) in verbs {
        let mut samples = Samples::default();
        for i in 0..count {
            let start = Instant::now();
            run(i, &mut connection)?;
            samples.add(start.elapsed());
        }
        println!("{}", samples.line(name));
    }
    Ok(())
}
