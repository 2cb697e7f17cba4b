use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::Object;

/// A question for objects in key order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range<'a> {
    /// Only keys that start with this.
    pub prefix: &'a str,
    /// Only keys greater than this.
    pub after: Option<&'a str>,
    /// At most so many objects; 0 is no limit.
    pub limit: usize,
    /// How many more there are beyond the limit of the range before, if that is known: then they need not be counted.
    pub left: Option<usize>,
    /// The state at this revision instead of now.
    pub at: Option<u64>,
}

/// The answer to a [`Range`].
#[derive(Debug, Default)]
pub struct Page {
    /// The objects.
    pub objects: Vec<Arc<Object>>,
    /// The revision of the state they were read from.
    pub revision: u64,
    /// How many more objects the range has beyond the limit.
    pub remaining: usize,
}

pub(crate) type Objects = BTreeMap<Arc<str>, Arc<Object>>;

/// What keys held at the older revision asked for; `None` is absent.
pub(crate) type Overrides = BTreeMap<Arc<str>, Option<Arc<Object>>>;

/// Reads the range from the current objects, with `overrides` put over them.
pub(crate) fn read(objects: &Objects, overrides: &Overrides, range: &Range<'_>, page: &mut Page) {
    let start = match range.after {
        Some(after) if after >= range.prefix => Bound::Excluded(after),
        _ => Bound::Included(range.prefix),
    };
    let bounds = (start, Bound::Unbounded);
    let within = |key: &str| key.starts_with(range.prefix);
    // False when the rest need not be looked at.
    let mut push = |object: &Arc<Object>| {
        if range.limit == 0 || page.objects.len() < range.limit {
            page.objects.push(object.clone());
            return true;
        }
        page.remaining = match range.left {
            Some(left) => left.saturating_sub(page.objects.len()).max(1),
            None => page.remaining + 1,
        };
        range.left.is_none()
    };
    let now = objects.range::<str, _>(bounds).take_while(|(key, _)| within(key));
    if overrides.is_empty() {
        let mut now = now;
        let _ = now.all(|(_, object)| push(object));
        return;
    }
    let mut now = now.peekable();
    let mut then = overrides
        .range::<str, _>(bounds)
        .take_while(|(key, _)| within(key))
        .peekable();
    loop {
        let object = match (now.peek(), then.peek()) {
            (Some((key, object)), Some((old_key, _))) if key < old_key => {
                let object = Some(*object);
                now.next();
                object
            }
            (Some((key, _)), Some((old_key, old))) => {
                let object = old.as_ref();
                if key == old_key {
                    now.next();
                }
                then.next();
                object
            }
            (Some((_, object)), None) => {
                let object = Some(*object);
                now.next();
                object
            }
            (None, Some((_, old))) => {
                let object = old.as_ref();
                then.next();
                object
            }
            (None, None) => return,
        };
        if object.is_some_and(|object| !push(object)) {
            return;
        }
    }
}
