//! What every runtime of Patina shares: the [`EmbeddingEngine`] contract, packed token batches, the model's weights, and the
//! architectures, written once over [`Ops`].

mod architectures;
#[cfg(feature = "conformance")]
pub mod conformance;
mod engine;
mod error;
mod folder;
mod foreign;
mod head;
mod model;
mod ops;
mod weights;

pub use architectures::supported as supported_architectures;
pub use engine::{EmbeddingEngine, Embeddings, EngineInfo, Precision, Runtime, TokenBatch};
pub use error::{BatchError, EngineError, Result};
pub use head::{Head, Pooling};
pub use model::Model;
pub use ops::{Activation, Attention, Averaging, Bias, Buckets, LayerNorm, Linear, NORM_EPSILON, Ops, Reach, RmsNorm, Rope, Token};
pub use weights::{Param, StoredTensor, StoredType, Weights};
