//! Security contexts: pod's and container's, the container's winning.

use std::path::Path;

use crate::kinds::{Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext};
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, LinuxSeccomp};

use super::Error;
use crate::pods::shape;

/// Both security contexts of a container.
#[derive(Clone, Copy)]
pub struct Security<'a> {
    pod: Option<&'a PodSecurityContext>,
    own: Option<&'a SecurityContext>,
}

impl<'a> Security<'a> {
    /// Of `container` in `pod`.
    pub fn of(pod: &'a Pod, container: &'a Container) -> Self {
        Self {
            pod: shape::spec(pod).security_context.as_ref(),
            own: container.security_context.as_ref(),
        }
    }

    /// All capabilities, all devices, nothing masked.
    pub fn privileged(&self) -> bool {
        self.own.and_then(|it| it.privileged).unwrap_or(false)
    }

    /// The root file system is not written to.
    pub fn read_only_root(&self) -> bool {
        self.own.and_then(|it| it.read_only_root_filesystem).unwrap_or(false)
    }

    /// Nothing in `/proc` is masked.
    pub fn unmasked(&self) -> bool {
        self.privileged() || self.own.and_then(|it| it.proc_mount.as_deref()) == Some("Unmasked")
    }

    /// Programs may not gain privileges by being executed.
    pub fn no_new_privileges(&self) -> bool {
        // A privileged container gains nothing by it, so Kubernetes leaves it off whatever is asked for.
        !self.privileged()
            && self.own.and_then(|it| it.allow_privilege_escalation) == Some(false)
            && !self.added().any(|it| it == Capability::SysAdmin)
    }

    /// `user[:group]` for the image's user database, if the pod says who it runs as.
    pub fn user(&self) -> Option<i64> {
        self.own
            .and_then(|it| it.run_as_user)
            .or_else(|| self.pod.and_then(|it| it.run_as_user))
    }

    /// Primary group, if the pod says so.
    pub fn group(&self) -> Option<u32> {
        let group = self
            .own
            .and_then(|it| it.run_as_group)
            .or_else(|| self.pod.and_then(|it| it.run_as_group));
        group.and_then(|gid| u32::try_from(gid).ok())
    }

    /// Root is refused.
    pub fn non_root(&self) -> bool {
        let own = self.own.and_then(|it| it.run_as_non_root);
        own.or_else(|| self.pod.and_then(|it| it.run_as_non_root))
            .unwrap_or(false)
    }

    /// Groups beside the primary one, given those the image has for the user.
    pub fn groups(&self, of_image: &[u32]) -> Vec<u32> {
        let strict = self.pod.and_then(|it| it.supplemental_groups_policy.as_deref()) == Some("Strict");
        let mut groups = if strict { Vec::new() } else { of_image.to_vec() };
        let given = self
            .pod
            .into_iter()
            .flat_map(|it| it.supplemental_groups.iter().flatten().chain(&it.fs_group));
        groups.extend(given.filter_map(|gid| u32::try_from(*gid).ok()));
        let mut seen = std::collections::BTreeSet::new();
        groups.retain(|gid| seen.insert(*gid));
        groups
    }

    fn added(&self) -> impl Iterator<Item = Capability> {
        let list = self
            .own
            .and_then(|it| it.capabilities.as_ref())
            .and_then(|it| it.add.as_ref());
        list.into_iter().flatten().filter_map(|name| capability(name))
    }

    /// The capability sets.
    pub fn capabilities(&self, defaults: Capabilities) -> Result<LinuxCapabilities, Error> {
        let all = barepod_runtime::spec::all_capabilities;
        let mut set = if self.privileged() { all() } else { defaults };
        if let Some(change) = self
            .own
            .and_then(|it| it.capabilities.as_ref())
            .filter(|_| !self.privileged())
        {
            let names = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
            let is_all = |name: &String| name.eq_ignore_ascii_case("ALL");
            let (add, drop) = (names(&change.add), names(&change.drop));
            if add.iter().any(is_all) {
                set = all();
            }
            if drop.iter().any(is_all) {
                // Added ones survive `drop: ALL`.
                set = if add.iter().any(is_all) {
                    all()
                } else {
                    Capabilities::new()
                };
            }
            let known = |name: &String| capability(name).ok_or_else(|| Error::Capability(name.clone()));
            for name in drop.iter().filter(|it| !is_all(it)) {
                set.remove(&known(name)?);
            }
            for name in add.iter().filter(|it| !is_all(it)) {
                set.insert(known(name)?);
            }
        }
        let mut sets = LinuxCapabilities::default();
        sets.set_bounding(Some(set.clone()));
        sets.set_effective(Some(set.clone()));
        sets.set_permitted(Some(set));
        // CVE-2022-24769: inheritable capabilities would reach programs that were not meant to have them.
        sets.set_inheritable(Some(Capabilities::new()));
        sets.set_ambient(Some(Capabilities::new()));
        Ok(sets)
    }

    /// The seccomp filter. `RuntimeDefault` unless something else is asked for: a pod that needs more says so.
    pub fn seccomp(
        &self,
        default: impl FnOnce() -> LinuxSeccomp,
        profiles: &Path,
    ) -> Result<Option<LinuxSeccomp>, Error> {
        if self.privileged() {
            return Ok(None);
        }
        let profile: Option<&SeccompProfile> = self
            .own
            .and_then(|it| it.seccomp_profile.as_ref())
            .or_else(|| self.pod.and_then(|it| it.seccomp_profile.as_ref()));
        match profile.map(|it| it.type_.as_str()) {
            None | Some("RuntimeDefault") => Ok(Some(default())),
            Some("Unconfined") => Ok(None),
            Some("Localhost") => {
                let name = profile
                    .and_then(|it| it.localhost_profile.as_deref())
                    .unwrap_or_default();
                let plain = !name.is_empty()
                    && Path::new(name)
                        .components()
                        .all(|it| matches!(it, std::path::Component::Normal(_)));
                let read = || -> Result<LinuxSeccomp, std::io::Error> {
                    if !plain {
                        return Err(std::io::Error::other("not a plain relative path"));
                    }
                    Ok(serde_json::from_slice(&std::fs::read(profiles.join(name))?)?)
                };
                read().map(Some).map_err(|source| Error::Seccomp {
                    profile: name.to_owned(),
                    source,
                })
            }
            Some(other) => Err(Error::Seccomp {
                profile: other.to_owned(),
                source: std::io::Error::other("unknown type"),
            }),
        }
    }
}

/// `NET_ADMIN` and `CAP_NET_ADMIN` are the same.
fn capability(name: &str) -> Option<Capability> {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).parse().ok()
}

/// The agent's own bounding set: more than that cannot be given away.
pub fn held_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    bits.and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .unwrap_or(0)
}

/// Bit of CAP_SYS_RESOURCE in [`held_capabilities`].
pub const CAP_SYS_RESOURCE: u64 = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run<T>(pod_context: serde_json::Value, context: serde_json::Value, f: impl FnOnce(Security<'_>) -> T) -> T {
        let pod: Pod = serde_json::from_value(json!({"spec": {"securityContext": pod_context,
            "containers": [{"name": "c", "securityContext": context}]}}))
        .unwrap();
        f(Security::of(&pod, &pod.spec.as_ref().unwrap().containers[0]))
    }

    fn defaults() -> Capabilities {
        [Capability::Chown, Capability::NetRaw, Capability::Kill].into()
    }

    #[test]
    fn capabilities_are_added_and_dropped() {
        let caps = |value| {
            run(json!({}), value, |it| {
                it.capabilities(defaults()).unwrap().bounding().clone().unwrap()
            })
        };
        assert_eq!(caps(json!({})), defaults());
        let changed = caps(json!({"capabilities": {"add": ["NET_ADMIN", "CAP_SYS_TIME"], "drop": ["net_raw"]}}));
        assert_eq!(
            changed,
            [
                Capability::Chown,
                Capability::Kill,
                Capability::NetAdmin,
                Capability::SysTime
            ]
            .into()
        );
        let only = caps(json!({"capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}}));
        assert_eq!(only, [Capability::NetBindService].into());
        assert!(run(json!({}), json!({"capabilities": {"add": ["NOPE"]}}), |it| it
            .capabilities(defaults())
            .is_err()));
    }

    #[test]
    fn users_groups_and_escalation() {
        run(
            json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4, 3], "runAsNonRoot": true}),
            json!({"runAsUser": 9, "allowPrivilegeEscalation": false}),
            |it| {
                assert_eq!(
                    (it.user(), it.group(), it.non_root(), it.no_new_privileges()),
                    (Some(9), Some(2), true, true)
                );
                assert_eq!(it.groups(&[7, 4]), [7, 4, 3]);
            },
        );
        run(json!({"supplementalGroupsPolicy": "Strict"}), json!({}), |it| {
            assert!(it.groups(&[7]).is_empty());
            assert!(!it.no_new_privileges());
        });
        run(
            json!({}),
            json!({"allowPrivilegeEscalation": false, "privileged": true}),
            |it| assert!(!it.no_new_privileges()),
        );
    }

    #[test]
    fn seccomp_is_on_unless_asked_off() {
        let get = |pod, own| {
            run(pod, own, |it| {
                it.seccomp(LinuxSeccomp::default, Path::new("/nonexistent"))
                    .map(|it| it.is_some())
                    .ok()
            })
        };
        assert_eq!(get(json!({}), json!({})), Some(true));
        assert_eq!(
            get(json!({"seccompProfile": {"type": "Unconfined"}}), json!({})),
            Some(false)
        );
        assert_eq!(
            get(
                json!({"seccompProfile": {"type": "Unconfined"}}),
                json!({"seccompProfile": {"type": "RuntimeDefault"}})
            ),
            Some(true)
        );
        assert_eq!(get(json!({}), json!({"privileged": true})), Some(false));
        assert_eq!(
            get(
                json!({}),
                json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "../x"}})
            ),
            None
        );
    }
}
