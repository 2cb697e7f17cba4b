//! Versions of a kind that are not the one its objects are stored in.

use serde_json::{Map, Value};

use crate::invalid::Invalid;

/// How objects of a version become stored ones, and back. Nothing is lost on the way there and back again.
#[derive(Clone, Copy)]
pub struct Conversion {
    /// Group and version of the stored form.
    pub stored: (&'static str, &'static str),
    /// Fills this version's defaults.
    pub default: fn(&mut Value),
    /// From this version to the stored one. Kind and version are set by the caller.
    pub to_stored: fn(&mut Value),
    /// From the stored version to this one. Kind and version are set by the caller.
    pub from_stored: fn(&mut Value),
    /// Selectable fields by their name in this version, with their name in the stored one; none means that they are the
    /// same.
    pub selectable: &'static [(&'static str, &'static str)],
    /// What is wrong with a stored object that was written in this version, and would not be in the stored one; with the
    /// object before, if there is one.
    pub rules: fn(&Value, Option<&Value>) -> Vec<Invalid>,
}

impl std::fmt::Debug for Conversion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversion")
            .field("stored", &self.stored)
            .finish_non_exhaustive()
    }
}

/// Moves a field to another name in the same object.
pub(crate) fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = map.remove(from) {
        map.insert(to.to_owned(), value);
    }
}
