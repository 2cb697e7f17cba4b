//! Writes a set of files so that readers see the old or the new set, never a mixture.
//!
//! ```text
//! volume/..2f9c…/key        the files
//! volume/..data → ..2f9c…   swapped by rename(2): the one moment of change
//! volume/key → ..data/key   what programs open
//! ```

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use super::payload::Payload;
use super::{Error, io};
use crate::files::random_id;

/// The link that is swapped.
const DATA: &str = "..data";

/// Brings `dir` to show exactly `payload`. With an owning group, that group may read all of it. Returns whether
/// anything changed.
pub fn write(dir: &Path, payload: &Payload, group: Option<u32>) -> Result<bool, Error> {
    let current = match fs::read_link(dir.join(DATA)) {
        Ok(target) => Some(target),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(io("read link in", dir)(error)),
    };
    let unchanged = current.as_ref().is_some_and(|it| same(&dir.join(it), payload, group));
    let name = match &current {
        Some(it) if unchanged => it.clone(),
        _ => swap_in(dir, payload, group)?,
    };
    show(dir, payload)?;
    sweep(dir, payload, &name)?;
    Ok(!unchanged)
}

/// Writes the files into a directory of their own and points the link at it.
fn swap_in(dir: &Path, payload: &Payload, group: Option<u32>) -> Result<PathBuf, Error> {
    let name = PathBuf::from(format!("..{}", random_id()));
    let fresh = dir.join(&name);
    make_dir(&fresh, group)?;
    for (path, file) in payload {
        let target = fresh.join(path);
        for parent in path
            .ancestors()
            .skip(1)
            .filter(|it| !it.as_os_str().is_empty())
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            let parent = fresh.join(parent);
            if !parent.exists() {
                make_dir(&parent, group)?;
            }
        }
        fs::write(&target, &file.bytes).map_err(io("write", &target))?;
        set(&target, file_mode(file.mode, group), group)?;
    }
    let link = dir.join("..data_tmp");
    remove(&link)?;
    symlink(&name, &link).map_err(io("make link", &link))?;
    fs::rename(&link, dir.join(DATA)).map_err(io("rename", &link))?;
    Ok(name)
}

fn file_mode(mode: u32, group: Option<u32>) -> u32 {
    if group.is_some() { mode | 0o440 } else { mode }
}

fn make_dir(path: &Path, group: Option<u32>) -> Result<(), Error> {
    fs::create_dir(path).map_err(io("make directory", path))?;
    set(path, if group.is_some() { 0o2775 } else { 0o755 }, group)
}

fn set(path: &Path, mode: u32, group: Option<u32>) -> Result<(), Error> {
    if let Some(gid) = group {
        chown(path, None, Some(gid)).map_err(io("change group of", path))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io("change mode of", path))
}

/// Whether the directory holds exactly these files.
fn same(dir: &Path, payload: &Payload, group: Option<u32>) -> bool {
    let mut found = BTreeSet::new();
    if list(dir, Path::new(""), &mut found).is_err() || !found.iter().eq(payload.keys()) {
        return false;
    }
    payload.iter().all(|(path, file)| {
        let target = dir.join(path);
        let mode = fs::metadata(&target).map(|it| it.permissions().mode() & 0o777).ok();
        mode == Some(file_mode(file.mode, group)) && fs::read(&target).is_ok_and(|bytes| bytes == file.bytes)
    })
}

fn list(dir: &Path, prefix: &Path, found: &mut BTreeSet<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = prefix.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

/// First parts of the payload's paths: what is seen at the top of the volume.
fn tops(payload: &Payload) -> BTreeSet<&OsStr> {
    payload.keys().filter_map(|path| path.iter().next()).collect()
}

fn show(dir: &Path, payload: &Payload) -> Result<(), Error> {
    for top in tops(payload) {
        let link = dir.join(top);
        let target = Path::new(DATA).join(top);
        match fs::read_link(&link) {
            Ok(known) if known == target => continue,
            Ok(_) => remove(&link)?,
            Err(_) => {}
        }
        symlink(&target, &link).map_err(io("make link", &link))?;
    }
    Ok(())
}

/// Removes links and directories of earlier sets.
fn sweep(dir: &Path, payload: &Payload, current: &Path) -> Result<(), Error> {
    let keep = tops(payload);
    for entry in fs::read_dir(dir).map_err(io("read directory", dir))? {
        let entry = entry.map_err(io("read directory", dir))?;
        let name = entry.file_name();
        if name == DATA || name == current.as_os_str() || keep.contains(name.as_os_str()) {
            continue;
        }
        let path = entry.path();
        if name.as_bytes().starts_with(b"..") && entry.file_type().is_ok_and(|it| it.is_dir()) {
            fs::remove_dir_all(&path).map_err(io("remove", &path))?;
        } else {
            remove(&path)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::File;
    use super::*;
    use crate::files::scratch;

    fn payload(files: &[(&str, &str, u32)]) -> Payload {
        let file = |(path, text, mode): &(&str, &str, u32)| {
            (
                PathBuf::from(path),
                File {
                    bytes: text.as_bytes().to_vec(),
                    mode: *mode,
                },
            )
        };
        files.iter().map(file).collect()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_appear_through_links_and_change_together() {
        let dir = scratch("writer");
        let dir = dir.path();
        assert!(write(dir, &payload(&[("a", "1", 0o644), ("d/e/f", "2", 0o400)]), None).unwrap());
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(dir.join("d/e/f")).unwrap(), "2");
        assert_eq!(
            fs::metadata(dir.join("d/e/f")).unwrap().permissions().mode() & 0o777,
            0o400
        );
        assert_eq!(fs::read_link(dir.join("a")).unwrap(), Path::new("..data/a"));
        let before = fs::read_link(dir.join(DATA)).unwrap();
        assert!(!write(dir, &payload(&[("a", "1", 0o644), ("d/e/f", "2", 0o400)]), None).unwrap());
        assert_eq!(fs::read_link(dir.join(DATA)).unwrap(), before);
        assert!(write(dir, &payload(&[("a", "new", 0o644), ("z", "3", 0o644)]), None).unwrap());
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "new");
        let now = fs::read_link(dir.join(DATA)).unwrap();
        let found: BTreeSet<_> = names(dir).into_iter().collect();
        assert_eq!(found, [now.to_str().unwrap(), DATA, "a", "z"].map(str::to_owned).into());
    }

    #[test]
    fn empty_set_and_leftovers_of_a_crash() {
        let dir = scratch("writer");
        let dir = dir.path();
        fs::create_dir(dir.join("..half")).unwrap();
        symlink("..half", dir.join("..data_tmp")).unwrap();
        write(dir, &payload(&[]), None).unwrap();
        assert_eq!(names(dir).len(), 2);
        write(dir, &payload(&[("a", "1", 0o600)]), None).unwrap();
        assert_eq!(names(dir).len(), 3);
    }

    #[test]
    fn changed_mode_alone_is_a_change() {
        let dir = scratch("writer");
        write(dir.path(), &payload(&[("a", "1", 0o644)]), None).unwrap();
        assert!(write(dir.path(), &payload(&[("a", "1", 0o600)]), None).unwrap());
    }
}
