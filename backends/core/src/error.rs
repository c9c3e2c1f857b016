//! The typed errors of engines and of the model files they read.

use std::path::{Path, PathBuf};

use crate::engine::{Precision, Runtime};

/// The result of every fallible function of the backends.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// Why an engine could not be made or could not embed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The runtime is not in this build, its library is not on this machine, or it is of another version.
    #[error("{runtime} is not available: {reason}")]
    RuntimeMissing {
        /// Which runtime.
        runtime: Runtime,
        /// What was looked for and what was found.
        reason: String,
        /// The command that gets it.
        hint: String,
    },
    /// The runtime cannot compute in this precision.
    #[error("{runtime} does not compute in {precision}: {reason}")]
    Precision {
        /// Which runtime.
        runtime: Runtime,
        /// What was asked for.
        precision: Precision,
        /// Why not.
        reason: String,
        /// What to ask for.
        hint: String,
    },
    /// A file of the model folder cannot be read or asks for something that is not supported.
    #[error("{reason}")]
    Model {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do about it, if there is something.
        hint: Option<String>,
    },
    /// A file of the model folder is not there.
    #[error("{reason}")]
    Missing {
        /// The file, or the folder that lacks it.
        path: PathBuf,
        /// What is missing.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// A small file of the model folder is damaged or hostile: it does not parse, or names what lies outside.
    #[error("{reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Line and column, from 1, where they are known.
        at: Option<(usize, usize)>,
        /// What is wrong with it.
        reason: String,
    },
    /// The weights are damaged: header, offsets, shapes, or values.
    #[error("{reason}")]
    Weights {
        /// The safetensors file.
        path: PathBuf,
        /// Which tensor, what was expected and what was found.
        reason: String,
    },
    /// The weights are a file of another format under the name of safetensors, told by its first bytes.
    #[error("not a safetensors file: it looks like {what}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The format.
        what: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// A file could not be read.
    #[error("cannot read the file: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The batch breaks the contract of [`TokenBatch`](crate::TokenBatch).
    #[error("the batch cannot be embedded: {0}")]
    Batch(BatchError),
    /// The vector of a row holds a NaN or an infinity. Which of several rows is at fault is only certain when the batch had one.
    #[error("the vector of row {row} is not finite")]
    NonFinite {
        /// The first such row.
        row: usize,
    },
    /// The runtime itself failed.
    #[error("{runtime} failed to {doing}: {reason}")]
    Runtime {
        /// Which runtime.
        runtime: Runtime,
        /// A verb phrase.
        doing: &'static str,
        /// What the runtime said.
        reason: String,
    },
    /// The engine's thread has ended.
    #[error("the engine is closed")]
    Closed,
}

/// How a batch breaks the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// `starts` does not begin with 0, does not rise, or does not end with the number of ids.
    #[error("the row starts do not describe {ids} ids")]
    Starts {
        /// How many ids there are.
        ids: usize,
    },
    /// A row without tokens has no vector.
    #[error("row {row} has no tokens")]
    EmptyRow {
        /// The row.
        row: usize,
    },
    /// A row is longer than the model's positions.
    #[error("row {row} has {tokens} tokens; the model takes {max}")]
    TooLong {
        /// The row.
        row: usize,
        /// Its length.
        tokens: usize,
        /// The model's limit.
        max: usize,
    },
    /// No token of a row is left to be pooled.
    #[error("all {tokens} tokens of row {row} are left out of the pooling")]
    NothingPooled {
        /// The row.
        row: usize,
        /// Its length.
        tokens: usize,
    },
    /// An id has no row in the embedding table.
    #[error("row {row} has the token id {id}; the model has {vocabulary} tokens")]
    OutOfVocabulary {
        /// The row.
        row: usize,
        /// The id.
        id: u32,
        /// The table's rows.
        vocabulary: usize,
    },
}

/// The most characters of a reason: it may quote a name, and a file may hold a name of a megabyte.
const REASON_LIMIT: usize = 500;

/// A reason of a bounded length.
fn shortened(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(REASON_LIMIT) {
        reason.truncate(end);
        reason.push_str("...");
    }
    reason
}

impl From<BatchError> for EngineError {
    fn from(error: BatchError) -> EngineError {
        EngineError::Batch(error)
    }
}

impl EngineError {
    /// A [`EngineError::Model`] without a hint.
    pub fn model(path: impl Into<PathBuf>, reason: impl Into<String>) -> EngineError {
        EngineError::Model { path: path.into(), reason: reason.into(), hint: None }
    }

    /// A [`EngineError::Damaged`] of a whole file.
    pub fn damaged(path: impl Into<PathBuf>, reason: impl Into<String>) -> EngineError {
        EngineError::Damaged { path: path.into(), at: None, reason: reason.into() }
    }

    /// A [`EngineError::Weights`].
    pub fn weights(path: impl Into<PathBuf>, reason: impl Into<String>) -> EngineError {
        EngineError::Weights { path: path.into(), reason: reason.into() }
    }

    /// The file it is about.
    pub fn path(&self) -> Option<&Path> {
        match self {
            EngineError::Model { path, .. }
            | EngineError::Missing { path, .. }
            | EngineError::Damaged { path, .. }
            | EngineError::Weights { path, .. }
            | EngineError::Foreign { path, .. }
            | EngineError::Io { path, .. } => Some(path),
            _ => None,
        }
    }

    /// The sentence, of a bounded length, without path and hint.
    pub fn message(&self) -> String {
        shortened(self.to_string())
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            EngineError::RuntimeMissing { hint, .. } | EngineError::Precision { hint, .. } | EngineError::Missing { hint, .. } => {
                Some(hint.clone())
            }
            EngineError::Damaged { .. } => Some("get the model's files again".to_owned()),
            EngineError::Model { hint, .. } => hint.clone(),
            EngineError::Foreign { hint, .. } => Some((*hint).to_owned()),
            EngineError::Weights { .. } => Some("get the model's files again and check their SHA-256".to_owned()),
            _ => None,
        }
    }
}
