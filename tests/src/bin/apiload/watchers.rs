//! From the send of a create to the event at the last of many watchers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use barepod_tests::stats::Samples;
use serde_json::Value;

use super::crowd::{self, Crowd};
use super::{Load, config_map};

const PATIENCE: Duration = Duration::from_secs(60);
/// Prints memory and the latency of some events for each number of watchers.
pub fn measure(load: &Load, steps: &[usize], events: usize) -> Result<()> {
    let now = load
        .server
        .connect()?
        .json("GET", &format!("{}?limit=1", load.base), None)?;
    let version = now["metadata"]["resourceVersion"]
        .as_str()
        .context("a resourceVersion")?;
    let mut version = version.to_owned();
    // The first member creates, the others watch.
    let mut crowd = Crowd::new()?;
    crowd.join(load.server.connect()?)?;
    let before = load.memory.resident();
    for step in steps.iter().copied().filter(|step| *step > 0) {
        begin(load, &mut crowd, step, &version)?;
        load.memory.show_each(before, step, "watchers");
        let mut samples = Samples::default();
        for i in 0..events {
            samples.add(create(load, &mut crowd, &format!("w{step}-{i}"), &mut version)?);
        }
        let name = format!("create -> event at the last of {step} watchers");
        println!(
            "{}   {:.1} us each",
            samples.line(&name),
            samples.percentile(50.0) * 1e3 / step as f64
        );
    }
    Ok(())
}

/// Adds watchers until there are `count`.
fn begin(load: &Load, crowd: &mut Crowd, count: usize, version: &str) -> Result<()> {
    let path = format!("{}?watch=true&resourceVersion={version}", load.base);
    let request = load.server.request("GET", &path, "application/json", &[]);
    let until = Instant::now() + PATIENCE;
    while crowd.len() <= count {
        let member = crowd.len();
        crowd.join(load.server.connect()?)?;
        crowd.send(member, &request)?;
        let mut waiting = true;
        while waiting {
            crowd.wait(until, |who, inbox| {
                if who == member && crowd::find(inbox, b"\r\n\r\n").is_some() {
                    ensure!(inbox.starts_with(b"HTTP/1.1 200"), "a watch was refused");
                    inbox.clear();
                    waiting = false;
                }
                Ok(None)
            })?;
        }
    }
    Ok(())
}

/// Creates one object and waits until everybody has heard of it.
fn create(load: &Load, crowd: &mut Crowd, name: &str, version: &mut String) -> Result<Duration> {
    let request = load
        .server
        .request("POST", &load.base, "application/json", &config_map(name));
    let named = format!("\"name\":\"{name}\"");
    let mut waiting = crowd.len();
    let start = Instant::now();
    let mut last = start;
    crowd.send(0, &request)?;
    while waiting > 0 {
        crowd.wait(start + PATIENCE, |who, inbox| {
            let arrived = if who == 0 {
                if let Some(at) = crowd::find(inbox, b"\r\n\r\n").filter(|_| inbox.ends_with(b"}")) {
                    let object: Value = serde_json::from_slice(&inbox[at + 4..])?;
                    let at = object["metadata"]["resourceVersion"].as_str();
                    at.context("a resourceVersion")?.clone_into(version);
                }
                match crowd::answer(inbox)? {
                    Some(status) => ensure!(status == 201, "create: {status}"),
                    None => return Ok(None),
                }
                true
            } else {
                // An event is a line; its last byte is the end of the chunk that carries it.
                inbox.ends_with(b"}\n\r\n") && crowd::find(inbox, named.as_bytes()).is_some()
            };
            if arrived {
                inbox.clear();
                waiting -= 1;
                if who != 0 {
                    last = Instant::now();
                }
            }
            Ok(None)
        })?;
    }
    Ok(last - start)
}
