//! Parquet files: texts in, vectors in and out. The only place that knows the parquet crate.

mod column;
mod look;
mod pages;
mod read;
#[cfg(test)]
mod tests;
mod texts;
mod vectors;
mod write;

pub use read::Table;
pub use texts::{TextTable, check_table};
pub use vectors::{VectorRow, VectorTable};
pub use write::VectorWriter;

use serde::{Deserialize, Serialize};

/// What a row is called by whoever made the input.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Id {
    /// An integer.
    Number(i64),
    /// A string.
    Text(String),
}

impl Id {
    /// The kind of column that holds it.
    pub fn kind(&self) -> IdKind {
        match self {
            Id::Number(_) => IdKind::Number,
            Id::Text(_) => IdKind::Text,
        }
    }
}

/// What a column of ids holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// `int64`
    Number,
    /// `string`
    Text,
}
