//! An architecture that nobody trains, for the conformance suite alone: it shows that a new family is one file here, a line in `mod.rs`,
//! and nothing in any backend.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::layers::{Facts, Finder, check_sizes, wanted};
use super::parse;
use crate::error::Result;
use crate::ops::{Activation, LayerNorm, Linear, Ops, Token};
use crate::weights::{Param, Weights};

#[derive(Deserialize)]
struct Config {
    hidden_size: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    layer_norm_eps: f32,
}

/// `norm(x + silu(x W^T + b))` of each token's embedding `x`: no positions, no attention.
pub(super) struct BagOfTokens {
    pub facts: Facts,
    tokens: Param,
    dense: Linear,
    norm: LayerNorm,
}

/// It borrows its parameters from a BERT model's names, so that any golden one can carry it.
pub(super) fn load(config: &Value, path: &Path, weights: &Weights) -> Result<BagOfTokens> {
    let Config { hidden_size: hidden, vocab_size, max_position_embeddings, layer_norm_eps } = parse(config, path)?;
    check_sizes(path, hidden, 1, 1, layer_norm_eps)?;
    let find = Finder::new(weights, &["bert"], "embeddings.word_embeddings.weight", layer_norm_eps);
    Ok(BagOfTokens {
        facts: Facts { hidden, max_tokens: max_position_embeddings, vocabulary: vocab_size },
        tokens: find.param("embeddings.word_embeddings.weight", &[vocab_size, hidden])?,
        dense: find.linear("encoder.layer.0.attention.output.dense", hidden, hidden)?,
        norm: find.norm("embeddings.LayerNorm", hidden)?,
    })
}

impl BagOfTokens {
    pub fn forward<O: Ops>(&self, ops: &mut O, only: Option<Token>) -> Result<O::Tensor> {
        let x = ops.token_embedding(&self.tokens, None)?;
        let x = wanted(ops, &x, only)?;
        let y = ops.linear(&x, &self.dense)?;
        let y = ops.activation(&y, Activation::Silu)?;
        let sum = ops.add(&x, &y)?;
        ops.layer_norm(&sum, None, &self.norm)
    }
}
