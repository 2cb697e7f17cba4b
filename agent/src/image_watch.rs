//! Tells when an image comes or goes: the store's index is replaced by whoever imports, in whatever process.

use std::path::PathBuf;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::sys::{InotifyFd, changed, register};

/// Runs until `shutdown`. Watches the store's directory, where the index is renamed into place.
pub async fn run(dir: PathBuf, changes: watch::Sender<()>, mut shutdown: watch::Receiver<bool>) {
    let watcher = match open(&dir) {
        Ok(watcher) => watcher,
        Err(error) => {
            // Containers that wait for an image then find it when they are tried again.
            tracing::warn!(dir = %dir.display(), %error, "images are not watched");
            return;
        }
    };
    loop {
        tokio::select! {
            _ = shutdown.wait_for(|it| *it) => return,
            () = changed(&watcher) => changes.send_replace(()),
        }
    }
}

fn open(dir: &std::path::Path) -> std::io::Result<AsyncFd<InotifyFd>> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    inotify.add_watch(dir, AddWatchFlags::IN_MOVED_TO)?;
    register(InotifyFd::new(inotify))
}
