//! MPNet: BERT without token types, with a bias by distance that all layers share.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::layers::{Facts, FeedForward, Finder, Projection, SelfAttention, check_sizes};
use super::post_norm::{Layer, Positions, PostNormEncoder, full_attention};
use super::{activation, parse};
use crate::error::{EngineError, Result};
use crate::ops::{Bias, Buckets};
use crate::weights::Weights;

#[derive(Deserialize)]
struct Config {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    vocab_size: usize,
    hidden_act: String,
    layer_norm_eps: f32,
    #[serde(default = "buckets")]
    relative_attention_num_buckets: usize,
}

/// The original fixes it.
const FARTHEST: usize = 128;
/// The padding id, which the original fixes; the first position is the one after it.
const PADDING: usize = 1;

fn buckets() -> usize {
    32
}

pub(super) fn load(config: &Value, path: &Path, weights: &Weights) -> Result<PostNormEncoder> {
    let config: Config = parse(config, path)?;
    let Config { hidden_size: hidden, intermediate_size: inner, num_hidden_layers: layers, num_attention_heads: heads, .. } = config;
    check_sizes(path, hidden, heads, layers, config.layer_norm_eps)?;
    let count = config.relative_attention_num_buckets;
    if count <= 4 || count > 4 * FARTHEST || !count.is_multiple_of(4) {
        let reason = format!("relative_attention_num_buckets is {count}; it must be a multiple of 4 above 4 and at most {}", 4 * FARTHEST);
        return Err(EngineError::model(path, reason));
    }
    let first = PADDING + 1;
    let Some(max_tokens) = config.max_position_embeddings.checked_sub(first).filter(|&n| n > 0) else {
        return Err(EngineError::model(path, format!("{} positions leave no room for a token", config.max_position_embeddings)));
    };
    let find = Finder::new(weights, &["mpnet"], "embeddings.word_embeddings.weight", config.layer_norm_eps);
    let activation = activation(&config.hidden_act, path)?;
    let layer = |n: usize| {
        let at = format!("encoder.layer.{n}");
        Ok(Layer {
            attention: SelfAttention {
                projection: Projection::Separate {
                    query: find.linear(&format!("{at}.attention.attn.q"), hidden, hidden)?,
                    key: find.linear(&format!("{at}.attention.attn.k"), hidden, hidden)?,
                    value: find.linear(&format!("{at}.attention.attn.v"), hidden, hidden)?,
                },
                head_norms: None,
                norms: None,
                attention: full_attention(hidden, heads),
                output: find.linear(&format!("{at}.attention.attn.o"), hidden, hidden)?,
            },
            attention_norm: find.norm(&format!("{at}.attention.LayerNorm"), hidden)?,
            second_norm: None,
            feed_forward: FeedForward::Plain {
                up: find.linear(&format!("{at}.intermediate.dense"), hidden, inner)?,
                activation,
                down: find.linear(&format!("{at}.output.dense"), inner, hidden)?,
            },
            feed_forward_norm: find.norm(&format!("{at}.output.LayerNorm"), hidden)?,
        })
    };
    Ok(PostNormEncoder {
        facts: Facts { hidden, max_tokens, vocabulary: config.vocab_size },
        tokens: find.param("embeddings.word_embeddings.weight", &[config.vocab_size, hidden])?,
        positions: Some(Positions {
            table: find.param("embeddings.position_embeddings.weight", &[config.max_position_embeddings, hidden])?,
            first,
        }),
        token_types: None,
        norm: find.norm("embeddings.LayerNorm", hidden)?,
        bias: Some(Bias::Bucketed {
            table: find.param("encoder.relative_attention_bias.weight", &[count, heads])?,
            buckets: Buckets { count, farthest: FARTHEST },
        }),
        layers: (0..layers).map(layer).collect::<Result<_>>()?,
    })
}
