//! From hidden states to one vector a row, as `modules.json` says: pooling, dense heads, normalization.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{EngineError, Result};
use crate::folder::{CONFIG_LIMIT, contained, read_json};
use crate::ops::{Activation, Averaging, Linear, Ops, Token};
use crate::weights::Weights;

/// How a row's hidden states become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The first token's.
    Cls,
    /// The last token's.
    LastToken,
    /// Their greatest values.
    Max,
    /// Their mean.
    Mean,
    /// Their sum over the square root of their number.
    MeanSqrtLength,
    /// Their mean weighted by position.
    WeightedMean,
}

impl Pooling {
    /// The word that newer pooling files and reports use.
    pub fn name(self) -> &'static str {
        match self {
            Pooling::Cls => "cls",
            Pooling::LastToken => "lasttoken",
            Pooling::Max => "max",
            Pooling::Mean => "mean",
            Pooling::MeanSqrtLength => "mean_sqrt_len_tokens",
            Pooling::WeightedMean => "weightedmean",
        }
    }

    const ALL: [(Pooling, &'static str); 6] = [
        (Pooling::Cls, "pooling_mode_cls_token"),
        (Pooling::LastToken, "pooling_mode_lasttoken"),
        (Pooling::Max, "pooling_mode_max_tokens"),
        (Pooling::Mean, "pooling_mode_mean_tokens"),
        (Pooling::MeanSqrtLength, "pooling_mode_mean_sqrt_len_tokens"),
        (Pooling::WeightedMean, "pooling_mode_weightedmean_tokens"),
    ];

    /// Reads both forms of the file: one `pooling_mode`, or a flag for each mode.
    fn read(path: &Path) -> Result<Pooling> {
        let config: Map<String, Value> = read_json(path, CONFIG_LIMIT)?;
        let mut modes = Vec::new();
        if let Some(mode) = config.get("pooling_mode") {
            let mode = mode.as_str().unwrap_or_default();
            modes.extend(Pooling::ALL.iter().filter(|(pooling, _)| pooling.name() == mode).map(|&(pooling, _)| pooling));
        } else {
            let set = |key: &str| config.get(key).and_then(Value::as_bool) == Some(true);
            modes.extend(Pooling::ALL.iter().filter(|(_, key)| set(key)).map(|&(pooling, _)| pooling));
        }
        match modes[..] {
            [mode] => Ok(mode),
            _ => {
                let known: Vec<&str> = Pooling::ALL.iter().map(|(pooling, _)| pooling.name()).collect();
                let reason = format!("the file must ask for one pooling mode of {} and asks for {}", known.join(", "), modes.len());
                Err(EngineError::model(path, reason))
            }
        }
    }
}

/// One step after the encoder.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Pool(Pooling),
    Dense(Linear, Option<Activation>),
    Normalize,
}

/// The steps after the encoder, in order; the first is the pooling.
#[derive(Clone, Debug)]
pub struct Head {
    steps: Vec<Step>,
    /// Numbers of the final vector.
    pub dimensions: usize,
}

#[derive(Deserialize)]
struct ModuleEntry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
}

#[derive(Deserialize)]
struct DenseConfig {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    activation_function: String,
}

fn yes() -> bool {
    true
}

/// The folder of the table, if `modules.json` says that the model is static.
pub(crate) fn static_table(folder: &Path) -> Result<Option<PathBuf>> {
    let path = folder.join("modules.json");
    if !path.exists() {
        return Ok(None);
    }
    let modules: Vec<ModuleEntry> = read_json(&path, CONFIG_LIMIT)?;
    match modules.first() {
        Some(module) if module.kind.rsplit('.').next() == Some("StaticEmbedding") => match module.path.as_str() {
            "" | "." => Ok(Some(folder.to_path_buf())),
            inside => contained(folder, inside, &path).map(Some),
        },
        _ => Ok(None),
    }
}

impl Head {
    /// Reads `modules.json` and what it names; dense weights are added to `weights` under their folder's name.
    pub(crate) fn open(folder: &Path, hidden: usize, weights: &mut Weights) -> Result<Head> {
        let path = folder.join("modules.json");
        if !path.exists() {
            return Err(EngineError::Model {
                path,
                reason: "the file is missing, so that the model's pooling is not known".into(),
                hint: Some("Patina runs sentence-transformers models, which have it; it guesses no pooling".into()),
            });
        }
        let modules: Vec<ModuleEntry> = read_json(&path, CONFIG_LIMIT)?;
        let mut steps = Vec::new();
        let mut dimensions = hidden;
        for (at, module) in modules.iter().enumerate() {
            // Releases of sentence-transformers moved the classes between packages; the last word stayed.
            let kind = module.kind.rsplit('.').next().unwrap_or_default();
            let step = match (at, kind) {
                (0, "Transformer") => continue,
                // A bag of its tokens' vectors.
                (0, "StaticEmbedding") => Step::Pool(Pooling::Mean),
                (1, "Pooling") => Step::Pool(Pooling::read(&contained(folder, &module.path, &path)?.join("config.json"))?),
                (1.., "Dense") if !steps.is_empty() => {
                    let (linear, activation) = dense(&contained(folder, &module.path, &path)?, &module.path, dimensions, weights)?;
                    dimensions = linear.weight.shape()[0];
                    Step::Dense(linear, activation)
                }
                (1.., "Normalize") if !steps.is_empty() => Step::Normalize,
                // Dropout does nothing outside training.
                (1.., "Dropout") => continue,
                _ => {
                    let reason =
                        format!("module {at} is {:?}; supported are Transformer, Pooling, then Dense, Dropout and Normalize", module.kind);
                    return Err(EngineError::model(path, reason));
                }
            };
            steps.push(step);
        }
        if !matches!(steps.first(), Some(Step::Pool(_))) {
            return Err(EngineError::model(path, "the file names no pooling"));
        }
        Ok(Head { steps, dimensions })
    }

    /// The pooling.
    pub fn pooling(&self) -> Pooling {
        match self.steps.first() {
            Some(Step::Pool(pooling)) => *pooling,
            _ => unreachable!("`open` makes the pooling the first step"),
        }
    }

    /// Whether the vectors have unit length.
    pub fn normalizes(&self) -> bool {
        matches!(self.steps.last(), Some(Step::Normalize))
    }

    /// `[tokens, hidden]` to `[rows, dimensions]`.
    pub(crate) fn forward<O: Ops>(&self, ops: &mut O, hidden: O::Tensor) -> Result<O::Tensor> {
        let mut x = hidden;
        for step in &self.steps {
            x = match step {
                Step::Pool(Pooling::Cls) => ops.take(&x, Token::First)?,
                Step::Pool(Pooling::LastToken) => ops.take(&x, Token::Last)?,
                Step::Pool(Pooling::Max) => ops.max(&x)?,
                Step::Pool(Pooling::Mean) => ops.average(&x, Averaging::Mean)?,
                Step::Pool(Pooling::MeanSqrtLength) => ops.average(&x, Averaging::SqrtLength)?,
                Step::Pool(Pooling::WeightedMean) => ops.average(&x, Averaging::ByPosition)?,
                Step::Dense(linear, None) => ops.linear(&x, linear)?,
                Step::Dense(linear, Some(activation)) => {
                    let y = ops.linear(&x, linear)?;
                    ops.activation(&y, *activation)?
                }
                Step::Normalize => ops.normalize(&x)?,
            };
        }
        Ok(x)
    }
}

fn dense(folder: &Path, name: &str, input: usize, weights: &mut Weights) -> Result<(Linear, Option<Activation>)> {
    let path = folder.join("config.json");
    let config: DenseConfig = read_json(&path, CONFIG_LIMIT)?;
    if config.in_features != input {
        let reason = format!("the dense head takes {} numbers and the step before gives {input}", config.in_features);
        return Err(EngineError::model(path, reason));
    }
    if config.out_features == 0 {
        return Err(EngineError::model(path, "the dense head gives no numbers"));
    }
    let activation = match config.activation_function.rsplit('.').next().unwrap_or_default() {
        "Identity" => None,
        "Tanh" => Some(Activation::Tanh),
        "GELU" => Some(Activation::Gelu),
        "ReLU" => Some(Activation::Relu),
        "SiLU" => Some(Activation::Silu),
        _ => {
            let reason =
                format!("the activation {:?} is not supported; Identity, Tanh, GELU, ReLU and SiLU are", config.activation_function);
            return Err(EngineError::model(path, reason));
        }
    };
    let prefix = format!("{name}/");
    weights.add_folder(folder, &prefix)?;
    let weight = weights.param(&format!("{prefix}linear.weight"), &[config.out_features, input])?;
    let bias = match config.bias {
        true => Some(weights.param(&format!("{prefix}linear.bias"), &[config.out_features])?),
        false => None,
    };
    Ok((Linear { weight, bias }, activation))
}
