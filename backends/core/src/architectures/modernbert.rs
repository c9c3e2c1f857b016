//! ModernBERT: normalization before each block, rotary positions, and a local window in most layers.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::layers::{
    Facts, FeedForward, Finder, Gate, Projection, SelfAttention, check_size, check_sizes, unsupported, wanted, with_wanted,
};
use super::post_norm::full_attention;
use super::rope::{self, Wanted};
use super::{activation, parse};
use crate::error::Result;
use crate::ops::{Attention, LayerNorm, Ops, Reach, Token};
use crate::weights::{Param, Weights};

/// Warner et al. 2024, "Smarter, Better, Faster, Longer".
pub(super) struct ModernBert {
    pub facts: Facts,
    tokens: Param,
    norm: LayerNorm,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
}

struct Layer {
    /// The first layer has none: the embeddings are normalized already.
    attention_norm: Option<LayerNorm>,
    attention: SelfAttention,
    feed_forward_norm: LayerNorm,
    feed_forward: FeedForward,
}

#[derive(Deserialize)]
struct Config {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    vocab_size: usize,
    hidden_activation: String,
    norm_eps: f32,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    /// The window, both sides together.
    local_attention: usize,
    global_attn_every_n_layers: Option<usize>,
    /// What newer releases write instead.
    layer_types: Option<Vec<String>>,
}

/// Whether each layer sees the whole row.
fn global_layers(config: &Config, path: &Path) -> Result<Vec<bool>> {
    let layers = config.num_hidden_layers;
    let Some(types) = &config.layer_types else {
        let every = config.global_attn_every_n_layers.unwrap_or(3);
        check_size(path, "global_attn_every_n_layers", every)?;
        return Ok((0..layers).map(|n| n.is_multiple_of(every)).collect());
    };
    super::layers::layer_types(types, layers, path)
}

pub(super) fn load(config: &Value, path: &Path, weights: &Weights) -> Result<ModernBert> {
    let typed: Config = parse(config, path)?;
    let Config { hidden_size: hidden, intermediate_size: inner, num_hidden_layers: layers, num_attention_heads: heads, .. } = typed;
    check_sizes(path, hidden, heads, layers, typed.norm_eps)?;
    check_size(path, "hidden_size", hidden)?;
    check_size(path, "intermediate_size", inner)?;
    let global = global_layers(&typed, path)?;
    let reach = typed.local_attention / 2;
    let kind = |layers, key, default| Wanted { layers: Some(layers), key, default };
    let far = rope::read(config, path, hidden / heads, &kind("full_attention", "global_rope_theta", 160_000.0))?;
    let near = match config.get("local_rope_theta").filter(|value| value.is_null()) {
        // As the original: no local base means the global one.
        Some(_) if config.get("rope_parameters").is_none() => far.clone(),
        _ => rope::read(config, path, hidden / heads, &kind("sliding_attention", "local_rope_theta", 10_000.0))?,
    };
    if config.get("position_embedding_type").and_then(Value::as_str).is_some_and(|kind| !matches!(kind, "absolute" | "rope" | "sans_pos")) {
        return Err(unsupported(path, "the position_embedding_type", &config["position_embedding_type"], "rope"));
    }
    let activation = activation(&typed.hidden_activation, path)?;
    let find = Finder::new(weights, &["model"], "embeddings.tok_embeddings.weight", typed.norm_eps);
    let layer = |(n, &global): (usize, &bool)| {
        let at = format!("layers.{n}");
        let norm = |name: &str| find.norm_with(&format!("{at}.{name}"), hidden, typed.norm_bias);
        Ok(Layer {
            attention_norm: if n == 0 { None } else { Some(norm("attn_norm")?) },
            attention: SelfAttention {
                projection: Projection::Fused(find.linear_with(&format!("{at}.attn.Wqkv"), hidden, 3 * hidden, typed.attention_bias)?),
                head_norms: None,
                norms: None,
                attention: Attention {
                    reach: if global { Reach::Row } else { Reach::Within { before: reach, after: reach } },
                    rope: Some(if global { far.clone() } else { near.clone() }),
                    ..full_attention(hidden, heads)
                },
                output: find.linear_with(&format!("{at}.attn.Wo"), hidden, hidden, typed.attention_bias)?,
            },
            feed_forward_norm: norm("mlp_norm")?,
            feed_forward: FeedForward::Gated {
                // The first half goes through the activation.
                gate: Gate::First(find.linear_with(&format!("{at}.mlp.Wi"), hidden, 2 * inner, typed.mlp_bias)?),
                activation,
                down: find.linear_with(&format!("{at}.mlp.Wo"), inner, hidden, typed.mlp_bias)?,
            },
        })
    };
    Ok(ModernBert {
        facts: Facts { hidden, max_tokens: typed.max_position_embeddings, vocabulary: typed.vocab_size },
        tokens: find.param("embeddings.tok_embeddings.weight", &[typed.vocab_size, hidden])?,
        norm: find.norm_with("embeddings.norm", hidden, typed.norm_bias)?,
        layers: global.iter().enumerate().map(layer).collect::<Result<_>>()?,
        final_norm: find.norm_with("final_norm", hidden, typed.norm_bias)?,
    })
}

impl ModernBert {
    pub fn forward<O: Ops>(&self, ops: &mut O, only: Option<Token>) -> Result<O::Tensor> {
        let tokens = ops.token_embedding(&self.tokens, None)?;
        let mut x = ops.layer_norm(&tokens, None, &self.norm)?;
        if self.layers.is_empty() {
            x = wanted(ops, &x, only)?;
        }
        for (layer, only) in with_wanted(&self.layers, only) {
            let normed = match &layer.attention_norm {
                Some(norm) => ops.layer_norm(&x, None, norm)?,
                None => x.clone(),
            };
            let attended = layer.attention.forward(ops, &normed, None, only)?;
            x = wanted(ops, &x, only)?;
            x = ops.add(&x, &attended)?;
            let normed = ops.layer_norm(&x, None, &layer.feed_forward_norm)?;
            let outer = layer.feed_forward.forward(ops, &normed)?;
            x = ops.add(&x, &outer)?;
        }
        ops.layer_norm(&x, None, &self.final_norm)
    }
}
