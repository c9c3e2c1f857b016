//! The model families, each one file, dispatched on `model_type` of `config.json`.

mod bert;
mod classifier;
mod distilbert;
#[cfg(feature = "conformance")]
mod fictitious;
mod gemma3;
mod gte;
mod jina_bert;
mod layers;
mod modernbert;
mod mpnet;
mod nomic_bert;
mod post_norm;
mod pre_norm;
mod qwen3;
mod rope;
mod static_table;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{EngineError, Result};
use crate::ops::{Activation, Ops, Token};
use crate::weights::Weights;
use layers::Facts;
use modernbert::ModernBert;
use post_norm::PostNormEncoder;
use pre_norm::PreNormDecoder;
use static_table::StaticTable;

pub(crate) use classifier::Classifier;

/// An encoder with its parameters found and checked.
pub struct Architecture {
    model_type: &'static str,
    encoder: Encoder,
    /// Rows are of two texts.
    pairs: bool,
}

/// The shapes of encoders; families share one where only names and parts differ.
enum Encoder {
    PostNorm(PostNormEncoder),
    ModernBert(ModernBert),
    PreNorm(PreNormDecoder),
    Static(StaticTable),
    #[cfg(feature = "conformance")]
    Fictitious(fictitious::BagOfTokens),
}

type Load = fn(&Value, &Path, &Weights) -> Result<Encoder>;

/// Every supported `model_type`.
const FAMILIES: &[(&str, Load)] = &[
    ("bert", |config, path, weights| bert::load(config, path, weights).map(Encoder::PostNorm)),
    ("distilbert", |config, path, weights| distilbert::load(config, path, weights).map(Encoder::PostNorm)),
    #[cfg(feature = "conformance")]
    (FICTITIOUS, |config, path, weights| fictitious::load(config, path, weights).map(Encoder::Fictitious)),
    ("gemma3_text", |config, path, weights| gemma3::load(config, path, weights).map(Encoder::PreNorm)),
    (STATIC, |_, path, weights| static_table::load(path, weights).map(Encoder::Static)),
    ("modernbert", |config, path, weights| modernbert::load(config, path, weights).map(Encoder::ModernBert)),
    ("mpnet", |config, path, weights| mpnet::load(config, path, weights).map(Encoder::PostNorm)),
    ("new", |config, path, weights| gte::load(config, path, weights).map(Encoder::PostNorm)),
    ("nomic_bert", |config, path, weights| nomic_bert::load(config, path, weights).map(Encoder::PostNorm)),
    ("qwen3", |config, path, weights| qwen3::load(config, path, weights).map(Encoder::PreNorm)),
    ("roberta", |config, path, weights| bert::load_roberta(config, path, weights).map(Encoder::PostNorm)),
    ("xlm-roberta", |config, path, weights| bert::load_roberta(config, path, weights).map(Encoder::PostNorm)),
];

/// The longest row of a model with attention, which takes memory with the square of a row. Where positions are computed nothing in the
/// weights contradicts a config that names a million.
const LONGEST_ROW: usize = 1 << 15;

/// The `model_type` that only the conformance suite knows.
pub(crate) const FICTITIOUS: &str = "fictitious";

/// The `model_type` of static models; sentence-transformers' own say it by the class of their first module.
pub(crate) const STATIC: &str = "model2vec";

/// Every supported `model_type`, sorted.
pub fn supported() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|&(name, _)| name).filter(|&name| name != FICTITIOUS)
}

/// Finds the family of a config and checks its parameters.
pub(crate) fn load(config: &Value, path: &Path, weights: &Weights) -> Result<Architecture> {
    let Some(model_type) = config.get("model_type").and_then(Value::as_str) else {
        return Err(EngineError::model(path, "the configuration names no architecture (model_type)"));
    };
    let Some(&(model_type, load)) = FAMILIES.iter().find(|&&(name, _)| name == model_type) else {
        let supported: Vec<&str> = supported().collect();
        return Err(EngineError::Model {
            path: path.to_path_buf(),
            reason: format!("the architecture {model_type:?} (model_type) is not supported"),
            hint: Some(format!("supported are {}", supported.join(", "))),
        });
    };
    let architecture = Architecture { model_type, encoder: load(config, path, weights)?, pairs: false };
    if architecture.max_tokens() == 0 || architecture.vocabulary() == 0 {
        return Err(EngineError::model(path, "the config leaves no room for a token (max_position_embeddings, vocab_size)"));
    }
    Ok(architecture)
}

/// Finds the family of a config that reads two texts together, and the head that gives one number for them; both are checked.
pub(crate) fn load_classifier(config: &Value, path: &Path, weights: &Weights) -> Result<(Architecture, Classifier)> {
    let classifier = Classifier::load(config, path, weights)?;
    let architecture = Architecture { pairs: true, ..load(config, path, weights)? };
    let (of_head, hidden) = (classifier.output.weight.shape()[1], architecture.hidden());
    if of_head != hidden {
        return Err(EngineError::model(path, format!("the classifier takes {of_head} numbers and the encoder gives {hidden}")));
    }
    Ok((architecture, classifier))
}

impl Architecture {
    /// The `model_type`.
    pub fn model_type(&self) -> &'static str {
        self.model_type
    }

    /// Numbers of a hidden state.
    pub fn hidden(&self) -> usize {
        self.facts().hidden
    }

    /// The longest row in tokens: what the config says, and never more than `LONGEST_ROW`.
    pub fn max_tokens(&self) -> usize {
        match &self.encoder {
            // No attention: memory grows with the row, not with its square.
            Encoder::Static(table) => table.facts.max_tokens,
            _ => self.facts().max_tokens.min(LONGEST_ROW),
        }
    }

    /// Every id is below it.
    pub fn vocabulary(&self) -> usize {
        self.facts().vocabulary
    }

    fn facts(&self) -> &Facts {
        match &self.encoder {
            Encoder::PostNorm(encoder) => &encoder.facts,
            Encoder::ModernBert(encoder) => &encoder.facts,
            Encoder::PreNorm(decoder) => &decoder.facts,
            Encoder::Static(table) => &table.facts,
            #[cfg(feature = "conformance")]
            Encoder::Fictitious(encoder) => &encoder.facts,
        }
    }

    /// From the batch's ids to the last hidden states, `[tokens, hidden]`; with `only` to those of one token of each row, `[rows, hidden]`:
    /// after the last layer's keys and values nothing is computed for the others.
    pub(crate) fn forward<O: Ops>(&self, ops: &mut O, only: Option<Token>) -> Result<O::Tensor> {
        match &self.encoder {
            Encoder::PostNorm(encoder) => encoder.forward(ops, self.pairs, only),
            Encoder::ModernBert(encoder) => encoder.forward(ops, only),
            Encoder::PreNorm(decoder) => decoder.forward(ops, only),
            Encoder::Static(table) => table.forward(ops, only),
            #[cfg(feature = "conformance")]
            Encoder::Fictitious(encoder) => encoder.forward(ops, only),
        }
    }
}

/// The fields of a config that a family needs, or an error that names the one that is missing or of a wrong type.
fn parse<T: DeserializeOwned>(config: &Value, path: &Path) -> Result<T> {
    T::deserialize(config).map_err(|e| EngineError::model(path, format!("the config does not fit the architecture: {e}")))
}

/// An activation by its name in `transformers`.
fn activation(name: &str, path: &Path) -> Result<Activation> {
    match name {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        "silu" | "swish" => Ok(Activation::Silu),
        "tanh" => Ok(Activation::Tanh),
        _ => Err(EngineError::Model {
            path: path.to_path_buf(),
            reason: format!("the activation {name:?} is not supported"),
            hint: Some("supported are gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu, swish and tanh".into()),
        }),
    }
}
