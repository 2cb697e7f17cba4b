//! Extended regular expressions, as the C library has them: regex(7).

use std::ffi::CString;
use std::mem::MaybeUninit;

/// An expression.
pub struct Regex(libc::regex_t);

impl Regex {
    /// Reads an expression; `None` if it is none.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = CString::new(text).ok()?;
        let mut compiled = MaybeUninit::uninit();
        // SAFETY: the text is a C string; the structure is written to, which succeeded if 0 is returned.
        let failed = unsafe {
            libc::regcomp(
                compiled.as_mut_ptr(),
                text.as_ptr(),
                libc::REG_EXTENDED | libc::REG_NOSUB,
            )
        };
        // SAFETY: it was initialized by regcomp(3).
        (failed == 0).then(|| Self(unsafe { compiled.assume_init() }))
    }

    /// Whether some part of a text is what the expression describes.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        let Ok(text) = CString::new(text) else { return false };
        // SAFETY: the expression is compiled, the text is a C string, and no matches are asked for.
        unsafe { libc::regexec(&raw const self.0, text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: it was compiled, and is not used again.
        unsafe { libc::regfree(&raw mut self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found() {
        let regex = Regex::new("^test-[0-9]+$|x.z").unwrap();
        assert!(regex.is_in("test-12") && regex.is_in("a-xyz-b"));
        assert!(!regex.is_in("test-") && !regex.is_in("a-test-1"));
        assert!(Regex::new("(").is_none() && Regex::new("a\0").is_none());
    }
}
