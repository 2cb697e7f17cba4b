//! `list`.

use std::fs;

use super::Global;
use super::arguments::Arguments;
use super::state::{Directory, Stored};
use crate::error::{Error, Result};

/// Prints every container below the root.
pub fn list(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let given = Arguments::parse(arguments, &[("quiet", Some('q'), false), ("format", Some('f'), true)])?;
    let names = fs::read_dir(&global.root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name());
    let stored = names.filter_map(|name| Directory::new(global, name.to_str()?).ok()?.read().ok());
    let mut all: Vec<Stored> = stored.collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    if given.has("quiet") {
        all.iter().for_each(|container| println!("{}", container.id));
        return Ok(0);
    }
    let states: Vec<_> = all.iter().map(|container| (container, container.describe())).collect();
    match given.value("format").as_deref() {
        Some("json") => {
            let states: Vec<_> = states.iter().map(|(_, state)| state).collect();
            let text = serde_json::to_string(&states);
            println!(
                "{}",
                text.map_err(|source| Error::Document {
                    object: "the list".to_owned(),
                    source
                })?
            );
        }
        Some("table") | None => {
            println!("{:<40} {:<8} {:<10} {:<32} CREATED", "ID", "PID", "STATUS", "BUNDLE");
            for (container, _) in states {
                let status = format!("{:?}", container.status()).to_lowercase();
                let pid = if container.process().is_some() {
                    container.pid
                } else {
                    0
                };
                let bundle = container.bundle.display().to_string();
                println!(
                    "{:<40} {pid:<8} {status:<10} {bundle:<32} {}",
                    container.id, container.created
                );
            }
        }
        Some(other) => {
            return Err(Error::Invalid(format!(
                "there is no format {other}: table and json are"
            )));
        }
    }
    Ok(0)
}
