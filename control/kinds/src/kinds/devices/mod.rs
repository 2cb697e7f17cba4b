//! Dynamic resource allocation: classes, claims, templates of claims, and what drivers offer.

mod claim;
mod slice;

use serde_json::Value;

pub use claim::{CLAIM, TEMPLATE};
pub use slice::SLICE;

use crate::declared::{Declared, PLAIN, SPEC};
use crate::names;
use crate::path::{Errors, Path};
use crate::rules::{Check, rule};
use crate::table::NAME_AND_AGE;
use crate::value::{at, list_at, str_at, text};

const MOST_SELECTORS: usize = 32;
const MOST_CONFIGS: usize = 32;
const EXPRESSION_BYTES: usize = 10 * 1024;
const PARAMETERS_BYTES: usize = 10 * 1024;

/// DeviceClasses.
pub static CLASS: Declared = Declared {
    generation: SPEC,
    columns: NAME_AND_AGE,
    rules: &[
        rule("spec.selectors", Check::Most(MOST_SELECTORS)),
        rule("spec.selectors[*]", Check::By(selector)),
        rule("spec.config", Check::Most(MOST_CONFIGS)),
        rule("spec.config[*]", Check::By(configuration)),
    ],
    ..PLAIN
};

/// Messages for the name of a driver.
fn driver_name(name: &str) -> Vec<String> {
    let mut messages = names::subdomain_errors(&name.to_lowercase());
    if name.len() > 63 {
        messages.insert(0, "must be no more than 63 bytes".into());
    }
    messages
}

/// Checks an expression that selects devices, apart from whether it compiles.
fn selector(selector: &Value, path: &Path<'_>, errors: &mut Errors) {
    let at_cel = path.child("cel");
    match at(selector, &["cel"]) {
        None => errors.required(&at_cel, ""),
        Some(cel) => {
            let expression = text(cel, "expression");
            if expression.is_empty() {
                errors.required(&at_cel.child("expression"), "");
            } else if expression.len() > EXPRESSION_BYTES {
                errors.too_long(&at_cel.child("expression"), EXPRESSION_BYTES);
            }
        }
    }
}

/// Checks settings for a driver.
fn configuration(config: &Value, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("opaque");
    let Some(opaque) = at(config, &["opaque"]) else {
        errors.required(&path, "");
        return;
    };
    match str_at(opaque, &["driver"]) {
        None => errors.required(&path.child("driver"), ""),
        Some(name) => errors.invalid_each(&path.child("driver"), name, driver_name(name)),
    }
    match at(opaque, &["parameters"]) {
        None => errors.required(&path.child("parameters"), ""),
        Some(Value::Object(map)) => {
            if Value::Object(map.clone()).to_string().len() > PARAMETERS_BYTES {
                errors.too_long(&path.child("parameters"), PARAMETERS_BYTES);
            }
        }
        Some(_) => errors.invalid(
            &path.child("parameters"),
            "<value omitted>",
            "must be a valid JSON object",
        ),
    }
}

/// Checks a list of selectors inside something.
fn selectors(holder: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("selectors");
    let given = list_at(holder, &["selectors"]);
    if given.len() > MOST_SELECTORS {
        errors.too_many(&list, given.len(), MOST_SELECTORS);
    }
    for (i, one) in given.iter().enumerate() {
        selector(one, &list.index(i), errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::Strategy;
    use serde_json::json;

    #[test]
    fn classes_are_checked() {
        let class = json!({"spec": {"selectors": [{"cel": {"expression": "true"}}, {}],
            "config": [{"opaque": {"driver": "d.example.com", "parameters": []}}]}});
        let lines: Vec<String> = CLASS.validate(&class, None).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "spec.selectors[1].cel: Required value",
                "spec.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object"
            ]
        );
    }
}
