//! What to do about failures that the owner of the machine can do something about, added where users read of them.

/// Words of a failure, and what to do about it. Failures come as text: many of them from a pod's monitor.
const KNOWN: &[(&str, &str)] = &[
    // strerror(3) of ENOSPC, which begins with a small letter in the runtime's failures.
    (
        "o space left on device",
        "free some space on the node's disk; it is tried again",
    ),
    ("the cgroup controller", "`barepod check` on the node says what to do"),
];

/// The message, with advice if there is some.
pub fn advised(message: String) -> String {
    match KNOWN.iter().find(|(words, _)| message.contains(words)) {
        Some((_, advice)) if !message.contains(advice) => format!("{message}: {advice}"),
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::advised;

    #[test]
    fn advice_is_given_once() {
        let full = "write /x: No space left on device (os error 28)";
        let told = advised(full.into());
        assert!(told.starts_with(full) && told.contains("free some space"), "{told}");
        assert_eq!(advised(told.clone()), told);
        assert_eq!(advised("something else".into()), "something else");
    }
}
