//! `list`.

use std::fs;

use super::arguments::{Arguments, Order};
use super::global::Global;
use super::state::{Directory, Stored};
use crate::error::{Error, Result};

/// The names of what is below the root.
pub fn ids(global: &Global) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(&global.root).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

/// Prints every container below the root.
pub fn list(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let options = [("quiet", Some('q'), false), ("format", Some('f'), true)];
    let given = Arguments::parse(arguments, &options, Order::Anywhere)?;
    let json = match given.value("format") {
        Some("json") => true,
        Some("table") | None => false,
        Some(other) => {
            return Err(Error::Invalid(format!(
                "there is no format {other}: table and json are"
            )));
        }
    };
    // What is being deleted meanwhile is not there any more.
    let read = |id: String| {
        let directory = Directory::new(global, &id).ok()?;
        let stored = directory.read().ok()?;
        Some((directory, stored))
    };
    let mut all: Vec<(Directory, Stored)> = ids(global).filter_map(read).collect();
    all.sort_by(|(_, a), (_, b)| a.id.cmp(&b.id));
    if given.has("quiet") {
        all.iter().for_each(|(_, container)| println!("{}", container.id));
        return Ok(0);
    }
    let states: Vec<_> = all
        .iter()
        .map(|(directory, container)| (container, directory.describe(container)))
        .collect();
    if json {
        let states: Vec<_> = states.iter().map(|(_, state)| state).collect();
        let text = serde_json::to_string(&states);
        println!(
            "{}",
            text.map_err(|source| Error::Document {
                object: "the list".to_owned(),
                source
            })?
        );
        return Ok(0);
    }
    println!("{:<40} {:<8} {:<10} {:<32} CREATED", "ID", "PID", "STATUS", "BUNDLE");
    for (container, state) in states {
        println!(
            "{:<40} {:<8} {:<10} {:<32} {}",
            container.id,
            state.pid,
            state.status,
            container.bundle.display().to_string(),
            container.created
        );
    }
    Ok(0)
}
