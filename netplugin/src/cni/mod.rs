//! The CNI plugin: the commands ADD, DEL, CHECK, GC, STATUS and VERSION of the CNI specification 1.1 over the library.
//!
//! A runtime starts the program with the command and the container in environment variables and the network
//! configuration as JSON on standard input; the answer is JSON on standard output. An attachment's key is
//! `container id/interface name`.

mod commands;
mod config;
mod failure;
mod outcome;

use commands::Environment;
use config::NetworkConfig;
use failure::Failure;
use std::io::{Read, Write};
use std::process::ExitCode;

/// Versions of the specification this plugin speaks.
const SUPPORTED: [&str; 3] = ["0.4.0", "1.0.0", "1.1.0"];

/// Runs the plugin: reads the environment and standard input, writes the answer to standard output.
///
/// The exit code is 0, or 1 after an answer that tells what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let mut input = vec![];
    let read = std::io::stdin().lock().read_to_end(&mut input);
    let result = match read {
        Ok(_) => run(&Environment::from_process(), &input),
        Err(error) => Err(Failure::io(format!("cannot read the configuration: {error}"))),
    };
    let (answer, code) = match result {
        Ok(answer) => (answer, ExitCode::SUCCESS),
        Err(failure) => (Some(failure.to_json(&version_of(&input))), ExitCode::FAILURE),
    };
    let Some(answer) = answer else { return code };
    // A runtime that closed the pipe does not want to know.
    match writeln!(std::io::stdout().lock(), "{answer}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Carries out one command and returns what is to be printed.
fn run(environment: &Environment, input: &[u8]) -> Result<Option<serde_json::Value>, Failure> {
    let command = environment
        .command
        .as_deref()
        .ok_or_else(|| Failure::environment("CNI_COMMAND is not set"))?;
    if command == "VERSION" {
        return Ok(Some(outcome::versions(&version_of(input))));
    }
    let config = NetworkConfig::parse(input)?;
    match command {
        "ADD" => commands::add(environment, &config).map(Some),
        "DEL" => commands::delete(environment, &config).map(|()| None),
        "CHECK" => commands::check(environment, &config).map(|()| None),
        "GC" => commands::gc(&config).map(|()| None),
        "STATUS" => commands::status(&config).map(|()| None),
        other => Err(Failure::environment(format!("CNI_COMMAND {other:?} is not known"))),
    }
}

/// The version the caller speaks, as far as it can be told.
fn version_of(input: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(input).unwrap_or_default();
    value["cniVersion"].as_str().unwrap_or("1.1.0").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_need_no_configuration() {
        let environment = Environment {
            command: Some("VERSION".into()),
            ..Environment::default()
        };
        let answer = run(&environment, br#"{"cniVersion": "1.0.0"}"#).unwrap().unwrap();
        assert_eq!(answer["cniVersion"], "1.0.0");
        assert_eq!(answer["supportedVersions"][2], "1.1.0");
        run(&environment, b"").unwrap().unwrap();
    }

    #[test]
    fn failures_are_told_in_the_callers_version() {
        let code = |environment: &Environment, input: &str| {
            let failure = run(environment, input.as_bytes()).unwrap_err();
            failure.to_json(&version_of(input.as_bytes()))["code"].as_u64().unwrap()
        };
        let nothing = Environment::default();
        assert_eq!(code(&nothing, "{}"), 4);
        let command = |c: &str| Environment {
            command: Some(c.into()),
            ..Environment::default()
        };
        assert_eq!(
            code(
                &command("FLY"),
                r#"{"cniVersion":"1.0.0","name":"n","type":"t","podCIDR":"10.0.0.0/24"}"#
            ),
            4
        );
        assert_eq!(code(&command("ADD"), "{"), 6);
        assert_eq!(code(&command("ADD"), r#"{"cniVersion":"9.0.0"}"#), 1);
        assert_eq!(
            code(&command("ADD"), r#"{"cniVersion":"1.0.0","name":"n"}"#),
            7,
            "no podCIDR"
        );
        assert_eq!(
            code(
                &command("ADD"),
                r#"{"cniVersion":"1.0.0","name":"n","podCIDR":"10.0.0.0/24"}"#
            ),
            4
        );
    }
}
