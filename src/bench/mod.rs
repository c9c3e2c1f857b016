//! Comparing runtimes, precisions and settings.

pub mod calibrate;
pub mod parity;
pub mod result;
