//! `barepod-runtime`: the monitor of a pod, and the OCI runtime command line.

fn main() -> std::process::ExitCode {
    let code = match std::env::args().nth(1).as_deref() {
        Some("monitor") => barepod_runtime::monitor::main(),
        _ => {
            eprintln!("usage: barepod-runtime monitor < sandbox.json");
            2
        }
    };
    std::process::ExitCode::from(u8::try_from(code).unwrap_or(1))
}
