//! Finding and executing the program, in words that users of container engines know.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, chdir, execve, faccessat};

use super::root::same_file;
use crate::broken;
use crate::document::Process;
use crate::error::{During, Error, Result, plain};

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that is ready to be executed.
#[derive(Debug)]
pub struct Program {
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    /// Reads arguments and environment; `HOME` is taken from the container's `/etc/passwd` if the environment has none.
    /// To be called inside the container's root.
    ///
    /// # Errors
    /// There is nothing to execute, or a zero byte somewhere.
    pub fn new(process: &Process) -> Result<Self> {
        let strings = |what: &str, list: &[String]| -> Result<Vec<CString>> {
            let convert = |text: &String| CString::new(text.as_bytes());
            list.iter()
                .map(convert)
                .collect::<std::result::Result<_, _>>()
                .map_err(|_| Error::Invalid(format!("{what} contain a zero byte")))
        };
        let arguments = strings("the arguments", &process.args)?;
        if arguments.is_empty() {
            return Err(Error::Invalid(
                "there is no program to execute: process.args is empty".to_owned(),
            ));
        }
        let mut environment = strings("the environment variables", &process.env)?;
        if !environment
            .iter()
            .any(|variable| variable.as_bytes().starts_with(b"HOME="))
        {
            let home = home(process.user.uid()).unwrap_or_else(|| OsString::from("/"));
            environment.extend(CString::new([b"HOME=", home.as_bytes()].concat()).ok());
        }
        Ok(Self { arguments, environment })
    }

    /// Looks the program up as the user that will execute it.
    ///
    /// # Errors
    /// It is not there, or not executable.
    pub fn find(&self) -> Result<CString> {
        let name = Path::new(OsStr::from_bytes(self.arguments[0].as_bytes()));
        let said = || name.to_string_lossy();
        if name.as_os_str().as_bytes().contains(&b'/') {
            return match check(name) {
                Ok(()) => Ok(self.arguments[0].clone()),
                Err(Errno::ENOENT | Errno::ENOTDIR) => Err(Error::Exec(format!(
                    "exec: \"{0}\": stat {0}: no such file or directory",
                    said()
                ))),
                Err(error) => Err(Error::Exec(format!("exec: \"{}\": {}", said(), plain(&error.into())))),
            };
        }
        if let Some(found) = self.candidates().find(|candidate| check(candidate).is_ok()) {
            return CString::new(found.into_os_string().into_vec())
                .map_err(|_| Error::Invalid("PATH contains a zero byte".to_owned()));
        }
        Err(Error::Exec(format!(
            "exec: \"{}\": executable file not found in $PATH",
            said()
        )))
    }

    /// Looks the program up before the user changes. Only what nobody at all could execute is an error: what root may
    /// not see, as on a file system without rights for root, the user may.
    ///
    /// # Errors
    /// It is not there, or nobody may execute it.
    pub fn look_ahead(&self, process: &Process) -> Result<()> {
        let possible = |path: PathBuf| match fs::metadata(&path) {
            Ok(metadata) => !metadata.is_dir() && metadata.permissions().mode() & 0o111 != 0,
            Err(error) => !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)),
        };
        if enter_directory(&process.cwd).is_err() || self.candidates().any(possible) {
            return Ok(());
        }
        self.find().map(drop)
    }

    /// Where it may be.
    fn candidates(&self) -> impl Iterator<Item = PathBuf> + '_ {
        let name = Path::new(OsStr::from_bytes(self.arguments[0].as_bytes()));
        let here = name.as_os_str().as_bytes().contains(&b'/');
        let path = self
            .environment
            .iter()
            .find_map(|variable| variable.as_bytes().strip_prefix(b"PATH="));
        let path = path.unwrap_or(DEFAULT_PATH.as_bytes());
        // An empty entry would mean the working directory, which nobody wants to execute from by accident.
        let dirs = path
            .split(|byte| *byte == b':')
            .map(|dir| Path::new(OsStr::from_bytes(dir)))
            .filter(move |dir| !here && dir.is_absolute());
        here.then(|| name.to_owned())
            .into_iter()
            .chain(dirs.map(move |dir| dir.join(name)))
    }

    /// Executes `found`; returns only if that failed.
    pub fn execute(&self, found: &CString) -> Error {
        let Err(error) = execve(found, &self.arguments, &self.environment);
        Error::Exec(format!("exec {}: {}", found.to_string_lossy(), plain(&error.into())))
    }
}

/// Whether a file may be executed by who asks.
fn check(path: &Path) -> std::result::Result<(), Errno> {
    let metadata = fs::metadata(path).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    if metadata.is_dir() {
        return Err(Errno::EISDIR);
    }
    faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS)
}

/// Refuses a program that is the runtime itself, by whatever link: executed as the container's own it would hand the
/// container a writable way to the machine's file (CVE-2019-5736). The mount it was started from is read-only as well.
///
/// # Errors
/// It is the runtime.
pub fn refuse_runtime(found: &CString, runtime: Option<&fs::Metadata>) -> Result<()> {
    let path = PathBuf::from(OsString::from_vec(found.as_bytes().to_vec()));
    match (fs::metadata(&path), runtime) {
        _ if broken::lacks("no-runtime-inside") => Ok(()),
        (Ok(found), Some(runtime)) if same_file(&found, runtime) => Err(Error::Exec(format!(
            "exec: \"{}\": is the container runtime itself",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// Enters the working directory, and makes sure that it is inside the container's root: a path through a descriptor
/// that leads out would not be (CVE-2024-21626).
///
/// # Errors
/// It cannot be entered, or is outside.
pub fn enter_directory(path: &Path) -> Result<()> {
    chdir(path).during("enter the working directory", path.display())?;
    // The kernel prefixes what cannot be reached from the root with "(unreachable)": getcwd(3).
    match nix::unistd::getcwd() {
        Ok(place) if place.is_absolute() => Ok(()),
        _ if broken::lacks("directory-inside") => Ok(()),
        Ok(_) | Err(Errno::ENOENT) => Err(Error::Invalid(format!(
            "the working directory {} is outside the container's root",
            path.display()
        ))),
        Err(error) => Err(error).during("look up the working directory", path.display()),
    }
}

/// The home directory of a user in the container's `/etc/passwd`, if that is an ordinary file of ordinary size.
fn home(uid: u32) -> Option<OsString> {
    const LIMIT: u64 = 1 << 20;
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open("/etc/passwd")
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(LIMIT).read_to_end(&mut text).ok()?;
    let uid = uid.to_string();
    let fields = text
        .split(|byte| *byte == b'\n')
        .map(|line| line.split(|byte| *byte == b':').collect::<Vec<_>>());
    let home = fields
        .filter(|fields| fields.len() >= 6)
        .find(|fields| fields[2] == uid.as_bytes())?[5]
        .to_vec();
    (!home.is_empty()).then(|| OsString::from_vec(home))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(args: &[&str], env: &[&str]) -> Program {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let text = serde_json::json!({ "user": {}, "cwd": "/", "args": own(args), "env": own(env) });
        Program::new(&serde_json::from_value(text).unwrap()).unwrap()
    }

    #[test]
    fn programs_are_found_like_a_shell_finds_them() {
        let found = program(&["sh"], &["PATH=/nonexistent:/bin:/usr/bin"]).find().unwrap();
        assert_eq!(found.to_bytes(), b"/bin/sh");
        let fails = |args: &[&str], env: &[&str]| program(args, env).find().unwrap_err().to_string();
        assert_eq!(
            fails(&["no-such"], &[]),
            "exec: \"no-such\": executable file not found in $PATH"
        );
        assert_eq!(
            fails(&["/no/such"], &[]),
            "exec: \"/no/such\": stat /no/such: no such file or directory"
        );
        assert_eq!(fails(&["/etc"], &[]), "exec: \"/etc\": is a directory");
        assert_eq!(fails(&["/etc/passwd"], &[]), "exec: \"/etc/passwd\": permission denied");
    }

    #[test]
    fn home_comes_from_passwd() {
        let has = |p: &Program, text: &str| p.environment.iter().any(|v| v.as_bytes() == text.as_bytes());
        assert!(has(&program(&["x"], &[]), "HOME=/root"));
        assert!(has(&program(&["x"], &["HOME=/data"]), "HOME=/data"));
        assert_eq!(home(4_000_000_000), None);
    }
}
