//! Static models, Model2Vec and sentence-transformers' StaticEmbedding: a table of token vectors, and no layers.

use std::path::Path;

use super::layers::{Facts, wanted};
use crate::error::{EngineError, Result};
use crate::ops::{Ops, Token};
use crate::weights::{Param, Weights};

/// A row is the mean of its tokens' vectors. Words that the tokenizer's model never saw cost nothing: the tokenizer drops them.
pub(super) struct StaticTable {
    pub facts: Facts,
    table: Param,
    /// From a token's id to its row of the table, where rows are shared.
    map: Option<Vec<u32>>,
    /// A factor for each token.
    weights: Option<Param>,
}

/// Names of the table: Model2Vec's, and StaticEmbedding's.
const TABLES: [&str; 2] = ["embeddings", "embedding.weight"];
/// A row of any length is a mean; this bounds what one row of a batch may take.
const MOST_TOKENS: usize = 1 << 16;

pub(super) fn load(path: &Path, weights: &Weights) -> Result<StaticTable> {
    let Some(name) = TABLES.into_iter().find(|name| weights.contains(name)) else {
        if let Some(name) = TABLES.into_iter().find(|name| weights.has_other(name)) {
            return Err(EngineError::model(
                weights.path(),
                format!("the table {name} is not stored as F32, F16, BF16 or F64, which are read"),
            ));
        }
        return Err(EngineError::weights(weights.path(), format!("there is no table of embeddings ({})", TABLES.join(" or "))));
    };
    let shape = weights.shape(name).unwrap_or_default().to_vec();
    let &[rows, hidden] = &shape[..] else {
        return Err(EngineError::weights(weights.path(), format!("the tensor {name} should be [rows, dimensions] and is {shape:?}")));
    };
    if rows == 0 || hidden == 0 {
        return Err(EngineError::weights(weights.path(), format!("the tensor {name} is empty: {shape:?}")));
    }
    let table = weights.param(name, &shape)?;
    let map = match weights.integers("mapping")? {
        None => None,
        Some(map) => {
            let row = |&value: &i64| u32::try_from(value).ok().filter(|&row| (row as usize) < rows);
            let checked: Option<Vec<u32>> = map.iter().map(row).collect();
            let wrong = || EngineError::weights(weights.path(), format!("the tensor mapping names rows beyond the {rows} of {name}"));
            Some(checked.filter(|map| !map.is_empty()).ok_or_else(wrong)?)
        }
    };
    let vocabulary = map.as_ref().map_or(rows, Vec::len);
    let factors = match weights.contains("weights") {
        true => Some(weights.param("weights", &[vocabulary])?),
        // As something that no forward pass reads.
        false if weights.has_other("weights") => {
            return Err(EngineError::model(path, "the tensor weights is not stored as F32, F16, BF16 or F64, which are read"));
        }
        false => None,
    };
    Ok(StaticTable { facts: Facts { hidden, max_tokens: MOST_TOKENS, vocabulary }, table, map, weights: factors })
}

impl StaticTable {
    pub fn forward<O: Ops>(&self, ops: &mut O, only: Option<Token>) -> Result<O::Tensor> {
        let mut x = ops.token_embedding(&self.table, self.map.as_deref())?;
        if let Some(weights) = &self.weights {
            x = ops.token_weights(&x, weights)?;
        }
        wanted(ops, &x, only)
    }
}
