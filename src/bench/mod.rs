//! Comparing runtimes and precisions.

pub mod parity;
