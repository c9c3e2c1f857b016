//! Comparing models, runtimes, precisions and settings.

pub mod calibrate;
pub mod parity;
pub mod report;
pub mod result;
