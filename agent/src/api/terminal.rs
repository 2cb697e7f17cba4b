//! The master side of a terminal as a stream.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::fcntl::{F_GETFL, F_SETFL, OFlag, fcntl};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A terminal's master that an event loop can wait for.
pub type Master = AsyncFd<std::fs::File>;

/// One use of a master; its input and its output are two.
pub struct Terminal(Arc<Master>);

/// Makes a descriptor usable by [`Terminal`].
pub fn open(fd: OwnedFd) -> io::Result<Master> {
    let flags = OFlag::from_bits_retain(fcntl(&fd, F_GETFL)?);
    fcntl(&fd, F_SETFL(flags | OFlag::O_NONBLOCK))?;
    crate::sys::register(std::fs::File::from(fd))
}

impl Terminal {
    /// Shares the master.
    pub fn new(master: Arc<Master>) -> Self {
        Self(master)
    }
}

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let space = buf.initialize_unfilled();
            match guard.try_io(|master| master.get_ref().read(space)) {
                Ok(Ok(read)) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                // pty(7): reading fails with EIO once every slave is closed, which is its end of file.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match guard.try_io(|master| master.get_ref().write(buf)) {
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn end_of_a_terminal_is_an_end_of_file() {
        let master = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/ptmx")
            .unwrap();
        let number: OwnedFd = master.into();
        let path = unlock(&number);
        let slave = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let master = Arc::new(open(number).unwrap());
        let mut input = Terminal::new(Arc::clone(&master));
        let mut output = Terminal::new(master);
        input.write_all(b"x\n").await.unwrap();
        let mut seen = [0; 3];
        output.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"x\r\n");
        drop(slave);
        let mut rest = Vec::new();
        output.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }

    fn unlock(master: &OwnedFd) -> String {
        let clear = 0_i32;
        let mut number = 0_u32;
        // SAFETY: both requests are given a pointer to an integer of the size they read or write (ioctl_tty(2)).
        unsafe {
            assert_eq!(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &clear), 0);
            assert_eq!(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &mut number), 0);
        }
        format!("/dev/pts/{number}")
    }
}
