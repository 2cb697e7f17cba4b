//! IP families: this cluster has IPv4 Services only.

use serde_json::{Value, json};

use super::has_cluster_ip;
use crate::invalid::Denied;
use crate::path::{Errors, Path};
use crate::value::{self, object_mut, str_at, strings};

const SPEC: Path<'static> = Path::new("spec");

/// Fills `ipFamilies` and `ipFamilyPolicy`, or refuses families the cluster does not have.
pub(super) fn fill(service: &mut Value) -> Result<(), Denied> {
    let kind = str_at(service, &["spec", "type"]).unwrap_or("").to_owned();
    if !has_cluster_ip(&kind) {
        return Ok(());
    }
    let mut errors = Errors::new();
    let list = SPEC.child("ipFamilies");
    for (i, family) in strings(service, &["spec", "ipFamilies"]).enumerate() {
        if family != "IPv4" {
            errors.invalid(&list.index(i), family, "not configured on this cluster");
        }
    }
    if str_at(service, &["spec", "ipFamilyPolicy"]) == Some("RequireDualStack") {
        let detail = "this cluster is not configured for dual-stack services";
        errors.invalid(&SPEC.child("ipFamilyPolicy"), "RequireDualStack", detail);
    }
    if !errors.is_empty() {
        return Err(Denied::Invalid(errors.into_vec()));
    }
    if let Some(spec) = service.get_mut("spec") {
        value::fill(spec, "ipFamilyPolicy", "SingleStack");
    }
    if let Some(spec) = object_mut(service, "spec") {
        let families = spec.entry("ipFamilies").or_insert(Value::Null);
        if families.as_array().is_none_or(Vec::is_empty) {
            *families = json!(["IPv4"]);
        }
    }
    Ok(())
}
