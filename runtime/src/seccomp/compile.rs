//! From a profile to a program.
//!
//! ```text
//! wrong architecture ──► kill
//! number ≥ r[n/2].from ? ──► … ──► return the range's action
//!                                └► or test the arguments, rule by rule; the first that holds decides
//! ```

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator};

use super::table;
use crate::error::{Error, Result};
use crate::sys::seccomp::Instruction;

// Operations of classic BPF: linux/bpf_common.h.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_NOT_BELOW: u16 = 0x35;

// Offsets in struct seccomp_data: seccomp(2).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;

/// On x86-64 the numbers from here on are those of the x32 ABI, which no profile speaks of.
const X32: u32 = 0x4000_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

/// Placeholder for "to the end of this rule" in a jump that is not yet placed.
const NEXT_RULE: u8 = u8::MAX;

/// What a system call may lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// The same for all arguments.
    Return(u32),
    /// It depends: pairs of conditions, all of which must hold, and what is returned then.
    Rules(Vec<(Vec<LinuxSeccompArg>, u32)>),
}

/// Translates a profile. System calls that this architecture has not are skipped.
///
/// # Errors
/// The profile asks for user notification, or has an argument that does not exist.
pub fn compile(profile: &LinuxSeccomp) -> Result<Vec<Instruction>> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let calls = outcomes(profile, default)?;
    let ranges = ranges(calls, default);
    let mut program = vec![
        plain(LOAD, ARCHITECTURE),
        jump(IF_EQUAL, NATIVE, 1, 0),
        plain(RETURN, KILL_PROCESS),
        plain(LOAD, NUMBER),
    ];
    program.extend(search(&ranges, default)?);
    if program.len() > 4096 {
        return Err(Error::Invalid(format!(
            "the seccomp profile needs {} instructions, 4096 is the limit",
            program.len()
        )));
    }
    Ok(program)
}

/// Collects what the profile says of each system call, sorted by number.
fn outcomes(profile: &LinuxSeccomp, default: u32) -> Result<Vec<(u32, Outcome)>> {
    let entries = profile.syscalls().as_deref().unwrap_or_default();
    let mut returned = Vec::with_capacity(entries.len());
    let mut named = Vec::with_capacity(512);
    let mut finder = table::Finder::default();
    for (at, entry) in entries.iter().enumerate() {
        returned.push(action(entry.action(), entry.errno_ret())?);
        if let Some(bad) = entry.args().iter().flatten().find(|argument| argument.index() > 5) {
            return Err(Error::Invalid(format!(
                "a seccomp rule tests argument {}, there are 6",
                bad.index()
            )));
        }
        named.extend(entry.names().iter().filter_map(|name| Some((finder.number(name)?, at))));
    }
    named.sort_unstable();
    let arguments = |at: usize| entries[at].args().as_deref().unwrap_or_default();
    let outcome = |group: &[(u32, usize)]| {
        // A rule without conditions wins over those with some, wherever it stands, as in libseccomp.
        if let Some((_, at)) = group.iter().find(|(_, at)| arguments(*at).is_empty()) {
            return Outcome::Return(returned[*at]);
        }
        let rules = group.iter().filter(|(_, at)| returned[*at] != default);
        let rules: Vec<_> = rules.map(|(_, at)| (arguments(*at).to_vec(), returned[*at])).collect();
        if rules.is_empty() {
            Outcome::Return(default)
        } else {
            Outcome::Rules(rules)
        }
    };
    Ok(named
        .chunk_by(|a, b| a.0 == b.0)
        .map(|group| (group[0].0, outcome(group)))
        .collect())
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32> {
    if action == LinuxSeccompAction::ScmpActNotify {
        return Err(Error::Invalid("seccomp user notification is not supported".to_owned()));
    }
    Ok(action.as_u32(errno.map(|errno| errno & 0xffff)))
}

/// Covers all numbers from 0 on by ranges `(from, outcome)`; neighbours that return the same become one.
fn ranges(calls: Vec<(u32, Outcome)>, default: u32) -> Vec<(u32, Outcome)> {
    let mut ranges: Vec<(u32, Outcome)> = vec![(0, Outcome::Return(default))];
    let mut push = |from: u32, outcome: Outcome| {
        let last = ranges
            .last_mut()
            .expect("the list begins with one element and never shrinks below it");
        if last.1 == outcome && matches!(outcome, Outcome::Return(_)) {
            return;
        }
        if last.0 == from {
            last.1 = outcome;
        } else {
            ranges.push((from, outcome));
        }
    };
    for (number, outcome) in calls {
        if number < X32 {
            push(number, outcome);
            push(number + 1, Outcome::Return(default));
        }
    }
    // Replacing an element may have made it equal to the one before.
    ranges.dedup_by(|later, earlier| later.1 == earlier.1 && matches!(later.1, Outcome::Return(_)));
    ranges
}

/// The search through `ranges`; the number is in the accumulator.
fn search(ranges: &[(u32, Outcome)], default: u32) -> Result<Vec<Instruction>> {
    if let [(_, outcome)] = ranges {
        return match outcome {
            Outcome::Return(returned) => Ok(vec![plain(RETURN, *returned)]),
            Outcome::Rules(rules) => rules_code(rules, default),
        };
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (from, low, high) = (high[0].0, search(low, default)?, search(high, default)?);
    let mut code = match u8::try_from(low.len()) {
        Ok(distance) => vec![jump(IF_NOT_BELOW, from, distance, 0)],
        // A conditional jump reaches 255 instructions, an unconditional one everything.
        Err(_) => vec![jump(IF_NOT_BELOW, from, 0, 1), plain(JUMP, distance(low.len())?)],
    };
    code.extend(low);
    code.extend(high);
    Ok(code)
}

fn distance(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| Error::Invalid("the seccomp profile is too long".to_owned()))
}

/// Tests rule after rule; none holding is the default.
fn rules_code(rules: &[(Vec<LinuxSeccompArg>, u32)], default: u32) -> Result<Vec<Instruction>> {
    let mut code = Vec::new();
    for (arguments, returned) in rules {
        let mut rule: Vec<Instruction> = arguments.iter().flat_map(condition).collect();
        rule.push(plain(RETURN, *returned));
        let length = rule.len();
        for (at, instruction) in rule.iter_mut().enumerate() {
            let rest = u8::try_from(length - at - 1)
                .map_err(|_| Error::Invalid("a seccomp rule has too many conditions".to_owned()))?;
            for target in [&mut instruction.jt, &mut instruction.jf] {
                if *target == NEXT_RULE {
                    *target = rest;
                }
            }
        }
        code.extend(rule);
    }
    code.push(plain(RETURN, default));
    Ok(code)
}

/// One condition on a 64-bit argument, which BPF sees as two halves: falls through if it holds, jumps to the next rule
/// if not.
fn condition(argument: &LinuxSeccompArg) -> Vec<Instruction> {
    let index = u32::try_from(argument.index()).unwrap_or(0);
    let (low, high) = (
        plain(LOAD, ARGUMENTS + 8 * index),
        plain(LOAD, ARGUMENTS + 8 * index + 4),
    );
    let halves = |value: u64| {
        #[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
        let low = value as u32;
        ((value >> 32) as u32, low)
    };
    let (above, below) = halves(argument.value());
    match argument.op() {
        LinuxSeccompOperator::ScmpCmpEq => {
            vec![
                high,
                jump(IF_EQUAL, above, 0, NEXT_RULE),
                low,
                jump(IF_EQUAL, below, 0, NEXT_RULE),
            ]
        }
        LinuxSeccompOperator::ScmpCmpNe => {
            // Different high halves are enough.
            vec![
                high,
                jump(IF_EQUAL, above, 0, 2),
                low,
                jump(IF_EQUAL, below, NEXT_RULE, 0),
            ]
        }
        LinuxSeccompOperator::ScmpCmpGt | LinuxSeccompOperator::ScmpCmpGe => {
            let test = if argument.op() == LinuxSeccompOperator::ScmpCmpGt {
                IF_GREATER
            } else {
                IF_NOT_BELOW
            };
            vec![
                high,
                jump(IF_GREATER, above, 3, 0),
                jump(IF_EQUAL, above, 0, NEXT_RULE),
                low,
                jump(test, below, 0, NEXT_RULE),
            ]
        }
        LinuxSeccompOperator::ScmpCmpLt | LinuxSeccompOperator::ScmpCmpLe => {
            // Below is not (not below); below or equal is not greater.
            let test = if argument.op() == LinuxSeccompOperator::ScmpCmpLt {
                IF_NOT_BELOW
            } else {
                IF_GREATER
            };
            vec![
                high,
                jump(IF_GREATER, above, NEXT_RULE, 0),
                jump(IF_EQUAL, above, 0, 2),
                low,
                jump(test, below, NEXT_RULE, 0),
            ]
        }
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            // `value` is the mask here, `valueTwo` what must be left: OCI runtime specification, config-linux.
            let (wanted_above, wanted_below) = halves(argument.value_two().unwrap_or(0));
            vec![
                high,
                plain(AND, above),
                jump(IF_EQUAL, wanted_above, 0, NEXT_RULE),
                low,
                plain(AND, below),
                jump(IF_EQUAL, wanted_below, 0, NEXT_RULE),
            ]
        }
    }
}

fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;
    use oci_spec::runtime::{LinuxSeccompArgBuilder, LinuxSeccompBuilder, LinuxSyscallBuilder};

    const ALLOW: u32 = 0x7fff_0000;
    const EPERM: u32 = 0x0005_0001;
    const ENOSYS: u32 = 0x0005_0026;

    /// What the kernel does with such a program.
    fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = [0_u8; 64];
        data[0..4].copy_from_slice(&number.to_ne_bytes());
        data[4..8].copy_from_slice(&architecture.to_ne_bytes());
        for (i, argument) in arguments.iter().enumerate() {
            data[16 + 8 * i..24 + 8 * i].copy_from_slice(&argument.to_ne_bytes());
        }
        let (mut a, mut at) = (0_u32, 0_usize);
        loop {
            let i = program[at];
            at += 1;
            let condition = match i.code {
                LOAD => {
                    let k = usize::try_from(i.k).unwrap();
                    a = u32::from_ne_bytes(data[k..k + 4].try_into().unwrap());
                    continue;
                }
                AND => {
                    a &= i.k;
                    continue;
                }
                JUMP => {
                    at += usize::try_from(i.k).unwrap();
                    continue;
                }
                RETURN => return i.k,
                IF_EQUAL => a == i.k,
                IF_GREATER => a > i.k,
                IF_NOT_BELOW => a >= i.k,
                other => panic!("instruction {other:#x}"),
            };
            at += usize::from(if condition { i.jt } else { i.jf });
        }
    }

    fn call(program: &[Instruction], name: &str, arguments: [u64; 6]) -> u32 {
        run(program, NATIVE, table::number(name).unwrap(), arguments)
    }

    #[test]
    fn the_default_profile_does_what_it_says() {
        let program = compile(&spec::default_seccomp(&spec::default_capabilities())).unwrap();
        assert!(program.len() < 400, "{}", program.len());
        let none = [0; 6];
        for name in [
            "read",
            "execve",
            "rseq",
            "exit_group",
            "futex",
            "statx",
            "io_setup",
            "faccessat2",
        ] {
            assert_eq!(call(&program, name, none), ALLOW, "{name}");
        }
        for name in [
            "mount",
            "bpf",
            "unshare",
            "setns",
            "kexec_load",
            "init_module",
            "keyctl",
            "io_uring_setup",
        ] {
            assert_eq!(call(&program, name, none), EPERM, "{name}");
        }
        assert_eq!(call(&program, "clone3", none), ENOSYS);
        assert_eq!(call(&program, "clone", [17, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(
            call(&program, "clone", [0x1000_0000, 0, 0, 0, 0, 0]),
            EPERM,
            "a user namespace"
        );
        assert_eq!(call(&program, "personality", [0x20000, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(call(&program, "personality", [0x40000, 0, 0, 0, 0, 0]), EPERM);
        assert_eq!(call(&program, "socket", [2, 1, 0, 0, 0, 0]), ALLOW);
        assert_eq!(call(&program, "socket", [40, 1, 0, 0, 0, 0]), EPERM, "vsock");
        assert_eq!(
            run(&program, 0x4000_0003, 1, none),
            KILL_PROCESS,
            "another architecture"
        );
        assert_eq!(run(&program, NATIVE, X32 + 1, none), EPERM, "x32");
        assert_eq!(run(&program, NATIVE, 100_000, none), EPERM, "a call of the future");
    }

    #[test]
    fn a_capability_opens_its_calls() {
        let mut capabilities = spec::default_capabilities();
        capabilities.insert(oci_spec::runtime::Capability::SysAdmin);
        let program = compile(&spec::default_seccomp(&capabilities)).unwrap();
        for name in ["mount", "clone3", "unshare", "setns"] {
            assert_eq!(call(&program, name, [0x1000_0000, 0, 0, 0, 0, 0]), ALLOW, "{name}");
        }
    }

    #[test]
    fn arguments_are_compared_with_all_their_bits() {
        use LinuxSeccompOperator as Op;
        let values = [0, 1, 5, 6, 7, 0x1_0000_0005, 0x1_0000_0006, 0x2_0000_0000, u64::MAX];
        for op in [
            Op::ScmpCmpEq,
            Op::ScmpCmpNe,
            Op::ScmpCmpLt,
            Op::ScmpCmpLe,
            Op::ScmpCmpGt,
            Op::ScmpCmpGe,
            Op::ScmpCmpMaskedEq,
        ] {
            for wanted in values {
                let argument = LinuxSeccompArgBuilder::default()
                    .index(2_usize)
                    .value(wanted)
                    .value_two(5_u64)
                    .op(op)
                    .build()
                    .unwrap();
                let rule = LinuxSyscallBuilder::default()
                    .names(vec!["read".to_owned()])
                    .action(LinuxSeccompAction::ScmpActAllow)
                    .args(vec![argument])
                    .build()
                    .unwrap();
                let profile = LinuxSeccompBuilder::default()
                    .default_action(LinuxSeccompAction::ScmpActErrno)
                    .syscalls(vec![rule])
                    .build()
                    .unwrap();
                let program = compile(&profile).unwrap();
                for given in values {
                    let holds = match op {
                        Op::ScmpCmpEq => given == wanted,
                        Op::ScmpCmpNe => given != wanted,
                        Op::ScmpCmpLt => given < wanted,
                        Op::ScmpCmpLe => given <= wanted,
                        Op::ScmpCmpGt => given > wanted,
                        Op::ScmpCmpGe => given >= wanted,
                        Op::ScmpCmpMaskedEq => given & wanted == 5,
                    };
                    let returned = call(&program, "read", [9, 9, given, 9, 9, 9]);
                    assert_eq!(returned == ALLOW, holds, "{given:#x} {op:?} {wanted:#x}");
                }
            }
        }
    }

    #[test]
    fn every_number_gets_what_a_list_would_give() {
        let profile = spec::default_seccomp(&spec::default_capabilities());
        let program = compile(&profile).unwrap();
        let allowed: std::collections::HashSet<u32> = profile
            .syscalls()
            .iter()
            .flatten()
            .filter(|s| s.action() == LinuxSeccompAction::ScmpActAllow && s.args().is_none())
            .flat_map(|s| s.names().iter().filter_map(|name| table::number(name)))
            .collect();
        let conditional: Vec<u32> = ["clone", "clone3", "personality", "socket"]
            .iter()
            .filter_map(|name| table::number(name))
            .collect();
        for number in (0..600).filter(|number| !conditional.contains(number)) {
            let expected = if allowed.contains(&number) { ALLOW } else { EPERM };
            assert_eq!(
                run(&program, NATIVE, number, [0; 6]),
                expected,
                "{number} {:?}",
                table::name(number)
            );
        }
    }
}
