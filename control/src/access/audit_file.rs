//! The file of the audit log, and its predecessors.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::config::AuditConfig;

/// The log, which is set aside when it has its size.
pub(super) struct AuditFile {
    path: PathBuf,
    file: File,
    size: u64,
    max_bytes: u64,
    max_backups: usize,
    /// The time in the name of the latest predecessor.
    last: Timestamp,
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    // Who may read it may read what people did.
    let file = File::options().create(true).append(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

impl AuditFile {
    /// Opens the log, which may be there already. One that is named `-` is the standard output, which stays what it is
    /// however long it gets.
    pub(super) fn open(config: &AuditConfig) -> io::Result<Self> {
        if config.log == Path::new("-") {
            return Ok(Self::over(io::stdout().as_fd().try_clone_to_owned()?.into()));
        }
        let (file, size) = open(&config.log)?;
        Ok(AuditFile {
            path: config.log.clone(),
            file,
            size,
            max_bytes: config.max_bytes,
            max_backups: config.max_backups,
            last: Timestamp::UNIX_EPOCH,
        })
    }

    fn over(file: File) -> Self {
        AuditFile {
            path: PathBuf::new(),
            file,
            size: 0,
            max_bytes: 0,
            max_backups: 0,
            last: Timestamp::UNIX_EPOCH,
        }
    }

    /// Appends whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let more = lines.len() as u64;
        if self.max_bytes > 0 && self.size > 0 && self.size + more > self.max_bytes {
            self.set_aside()?;
        }
        self.file.write_all(lines)?;
        self.size += more;
        Ok(())
    }

    fn set_aside(&mut self) -> io::Result<()> {
        let (start, end) = self.name_parts();
        // Two in one millisecond are told apart by pretending that the second was later.
        let mut time = Timestamp::now().max(self.last + jiff::SignedDuration::from_millis(1));
        let backup = loop {
            let name = format!("{start}{}{end}", time.strftime("%Y-%m-%dT%H-%M-%S.%3f"));
            let backup = self.path.with_file_name(name);
            if !backup.try_exists()? {
                break backup;
            }
            time += jiff::SignedDuration::from_millis(1);
        };
        self.last = time;
        std::fs::rename(&self.path, backup)?;
        (self.file, self.size) = open(&self.path)?;
        self.remove_oldest(&start, &end)
    }

    /// What is before and after the time in the names of predecessors: `audit-` and `.log`.
    fn name_parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let end = text(self.path.extension());
        let end = if end.is_empty() { end } else { format!(".{end}") };
        (format!("{}-", text(self.path.file_stem())), end)
    }

    fn remove_oldest(&self, start: &str, end: &str) -> io::Result<()> {
        if self.max_backups == 0 {
            return Ok(());
        }
        let directory = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut backups = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let time = name.strip_prefix(start).and_then(|name| name.strip_suffix(end));
            if time.is_some_and(|time| time.len() == 23 && time.as_bytes()[10] == b'T') {
                backups.push(name);
            }
        }
        backups.sort_unstable();
        let too_many = backups.len().saturating_sub(self.max_backups);
        for name in &backups[..too_many] {
            std::fs::remove_file(directory.join(name))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_set_aside_and_the_oldest_removed() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("audit.log");
        let other = directory.path().join("audit-of-somebody-else.log");
        std::fs::write(&other, "").unwrap();
        std::fs::write(&log, "before\n").unwrap();
        let config = AuditConfig {
            policy: PathBuf::new(),
            log: log.clone(),
            max_bytes: 15,
            max_backups: 2,
        };
        let mut file = AuditFile::open(&config).unwrap();
        for number in 0..6 {
            file.write(format!("line {number}...\n").as_bytes()).unwrap();
        }
        let mut all: Vec<PathBuf> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| *path != log && *path != other)
            .collect();
        all.sort();
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(
            all.iter().map(|path| text(path)).collect::<Vec<_>>(),
            ["line 3...\n", "line 4...\n"]
        );
        assert_eq!(text(&log), "line 5...\n");
        assert!(other.exists());
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_dash_is_the_standard_output() {
        const WRITES: &str = "BAREPODTEST_AUDIT_TO_STDOUT";
        let directory = tempfile::tempdir().unwrap();
        if std::env::var_os(WRITES).is_some() {
            let config = AuditConfig {
                policy: PathBuf::new(),
                log: "-".into(),
                max_bytes: 1,
                max_backups: 1,
            };
            let mut log = AuditFile::open(&config).unwrap();
            log.write(b"first\n").unwrap();
            return log.write(b"second\n").unwrap();
        }
        let name = "access::audit_file::tests::a_dash_is_the_standard_output";
        let mut program = std::process::Command::new(std::env::current_exe().unwrap());
        program
            .args(["--exact", name, "--nocapture"])
            .env(WRITES, "1")
            .current_dir(&directory);
        let output = program.output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains("first\nsecond\n"));
        assert!(!directory.path().join("-").exists());
    }
}
