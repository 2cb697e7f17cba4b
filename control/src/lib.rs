//! The control service: the API server over the store, with the scheduler and the controllers in the same process.
pub mod engine;
