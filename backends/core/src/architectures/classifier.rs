//! The head of a model that reads two texts together and gives one number: a classifier of one label over the first token.

use std::path::Path;

use serde_json::Value;

use crate::error::{EngineError, Result};
use crate::ops::Linear;
use crate::weights::Weights;

/// What each family calls its two layers: `dense`, followed by tanh, and the one that gives the labels.
const HEADS: &[(&str, &str, &str)] = &[
    // BertForSequenceClassification: the pooler of the pretraining, then one layer.
    ("bert", "bert.pooler.dense", "classifier"),
    // RobertaForSequenceClassification and XLMRobertaForSequenceClassification have no pooler.
    ("roberta", "classifier.dense", "classifier.out_proj"),
    ("xlm-roberta", "classifier.dense", "classifier.out_proj"),
];

/// `output(tanh(dense(first token)))`
#[derive(Clone, Debug)]
pub(crate) struct Classifier {
    /// `[hidden, hidden]`
    pub dense: Linear,
    /// `[1, hidden]`
    pub output: Linear,
}

impl Classifier {
    /// Finds the head by the names of the config's family.
    ///
    /// A model without one, with more labels than one, or of a family whose heads are not known here is an error that says what it is.
    pub fn load(config: &Value, path: &Path, weights: &Weights) -> Result<Classifier> {
        let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let known = HEADS.iter().find(|(name, ..)| *name == model_type);
        // Later relatives of BERT share its name and are told by their positions.
        let own = !matches!(config.get("position_embedding_type").and_then(Value::as_str), Some(other) if other != "absolute");
        let Some((_, dense, output)) = known.filter(|_| own) else {
            let names: Vec<&str> = HEADS.iter().map(|(name, ..)| *name).collect();
            let which =
                if own { format!("{model_type:?} (model_type)") } else { format!("{model_type:?} with other positions than absolute") };
            return Err(EngineError::Model {
                path: path.to_path_buf(),
                reason: format!("cross-encoders of the architecture {which} are not supported"),
                hint: Some(format!("supported are {}", names.join(", "))),
            });
        };
        let weight = format!("{output}.weight");
        let Some(&[labels, hidden]) = weights.shape(&weight) else {
            return Err(EngineError::Model {
                path: path.to_path_buf(),
                reason: format!("the model has no classifier head: it is a {}, and its weights have no matrix {weight}", class(config)),
                hint: Some(
                    "a reranker is a cross-encoder (such as BertForSequenceClassification) that was trained with one label; a model that embeds \
                     is none"
                        .into(),
                ),
            });
        };
        if labels != 1 {
            return Err(EngineError::Model {
                path: path.to_path_buf(),
                reason: format!("the model's classifier has {labels} labels; a reranker has one, the score of a pair"),
                hint: Some("use a cross-encoder that was trained with num_labels = 1".into()),
            });
        }
        let linear = |name: &str, inputs: usize, outputs: usize| -> Result<Linear> {
            Ok(Linear {
                weight: weights.param(&format!("{name}.weight"), &[outputs, inputs])?,
                bias: Some(weights.param(&format!("{name}.bias"), &[outputs])?),
            })
        };
        Ok(Classifier { dense: linear(dense, hidden, hidden)?, output: linear(output, hidden, labels)? })
    }
}

/// What the config says that the model is.
fn class(config: &Value) -> &str {
    let first = config.get("architectures").and_then(|all| all.get(0)).and_then(Value::as_str);
    first.unwrap_or("model without a class (architectures)")
}
