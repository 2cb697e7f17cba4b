//! Eviction: a removal that asks the pod's disruption budget first.

use barepod_kinds::conditions;
use barepod_kinds::kinds::policy::{Spending, spend};
use barepod_kinds::time::rfc3339;
use barepod_schema::selector::LabelSelector;
use barepod_schema::type_of;
use http::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::body::Body;
use super::decode::{self, Expected};
use super::delete::Removal;
use super::head::parse;
use super::options::WriteOptions;
use super::request::Request;
use super::status::{self, ApiError, ApiResult};
use super::update::{Edit, Update};
use super::{Engine, Target, meta, reply, update};

/// How often an eviction begins anew when the pod changes meanwhile.
const ATTEMPTS: usize = 20;
/// After how many seconds to ask again when the budget's controller has to look first.
const RETRY: u32 = 10;

/// What a budget says about a pod.
enum Permit {
    /// Whatever state the pod is in by then.
    Always,
    /// As long as the pod is what it was; the text is why not otherwise.
    Unchanged(String),
}

impl Engine {
    pub(super) async fn evict(&self, request: &Request, target: Target<'_>) -> ApiResult<Response<Body>> {
        let mut options = WriteOptions::parse(request, "CreateOptions")?;
        let expected = Expected {
            api_version: "policy/v1",
            kind: "Eviction",
            shape: type_of("policy", "v1", "Eviction").into(),
        };
        let (mut eviction, _) = decode::object(&request.content_type, &request.body, &expected, options.validation)?;
        if meta::text(&eviction, "name").is_empty() {
            meta::of(&mut eviction).insert("name".into(), target.name.into());
        }
        update::check_name(&eviction, target)?;
        let sent = ("policy/v1", "Eviction");
        let (dry_run, posted) = (options.dry_run, &mut eviction);
        self.admit_sent(request, target, "eviction", dry_run, sent, posted)
            .await?;
        let empty = json!({});
        let given = eviction
            .get("deleteOptions")
            .filter(|options| options.is_object())
            .unwrap_or(&empty);
        let removal = Removal::from_value(given)?;
        options.dry_run |= removal.dry_run;
        for _ in 0..ATTEMPTS {
            match self.try_evict(request, target, &options, &removal).await {
                // A version that the client did not ask for is not its business.
                Err(error) if error.reason == "Conflict" && removal.revision.is_none() => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(reply::value(request, 201, &status::done())),
            }
        }
        Err(ApiError::modified(target.kind, target.name))
    }

    async fn try_evict(
        &self,
        request: &Request,
        target: Target<'_>,
        options: &WriteOptions,
        removal: &Removal,
    ) -> ApiResult<()> {
        let pod = self.store.get(&target.key()).ok_or_else(|| target.not_found())?;
        let pod = parse(&pod);
        removal.check(target.kind, target.name, &pod)?;
        let mut removal = removal.clone();
        removal.dry_run |= options.dry_run;
        removal.subresource = "eviction";
        let permit = match phase(&pod) {
            Phase::Over => Permit::Always,
            Phase::Waiting => Permit::Unchanged(String::new()),
            Phase::Running => self.permit(request, target, options, &pod).await?,
        };
        let mut guard = None;
        if let (Permit::Unchanged(why), None) = (permit, &removal.revision) {
            removal.revision = Some(meta::text(&pod, "resourceVersion").to_owned());
            guard = Some(why);
        }
        if !options.dry_run {
            let expected = removal.revision.as_deref();
            let marked = self.mark_disrupted(request, target, options, expected).await;
            let marked = marked.map_err(|error| refused(error, guard.as_deref()))?;
            // The pod is another version now, which is the one to remove.
            removal.revision = removal.revision.map(|_| marked);
        }
        let removed = self.remove(request, target, &removal).await;
        removed.map(drop).map_err(|error| refused(error, guard.as_deref()))
    }

    /// Writes into the pod why it goes; its version then.
    async fn mark_disrupted(
        &self,
        request: &Request,
        target: Target<'_>,
        options: &WriteOptions,
        expected: Option<&str>,
    ) -> ApiResult<String> {
        let update = Update {
            subresource: "eviction",
            book: false,
            replace: expected.is_some(),
        };
        let mut change = |old: &Value| {
            let mut new = old.clone();
            let (reason, message) = ("EvictionByEvictionAPI", "Eviction API: evicting");
            conditions::set(&mut new, "DisruptionTarget", "True", reason, message, Timestamp::now());
            match expected {
                Some(version) => meta::of(&mut new).insert("resourceVersion".into(), version.into()),
                None => meta::of(&mut new).remove("resourceVersion"),
            };
            Ok(new)
        };
        let marked = self
            .update_with(request, target, options, update, Edit::Stored(&mut change))
            .await?;
        Ok(match &marked {
            reply::Answer::Stored(object) => object.revision().to_string(),
            reply::Answer::Loose(value) => meta::text(value, "resourceVersion").to_owned(),
        })
    }

    /// Asks the budget of a running pod, and takes from it.
    async fn permit(
        &self,
        request: &Request,
        target: Target<'_>,
        options: &WriteOptions,
        pod: &Value,
    ) -> ApiResult<Permit> {
        let mut budgets = self.lookup_all("policy", "poddisruptionbudgets", target.namespace);
        budgets.retain(|budget| {
            let selector = LabelSelector::from_value(&budget["spec"]["selector"]);
            selector.is_ok_and(|selector| !selector.is_empty() && selector.matches_object(pod))
        });
        let budget = match budgets.as_slice() {
            [] => return Ok(Permit::Always),
            [budget] => budget,
            _ => {
                let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does \
                               not support.";
                return Err(ApiError::plain(message));
            }
        };
        let name = meta::text(budget, "name");
        let unseen = format!("The disruption budget {name} is still being processed by the server.");
        if !conditions::is_true(pod, "Ready") {
            let count = |key: &str| budget["status"][key].as_i64().unwrap_or(0);
            let (current, desired) = (count("currentHealthy"), count("desiredHealthy"));
            // A pod that does not count as healthy takes nothing away.
            if budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" || (current >= desired && desired > 0) {
                return Ok(Permit::Unchanged(unseen));
            }
        }
        let kind = self.registry.find_any("policy", "poddisruptionbudgets");
        let kind = kind.ok_or_else(ApiError::no_such_resource)?;
        let budget = Target {
            kind,
            namespace: target.namespace,
            name,
        };
        let update = Update {
            subresource: "status",
            book: false,
            replace: false,
        };
        let now = rfc3339(Timestamp::now());
        let mut change = |current: &Value| match spend(current, target.name, &now) {
            Spending::Spent(next) => Ok(*next),
            Spending::NotSeen => Err(ApiError::disruption(unseen.clone(), RETRY)),
            Spending::Exhausted(why) => Err(ApiError::disruption(why, 0)),
            Spending::Crowded => {
                let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
                Err(ApiError::forbidden(kind, name, why))
            }
        };
        self.update_with(request, budget, options, update, Edit::Stored(&mut change))
            .await?;
        Ok(Permit::Always)
    }
}

/// A pod that became ready meanwhile needs its budget after all.
fn refused(error: ApiError, guard: Option<&str>) -> ApiError {
    match guard {
        Some(why) if error.reason == "Conflict" && !why.is_empty() => ApiError::disruption(why.to_owned(), RETRY),
        _ => error,
    }
}

/// How much of a disruption the end of a pod is.
enum Phase {
    /// It serves nobody any more.
    Over,
    /// It serves nobody yet.
    Waiting,
    /// It may serve somebody.
    Running,
}

fn phase(pod: &Value) -> Phase {
    let phase = pod["status"]["phase"].as_str();
    if matches!(phase, Some("Succeeded" | "Failed")) || !pod["metadata"]["deletionTimestamp"].is_null() {
        Phase::Over
    } else if phase == Some("Pending") {
        Phase::Waiting
    } else {
        Phase::Running
    }
}
