//! `hostPath`: a path of the node's.

use std::fs::{self, FileType, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use crate::kinds::HostPathVolumeSource;

use super::{Context, Error, Volume, io, make_dir};

pub(super) struct HostPath<'a>(pub &'a HostPathVolumeSource);

impl Volume for HostPath<'_> {
    fn set_up(&self, _cx: &Context<'_>, _dir: &Path) -> Result<PathBuf, Error> {
        let path = PathBuf::from(&self.0.path);
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            return Err(Error::Path(self.0.path.clone()));
        }
        let found = match fs::metadata(&path) {
            Ok(metadata) => Some(metadata.file_type()),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(io("look at", &path)(error)),
        };
        let must = |wanted, is: fn(&FileType) -> bool| match found {
            Some(kind) if is(&kind) => Ok(()),
            _ => Err(Error::HostPath {
                path: self.0.path.clone(),
                wanted,
            }),
        };
        match self.0.type_.as_deref().unwrap_or_default() {
            // Without a type nothing is checked; a missing path becomes a directory, as container runtimes have it.
            "" if found.is_none() => make_dir(&path, 0o755)?,
            "" => {}
            "DirectoryOrCreate" if found.is_none() => make_dir(&path, 0o755)?,
            "DirectoryOrCreate" | "Directory" => must("a directory", FileType::is_dir)?,
            "FileOrCreate" if found.is_none() => {
                OpenOptions::new()
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .mode(0o644)
                    .open(&path)
                    .map_err(io("make file", &path))?;
            }
            "FileOrCreate" | "File" => must("a file", FileType::is_file)?,
            "Socket" => must("a socket", FileType::is_socket)?,
            "CharDevice" => must("a character device", FileType::is_char_device)?,
            "BlockDevice" => must("a block device", FileType::is_block_device)?,
            _ => return Err(Error::Unsupported("hostPath with an unknown type".into())),
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::scratch;
    use crate::objects::Objects;
    use crate::spec::fields::Facts;

    fn run(path: &Path, kind: &str) -> Result<PathBuf, Error> {
        let cx = Context {
            pod: &Default::default(),
            facts: &Facts::default(),
            objects: &Objects::new(),
        };
        HostPath(&HostPathVolumeSource {
            path: path.display().to_string(),
            type_: Some(kind.into()),
        })
        .set_up(&cx, Path::new("/"))
    }

    #[test]
    fn types_are_checked_or_made() {
        let dir = scratch("hostpath");
        let at = |name: &str| dir.path().join(name);
        assert!(run(&at("no"), "Directory").is_err());
        assert!(run(&at("no"), "File").is_err());
        run(&at("d/e"), "DirectoryOrCreate").unwrap();
        assert!(at("d/e").is_dir());
        run(&at("f"), "FileOrCreate").unwrap();
        assert!(at("f").is_file());
        run(&at("f"), "File").unwrap();
        assert!(run(&at("f"), "Directory").is_err());
        assert!(run(&at("f"), "Socket").is_err());
        run(&at("x/y"), "").unwrap();
        assert!(at("x/y").is_dir());
        run(Path::new("/dev/null"), "CharDevice").unwrap();
        assert!(run(&at("d/../f"), "File").is_err());
        assert!(run(&at("f"), "Wrong").is_err());
    }
}
