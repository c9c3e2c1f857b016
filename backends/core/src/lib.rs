//! What every runtime of Patina shares: the [`EmbeddingEngine`] contract, packed token batches, and their errors.

mod engine;
mod error;

pub use engine::{EmbeddingEngine, Embeddings, EngineInfo, Precision, Runtime, TokenBatch};
pub use error::{BatchError, EngineError, Result};
