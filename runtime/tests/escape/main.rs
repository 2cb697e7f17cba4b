//! Getting out of a container: for each class of attack, real containers that try it as root, and a build of the runtime
//! without the defence in which the attack has to succeed, because a test that cannot fail shows nothing.
//!
//! ```text
//! escape ─ each class in a process of its own ─► containers of the runtime under test ─► /attacker VERB: this program
//!        └ each class again, for each defence ─► … of the build that lacks it: must report an escape
//! ```
//!
//! `BAREPOD_RUNTIME` is the runtime under test, `BAREPOD_BROKEN_RUNTIME` the one without defences (built if absent).
//! Races are tried for a moment, and for minutes with `BAREPOD_NIGHTLY=1`.

#[path = "../support/mod.rs"]
mod support;

mod attacker;
mod bundle;
mod classes;
mod harness;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let own = arguments.next().unwrap_or_default();
    if Path::new(&own).file_name().is_some_and(|name| name == attacker::NAME) {
        return attacker::main(
            arguments
                .map(|argument| argument.to_string_lossy().into_owned())
                .collect(),
        );
    }
    harness::main(
        classes::ALL,
        arguments
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect(),
    )
}
