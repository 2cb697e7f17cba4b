//! The way back: everything this crate has made is removed.

use crate::files::{self, Wait};
use crate::names::is_host_interface;
use crate::netlink::{Link, Socket, links};
use crate::{Error, Result, conntrack, host, ipam, proxy, reaper};
use std::path::Path;

/// Removes everything that was made under the state directory and the bridge's name: the nf_tables table, the pods'
/// interfaces and the bridge with its routes, tracked connections, the changes to the host's settings, and the files.
/// Every step is tried; what failed is returned, and a second call does the rest. Nothing made is no error.
///
/// The owner of the state directory has to be stopped before.
#[must_use]
pub fn reset(state_dir: &Path, bridge: &str) -> Vec<Error> {
    let lock = if state_dir.exists() {
        match files::lock(state_dir, Wait::No) {
            Ok(lock) => Some(lock),
            Err(error) => return vec![error],
        }
    } else {
        None
    };
    let mut errors = vec![];
    errors.extend(proxy::remove_table().err());
    errors.extend(remove_links(bridge).err());
    errors.extend(forget_connections(state_dir).err());
    errors.extend(host::restore(state_dir));
    errors.extend(ipam::remove(state_dir).err());
    if let Some(lock) = lock
        && errors.is_empty()
    {
        errors.extend(files::remove_state_dir(state_dir, lock).err());
    }
    errors
}

/// The bridge with all pods' interfaces, in one go.
fn remove_links(bridge: &str) -> Result<()> {
    let mut socket = Socket::route()?;
    let all = links(&mut socket)?;
    let bridge_index = all.iter().find(|l| l.name == bridge).map(|l| l.index);
    // An interface whose bridge was deleted by hand has no master any more, but still its pod's UID.
    let is_port = |l: &Link| {
        is_host_interface(&l.name)
            && match l.master {
                Some(master) => Some(master) == bridge_index,
                None => l.alias.is_some(),
            }
    };
    let ours: Vec<u32> = all
        .iter()
        .filter(|l| Some(l.index) == bridge_index || is_port(l))
        .map(|l| l.index)
        .collect();
    reaper::delete(&mut socket, &ours)
}

fn forget_connections(state_dir: &Path) -> Result<()> {
    let networks = host::recorded_networks(state_dir)?;
    if networks.is_empty() {
        return Ok(());
    }
    conntrack::flush_networks(&mut Socket::netfilter()?, &networks).map(drop)
}
