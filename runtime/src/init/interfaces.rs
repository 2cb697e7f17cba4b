//! Network interfaces that move into the container: OCI runtime specification, "Network Devices". They stay there: what
//! becomes of them when the namespace goes away is the kernel's to decide.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;

use crate::document::NetDevice;
use crate::error::{During, Error, Result};
use crate::netlink::{Address, Netlink};

/// Moves interfaces from the namespace of one socket to that of another, which `namespace` is. All are looked at before
/// the first is moved.
///
/// # Errors
/// There is no such interface, the name is taken, or the kernel refuses.
pub fn move_all(
    devices: &BTreeMap<String, NetDevice>,
    outside: &mut Netlink,
    inside: &mut Netlink,
    namespace: &impl AsRawFd,
) -> Result<()> {
    let mut found: Vec<(&str, &str, i32, Vec<Address>)> = Vec::with_capacity(devices.len());
    for (name, device) in devices {
        let target = device
            .name
            .as_deref()
            .filter(|target| !target.is_empty())
            .unwrap_or(name);
        let index = outside.index(name).during("find the network interface", name)?;
        let addresses = outside.addresses(index).during("read the addresses of", name)?;
        // The kernel finds a number where there is a place for one.
        if !target.contains("%d") {
            match inside.index(target) {
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Ok(_) => {
                    return Err(Error::Invalid(format!(
                        "linux.netDevices: the container has a network interface {target} already"
                    )));
                }
                Err(error) => return Err(error).during("look for the network interface", target),
            }
        }
        found.push((name, target, index, addresses));
    }
    for (name, target, index, addresses) in found {
        move_one(outside, inside, namespace, (index, target), &addresses).during("move the network interface", name)?;
    }
    Ok(())
}

fn move_one(
    outside: &mut Netlink,
    inside: &mut Netlink,
    namespace: &impl AsRawFd,
    (index, target): (i32, &str),
    addresses: &[Address],
) -> io::Result<()> {
    let before = inside.indices()?;
    outside.move_to(index, namespace, target)?;
    // It has another number if its own was taken.
    let after = inside.indices()?;
    let new = after.iter().find(|index| !before.contains(index));
    // It only changes its name if it was there already.
    let new = new.or(after.iter().find(|other| **other == index)).copied();
    let new = new.ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))?;
    for address in addresses {
        inside.add(new, address)?;
    }
    inside.up(new)
}
