//! The decoder of Qwen3 and Gemma 3 without its language-model head: root-mean-square norms before each block, grouped queries, a norm of
//! each head, rotary positions.

use super::layers::{Facts, FeedForward, SelfAttention, wanted, with_wanted};
use crate::error::Result;
use crate::ops::{Ops, RmsNorm, Token};
use crate::weights::Param;

pub(super) struct PreNormDecoder {
    pub facts: Facts,
    pub tokens: Param,
    /// What the embeddings are multiplied by.
    pub embedding_scale: Option<f32>,
    pub layers: Vec<Layer>,
    pub norm: RmsNorm,
}

pub(super) struct Layer {
    pub attention: Block<SelfAttention>,
    pub feed_forward: Block<FeedForward>,
}

/// A block with the norm before it, and the one that some families have after it, before its result is added.
pub(super) struct Block<T> {
    pub norm: RmsNorm,
    pub block: T,
    pub norm_after: Option<RmsNorm>,
}

impl<T> Block<T> {
    /// From `[tokens, hidden]` to what is wanted of it, as `run` gives it too.
    fn forward<O: Ops>(
        &self,
        ops: &mut O,
        x: &O::Tensor,
        only: Option<Token>,
        run: impl FnOnce(&T, &mut O, &O::Tensor) -> Result<O::Tensor>,
    ) -> Result<O::Tensor> {
        let normed = ops.rms_norm(x, &self.norm)?;
        let mut y = run(&self.block, ops, &normed)?;
        if let Some(norm) = &self.norm_after {
            y = ops.rms_norm(&y, norm)?;
        }
        let x = wanted(ops, x, only)?;
        ops.add(&x, &y)
    }
}

impl PreNormDecoder {
    pub fn forward<O: Ops>(&self, ops: &mut O, only: Option<Token>) -> Result<O::Tensor> {
        let mut x = ops.token_embedding(&self.tokens, None)?;
        if let Some(factor) = self.embedding_scale {
            x = ops.scale(&x, factor)?;
        }
        if self.layers.is_empty() {
            x = wanted(ops, &x, only)?;
        }
        for (layer, only) in with_wanted(&self.layers, only) {
            x = layer.attention.forward(ops, &x, only, |attention, ops, x| attention.forward(ops, x, None, only))?;
            x = layer.feed_forward.forward(ops, &x, None, |feed_forward, ops, x| feed_forward.forward(ops, x))?;
        }
        ops.rms_norm(&x, &self.norm)
    }
}
