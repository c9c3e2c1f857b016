//! NomicBERT: BERT with rotary positions and gated feed-forward networks.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::layers::{Facts, FeedForward, Finder, Gate, Projection, SelfAttention, check_size, check_sizes, unsupported};
use super::post_norm::{Layer, PostNormEncoder, full_attention};
use super::rope::{self, Wanted};
use super::{activation, parse};
use crate::error::{EngineError, Result};
use crate::ops::{Activation, Attention};
use crate::weights::Weights;

/// Nussbaum et al. 2024. Its own code took the keys of GPT-2's config; `transformers` writes BERT's.
#[derive(Deserialize)]
struct Config {
    #[serde(alias = "hidden_size")]
    n_embd: usize,
    #[serde(alias = "num_attention_heads")]
    n_head: usize,
    #[serde(alias = "num_hidden_layers")]
    n_layer: usize,
    #[serde(alias = "intermediate_size")]
    n_inner: Option<usize>,
    n_positions: Option<usize>,
    max_position_embeddings: Option<usize>,
    vocab_size: usize,
    #[serde(default)]
    type_vocab_size: usize,
    #[serde(alias = "hidden_act")]
    activation_function: String,
    #[serde(alias = "layer_norm_eps")]
    layer_norm_epsilon: f32,
    rotary_emb_fraction: Option<f64>,
    #[serde(default)]
    rotary_emb_interleaved: bool,
    rotary_scaling_factor: Option<f64>,
    rotary_emb_scale_base: Option<f64>,
    #[serde(default)]
    qkv_proj_bias: bool,
    #[serde(default)]
    mlp_fc1_bias: bool,
    #[serde(default)]
    mlp_fc2_bias: bool,
    #[serde(default)]
    prenorm: bool,
    #[serde(default)]
    causal: bool,
    #[serde(default)]
    parallel_block: bool,
    #[serde(default)]
    use_rms_norm: Option<bool>,
    num_experts: Option<usize>,
}

/// Refuses what changes the forward pass and no published model of this shape has.
fn check(config: &Config, path: &Path) -> Result<()> {
    let refused = [
        ("prenorm", config.prenorm),
        ("causal", config.causal),
        ("parallel_block", config.parallel_block),
        ("use_rms_norm", config.use_rms_norm == Some(true)),
        ("rotary_emb_interleaved", config.rotary_emb_interleaved),
        ("rotary_scaling_factor", config.rotary_scaling_factor.is_some()),
        ("rotary_emb_scale_base", config.rotary_emb_scale_base.is_some()),
        ("num_experts", config.num_experts.is_some_and(|experts| experts > 0)),
    ];
    if let Some((name, _)) = refused.iter().find(|(_, set)| *set) {
        return Err(unsupported(path, "the setting", name, "the encoder of nomic-embed-text-v1 and v1.5"));
    }
    Ok(())
}

/// How many numbers of a head are turned.
fn turned(config: &Config, head_size: usize, path: &Path) -> Result<usize> {
    let fraction = config.rotary_emb_fraction.unwrap_or(1.0);
    let turned = (head_size as f64 * fraction) as usize;
    match fraction > 0.0 && turned <= head_size {
        true => Ok(turned),
        false => Err(unsupported(path, "a rotary_emb_fraction of", &fraction, "a number above 0, at most 1")),
    }
}

pub(super) fn load(config: &Value, path: &Path, weights: &Weights) -> Result<PostNormEncoder> {
    let typed: Config = parse(config, path)?;
    let Config { n_embd: hidden, n_head: heads, n_layer: layers, .. } = typed;
    check(&typed, path)?;
    check_sizes(path, hidden, heads, layers, typed.layer_norm_epsilon)?;
    check_size(path, "n_embd", hidden)?;
    let Some(max_tokens) = typed.n_positions.or(typed.max_position_embeddings).filter(|&n| n > 0) else {
        return Err(EngineError::model(path, "the config lacks n_positions"));
    };
    // The gate's word for its activation.
    let activation = match typed.activation_function.as_str() {
        "swiglu" => Activation::Silu,
        "geglu" => Activation::Gelu,
        other => activation(other, path)?,
    };
    let rope = rope::read(
        config,
        path,
        turned(&typed, hidden / heads, path)?,
        &Wanted { layers: None, key: "rotary_emb_base", default: 10_000.0 },
    )?;
    let find = Finder::new(weights, &["bert", "nomic_bert", "model"], "embeddings.word_embeddings.weight", typed.layer_norm_epsilon);
    // Both sizes are rounded up when such a model is made, and the config keeps the number before: the file decides.
    let vocabulary = find.rows("embeddings.word_embeddings.weight").unwrap_or(0).max(typed.vocab_size);
    let inner = find.rows("encoder.layers.0.mlp.fc11.weight").or(typed.n_inner).unwrap_or(4 * hidden);
    check_size(path, "n_inner", inner)?;
    let layer = |n: usize| {
        let at = format!("encoder.layers.{n}");
        let linear = |name: &str, input, output, bias| find.linear_with(&format!("{at}.{name}"), input, output, bias);
        Ok(Layer {
            attention: SelfAttention {
                projection: Projection::Fused(linear("attn.Wqkv", hidden, 3 * hidden, typed.qkv_proj_bias)?),
                head_norms: None,
                norms: None,
                attention: Attention { rope: Some(rope.clone()), ..full_attention(hidden, heads) },
                output: linear("attn.out_proj", hidden, hidden, typed.qkv_proj_bias)?,
            },
            attention_norm: find.norm(&format!("{at}.norm1"), hidden)?,
            second_norm: None,
            feed_forward: FeedForward::Gated {
                gate: Gate::Separate {
                    gate: linear("mlp.fc12", hidden, inner, typed.mlp_fc1_bias)?,
                    up: linear("mlp.fc11", hidden, inner, typed.mlp_fc1_bias)?,
                },
                activation,
                down: linear("mlp.fc2", inner, hidden, typed.mlp_fc2_bias)?,
            },
            feed_forward_norm: find.norm(&format!("{at}.norm2"), hidden)?,
        })
    };
    Ok(PostNormEncoder {
        facts: Facts { hidden, max_tokens, vocabulary },
        tokens: find.param("embeddings.word_embeddings.weight", &[vocabulary, hidden])?,
        positions: None,
        token_types: match typed.type_vocab_size {
            0 => None,
            types => Some(find.param("embeddings.token_type_embeddings.weight", &[types, hidden])?),
        },
        norm: find.norm("emb_ln", hidden)?,
        bias: None,
        layers: (0..layers).map(layer).collect::<Result<_>>()?,
    })
}
