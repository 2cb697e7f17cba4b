//! `start`.

use super::arguments::{Arguments, Order};
use super::global::Global;
use super::state::{Directory, Status};
use super::terminal::Receiver;
use super::{delete, launch, wait};
use crate::error::{Error, Result};
use crate::fault;
use crate::init::outside::Outside;

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
    let attended = directory.attended(&stored)?;
    let outside = attended
        .as_ref()
        .map(|document| Outside::new(document, stored.told(), "created", stored.pid));
    let waiting = launch::connect(&directory)?;
    fault::point("oci.start-connected");
    let started = wait::until_made(&waiting, stored.pid, true, &Receiver::Nobody, outside.as_ref());
    let started = started.and_then(|_| outside.as_ref().map_or(Ok(()), Outside::started));
    fault::point("oci.started");
    match started {
        // A hook that fails is the container's end: OCI runtime specification, "Lifecycle".
        Err(error) if error.is_hooks() => {
            let _ = delete::remove(global, &directory);
            Err(error)
        }
        Err(error) => Err(error),
        Ok(()) => {
            // Nobody listens there any more.
            let _ = std::fs::remove_file(directory.socket());
            Ok(0)
        }
    }
}
