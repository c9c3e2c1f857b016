//! Comparing models, runtimes and precisions.

pub mod parity;
pub mod report;
pub mod result;
