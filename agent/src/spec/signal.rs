//! Which signal asks a container to end.

use crate::kinds::Container;

/// SIGTERM.
const DEFAULT: i32 = 15;

/// The container's own stop signal, else its image's, else SIGTERM.
pub fn stop_signal(container: &Container, image: Option<&str>) -> i32 {
    let own = container.lifecycle.as_ref().and_then(|it| it.stop_signal.as_deref());
    own.and_then(parse).or_else(|| image.and_then(parse)).unwrap_or(DEFAULT)
}

/// `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let full = if upper.starts_with("SIG") {
        upper
    } else {
        format!("SIG{upper}")
    };
    if let Some(offset) = full.strip_prefix("SIGRTMIN") {
        let offset = if offset.is_empty() {
            0
        } else {
            offset.strip_prefix('+')?.parse::<i32>().ok()?
        };
        return (0..=30).contains(&offset).then_some(34 + offset);
    }
    if let Some(offset) = full.strip_prefix("SIGRTMAX") {
        let offset = if offset.is_empty() {
            0
        } else {
            offset.strip_prefix('-')?.parse::<i32>().ok()?
        };
        return (0..=30).contains(&offset).then_some(64 - offset);
    }
    full.parse::<nix::sys::signal::Signal>()
        .ok()
        .map(|signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, want) in [
            ("SIGTERM", Some(15)),
            ("quit", Some(3)),
            ("SIGQUIT", Some(3)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("0", None),
            ("SIGNOPE", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
        assert_eq!(stop_signal(&Container::default(), Some("SIGQUIT")), 3);
        assert_eq!(stop_signal(&Container::default(), Some("?")), 15);
    }
}
