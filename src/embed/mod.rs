//! Texts to vectors: prompts, tokenizing, batching by token budget, runtime selection, the engine's thread.

pub mod provision;
