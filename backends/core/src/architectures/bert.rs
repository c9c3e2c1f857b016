//! BERT, RoBERTa and XLM-RoBERTa.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::layers::{Facts, FeedForward, Finder, Projection, SelfAttention, check_sizes, unsupported};
use super::post_norm::{Layer, Positions, PostNormEncoder, full_attention};
use super::{activation, parse};
use crate::error::{EngineError, Result};
use crate::weights::Weights;

#[derive(Deserialize)]
struct Config {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    vocab_size: usize,
    #[serde(default)]
    type_vocab_size: usize,
    hidden_act: String,
    #[serde(default = "default_epsilon")]
    layer_norm_eps: f32,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    pad_token_id: Option<usize>,
}

fn default_epsilon() -> f32 {
    1e-12
}

/// BERT: positions from 0. Its later relatives that share its `model_type` are told by their positions.
pub(super) fn load(config: &Value, path: &Path, weights: &Weights) -> Result<PostNormEncoder> {
    match config.get("position_embedding_type").and_then(Value::as_str) {
        Some("alibi") => super::jina_bert::load(config, path, weights),
        _ => encoder(parse(config, path)?, path, weights, "bert", 0),
    }
}

/// RoBERTa and XLM-RoBERTa: the first position is the one after the padding id.
pub(super) fn load_roberta(config: &Value, path: &Path, weights: &Weights) -> Result<PostNormEncoder> {
    let config: Config = parse(config, path)?;
    let first_position = config.pad_token_id.unwrap_or(1).saturating_add(1);
    encoder(config, path, weights, "roberta", first_position)
}

fn encoder(config: Config, path: &Path, weights: &Weights, base: &str, first_position: usize) -> Result<PostNormEncoder> {
    let Config { hidden_size: hidden, intermediate_size: inner, num_hidden_layers: layers, num_attention_heads: heads, .. } = config;
    check_sizes(path, hidden, heads, layers, config.layer_norm_eps)?;
    match config.position_embedding_type.as_deref() {
        None | Some("absolute") => {}
        Some(other) => return Err(unsupported(path, "the position embedding", &format!("{other:?}"), "\"absolute\"")),
    }
    let find = Finder::new(weights, &[base, "xlm-roberta"], "embeddings.word_embeddings.weight", config.layer_norm_eps);
    let Some(max_tokens) = config.max_position_embeddings.checked_sub(first_position).filter(|&n| n > 0) else {
        return Err(EngineError::model(path, format!("{} positions leave no room for a token", config.max_position_embeddings)));
    };
    let activation = activation(&config.hidden_act, path)?;
    let layer = |n: usize| {
        let at = format!("encoder.layer.{n}");
        Ok(Layer {
            attention: SelfAttention {
                projection: Projection::Separate {
                    query: find.linear(&format!("{at}.attention.self.query"), hidden, hidden)?,
                    key: find.linear(&format!("{at}.attention.self.key"), hidden, hidden)?,
                    value: find.linear(&format!("{at}.attention.self.value"), hidden, hidden)?,
                },
                head_norms: None,
                norms: None,
                attention: full_attention(hidden, heads),
                output: find.linear(&format!("{at}.attention.output.dense"), hidden, hidden)?,
            },
            attention_norm: find.norm(&format!("{at}.attention.output.LayerNorm"), hidden)?,
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
            first: first_position,
        }),
        token_types: match config.type_vocab_size {
            0 => None,
            types => Some(find.param("embeddings.token_type_embeddings.weight", &[types, hidden])?),
        },
        norm: find.norm("embeddings.LayerNorm", hidden)?,
        bias: None,
        layers: (0..layers).map(layer).collect::<Result<_>>()?,
    })
}
