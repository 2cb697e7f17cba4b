//! A container's scope: its name, how it is made, changed and ended.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use super::Holder;
use super::bus::{Bus, PATIENCE};
use super::properties;
use super::wire::{Value, Writer};
use crate::cgroup::{Layout, Mode};
use crate::error::{During, Error, Result};

/// Types of the arguments of `StartTransientUnit`: name, mode, properties, auxiliary units.
pub(super) const START: &str = "ssa(sv)a(sa(sv))";
/// Where scopes are without a word on it.
const SLICE: &str = "system.slice";
/// What names of scopes begin with without a word on it.
const PREFIX: &str = "barepod";

/// How long a scope may take to end with its last process.
const END: Duration = Duration::from_secs(3);
/// How long one waits for word of a job before looking oneself.
const MOMENT: Duration = Duration::from_millis(50);

/// A unit of systemd with a container in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Its name.
    pub unit: String,
    /// The slice it is in.
    pub slice: String,
}

impl Scope {
    /// From `linux.cgroupsPath`, which has the form `SLICE:PREFIX:NAME` then, as engines write it for runc and crun.
    ///
    /// # Errors
    /// It has another form, or parts that are no names of units.
    pub fn named(cgroups_path: Option<&str>, id: &str) -> Result<Self> {
        let given = cgroups_path.filter(|path| !path.is_empty());
        let (slice, prefix, name) = match given.map(|path| path.split(':').collect::<Vec<_>>()) {
            None => ("", PREFIX, id),
            Some(parts) => match parts.as_slice() {
                [slice, prefix, name] if !name.is_empty() => (*slice, *prefix, *name),
                _ => {
                    return Err(Error::Invalid(format!(
                        "linux.cgroupsPath {} is not of the form SLICE:PREFIX:NAME, which --systemd-cgroup needs",
                        given.unwrap_or_default()
                    )));
                }
            },
        };
        let slice = if slice.is_empty() { SLICE } else { slice };
        let unit = match prefix {
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        let scope = Self {
            unit,
            slice: slice.to_owned(),
        };
        scope.check()?;
        Ok(scope)
    }

    /// Names of units: systemd.unit(5).
    fn check(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
        let is_name = |name: &str| name.len() < 256 && name.chars().all(plain);
        let stem = self.slice.strip_suffix(".slice").unwrap_or_default();
        let is_slice = stem == "-"
            || is_name(&self.slice) && !stem.is_empty() && stem.split('-').all(|part| !part.is_empty() && part != "..");
        if is_slice && is_name(&self.unit) {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "linux.cgroupsPath: {} in {} is no name of a scope in a slice",
            self.unit, self.slice
        )))
    }

    /// Its cgroup: a slice `a-b.slice` is in `a.slice`, systemd.slice(5).
    #[must_use]
    pub fn cgroup(&self) -> PathBuf {
        let mut path = PathBuf::from("/");
        let mut name = String::new();
        for part in self
            .slice
            .trim_end_matches(".slice")
            .split('-')
            .filter(|part| !part.is_empty())
        {
            if !name.is_empty() {
                name.push('-');
            }
            name.push_str(part);
            path.push(format!("{name}.slice"));
        }
        path.join(&self.unit)
    }

    /// Has systemd make it, with a process in it.
    ///
    /// # Errors
    /// systemd is not there or refuses; the scope is not where it should be.
    pub fn start(&self, holder: &Holder, layout: &Layout, id: &str) -> Result<()> {
        if layout.mode == Mode::V1 {
            return Err(Error::State(
                "cgroups made by systemd need the v2 hierarchy, which systemd mounts unless it is booted with \
                 systemd.unified_cgroup_hierarchy=0 and systemd.legacy_systemd_cgroup_controller"
                    .to_owned(),
            ));
        }
        let pid = u32::try_from(holder.pid).unwrap_or_default();
        let all = [
            ("Description", Value::Text(format!("OCI container {id}"))),
            ("Slice", Value::Text(self.slice.clone())),
            ("PIDs", Value::Numbers(vec![pid])),
            ("Delegate", Value::Bool(true)),
            ("DefaultDependencies", Value::Bool(false)),
            // A container that was killed has not failed for good: nobody would ever reset it.
            ("CollectMode", Value::Text("inactive-or-failed".to_owned())),
            ("CPUAccounting", Value::Bool(true)),
            ("MemoryAccounting", Value::Bool(true)),
            ("IOAccounting", Value::Bool(true)),
            ("TasksAccounting", Value::Bool(true)),
        ];
        let mut bus = Bus::systemd()?;
        let mut body = Writer::default();
        write_start(&mut body, &self.unit, &all);
        let operation = "have systemd start";
        let job = bus
            .manager("StartTransientUnit", START, body)
            .during(operation, &self.unit)?;
        let job = job.first().map_or("", String::as_str);
        let result = bus.job(job, PATIENCE).during(operation, &self.unit)?;
        let result = result.unwrap_or_else(|| "it does not say how it ended".to_owned());
        if result != "done" {
            return Err(Error::State(format!("systemd could not start {}: {result}", self.unit)));
        }
        let dir = layout
            .tracker
            .mount
            .join(self.cgroup().strip_prefix("/").unwrap_or(&self.cgroup()));
        if dir.is_dir() {
            return Ok(());
        }
        Err(Error::State(format!(
            "systemd has started {} elsewhere than in {}",
            self.unit,
            dir.display()
        )))
    }
}

/// The arguments of `StartTransientUnit`.
pub(super) fn write_start(body: &mut Writer, unit: &str, properties: &[(&str, Value)]) {
    body.text(unit);
    body.text("replace");
    body.properties(properties);
    body.array(8, |_| {});
}

/// Tells systemd of limits that change, so that it does not write the former ones again. They last as long as the scope.
///
/// # Errors
/// systemd is not there or refuses.
pub fn update(scope: &Scope, layout: &Layout, resources: &LinuxResources) -> Result<()> {
    let changed = properties::of(layout, resources);
    if changed.is_empty() {
        return Ok(());
    }
    let mut body = Writer::default();
    body.text(&scope.unit);
    body.u32(1);
    body.properties(&changed);
    Bus::systemd()?
        .manager("SetUnitProperties", "sba(sv)", body)
        .map(drop)
        .during("have systemd change", &scope.unit)
}

/// Has systemd forget it; gone already is fine. Its processes are dead by then, with which it ends by itself and takes its
/// cgroup `dir` along.
///
/// # Errors
/// systemd is not there or refuses.
pub fn remove(scope: &Scope, dir: &Path) -> Result<()> {
    let deadline = Instant::now() + END;
    while dir.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    if !dir.exists() {
        return Ok(());
    }
    let mut bus = Bus::systemd()?;
    let known = |outcome: std::io::Result<Vec<String>>| match outcome {
        Err(error) if error.to_string().starts_with("org.freedesktop.systemd1.NoSuchUnit") => Ok(None),
        Err(error) => Err(error),
        Ok(told) => Ok(told.into_iter().next()),
    };
    let named = |more: &[&str]| {
        let mut body = Writer::default();
        std::iter::once(scope.unit.as_str())
            .chain(more.iter().copied())
            .for_each(|text| body.text(text));
        body
    };
    let operation = "have systemd stop";
    let stopping = bus.manager("StopUnit", "ss", named(&["replace"]));
    if let Some(job) = known(stopping).during(operation, &scope.unit)? {
        let deadline = Instant::now() + PATIENCE;
        // Of a scope that ends by itself this moment the job may not be told.
        while bus.job(&job, MOMENT).during(operation, &scope.unit)?.is_none() {
            let found = known(bus.manager("GetUnit", "s", named(&[]))).during("find", &scope.unit)?;
            if found.is_none() || Instant::now() > deadline {
                break;
            }
        }
    }
    let reset = bus.manager("ResetFailedUnit", "s", named(&[]));
    known(reset).map(drop).during("have systemd forget", &scope.unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_places() {
        for (given, id, unit, path) in [
            (None, "x", "barepod-x.scope", "/system.slice/barepod-x.scope"),
            (Some(""), "x", "barepod-x.scope", "/system.slice/barepod-x.scope"),
            (
                Some("machine.slice:libpod:abc"),
                "x",
                "libpod-abc.scope",
                "/machine.slice/libpod-abc.scope",
            ),
            (
                Some("kubepods-burstable-podu_1.slice:cri-containerd:c"),
                "x",
                "cri-containerd-c.scope",
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podu_1.slice/cri-containerd-c.scope",
            ),
            (Some("-.slice::c"), "x", "c.scope", "/c.scope"),
        ] {
            let scope = Scope::named(given, id).unwrap();
            assert_eq!((scope.unit.as_str(), scope.cgroup()), (unit, PathBuf::from(path)));
        }
        for wrong in [
            "/a/b",
            "a:b",
            "a.slice:b:",
            "a:b:c",
            "a/b.slice:p:c",
            "a--b.slice:p:c",
            "a.slice:../p:c",
            "a.slice:p:c:d",
        ] {
            assert!(Scope::named(Some(wrong), "x").is_err(), "{wrong}");
        }
    }
}
