//! Models: the table of known ones, Patina's cache of them, and what the files of a model folder mean for the application.
//!
//! Content is identity: a model is the SHA-256 of its files ([`ModelFolder::identity`]); a name, a wheel or a folder is only a
//! place. What `config.json` and `modules.json` mean for the forward pass is the backends' business. `archive` is the doorman of the zip crate, `hub` that of
//! the HTTP client.

pub mod archive;
pub mod cache;
mod files;
mod git_hash;
pub mod hub;
mod hub_cache;
mod import;
mod record;
mod reference;
pub mod registry;
mod show;
mod stamps;
mod transfer;
mod tree;
mod turn;
mod weights;

pub use cache::Cache;
pub use files::{ModelFolder, Prompt, PromptKind, PromptOrigin, Settings, TokenSettings};
pub use hub_cache::HubCache;
pub use import::import;
pub use record::{HashedFile, Identity, Record};
pub use reference::ModelRef;
pub use registry::KnownModel;
pub use show::{FileReport, ModelReport};
pub use stamps::MOST_BESIDE_WEIGHTS;
pub use weights::{Table, TensorFaults, WeightsReport, scan};

#[cfg(test)]
mod tests;
