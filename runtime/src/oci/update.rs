//! `update`: other limits for a container that runs.

use std::fs;
use std::io::{self, Read};

use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value, json};

use super::arguments::{Arguments, Known, Order};
use super::global::Global;
use super::state::{Directory, Status};
use crate::cgroup::{Cgroup, Layout};
use crate::error::{During, Error, Result};
use crate::systemd;

/// Options whose value is a number or an amount, and where in `linux.resources` it goes.
const NUMBERS: [(&str, &[&str]); 16] = [
    ("blkio-weight", &["blockIO", "weight"]),
    ("cpu-period", &["cpu", "period"]),
    ("cpu-quota", &["cpu", "quota"]),
    ("cpu-burst", &["cpu", "burst"]),
    ("cpu-share", &["cpu", "shares"]),
    ("cpu-shares", &["cpu", "shares"]),
    ("cpu-rt-period", &["cpu", "realtimePeriod"]),
    ("cpu-rt-runtime", &["cpu", "realtimeRuntime"]),
    ("cpu-idle", &["cpu", "idle"]),
    ("memory", &["memory", "limit"]),
    ("memory-reservation", &["memory", "reservation"]),
    ("memory-swap", &["memory", "swap"]),
    ("kernel-memory", &["memory", "kernel"]),
    ("kernel-memory-tcp", &["memory", "kernelTCP"]),
    ("pids-limit", &["pids", "limit"]),
    ("memory-swappiness", &["memory", "swappiness"]),
];

/// The same for text.
const TEXTS: [(&str, &[&str]); 2] = [("cpuset-cpus", &["cpu", "cpus"]), ("cpuset-mems", &["cpu", "mems"])];

/// Changes the limits; what is not named stays.
pub fn update(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let numbers = NUMBERS.iter().chain(&TEXTS).map(|(name, _)| (*name, None, true));
    let options: Vec<Known> = numbers.chain([("resources", Some('r'), true)]).collect();
    let mut given = Arguments::parse(arguments, &options, Order::Anywhere)?;
    let id = given.only("a container's id")?;
    let changes = changes(&given)?;
    let directory = Directory::new(global, &id)?;
    let _lock = directory.lock()?;
    let stored = directory.read()?;
    match directory.status(&stored) {
        Status::Created | Status::Running | Status::Paused => {}
        status => return Err(Error::State(format!("container not running: {id} is {status}"))),
    }
    let mut config: Value = parse("the container's configuration", &directory.config_text()?)?;
    let place = config
        .as_object_mut()
        .map(|config| config.entry("linux").or_insert_with(|| json!({})))
        .and_then(Value::as_object_mut)
        .map(|linux| linux.entry("resources").or_insert_with(|| json!({})));
    let place = place.ok_or_else(|| Error::Invalid("the container's configuration is no object".to_owned()))?;
    let before = place.clone();
    apply(place, &changes);
    let layout = Layout::detect()?;
    let cgroup = Cgroup::new(&layout, &stored.cgroup);
    let wanted: LinuxResources = sections(place, &changes)?;
    let told = |limits: &LinuxResources| {
        let scope = stored.scope.as_ref();
        scope.map_or(Ok(()), |scope| systemd::update(scope, &layout, limits))
    };
    let changed = cgroup
        .adopt(&wanted)
        .and_then(|()| told(&wanted))
        .and_then(|()| cgroup.update(&wanted));
    if let Err(error) = changed {
        // All of it or nothing; a limit that was never set has no value to go back to.
        if let Ok(before) = sections(&before, &changes) {
            let _ = told(&before);
            let _ = cgroup.update(&before);
        }
        return Err(error);
    }
    directory.write_config(config.to_string().as_bytes())?;
    Ok(0)
}

/// What is to change, in the form of `linux.resources`.
fn changes(given: &Arguments) -> Result<Value> {
    let mut changes = match given.value("resources") {
        None => json!({}),
        Some(file) => {
            let text = if file == "-" {
                let mut text = String::new();
                io::stdin()
                    .lock()
                    .read_to_string(&mut text)
                    .map(|_| text)
                    .during("read", "standard input")?
            } else {
                fs::read_to_string(file).during("read", file)?
            };
            // Whether it is what it should be is seen before anything is changed.
            let _: LinuxResources = parse("the resources", &text)?;
            parse("the resources", &text)?
        }
    };
    for (name, path) in NUMBERS {
        if let Some(text) = given.value(name).filter(|text| !text.is_empty()) {
            let amount = amount(text);
            let amount = amount.ok_or_else(|| Error::Invalid(format!("--{name} is an amount, not {text:?}")))?;
            set(&mut changes, path, amount.into());
        }
    }
    for (name, path) in TEXTS {
        if let Some(text) = given.value(name).filter(|text| !text.is_empty()) {
            set(&mut changes, path, text.into());
        }
    }
    Ok(changes)
}

fn set(object: &mut Value, path: &[&str], value: Value) {
    let mut place = object;
    for part in path {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[*part];
    }
    *place = value;
}

/// A number, perhaps with a letter for a power of 1024 behind it.
fn amount(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let lower = lower.strip_suffix('i').unwrap_or(lower);
    let shift = match lower.chars().last()? {
        'k' => 10,
        'm' => 20,
        'g' => 30,
        't' => 40,
        _ => return lower.parse().ok(),
    };
    lower[..lower.len() - 1].parse::<i64>().ok()?.checked_mul(1 << shift)
}

/// Lays changes over limits.
fn apply(limits: &mut Value, changes: &Value) {
    merge(limits, changes);
    let memory = &changes["memory"];
    if memory["limit"] == -1 && memory["swap"].is_null() && limits["memory"]["swap"].is_number() {
        // Memory cannot be unlimited while memory and swap together are not.
        limits["memory"]["swap"] = (-1).into();
    }
}

/// Lays objects over each other; anything else is replaced. `null` says nothing.
fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (_, Value::Null) => {}
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

/// The parts of `all` that `changes` speaks of, whole: limits depend on others of their part. Devices stay as they are.
fn sections(all: &Value, changes: &Value) -> Result<LinuxResources> {
    let wanted = |key: &&String| key.as_str() != "devices";
    let names = changes.as_object().into_iter().flat_map(Map::keys).filter(wanted);
    let parts: Map<String, Value> = names
        .filter_map(|name| Some((name.clone(), all.get(name)?.clone())))
        .collect();
    serde_json::from_value(parts.into()).map_err(|source| Error::Document {
        object: "the resources".to_owned(),
        source,
    })
}

fn parse<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|source| Error::Document {
        object: what.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("-1", -1),
            ("64m", 64 << 20),
            ("1GiB", 1 << 30),
            ("2kB", 2048),
            ("7b", 7),
        ] {
            assert_eq!(amount(text), Some(bytes), "{text}");
        }
        for text in ["", "m", "1x", "9999999999t", "1.5g"] {
            assert_eq!(amount(text), None, "{text}");
        }
    }

    #[test]
    fn what_changes_keeps_its_company() {
        let mut all = json!({ "memory": { "limit": 10, "swap": 20 }, "pids": { "limit": 5 }, "devices": [] });
        let changes = json!({ "memory": { "limit": 15, "swap": null }, "devices": [] });
        apply(&mut all, &changes);
        assert_eq!(all["memory"], json!({ "limit": 15, "swap": 20 }));
        let parts = sections(&all, &changes).unwrap();
        assert_eq!(parts.memory().as_ref().unwrap().swap(), Some(20));
        assert!(parts.pids().is_none() && parts.devices().is_none());
        apply(&mut all, &json!({ "memory": { "limit": -1 } }));
        assert_eq!(all["memory"], json!({ "limit": -1, "swap": -1 }));
        let mut empty = json!({});
        apply(&mut empty, &json!({ "memory": { "limit": -1 } }));
        assert_eq!(empty, json!({ "memory": { "limit": -1 } }));
        let mut empty = json!({});
        set(&mut empty, &["cpu", "cpus"], "0-1".into());
        assert_eq!(empty, json!({ "cpu": { "cpus": "0-1" } }));
    }
}
