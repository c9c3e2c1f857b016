//! What the layers of several families have in common: finding parameters, attention from hidden states, feed-forward networks.

use std::path::Path;

use crate::error::{EngineError, Result};
use crate::ops::{Activation, Attention, LayerNorm, Linear, Ops, RmsNorm, Token};
use crate::weights::{Param, Weights};

/// What an encoder says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Numbers of a hidden state.
    pub hidden: usize,
    /// The longest row in tokens.
    pub max_tokens: usize,
    /// Every id is below it.
    pub vocabulary: usize,
}

/// From hidden states to queries, keys and values.
pub(super) enum Projection {
    /// One weight for each.
    Separate { query: Linear, key: Linear, value: Linear },
    /// One weight whose rows are the queries', then the keys', then the values'.
    Fused(Linear),
}

/// Attention with its weights.
pub(super) struct SelfAttention {
    pub projection: Projection,
    /// Of each head of queries and keys, before they are turned.
    pub head_norms: Option<(RmsNorm, RmsNorm)>,
    /// Of whole queries and keys.
    pub norms: Option<(LayerNorm, LayerNorm)>,
    pub attention: Attention,
    pub output: Linear,
}

/// Each layer, and which token of each row is all that is wanted of it: of the last one what the pooling reads, of the others every token.
pub(super) fn with_wanted<T>(layers: &[T], only: Option<Token>) -> impl Iterator<Item = (&T, Option<Token>)> {
    layers.iter().enumerate().map(move |(at, layer)| (layer, only.filter(|_| at + 1 == layers.len())))
}

/// What is wanted of `x` `[tokens, n]`: all of it, or one token of each row, `[rows, n]`.
pub(super) fn wanted<O: Ops>(ops: &mut O, x: &O::Tensor, only: Option<Token>) -> Result<O::Tensor> {
    match only {
        Some(token) => ops.take(x, token),
        None => Ok(x.clone()),
    }
}

impl SelfAttention {
    /// From `[tokens, hidden]` to what is wanted of it. Keys and values are always of all tokens.
    pub fn forward<O: Ops>(&self, ops: &mut O, x: &O::Tensor, bias: Option<&O::Tensor>, only: Option<Token>) -> Result<O::Tensor> {
        let Attention { heads, kv_heads, head_size, .. } = self.attention;
        let (mut q, mut k, v) = match &self.projection {
            Projection::Separate { query, key, value } => {
                let asking = wanted(ops, x, only)?;
                (ops.linear(&asking, query)?, ops.linear(x, key)?, ops.linear(x, value)?)
            }
            Projection::Fused(all) => {
                let all = ops.linear(x, all)?;
                let (q, kv) = (heads * head_size, kv_heads * head_size);
                let all_queries = ops.columns(&all, 0, q)?;
                // In one product with keys and values: the queries of the other tokens come with it, a twelfth to an eighth of a layer.
                (wanted(ops, &all_queries, only)?, ops.columns(&all, q, kv)?, ops.columns(&all, q + kv, kv)?)
            }
        };
        if let Some((query, key)) = &self.head_norms {
            (q, k) = (ops.rms_norm(&q, query)?, ops.rms_norm(&k, key)?);
        }
        if let Some((query, key)) = &self.norms {
            (q, k) = (ops.layer_norm(&q, None, query)?, ops.layer_norm(&k, None, key)?);
        }
        let attended = ops.attention(&q, &k, &v, &self.attention, bias, only)?;
        ops.linear(&attended, &self.output)
    }
}

/// The first half of a gated feed-forward network: `activation(gate) * up`.
pub(super) enum Gate {
    /// One weight for each.
    Separate { gate: Linear, up: Linear },
    /// One weight whose first rows are the gate's.
    First(Linear),
    /// One weight whose last rows are the gate's.
    Last(Linear),
}

/// A feed-forward network.
pub(super) enum FeedForward {
    /// `down(activation(up(x)))`
    Plain { up: Linear, activation: Activation, down: Linear },
    /// `down(activation(gate(x)) * up(x))` (Shazeer 2020); without an activation where the family has none.
    Gated { gate: Gate, activation: Activation, down: Linear },
}

impl FeedForward {
    pub fn forward<O: Ops>(&self, ops: &mut O, x: &O::Tensor) -> Result<O::Tensor> {
        match self {
            FeedForward::Plain { up, activation, down } => {
                let inner = ops.linear(x, up)?;
                let inner = ops.activation(&inner, *activation)?;
                ops.linear(&inner, down)
            }
            FeedForward::Gated { gate, activation, down } => {
                let inner = down.weight.shape()[1];
                let (gate, up) = match gate {
                    Gate::Separate { gate, up } => (ops.linear(x, gate)?, ops.linear(x, up)?),
                    Gate::First(both) => {
                        let both = ops.linear(x, both)?;
                        (ops.columns(&both, 0, inner)?, ops.columns(&both, inner, inner)?)
                    }
                    Gate::Last(both) => {
                        let both = ops.linear(x, both)?;
                        (ops.columns(&both, inner, inner)?, ops.columns(&both, 0, inner)?)
                    }
                };
                let gate = ops.activation(&gate, *activation)?;
                let inner = ops.multiply(&gate, &up)?;
                ops.linear(&inner, down)
            }
        }
    }
}

/// Finds parameters under a common prefix, such as `bert.` where a file was saved with a task head.
pub(super) struct Finder<'a> {
    weights: &'a Weights,
    prefix: String,
    epsilon: f32,
}

impl<'a> Finder<'a> {
    /// `bases` are the prefixes that files of the family have; the one under which `probe` is found counts, else none.
    pub fn new(weights: &'a Weights, bases: &[&str], probe: &str, epsilon: f32) -> Finder<'a> {
        let with = bases.iter().map(|base| format!("{base}.")).find(|base| weights.contains(&format!("{base}{probe}")));
        Finder { weights, prefix: with.unwrap_or_default(), epsilon }
    }

    pub fn has(&self, name: &str) -> bool {
        self.weights.contains(&format!("{}{name}", self.prefix))
    }

    /// The first size of a tensor that is there.
    pub fn rows(&self, name: &str) -> Option<usize> {
        self.weights.shape(&format!("{}{name}", self.prefix)).and_then(|shape| shape.first().copied())
    }

    pub fn param(&self, name: &str, shape: &[usize]) -> Result<Param> {
        self.weights.param(&format!("{}{name}", self.prefix), shape)
    }

    /// With a bias.
    pub fn linear(&self, name: &str, input: usize, output: usize) -> Result<Linear> {
        self.linear_with(name, input, output, true)
    }

    /// With a bias if the config says so.
    pub fn linear_with(&self, name: &str, input: usize, output: usize, bias: bool) -> Result<Linear> {
        Ok(Linear {
            weight: self.param(&format!("{name}.weight"), &[output, input])?,
            bias: match bias {
                true => Some(self.param(&format!("{name}.bias"), &[output])?),
                false => None,
            },
        })
    }

    /// With a bias.
    pub fn norm(&self, name: &str, hidden: usize) -> Result<LayerNorm> {
        self.norm_with(name, hidden, true)
    }

    /// With a bias if the config says so. The oldest files call the two gamma and beta.
    pub fn norm_with(&self, name: &str, hidden: usize, bias: bool) -> Result<LayerNorm> {
        let (weight, shift) = match self.has(&format!("{name}.gamma")) {
            true => ("gamma", "beta"),
            false => ("weight", "bias"),
        };
        Ok(LayerNorm {
            weight: self.param(&format!("{name}.{weight}"), &[hidden])?,
            bias: match bias {
                true => Some(self.param(&format!("{name}.{shift}"), &[hidden])?),
                false => None,
            },
            epsilon: self.epsilon,
        })
    }

    pub fn rms_norm(&self, name: &str, size: usize, around_one: bool) -> Result<RmsNorm> {
        Ok(RmsNorm { weight: self.param(&format!("{name}.weight"), &[size])?, around_one, epsilon: self.epsilon })
    }
}

/// The most layers that are read: a config that names more sizes nothing.
const MOST_LAYERS: usize = 1024;
/// The greatest size of anything: far above every real model, far below what overflows a product of two.
const GREATEST: usize = 1 << 30;

/// Refuses sizes that no real model has, before they size anything.
pub(super) fn check_sizes(path: &Path, hidden: usize, heads: usize, layers: usize, epsilon: f32) -> Result<()> {
    if heads == 0 || hidden == 0 || !hidden.is_multiple_of(heads) {
        return Err(EngineError::model(path, format!("{heads} attention heads do not divide the hidden size {hidden}")));
    }
    if !(epsilon.is_finite() && epsilon >= 0.0) {
        return Err(EngineError::model(path, format!("the epsilon of the norms is {epsilon}; it must be zero or a small positive number")));
    }
    if layers > MOST_LAYERS {
        return Err(EngineError::model(path, format!("{layers} layers are more than the {MOST_LAYERS} that are read")));
    }
    Ok(())
}

/// Refuses a size of nothing and one that would overflow what is computed from it.
pub(super) fn check_size(path: &Path, name: &str, size: usize) -> Result<()> {
    match size {
        1..=GREATEST => Ok(()),
        _ => Err(EngineError::model(path, format!("{name} is {size}; it must be 1 to {GREATEST}"))),
    }
}

/// A base of rotary frequencies that can be one.
pub(super) fn check_theta(path: &Path, name: &str, theta: f64) -> Result<f64> {
    match theta.is_finite() && theta > 0.0 {
        true => Ok(theta),
        false => Err(EngineError::model(path, format!("{name} is {theta}; it must be a positive number"))),
    }
}

/// Refuses a setting that changes the forward pass and is not written here. `known` says what is.
pub(super) fn unsupported(path: &Path, what: &str, found: &dyn std::fmt::Display, known: &str) -> EngineError {
    EngineError::Model {
        path: path.to_path_buf(),
        reason: format!("{what} {found} is not supported"),
        hint: Some(format!("supported is {known}")),
    }
}

/// Like [`check_sizes`] where heads have a size of their own and keys may have fewer: heads, heads of the keys, numbers of a head; sizes
/// of a hidden state and inside the feed-forward network.
pub(super) fn check_heads(
    path: &Path,
    (heads, kv_heads, head_size): (usize, usize, usize),
    (hidden, inner): (usize, usize),
    layers: usize,
    epsilon: f32,
) -> Result<()> {
    check_sizes(path, hidden, 1, layers, epsilon)?;
    let sizes = [("num_attention_heads", heads), ("num_key_value_heads", kv_heads), ("head_dim", head_size), ("hidden_size", hidden)];
    for (name, size) in sizes.into_iter().chain([("intermediate_size", inner)]) {
        check_size(path, name, size)?;
    }
    if !heads.is_multiple_of(kv_heads) {
        return Err(EngineError::model(path, format!("{kv_heads} heads of keys do not divide {heads} heads of queries")));
    }
    // So that the size of the queries, which is a product of both, is one too.
    check_size(path, "num_attention_heads * head_dim", heads.saturating_mul(head_size))
}

/// Whether each layer sees the whole row, from `layer_types`.
pub(super) fn layer_types(types: &[String], layers: usize, path: &Path) -> Result<Vec<bool>> {
    if types.len() != layers {
        return Err(EngineError::model(path, format!("layer_types names {} layers of {layers}", types.len())));
    }
    let one = |kind: &String| match kind.as_str() {
        "full_attention" => Ok(true),
        "sliding_attention" => Ok(false),
        other => Err(unsupported(path, "the layer type", &format!("{other:?}"), "full_attention and sliding_attention")),
    };
    types.iter().map(one).collect()
}
