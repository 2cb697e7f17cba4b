//! Who a container runs as: `user[:group]` looked up in the image's own `/etc/passwd` and `/etc/group`.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::view::View;

/// Bytes read of passwd or group; a larger file is refused rather than read into the node's time.
const MAX_DATABASE: u64 = 8 * 1024 * 1024;
/// Largest user or group id; above it signed programs misread an id, so container runtimes refuse it.
const MAX_ID: u32 = i32::MAX.cast_unsigned();

/// A resolved user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Further groups the user is a member of in the image's `/etc/group`; none if a group was named.
    pub groups: Vec<u32>,
    /// Login name, if the image's `/etc/passwd` has the user.
    pub name: Option<String>,
    /// Home directory, if the image's `/etc/passwd` has the user.
    pub home: Option<String>,
}

struct Passwd {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// Resolves `user[:group]`, names or numbers, against the image whose unpacked layers are `layers` (uppermost first,
/// as [`crate::ImageStore::lower_dirs`] returns them; one directory does as well). Empty text means root. A number
/// need not exist in the image.
///
/// # Errors
/// [`Error::User`] for a name the image does not have, text that is no user, or an id out of range; [`Error::Io`].
pub fn resolve(layers: &[PathBuf], user: &str) -> Result<User> {
    let fail = |reason: String| Error::User {
        user: user.to_owned(),
        reason,
    };
    let (wanted, group) = match user.split_once(':') {
        Some((wanted, group)) => (wanted, (!group.is_empty()).then_some(group)),
        None => (user, None),
    };
    let wanted = if wanted.is_empty() { "0" } else { wanted };
    let view = View::open(layers).map_err(|source| fail(format!("cannot open the image's layers: {source}")))?;
    let number = parse_id(wanted).map_err(&fail)?;
    let entry = find_passwd(&view, wanted, number).map_err(&fail)?;
    let (uid, primary) = match (&entry, number) {
        (Some(entry), _) => (entry.uid, entry.gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) => return Err(fail("the image's /etc/passwd has no such user".to_owned())),
    };
    let (gid, groups) = match group {
        Some(group) => (find_group(&view, group).map_err(&fail)?, Vec::new()),
        None => {
            let groups = match &entry {
                Some(entry) => memberships(&view, &entry.name, primary).map_err(&fail)?,
                None => Vec::new(),
            };
            (primary, groups)
        }
    };
    let (name, home) = match entry {
        Some(entry) => (Some(entry.name), Some(entry.home)),
        None => (None, None),
    };
    Ok(User {
        uid,
        gid,
        groups,
        name,
        home,
    })
}

/// Digits are an id, text with another first character a name; anything between is refused, because guessing who is
/// meant has let containers run as the wrong user (CVE-2026-30892).
fn parse_id(text: &str) -> Result<Option<u32>, String> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        if text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+'))
            || text.contains([':', '\n', '\0', '/'])
        {
            return Err("neither a name nor a number".to_owned());
        }
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MAX_ID => Ok(Some(id)),
        _ => Err(format!("ids go from 0 to {MAX_ID}")),
    }
}

fn find_passwd(view: &View, wanted: &str, number: Option<u32>) -> Result<Option<Passwd>, String> {
    find(view, "/etc/passwd", |fields| {
        let [name, _, uid, gid, _, home, ..] = fields else {
            return None;
        };
        let entry = Passwd {
            name: (*name).to_owned(),
            uid: parse_id(uid).ok()??,
            gid: parse_id(gid).ok()??,
            home: (*home).to_owned(),
        };
        // A number is never compared with names: an image could call its uid 0 "1000".
        number
            .map_or(entry.name == wanted, |uid| entry.uid == uid)
            .then_some(entry)
    })
}

fn find_group(view: &View, wanted: &str) -> Result<u32, String> {
    let number = parse_id(wanted)?;
    if let Some(gid) = number {
        return Ok(gid);
    }
    let found = find(view, "/etc/group", |fields| {
        group(fields).filter(|group| group.name == wanted)
    })?;
    found
        .map(|group| group.gid)
        .ok_or_else(|| format!("the image's /etc/group has no group {wanted:?}"))
}

fn memberships(view: &View, name: &str, primary: u32) -> Result<Vec<u32>, String> {
    let mut groups = Vec::new();
    find(view, "/etc/group", |fields| {
        let group = group(fields)?;
        if group.gid != primary && group.members.iter().any(|member| member == name) && !groups.contains(&group.gid) {
            groups.push(group.gid);
        }
        None::<()>
    })?;
    Ok(groups)
}

fn group(fields: &[&str]) -> Option<Group> {
    let [name, _, gid, rest @ ..] = fields else { return None };
    let members = rest.first().copied().unwrap_or_default();
    Some(Group {
        name: (*name).to_owned(),
        gid: parse_id(gid).ok()??,
        members: members.split(',').map(|member| member.trim().to_owned()).collect(),
    })
}

/// The first line of a colon-separated database that `pick` takes. A missing database is an empty one.
fn find<T>(view: &View, path: &str, mut pick: impl FnMut(&[&str]) -> Option<T>) -> Result<Option<T>, String> {
    let Some(file) = view
        .open_file(Path::new(path))
        .map_err(|source| format!("cannot open {path}: {source}"))?
    else {
        return Ok(None);
    };
    let mut reader = BufReader::new(file.take(MAX_DATABASE + 1));
    let mut line = Vec::new();
    let mut total = 0;
    loop {
        line.clear();
        let count = reader
            .read_until(b'\n', &mut line)
            .map_err(|source| format!("cannot read {path}: {source}"))?;
        if count == 0 {
            return Ok(None);
        }
        total += count as u64;
        if total > MAX_DATABASE {
            return Err(format!("{path} is larger than {MAX_DATABASE} bytes"));
        }
        let Ok(text) = str::from_utf8(&line) else { continue };
        let fields: Vec<_> = text.trim().split(':').collect();
        if let Some(found) = pick(&fields) {
            return Ok(Some(found));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::TempDir;

    fn image(passwd: &str, group: &str) -> (TempDir, Vec<PathBuf>) {
        let dir = TempDir::new();
        fs::create_dir_all(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        fs::write(dir.path().join("etc/group"), group).unwrap();
        let layers = vec![dir.path().to_owned()];
        (dir, layers)
    }
    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        bad line\n1000:x:0:0::/:\nweb:x:33:34:web:/var/www:/bin/false\nbig:x:4294967296:0::/:\n";
    const GROUP: &str = "root:x:0:\nweb:x:34:\nlogs:x:50:web,other\nmail:x:51: web\nlogs:x:50:web\n";

    #[test]
    fn names_numbers_and_groups() {
        let (_dir, layers) = image(PASSWD, GROUP);
        let get = |user| resolve(&layers, user).unwrap();
        let web = User {
            uid: 33,
            gid: 34,
            groups: vec![50, 51],
            name: Some("web".to_owned()),
            home: Some("/var/www".to_owned()),
        };
        assert_eq!(get("web"), web);
        assert_eq!(get("33"), web);
        assert_eq!(
            get("web:logs"),
            User {
                gid: 50,
                groups: vec![],
                ..web.clone()
            }
        );
        assert_eq!(
            get("web:7"),
            User {
                gid: 7,
                groups: vec![],
                ..web
            }
        );
        assert_eq!(get("").home.as_deref(), Some("/root"));
        assert_eq!(get("0:").uid, 0);
        assert_eq!(
            get("4711"),
            User {
                uid: 4711,
                gid: 0,
                groups: vec![],
                name: None,
                home: None
            }
        );
        // The image has a user called "1000" with uid 0.
        assert_eq!(get("1000").uid, 1000);
    }

    #[test]
    fn what_is_no_user_is_refused() {
        let (_dir, layers) = image(PASSWD, GROUP);
        for bad in [
            "nobody",
            "-1",
            "+1",
            "1e3",
            "4294967296",
            "4294967295",
            "1000:abc",
            "web:-1",
            "big",
            "0x0",
            "a/b",
            " 0",
        ] {
            assert!(resolve(&layers, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn links_stay_in_the_image() {
        let dir = TempDir::new();
        let (upper, lower) = (dir.path().join("upper"), dir.path().join("lower"));
        fs::create_dir_all(upper.join("etc")).unwrap();
        fs::create_dir_all(lower.join("nix")).unwrap();
        fs::write(lower.join("nix/passwd"), "app:x:5:6::/:\n").unwrap();
        std::os::unix::fs::symlink("/../../nix/passwd", upper.join("etc/passwd")).unwrap();
        std::os::unix::fs::symlink("/etc/group", upper.join("etc/group")).unwrap();
        let layers = vec![upper, lower];
        assert_eq!(resolve(&layers, "app:9").unwrap().uid, 5);
        // In the image it is a link to itself, which is an error; it is never the host's file.
        assert!(resolve(&layers, "app:root").is_err());
    }
}
