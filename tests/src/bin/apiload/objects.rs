//! Many connections that create objects at once, and lists of what they made.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use barepod_tests::api::Connection;
use barepod_tests::stats::Samples;

use super::crowd::{self, Crowd};
use super::{Load, config_map};

const PATIENCE: Duration = Duration::from_secs(30);

/// Creates objects until there are as many as each step says, and prints rate, memory and the time of a list.
pub fn measure(load: &Load, connections: usize, steps: &[usize]) -> Result<()> {
    let mut crowd = Crowd::new()?;
    for _ in 0..connections {
        crowd.join(load.server.connect()?)?;
    }
    let mut connection = load.server.connect()?;
    let before = load.memory.resident();
    let mut made = 0;
    for step in steps.iter().copied().filter(|step| *step > 0) {
        let rate = create(load, &mut crowd, made, step)?;
        made = made.max(step);
        println!(
            "{:<44} {rate:>9.0} /s",
            format!("creates up to {step}, {connections} connections")
        );
        load.memory.show_each(before, made, "objects");
        list(load, &mut connection, &format!("list of {step}, whole"), made, "")?;
    }
    list(
        load,
        &mut connection,
        "list of all, resourceVersion=0",
        made,
        "?resourceVersion=0",
    )?;
    list(load, &mut connection, "list of all, pages of 500", made, "?limit=500")
}

/// Creates the objects with the numbers `from..to`; returns how many a second.
fn create(load: &Load, crowd: &mut Crowd, from: usize, to: usize) -> Result<f64> {
    let mut next = from;
    let mut request = || {
        (next < to).then(|| {
            next += 1;
            load.server
                .request("POST", &load.base, "application/json", &config_map(&format!("t{next}")))
        })
    };
    let start = Instant::now();
    let mut busy = 0;
    for member in 0..crowd.len() {
        if let Some(request) = request() {
            crowd.send(member, &request)?;
            busy += 1;
        }
    }
    while busy > 0 {
        crowd.wait(start + PATIENCE, |_, inbox| {
            let Some(status) = crowd::answer(inbox)? else {
                return Ok(None);
            };
            ensure!(status == 201, "create: {status}");
            let request = request();
            busy -= usize::from(request.is_none());
            Ok(request)
        })?;
    }
    Ok(to.saturating_sub(from) as f64 / start.elapsed().as_secs_f64())
}

fn list(load: &Load, connection: &mut Connection, name: &str, count: usize, query: &str) -> Result<()> {
    let mut samples = Samples::default();
    let mut bytes = 0;
    for _ in 0..10 {
        let start = Instant::now();
        bytes = 0;
        let mut token = Some(String::new());
        while let Some(after) = token {
            let path = format!("{}{query}{after}", load.base);
            let (status, body) = connection.call("GET", &path, "application/json", &[])?;
            ensure!(status == 200, "list: {status}");
            bytes += body.len();
            token = continue_of(&body).map(|token| format!("&continue={token}"));
        }
        samples.add(start.elapsed());
    }
    let each = samples.percentile(50.0) * 1e3 / count.max(1) as f64;
    println!(
        "{}   {each:.2} us each ({:.1} MB)",
        samples.line(name),
        bytes as f64 / 1e6
    );
    Ok(())
}

/// The continue token of a list, which is in the metadata before the items.
fn continue_of(list: &[u8]) -> Option<String> {
    let head = &list[..crowd::find(list, b"\"items\"").unwrap_or(list.len())];
    let start = crowd::find(head, b"\"continue\":\"")? + b"\"continue\":\"".len();
    let length = head[start..].iter().position(|byte| *byte == b'"')?;
    let token = std::str::from_utf8(&head[start..start + length]).ok()?;
    (!token.is_empty()).then(|| token.to_owned())
}
