//! Which devices a container may use: files on v1, a BPF program on v2. Later rules win over earlier ones.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use crate::error::{During, Result};
use crate::spec::default_devices;
use crate::sys::bpf::{Instruction, attach_device_filter, detach_device_filter, device_filters};

/// The rules with those for the devices that every container has, which OCI runtimes allow whatever a document says: it
/// mostly says nothing but that all is denied.
pub(crate) fn complete(rules: &[LinuxDeviceCgroup]) -> Cow<'_, [LinuxDeviceCgroup]> {
    let default = default_devices();
    if rules == default || rules.iter().any(|rule| rule.allow() && is_everything(rule)) {
        return Cow::Borrowed(rules);
    }
    Cow::Owned(
        rules
            .iter()
            .chain(default.iter().filter(|rule| rule.allow()))
            .cloned()
            .collect(),
    )
}

/// Writes the rules in their order; the kernel keeps the list. Each write is one rule, so the files stay open.
pub(super) fn write_v1(dir: &Path, rules: &[LinuxDeviceCgroup]) -> Result<()> {
    let rules = &complete(rules);
    let open = |file: &str| {
        let path = dir.join(file);
        File::options().write(true).open(&path).during("open", path.display())
    };
    let (allow, deny) = (open("devices.allow")?, open("devices.deny")?);
    for rule in rules.iter() {
        let mut file = if rule.allow() { &allow } else { &deny };
        let text = if is_everything(rule) {
            "a".to_owned()
        } else {
            v1_text(rule)
        };
        file.write_all(text.as_bytes()).during("write the device rule", text)?;
    }
    Ok(())
}

fn is_everything(rule: &LinuxDeviceCgroup) -> bool {
    kind(rule) == LinuxDeviceType::A
}

/// What kind of device a rule is about.
pub(crate) fn kind(rule: &LinuxDeviceCgroup) -> LinuxDeviceType {
    // An unbuffered character device is a character device: mknod(1).
    match rule.typ().unwrap_or_default() {
        LinuxDeviceType::U => LinuxDeviceType::C,
        kind => kind,
    }
}

fn v1_text(rule: &LinuxDeviceCgroup) -> String {
    let number = |number: Option<i64>| {
        number
            .filter(|n| *n >= 0)
            .map_or_else(|| "*".to_owned(), |n| n.to_string())
    };
    let access = rule
        .access()
        .as_deref()
        .filter(|access| !access.is_empty())
        .unwrap_or("rwm");
    format!(
        "{} {}:{} {access}",
        kind(rule).as_str(),
        number(rule.major()),
        number(rule.minor())
    )
}

/// Translates the rules into a program and attaches it in the place of those that are attached.
pub(super) fn attach_v2(dir: &Path, rules: &[LinuxDeviceCgroup]) -> io::Result<()> {
    let cgroup = File::open(dir)?;
    // A device is usable only if all programs allow it, so the new one alone is to decide.
    let old = device_filters(cgroup.as_fd())?;
    attach_device_filter(cgroup.as_fd(), &program(&complete(rules)), c"Apache-2.0")?;
    old.iter()
        .try_for_each(|old| detach_device_filter(cgroup.as_fd(), old.as_fd()))
}

// Registers of the program: what is asked, taken apart once.
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 1;
const RESULT: u8 = 0;

const BPF_DEVCG_DEV_BLOCK: i32 = 1;
const BPF_DEVCG_DEV_CHAR: i32 = 2;
pub(crate) const BPF_DEVCG_ACC_MKNOD: i32 = 1;
pub(crate) const BPF_DEVCG_ACC_READ: i32 = 2;
pub(crate) const BPF_DEVCG_ACC_WRITE: i32 = 4;

/// `R0 = 1` allows. The context is `struct bpf_cgroup_dev_ctx { access << 16 | type, major, minor }`.
///
/// The last rule that matches decides, so the program asks the last rule first. Nothing matching is refused, as a v2
/// cgroup with an OCI device list starts from deny.
fn program(rules: &[LinuxDeviceCgroup]) -> Vec<Instruction> {
    let mut code = vec![
        load(TYPE, 0),
        alu32(AND, TYPE, 0xffff),
        load(ACCESS, 0),
        alu32(RIGHT_SHIFT, ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        let mut block = vec![set(RESULT, i32::from(rule.allow())), exit()];
        // Each condition jumps over the rest of the block, which is built from its end.
        let ahead = |test: &[Instruction], mut jump: Instruction, block: &mut Vec<Instruction>| {
            jump.offset = i16::try_from(block.len()).unwrap_or(i16::MAX);
            block.insert(0, jump);
            block.splice(0..0, test.iter().copied());
        };
        if let Some(minor) = number(rule.minor()) {
            ahead(&[], jump_unless_equal(MINOR, minor), &mut block);
        }
        if let Some(major) = number(rule.major()) {
            ahead(&[], jump_unless_equal(MAJOR, major), &mut block);
        }
        let access = access(rule.access().as_deref());
        let whole = access == BPF_DEVCG_ACC_MKNOD | BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE;
        if !whole {
            // A rule that allows must cover all that is asked; one that denies matches if it covers any of it.
            if rule.allow() {
                let rest = [copy(SCRATCH, ACCESS), alu32(AND, SCRATCH, !access)];
                ahead(&rest, jump_unless_equal(SCRATCH, 0), &mut block);
            } else {
                let some = [copy(SCRATCH, ACCESS), alu32(AND, SCRATCH, access)];
                ahead(&some, jump_if_equal(SCRATCH, 0), &mut block);
            }
        }
        match kind(rule) {
            LinuxDeviceType::B => ahead(&[], jump_unless_equal(TYPE, BPF_DEVCG_DEV_BLOCK), &mut block),
            LinuxDeviceType::C => ahead(&[], jump_unless_equal(TYPE, BPF_DEVCG_DEV_CHAR), &mut block),
            _ => {}
        }
        code.append(&mut block);
        if whole && is_everything(rule) && number(rule.major()).is_none() && number(rule.minor()).is_none() {
            // Nothing before this rule can matter, and the verifier refuses code that cannot be reached.
            return code;
        }
    }
    code.extend([set(RESULT, 0), exit()]);
    code
}

fn number(number: Option<i64>) -> Option<i32> {
    number.filter(|n| *n >= 0).and_then(|n| i32::try_from(n).ok())
}

/// What a rule allows or denies, as bits.
pub(crate) fn access(text: Option<&str>) -> i32 {
    let text = text.filter(|text| !text.is_empty()).unwrap_or("rwm");
    text.chars().fold(0, |mask, letter| {
        mask | match letter {
            'r' => BPF_DEVCG_ACC_READ,
            'w' => BPF_DEVCG_ACC_WRITE,
            'm' => BPF_DEVCG_ACC_MKNOD,
            _ => 0,
        }
    })
}

// Instruction classes and operations of linux/bpf.h.
const AND: u8 = 0x50;
const RIGHT_SHIFT: u8 = 0x70;

fn load(to: u8, offset: i16) -> Instruction {
    // BPF_LDX | BPF_W | BPF_MEM, from the context in R1. R1 is reused as scratch after the last load.
    Instruction {
        code: 0x61,
        registers: to | 1 << 4,
        offset,
        immediate: 0,
    }
}

fn alu32(operation: u8, register: u8, immediate: i32) -> Instruction {
    Instruction {
        code: 0x04 | operation,
        registers: register,
        offset: 0,
        immediate,
    }
}

fn copy(to: u8, from: u8) -> Instruction {
    Instruction {
        code: 0xbc,
        registers: to | from << 4,
        offset: 0,
        immediate: 0,
    }
}

fn set(register: u8, immediate: i32) -> Instruction {
    Instruction {
        code: 0xb4,
        registers: register,
        offset: 0,
        immediate,
    }
}

fn jump_unless_equal(register: u8, immediate: i32) -> Instruction {
    Instruction {
        code: 0x55,
        registers: register,
        offset: 0,
        immediate,
    }
}

fn jump_if_equal(register: u8, immediate: i32) -> Instruction {
    Instruction {
        code: 0x15,
        registers: register,
        offset: 0,
        immediate,
    }
}

fn exit() -> Instruction {
    Instruction {
        code: 0x95,
        registers: 0,
        offset: 0,
        immediate: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxDeviceCgroupBuilder;

    /// Runs a program of the few instructions above.
    fn run(code: &[Instruction], kind: i32, access: i32, major: i32, minor: i32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let (mut r, mut at) = ([0_i32; 16], 0_usize);
        loop {
            let i = code[at];
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            at += 1;
            match i.code {
                0x61 => r[to] = context[usize::try_from(i.offset).unwrap() / 4],
                0x54 => r[to] &= i.immediate,
                0x74 => r[to] = (r[to].cast_unsigned() >> i.immediate).cast_signed(),
                0xbc => r[to] = r[from],
                0xb4 => r[to] = i.immediate,
                0x55 if r[to] != i.immediate => at += usize::try_from(i.offset).unwrap(),
                0x15 if r[to] == i.immediate => at += usize::try_from(i.offset).unwrap(),
                0x55 | 0x15 => {}
                0x95 => return r[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn rule(
        allow: bool,
        kind: LinuxDeviceType,
        major: Option<i64>,
        minor: Option<i64>,
        access: &str,
    ) -> LinuxDeviceCgroup {
        let mut rule = LinuxDeviceCgroupBuilder::default()
            .allow(allow)
            .typ(kind)
            .access(access)
            .build()
            .unwrap();
        rule.set_major(major).set_minor(minor);
        rule
    }

    #[test]
    fn the_last_matching_rule_decides() {
        use LinuxDeviceType::{A, B, C};
        let rules = [
            rule(false, A, None, None, "rwm"),
            rule(true, C, None, None, "m"),
            rule(true, C, Some(1), Some(3), "rwm"),
            rule(true, B, Some(8), None, "r"),
            rule(false, B, Some(8), Some(1), "r"),
        ];
        let code = program(&rules);
        let (block, char) = (BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR);
        let (make, read, write) = (BPF_DEVCG_ACC_MKNOD, BPF_DEVCG_ACC_READ, BPF_DEVCG_ACC_WRITE);
        assert!(run(&code, char, read | write, 1, 3), "null may be read and written");
        assert!(run(&code, char, make, 5, 5), "any character device may be made");
        assert!(!run(&code, char, make | read, 5, 5), "but not read");
        assert!(run(&code, block, read, 8, 0));
        assert!(!run(&code, block, read | write, 8, 0));
        assert!(!run(&code, block, read, 8, 1), "denied again");
        assert!(!run(&code, block, read, 259, 0));
        assert!(
            run(&program(&[rule(true, A, None, None, "rwm")]), block, read, 1, 1),
            "privileged"
        );
        let reading = program(&[rule(true, A, None, None, "r")]);
        assert!(run(&reading, block, read, 1, 1) && !run(&reading, block, read | write, 1, 1));
    }

    #[test]
    fn the_devices_of_every_container_are_always_allowed() {
        let deny_all = [rule(false, LinuxDeviceType::A, None, None, "rwm")];
        assert_eq!(complete(&deny_all), default_devices());
        assert_eq!(complete(&default_devices()), default_devices());
        let all = [rule(true, LinuxDeviceType::A, None, None, "rwm")];
        assert_eq!(complete(&all), &all[..]);
    }

    #[test]
    fn rules_are_written_as_v1_has_them() {
        assert_eq!(
            v1_text(&rule(true, LinuxDeviceType::C, Some(136), None, "rwm")),
            "c 136:* rwm"
        );
        assert_eq!(
            v1_text(&rule(true, LinuxDeviceType::U, Some(1), Some(3), "")),
            "c 1:3 rwm"
        );
    }
}
