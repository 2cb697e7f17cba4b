//! The CNI plugin as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    barepod_netplugin::cni::main()
}
