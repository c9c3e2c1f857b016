//! Patina: a local-first text-embedding engine on ONNX Runtime and MLX, and the knowledge index built on it.
//!
//! The rooms follow the way of the data: recipe, model, embed, table, store, scrape, pairs, train, index, search, eval, bench, cli. A later room may
//! import earlier ones, never the reverse; `error`, `fs`, `progress` and `threads` lie under all. `docs/ARCHITECTURE.md` draws it.

pub mod bench;
pub mod cli;
pub mod embed;
pub mod error;
pub mod eval;
pub mod fs;
pub mod index;
pub mod metrics;
pub mod model;
pub mod pairs;
pub mod progress;
pub mod recipe;
pub mod scrape;
pub mod search;
pub mod store;
pub mod table;
pub mod threads;
pub mod train;
