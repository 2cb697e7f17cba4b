//! Mount options: from the words of an OCI document to what the two mount interfaces take.

use std::path::PathBuf;

use nix::mount::MsFlags;

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
    /// What is mounted there already is changed.
    pub remount: bool,
    /// What was in the directory is copied into the file system that covers it.
    pub copy_up: bool,
    /// The users of the source are others in the container; and whether so in what is mounted below.
    pub id_map: Option<bool>,
    /// Which others, if neither the mount nor the container says: crun(1), "idmap mount options".
    pub id_mappings: Option<String>,
    /// A source that is a link is made again instead of what it leads to: crun(1), "copy-symlink mount options".
    pub copy_link: bool,
    /// A source that is a link is itself mounted.
    pub source_link: bool,
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
const WORDS: [(&str, MsFlags, u64, bool); 18] = [
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
    // Neither this nor that is what the kernel does by default: relatime.
    ("atime", MsFlags::MS_NOATIME, 0, false),
    ("norelatime", MsFlags::MS_RELATIME, 0, false),
    ("nostrictatime", MsFlags::MS_STRICTATIME, 0, false),
];

/// Words for the file system as a whole, which a bind mount cannot change.
const SUPERBLOCK: [(&str, MsFlags, bool); 13] = [
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
    ("nolazytime", MsFlags::MS_LAZYTIME, false),
    ("acl", MsFlags::MS_POSIXACL, true),
    ("noacl", MsFlags::MS_POSIXACL, false),
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
    all.extend(["unbindable", "runbindable", "defaults", "remount"].map(str::to_owned));
    all.extend(["tmpcopyup", "idmap", "ridmap", "copy-symlink", "src-nofollow"].map(str::to_owned));
    all.sort_unstable();
    all
}

impl Options {
    /// Reads the words.
    #[must_use]
    pub fn parse(words: &[String]) -> Self {
        let mut options = Self {
            flags: MsFlags::empty(),
            attributes: Attributes::default(),
            recursive: Attributes::default(),
            bind: None,
            propagation_recursive: false,
            remount: false,
            copy_up: false,
            id_map: None,
            id_mappings: None,
            copy_link: false,
            source_link: false,
            data: Vec::new(),
            beneath: None,
        };
        for word in words {
            options.word(word);
        }
        options
    }

    fn word(&mut self, word: &str) {
        if let Some((_, flag, attribute, set)) = WORDS.iter().find(|known| known.0 == word) {
            self.flags.set(*flag, *set);
            change(&mut self.attributes, *attribute, *set, word);
            return;
        }
        if let Some((_, flag, set)) = SUPERBLOCK.iter().find(|known| known.0 == word) {
            self.flags.set(*flag, *set);
            return;
        }
        // rro, rnosuid and so on: OCI runtime specification, "recursive" mount attributes.
        if let Some((name, _, attribute, set)) = word.strip_prefix('r').and_then(|w| WORDS.iter().find(|k| k.0 == w)) {
            change(&mut self.recursive, *attribute, *set, name);
            return;
        }
        match word {
            "bind" => self.bind = Some(self.bind == Some(true)),
            "rbind" => self.bind = Some(true),
            "remount" => self.remount = true,
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.id_map = Some(self.id_map == Some(true)),
            "ridmap" => self.id_map = Some(true),
            "copy-symlink" => self.copy_link = true,
            "src-nofollow" => self.source_link = true,
            // What is so anyway.
            "defaults" | "" => {}
            _ => match propagation(word) {
                Some((kind, recursive)) => {
                    self.attributes.propagation = kind;
                    self.propagation_recursive = recursive;
                }
                None => self.word_with_value(word),
            },
        }
    }

    fn word_with_value(&mut self, word: &str) {
        match word.split_once('=') {
            Some((kind @ ("idmap" | "ridmap"), mappings)) => {
                self.word(kind);
                self.id_mappings = Some(mappings.to_owned());
            }
            _ => match word.strip_prefix(BENEATH) {
                Some(dir) => self.beneath = Some(PathBuf::from(dir)),
                None => self.data.push(word.to_owned()),
            },
        }
    }

    /// Whether something is said about the file system as a whole.
    #[must_use]
    pub fn of_superblock(&self) -> bool {
        SUPERBLOCK.iter().any(|(_, flag, _)| self.flags.contains(*flag))
    }

    /// Whether a mount is only to be changed: nothing new is mounted.
    #[must_use]
    pub fn is_change(&self, kind: Option<&str>) -> bool {
        let nothing = self.bind.is_none() && matches!(kind, None | Some("" | "none"));
        self.remount || nothing && self.attributes.propagation != 0
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

/// The kind of propagation a word means, and whether for the mounts below too.
#[must_use]
pub fn propagation(word: &str) -> Option<(u64, bool)> {
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
        Options::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
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
        assert_eq!(
            (parse(&["idmap"]).id_map, parse(&["ridmap", "idmap"]).id_map),
            (Some(false), Some(true))
        );
        assert!(parse(&["remount", "ro"]).is_change(Some("tmpfs")) && parse(&["rslave"]).is_change(None));
        assert!(!parse(&["rbind", "rslave"]).is_change(Some("none")));
        let mapped = parse(&["idmap=uids=0-1-10;gids=0-2-10"]);
        assert_eq!(mapped.id_map, Some(false));
        assert_eq!(mapped.id_mappings.as_deref(), Some("uids=0-1-10;gids=0-2-10"));
        let beneath = parse(&["bind", "x-barepod.beneath=/volumes/a"]).beneath;
        assert_eq!(beneath, Some(PathBuf::from("/volumes/a")));
    }
    #[test]
    fn every_word_of_the_specification_is_known() {
        // OCI runtime specification, "Linux mount options".
        const TABLE: &str = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime \
            nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private \
            ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodiratime rnoexec rnorelatime \
            rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid \
            rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap \
            ridmap";
        let known = mount_options();
        for word in TABLE.split_whitespace() {
            assert!(known.iter().any(|option| option == word), "{word}");
            assert!(parse(&[word]).data.is_empty(), "{word}");
        }
        assert_eq!(parse(&["size=1m", "nr_inodes=5"]).data.len(), 2);
        for (word, set) in [
            ("rnoatime", ATTR_NOATIME),
            ("rstrictatime", ATTR_STRICTATIME),
            ("ratime", 0),
        ] {
            let recursive = parse(&[word]).recursive;
            assert_eq!((recursive.set, recursive.clear), (set, ATTR_ATIME), "{word}");
        }
    }
}
