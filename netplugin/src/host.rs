//! Settings of the host that pods need, and their way back.
//!
//! Every value is recorded in the state directory before it is changed, so that a reset restores it after any crash.

use crate::files::{read_if_there, remove_if_there, replace};
use crate::netlink::{Batch, Link, Socket, link_by_name, link_down, link_up};
use crate::{Config, Error, Ipv4Net, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const FILE: &str = "host.json";
const IP_FORWARD: &str = "net/ipv4/ip_forward";
/// What the kernel changes along with `ip_forward` (`inet_forward_change`), besides every device's own `forwarding`.
const ALONG_WITH_FORWARDING: [&str; 2] = ["net/ipv4/conf/all/accept_redirects", "net/ipv4/conf/default/forwarding"];
/// A device sends redirects when its own setting or this one says so; devices that have their own setting keep it. Pods
/// must not be told of shorter ways: their ports are isolated.
const SEND_REDIRECTS: &str = "net/ipv4/conf/all/send_redirects";

/// What the host was like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Record {
    /// The values are worthless after a reboot.
    boot_id: String,
    /// Files below /proc/sys with their former content.
    sysctls: BTreeMap<String, String>,
    /// Whether the loopback interface was down.
    loopback_was_down: bool,
    /// Addresses that tracked connections may have.
    networks: Vec<Ipv4Net>,
}

/// Turns on forwarding, and the loopback interface.
pub(crate) fn prepare(config: &Config, route: &mut Socket) -> Result<()> {
    let path = config.state_dir.join(FILE);
    let former = read(&path)?;
    let mut record = former.clone().unwrap_or_else(|| Record {
        boot_id: boot_id(),
        ..Record::default()
    });
    record.networks = vec![config.pod_cidr, config.service_cidr];
    let mut wanted = vec![];
    for (key, value) in [(IP_FORWARD, "1"), (SEND_REDIRECTS, "0")] {
        let current = get(key)?;
        if current != value {
            record.sysctls.entry(key.to_owned()).or_insert(current);
            wanted.push((key, value));
        }
    }
    if wanted.iter().any(|(key, _)| *key == IP_FORWARD) {
        for key in ALONG_WITH_FORWARDING
            .into_iter()
            .map(str::to_owned)
            .chain(forwarding_of_devices()?)
        {
            let current = get(&key)?;
            record.sysctls.entry(key).or_insert(current);
        }
    }
    let loopback = link_by_name(route, "lo")?.filter(|lo| !lo.up);
    record.loopback_was_down |= loopback.is_some();
    if former.as_ref() != Some(&record) {
        let text = serde_json::to_vec_pretty(&record).expect("the record is always valid JSON");
        replace(&path, &text)?;
    }
    for (key, value) in wanted {
        set(key, value)?;
    }
    if let Some(lo) = loopback {
        switch(route, &lo, true)?;
    }
    Ok(())
}

/// Settings of the bridge itself, which go with it.
///
/// Pods send by the bridge, and are sent to by their own interface: a strict source check (`rp_filter` 1, RFC 3704)
/// would take that for a forgery. The loose check is the larger number, and the larger of the device's and the host's
/// counts.
pub(crate) fn prepare_bridge(bridge: &str) -> Result<()> {
    for (name, value) in [("rp_filter", "2"), ("send_redirects", "0")] {
        let key = format!("net/ipv4/conf/{bridge}/{name}");
        if get(&key)? != value {
            set(&key, value)?;
        }
    }
    Ok(())
}

/// The networks whose tracked connections a reset forgets.
pub(crate) fn recorded_networks(state_dir: &Path) -> Result<Vec<Ipv4Net>> {
    Ok(read(&state_dir.join(FILE))?.map(|r| r.networks).unwrap_or_default())
}

/// Puts everything back and removes the record, unless something failed.
pub(crate) fn restore(state_dir: &Path) -> Vec<Error> {
    let path = state_dir.join(FILE);
    let mut errors = vec![];
    match read(&path) {
        Ok(Some(record)) => errors.extend(put_back(&record)),
        Ok(None) => {}
        Err(error) => errors.push(error),
    }
    if errors.is_empty() {
        for path in [path.clone(), state_dir.join(format!("{FILE}.new"))] {
            errors.extend(remove_if_there(&path).err());
        }
    }
    errors
}

fn put_back(record: &Record) -> Vec<Error> {
    let mut errors = vec![];
    // ip_forward first: it overwrites the settings of every device.
    let first = record.sysctls.get_key_value(IP_FORWARD);
    let rest = record.sysctls.iter().filter(|(key, _)| *key != IP_FORWARD);
    for (key, value) in first.into_iter().chain(rest) {
        match get(key) {
            Ok(current) if current == *value => {}
            Ok(_) => errors.extend(set(key, value).err()),
            // The device is gone.
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => errors.push(error),
        }
    }
    if record.loopback_was_down {
        let down = || {
            let mut route = Socket::route()?;
            link_by_name(&mut route, "lo")?
                .filter(|lo| lo.up)
                .map_or(Ok(()), |lo| switch(&mut route, &lo, false))
        };
        errors.extend(down().err());
    }
    errors
}

fn switch(route: &mut Socket, link: &Link, up: bool) -> Result<()> {
    let mut batch = Batch::new();
    batch.route(if up { link_up(link.index) } else { link_down(link.index) }, 0);
    route.apply(
        &mut batch,
        &format!("bring {} {}", link.name, if up { "up" } else { "down" }),
    )
}

/// The record of this boot.
fn read(path: &Path) -> Result<Option<Record>> {
    let Some(content) = read_if_there(path)? else {
        return Ok(None);
    };
    let record: Record = serde_json::from_str(&content).map_err(|error| Error::Damaged {
        path: path.to_owned(),
        line: error.line(),
        reason: error.to_string(),
    })?;
    Ok((record.boot_id == boot_id()).then_some(record))
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn forwarding_of_devices() -> Result<Vec<String>> {
    let dir = Path::new("/proc/sys/net/ipv4/conf");
    let mut keys = vec![];
    for entry in fs::read_dir(dir).map_err(Error::file("list", dir))? {
        let name = entry.map_err(Error::file("list", dir))?.file_name();
        // "all" is ip_forward itself.
        if let Some(name) = name.to_str().filter(|n| !matches!(*n, "all" | "default")) {
            keys.push(format!("net/ipv4/conf/{name}/forwarding"));
        }
    }
    Ok(keys)
}

fn path_of(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key)
}

fn get(key: &str) -> Result<String> {
    let path = path_of(key);
    Ok(fs::read_to_string(&path)
        .map_err(Error::file("read", &path))?
        .trim()
        .to_owned())
}

fn set(key: &str, value: &str) -> Result<()> {
    let path = path_of(key);
    fs::write(&path, value).map_err(Error::file("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::tests::TestDir;

    #[test]
    fn a_record_of_another_boot_is_worthless() {
        let dir = TestDir::new();
        let path = dir.0.join(FILE);
        let mut record = Record {
            boot_id: boot_id(),
            ..Record::default()
        };
        record
            .sysctls
            .insert("net/ipv4/conf/no-such-device/forwarding".into(), "0".into());
        replace(&path, &serde_json::to_vec(&record).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(record.clone()));
        record.boot_id = "another".into();
        replace(&path, &serde_json::to_vec(&record).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), None);
        assert!(restore(&dir.0).is_empty());
        assert!(!path.exists());
    }

    #[test]
    fn devices_that_are_gone_are_skipped() {
        let mut record = Record::default();
        record
            .sysctls
            .insert("net/ipv4/conf/no-such-device/forwarding".into(), "0".into());
        assert!(put_back(&record).is_empty());
    }

    #[test]
    fn a_damaged_record_is_told_and_kept() {
        let dir = TestDir::new();
        fs::write(dir.0.join(FILE), "{").unwrap();
        assert!(matches!(restore(&dir.0)[..], [Error::Damaged { .. }]));
        assert!(dir.0.join(FILE).exists());
    }
}
