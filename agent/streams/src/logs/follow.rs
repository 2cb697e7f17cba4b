//! Sends a log to a client, and goes on while it grows.

use std::io;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::options::LogOptions;
use super::reader::{LogReader, Step};
use super::watch::Watch;
use crate::error::Error;
use crate::node::LogSource;

/// Opens the log and returns the work of sending it, which ends when everything was sent or nobody receives any more.
pub(crate) async fn send(
    source: LogSource,
    options: LogOptions,
    sender: mpsc::Sender<io::Result<Bytes>>,
) -> Result<impl Future<Output = ()> + Send + 'static, Error> {
    let LogSource { path, finished } = source;
    let fail = |error: io::Error| Error::Internal(format!("cannot read the log: {error}"));
    // Before anything is read, so that nothing written meanwhile goes unnoticed.
    let watch = if options.follow {
        Some(Watch::new(&path).map_err(fail)?)
    } else {
        None
    };
    let reader = blocking(move || LogReader::open(path, &options)).await.map_err(fail)?;
    Ok(async move {
        let sending = Sending {
            reader: Some(reader),
            watch,
            finished,
            sender: sender.clone(),
        };
        if let Err(error) = sending.run().await {
            // Breaks the connection off, so that the client does not take the log for complete.
            let _ = sender.send(Err(error)).await;
        }
    })
}

struct Sending {
    /// Taken while a blocking thread works with it.
    reader: Option<LogReader>,
    watch: Option<Watch>,
    finished: watch::Receiver<bool>,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Sending {
    async fn run(mut self) -> io::Result<()> {
        loop {
            // Looked at before reading: what was written before the end is then read for sure.
            let finished = *self.finished.borrow() || self.finished.has_changed().is_err();
            match self.step(LogReader::step).await? {
                Step::Data(data) => {
                    if self.sender.send(Ok(data)).await.is_err() {
                        return Ok(());
                    }
                }
                Step::End => return Ok(()),
                Step::Idle => {
                    let Some(watch) = self.watch.as_mut().filter(|_| !finished) else {
                        // Only what will not be continued may end without a newline.
                        if finished && let Some(data) = self.step(|reader| Ok(reader.finish())).await? {
                            let _ = self.sender.send(Ok(data)).await;
                        }
                        return Ok(());
                    };
                    tokio::select! {
                        changed = watch.changed() => changed?,
                        // An error means that the sender is gone, which counts as the end.
                        _ = self.finished.wait_for(|&finished| finished) => {}
                        () = self.sender.closed() => return Ok(()),
                    }
                }
            }
        }
    }

    /// Lets the reader work on a thread that may wait for the disk.
    async fn step<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut LogReader) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let mut reader = self.reader.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (reader, result) = blocking(move || {
            let result = work(&mut reader);
            Ok((reader, result))
        })
        .await?;
        self.reader = Some(reader);
        result
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
