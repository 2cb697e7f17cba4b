//! `barepod ps`: pods and containers with their processes, control service and agent dead or alive.

use std::process::ExitCode;

use anyhow::Result;
use barepod_runtime::records::{self, SandboxRecord};
use clap::Args;
use serde_json::{Value, json};

use crate::output::{Output, columns};
use crate::paths::Paths;
use crate::pods::phase;

/// Options of `ps`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    output: Output,
}

/// Lists them.
pub fn run(paths: &Paths, options: &Options) -> Result<ExitCode> {
    let records = records::list(&paths.run_dir);
    let value: Vec<Value> = records.iter().map(to_json).collect();
    options.output.print(&value, |_| table(&records))?;
    Ok(ExitCode::SUCCESS)
}

fn to_json(record: &SandboxRecord) -> Value {
    let state = &record.state;
    let containers: Vec<Value> = state
        .containers
        .iter()
        .map(|c| {
            json!({
                "id": c.id, "name": c.name, "phase": c.phase, "pid": c.pid, "pids": record.pids.get(&c.id),
                "started_at": c.started_at, "exit": c.exit, "log_path": c.log_path,
            })
        })
        .collect();
    json!({
        "id": state.config.id, "name": state.config.name, "created_at": state.created_at,
        "monitor_pid": state.monitor_pid, "monitor_alive": record.monitor_alive,
        "pause_pid": state.pause_pid, "pause_alive": record.pause_alive,
        "containers": containers,
    })
}

fn table(records: &[SandboxRecord]) -> String {
    let mut rows = vec![
        ["POD", "CONTAINER", "ID", "STATE", "PIDS", "SINCE"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for record in records {
        let state = &record.state;
        let alive = |alive: bool| if alive { "running" } else { "dead" }.to_owned();
        let own = |name: &str, is_alive: bool, pid: Option<i32>| {
            vec![
                state.config.name.clone(),
                name.to_owned(),
                state.config.id.chars().take(12).collect(),
                alive(is_alive),
                pid.map(|p| p.to_string()).unwrap_or_default(),
                state.created_at.clone(),
            ]
        };
        rows.push(own("(monitor)", record.monitor_alive, Some(state.monitor_pid)));
        rows.push(own("(pause)", record.pause_alive, state.pause_pid));
        for container in &state.containers {
            let pids = record.pids.get(&container.id).map(Vec::as_slice).unwrap_or_default();
            rows.push(vec![
                state.config.name.clone(),
                container.name.clone(),
                container.id.chars().take(12).collect(),
                container
                    .exit
                    .as_ref()
                    .map_or_else(|| phase(container.phase).to_owned(), |e| format!("exited {}", e.code)),
                pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                container
                    .started_at
                    .clone()
                    .unwrap_or_else(|| container.created_at.clone()),
            ]);
        }
    }
    columns(&rows)
}
