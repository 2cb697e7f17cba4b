//! Keys of whoever made the container.

const KEYCTL_SEARCH: libc::c_int = 10;
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
const SESSION: libc::c_int = -3;
const NONE: libc::c_int = 0;

/// What the key is called.
pub const NAME: &std::ffi::CStr = c"barepod-test-secret";

/// Looks for the key of the one who made the container.
pub fn search() {
    // SAFETY: the strings outlive the call; nothing is written.
    let found = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_SEARCH,
            SESSION,
            c"user".as_ptr(),
            NAME.as_ptr(),
            NONE,
        )
    };
    if found > 0 {
        println!("gained a key");
    } else {
        println!("failed {}", std::io::Error::last_os_error());
    }
}

/// Gives this process, and those it will make, a key in a session keyring of its own.
pub fn hold() -> std::io::Result<()> {
    let secret = b"secret";
    // SAFETY: without a name nothing is read.
    let joined = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    // SAFETY: the strings and the secret outlive the call.
    let added = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            NAME.as_ptr(),
            secret.as_ptr(),
            secret.len(),
            SESSION,
        )
    };
    if joined < 0 || added < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}
