//! What every runtime of Patina shares: the [`EmbeddingEngine`] contract, packed token batches, the model's weights, and the
//! architectures, written once over [`Ops`].

mod architectures;
#[cfg(feature = "conformance")]
pub mod conformance;
mod cross_encoder;
mod derived;
mod engine;
mod error;
mod facts;
mod folder;
mod foreign;
mod head;
mod model;
mod ops;
mod pooling;
mod weights;

pub use architectures::supported as supported_architectures;
pub use cross_encoder::{CrossEncoder, ScoreActivation};
pub use derived::{Derived, DerivedKind, Keep, NewTensor, Numbers, write_derived};
pub use engine::{EmbeddingEngine, Embeddings, EngineInfo, Precision, Runtime, TokenBatch, WeightsOrigin};
pub use error::{BatchError, EngineError, Result};
pub use facts::{EncoderKind, FolderFacts, PoolingFacts};
pub use folder::ModelFiles;
pub use head::Head;
pub use model::{Model, ModelOptions};
pub use ops::{Activation, Attention, Averaging, Bias, Buckets, LayerNorm, Linear, NORM_EPSILON, Ops, Reach, RmsNorm, Rope, Token};
pub use pooling::Pooling;
pub use weights::{Param, StoredTensor, StoredType, Weights};
