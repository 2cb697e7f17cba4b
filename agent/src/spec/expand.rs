//! `$(NAME)` references in commands, arguments, environment values and `subPathExpr`.

/// Replaces `$(NAME)` by what `lookup` finds; `$$` stands for one `$`; what cannot be resolved stays as it is.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        if let Some(after) = tail.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = tail.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
            rest = tail;
        }
    }
    out.push_str(rest);
    out
}

/// The names of all references in `text` that `lookup` cannot resolve.
pub fn unresolved(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let missing = std::cell::RefCell::new(Vec::new());
    expand(text, |name| {
        let value = lookup(name);
        if value.is_none() {
            missing.borrow_mut().push(name.to_owned());
        }
        value
    });
    missing.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "A" => Some("1".into()),
            "B" => Some("$(A)".into()),
            _ => None,
        }
    }

    #[test]
    fn references_are_replaced_once() {
        for (text, want) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(NO)", "$(NO)"),
            ("$(B)", "$(A)"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("$", "$"),
            ("100$", "100$"),
            ("a$$b", "a$b"),
            ("", ""),
            ("ünï$(A)", "ünï1"),
        ] {
            assert_eq!(expand(text, lookup), want, "{text}");
        }
    }

    #[test]
    fn missing_names_are_listed() {
        assert_eq!(unresolved("$(A)/$(X)/$$(Y)", lookup), ["X"]);
    }
}
