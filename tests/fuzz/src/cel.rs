//! Expressions: a source, a line `---`, the object it is asked of.

use std::sync::{Arc, OnceLock};

use barepod_cel::rules::check_definition;
use barepod_cel::{Decl, Env, PER_CALL_LIMIT, Type, Value};
use serde_json::json;

/// Two environments: one that knows nothing of the object, one that has a schema of it.
fn environments() -> &'static [(Env, Option<Arc<Decl>>); 2] {
    static BOTH: OnceLock<[(Env, Option<Arc<Decl>>); 2]> = OnceLock::new();
    BOTH.get_or_init(|| {
        let any = Env::new().variable("object", Type::Dyn).variable("oldObject", Type::Dyn);
        let schema = json!({"type": "object", "properties": {
            "name": {"type": "string", "maxLength": 20}, "count": {"type": "integer"}, "at": {"type": "string", "format": "date-time"},
            "list": {"type": "array", "items": {"type": "string"}}, "any": {"x-kubernetes-int-or-string": true},
            "map": {"type": "object", "additionalProperties": {"type": "number"}},
        }});
        let decl = Decl::of_schema(&schema, true);
        let typed = match &decl {
            Some(decl) => Env::new().declare("object", decl).declare("oldObject", decl),
            None => Env::new(),
        };
        [(any, None), (typed, decl)]
    })
}

pub fn cel(data: &[u8]) {
    let mut parts = crate::parts(data);
    let Ok(source) = std::str::from_utf8(parts.next().unwrap_or_default()) else {
        return;
    };
    let object = crate::value(parts.next()).unwrap_or_else(|| json!({"name": "a", "list": ["b"], "map": {"c": 1.5}}));
    for (env, decl) in environments() {
        let Ok(program) = env.compile(source) else { continue };
        let _ = (program.estimate(), program.result());
        let value = || match decl {
            Some(decl) => Value::declared(&object, decl),
            None => Value::data(&object),
        };
        let variables = [("object", value()), ("oldObject", value())];
        let outcome = program.evaluate(&variables, PER_CALL_LIMIT);
        if let Ok(value) = outcome.value {
            value.to_json();
        }
    }
    let definition = json!({"type": "object", "properties": {"a": {"type": "string"}}, "x-kubernetes-validations": [{"rule": source}]});
    check_definition(&definition, "schema");
}
