//! Sets of field paths, kept in the very form in which `fieldsV1` stores them: an object of path elements. An element
//! whose object is empty is a member; one whose object has entries stands for the members below it, and is a member
//! itself when `.` is among them.
//!
//! Working on the stored form means that an update that touches two fields never decodes the hundreds that others own.

use serde_json::{Map, Value};

use super::element;

/// A set, or the part of one below some element.
pub(super) type Set = Map<String, Value>;

/// The element that stands for the value itself.
pub(super) const SELF: &str = ".";

/// Whether the element with this part is a member.
pub(super) fn is_member(part: &Set) -> bool {
    part.is_empty() || part.contains_key(SELF)
}

/// A part under construction.
#[derive(Default)]
pub(super) struct Part {
    /// The element itself is a member.
    pub(super) member: bool,
    /// The members below it.
    pub(super) below: Set,
}

impl Part {
    /// The part of a leaf.
    pub(super) fn leaf() -> Self {
        Self {
            member: true,
            below: Set::new(),
        }
    }

    /// Puts the part into a set; an empty one is left out, and its name is never made.
    pub(super) fn put(mut self, into: &mut Set, name: impl FnOnce() -> String) {
        if self.below.is_empty() {
            if self.member {
                into.insert(name(), Value::Object(self.below));
            }
        } else {
            if self.member {
                self.below.insert(SELF.to_owned(), Value::Object(Set::new()));
            }
            into.insert(name(), Value::Object(self.below));
        }
    }
}

/// Adds every member of `b` to `a`.
pub(super) fn unite(a: &mut Set, b: Set) {
    for (name, part) in b {
        match (a.get_mut(&name), part) {
            (Some(Value::Object(known)), Value::Object(mut part)) => {
                if known.is_empty() && !part.is_empty() {
                    part.insert(SELF.to_owned(), Value::Object(Set::new()));
                    *known = part;
                } else if !known.is_empty() && part.is_empty() {
                    known.insert(SELF.to_owned(), Value::Object(Set::new()));
                } else {
                    unite(known, part);
                }
            }
            (_, part) => {
                a.insert(name, part);
            }
        }
    }
}

/// Takes every member of `b` out of `a`. Returns whether anything was.
pub(super) fn subtract(a: &mut Set, b: &Set) -> bool {
    let mut changed = false;
    for (name, unwanted) in b {
        if let Value::Object(unwanted) = unwanted
            && name != SELF
        {
            changed |= subtract_element(a, name, unwanted);
        }
    }
    changed
}

fn subtract_element(a: &mut Set, name: &str, unwanted: &Set) -> bool {
    let Some(Value::Object(part)) = a.get_mut(name) else {
        return false;
    };
    let taken = is_member(part) && is_member(unwanted);
    if part.is_empty() {
        if taken {
            a.remove(name);
        }
        return taken;
    }
    if taken {
        part.remove(SELF);
    }
    let changed = subtract(part, unwanted) | taken;
    if part.is_empty() {
        a.remove(name);
    } else if part.len() == 1 && part.contains_key(SELF) {
        part.clear();
    }
    changed
}

/// The members that both have.
pub(super) fn intersect(a: &Set, b: &Set) -> Set {
    let mut both = Set::new();
    for (name, part) in a {
        let (Value::Object(part), Some(Value::Object(other))) = (part, b.get(name)) else {
            continue;
        };
        let below = if part.is_empty() || other.is_empty() {
            Set::new()
        } else {
            intersect_below(part, other)
        };
        Part {
            member: is_member(part) && is_member(other),
            below,
        }
        .put(&mut both, || name.clone());
    }
    both
}

fn intersect_below(a: &Set, b: &Set) -> Set {
    let mut both = intersect(a, b);
    both.remove(SELF);
    both
}

/// Takes a path out of a set, with everything below it.
pub(super) fn remove_path(set: &mut Set, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let name = element::field(first);
    if rest.is_empty() {
        set.remove(&name);
    } else if let Some(Value::Object(part)) = set.get_mut(&name)
        && !part.is_empty()
    {
        remove_path(part, rest);
        if part.is_empty() {
            set.remove(&name);
        }
    }
}

/// Calls with every member, written as people read it.
pub(super) fn each_path(set: &Set, prefix: &str, call: &mut impl FnMut(String)) {
    let member = |part: &Value| part.as_object().is_some_and(is_member);
    for (name, part) in set {
        if name != SELF && member(part) {
            let mut path = prefix.to_owned();
            element::push_readable(&mut path, name);
            call(path);
        }
    }
    for (name, part) in set {
        if let Value::Object(part) = part
            && !part.is_empty()
        {
            let mut path = prefix.to_owned();
            element::push_readable(&mut path, name);
            each_path(part, &path, call);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(value: Value) -> Set {
        let Value::Object(set) = value else {
            panic!("a set is an object")
        };
        set
    }

    #[test]
    fn members_are_united_subtracted_and_intersected() {
        let a = || set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {"f:d": {}}}, "f:x": {}}));
        let b = || set(json!({"f:a": {"f:b": {}, "f:c": {}}, "f:x": {"f:y": {}}, "f:z": {}}));
        let mut united = a();
        unite(&mut united, b());
        assert_eq!(
            united,
            set(
                json!({"f:a": {".": {}, "f:b": {}, "f:c": {".": {}, "f:d": {}}}, "f:x": {".": {}, "f:y": {}}, "f:z": {}})
            )
        );
        let mut rest = a();
        assert!(subtract(&mut rest, &b()));
        assert_eq!(rest, set(json!({"f:a": {".": {}, "f:c": {"f:d": {}}}, "f:x": {}})));
        assert!(!subtract(
            &mut rest,
            &set(json!({"f:x": {"f:q": {}}, "f:a": {"f:c": {}}}))
        ));
        let mut rest = united.clone();
        assert!(subtract(
            &mut rest,
            &set(json!({"f:a": {}, "f:x": {".": {}, "f:y": {}}}))
        ));
        assert_eq!(
            rest,
            set(json!({"f:a": {"f:b": {}, "f:c": {".": {}, "f:d": {}}}, "f:z": {}}))
        );
        assert_eq!(
            intersect(&united, &b()),
            set(json!({"f:a": {"f:b": {}, "f:c": {}}, "f:x": {"f:y": {}}, "f:z": {}}))
        );
        assert_eq!(
            intersect(&a(), &set(json!({"f:a": {}, "f:q": {}}))),
            set(json!({"f:a": {}}))
        );
    }

    #[test]
    fn whole_paths_are_removed() {
        let mut some =
            set(json!({"f:status": {"f:a": {}}, "f:metadata": {"f:labels": {".": {}, "f:x": {}}}, "f:spec": {}}));
        remove_path(&mut some, &["status"]);
        remove_path(&mut some, &["metadata", "labels"]);
        remove_path(&mut some, &["spec", "x", "y"]);
        assert_eq!(some, set(json!({"f:spec": {}})));
    }

    #[test]
    fn paths_are_readable() {
        let mut paths = Vec::new();
        let some = set(
            json!({"f:spec": {"f:containers": {"k:{\"name\":\"x\",\"port\":80}": {".": {}, "f:image": {}}}, "f:list": {"v:\"a\"": {}, "i:0": {}}}}),
        );
        each_path(&some, "", &mut |path| paths.push(path));
        assert_eq!(
            paths,
            [
                ".spec.containers[name=\"x\",port=80]",
                ".spec.containers[name=\"x\",port=80].image",
                ".spec.list[0]",
                ".spec.list[=\"a\"]"
            ]
        );
    }
}
