//! `start`.

use super::arguments::{Arguments, Order};
use super::global::Global;
use super::state::{Directory, Status};
use super::terminal::Receiver;
use super::{launch, wait};
use crate::error::{Error, Result};
use crate::fault;

/// Lets a container that was made execute its program.
pub fn start(global: &Global, arguments: Vec<String>) -> Result<i32> {
    let id = Arguments::parse(arguments, &[], Order::Anywhere)?.only("a container's id")?;
    let directory = Directory::new(global, &id)?;
    let _lock = directory.lock()?;
    let stored = directory.read()?;
    let status = directory.status(&stored);
    if status != Status::Created {
        return Err(Error::State(format!(
            "container {id} cannot be started: it is {status}"
        )));
    }
    let waiting = launch::connect(&directory)?;
    fault::point("oci.start-connected");
    wait::until_made(&waiting, stored.pid, true, &Receiver::Nobody)?;
    fault::point("oci.started");
    // Nobody listens there any more.
    let _ = std::fs::remove_file(directory.socket());
    Ok(0)
}
