//! What the long-running parts log, and how.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT: &str = "info,hyper=warn,rustls=warn";

/// Logs to standard error; `RUST_LOG` chooses what, as in `debug` or `info,barepod_agent=trace`, and
/// `BAREPOD_LOG_FORMAT=json` the form.
pub fn init() {
    let chosen = std::env::var("RUST_LOG").ok().filter(|it| !it.is_empty());
    let parsed = chosen.as_deref().map(str::parse::<Targets>);
    let wrong = parsed
        .as_ref()
        .and_then(|it| it.as_ref().err())
        .map(ToString::to_string);
    let targets = match parsed {
        Some(Ok(targets)) => targets,
        _ => DEFAULT.parse().expect("the default is well-formed"),
    };
    let json = std::env::var_os("BAREPOD_LOG_FORMAT").is_some_and(|form| form == "json");
    let lines = layer().with_writer(std::io::stderr);
    let lines = if json {
        lines.json().boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
    if let Some(error) = wrong {
        tracing::warn!(error, "RUST_LOG is not understood; the default is logged");
    }
}
