//! From a profile to a program.
//!
//! ```text
//! wrong architecture ──► kill
//! number ≥ r[n/2].from ? ──► … ──► return the range's action
//!                                └► or test the arguments, rule by rule; the first that holds decides
//! ```

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompOperator, LinuxSyscall,
};

use super::table::{self, Finder};
use super::x86;
use crate::broken;
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

/// `AUDIT_ARCH_I386`: what 32-bit programs are on x86-64.
const I386: u32 = 0x4000_0003;
/// On x86-64 the numbers from here on are those of the x32 ABI.
const X32: u32 = 0x4000_0000;
/// What a tracer makes of a call that is to be skipped.
const NO_CALL: u32 = u32::MAX;
/// From here on a number is the same on all architectures.
const SAME_EVERYWHERE: u32 = 424;

const KILL_PROCESS: u32 = 0x8000_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const ALLOW: u32 = 0x7fff_0000;
const LOG: u32 = 0x7ffc_0000;

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

/// A profile as the kernel takes it.
#[derive(Debug)]
pub struct Compiled {
    /// The program.
    pub program: Vec<Instruction>,
    /// Some calls are notified.
    pub notifies: bool,
}

/// How a set of calls is numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Abi {
    /// As this program's own.
    Native,
    /// On x86-64: the number of the table, or else the native one, with a bit set.
    X32,
    /// On x86-64: 32-bit programs.
    I386,
}

/// Translates a profile. System calls that this architecture has not are skipped, and so are architectures whose
/// programs it cannot run; what comes from one that it can run and that is not listed is killed, as with libseccomp.
///
/// # Errors
/// The profile has an argument that does not exist, or an error number where none is returned.
pub fn compile(profile: &LinuxSeccomp) -> Result<Compiled> {
    let default = if broken::lacks("filter-of-unknown-calls") {
        ALLOW
    } else {
        action(
            profile.default_action(),
            profile.default_errno_ret(),
            "the default action",
        )?
    };
    let foreign = if broken::lacks("filter-of-other-architectures") {
        ALLOW
    } else {
        KILL_PROCESS
    };
    let entries = profile.syscalls().as_deref().unwrap_or_default();
    let rules = entries.iter().map(Rule::new).collect::<Result<Vec<_>>>()?;
    const X86: bool = cfg!(target_arch = "x86_64");
    let listed = |arch: Arch| X86 && profile.architectures().iter().flatten().any(|listed| *listed == arch);
    let x32 = listed(Arch::ScmpArchX32);
    let mut calls = outcomes(&rules, default, Abi::Native);
    let returned = calls.iter().map(|(_, outcome)| outcome);
    let notifies = default == NOTIFY || returned.clone().any(Outcome::notifies);
    if notifies {
        check_handover(&calls, default)?;
    }
    if x32 {
        calls.extend(outcomes(&rules, default, Abi::X32));
    } else if X86 {
        calls.push((X32, Outcome::Return(KILL_PROCESS)));
    }
    let native = search(&ranges(calls, default, X86 && !x32), default)?;
    let mut program = vec![
        plain(LOAD, ARCHITECTURE),
        jump(IF_EQUAL, NATIVE, 1, 0),
        plain(JUMP, distance(native.len() + 1)?),
        plain(LOAD, NUMBER),
    ];
    program.extend(native);
    if listed(Arch::ScmpArchX86) {
        program.extend([
            jump(IF_EQUAL, I386, 1, 0),
            plain(RETURN, KILL_PROCESS),
            plain(LOAD, NUMBER),
        ]);
        program.extend(search(
            &ranges(outcomes(&rules, default, Abi::I386), default, false),
            default,
        )?);
    } else {
        program.push(plain(RETURN, foreign));
    }
    if program.len() > 4096 {
        return Err(Error::Invalid(format!(
            "the seccomp profile needs {} instructions, 4096 is the limit",
            program.len()
        )));
    }
    Ok(Compiled { program, notifies })
}

/// The descriptor of notifications is handed over when the filter is in place already: calls that this takes cannot wait
/// for whoever gets it.
fn check_handover(calls: &[(u32, Outcome)], default: u32) -> Result<()> {
    for name in ["sendmsg", "recvfrom"] {
        let known = calls.iter().find(|(number, _)| table::number(name) == Some(*number));
        let outcome = known.map_or(&Outcome::Return(default), |(_, outcome)| outcome).clone();
        if !matches!(outcome, Outcome::Return(ALLOW | LOG)) {
            return Err(Error::Invalid(format!(
                "a seccomp profile with SCMP_ACT_NOTIFY must allow {name}, by which the descriptor is handed over"
            )));
        }
    }
    Ok(())
}

impl Outcome {
    fn notifies(&self) -> bool {
        match self {
            Self::Return(returned) => *returned == NOTIFY,
            Self::Rules(rules) => rules.iter().any(|(_, returned)| *returned == NOTIFY),
        }
    }
}

/// An entry of the profile.
struct Rule<'a> {
    entry: &'a LinuxSyscall,
    returned: u32,
    /// One argument is tested more than once: any of the tests is enough then, as libseccomp takes only one of each
    /// argument in a rule and runtimes have made several rules of it.
    any: bool,
}

impl<'a> Rule<'a> {
    fn new(entry: &'a LinuxSyscall) -> Result<Self> {
        let Some(first) = entry.names().first() else {
            return Err(Error::Invalid(
                "an entry of linux.seccomp.syscalls has no names".to_owned(),
            ));
        };
        let returned = action(entry.action(), entry.errno_ret(), first)?;
        let mut seen = [false; 6];
        let mut any = false;
        for argument in entry.args().iter().flatten() {
            match seen.get_mut(argument.index()) {
                Some(seen) => any |= std::mem::replace(seen, true),
                None => {
                    return Err(Error::Invalid(format!(
                        "a seccomp rule tests argument {}, there are 6",
                        argument.index()
                    )));
                }
            }
        }
        Ok(Self { entry, returned, any })
    }

    fn arguments(&self) -> &[LinuxSeccompArg] {
        self.entry.args().as_deref().unwrap_or_default()
    }

    /// Its tests, of which any is enough.
    fn tests(&self) -> Vec<Vec<LinuxSeccompArg>> {
        if self.any {
            self.arguments().iter().map(|argument| vec![*argument]).collect()
        } else {
            vec![self.arguments().to_vec()]
        }
    }
}

/// Collects what the profile says of each system call, sorted by number.
fn outcomes(rules: &[Rule<'_>], default: u32, abi: Abi) -> Vec<(u32, Outcome)> {
    let mut named = Vec::with_capacity(512);
    let mut native = Finder::new(table::TABLE);
    let mut own = Finder::new(if abi == Abi::I386 { x86::I386 } else { x86::X32 });
    for (at, rule) in rules.iter().enumerate() {
        let names = rule.entry.names().iter();
        named.extend(names.filter_map(|name| {
            let number = match abi {
                Abi::Native => native.number(name)?,
                Abi::X32 => X32 | own.number(name).or_else(|| native.number(name))?,
                Abi::I386 => own
                    .number(name)
                    .or_else(|| native.number(name).filter(|number| *number >= SAME_EVERYWHERE))?,
            };
            Some((number, at))
        }));
    }
    named.sort_unstable();
    let outcome = |group: &[(u32, usize)]| {
        let group = group.iter().map(|(_, at)| &rules[*at]);
        // A rule without conditions wins over those with some, wherever it stands, as in libseccomp.
        if let Some(rule) = group.clone().find(|rule| rule.arguments().is_empty()) {
            return Outcome::Return(rule.returned);
        }
        let tests = group
            .filter(|rule| rule.returned != default)
            .flat_map(|rule| rule.tests().into_iter().map(|test| (test, rule.returned)));
        Outcome::rules(
            tests.map(|(test, returned)| (narrow(test, abi), returned)).collect(),
            default,
        )
    };
    let mut calls: Vec<_> = named
        .chunk_by(|a, b| a.0 == b.0)
        .map(|group| (group[0].0, outcome(group)))
        .collect();
    if abi == Abi::I386 {
        for (multiplexer, members) in [("socketcall", &x86::SOCKET_CALLS[..]), ("ipc", &x86::IPC_CALLS[..])] {
            multiplex(&mut calls, rules, default, multiplexer, members);
        }
    }
    calls
}

impl Outcome {
    /// What a list of rules comes to.
    fn rules(rules: Vec<(Vec<LinuxSeccompArg>, u32)>, default: u32) -> Self {
        if rules.is_empty() {
            Self::Return(default)
        } else {
            Self::Rules(rules)
        }
    }
}

/// Adds what the profile says of calls that may also come through `multiplexer`, unless it speaks of that itself. Their
/// own arguments cannot be seen there.
fn multiplex(
    calls: &mut Vec<(u32, Outcome)>,
    rules: &[Rule<'_>],
    default: u32,
    multiplexer: &str,
    members: &[(&str, u64)],
) {
    let Some(number) = Finder::new(x86::I386).number(multiplexer) else {
        return;
    };
    let place = match calls.binary_search_by_key(&number, |(number, _)| *number) {
        Ok(_) => return,
        Err(place) => place,
    };
    let mut tests = Vec::new();
    for (name, member) in members {
        let says =
            |rule: &&Rule<'_>| rule.arguments().is_empty() && rule.entry.names().iter().any(|known| known == name);
        let Some(rule) = rules.iter().find(says).filter(|rule| rule.returned != default) else {
            continue;
        };
        let test = LinuxSeccompArgBuilder::default()
            .index(0_usize)
            .value(*member)
            .op(LinuxSeccompOperator::ScmpCmpEq)
            .build();
        tests.extend(test.map(|test| (vec![test], rule.returned)));
    }
    if !tests.is_empty() {
        calls.insert(place, (number, Outcome::Rules(tests)));
    }
}

/// A 32-bit program's arguments have 32 bits, whatever sign a profile has extended them by.
fn narrow(test: Vec<LinuxSeccompArg>, abi: Abi) -> Vec<LinuxSeccompArg> {
    const LOW: u64 = u32::MAX as u64;
    if abi != Abi::I386 {
        return test;
    }
    let narrow = |argument: &LinuxSeccompArg| {
        let narrow = LinuxSeccompArgBuilder::default()
            .index(argument.index())
            .value(argument.value() & LOW)
            .value_two(argument.value_two().unwrap_or(0) & LOW)
            .op(argument.op());
        narrow.build().unwrap_or(*argument)
    };
    test.iter().map(narrow).collect()
}

/// What the kernel is to return for an action.
fn action(action: LinuxSeccompAction, errno: Option<u32>, whose: &str) -> Result<u32> {
    use LinuxSeccompAction::{ScmpActErrno, ScmpActTrace};
    if errno.is_some() && !matches!(action, ScmpActErrno | ScmpActTrace) {
        return Err(Error::Invalid(format!(
            "linux.seccomp: {action} of {whose} returns no error number, and one is given"
        )));
    }
    Ok(action.as_u32(errno.map(|errno| errno & 0xffff)))
}

/// Covers all numbers from 0 on by ranges `(from, outcome)`; neighbours that return the same become one. The last of the
/// calls holds for all numbers above it as well if `to_the_end`.
fn ranges(calls: Vec<(u32, Outcome)>, default: u32, to_the_end: bool) -> Vec<(u32, Outcome)> {
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
    let last = calls.last().map(|(number, _)| *number);
    for (number, outcome) in calls {
        push(number, outcome);
        let open = to_the_end && Some(number) == last;
        push(if open { NO_CALL } else { number + 1 }, Outcome::Return(default));
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

    const EPERM: u32 = 0x0005_0001;
    const ENOSYS: u32 = 0x0005_0026;

    fn program(profile: &LinuxSeccomp) -> Result<Vec<Instruction>> {
        compile(profile).map(|compiled| compiled.program)
    }

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
        let program = program(&spec::default_seccomp(&spec::default_capabilities())).unwrap();
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
        assert_eq!(run(&program, NATIVE, X32 + 1, none), KILL_PROCESS, "x32");
        assert_eq!(run(&program, NATIVE, NO_CALL, none), EPERM, "skipped by a tracer");
        assert_eq!(run(&program, NATIVE, 100_000, none), EPERM, "a call of the future");
    }

    #[test]
    fn a_capability_opens_its_calls() {
        let mut capabilities = spec::default_capabilities();
        capabilities.insert(oci_spec::runtime::Capability::SysAdmin);
        let program = program(&spec::default_seccomp(&capabilities)).unwrap();
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
                let program = program(&profile).unwrap();
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
        let program = program(&profile).unwrap();
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

    fn profile(text: &str) -> LinuxSeccomp {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn other_architectures_have_their_own_numbers() {
        let listed = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32","SCMP_ARCH_MIPS"],
            "syscalls":[{"names":["execve","clone3","socket","semop","no_such_call"],"action":"SCMP_ACT_ALLOW"},
            {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]}]}"#;
        let program = program(&profile(listed)).unwrap();
        let none = [0; 6];
        for (architecture, number, arguments, returned) in [
            (NATIVE, 59, none, ALLOW),
            (NATIVE, 520, none, EPERM),
            (NATIVE, X32 | 520, none, ALLOW),
            (NATIVE, X32 | 59, none, EPERM),
            (NATIVE, X32 | 435, none, ALLOW),
            (NATIVE, X32 | 9999, none, EPERM),
            (I386, 11, none, ALLOW),
            (I386, 59, none, EPERM),
            (I386, 435, none, ALLOW),
            (I386, 359, none, ALLOW),
            (I386, 102, [1, 0, 0, 0, 0, 0], ALLOW),
            (I386, 102, [2, 0, 0, 0, 0, 0], EPERM),
            (I386, 117, [1, 0, 0, 0, 0, 0], ALLOW),
            (I386, 117, [2, 0, 0, 0, 0, 0], EPERM),
            (I386, 136, [0xffff_ffff, 0, 0, 0, 0, 0], ALLOW),
            (NATIVE, 135, [0xffff_ffff, 0, 0, 0, 0, 0], EPERM),
            (NATIVE, 135, [u64::MAX, 0, 0, 0, 0, 0], ALLOW),
            (0x4000_0028, 11, none, KILL_PROCESS),
        ] {
            assert_eq!(
                run(&program, architecture, number, arguments),
                returned,
                "{architecture:#x} {number:#x}"
            );
        }
        let denied = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],
            "syscalls":[{"names":["socket"],"action":"SCMP_ACT_ERRNO"}]}"#;
        let program = self::program(&profile(denied)).unwrap();
        assert_eq!(
            run(&program, I386, 102, [1, 0, 0, 0, 0, 0]),
            EPERM,
            "by the other way as well"
        );
        assert_eq!(
            run(&program, NATIVE, X32 | 41, none),
            KILL_PROCESS,
            "no way around by x32"
        );
    }

    #[test]
    fn tests_of_one_argument_are_alternatives() {
        let program = program(&profile(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW",
            "args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]}]}"#,
        ))
        .unwrap();
        let read = |argument| call(&program, "read", [argument, 0, 0, 0, 0, 0]);
        assert_eq!((read(1), read(2), read(3)), (ALLOW, ALLOW, ENOSYS));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, words) in [
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}"#,
                "SCMP_ACT_ALLOW",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL","errnoRet":1}]}"#,
                "of read",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":[],"action":"SCMP_ACT_KILL"}]}"#,
                "no names",
            ),
            (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "must allow sendmsg"),
        ] {
            let error = compile(&profile(text)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_NOTIFY"}]}"#;
        assert!(compile(&profile(text)).unwrap().notifies);
    }
}
