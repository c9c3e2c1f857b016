//! The model families, each one file, dispatched on `model_type` of `config.json`.

mod bert;
mod distilbert;
mod post_norm;

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{EngineError, Result};
use crate::ops::{Activation, Ops};
use crate::weights::Weights;
use post_norm::PostNormEncoder;

/// An encoder with its parameters found and checked.
pub struct Architecture {
    model_type: &'static str,
    encoder: PostNormEncoder,
}

type Load = fn(&Value, &Path, &Weights) -> Result<PostNormEncoder>;

/// Every supported `model_type`.
const FAMILIES: &[(&str, Load)] =
    &[("bert", bert::load), ("distilbert", distilbert::load), ("roberta", bert::load_roberta), ("xlm-roberta", bert::load_roberta)];

/// Every supported `model_type`, sorted.
pub fn supported() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|&(name, _)| name)
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
    Ok(Architecture { model_type, encoder: load(config, path, weights)? })
}

impl Architecture {
    /// The `model_type`.
    pub fn model_type(&self) -> &'static str {
        self.model_type
    }

    /// Numbers of a hidden state.
    pub fn hidden(&self) -> usize {
        self.encoder.hidden
    }

    /// The longest row in tokens.
    pub fn max_tokens(&self) -> usize {
        self.encoder.max_tokens
    }

    /// Rows of the embedding table.
    pub fn vocabulary(&self) -> usize {
        self.encoder.vocabulary
    }

    /// From the batch's ids to the last hidden states, `[tokens, hidden]`.
    pub(crate) fn forward<O: Ops>(&self, ops: &mut O) -> Result<O::Tensor> {
        self.encoder.forward(ops)
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
