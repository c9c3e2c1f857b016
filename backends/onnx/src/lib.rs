//! The ONNX Runtime backend: a graph is generated from the architecture, and its initializers are the bytes of the model's own
//! safetensors. Without the feature `enabled` the crate has the same face, and every load is a typed error.

#[cfg(not(feature = "enabled"))]
mod disabled;
#[cfg(feature = "enabled")]
mod editor;
#[cfg(feature = "enabled")]
mod engine;
#[cfg(feature = "enabled")]
mod graph;
#[cfg(feature = "enabled")]
mod inputs;
#[cfg(feature = "enabled")]
mod int8;
#[cfg(feature = "enabled")]
mod kernels;
#[cfg(feature = "enabled")]
mod operators;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use patina_backend::{Keep, Precision};

#[cfg(not(feature = "enabled"))]
pub use disabled::{load, runtime_version};
#[cfg(feature = "enabled")]
pub use engine::{load, runtime_version};

/// Whether this build carries the backend.
pub const ENABLED: bool = cfg!(feature = "enabled");

/// The version of the graphs that this backend generates: part of what vectors are reproduced by, and pinned by lockfiles. Raise it when
/// a change of `graph.rs`, or of what it records, can alter a value of a model that ran before. With a version a graph still depends on whether the
/// processor has AMX, as the last digits of vectors depend on it.
pub const GRAPH_VERSION: u32 = 4;

/// The number formats that it computes in.
pub const PRECISIONS: &[Precision] = &[Precision::F32, Precision::Int8];

/// Makes what multiplies two blocks of numbers in single precision, both in the nearest caches, so many times as linear layers are multiplied where the
/// processor has tiles (AMX): each number as three of bf16, six products of those for each product. It gives the floating-point operations, a
/// multiplication and an addition being two. `None` where there are no tiles, or in a build without the backend.
pub fn tiles() -> Option<Box<dyn FnMut(usize) -> u64>> {
    #[cfg(feature = "enabled")]
    return kernels::linear::tiles();
    #[cfg(not(feature = "enabled"))]
    None
}

/// The oldest ONNX Runtime that this build can use.
pub const OLDEST_RUNTIME: &str = "1.24";

/// How to load a model.
#[derive(Clone)]
pub struct Options {
    /// The ONNX Runtime library. The first one that is loaded serves the whole process.
    pub library: PathBuf,
    /// Threads that compute one batch.
    pub threads: usize,
    /// The number format: one of [`PRECISIONS`], others are refused.
    pub precision: Precision,
    /// Where weights in eight bits of this very model are kept; without it they are made each time.
    pub keep: Option<Arc<dyn Keep>>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { library, threads, precision, keep } = self;
        f.debug_struct("Options")
            .field("library", library)
            .field("threads", threads)
            .field("precision", precision)
            .field("keep", &keep.is_some())
            .finish()
    }
}
