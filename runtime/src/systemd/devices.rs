//! Device rules as systemd keeps them: a list of what is allowed, without exceptions. systemd.resource-control(5),
//! `DevicePolicy=` and `DeviceAllow=`.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::wire::{Property, Value};
use crate::cgroup::devices::{BPF_DEVCG_ACC_MKNOD, BPF_DEVCG_ACC_READ, BPF_DEVCG_ACC_WRITE, access, complete, kind};

/// All that can be done with a device.
const ALL: i32 = BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;

/// Some devices, and what may be done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Devices {
    block: bool,
    /// Absent is any.
    major: Option<i64>,
    /// The same.
    minor: Option<i64>,
    access: i32,
}

impl Devices {
    fn overlap(self, other: Self) -> bool {
        let meet = |a: Option<i64>, b: Option<i64>| a.is_none() || b.is_none() || a == b;
        self.block == other.block
            && meet(self.major, other.major)
            && meet(self.minor, other.minor)
            && self.access & other.access != 0
    }

    /// Whether all of `other` is among these, whatever is done with them.
    fn cover(self, other: Self) -> bool {
        let covers = |a: Option<i64>, b: Option<i64>| a.is_none() || a == b;
        covers(self.major, other.major) && covers(self.minor, other.minor)
    }

    /// What systemd calls them. It has no name for a number in all majors, and gets all devices for that.
    fn name(self) -> String {
        let kind = if self.block { "block" } else { "char" };
        match (self.major, self.minor) {
            (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
            (Some(major), None) => format!("{kind}-{major}"),
            (None, _) => format!("{kind}-*"),
        }
    }

    fn letters(self) -> String {
        let letters = [
            (BPF_DEVCG_ACC_READ, 'r'),
            (BPF_DEVCG_ACC_WRITE, 'w'),
            (BPF_DEVCG_ACC_MKNOD, 'm'),
        ];
        let given = letters.iter().filter(|(bit, _)| self.access & bit != 0);
        given.map(|(_, letter)| letter).collect()
    }
}

/// What is allowed by rules of which later ones win over earlier ones.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    /// `None` for everything.
    list: Option<Vec<Devices>>,
    /// Otherwise the rules allow less.
    pub exact: bool,
}

impl Allowed {
    /// Follows the rules one by one.
    pub fn by(rules: &[LinuxDeviceCgroup]) -> Self {
        let mut allowed = Self {
            list: Some(Vec::new()),
            exact: true,
        };
        for rule in complete(rules).iter() {
            allowed.follow(rule);
        }
        allowed
    }

    fn follow(&mut self, rule: &LinuxDeviceCgroup) {
        let number = |number: Option<i64>| number.filter(|number| *number >= 0);
        let (major, minor) = (number(rule.major()), number(rule.minor()));
        let access = access(rule.access().as_deref());
        let kinds: &[bool] = match kind(rule) {
            LinuxDeviceType::B => &[true],
            LinuxDeviceType::C => &[false],
            _ if major.is_none() && minor.is_none() && access == ALL => {
                self.list = (!rule.allow()).then(Vec::new);
                self.exact = true;
                return;
            }
            _ => &[true, false],
        };
        for block in kinds {
            let devices = Devices {
                block: *block,
                major,
                minor,
                access,
            };
            match (&mut self.list, rule.allow()) {
                (None, true) => {}
                (None, false) => self.exact = false,
                (Some(list), true) => {
                    self.exact &= major.is_some() || minor.is_none();
                    list.push(devices);
                }
                (Some(list), false) => {
                    for before in list.iter_mut().filter(|before| before.overlap(devices)) {
                        if devices.cover(*before) {
                            before.access &= !access;
                        } else {
                            self.exact = false;
                        }
                    }
                    list.retain(|before| before.access != 0);
                }
            }
        }
    }

    /// In systemd's words. A list is added to the one that is there, so an empty one comes first.
    pub fn properties(&self) -> Vec<Property> {
        let entry =
            |devices: &Devices| Value::Structure(vec![Value::Text(devices.name()), Value::Text(devices.letters())]);
        let list = |devices: &[Devices]| Value::Array("(ss)".to_owned(), devices.iter().map(entry).collect());
        let policy = if self.list.is_some() { "strict" } else { "auto" };
        let mut all: Vec<Property> = vec![
            ("DevicePolicy".into(), Value::text(policy)),
            ("DeviceAllow".into(), list(&[])),
        ];
        if let Some(devices) = &self.list {
            all.push(("DeviceAllow".into(), list(devices)));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    /// The names and letters of what is allowed beyond what every container may use; `None` for everything.
    fn allowed(rules: Json) -> (Option<Vec<String>>, bool) {
        let rules: Vec<LinuxDeviceCgroup> = serde_json::from_value(rules).unwrap();
        let every = Allowed::by(&[]).list.unwrap_or_default();
        let allowed = Allowed::by(&rules);
        let list = allowed.list.map(|list| {
            let own = list.iter().filter(|devices| !every.contains(devices));
            own.map(|devices| format!("{} {}", devices.name(), devices.letters()))
                .collect()
        });
        (list, allowed.exact)
    }

    #[test]
    fn rules_become_a_list() {
        let deny_all = json!({ "allow": false, "access": "rwm" });
        for (rules, list, exact) in [
            (json!([deny_all]), Some(vec![]), true),
            (
                json!([deny_all, { "allow": true, "type": "b", "major": 8, "access": "r" },
                    { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" }]),
                Some(vec!["block-8 r", "/dev/char/10:229 rw"]),
                true,
            ),
            // What was allowed before all is denied is not any more.
            (
                json!([{ "allow": true, "type": "b", "major": 8, "access": "r" }, deny_all]),
                Some(vec![]),
                true,
            ),
            (
                json!([{ "allow": true, "type": "c", "major": 10, "minor": 1, "access": "rw" },
                    { "allow": false, "type": "c", "major": 10, "access": "w" },
                    { "allow": false, "type": "b", "major": 10, "access": "r" }]),
                Some(vec!["/dev/char/10:1 r"]),
                true,
            ),
            // An exception from what is allowed, and a number in all majors: systemd has to allow more.
            (
                json!([{ "allow": true, "type": "b", "major": 8, "access": "r" },
                    { "allow": false, "type": "b", "major": 8, "minor": 1, "access": "r" }]),
                Some(vec!["block-8 r"]),
                false,
            ),
            (
                json!([{ "allow": true, "type": "a", "minor": 3, "access": "r" }]),
                Some(vec!["block-* r", "char-* r"]),
                false,
            ),
            (json!([{ "allow": true, "access": "rwm" }]), None, true),
            (
                json!([{ "allow": true, "access": "rwm" }, { "allow": false, "type": "b", "access": "w" }]),
                None,
                false,
            ),
            (
                json!([{ "allow": true, "access": "rwm" }, { "allow": false, "type": "b", "access": "w" }, { "allow": true }]),
                None,
                true,
            ),
        ] {
            let list = list.map(|list| list.into_iter().map(str::to_owned).collect());
            assert_eq!(allowed(rules.clone()), (list, exact), "{rules}");
        }
    }

    #[test]
    fn a_list_is_written_anew() {
        let signatures: Vec<_> = Allowed::by(&[])
            .properties()
            .iter()
            .map(|(name, value)| format!("{name} {}", value.signature()))
            .collect();
        assert_eq!(signatures, ["DevicePolicy s", "DeviceAllow a(ss)", "DeviceAllow a(ss)"]);
    }
}
