//! Comparing runtimes and precisions.

pub mod parity;
pub mod result;
