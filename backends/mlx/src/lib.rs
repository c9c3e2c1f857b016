//! The MLX backend: the architectures' operations over MLX's arrays, with weights copied from the model's own safetensors. Without the
//! feature `enabled` the crate has the same face, and every load is a typed error.

#[cfg(feature = "enabled")]
mod arrays;
#[cfg(feature = "enabled")]
mod device;
#[cfg(not(feature = "enabled"))]
mod disabled;
#[cfg(feature = "enabled")]
mod engine;
#[cfg(feature = "enabled")]
mod layout;
#[cfg(feature = "enabled")]
mod parameters;

use patina_backend::Precision;

#[cfg(not(feature = "enabled"))]
pub use disabled::{device_name, load, runtime_version};
#[cfg(feature = "enabled")]
pub use engine::{device_name, load, runtime_version};

/// Whether this build carries the backend.
pub const ENABLED: bool = cfg!(feature = "enabled");

/// The MLX that this build is written for: mlx-sys pins it, and a library of another version is refused.
pub const VERSION: &str = "0.32.2";

/// The number formats that it computes in.
pub const PRECISIONS: &[Precision] = &[Precision::F32, Precision::F16, Precision::Bf16, Precision::Q8, Precision::Q4];

/// Sizes of a quantization group that MLX has.
pub const GROUP_SIZES: [usize; 3] = [32, 64, 128];

/// How to load a model.
#[derive(Clone, Debug)]
pub struct Options {
    /// The number format: one of [`PRECISIONS`], others are refused.
    ///
    /// - `F32`: everything in single precision.
    /// - `F16`, `Bf16`: weights and hidden states in that format; activations, pooling and normalization in single precision.
    /// - `Q8`, `Q4`: the weights of linear layers in groups of 8- or 4-bit numbers, each group with a scale and an offset in single
    ///   precision; embedding tables in `F16`; everything else, the arithmetic too, in single precision.
    pub precision: Precision,
    /// Weights of a row that share a scale when quantized; one of [`GROUP_SIZES`]. Every linear layer's input must be a multiple of it.
    pub group_size: usize,
    /// Where to compute.
    pub device: Device,
    /// Threads that compute one batch on the CPU: each takes some of the rows. A GPU takes the whole batch.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { precision: Precision::F32, group_size: 64, device: Device::Auto, threads: 1 }
    }
}

/// A device of MLX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The GPU where the build has Metal and the machine a GPU, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU; an error where there is none.
    Gpu,
}
