//! Syntax of names, labels and keys: hand-written matchers with the messages users know.

/// What `metadata.name` has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain, at most 253 bytes.
    Subdomain,
    /// RFC 1123 label, at most 63 bytes.
    Label,
    /// RFC 1035 label (begins with a letter), at most 63 bytes.
    Label1035,
    /// Anything that can be one path segment.
    PathSegment,
}
