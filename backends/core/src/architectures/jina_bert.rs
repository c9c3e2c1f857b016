//! JinaBERT, which says `model_type: bert`: BERT with a linear bias by distance instead of positions, and gated feed-forward networks.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::layers::{Facts, FeedForward, Finder, Gate, Projection, SelfAttention, check_size, check_sizes, unsupported};
use super::post_norm::{Layer, PostNormEncoder, full_attention};
use super::{activation, parse};
use crate::error::Result;
use crate::ops::{Activation, Bias};
use crate::weights::Weights;

/// Günther et al. 2023, "Jina Embeddings 2".
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
    layer_norm_eps: f32,
    /// `original`, `geglu` or `reglu`.
    feed_forward_type: String,
}

pub(super) fn load(config: &Value, path: &Path, weights: &Weights) -> Result<PostNormEncoder> {
    let typed: Config = parse(config, path)?;
    let Config { hidden_size: hidden, intermediate_size: inner, num_hidden_layers: layers, num_attention_heads: heads, .. } = typed;
    check_sizes(path, hidden, heads, layers, typed.layer_norm_eps)?;
    check_size(path, "hidden_size", hidden)?;
    check_size(path, "intermediate_size", inner)?;
    let find = Finder::new(weights, &["bert"], "embeddings.word_embeddings.weight", typed.layer_norm_eps);
    // jina-bert-v2-qk-post-norm has the same config: what the file holds tells it, as it tells its own code.
    let code = find.has("encoder.layer.0.attention.self.layer_norm_q.weight");
    let gate = match typed.feed_forward_type.as_str() {
        "geglu" => Some(Activation::Gelu),
        "reglu" => Some(Activation::Relu),
        "original" => None,
        other => return Err(unsupported(path, "the feed_forward_type", &format!("{other:?}"), "geglu, reglu and original")),
    };
    let plain = activation(&typed.hidden_act, path)?;
    let layer = |n: usize| {
        let at = format!("encoder.layer.{n}");
        let linear = |name: &str, input, output, bias| find.linear_with(&format!("{at}.{name}"), input, output, bias);
        let norm_of = |name: &str| find.norm(&format!("{at}.{name}"), hidden);
        let (feed_forward, norm) = match gate {
            Some(activation) if code => {
                let gate = Gate::Last(linear("mlp.up_gated_layer", hidden, 2 * inner, false)?);
                (FeedForward::Gated { gate, activation, down: linear("mlp.down_layer", inner, hidden, true)? }, "layer_norm_2")
            }
            Some(activation) => {
                let gate = Gate::First(linear("mlp.gated_layers", hidden, 2 * inner, false)?);
                (FeedForward::Gated { gate, activation, down: linear("mlp.wo", inner, hidden, true)? }, "mlp.layernorm")
            }
            None => {
                let up = linear("intermediate.dense", hidden, inner, true)?;
                (FeedForward::Plain { up, activation: plain, down: linear("output.dense", inner, hidden, true)? }, "output.LayerNorm")
            }
        };
        Ok(Layer {
            attention: SelfAttention {
                projection: Projection::Separate {
                    query: linear("attention.self.query", hidden, hidden, true)?,
                    key: linear("attention.self.key", hidden, hidden, true)?,
                    value: linear("attention.self.value", hidden, hidden, true)?,
                },
                head_norms: None,
                norms: match code {
                    true => Some((norm_of("attention.self.layer_norm_q")?, norm_of("attention.self.layer_norm_k")?)),
                    false => None,
                },
                attention: full_attention(hidden, heads),
                output: linear("attention.output.dense", hidden, hidden, true)?,
            },
            attention_norm: norm_of("attention.output.LayerNorm")?,
            second_norm: if code { Some(norm_of("layer_norm_1")?) } else { None },
            feed_forward,
            feed_forward_norm: norm_of(norm)?,
        })
    };
    Ok(PostNormEncoder {
        facts: Facts { hidden, max_tokens: typed.max_position_embeddings, vocabulary: typed.vocab_size },
        tokens: find.param("embeddings.word_embeddings.weight", &[typed.vocab_size, hidden])?,
        positions: None,
        token_types: match typed.type_vocab_size {
            0 => None,
            types => Some(find.param("embeddings.token_type_embeddings.weight", &[types, hidden])?),
        },
        norm: find.norm("embeddings.LayerNorm", hidden)?,
        bias: Some(Bias::Linear(slopes(heads))),
        layers: (0..layers).map(layer).collect::<Result<_>>()?,
    })
}

/// The slopes of ALiBi: powers of `2^(-8 / n)`; where the heads are no power of two, those of the power below, and every second one of
/// the power above.
fn slopes(heads: usize) -> Vec<f32> {
    let powers = |n: usize| (1..=n).map(move |k| (-8.0 * k as f64 / n as f64).exp2() as f32);
    let below = 1 << heads.ilog2();
    powers(below).chain(powers(2 * below).step_by(2)).take(heads).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn slopes_are_those_of_the_paper() {
        assert_eq!(super::slopes(4), [0.25, 0.0625, 0.015625, 0.00390625]);
        assert_eq!(super::slopes(6), [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125]);
        assert_eq!(super::slopes(1), [0.00390625]);
    }
}
