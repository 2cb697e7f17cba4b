//! Admission policies: whom they are about, with which parameters, and what is done about what they say.

use std::sync::Arc;

use barepod_admission::matching::Matching;
use barepod_admission::policy::{self, Action, Binding, Denial, Inputs, Policy, Text};
use barepod_auth::attributes::{Attributes, Object, Resource};
use barepod_cel as cel;
use barepod_kinds::time::rfc3339;
use barepod_schema::fields::ApplyOptions;
use barepod_schema::patch;
use barepod_schema::selector::LabelSelector;
use barepod_store::Range;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::head::parse;
use super::identity::User;
use super::registry::Kind;
use super::status::{ApiError, ApiResult};
use super::webhook::{Told, patched, review, shown};
use super::{Engine, meta};
use crate::access::Access;

const NOTHING: &Value = &Value::Null;
/// The key of the annotation about rules that did not hold.
const FAILURES: &str = "validation.policy.admission.k8s.io/validation_failure";

/// Answers expressions that ask what somebody may do.
struct Ask {
    access: Arc<Access>,
    user: User,
}

impl cel::Authorize for Ask {
    fn decide(&self, asked: &cel::Attributes) -> cel::Decision {
        let account = asked.service_account.as_ref();
        let account = account.map(|(namespace, name)| User::service_account(namespace, name, ""));
        let object = match &asked.path {
            Some(path) => Object::Path(path),
            None => Object::Resource(Resource {
                group: &asked.group,
                resource: &asked.resource,
                subresource: &asked.subresource,
                namespace: &asked.namespace,
                name: &asked.name,
                field_selector: &asked.field_selector,
                ..Resource::default()
            }),
        };
        let refusal = self.access.refusal(&Attributes {
            user: account.as_ref().unwrap_or(&self.user),
            verb: &asked.verb,
            object,
        });
        cel::Decision {
            allowed: refusal.is_none(),
            reason: refusal.unwrap_or_default(),
            error: None,
        }
    }
}

/// What expressions see, in the version that a rule asked for.
pub(super) struct Seen {
    object: Value,
    old: Value,
    request: Value,
    namespace: Value,
    authorize: Arc<dyn cel::Authorize>,
    resource: cel::Attributes,
}

impl Seen {
    fn with<'a>(&'a self, params: &'a Value) -> Inputs<'a> {
        Inputs {
            object: &self.object,
            old: &self.old,
            request: &self.request,
            params,
            namespace: &self.namespace,
            authorize: &self.authorize,
            resource: &self.resource,
        }
    }
}

impl Engine {
    async fn seen(&self, kind: &Arc<Kind>, told: Told<'_>, object: &Value) -> ApiResult<Seen> {
        let shown_object = shown(kind, told, object).await?;
        let mut request = review(&meta::new_uid(), kind, told, NOTHING).await?;
        let old = request["oldObject"].take();
        if let Some(map) = request.as_object_mut() {
            map.remove("object");
            map.remove("oldObject");
        }
        let resource = &told.target.kind.resource;
        Ok(Seen {
            object: shown_object,
            old,
            request,
            namespace: self.namespace_of(told, object, true)?.unwrap_or_default(),
            authorize: Arc::new(Ask {
                access: self.access.clone(),
                user: told.user.clone(),
            }),
            resource: cel::Attributes {
                group: resource.group.to_string(),
                resource: resource.plural.to_string(),
                subresource: told.subresource.to_owned(),
                namespace: told.target.namespace.to_owned(),
                name: told.target.name.to_owned(),
                ..cel::Attributes::default()
            },
        })
    }

    /// Whether the conditions of a webhook hold.
    pub(super) async fn conditions_hold(
        &self,
        conditions: &[(String, Text)],
        kind: &Arc<Kind>,
        told: Told<'_>,
        object: &Value,
    ) -> ApiResult<Result<bool, String>> {
        if conditions.is_empty() {
            return Ok(Ok(true));
        }
        let seen = self.seen(kind, told, object).await?;
        Ok(policy::holds(conditions, seen.with(NOTHING)))
    }

    /// Asks the policies that say yes or no.
    pub(super) async fn ask_validating_policies(&self, told: Told<'_>, object: &Value) -> ApiResult<()> {
        let all = self.policies.of(policy::Kind::Validating);
        let (mut failures, mut denied) = (Vec::new(), None);
        for (policy, bindings) in all.iter() {
            let Some((seen, wrong)) = self.concerned_by(policy, told, object).await? else {
                continue;
            };
            for binding in bindings {
                if !self.is_bound(binding, told, object)? {
                    continue;
                }
                let outcome = match (&wrong, self.params(policy, binding, told).await) {
                    (Some(why), _) => Err(why.clone()),
                    (None, Ok(all)) => Ok(all),
                    (None, Err(why)) => Err(format!("failed to configure binding: {why}")),
                };
                let outcomes: Vec<policy::Outcome> = match outcome {
                    Ok(params) => params
                        .iter()
                        .map(|params| policy::judge(policy, seen.with(params)))
                        .collect(),
                    Err(_) if policy.passes_on_failure => Vec::new(),
                    Err(message) => vec![policy::Outcome {
                        denials: vec![Denial {
                            message,
                            reason: "Invalid".into(),
                            index: 0,
                        }],
                        ..policy::Outcome::default()
                    }],
                };
                for outcome in outcomes {
                    let audit = outcome.audit.into_iter();
                    let audit = audit.map(|(key, value)| (format!("{}/{key}", policy.name), value));
                    told.note(|notes| notes.audit.extend(audit));
                    for denial in outcome.denials {
                        self.note_denial(policy, binding, told, &denial, &mut failures);
                        if binding.actions.contains(&Action::Deny) && denied.is_none() {
                            denied = Some(refusal(policy, binding, told, &denial));
                        }
                    }
                }
            }
        }
        if !failures.is_empty() {
            told.note(|notes| notes.audit.push((FAILURES.into(), Value::Array(failures).to_string())));
        }
        denied.map_or(Ok(()), Err)
    }

    fn note_denial(
        &self,
        policy: &Policy,
        binding: &Binding,
        told: Told<'_>,
        denial: &Denial,
        failures: &mut Vec<Value>,
    ) {
        if binding.actions.contains(&Action::Warn) {
            let warning = format!(
                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                policy.name, binding.name, denial.message
            );
            told.note(|notes| notes.warnings.push(warning));
        }
        if binding.actions.contains(&Action::Audit) {
            let actions: Vec<&str> = binding.actions.iter().map(|action| action.name()).collect();
            failures.push(json!({
                "message": denial.message, "policy": policy.name, "binding": binding.name,
                "expressionIndex": denial.index, "validationActions": actions,
            }));
        }
    }

    /// Lets the policies change the object that may; true if one did.
    pub(super) async fn ask_mutating_policies(
        &self,
        told: Told<'_>,
        object: &mut Value,
        again: bool,
    ) -> ApiResult<bool> {
        let all = self.policies.of(policy::Kind::Mutating);
        let mut changed = false;
        for (policy, bindings) in all.iter().filter(|(policy, _)| policy.again || !again) {
            for binding in bindings {
                // Each sees what those before it changed.
                let Some((_, wrong)) = self.concerned_by(policy, told, object).await? else {
                    break;
                };
                if !self.is_bound(binding, told, object)? {
                    continue;
                }
                let params = match wrong {
                    Some(why) => Err(why),
                    None => self.params(policy, binding, told).await,
                };
                let done = match params {
                    Ok(all) => self.mutate_with(policy, told, &all, object.clone()).await,
                    Err(why) => Err(why),
                };
                match done {
                    Ok(new) if new != *object => {
                        changed = true;
                        *object = new;
                    }
                    Ok(_) => {}
                    Err(_) if policy.passes_on_failure => {}
                    Err(why) => {
                        let why = format!(
                            "policy '{}' with binding '{}' denied request: {why}",
                            policy.name, binding.name
                        );
                        return Err(ApiError::forbidden(told.target.kind, told.target.name, &why));
                    }
                }
            }
        }
        Ok(changed)
    }

    async fn mutate_with(
        &self,
        policy: &Policy,
        told: Told<'_>,
        all: &[Value],
        mut object: Value,
    ) -> Result<Value, String> {
        for params in all {
            self.mutate(policy, told, params, &mut object).await?;
        }
        Ok(object)
    }

    async fn mutate(&self, policy: &Policy, told: Told<'_>, params: &Value, object: &mut Value) -> Result<(), String> {
        for index in 0.. {
            let kind = self
                .matched(&policy.matching, told, object)
                .map_err(|error| error.message)?;
            let Some(kind) = kind else { return Ok(()) };
            let seen = self.seen(&kind, told, object).await.map_err(|error| error.message)?;
            match policy::mutate(policy, index, seen.with(params)) {
                None => break,
                Some(change) => {
                    let (is_patch, change) = change?;
                    let changed = if is_patch {
                        let patched = patched(&policy.name, &kind, told, &seen.object, &change).await;
                        patched.map_err(|error| error.message)
                    } else {
                        applied(&kind, told, &seen.object, object, change).await
                    };
                    *object = changed?;
                }
            }
        }
        Ok(())
    }

    /// What a policy sees of a write, if it is about it, and why its conditions cannot be told.
    async fn concerned_by(
        &self,
        policy: &Policy,
        told: Told<'_>,
        object: &Value,
    ) -> ApiResult<Option<(Seen, Option<String>)>> {
        let Some(kind) = self.matched(&policy.matching, told, object)? else {
            return Ok(None);
        };
        let seen = self.seen(&kind, told, object).await?;
        Ok(match policy::holds(&policy.conditions, seen.with(NOTHING)) {
            Ok(true) => Some((seen, None)),
            Ok(false) => None,
            Err(_) if policy.passes_on_failure => None,
            Err(why) => Some((seen, Some(why))),
        })
    }

    /// Whether a binding leaves its policy to be about a write.
    fn is_bound(&self, binding: &Binding, told: Told<'_>, object: &Value) -> ApiResult<bool> {
        let Some(matching) = &binding.matching else {
            return Ok(true);
        };
        if matching.has_rules() {
            return Ok(self.matched(matching, told, object)?.is_some());
        }
        Ok(!matching.excludes(&told.asked(told.target.kind)) && self.selected(matching, told, object)?)
    }

    pub(super) fn selected(&self, matching: &Matching, told: Told<'_>, object: &Value) -> ApiResult<bool> {
        let namespace = self.namespace_of(told, object, matching.asks_namespace())?;
        Ok(matching.selects(namespace.as_ref(), object, told.old))
    }

    /// The kind of a name, served in a version.
    pub fn kind_named(&self, api_version: &str, kind: &str) -> Option<Arc<Kind>> {
        let is_it = |known: &&Arc<Kind>| known.api_version == api_version && known.resource.kind == kind;
        let built = self.registry.kinds().iter().find(is_it).cloned();
        built.or_else(|| self.custom_kinds().1.iter().find(is_it).cloned())
    }

    /// The parameters that a binding names: one null if the policy takes none.
    async fn params(&self, policy: &Policy, binding: &Binding, told: Told<'_>) -> Result<Vec<Value>, String> {
        let (Some((api_version, kind)), Some(wanted)) = (&policy.param_kind, &binding.param_ref) else {
            return Ok(vec![Value::Null]);
        };
        let known = self
            .kind_named(api_version, kind)
            .ok_or_else(|| format!("failed to find resource referenced by paramKind: '{api_version}, Kind={kind}'"))?;
        let text = |key: &str| wanted[key].as_str().unwrap_or("");
        let namespace = match (known.resource.namespaced, text("namespace")) {
            (false, "") => "",
            (false, _) => {
                return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
            }
            (true, "") if told.target.namespace.is_empty() => {
                return Err(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into(),
                );
            }
            (true, "") => told.target.namespace,
            (true, named) => named,
        };
        let mut found: Vec<Value> = match text("name") {
            "" => {
                let selector = LabelSelector::from_value(&wanted["selector"]).map_err(|error| error.to_string())?;
                let prefix = known.prefix_in(Some(namespace));
                let page = self.store.range(&Range {
                    prefix: &prefix,
                    ..Range::default()
                });
                let objects = page.unwrap_or_default().objects;
                let all = objects.iter().map(|object| parse(object));
                all.filter(|object| selector.matches_object(object)).collect()
            }
            name => self
                .store
                .get(&known.key(namespace, name))
                .iter()
                .map(|it| parse(it))
                .collect(),
        };
        if found.is_empty() && text("parameterNotFoundAction") == "Deny" {
            return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
        }
        known.show(&mut found).await.map_err(|error| error.message)?;
        Ok(found)
    }
}

/// An object with a configuration applied to it. Nobody owns what a policy set.
async fn applied(
    kind: &Arc<Kind>,
    told: Told<'_>,
    shown: &Value,
    stored: &Value,
    mut config: Value,
) -> Result<Value, String> {
    if shown.is_null() {
        return Err("there is no object to change".into());
    }
    if told.sent.is_some() {
        return patch::merge(shown, &config).map_err(|error| error.to_string());
    }
    for key in ["apiVersion", "kind"] {
        config[key] = shown[key].clone();
    }
    for key in ["name", "namespace"] {
        if let Some(own) = shown["metadata"].get(key) {
            meta::of(&mut config).insert(key.into(), own.clone());
        }
    }
    let now = rfc3339(Timestamp::now());
    let options = ApplyOptions {
        manager: "mutating-admission-policy",
        force: true,
        api_version: &kind.api_version,
        subresource: told.subresource,
        now: &now,
        reset_fields: &[],
    };
    let mut new = kind
        .apply(Some(stored), &config, &options)
        .await
        .map_err(|error| error.message)?
        .map_err(|error| error.to_string())?;
    match stored["metadata"].get("managedFields") {
        Some(books) => meta::of(&mut new).insert("managedFields".into(), books.clone()),
        None => meta::of(&mut new).remove("managedFields"),
    };
    kind.default_stored(&mut new);
    Ok(new)
}

fn refusal(policy: &Policy, binding: &Binding, told: Told<'_>, denial: &Denial) -> ApiError {
    let why = format!(
        "ValidatingAdmissionPolicy '{}' with binding '{}' denied request: {}",
        policy.name, binding.name, denial.message
    );
    ApiError::refused_by_policy(told.target.kind, told.target.name, &why, &denial.reason)
}
