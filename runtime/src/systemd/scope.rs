//! A container's scope: its name, how it is made, changed and ended.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use super::Holder;
use super::bus::{Bus, PATIENCE};
use super::properties;
use super::wire::{Property, Value, Writer};
use crate::cgroup::{Cgroup, Layout};
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
        scope.check_names()?;
        Ok(scope)
    }

    /// Names of units: systemd.unit(5).
    fn check_names(&self) -> Result<()> {
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

    /// Its directory in the hierarchy that systemd watches its units in.
    #[must_use]
    pub fn dir(&self, layout: &Layout) -> PathBuf {
        Cgroup::new(layout, &self.cgroup()).dir(layout.units())
    }

    /// Refuses what systemd cannot be asked for, before anything is made.
    ///
    /// # Errors
    /// A limit that it would undo, an annotation that is none of its properties.
    pub fn check(
        &self,
        layout: &Layout,
        resources: Option<&LinuxResources>,
        annotations: &BTreeMap<String, String>,
    ) -> Result<()> {
        properties::annotated(annotations)?;
        resources.map_or(Ok(()), |resources| {
            properties::of(layout, &self.dir(layout), resources).map(drop)
        })
    }

    /// Has systemd make it, with a process in it and the properties that annotations ask for. Limits come later, but for
    /// those that it takes only now.
    ///
    /// # Errors
    /// systemd is not there or refuses; the scope is not where it should be.
    pub fn start(
        &self,
        holder: &Holder,
        layout: &Layout,
        id: &str,
        resources: Option<&LinuxResources>,
        annotations: &BTreeMap<String, String>,
    ) -> Result<()> {
        let pid = u32::try_from(holder.pid).unwrap_or_default();
        let own = [
            ("Description", Value::Text(format!("OCI container {id}"))),
            ("Slice", Value::text(&self.slice)),
            ("PIDs", Value::pids(&[pid])),
            ("Delegate", Value::Bool(true)),
            ("DefaultDependencies", Value::Bool(false)),
            // A container that was killed has not failed for good: nobody would ever reset it.
            ("CollectMode", Value::text("inactive-or-failed")),
            ("CPUAccounting", Value::Bool(true)),
            ("MemoryAccounting", Value::Bool(true)),
            ("IOAccounting", Value::Bool(true)),
            ("TasksAccounting", Value::Bool(true)),
        ];
        let mut all: Vec<Property> = own.map(|(name, value)| (name.into(), value)).into();
        all.extend(properties::lasting(resources, annotations));
        let asked = properties::annotated(annotations)?;
        // Later ones win.
        all.extend(asked.iter().cloned());
        let mut bus = Bus::systemd()?;
        let start = |bus: &mut Bus, properties: &[Property]| {
            let mut body = Writer::default();
            write_start(&mut body, &self.unit, properties);
            bus.manager("StartTransientUnit", START, body)
        };
        let operation = "have systemd start";
        let job = set(&mut bus, all, &asked, start).during(operation, &self.unit)?;
        let job = job.first().map_or("", String::as_str);
        let result = bus.job(job, PATIENCE).during(operation, &self.unit)?;
        let result = result.unwrap_or_else(|| "it does not say how it ended".to_owned());
        if result != "done" {
            return Err(Error::State(format!("systemd could not start {}: {result}", self.unit)));
        }
        let dir = self.dir(layout);
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
pub(super) fn write_start(body: &mut Writer, unit: &str, properties: &[Property]) {
    body.text(unit);
    body.text("replace");
    body.properties(properties);
    body.array(8, |_| {});
}

/// The argument of methods that take a unit.
fn named(unit: &str) -> Writer {
    let mut body = Writer::default();
    body.text(unit);
    body
}

/// Tells systemd of limits that change, so that it does not write the former ones again. They last as long as the scope.
///
/// # Errors
/// systemd is not there or refuses, or would undo a limit.
pub fn update(scope: &Scope, layout: &Layout, resources: &LinuxResources) -> Result<()> {
    let properties = properties::of(layout, &scope.dir(layout), resources)?;
    if properties.is_empty() {
        return Ok(());
    }
    let mut bus = Bus::systemd()?;
    let change = |bus: &mut Bus, properties: &[Property]| {
        let mut body = named(&scope.unit);
        // Until the machine is started again.
        body.u32(1);
        body.properties(properties);
        bus.manager("SetUnitProperties", "sba(sv)", body)
    };
    set(&mut bus, properties, &[], change).during("have systemd change", &scope.unit)?;
    // It answers first and writes then. When it answers something else it has written, and will not write over what is
    // written from here on.
    let _ = bus.manager("GetUnit", "s", named(&scope.unit));
    Ok(())
}

/// Has a method set properties. What an older systemd has no name for is left out, but for what was asked for by name.
fn set(
    bus: &mut Bus,
    mut properties: Vec<Property>,
    asked: &[Property],
    method: impl Fn(&mut Bus, &[Property]) -> io::Result<Vec<String>>,
) -> io::Result<Vec<String>> {
    let has = |properties: &[Property], unknown: &str| properties.iter().any(|(name, _)| name == unknown);
    loop {
        let outcome = method(bus, &properties);
        let unknown = outcome.as_ref().err().and_then(unknown);
        let Some(unknown) = unknown.filter(|name| has(&properties, name) && !has(asked, name)) else {
            return outcome;
        };
        properties.retain(|(name, _)| *name != unknown);
    }
}

/// The property that systemd says it does not have.
fn unknown(error: &io::Error) -> Option<String> {
    let text = error.to_string();
    let (_, name) = text.split_once("Cannot set property ")?;
    Some(name.split_once(',')?.0.to_owned())
}

/// Has systemd forget it; gone already is fine. Its processes are dead by then, with which it ends by itself and takes its
/// cgroups along.
///
/// # Errors
/// systemd is not there or refuses.
pub fn remove(scope: &Scope, layout: &Layout) -> Result<()> {
    let dir = scope.dir(layout);
    let deadline = Instant::now() + END;
    while dir.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    if !dir.exists() {
        return Ok(());
    }
    let mut bus = Bus::systemd()?;
    let known = |outcome: io::Result<Vec<String>>| match outcome {
        Err(error) if error.to_string().starts_with("org.freedesktop.systemd1.NoSuchUnit") => Ok(None),
        Err(error) => Err(error),
        Ok(told) => Ok(told.into_iter().next()),
    };
    let operation = "have systemd stop";
    let mut body = named(&scope.unit);
    body.text("replace");
    let stopping = bus.manager("StopUnit", "ss", body);
    if let Some(job) = known(stopping).during(operation, &scope.unit)? {
        let deadline = Instant::now() + PATIENCE;
        // Of a scope that ends by itself this moment the job may not be told.
        while bus.job(&job, MOMENT).during(operation, &scope.unit)?.is_none() {
            let found = known(bus.manager("GetUnit", "s", named(&scope.unit))).during("find", &scope.unit)?;
            if found.is_none() || Instant::now() > deadline {
                break;
            }
        }
    }
    let reset = bus.manager("ResetFailedUnit", "s", named(&scope.unit));
    known(reset).map(drop).during("have systemd forget", &scope.unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_systemd_does_not_know() {
        let said = "org.freedesktop.DBus.Error.PropertyReadOnly: Cannot set property AllowedCPUs, or unknown property.";
        assert_eq!(unknown(&io::Error::other(said)).as_deref(), Some("AllowedCPUs"));
        assert_eq!(
            unknown(&io::Error::other("org.freedesktop.systemd1.NoSuchUnit: no")),
            None
        );
    }

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
