//! Comparing models, runtimes, precisions and settings: parity, calibration, and the benchmark.

pub mod calibrate;
pub mod child;
pub mod compare;
pub mod corpus;
mod flops;
pub mod matrix;
pub mod measure;
pub mod parity;
pub mod peak;
pub mod report;
pub mod reproduce;
pub mod result;
pub mod run;
mod spread;
pub mod usage;
