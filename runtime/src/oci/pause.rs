//! `pause` and `resume`.

use super::arguments::{Arguments, Order};
use super::global::Global;
use super::state::{Directory, Status};
use crate::cgroup;
use crate::error::{Error, Result};

/// Stops every process of a container; stopped already is fine.
pub fn pause(global: &Global, arguments: Vec<String>) -> Result<i32> {
    change(global, arguments, cgroup::freeze)
}

/// Lets every process go on; going on already is fine.
pub fn resume(global: &Global, arguments: Vec<String>) -> Result<i32> {
    change(global, arguments, cgroup::thaw)
}

fn change(global: &Global, arguments: Vec<String>, how: fn(&std::path::Path) -> Result<()>) -> Result<i32> {
    let id = Arguments::parse(arguments, &[], Order::Anywhere)?.only("a container's id")?;
    let directory = Directory::new(global, &id)?;
    let _lock = directory.lock()?;
    let stored = directory.read()?;
    match directory.status(&stored) {
        Status::Created | Status::Running | Status::Paused => how(&stored.tracker).map(|()| 0),
        status => Err(Error::State(format!("container not running: {id} is {status}"))),
    }
}
