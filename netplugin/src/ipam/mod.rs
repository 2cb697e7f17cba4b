//! IPAM: which pod has which address and which host ports.
//!
//! A reservation is on disk before its address is used, keyed by the pod's UID, and the same for the same UID.
//! Addresses are given out in a round, so that a released one rests as long as possible: something may still send to
//! it.

mod journal;

use crate::{Error, HostPort, Ipv4Net, Result};
use journal::{Entry, Journal, WriteFailure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::path::Path;
use tracing::warn;

/// What one pod has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reservation {
    pub(crate) uid: String,
    pub(crate) ip: Ipv4Addr,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) host_ports: Vec<HostPort>,
}

/// What one pod wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    pub(crate) uid: &'a str,
    pub(crate) host_ports: &'a [HostPort],
}

/// All reservations of a node.
#[derive(Debug)]
pub(crate) struct Ipam {
    net: Ipv4Net,
    journal: Journal,
    pods: BTreeMap<String, Reservation>,
    owners: HashMap<Ipv4Addr, String>,
    /// The address given out last.
    last: Ipv4Addr,
    /// Releases that are not on disk yet. They go with the next reservation; if they are lost in a crash, the next
    /// `gc` finds those pods gone.
    released: Vec<String>,
}

impl Ipam {
    /// Reads what is reserved.
    pub(crate) fn open(state_dir: &Path, net: Ipv4Net) -> Result<Self> {
        let (journal, entries) = Journal::open(state_dir)?;
        let (pods, owners) = (BTreeMap::new(), HashMap::new());
        let mut ipam = Self {
            net,
            journal,
            pods,
            owners,
            last: net.first(),
            released: vec![],
        };
        for entry in entries {
            for uid in entry.release {
                ipam.forget(&uid);
            }
            for reservation in entry.reserve {
                ipam.insert(reservation);
            }
            ipam.last = entry.last.unwrap_or(ipam.last);
        }
        ipam.compact_if_worthwhile()?;
        Ok(ipam)
    }

    fn insert(&mut self, reservation: Reservation) {
        self.forget(&reservation.uid);
        if let Some(former) = self.owners.insert(reservation.ip, reservation.uid.clone()) {
            self.pods.remove(&former);
        }
        self.last = reservation.ip;
        self.pods.insert(reservation.uid.clone(), reservation);
    }

    fn forget(&mut self, uid: &str) -> Option<Reservation> {
        let gone = self.pods.remove(uid)?;
        self.owners.remove(&gone.ip);
        Some(gone)
    }

    /// Reserves for all wishes with one write to disk. The flag tells a new reservation from one that was there.
    pub(crate) fn reserve(&mut self, wishes: &[Wish<'_>]) -> Vec<Result<(Reservation, bool)>> {
        let mut results: Vec<_> = wishes.iter().map(|wish| self.reserve_in_memory(*wish)).collect();
        let fresh = |result: &Result<(Reservation, bool)>| match result {
            Ok((reservation, true)) => Some(reservation.clone()),
            _ => None,
        };
        let reserve: Vec<Reservation> = results.iter().filter_map(fresh).collect();
        if reserve.is_empty() {
            return results;
        }
        let Err(failure) = self.write(reserve) else {
            return results;
        };
        // Nothing may be used that is not on disk.
        for result in &mut results {
            if let Ok((reservation, true)) = result {
                self.forget(&reservation.uid.clone());
                *result = Err(failure.again());
            }
        }
        results
    }

    fn write(&mut self, reserve: Vec<Reservation>) -> Result<(), WriteFailure> {
        let entry = Entry {
            release: std::mem::take(&mut self.released),
            reserve,
            last: None,
        };
        let written = self.journal.append(&entry);
        if written.is_err() {
            self.released = entry.release;
        }
        written
    }

    /// Rewrites the file when most of it is past.
    fn compact_if_worthwhile(&mut self) -> Result<()> {
        // A pod takes some 70 bytes; below this the file has its first size anyway.
        if self.journal.len() <= 48 * 1024 + 200 * self.pods.len() {
            return Ok(());
        }
        let reserve = self.pods.values().cloned().collect();
        self.journal.rewrite(&Entry {
            release: vec![],
            reserve,
            last: Some(self.last),
        })?;
        self.released.clear();
        Ok(())
    }

    fn reserve_in_memory(&mut self, wish: Wish<'_>) -> Result<(Reservation, bool)> {
        self.check_host_ports(wish)?;
        let present = self.pods.get(wish.uid).filter(|r| self.usable(r.ip));
        if let Some(present) = present.filter(|r| r.host_ports == wish.host_ports) {
            return Ok((present.clone(), false));
        }
        let ip = match present {
            Some(present) => present.ip,
            None => self.free_address()?,
        };
        let reservation = Reservation {
            uid: wish.uid.to_owned(),
            ip,
            host_ports: wish.host_ports.to_vec(),
        };
        self.insert(reservation.clone());
        Ok((reservation, true))
    }

    fn check_host_ports(&self, wish: Wish<'_>) -> Result<()> {
        for port in wish.host_ports {
            let taken = |r: &&Reservation| r.uid != wish.uid && r.host_ports.iter().any(|other| other.collides(port));
            if let Some(owner) = self.pods.values().find(taken) {
                return Err(Error::HostPortTaken {
                    port: port.host_port,
                    protocol: port.protocol,
                    uid: owner.uid.clone(),
                });
            }
        }
        Ok(())
    }

    /// An address pods may have: not the network's own, the gateway's or the broadcast address.
    fn usable(&self, ip: Ipv4Addr) -> bool {
        self.net.contains(ip) && ip > self.net.first() && ip < self.net.broadcast()
    }

    fn free_address(&self) -> Result<Ipv4Addr> {
        let first = self.net.first().to_bits() + 1;
        let end = self.net.broadcast().to_bits();
        let next = self.last.to_bits().saturating_add(1);
        let next = if (first..end).contains(&next) { next } else { first };
        (next..end)
            .chain(first..next)
            .map(Ipv4Addr::from_bits)
            .find(|ip| !self.owners.contains_key(ip))
            .ok_or(Error::Exhausted(self.net))
    }

    /// Gives the address back.
    pub(crate) fn release(&mut self, uid: &str) -> Result<Option<Reservation>> {
        let Some(gone) = self.forget(uid) else { return Ok(None) };
        self.released.push(uid.to_owned());
        self.compact_if_worthwhile()?;
        Ok(Some(gone))
    }

    pub(crate) fn get(&self, uid: &str) -> Option<&Reservation> {
        self.pods.get(uid)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Reservation> {
        self.pods.values()
    }
}

impl Drop for Ipam {
    fn drop(&mut self) {
        if !self.released.is_empty()
            && let Err(failure) = self.write(vec![])
        {
            warn!(error = %failure.again(), "released addresses stay reserved until the next garbage collection");
        }
    }
}

/// Removes the reservations' file.
pub(crate) fn remove(state_dir: &Path) -> Result<()> {
    journal::remove(state_dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;
    use crate::files::tests::TestDir;

    fn open(dir: &TestDir) -> Ipam {
        Ipam::open(&dir.0, "10.244.0.0/24".parse().unwrap()).unwrap()
    }

    fn reserve(ipam: &mut Ipam, uid: &str) -> Ipv4Addr {
        reserve_ports(ipam, uid, &[]).unwrap()
    }

    fn reserve_ports(ipam: &mut Ipam, uid: &str, host_ports: &[HostPort]) -> Result<Ipv4Addr> {
        ipam.reserve(&[Wish { uid, host_ports }]).remove(0).map(|(r, _)| r.ip)
    }

    fn last_byte(ip: Ipv4Addr) -> u8 {
        ip.octets()[3]
    }

    #[test]
    fn addresses_go_round_and_survive() {
        let dir = TestDir::new();
        let mut ipam = open(&dir);
        assert_eq!(last_byte(reserve(&mut ipam, "a")), 2);
        assert_eq!(last_byte(reserve(&mut ipam, "b")), 3);
        assert_eq!(last_byte(reserve(&mut ipam, "a")), 2, "the same pod keeps its address");
        ipam.release("b").unwrap().unwrap();
        assert_eq!(ipam.release("b").unwrap(), None);
        assert_eq!(last_byte(reserve(&mut ipam, "c")), 4, "a released address rests");
        drop(ipam);
        let mut ipam = open(&dir);
        assert_eq!(ipam.iter().map(|r| r.uid.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(last_byte(reserve(&mut ipam, "d")), 5, "also after a restart");
    }

    #[test]
    fn all_addresses_can_be_used() {
        let dir = TestDir::new();
        let mut ipam = open(&dir);
        let uids: Vec<String> = (0..254).map(|i| format!("pod-{i}")).collect();
        let wishes: Vec<Wish<'_>> = uids.iter().map(|uid| Wish { uid, host_ports: &[] }).collect();
        let results = ipam.reserve(&wishes);
        assert!(results[..253].iter().all(Result::is_ok));
        assert!(
            matches!(results[253], Err(Error::Exhausted(_))),
            "2 to 254 are 253 addresses"
        );
        ipam.release("pod-7").unwrap();
        assert_eq!(last_byte(reserve(&mut ipam, "another")), 9);
    }

    #[test]
    fn host_ports_belong_to_one_pod() {
        let dir = TestDir::new();
        let mut ipam = open(&dir);
        let port = HostPort {
            host_ip: None,
            host_port: 80,
            container_port: 8080,
            protocol: Protocol::Tcp,
        };
        reserve_ports(&mut ipam, "a", &[port]).unwrap();
        reserve_ports(&mut ipam, "a", &[port]).unwrap();
        assert!(matches!(
            reserve_ports(&mut ipam, "b", &[port]),
            Err(Error::HostPortTaken { port: 80, uid, .. }) if uid == "a"
        ));
        let udp = HostPort {
            protocol: Protocol::Udp,
            ..port
        };
        reserve_ports(&mut ipam, "b", &[udp]).unwrap();
        drop(ipam);
        assert_eq!(open(&dir).get("b").unwrap().host_ports, [udp]);
    }

    #[test]
    fn another_pod_cidr_means_another_address() {
        let dir = TestDir::new();
        reserve(&mut open(&dir), "a");
        let mut ipam = Ipam::open(&dir.0, "10.244.7.0/24".parse().unwrap()).unwrap();
        assert_eq!(reserve(&mut ipam, "a"), Ipv4Addr::new(10, 244, 7, 2));
        assert_eq!(ipam.iter().count(), 1);
    }

    #[test]
    fn a_lost_release_gives_way_to_the_next_owner() {
        let dir = TestDir::new();
        let path = dir.0.join("reservations.jsonl");
        let line = |uid: &str| format!("{{\"reserve\":[{{\"uid\":\"{uid}\",\"ip\":\"10.244.0.2\"}}]}}\n");
        std::fs::write(&path, line("a") + &line("b")).unwrap();
        let ipam = open(&dir);
        assert!(ipam.get("a").is_none());
        assert_eq!(ipam.get("b").unwrap().ip, Ipv4Addr::new(10, 244, 0, 2));
    }

    #[test]
    fn a_crash_loses_no_reservation() {
        let dir = TestDir::new();
        let mut ipam = open(&dir);
        reserve(&mut ipam, "a");
        ipam.release("a").unwrap();
        // As if killed: nothing is written at the end.
        std::mem::forget(ipam);
        let mut ipam = open(&dir);
        assert!(ipam.get("a").is_some(), "a release may be lost");
        ipam.release("a").unwrap();
        reserve(&mut ipam, "b");
        std::mem::forget(ipam);
        let ipam = open(&dir);
        assert!(ipam.get("a").is_none() && ipam.get("b").is_some());
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let dir = TestDir::new();
        let mut ipam = open(&dir);
        let mut last = 0;
        for i in 0..900 {
            let uid = format!("pod-{i}");
            last = last_byte(reserve(&mut ipam, &uid));
            ipam.release(&uid).unwrap();
        }
        assert!(std::fs::metadata(dir.0.join("reservations.jsonl")).unwrap().len() <= 64 * 1024);
        drop(ipam);
        let next = last_byte(reserve(&mut open(&dir), "next"));
        assert_eq!(
            next,
            if last == 254 { 2 } else { last + 1 },
            "the round goes on after compaction"
        );
    }
}
