//! One file a subcommand.

pub mod agent;
pub mod check;
pub mod control;
pub mod enter;
pub mod images;
pub mod inspect;
pub mod ps;
pub mod reset;
pub mod store;
pub mod up;
