//! What a namespace may use: LimitRanges and ResourceQuotas.

mod quota;
mod range;

pub use quota::QUOTA;
pub use range::RANGE;
