//! GTE's own encoder, `model_type: new`: BERT with rotary positions and gated feed-forward networks, in few large products.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::layers::{Facts, FeedForward, Finder, Gate, Projection, SelfAttention, check_size, check_sizes, unsupported};
use super::post_norm::{Layer, Positions, PostNormEncoder, full_attention};
use super::rope::{self, Wanted};
use super::{activation, parse};
use crate::error::Result;
use crate::ops::Attention;
use crate::weights::Weights;

/// Zhang et al. 2024, "mGTE".
#[derive(Deserialize)]
struct Config {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    max_position_embeddings: usize,
    vocab_size: usize,
    #[serde(default = "one")]
    type_vocab_size: usize,
    hidden_act: String,
    #[serde(default = "epsilon")]
    layer_norm_eps: f32,
    layer_norm_type: Option<String>,
    position_embedding_type: Option<String>,
    #[serde(default)]
    logn_attention_scale: bool,
    #[serde(default)]
    logn_attention_clip1: bool,
}

fn one() -> usize {
    1
}

fn epsilon() -> f32 {
    1e-12
}

pub(super) fn load(config: &Value, path: &Path, weights: &Weights) -> Result<PostNormEncoder> {
    let typed: Config = parse(config, path)?;
    let Config { hidden_size: hidden, intermediate_size: inner, num_hidden_layers: layers, num_attention_heads: heads, .. } = typed;
    check_sizes(path, hidden, heads, layers, typed.layer_norm_eps)?;
    check_size(path, "hidden_size", hidden)?;
    check_size(path, "intermediate_size", inner)?;
    match typed.layer_norm_type.as_deref() {
        None | Some("layer_norm") => {}
        Some(other) => return Err(unsupported(path, "the layer_norm_type", &format!("{other:?}"), "\"layer_norm\"")),
    }
    if typed.logn_attention_scale || typed.logn_attention_clip1 {
        return Err(unsupported(path, "attention scaled by the text's length", &"(logn_attention_scale)", "attention without it"));
    }
    let find = Finder::new(weights, &["new"], "embeddings.word_embeddings.weight", typed.layer_norm_eps);
    let table = "embeddings.position_embeddings.weight";
    let (rope, positions) = match typed.position_embedding_type.as_deref() {
        None | Some("rope") => {
            (Some(rope::read(config, path, hidden / heads, &Wanted { layers: None, key: "rope_theta", default: 10_000.0 })?), None)
        }
        Some("absolute") => (None, Some(Positions { table: find.param(table, &[typed.max_position_embeddings, hidden])?, first: 0 })),
        Some(other) => return Err(unsupported(path, "the position embedding", &format!("{other:?}"), "\"rope\" and \"absolute\"")),
    };
    let activation = activation(&typed.hidden_act, path)?;
    let layer = |n: usize| {
        let at = format!("encoder.layer.{n}");
        let linear = |name: &str, input, output, bias| find.linear_with(&format!("{at}.{name}"), input, output, bias);
        Ok(Layer {
            attention: SelfAttention {
                projection: match find.has(&format!("{at}.attention.q_proj.weight")) {
                    true => Projection::Separate {
                        query: linear("attention.q_proj", hidden, hidden, true)?,
                        key: linear("attention.k_proj", hidden, hidden, true)?,
                        value: linear("attention.v_proj", hidden, hidden, true)?,
                    },
                    false => Projection::Fused(linear("attention.qkv_proj", hidden, 3 * hidden, true)?),
                },
                head_norms: None,
                norms: None,
                attention: Attention { rope: rope.clone(), ..full_attention(hidden, heads) },
                output: linear("attention.o_proj", hidden, hidden, true)?,
            },
            attention_norm: find.norm(&format!("{at}.attn_ln"), hidden)?,
            second_norm: None,
            feed_forward: FeedForward::Gated {
                gate: Gate::Last(linear("mlp.up_gate_proj", hidden, 2 * inner, false)?),
                activation,
                down: linear("mlp.down_proj", inner, hidden, true)?,
            },
            feed_forward_norm: find.norm(&format!("{at}.mlp_ln"), hidden)?,
        })
    };
    Ok(PostNormEncoder {
        facts: Facts { hidden, max_tokens: typed.max_position_embeddings, vocabulary: typed.vocab_size },
        tokens: find.param("embeddings.word_embeddings.weight", &[typed.vocab_size, hidden])?,
        positions,
        token_types: match typed.type_vocab_size {
            0 => None,
            types => Some(find.param("embeddings.token_type_embeddings.weight", &[types, hidden])?),
        },
        norm: find.norm("embeddings.LayerNorm", hidden)?,
        bias: None,
        layers: (0..layers).map(layer).collect::<Result<_>>()?,
    })
}
