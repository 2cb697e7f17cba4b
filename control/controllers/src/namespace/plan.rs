//! What is left in a namespace, in the words of its conditions.

use crate::objects::NamespaceCondition;
use barepod_client::types::Time;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What a sweep over all kinds found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Remains {
    /// Objects left, by kind.
    pub(super) objects: BTreeMap<String, usize>,
    /// Objects held by each finalizer.
    pub(super) finalizers: BTreeMap<String, usize>,
    /// Kinds that could not be looked at or emptied, with the reason.
    pub(super) failures: Vec<String>,
    /// Discovery failed, so that nothing is known.
    pub(super) discovery: Option<String>,
}

impl Remains {
    pub(super) fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.failures.is_empty() && self.discovery.is_none()
    }
}

/// The conditions of a terminating namespace; `None` if `old` already says the same.
pub(super) fn conditions(
    old: &[NamespaceCondition],
    remains: &Remains,
    now: Timestamp,
) -> Option<Vec<NamespaceCondition>> {
    let list = |counts: &BTreeMap<String, usize>, what: &str| {
        let parts: Vec<String> = counts
            .iter()
            .map(|(name, count)| format!("{name} has {count} {what}"))
            .collect();
        parts.join(", ")
    };
    let content = match remains.objects.is_empty() {
        true => None,
        false => Some(("SomeResourcesRemain", list(&remains.objects, "resource instances"))),
    };
    let finalizers = match remains.finalizers.is_empty() {
        true => None,
        false => Some(("SomeFinalizersRemain", list(&remains.finalizers, "resource instances"))),
    };
    let failures = match remains.failures.is_empty() {
        true => None,
        false => Some(("ContentDeletionFailed", remains.failures.join("; "))),
    };
    let discovery = remains.discovery.clone().map(|problem| ("DiscoveryFailed", problem));
    let rows = [
        (
            "NamespaceDeletionDiscoveryFailure",
            discovery,
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        (
            // Discovery is one document here: whatever is wrong with it is a failure of discovery.
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            failures,
            "ContentDeleted",
            "All content successfully deleted",
        ),
        (
            "NamespaceContentRemaining",
            content,
            "ContentRemoved",
            "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            finalizers,
            "ContentHasNoFinalizers",
            "No finalizers remain",
        ),
    ];
    let wanted: Vec<NamespaceCondition> = rows
        .into_iter()
        .map(|(kind, problem, good_reason, good)| {
            let (status, reason, message) = match problem {
                Some((reason, message)) => ("True", reason, message),
                None => ("False", good_reason, good.to_owned()),
            };
            let known = old.iter().find(|c| c.type_ == kind && c.status == status);
            NamespaceCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_transition_time: known.and_then(|c| c.last_transition_time.clone()).or(Some(Time(now))),
            }
        })
        .collect();
    (wanted.iter().any(|c| !old.contains(c))).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_remains_and_keeps_times() {
        let mut remains = Remains::default();
        assert!(remains.is_empty());
        remains.objects.insert("pods".into(), 2);
        let first = conditions(&[], &remains, Timestamp::UNIX_EPOCH).unwrap();
        let content = first.iter().find(|c| c.type_ == "NamespaceContentRemaining").unwrap();
        assert_eq!(content.status, "True");
        assert_eq!(content.message.as_deref(), Some("pods has 2 resource instances"));
        let later = Timestamp::from_second(9).unwrap();
        assert!(conditions(&first, &remains, later).is_none());
        let gone = conditions(&first, &Remains::default(), later).unwrap();
        let content = gone.iter().find(|c| c.type_ == "NamespaceContentRemaining").unwrap();
        assert_eq!(
            (
                content.status.as_str(),
                content.last_transition_time.as_ref().unwrap().0
            ),
            ("False", later)
        );
    }
}
