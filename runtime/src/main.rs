//! `barepod-runtime`: the monitor of a pod, and the OCI runtime command line.

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let code = match arguments.peek().map(String::as_str) {
        Some("monitor") => barepod_runtime::monitor::main(),
        _ => barepod_runtime::oci::main(arguments.collect()),
    };
    std::process::ExitCode::from(u8::try_from(code).unwrap_or(1))
}
