//! The process that `exec` is asked for: a document's, or the container's own with changes.

use std::fs;

use super::arguments::Arguments;
use super::global::Global;
use crate::broken;
use crate::document::Process;
use crate::error::{During, Error, Result};
use crate::init::Shared;
use crate::init::identity::UNAVAILABLE;
use crate::spec::capability_by_name;

/// The process asked for. What it leaves out is as the container has it.
///
/// # Errors
/// The document is none, or an option makes no sense.
pub fn asked_for(global: &Global, shared: &Shared, given: &Arguments, command: &[String]) -> Result<Process> {
    let mut process = match given.value("process").filter(|file| !file.is_empty()) {
        Some(file) => read_process(file)?,
        None => {
            let own = shared.process.clone();
            let mut own = own.ok_or_else(|| Error::Invalid("the container has no process".to_owned()))?;
            own.terminal = false;
            own.args = command.to_vec();
            own
        }
    };
    shared.complete(&mut process);
    process.terminal |= given.has("tty");
    process.no_new_privileges |= given.has("no-new-privs");
    given
        .values("env")
        .for_each(|variable| set_variable(&mut process.env, variable));
    if let Some(cwd) = given.value("cwd") {
        process.cwd = cwd.into();
    }
    if let Some(label) = given.value("process-label") {
        process.selinux_label = Some(label.to_owned());
    }
    if let Some(profile) = given.value("apparmor") {
        process.apparmor_profile = Some(profile.to_owned());
    }
    if let Some(user) = given.value("user") {
        let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
        let number = |text: &str| {
            text.parse::<u32>()
                .map_err(|_| Error::Invalid(format!("{user} is not of the form UID[:GID], in numbers")))
        };
        let uid = number(uid)?;
        // What another runtime did (CVE-2026-30892).
        let uid = if uid == 1 && broken::lacks("exec-user") { 0 } else { uid };
        process.user.set_uid(uid).set_gid(number(gid)?);
        process.user.set_additional_gids(None);
    }
    let groups = given.values("additional-gids").flat_map(|list| list.split(','));
    let groups: Vec<u32> = groups
        .map(|text| text.parse())
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| Error::Invalid("--additional-gids are numbers".to_owned()))?;
    if !groups.is_empty() {
        let all = process.user.additional_gids().iter().flatten().copied();
        let all: Vec<u32> = all.chain(groups).collect();
        process.user.set_additional_gids(Some(all));
    }
    add_capabilities(global, &mut process, given);
    Ok(process)
}

/// Sets a variable, which may be there with another value: most programs see the first one only.
fn set_variable(environment: &mut Vec<String>, variable: &str) {
    let name = |variable: &str| variable.split('=').next().map(str::to_owned);
    environment.retain(|other| name(other) != name(variable));
    environment.push(variable.to_owned());
}

fn read_process(file: &str) -> Result<Process> {
    let text = fs::read_to_string(file).during("read", file)?;
    serde_json::from_str(&text).map_err(|source| Error::Document {
        object: file.to_owned(),
        source,
    })
}

/// Adds `--cap` to the sets that make a capability effective for the program. Those that nobody knows are warned about, as
/// in a configuration.
fn add_capabilities(global: &Global, process: &mut Process, given: &Arguments) {
    for name in given.values("cap") {
        let Some(number) = capability_by_name(&name.to_uppercase()) else {
            global.warn(&format!("{UNAVAILABLE}: [{name}]"));
            continue;
        };
        let sets = process.capabilities.get_or_insert_default();
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.mask |= 1 << number;
        }
        // Never the inheritable ones: a file with inheritable capabilities gives them to whoever executes it then
        // (CVE-2022-27650, CVE-2022-29162).
        if broken::lacks("exec-without-inheritable") {
            sets.inheritable.mask |= 1 << number;
        }
    }
}
