//! DistilBERT: BERT without token types, under other names.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::layers::{Facts, FeedForward, Finder, Projection, SelfAttention, check_sizes};
use super::post_norm::{Layer, Positions, PostNormEncoder, full_attention};
use super::{activation, parse};
use crate::error::Result;
use crate::weights::Weights;

#[derive(Deserialize)]
struct Config {
    dim: usize,
    hidden_dim: usize,
    n_layers: usize,
    n_heads: usize,
    max_position_embeddings: usize,
    vocab_size: usize,
    activation: String,
}

/// The original fixes it; the config does not name it.
const EPSILON: f32 = 1e-12;

pub(super) fn load(config: &Value, path: &Path, weights: &Weights) -> Result<PostNormEncoder> {
    let config: Config = parse(config, path)?;
    let Config { dim: hidden, hidden_dim: inner, n_layers: layers, n_heads: heads, .. } = config;
    check_sizes(path, hidden, heads, layers, EPSILON)?;
    let find = Finder::new(weights, &["distilbert"], "embeddings.word_embeddings.weight", EPSILON);
    let activation = activation(&config.activation, path)?;
    let layer = |n: usize| {
        let at = format!("transformer.layer.{n}");
        Ok(Layer {
            attention: SelfAttention {
                projection: Projection::Separate {
                    query: find.linear(&format!("{at}.attention.q_lin"), hidden, hidden)?,
                    key: find.linear(&format!("{at}.attention.k_lin"), hidden, hidden)?,
                    value: find.linear(&format!("{at}.attention.v_lin"), hidden, hidden)?,
                },
                head_norms: None,
                norms: None,
                attention: full_attention(hidden, heads),
                output: find.linear(&format!("{at}.attention.out_lin"), hidden, hidden)?,
            },
            attention_norm: find.norm(&format!("{at}.sa_layer_norm"), hidden)?,
            second_norm: None,
            feed_forward: FeedForward::Plain {
                up: find.linear(&format!("{at}.ffn.lin1"), hidden, inner)?,
                activation,
                down: find.linear(&format!("{at}.ffn.lin2"), inner, hidden)?,
            },
            feed_forward_norm: find.norm(&format!("{at}.output_layer_norm"), hidden)?,
        })
    };
    Ok(PostNormEncoder {
        facts: Facts { hidden, max_tokens: config.max_position_embeddings, vocabulary: config.vocab_size },
        tokens: find.param("embeddings.word_embeddings.weight", &[config.vocab_size, hidden])?,
        positions: Some(Positions {
            table: find.param("embeddings.position_embeddings.weight", &[config.max_position_embeddings, hidden])?,
            first: 0,
        }),
        token_types: None,
        norm: find.norm("embeddings.LayerNorm", hidden)?,
        bias: None,
        layers: (0..layers).map(layer).collect::<Result<_>>()?,
    })
}
