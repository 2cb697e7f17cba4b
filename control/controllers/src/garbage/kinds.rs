//! The kinds that are served, and those that were: what is known of objects names its kind by its place here.

use crate::discovery::Kind;
use std::sync::Arc;

/// A table that only grows.
#[derive(Default)]
pub(super) struct Kinds(Vec<Known>);

struct Known {
    kind: Arc<Kind>,
    served: bool,
}

/// What became of the table.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// Places of kinds that are served no more, or in another version now.
    pub(super) gone: Vec<usize>,
    /// Kinds that were not served, with their places.
    pub(super) new: Vec<(usize, Arc<Kind>)>,
}

impl Kinds {
    /// The kind at a place.
    pub(super) fn get(&self, place: usize) -> Option<&Arc<Kind>> {
        self.0.get(place).map(|known| &known.kind)
    }

    /// A kind that is served, by its name.
    pub(super) fn named(&self, group: &str, kind: &str) -> Option<&Arc<Kind>> {
        let mut served = self.0.iter().filter(|known| known.served).map(|known| &known.kind);
        served.find(|known| known.kind == kind && known.group == group)
    }

    /// Takes note of everything that is served now.
    pub(super) fn update(&mut self, served: Vec<Kind>) -> Changes {
        let mut changes = Changes::default();
        for (place, known) in self.0.iter_mut().enumerate() {
            if known.served && !served.contains(&known.kind) {
                known.served = false;
                changes.gone.push(place);
            }
        }
        for kind in served {
            let same = |known: &Known| known.kind.group == kind.group && known.kind.plural == kind.plural;
            let place = self.0.iter().position(same).unwrap_or(self.0.len());
            if self.0.get(place).is_some_and(|known| known.served) {
                continue;
            }
            let kind = Arc::new(kind);
            changes.new.push((place, kind.clone()));
            let known = Known { kind, served: true };
            match self.0.get_mut(place) {
                Some(slot) => *slot = known,
                None => self.0.push(known),
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(plural: &str, watchable: bool) -> Kind {
        Kind {
            group: "g".into(),
            plural: plural.into(),
            kind: plural.to_uppercase(),
            watchable,
            ..Kind::default()
        }
    }

    #[test]
    fn kinds_keep_their_places() {
        let mut kinds = Kinds::default();
        let places = |changes: &Changes| changes.new.iter().map(|(place, _)| *place).collect::<Vec<_>>();
        let first = kinds.update(vec![kind("a", true), kind("b", true)]);
        assert_eq!((places(&first), first.gone), (vec![0, 1], vec![]));
        let second = kinds.update(vec![kind("b", true), kind("c", true)]);
        assert_eq!((places(&second), second.gone), (vec![2], vec![0]));
        assert!(kinds.named("g", "A").is_none() && kinds.named("g", "C").is_some());
        assert_eq!(kinds.get(0).unwrap().plural, "a", "what is left of it is still known");
        let third = kinds.update(vec![kind("a", true), kind("b", false), kind("c", true)]);
        assert_eq!(
            (places(&third), third.gone),
            (vec![0, 1], vec![1]),
            "changed ones begin anew"
        );
    }
}
