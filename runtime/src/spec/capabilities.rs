//! Capabilities by name and number.

use std::str::FromStr;

use oci_spec::runtime::{Capabilities, Capability};

/// What a container has unless it asks for more or less.
#[must_use]
pub fn default_capabilities() -> Capabilities {
    [
        Capability::AuditWrite,
        Capability::Chown,
        Capability::DacOverride,
        Capability::Fowner,
        Capability::Fsetid,
        Capability::Kill,
        Capability::Mknod,
        Capability::NetBindService,
        Capability::NetRaw,
        Capability::Setfcap,
        Capability::Setgid,
        Capability::Setpcap,
        Capability::Setuid,
        Capability::SysChroot,
    ]
    .into_iter()
    .collect()
}

/// Every capability there is, for privileged containers. What the machine itself has not is left out when it is
/// applied.
#[must_use]
pub fn all_capabilities() -> Capabilities {
    ALL.into_iter().collect()
}

/// The number the kernel knows a capability by.
#[must_use]
pub fn capability_number(capability: Capability) -> u32 {
    let at = ALL.iter().position(|known| *known == capability);
    at.and_then(|at| u32::try_from(at).ok())
        .expect("the list has every capability")
}

/// The number of a capability by its name, with `CAP_` or without.
#[must_use]
pub fn capability_by_name(name: &str) -> Option<u32> {
    let name = name.strip_prefix("CAP_").unwrap_or(name);
    Capability::from_str(name).ok().map(capability_number)
}

/// The name of a capability, with `CAP_`.
#[must_use]
pub fn capability_name(number: u32) -> String {
    let known = usize::try_from(number).ok().and_then(|number| ALL.get(number));
    known.map_or_else(
        || format!("capability {number}"),
        |capability| format!("CAP_{capability}"),
    )
}

/// In the order of their numbers: capabilities(7), `linux/capability.h`.
const ALL: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        for (capability, number) in [
            (Capability::Chown, 0),
            (Capability::SysAdmin, 21),
            (Capability::Mknod, 27),
            (Capability::Setfcap, 31),
            (Capability::CheckpointRestore, 40),
        ] {
            assert_eq!(capability_number(capability), number);
        }
        assert_eq!(capability_by_name("CAP_CHECKPOINT_RESTORE"), Some(40));
        assert_eq!(
            (capability_by_name("KILL"), capability_by_name("CAP_")),
            (Some(5), None)
        );
        assert_eq!(
            (capability_name(21).as_str(), capability_name(50).as_str()),
            ("CAP_SYS_ADMIN", "capability 50")
        );
        assert_eq!(all_capabilities().len(), 41);
        assert_eq!(default_capabilities().len(), 14);
    }
}
