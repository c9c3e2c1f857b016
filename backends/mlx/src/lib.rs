//! The MLX backend's face. No build of this version carries the backend: every load is a typed error.

mod disabled;

pub use disabled::{load, runtime_version};

/// Whether this build carries the backend.
pub const ENABLED: bool = false;

/// How to load a model.
#[derive(Clone, Debug, Default)]
pub struct Options {}
