//! Names that follow from a pod's UID or address alone, so that everything can be found again without a record.

use std::net::Ipv4Addr;

/// Every host end of a pod's veth pair begins with this.
pub(crate) const PREFIX: &str = "bp";
const DIGITS: usize = 12;

/// Name of the host end of a pod's veth pair: `bp` and twelve hexadecimal digits, the first ones of a UID that is made
/// of such digits (so that it can be recognised), else a checksum.
pub(crate) fn host_interface(uid: &str) -> String {
    let digits: String = uid.chars().filter(|c| *c != '-').take(DIGITS).collect();
    let plain = uid.chars().all(|c| c == '-' || matches!(c, '0'..='9' | 'a'..='f'));
    if plain && digits.len() == DIGITS {
        format!("{PREFIX}{digits}")
    } else {
        let mut name = format!("{PREFIX}{:016x}", checksum(uid.as_bytes()));
        name.truncate(PREFIX.len() + DIGITS);
        name
    }
}

/// Whether an interface name can be one of ours.
pub(crate) fn is_host_interface(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|digits| digits.len() == DIGITS && digits.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')))
}

/// The hardware address of a pod's `eth0`, or of the bridge: locally administered, made of the address, so that a
/// neighbour entry of an earlier owner of the address is still right.
pub(crate) fn mac(ip: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = ip.octets();
    [0x0a, 0x58, a, b, c, d]
}

/// FNV-1a, 64 bits: small, and the same on every machine.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_can_be_recognised() {
        assert_eq!(host_interface("3f2a9c1b-7d3e-4f00-8000-0123456789ab"), "bp3f2a9c1b7d3e");
    }

    #[test]
    fn every_name_is_an_interface_name_of_ours() {
        for uid in [
            "3f2a9c1b-7d3e-4f00-8000-0123456789ab",
            "a",
            "",
            "kube-system/etcd",
            "ABCDEF0123456789",
            "ü",
        ] {
            let name = host_interface(uid);
            assert_eq!(name.len(), 14, "{uid}: {name}");
            assert!(is_host_interface(&name), "{uid}: {name}");
        }
        for other in [
            "bp",
            "bpool",
            "bridge",
            "bp3f2a9c1b7d3",
            "bp3f2a9c1b7d3g",
            "br3f2a9c1b7d3e",
        ] {
            assert!(!is_host_interface(other), "{other}");
        }
    }

    #[test]
    fn similar_ids_have_different_names() {
        assert_ne!(host_interface("container/eth0"), host_interface("container/eth1"));
    }

    #[test]
    fn hardware_address_follows_the_address() {
        assert_eq!(mac(Ipv4Addr::new(10, 244, 0, 5)), [0x0a, 0x58, 10, 244, 0, 5]);
    }
}
