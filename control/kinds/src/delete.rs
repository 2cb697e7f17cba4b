//! What a delete request does to an object: nothing, a mark, or its removal.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{time, value};

/// Finalizer of a foreground deletion.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer that asks the garbage collector to orphan the dependents.
pub const ORPHAN: &str = "orphan";

/// What becomes of an object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// The object goes first, the garbage collector removes dependents later.
    Background,
    /// Dependents go first.
    Foreground,
    /// Dependents stay.
    Orphan,
}

/// The part of `metav1.DeleteOptions` that decides what happens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// `gracePeriodSeconds`; negative values count as one second.
    pub grace_period_seconds: Option<i64>,
    /// `propagationPolicy`, or what `orphanDependents` says.
    pub propagation: Option<Propagation>,
}

impl DeleteOptions {
    /// Reads a `DeleteOptions` object.
    pub fn from_value(options: &Value) -> Self {
        let propagation = match options.get("propagationPolicy").and_then(Value::as_str) {
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Orphan") => Some(Propagation::Orphan),
            Some("Background") => Some(Propagation::Background),
            _ => match options.get("orphanDependents").and_then(Value::as_bool) {
                Some(true) => Some(Propagation::Orphan),
                Some(false) => Some(Propagation::Background),
                None => None,
            },
        };
        DeleteOptions {
            grace_period_seconds: options.get("gracePeriodSeconds").and_then(Value::as_i64),
            propagation,
        }
    }
}

/// What the engine has to write.
#[derive(Debug, Clone, PartialEq)]
pub enum DeleteMode {
    /// Remove the object now.
    Remove,
    /// Store this object, which carries the marks of deletion; somebody else finishes the work.
    Keep(Value),
    /// The object is being deleted already and nothing changes.
    Unchanged,
}

/// Deletion of kinds without grace: now, unless finalizers hold the object.
pub fn generic(obj: &Value, options: &DeleteOptions, now: Timestamp) -> DeleteMode {
    with_grace(obj, options, 0, now)
}

/// Deletion with a grace period in seconds; 0 means at once.
///
/// An object that is being deleted already can only have its period shortened.
pub fn with_grace(obj: &Value, options: &DeleteOptions, grace_seconds: i64, now: Timestamp) -> DeleteMode {
    let grace = if grace_seconds < 0 { 1 } else { grace_seconds };
    let finalizers = finalizers_after(obj, options.propagation);
    if grace == 0 && finalizers.is_empty() {
        return DeleteMode::Remove;
    }
    let same_finalizers = value::strings(obj, &["metadata", "finalizers"]).eq(finalizers.iter().map(String::as_str));
    let marked = value::str_at(obj, &["metadata", "deletionTimestamp"]);
    let mut next = obj.clone();
    if let Some(marked) = marked {
        let current = value::i64_at(obj, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0);
        if current <= grace && same_finalizers {
            return DeleteMode::Unchanged;
        }
        if grace < current {
            let began = time::parse(marked).and_then(|t| t.checked_sub(SignedDuration::from_secs(current)).ok());
            mark(&mut next, began.unwrap_or(now), grace);
        }
    } else {
        mark(&mut next, now, grace);
        bump_generation(&mut next);
    }
    if let Some(metadata) = value::object_mut(&mut next, "metadata") {
        if finalizers.is_empty() {
            metadata.remove("finalizers");
        } else {
            metadata.insert("finalizers".into(), finalizers.into());
        }
    }
    DeleteMode::Keep(next)
}

/// Sets `deletionTimestamp` (the moment the grace period ends) and `deletionGracePeriodSeconds`.
pub fn mark(obj: &mut Value, began: Timestamp, grace_seconds: i64) {
    let ends = began
        .checked_add(SignedDuration::from_secs(grace_seconds))
        .unwrap_or(began);
    if let Some(metadata) = value::object_mut(obj, "metadata") {
        metadata.insert("deletionTimestamp".into(), time::rfc3339(ends).into());
        metadata.insert("deletionGracePeriodSeconds".into(), grace_seconds.into());
    }
}

fn bump_generation(obj: &mut Value) {
    let generation = value::i64_at(obj, &["metadata", "generation"]).filter(|g| *g > 0);
    if let (Some(generation), Some(metadata)) = (generation, value::object_mut(obj, "metadata")) {
        metadata.insert("generation".into(), (generation + 1).into());
    }
}

fn finalizers_after(obj: &Value, propagation: Option<Propagation>) -> Vec<String> {
    let kept = |f: &&str| propagation.is_none() || (*f != FOREGROUND && *f != ORPHAN);
    let mut list: Vec<String> = value::strings(obj, &["metadata", "finalizers"])
        .filter(kept)
        .map(str::to_owned)
        .collect();
    match propagation {
        Some(Propagation::Foreground) => list.push(FOREGROUND.into()),
        Some(Propagation::Orphan) => list.push(ORPHAN.into()),
        Some(Propagation::Background) | None => {}
    }
    list
}

/// Marked for deletion, no grace left, and no finalizer holds it.
pub fn finished(obj: &Value) -> bool {
    value::at(obj, &["metadata", "deletionTimestamp"]).is_some()
        && value::i64_at(obj, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0) == 0
        && value::strings(obj, &["metadata", "finalizers"]).next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn options(grace: Option<i64>, propagation: Option<Propagation>) -> DeleteOptions {
        DeleteOptions {
            grace_period_seconds: grace,
            propagation,
        }
    }

    #[test]
    fn plain_objects_go_at_once() {
        assert_eq!(
            generic(&json!({"metadata": {}}), &options(None, None), now()),
            DeleteMode::Remove
        );
    }

    #[test]
    fn finalizers_keep_and_their_removal_finishes() {
        let obj = json!({"metadata": {"finalizers": ["a/b"], "generation": 2}});
        let DeleteMode::Keep(kept) = generic(&obj, &options(None, None), now()) else {
            panic!("kept")
        };
        assert_eq!(kept["metadata"]["deletionTimestamp"], "2026-01-01T00:00:00Z");
        assert_eq!(kept["metadata"]["generation"], 3);
        assert!(!finished(&kept));
        assert_eq!(generic(&kept, &options(None, None), now()), DeleteMode::Unchanged);
        let mut free = kept;
        free["metadata"]["finalizers"] = json!([]);
        assert!(finished(&free));
    }

    #[test]
    fn propagation_becomes_a_finalizer() {
        let obj = json!({"metadata": {}});
        let DeleteMode::Keep(kept) = generic(&obj, &options(None, Some(Propagation::Foreground)), now()) else {
            panic!("kept")
        };
        assert_eq!(kept["metadata"]["finalizers"], json!([FOREGROUND]));
        assert_eq!(
            generic(&kept, &options(None, Some(Propagation::Background)), now()),
            DeleteMode::Remove
        );
    }

    #[test]
    fn grace_is_only_ever_shortened() {
        let obj = json!({"metadata": {}});
        let DeleteMode::Keep(kept) = with_grace(&obj, &options(None, None), 30, now()) else {
            panic!("kept")
        };
        assert_eq!(kept["metadata"]["deletionTimestamp"], "2026-01-01T00:00:30Z");
        assert_eq!(
            with_grace(&kept, &options(None, None), 60, now()),
            DeleteMode::Unchanged
        );
        let DeleteMode::Keep(short) = with_grace(&kept, &options(None, None), 5, now()) else {
            panic!("kept")
        };
        assert_eq!(short["metadata"]["deletionTimestamp"], "2026-01-01T00:00:05Z");
        assert_eq!(short["metadata"]["deletionGracePeriodSeconds"], 5);
        assert_eq!(with_grace(&short, &options(None, None), 0, now()), DeleteMode::Remove);
    }
}
