//! Texts to vectors: prompts, tokenizing, batching by a token budget, the choice of a runtime, and the engine's thread.

mod batches;
mod embedder;
mod engine_thread;
mod fingerprint;
mod kept;
pub mod provision;
mod reranker;
pub mod select;
mod token_file;
mod tokenizer;

pub use batches::TOKEN_BUDGET;
pub use embedder::{Embedder, Input, Order, Settings, Tally, TextKind};
pub use fingerprint::{VECTORS_VERSION, fingerprint};
pub use reranker::{RERANK_PRECISION, RerankSettings, Reranker};
pub use tokenizer::{TEXT_LIMIT, check_tokenizer};
