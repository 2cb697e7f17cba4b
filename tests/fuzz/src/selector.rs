//! Short texts with a grammar of their own.

use barepod_schema::selector::{FieldSelector, LabelSelector};

pub fn label(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(selector) = LabelSelector::parse(text) {
        selector.matches(|_| None);
        selector.matches(|_| Some("1"));
    }
    if let Ok(value) = serde_json::from_str(text)
        && let Ok(selector) = LabelSelector::from_value(&value)
    {
        selector.matches_object(&value);
    }
}

pub fn field(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(selector) = FieldSelector::parse(text) {
        selector.matches(|_| Some("1"));
        assert_eq!(selector.is_empty(), selector.requirements().is_empty());
    }
}

pub fn quantity(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(quantity) = barepod_schema::quantity::Quantity::parse(text) {
        let canonical = quantity.to_string();
        let again = barepod_schema::quantity::Quantity::parse(&canonical).expect("the canonical form is a quantity");
        assert_eq!(again.to_string(), canonical);
        assert_eq!(again.nanos(), quantity.nanos(), "{text:?} {canonical}");
        let _ = (quantity.millis(), quantity.value());
    }
    if let Ok(quantity) = text.parse::<barepod_kinds::Quantity>() {
        let canonical = quantity.to_string();
        let again: barepod_kinds::Quantity = canonical.parse().expect("the canonical form is a quantity");
        assert_eq!(again, quantity, "{text:?} {canonical}");
        let _ = (
            quantity.units(),
            quantity.milli(),
            quantity.round_up_to_milli() + quantity - again,
        );
    }
}
