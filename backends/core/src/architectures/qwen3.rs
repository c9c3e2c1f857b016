//! Qwen3: causal, with grouped queries.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::layers::{Facts, FeedForward, Finder, Gate, Projection, SelfAttention, check_heads, layer_types, unsupported};
use super::pre_norm::{Block, Layer, PreNormDecoder};
use super::rope::{self, Wanted};
use super::{activation, parse};
use crate::error::{EngineError, Result};
use crate::ops::{Attention, Reach};
use crate::weights::Weights;

#[derive(Deserialize)]
struct Config {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    #[serde(default = "head_size")]
    head_dim: usize,
    max_position_embeddings: usize,
    vocab_size: usize,
    hidden_act: String,
    rms_norm_eps: f32,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    use_sliding_window: bool,
    sliding_window: Option<usize>,
    #[serde(default = "window_layers")]
    max_window_layers: usize,
    layer_types: Option<Vec<String>>,
    is_causal: Option<bool>,
    use_bidirectional_attention: Option<bool>,
}

/// Where the config leaves it out.
fn head_size() -> usize {
    128
}

fn window_layers() -> usize {
    28
}

/// What the tokens of each layer see.
fn reaches(config: &Config, path: &Path) -> Result<Vec<Reach>> {
    let layers = config.num_hidden_layers;
    let full = match (&config.layer_types, config.use_sliding_window) {
        (Some(types), _) => layer_types(types, layers, path)?,
        (None, true) => (0..layers).map(|n| n < config.max_window_layers).collect(),
        (None, false) => vec![true; layers],
    };
    let window = match config.sliding_window.filter(|_| config.use_sliding_window) {
        Some(0) => return Err(EngineError::model(path, "sliding_window is 0; a token sees itself at least")),
        Some(window) => Reach::Within { before: window - 1, after: 0 },
        None if full.iter().all(|&full| full) => Reach::Causal,
        None => return Err(EngineError::model(path, "some layers have a sliding window and the config says none (sliding_window)")),
    };
    Ok(full.into_iter().map(|full| if full { Reach::Causal } else { window }).collect())
}

pub(super) fn load(config: &Value, path: &Path, weights: &Weights) -> Result<PreNormDecoder> {
    let typed: Config = parse(config, path)?;
    let Config { hidden_size: hidden, intermediate_size: inner, head_dim: head_size, attention_bias: biased, .. } = typed;
    let (heads, kv_heads) = (typed.num_attention_heads, typed.num_key_value_heads);
    check_heads(path, (heads, kv_heads, head_size), (hidden, inner), typed.num_hidden_layers, typed.rms_norm_eps)?;
    let reaches = reaches(&typed, path)?;
    if typed.is_causal == Some(false) || typed.use_bidirectional_attention == Some(true) {
        return Err(unsupported(path, "attention to later tokens", &"(is_causal: false)", "causal attention"));
    }
    let activation = activation(&typed.hidden_act, path)?;
    let wanted = Wanted { layers: None, key: "rope_theta", default: 10_000.0 };
    let rope = rope::read(config, path, head_size, &wanted)?;
    let find = Finder::new(weights, &["model"], "embed_tokens.weight", typed.rms_norm_eps);
    let layer = |(n, &reach): (usize, &Reach)| {
        let at = format!("layers.{n}");
        let linear = |name: &str, input, output, bias| find.linear_with(&format!("{at}.{name}"), input, output, bias);
        let norm = |name: &str, size| find.rms_norm(&format!("{at}.{name}"), size, false);
        let attention = SelfAttention {
            projection: Projection::Separate {
                query: linear("self_attn.q_proj", hidden, heads * head_size, biased)?,
                key: linear("self_attn.k_proj", hidden, kv_heads * head_size, biased)?,
                value: linear("self_attn.v_proj", hidden, kv_heads * head_size, biased)?,
            },
            head_norms: Some((norm("self_attn.q_norm", head_size)?, norm("self_attn.k_norm", head_size)?)),
            norms: None,
            attention: Attention { heads, kv_heads, head_size, scale: 1.0 / (head_size as f32).sqrt(), reach, rope: Some(rope.clone()) },
            output: linear("self_attn.o_proj", heads * head_size, hidden, biased)?,
        };
        let feed_forward = FeedForward::Gated {
            gate: Gate::Separate { gate: linear("mlp.gate_proj", hidden, inner, false)?, up: linear("mlp.up_proj", hidden, inner, false)? },
            activation,
            down: linear("mlp.down_proj", inner, hidden, false)?,
        };
        Ok(Layer {
            attention: Block { norm: norm("input_layernorm", hidden)?, block: attention, norm_after: None },
            feed_forward: Block { norm: norm("post_attention_layernorm", hidden)?, block: feed_forward, norm_after: None },
        })
    };
    Ok(PreNormDecoder {
        facts: Facts { hidden, max_tokens: typed.max_position_embeddings, vocabulary: typed.vocab_size },
        tokens: find.param("embed_tokens.weight", &[typed.vocab_size, hidden])?,
        embedding_scale: None,
        layers: reaches.iter().enumerate().map(layer).collect::<Result<_>>()?,
        norm: find.rms_norm("norm", hidden, false)?,
    })
}
