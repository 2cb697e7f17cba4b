//! A container's session keyring. Without one of its own it would have the one of whoever made it, with all keys in it.

use std::ffi::CString;

use crate::broken;
use crate::error::{During, Error, Result};
use crate::sys::keyring::{join_session, let_be_found};

/// Which keyring a process gets; the name is the container's alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyring<'a> {
    /// The one it has.
    Inherited,
    /// A new one.
    New(&'a str),
    /// The one that the first process of its container has.
    Of(&'a str),
}

/// Changes to the keyring.
///
/// # Errors
/// There are too many.
pub fn join(keyring: Keyring<'_>) -> Result<()> {
    let name = match keyring {
        Keyring::Inherited => return Ok(()),
        _ if broken::lacks("own-keyring") => return Ok(()),
        Keyring::New(name) | Keyring::Of(name) => name,
    };
    let name = CString::new(format!("_ses.{name}")).map_err(|_| Error::Invalid(format!("{name:?} is no name")))?;
    let joined = match join_session(&name) {
        // A kernel without keyrings has nothing to keep apart; nor has one whose caller may not use them, in a container.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => return Ok(()),
        other => other.during("join", "a session keyring")?,
    };
    if let Keyring::New(_) = keyring {
        let_be_found(joined).during("change the rights of", "the session keyring")?;
    }
    Ok(())
}
