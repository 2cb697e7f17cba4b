//! What can be wrong with an expression, before and while it is evaluated.

use std::fmt;

/// Something that is wrong with a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Where, in bytes.
    pub at: usize,
    /// What.
    pub message: String,
}

/// A source that is no program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issues {
    pub(crate) source: String,
    /// In the order in which they were found.
    pub list: Vec<Issue>,
}

impl std::error::Error for Issues {}

impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, issue) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let before = &self.source[..issue.at.min(self.source.len())];
            let line = before.matches('\n').count();
            let start = before.rfind('\n').map_or(0, |at| at + 1);
            let column = before[start..].chars().count();
            let text = self.source.lines().nth(line).unwrap_or("").replace('\t', " ");
            write!(
                f,
                "ERROR: <input>:{}:{}: {}\n | {text}\n | {}^",
                line + 1,
                column + 1,
                issue.message,
                ".".repeat(column)
            )?;
        }
        Ok(())
    }
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A function or an operator does not take these values.
    #[error("no such overload")]
    NoSuchOverload,
    /// A map or an object has no such key.
    #[error("no such key: {0}")]
    NoSuchKey(String),
    /// A list has no such index.
    #[error("index out of bounds: {0}")]
    OutOfBounds(i64),
    /// A number is too large for its type.
    #[error("integer overflow")]
    Overflow,
    /// A number was divided by zero.
    #[error("division by zero")]
    DivideByZero,
    /// The rest of a division by zero was asked for.
    #[error("modulus by zero")]
    ModulusByZero,
    /// It took longer than is allowed.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl EvalError {
    pub(crate) fn other(text: impl fmt::Display) -> Self {
        EvalError::Other(text.to_string())
    }
}
