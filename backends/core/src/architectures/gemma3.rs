//! Gemma 3's text model as EmbeddingGemma uses it: attention to both sides, a window in most layers, four norms a layer.

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
    head_dim: usize,
    max_position_embeddings: usize,
    vocab_size: usize,
    hidden_activation: String,
    rms_norm_eps: f32,
    query_pre_attn_scalar: f32,
    #[serde(default)]
    attention_bias: bool,
    sliding_window: usize,
    layer_types: Option<Vec<String>>,
    #[serde(alias = "_sliding_window_pattern")]
    sliding_window_pattern: Option<usize>,
    #[serde(default)]
    use_bidirectional_attention: bool,
    attn_logit_softcapping: Option<f32>,
    final_logit_softcapping: Option<f32>,
}

pub(super) fn load(config: &Value, path: &Path, weights: &Weights) -> Result<PreNormDecoder> {
    let typed: Config = parse(config, path)?;
    let Config { hidden_size: hidden, intermediate_size: inner, head_dim: head_size, attention_bias: biased, .. } = typed;
    let (heads, kv_heads, layers) = (typed.num_attention_heads, typed.num_key_value_heads, typed.num_hidden_layers);
    check_heads(path, (heads, kv_heads, head_size), (hidden, inner), layers, typed.rms_norm_eps)?;
    if !typed.use_bidirectional_attention {
        return Err(unsupported(path, "causal attention", &"(use_bidirectional_attention: false)", "attention to both sides"));
    }
    if typed.attn_logit_softcapping.or(typed.final_logit_softcapping).is_some() {
        return Err(unsupported(path, "logit softcapping", &"", "none"));
    }
    if !(typed.query_pre_attn_scalar.is_finite() && typed.query_pre_attn_scalar > 0.0) {
        return Err(EngineError::model(path, format!("query_pre_attn_scalar is {}; it must be positive", typed.query_pre_attn_scalar)));
    }
    let global = match &typed.layer_types {
        Some(types) => layer_types(types, layers, path)?,
        None => {
            let pattern = typed.sliding_window_pattern.unwrap_or(6);
            (1..=layers).map(|n| pattern > 0 && n.is_multiple_of(pattern)).collect()
        }
    };
    // As transformers reads it: the number is that of both sides, of which the far end does not count.
    let window = typed.sliding_window / 2;
    let activation = activation(&typed.hidden_activation, path)?;
    let kind = |layers, key, default| Wanted { layers: Some(layers), key, default };
    let far = rope::read(config, path, head_size, &kind("full_attention", "rope_theta", 1_000_000.0))?;
    let near = rope::read(config, path, head_size, &kind("sliding_attention", "rope_local_base_freq", 10_000.0))?;
    let find = Finder::new(weights, &["model"], "embed_tokens.weight", typed.rms_norm_eps);
    let layer = |(n, &global): (usize, &bool)| {
        let at = format!("layers.{n}");
        let linear = |name: &str, input, output, bias| find.linear_with(&format!("{at}.{name}"), input, output, bias);
        let norm = |name: &str, size| find.rms_norm(&format!("{at}.{name}"), size, true);
        let attention = SelfAttention {
            projection: Projection::Separate {
                query: linear("self_attn.q_proj", hidden, heads * head_size, biased)?,
                key: linear("self_attn.k_proj", hidden, kv_heads * head_size, biased)?,
                value: linear("self_attn.v_proj", hidden, kv_heads * head_size, biased)?,
            },
            head_norms: Some((norm("self_attn.q_norm", head_size)?, norm("self_attn.k_norm", head_size)?)),
            norms: None,
            attention: Attention {
                heads,
                kv_heads,
                head_size,
                scale: 1.0 / typed.query_pre_attn_scalar.sqrt(),
                reach: if global { Reach::Row } else { Reach::Within { before: window, after: window } },
                rope: Some(if global { far.clone() } else { near.clone() }),
            },
            output: linear("self_attn.o_proj", heads * head_size, hidden, biased)?,
        };
        let feed_forward = FeedForward::Gated {
            gate: Gate::Separate { gate: linear("mlp.gate_proj", hidden, inner, false)?, up: linear("mlp.up_proj", hidden, inner, false)? },
            activation,
            down: linear("mlp.down_proj", inner, hidden, false)?,
        };
        Ok(Layer {
            attention: Block {
                norm: norm("input_layernorm", hidden)?,
                block: attention,
                norm_after: Some(norm("post_attention_layernorm", hidden)?),
            },
            feed_forward: Block {
                norm: norm("pre_feedforward_layernorm", hidden)?,
                block: feed_forward,
                norm_after: Some(norm("post_feedforward_layernorm", hidden)?),
            },
        })
    };
    Ok(PreNormDecoder {
        facts: Facts { hidden, max_tokens: typed.max_position_embeddings, vocabulary: typed.vocab_size },
        tokens: find.param("embed_tokens.weight", &[typed.vocab_size, hidden])?,
        embedding_scale: Some((hidden as f32).sqrt()),
        layers: global.iter().enumerate().map(layer).collect::<Result<_>>()?,
        norm: find.rms_norm("norm", hidden, true)?,
    })
}
