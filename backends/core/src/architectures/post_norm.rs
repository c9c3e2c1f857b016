//! The encoder of the BERT family: attention and feed-forward blocks, normalization after each residual.

use super::layers::{Facts, FeedForward, SelfAttention, wanted, with_wanted};
use crate::error::Result;
use crate::ops::{Attention, Bias, LayerNorm, Ops, Reach, Token};
use crate::weights::Param;

/// Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers", with the variations of the models after it: learned
/// positions or none, a bias by distance, rotary positions in the layers' attention, gated feed-forward networks.
pub(super) struct PostNormEncoder {
    pub facts: Facts,
    pub tokens: Param,
    pub positions: Option<Positions>,
    /// The token-type table, of which only type 0 occurs where a row is one text.
    pub token_types: Option<Param>,
    pub norm: LayerNorm,
    /// What every layer's attention adds to its scores.
    pub bias: Option<Bias>,
    pub layers: Vec<Layer>,
}

/// Learned positions.
pub(super) struct Positions {
    pub table: Param,
    /// The row of the table for a row's first token.
    pub first: usize,
}

pub(super) struct Layer {
    pub attention: SelfAttention,
    pub attention_norm: LayerNorm,
    /// The hidden state before the block is added once more, and normalized again.
    pub second_norm: Option<LayerNorm>,
    pub feed_forward: FeedForward,
    pub feed_forward_norm: LayerNorm,
}

impl PostNormEncoder {
    /// `pairs`: rows are of two texts, whose tokens have types of their own where the model has them.
    pub fn forward<O: Ops>(&self, ops: &mut O, pairs: bool, only: Option<Token>) -> Result<O::Tensor> {
        let mut x = ops.token_embedding(&self.tokens, None)?;
        if let Some(Positions { table, first }) = &self.positions {
            let positions = ops.position_embedding(table, *first)?;
            x = ops.add(&x, &positions)?;
        }
        x = match &self.token_types {
            Some(types) if pairs && types.shape()[0] > 1 => {
                let segments = ops.segment_embedding(types)?;
                ops.add(&x, &segments)?
            }
            Some(types) => ops.add_row(&x, types, 0)?,
            None => x,
        };
        x = ops.layer_norm(&x, None, &self.norm)?;
        let bias = match (&self.bias, self.layers.first()) {
            (Some(bias), Some(layer)) => Some(ops.attention_bias(bias, layer.attention.attention.heads)?),
            _ => None,
        };
        if self.layers.is_empty() {
            return wanted(ops, &x, only);
        }
        for (layer, only) in with_wanted(&self.layers, only) {
            let attended = layer.attention.forward(ops, &x, bias.as_ref(), only)?;
            x = wanted(ops, &x, only)?;
            let mut y = ops.layer_norm(&attended, Some(&x), &layer.attention_norm)?;
            if let Some(norm) = &layer.second_norm {
                y = ops.layer_norm(&x, Some(&y), norm)?;
            }
            x = y;
            let outer = layer.feed_forward.forward(ops, &x)?;
            x = ops.layer_norm(&outer, Some(&x), &layer.feed_forward_norm)?;
        }
        Ok(x)
    }
}

/// Attention over the whole row with as many heads of keys as of queries.
pub(super) fn full_attention(hidden: usize, heads: usize) -> Attention {
    let head_size = hidden / heads;
    Attention { heads, kv_heads: heads, head_size, scale: 1.0 / (head_size as f32).sqrt(), reach: Reach::Row, rope: None }
}
