//! The same change, as every version sees it that somebody owns fields of.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value};

use super::compare::{Difference, compare};
use super::managers::reset;
use super::node::Node;
use crate::Forms;

/// What changed between two objects.
pub(super) struct Changes<'f, 'a> {
    forms: Forms<'f>,
    api_version: &'a str,
    reset_fields: &'a [&'a str],
    old: Option<&'a Value>,
    new: &'a Value,
    others: HashMap<String, Option<Difference>>,
}

impl<'f, 'a> Changes<'f, 'a> {
    /// Of two objects in the version of the request.
    pub(super) fn new(
        forms: Forms<'f>,
        api_version: &'a str,
        reset_fields: &'a [&'a str],
        old: Option<&'a Value>,
        new: &'a Value,
    ) -> Self {
        Changes {
            forms,
            api_version,
            reset_fields,
            old,
            new,
            others: HashMap::new(),
        }
    }

    /// As the version of the request sees it.
    pub(super) fn own(&self) -> Difference {
        let nothing = Value::Object(Map::new());
        self.without_reset(compare(
            Node::root(self.forms.shape),
            self.old.unwrap_or(&nothing),
            self.new,
        ))
    }

    /// As some version sees it; `None` if there is no such version.
    pub(super) fn seen_from<'d>(&mut self, api_version: &str, own: &'d Difference) -> Option<Cow<'d, Difference>> {
        let Some(convert) = self.forms.convert.filter(|_| api_version != self.api_version) else {
            return Some(Cow::Borrowed(own));
        };
        if !self.others.contains_key(api_version) {
            let nothing = Value::Object(Map::new());
            let difference = convert(self.new, api_version).map(|(shape, new)| {
                let old = self.old.and_then(|old| convert(old, api_version));
                let old = old.map_or(nothing, |(_, old)| old);
                self.without_reset(compare(Node::root(shape), &old, &new))
            });
            self.others.insert(api_version.to_owned(), difference);
        }
        self.others.get(api_version)?.clone().map(Cow::Owned)
    }

    fn without_reset(&self, mut difference: Difference) -> Difference {
        reset(&mut difference.changed, self.reset_fields);
        reset(&mut difference.removed, self.reset_fields);
        difference
    }
}
