//! A model that reads a question and a text together and gives one number: how well the text answers.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{EngineError, Result};
use crate::facts::FolderFacts;
use crate::model::Model;

/// What makes a logit into a score, as sentence-transformers' `CrossEncoder` does it for one label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreActivation {
    /// `1 / (1 + exp(-x))`, the default of one label.
    Sigmoid,
    /// The logit as it is.
    Identity,
}

impl ScoreActivation {
    /// The word of reports and lockfiles.
    pub fn name(self) -> &'static str {
        match self {
            ScoreActivation::Sigmoid => "sigmoid",
            ScoreActivation::Identity => "identity",
        }
    }

    /// The score of a logit. In double precision, where logits that differ keep their order to about 36; single precision has only ones
    /// above 17.
    pub fn apply(self, logit: f32) -> f64 {
        let logit = f64::from(logit);
        match self {
            ScoreActivation::Sigmoid => 1.0 / (1.0 + (-logit).exp()),
            ScoreActivation::Identity => logit,
        }
    }

    /// The activation of a class by its full name.
    fn of_class(name: &str, path: PathBuf) -> Result<ScoreActivation> {
        // Any other module's class of the same name is code of somebody's own.
        match name.strip_prefix("torch.").and_then(|name| name.rsplit('.').next()) {
            Some("Sigmoid") => Ok(ScoreActivation::Sigmoid),
            Some("Identity") => Ok(ScoreActivation::Identity),
            _ => Err(EngineError::Model {
                path,
                reason: format!("the activation {name:?} of the scores is not supported"),
                hint: Some("supported are torch's Sigmoid and Identity".into()),
            }),
        }
    }
}

/// A cross-encoder: an engine over [`CrossEncoder::model`] gives one logit a row, and rows are pairs
/// ([`TokenBatch::push_pair`](crate::TokenBatch::push_pair)).
pub struct CrossEncoder {
    /// Encoder and head; its vectors have one number.
    pub model: Model,
    /// What makes the logits into scores.
    pub activation: ScoreActivation,
}

impl CrossEncoder {
    /// Opens a folder as sentence-transformers' `CrossEncoder` or transformers write it: `config.json`, safetensors, and in newer folders a
    /// `modules.json` with nothing but the transformer. The activation is that of `config_sentence_transformers.json`, else the config's
    /// `sentence_transformers.activation_fn`, else its older `sbert_ce_default_activation_function`, else the sigmoid.
    ///
    /// A model that embeds, one without a classifier head or with more labels than one, and an activation that is not supported are errors
    /// that name what was found.
    pub fn open(folder: &Path) -> Result<CrossEncoder> {
        let facts = FolderFacts::of_folder(folder)?;
        if let Some(pooling) = &facts.pooling {
            let modes: Vec<&str> = pooling.modes.iter().map(|mode| mode.name()).collect();
            return Err(EngineError::Model {
                path: folder.join(&pooling.file),
                reason: format!("the model is one that embeds, by {} pooling, and no reranker", modes.join("+")),
                hint: Some("a reranker is a cross-encoder (such as BertForSequenceClassification) that was trained with one label".into()),
            });
        }
        let of_sentence_transformers = facts.activation.clone();
        let encoder = folder.join(&facts.encoder);
        let (model, config) = Model::open_classifier(folder, facts)?;
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        let of_config = text(config.get("sentence_transformers").and_then(|section| section.get("activation_fn")))
            .or_else(|| text(config.get("sbert_ce_default_activation_function")));
        let activation = match (of_sentence_transformers, of_config) {
            (Some(name), _) => ScoreActivation::of_class(&name, folder.join("config_sentence_transformers.json"))?,
            (None, Some(name)) => ScoreActivation::of_class(&name, encoder.join("config.json"))?,
            (None, None) => ScoreActivation::Sigmoid,
        };
        Ok(CrossEncoder { model, activation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_the_activations() {
        assert_eq!(ScoreActivation::Identity.apply(-3.5), -3.5);
        assert_eq!(ScoreActivation::Sigmoid.apply(0.0), 0.5);
        assert!((ScoreActivation::Sigmoid.apply(2.0) - 0.880_797_077_977_882_3).abs() < 1e-12);
        assert!(ScoreActivation::Sigmoid.apply(20.0) < ScoreActivation::Sigmoid.apply(21.0));
        assert_eq!(ScoreActivation::Sigmoid.apply(-1e30), 0.0);
    }

    #[test]
    fn only_torchs_own_activations_are_known() {
        let of = |name: &str| ScoreActivation::of_class(name, "config.json".into());
        assert_eq!(of("torch.nn.modules.activation.Sigmoid").expect("known"), ScoreActivation::Sigmoid);
        assert_eq!(of("torch.nn.modules.linear.Identity").expect("known"), ScoreActivation::Identity);
        for name in ["torch.nn.modules.activation.Softmax", "my.own.Sigmoid", "Sigmoid", ""] {
            let error = of(name).expect_err(name);
            assert!(error.to_string().contains(name) && error.hint().is_some(), "{error}");
        }
    }
}
