//! Classes of cache and of memory bandwidth: OCI runtime specification, "IntelRdt"; the kernel's
//! Documentation/filesystems/resctrl.rst. What is made is only what a container needs beside what is there already.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::LinuxIntelRdt;
use serde::{Deserialize, Serialize};

use crate::error::{During, Error, Result};

/// Directories of the kernel's own, which cannot be classes.
const RESERVED: [&str; 3] = ["info", "mon_groups", "mon_data"];

/// Where a container's processes belong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Where the pseudo file system is mounted.
    root: PathBuf,
    /// The class.
    class: PathBuf,
    /// The class is made for this container and goes away with it.
    own: bool,
    /// The group that counts for this container only.
    counted: Option<PathBuf>,
}

/// Looks for what no resctrl file system could do.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(asked: &LinuxIntelRdt) -> Result<()> {
    let invalid = |what: String| Err(Error::Invalid(format!("linux.intelRdt.{what}")));
    if let Some(name) = class(asked)
        && name != "/"
    {
        let mut parts = Path::new(name).components();
        let single = matches!((parts.next(), parts.next()), (Some(Component::Normal(one)), None) if one == name);
        if !single || RESERVED.contains(&name) {
            return invalid(format!("closID {name:?} is no name of a directory"));
        }
    }
    if schema(asked.l3_cache_schema()).is_some_and(|text| text.contains('\n')) {
        return invalid("l3CacheSchema is more than one line".to_owned());
    }
    if schema(asked.mem_bw_schema()).is_some_and(|text| text.contains('\n') || !text.starts_with("MB:")) {
        return invalid("memBwSchema is no line that starts with MB:".to_owned());
    }
    if asked.schemata().iter().flatten().any(|line| line.contains('\n')) {
        return invalid("schemata has a line with another in it".to_owned());
    }
    mounted().map(drop)
}

/// Where the pseudo file system is mounted.
fn mounted() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").during("read", "/proc/self/mountinfo")?;
    let found = mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let at = mount.split(' ').nth(4)?;
        kind.starts_with("resctrl ").then(|| PathBuf::from(at))
    });
    found.ok_or_else(|| {
        Error::Invalid(
            "linux.intelRdt: no resctrl file system is mounted (mount -t resctrl resctrl /sys/fs/resctrl)".to_owned(),
        )
    })
}

impl Group {
    /// What a container needs, after a look at what is there.
    ///
    /// # Errors
    /// Something is missing, is another's, or is otherwise than the configuration says.
    pub fn plan(asked: &LinuxIntelRdt, container: &str) -> Result<Self> {
        Self::plan_in(mounted()?, asked, container)
    }

    fn plan_in(root: PathBuf, asked: &LinuxIntelRdt, container: &str) -> Result<Self> {
        let invalid = |what: String| Err(Error::Invalid(format!("linux.intelRdt: {what}")));
        let (path, own) = match class(asked) {
            Some("/") => (root.clone(), false),
            Some(name) => (root.join(name), false),
            None => (root.join(container), true),
        };
        let there = path.is_dir();
        if own && there {
            return invalid(format!("{} exists already", path.display()));
        }
        if !own && !there && lines(asked).next().is_none() {
            return invalid(format!("there is no {}, and nothing to make it of", path.display()));
        }
        if there {
            let file = path.join("schemata");
            let now = fs::read_to_string(&file).during("read", file.display())?;
            for wanted in [asked.l3_cache_schema(), asked.mem_bw_schema()]
                .into_iter()
                .filter_map(schema)
            {
                if !agrees(&now, wanted) {
                    return invalid(format!("{} does not say {wanted}", file.display()));
                }
            }
        }
        let counted = monitored(asked).then(|| path.join("mon_groups").join(container));
        if let Some(group) = counted.as_ref().filter(|group| group.exists()) {
            return invalid(format!("{} exists already", group.display()));
        }
        Ok(Self {
            root,
            class: path,
            own,
            counted,
        })
    }

    /// Makes what is missing of it.
    ///
    /// # Errors
    /// The kernel refuses: it says why in a file of its own.
    pub fn make(&self, asked: &LinuxIntelRdt) -> Result<()> {
        let new = match fs::create_dir(&self.class) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && !self.own => false,
            made => made
                .map(|()| true)
                .map_err(|error| self.explain("make", &self.class, error))?,
        };
        let file = self.class.join("schemata");
        let written = lines(asked).try_for_each(|line| {
            write(&file, &format!("{line}\n")).map_err(|error| self.explain("write", &file, error))
        });
        if let Err(error) = written {
            if new && !self.own {
                // Nobody's yet.
                let _ = fs::remove_dir(&self.class);
            }
            return Err(error);
        }
        self.counted.as_ref().map_or(Ok(()), |group| {
            fs::create_dir(group).map_err(|error| self.explain("make", group, error))
        })
    }

    /// Puts this process into it; those that it clones are in it as well.
    ///
    /// # Errors
    /// It is gone.
    pub fn join(&self) -> Result<()> {
        for group in std::iter::once(&self.class).chain(&self.counted) {
            let file = group.join("tasks");
            write(&file, "0\n").map_err(|error| self.explain("write", &file, error))?;
        }
        Ok(())
    }

    /// Removes what was made for the container.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn remove(&self) -> Result<()> {
        for group in self.counted.iter().chain(self.own.then_some(&self.class)) {
            match fs::remove_dir(group) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(self.explain("remove", group, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// An error with what the kernel has to say of it.
    fn explain(&self, operation: &'static str, path: &Path, error: io::Error) -> Error {
        let said = fs::read_to_string(self.root.join("info/last_cmd_status")).unwrap_or_default();
        let said = said.trim();
        let source = if said.is_empty() || said == "ok" {
            error
        } else {
            io::Error::other(format!("{error}: {}", said.replace('\n', ", ")))
        };
        Error::System {
            operation,
            object: path.display().to_string(),
            source,
        }
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    fs::File::options().write(true).open(path)?.write_all(text.as_bytes())
}

fn class(asked: &LinuxIntelRdt) -> Option<&str> {
    asked.clos_id().as_deref().filter(|name| !name.is_empty())
}

fn schema(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// What is written to the class, in this order.
fn lines(asked: &LinuxIntelRdt) -> impl Iterator<Item = &str> {
    let first = [asked.l3_cache_schema(), asked.mem_bw_schema()]
        .into_iter()
        .filter_map(schema);
    first.chain(asked.schemata().iter().flatten().map(String::as_str))
}

/// Older configurations say it in two ways.
fn monitored(asked: &LinuxIntelRdt) -> bool {
    [asked.enable_monitoring(), asked.enable_cmt(), asked.enable_mbm()]
        .into_iter()
        .any(|flag| *flag == Some(true))
}

/// Whether a class' schemata say what one line wants. The kernel pads names and values.
fn agrees(now: &str, wanted: &str) -> bool {
    let Some((resource, wanted)) = wanted.split_once(':') else {
        return false;
    };
    let found = now.lines().find_map(|line| {
        let (name, values) = line.split_once(':')?;
        (name.trim() == resource.trim()).then_some(values)
    });
    let Some(found) = found else { return false };
    wanted.split(';').all(|one| match pair(one) {
        Some(wanted) => found.split(';').filter_map(pair).any(|found| found == wanted),
        None => one.trim().is_empty(),
    })
}

/// The number of a cache, and a mask or a percentage without padding.
fn pair(text: &str) -> Option<(&str, String)> {
    let (cache, value) = text.split_once('=')?;
    let value = value
        .trim()
        .trim_start_matches("0x")
        .trim_start_matches('0')
        .to_lowercase();
    Some((cache.trim(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A directory with the files of a class.
    fn resctrl(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("barepodtest-resctrl-{name}-{}", std::process::id()));
        for class in ["", "gold"] {
            let dir = root.join(class);
            fs::create_dir_all(dir.join("mon_groups/other")).unwrap();
            fs::write(dir.join("tasks"), "").unwrap();
            fs::write(dir.join("schemata"), "    MB:0= 20;1= 70\n    L3:0=7f0;1=01f\n").unwrap();
        }
        root
    }

    fn asked(value: Value) -> LinuxIntelRdt {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_written_like_nothing_there() {
        for (value, words) in [
            (json!({ "closID": "a/b" }), "closID"),
            (json!({ "closID": ".." }), "closID"),
            (json!({ "closID": "info" }), "closID"),
            (json!({ "l3CacheSchema": "L3:0=f\nMB:0=10" }), "l3CacheSchema"),
            (json!({ "memBwSchema": "L3:0=f" }), "memBwSchema"),
            (json!({ "schemata": ["L3:0=f\n"] }), "schemata"),
        ] {
            let said = check(&asked(value)).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
        let said = check(&asked(json!({ "closID": "/" })));
        assert!(said.is_ok() || said.unwrap_err().to_string().contains("no resctrl file system"));
    }

    #[test]
    fn a_class_that_is_there() {
        let root = resctrl("there");
        let plan = |value: Value| Group::plan_in(root.clone(), &asked(value), "c1");
        let gold = plan(json!({ "closID": "gold", "l3CacheSchema": "L3:1=1f", "enableMonitoring": true })).unwrap();
        assert_eq!((gold.own, &gold.class), (false, &root.join("gold")));
        gold.make(&asked(json!({ "closID": "gold", "schemata": ["L2:0=f", "L2:1=3"] })))
            .unwrap();
        assert!(
            fs::read_to_string(root.join("gold/schemata"))
                .unwrap()
                .starts_with("L2:1=3\n")
        );
        let counted = root.join("gold/mon_groups/c1");
        fs::write(counted.join("tasks"), "").unwrap();
        gold.join().unwrap();
        for tasks in [root.join("gold/tasks"), counted.join("tasks")] {
            assert_eq!(fs::read_to_string(tasks).unwrap(), "0\n");
        }
        assert_eq!(fs::read_to_string(root.join("tasks")).unwrap(), "");
        fs::remove_file(counted.join("tasks")).unwrap();
        gold.remove().unwrap();
        gold.remove().unwrap();
        assert!(!counted.exists() && root.join("gold/mon_groups/other").exists());
        let default = plan(json!({ "closID": "/" })).unwrap();
        assert_eq!(
            (default.own, default.class, default.counted),
            (false, root.clone(), None)
        );
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn one_that_is_not_there() {
        let root = resctrl("missing");
        let plan = |value: Value, id: &str| Group::plan_in(root.clone(), &asked(value), id);
        let refused = |value: Value, id: &str| plan(value, id).unwrap_err().to_string();
        assert!(refused(json!({ "closID": "lead" }), "c1").contains("there is no"));
        assert!(refused(json!({}), "gold").contains("exists already"));
        assert!(refused(json!({ "closID": "gold", "enableMonitoring": true }), "other").contains("exists already"));
        for wanted in ["L3:0=7f", "L3:2=1f", "L2:0=f", "nothing"] {
            assert!(refused(json!({ "closID": "gold", "l3CacheSchema": wanted }), "c1").contains("does not say"));
        }
        plan(
            json!({ "closID": "gold", "l3CacheSchema": "L3:0=07F0;1=1f", "memBwSchema": "MB:0=20" }),
            "c1",
        )
        .unwrap();

        // Here the kernel does not fill it, so that nothing can be written: it is not left behind.
        let lead = asked(json!({ "closID": "lead", "memBwSchema": "MB:0=10" }));
        assert!(Group::plan_in(root.clone(), &lead, "c1").unwrap().make(&lead).is_err());
        assert!(!root.join("lead").exists());
        // A container's own goes away with it.
        let own = plan(json!({}), "c1").unwrap();
        assert!(own.own);
        own.make(&asked(json!({}))).unwrap();
        assert!(root.join("c1").exists());
        own.remove().unwrap();
        assert!(!root.join("c1").exists());
        fs::remove_dir_all(root).unwrap();
    }
}
