//! Waits for a log to grow.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;

use crate::sys::{self, Notifier};

/// How often a log is looked at when the kernel has no more inotify instances (fs.inotify.max_user_instances).
const FALLBACK_PERIOD: Duration = Duration::from_secs(1);

/// Changes of one file in its directory, whatever inode has the name.
pub(super) enum Watch {
    Inotify { events: AsyncFd<Notifier>, name: OsString },
    Fallback,
}

impl Watch {
    /// Begins to watch. What happens from here on is seen.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let inotify = match Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC) {
            Ok(inotify) => inotify,
            Err(error @ (Errno::EMFILE | Errno::ENOMEM)) => {
                tracing::warn!(%error, "cannot watch a log, looking at it every second instead");
                return Ok(Self::Fallback);
            }
            Err(error) => return Err(error.into()),
        };
        // The directory rather than the file: rotation puts another file in its place.
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        match inotify.add_watch(directory, flags) {
            Ok(_) => {}
            Err(Errno::ENOSPC) => return Ok(Self::Fallback),
            Err(error) => return Err(error.into()),
        }
        Ok(Self::Inotify {
            events: sys::watch(inotify)?,
            name: name.to_owned(),
        })
    }

    /// Waits until the file may have changed since the last call.
    pub(super) async fn changed(&mut self) -> io::Result<()> {
        let Self::Inotify { events, name } = self else {
            tokio::time::sleep(FALLBACK_PERIOD).await;
            return Ok(());
        };
        loop {
            let mut ready = events.readable().await?;
            match ready.try_io(|notifier| notifier.get_ref().inotify().read_events().map_err(io::Error::from)) {
                // An event without a name is about the queue or the directory itself: better look.
                Ok(Ok(seen)) if seen.iter().any(|event| event.name.as_ref().is_none_or(|n| n == &*name)) => {
                    return Ok(());
                }
                Ok(Ok(_)) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }
}
