//! The hostile side: what runs in containers, as `/attacker VERB ARGUMENT...`. It says what it got on standard output,
//! for the class that sent it to judge. None of it does harm where it succeeds.

use std::process::ExitCode;

mod bombs;
mod cgroups;
mod files;
pub mod keys;
mod processes;
mod sockets;
pub mod syscalls;
mod users;

/// What it is called inside.
pub const NAME: &str = "attacker";

/// Runs one verb.
pub fn main(arguments: Vec<String>) -> ExitCode {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["hello"] => println!("hello"),
        ["sleep", seconds] => std::thread::sleep(std::time::Duration::from_secs_f64(number(seconds))),
        ["identity"] => files::identity(),
        ["descriptors"] => files::descriptors(),
        ["list", paths @ ..] => paths.iter().for_each(|path| files::list(path)),
        ["links", paths @ ..] => files::links(paths),
        ["read", paths @ ..] => files::read(paths),
        ["open-for-writing", paths @ ..] => files::open_for_writing(paths),
        ["flip", seconds, one, other] => files::flip(number(seconds), one, other),
        ["executables", seconds] => processes::executables(number(seconds)),
        ["peek", seconds] => processes::peek(number(seconds)),
        ["churn", seconds, width] => processes::churn(number(seconds), width.parse().expect("a number")),
        ["keys"] => keys::search(),
        ["users", volume] => users::all(volume),
        ["cgroups"] => cgroups::all(),
        ["sockets", paths @ ..] => sockets::all(paths),
        ["syscall", one] => syscalls::one(one.parse().expect("a number")),
        ["syscalls", numbers @ ..] => syscalls::all(numbers),
        ["foreign-syscall"] => syscalls::foreign(),
        ["bomb", kind, limit] => bombs::one(kind, limit.parse().expect("a number")),
        _ => {
            println!("no such verb: {arguments:?}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn number(text: &str) -> f64 {
    text.parse().expect("a number")
}
