//! The encoder of the BERT family: learned positions, attention and feed-forward blocks, normalization after each residual.

use std::path::Path;

use crate::error::{EngineError, Result};
use crate::ops::{Activation, Attention, LayerNorm, Linear, Ops};
use crate::weights::{Param, Weights};

/// Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers", with the variations of RoBERTa and DistilBERT.
pub(super) struct PostNormEncoder {
    pub hidden: usize,
    pub max_tokens: usize,
    pub vocabulary: usize,
    pub tokens: Param,
    pub positions: Param,
    /// The row of the position table for a row's first token.
    pub first_position: usize,
    /// The token-type table, of which only type 0 occurs when one text is embedded.
    pub token_types: Option<Param>,
    pub norm: LayerNorm,
    pub heads: usize,
    pub activation: Activation,
    pub layers: Vec<Layer>,
}

pub(super) struct Layer {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub output: Linear,
    pub attention_norm: LayerNorm,
    pub intermediate: Linear,
    pub feed_forward: Linear,
    pub feed_forward_norm: LayerNorm,
}

impl PostNormEncoder {
    pub fn forward<O: Ops>(&self, ops: &mut O) -> Result<O::Tensor> {
        let tokens = ops.token_embedding(&self.tokens)?;
        let positions = ops.position_embedding(&self.positions, self.first_position)?;
        let mut x = ops.add(&tokens, &positions)?;
        if let Some(token_types) = &self.token_types {
            x = ops.add_row(&x, token_types, 0)?;
        }
        x = ops.layer_norm(&x, None, &self.norm)?;
        for layer in &self.layers {
            let query = ops.linear(&x, &layer.query)?;
            let key = ops.linear(&x, &layer.key)?;
            let value = ops.linear(&x, &layer.value)?;
            let attended = ops.attention(&query, &key, &value, Attention { heads: self.heads })?;
            let attended = ops.linear(&attended, &layer.output)?;
            x = ops.layer_norm(&attended, Some(&x), &layer.attention_norm)?;
            let inner = ops.linear(&x, &layer.intermediate)?;
            let inner = ops.activation(&inner, self.activation)?;
            let outer = ops.linear(&inner, &layer.feed_forward)?;
            x = ops.layer_norm(&outer, Some(&x), &layer.feed_forward_norm)?;
        }
        Ok(x)
    }
}

/// Finds parameters under a common prefix, such as `bert.` where a file was saved with a task head.
pub(super) struct Finder<'a> {
    pub weights: &'a Weights,
    pub prefix: String,
    pub epsilon: f32,
}

impl<'a> Finder<'a> {
    /// `base` is the prefix of files saved with a task head; one of the two must hold `probe`.
    pub fn new(weights: &'a Weights, base: &str, probe: &str, epsilon: f32) -> Finder<'a> {
        let with_base = format!("{base}.");
        let prefix = if weights.contains(&format!("{with_base}{probe}")) { with_base } else { String::new() };
        Finder { weights, prefix, epsilon }
    }

    pub fn param(&self, name: &str, shape: &[usize]) -> Result<Param> {
        self.weights.param(&format!("{}{name}", self.prefix), shape)
    }

    pub fn linear(&self, name: &str, input: usize, output: usize) -> Result<Linear> {
        Ok(Linear {
            weight: self.param(&format!("{name}.weight"), &[output, input])?,
            bias: Some(self.param(&format!("{name}.bias"), &[output])?),
        })
    }

    pub fn norm(&self, name: &str, hidden: usize) -> Result<LayerNorm> {
        Ok(LayerNorm {
            weight: self.param(&format!("{name}.weight"), &[hidden])?,
            bias: self.param(&format!("{name}.bias"), &[hidden])?,
            epsilon: self.epsilon,
        })
    }
}

/// Refuses sizes that no real model has, before they size anything.
pub(super) fn check_sizes(path: &Path, hidden: usize, heads: usize, layers: usize, epsilon: f32) -> Result<()> {
    const MOST_LAYERS: usize = 1024;
    if heads == 0 || hidden == 0 || !hidden.is_multiple_of(heads) {
        return Err(EngineError::model(path, format!("{heads} attention heads do not divide the hidden size {hidden}")));
    }
    if !(epsilon.is_finite() && epsilon >= 0.0) {
        return Err(EngineError::model(path, format!("layer_norm_eps is {epsilon}; it must be zero or a small positive number")));
    }
    if layers > MOST_LAYERS {
        return Err(EngineError::model(path, format!("{layers} layers are more than the {MOST_LAYERS} that are read")));
    }
    Ok(())
}
