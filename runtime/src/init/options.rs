//! Mount options: from the words of an OCI document to what the two mount interfaces take.

use std::path::PathBuf;

use nix::mount::MsFlags;

use crate::error::{Error, Result};
use crate::sys::mount::Attributes;

/// The options of one mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// For `mount(2)` of a file system.
    pub flags: MsFlags,
    /// For `mount_setattr(2)` of a bind mount: the mount itself.
    pub attributes: Attributes,
    /// The same, with every mount below it.
    pub recursive: Attributes,
    /// A bind mount, and whether with what is mounted below.
    pub bind: Option<bool>,
    /// Whether the propagation is for the mounts below too.
    pub propagation_recursive: bool,
    /// What the file system itself takes.
    pub data: Vec<String>,
    /// The source must be below this directory, and no link may lead out of it. Not in the OCI specification: it is
    /// how a `subPath` of a volume that containers can write to is mounted safely (CVE-2017-1002101, CVE-2021-25741).
    pub beneath: Option<PathBuf>,
}

/// The option that names [`Options::beneath`].
pub const BENEATH: &str = "x-barepod.beneath=";

// linux/mount.h; libc has them for some targets only.
const ATTR_RDONLY: u64 = 0x1;
const ATTR_NOSUID: u64 = 0x2;
const ATTR_NODEV: u64 = 0x4;
const ATTR_NOEXEC: u64 = 0x8;
const ATTR_ATIME: u64 = 0x70;
const ATTR_NOATIME: u64 = 0x10;
const ATTR_STRICTATIME: u64 = 0x20;
const ATTR_NODIRATIME: u64 = 0x80;
const ATTR_NOSYMFOLLOW: u64 = 0x20_0000;
const MS_NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(256);

/// A word, its flag, its attribute, and whether the word sets or clears.
const WORDS: [(&str, MsFlags, u64, bool); 15] = [
    ("ro", MsFlags::MS_RDONLY, ATTR_RDONLY, true),
    ("rw", MsFlags::MS_RDONLY, ATTR_RDONLY, false),
    ("nosuid", MsFlags::MS_NOSUID, ATTR_NOSUID, true),
    ("suid", MsFlags::MS_NOSUID, ATTR_NOSUID, false),
    ("nodev", MsFlags::MS_NODEV, ATTR_NODEV, true),
    ("dev", MsFlags::MS_NODEV, ATTR_NODEV, false),
    ("noexec", MsFlags::MS_NOEXEC, ATTR_NOEXEC, true),
    ("exec", MsFlags::MS_NOEXEC, ATTR_NOEXEC, false),
    ("nodiratime", MsFlags::MS_NODIRATIME, ATTR_NODIRATIME, true),
    ("diratime", MsFlags::MS_NODIRATIME, ATTR_NODIRATIME, false),
    ("nosymfollow", MS_NOSYMFOLLOW, ATTR_NOSYMFOLLOW, true),
    ("symfollow", MS_NOSYMFOLLOW, ATTR_NOSYMFOLLOW, false),
    ("noatime", MsFlags::MS_NOATIME, ATTR_NOATIME, true),
    ("strictatime", MsFlags::MS_STRICTATIME, ATTR_STRICTATIME, true),
    ("relatime", MsFlags::MS_RELATIME, 0, true),
];

/// Words for the file system as a whole, which a bind mount cannot change.
const SUPERBLOCK: [(&str, MsFlags, bool); 10] = [
    ("sync", MsFlags::MS_SYNCHRONOUS, true),
    ("async", MsFlags::MS_SYNCHRONOUS, false),
    ("dirsync", MsFlags::MS_DIRSYNC, true),
    ("mand", MsFlags::MS_MANDLOCK, true),
    ("nomand", MsFlags::MS_MANDLOCK, false),
    ("silent", MsFlags::MS_SILENT, true),
    ("loud", MsFlags::MS_SILENT, false),
    ("iversion", MsFlags::MS_I_VERSION, true),
    ("noiversion", MsFlags::MS_I_VERSION, false),
    ("lazytime", MsFlags::MS_LAZYTIME, true),
];

/// Every word that is understood, sorted.
#[must_use]
pub fn mount_options() -> Vec<String> {
    let mut all: Vec<String> = WORDS
        .iter()
        .flat_map(|word| [word.0.to_owned(), format!("r{}", word.0)])
        .collect();
    all.extend(SUPERBLOCK.iter().map(|word| word.0.to_owned()));
    let others = [
        "bind", "rbind", "private", "rprivate", "shared", "rshared", "slave", "rslave",
    ];
    all.extend(others.map(str::to_owned));
    all.extend(["unbindable", "runbindable", "defaults"].map(str::to_owned));
    all.sort_unstable();
    all
}

impl Options {
    /// Reads the words.
    ///
    /// # Errors
    /// A word that is known, but not to be had here.
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self {
            flags: MsFlags::empty(),
            attributes: Attributes::default(),
            recursive: Attributes::default(),
            bind: None,
            propagation_recursive: false,
            data: Vec::new(),
            beneath: None,
        };
        for word in words {
            options.word(word)?;
        }
        Ok(options)
    }

    fn word(&mut self, word: &str) -> Result<()> {
        if let Some((_, flag, attribute, set)) = WORDS.iter().find(|known| known.0 == word) {
            self.flags.set(*flag, *set);
            change(&mut self.attributes, *attribute, *set, word);
            return Ok(());
        }
        if let Some((_, flag, set)) = SUPERBLOCK.iter().find(|known| known.0 == word) {
            self.flags.set(*flag, *set);
            return Ok(());
        }
        // rro, rnosuid and so on: OCI runtime specification, "recursive" mount attributes.
        if let Some((name, _, attribute, set)) = word.strip_prefix('r').and_then(|w| WORDS.iter().find(|k| k.0 == w)) {
            change(&mut self.recursive, *attribute, *set, name);
            return Ok(());
        }
        match word {
            "bind" => self.bind = Some(self.bind == Some(true)),
            "rbind" => self.bind = Some(true),
            // The defaults, and what mount(8) alone looks at.
            "defaults" | "atime" | "norelatime" | "nostrictatime" | "nolazytime" | "" => {}
            "idmap" | "ridmap" | "tmpcopyup" | "remount" => {
                return Err(Error::Invalid(format!("the mount option {word} is not supported")));
            }
            _ => match propagation(word) {
                Some((kind, recursive)) => {
                    self.attributes.propagation = kind;
                    self.propagation_recursive = recursive;
                }
                None => match word.strip_prefix(BENEATH) {
                    Some(dir) => self.beneath = Some(PathBuf::from(dir)),
                    None => self.data.push(word.to_owned()),
                },
            },
        }
        Ok(())
    }
}

/// Sets or clears an attribute. The kinds of access time exclude each other, and the kernel wants the field cleared
/// when one of them is set: mount_setattr(2).
fn change(attributes: &mut Attributes, attribute: u64, set: bool, word: &str) {
    if word.ends_with("atime") && !word.contains("dir") {
        attributes.clear |= ATTR_ATIME;
        attributes.set = attributes.set & !ATTR_ATIME | attribute;
    } else if set {
        attributes.set |= attribute;
        attributes.clear &= !attribute;
    } else {
        attributes.clear |= attribute;
        attributes.set &= !attribute;
    }
}

fn propagation(word: &str) -> Option<(u64, bool)> {
    let (word, recursive) = match word {
        "rprivate" | "rslave" | "rshared" | "runbindable" => (&word[1..], true),
        other => (other, false),
    };
    let kind = match word {
        "private" => libc::MS_PRIVATE,
        "slave" => libc::MS_SLAVE,
        "shared" => libc::MS_SHARED,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => return None,
    };
    Some((kind, recursive))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Options {
        Options::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_volume() {
        let options = parse(&["rbind", "rslave", "ro", "nosuid", "rw"]);
        assert_eq!(options.bind, Some(true));
        assert_eq!(options.attributes.set, ATTR_NOSUID);
        assert_eq!(options.attributes.clear, ATTR_RDONLY, "the last word counts");
        assert_eq!(
            (options.attributes.propagation, options.propagation_recursive),
            (libc::MS_SLAVE, true)
        );
        assert_eq!(parse(&["rbind", "rro"]).recursive.set, ATTR_RDONLY);
    }

    #[test]
    fn a_file_system() {
        let options = parse(&["nosuid", "strictatime", "mode=755", "size=65536k"]);
        assert_eq!(options.flags, MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME);
        assert_eq!(options.data, ["mode=755", "size=65536k"]);
        assert_eq!(options.attributes.clear, ATTR_ATIME);
        assert_eq!(options.attributes.set, ATTR_NOSUID | ATTR_STRICTATIME);
        assert!(Options::parse(&["idmap".to_owned()]).is_err());
        let beneath = parse(&["bind", "x-barepod.beneath=/volumes/a"]).beneath;
        assert_eq!(beneath, Some(PathBuf::from("/volumes/a")));
    }
}
