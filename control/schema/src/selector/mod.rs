//! Label and field selectors.

mod field;
mod label;

pub use field::{FieldRequirement, FieldSelector};
pub use label::LabelSelector;

/// Why a selector could not be parsed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SelectorError {
    /// The text is not a selector.
    #[error("unable to parse requirement: {0}")]
    Parse(String),
    /// An operator that label selectors do not have.
    #[error("\"{0}\" is not a valid label selector operator")]
    Operator(String),
    /// A label or value that cannot exist.
    #[error("{0}")]
    Invalid(String),
}
