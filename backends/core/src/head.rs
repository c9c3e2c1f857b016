//! From hidden states to one vector a row: pooling, dense heads, the cut to fewer dimensions, normalization.

use std::path::Path;

use crate::architectures::Classifier;
use crate::error::{EngineError, Result};
use crate::facts::{FolderFacts, StepFacts};
use crate::model::ModelOptions;
use crate::ops::{Activation, Averaging, LayerNorm, Linear, Ops, Token};
use crate::pooling::Pooling;
use crate::weights::Weights;

/// PyTorch's default, which sentence-transformers' LayerNorm has.
const LAYER_NORM_EPSILON: f32 = 1e-5;

/// One step after the encoder.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Several modes are put side by side.
    Pool(Vec<Pooling>),
    Dense(Dense),
    LayerNorm(LayerNorm),
    /// To the first so many numbers.
    Cut(usize),
    Normalize,
}

/// A linear layer of `N_Dense/`.
#[derive(Clone, Debug)]
pub(crate) struct Dense {
    linear: Linear,
    activation: Option<Activation>,
    residual: Residual,
}

/// What is added to what a dense layer gives.
#[derive(Clone, Debug)]
enum Residual {
    None,
    /// What came in.
    Same,
    /// What came in, by way of a matrix of its own.
    Through(Linear),
}

/// The steps after the encoder, in order; the first is the pooling.
#[derive(Clone, Debug)]
pub struct Head {
    steps: Vec<Step>,
    /// Numbers of the vector before a cut.
    whole: usize,
    /// Numbers of the final vector.
    pub dimensions: usize,
}

impl Head {
    /// The steps that the folder's files ask for, with what `options` put in their place; weights of dense heads are added to
    /// `weights` under their folder's name. `hidden` is what the encoder gives.
    pub(crate) fn open(folder: &Path, facts: &FolderFacts, hidden: usize, options: &ModelOptions, weights: &mut Weights) -> Result<Head> {
        let modes = match (options.pooling, &facts.pooling) {
            (Some(mode), _) => vec![mode],
            (None, Some(pooling)) => pooling.modes.clone(),
            (None, None) if facts.cross_encoder => {
                return Err(EngineError::Model {
                    path: folder.join("modules.json"),
                    reason: "the model is a cross-encoder: it scores pairs of texts and gives no vectors".into(),
                    hint: Some("name it under `rerank:`, and a model that embeds as the embedding model".into()),
                });
            }
            (None, None) => {
                return Err(EngineError::Model {
                    path: folder.join("modules.json"),
                    reason: "the file is missing, so that the model's pooling is not known".into(),
                    hint: Some("Patina guesses no pooling: write `pooling: mean` (or cls, lasttoken, ...) into the recipe, as the model's page says".into()),
                });
            }
        };
        // The file's own width is a note: sentence-transformers computes nothing with it, and jina-embeddings-v2-base-en is published with
        // its smaller sister's. The encoder's counts, and heads must fit it.
        let mut dimensions = hidden * modes.len();
        let mut steps = vec![Step::Pool(modes)];
        for step in &facts.steps {
            let fits = |name: &str, what: &str, width: usize| match width == dimensions {
                true => Ok(()),
                false => {
                    let reason = format!("the {what} takes {width} numbers and the step before gives {dimensions}");
                    Err(EngineError::model(folder.join(name).join("config.json"), reason))
                }
            };
            steps.push(match step {
                StepFacts::Normalize => Step::Normalize,
                StepFacts::LayerNorm { folder: name, width } => {
                    fits(name, "layer norm", *width)?;
                    weights.add_folder(folder, name)?;
                    let param = |key: &str| weights.param(&format!("{name}norm.{key}"), &[*width]);
                    Step::LayerNorm(LayerNorm { weight: param("weight")?, bias: Some(param("bias")?), epsilon: LAYER_NORM_EPSILON })
                }
                StepFacts::Dense { folder: name, input, output, bias, activation, residual } => {
                    fits(name, "dense head", *input)?;
                    weights.add_folder(folder, name)?;
                    dimensions = *output;
                    let matrix = |key: &str| weights.param(&format!("{name}{key}.weight"), &[*output, *input]);
                    let bias = bias.then(|| weights.param(&format!("{name}linear.bias"), &[*output])).transpose()?;
                    let residual = match residual {
                        false => Residual::None,
                        true if input == output => Residual::Same,
                        true => Residual::Through(Linear { weight: matrix("residual")?, bias: None }),
                    };
                    Step::Dense(Dense { linear: Linear { weight: matrix("linear")?, bias }, activation: *activation, residual })
                }
            });
        }
        let head = Head { steps, whole: dimensions, dimensions };
        match (options.dimensions, facts.truncate) {
            (Some(wanted), _) => head.cut(wanted, || folder.to_path_buf()),
            // More than there are means all of them, as in sentence-transformers.
            (None, Some(wanted)) => head.cut(wanted.min(dimensions), || folder.join("config_sentence_transformers.json")),
            (None, None) => Ok(head),
        }
    }

    /// The steps of a classifier of one label: what it gives is one number, the logit of a pair.
    pub(crate) fn of_classifier(classifier: Classifier) -> Head {
        let Classifier { dense, output } = classifier;
        let step = |linear, activation| Step::Dense(Dense { linear, activation, residual: Residual::None });
        let steps = vec![Step::Pool(vec![Pooling::Cls]), step(dense, Some(Activation::Tanh)), step(output, None)];
        Head { steps, whole: 1, dimensions: 1 }
    }

    /// Keeps the first `wanted` numbers. The cut comes before the last normalization, so that the shorter vectors have unit length too.
    fn cut(mut self, wanted: usize, path: impl Fn() -> std::path::PathBuf) -> Result<Head> {
        if wanted == 0 || wanted > self.whole {
            let reason = format!("vectors cannot be cut to {wanted} numbers: the model's have {}", self.whole);
            return Err(EngineError::model(path(), reason));
        }
        if wanted < self.whole {
            let at = self.steps.len() - usize::from(self.normalizes());
            self.steps.insert(at, Step::Cut(wanted));
            self.dimensions = wanted;
        }
        Ok(self)
    }

    /// The pooling: several modes are put side by side.
    pub fn pooling(&self) -> &[Pooling] {
        match self.steps.first() {
            Some(Step::Pool(modes)) => modes,
            _ => unreachable!("`open` makes the pooling the first step"),
        }
    }

    /// The words of the pooling, joined by `+`.
    pub fn pooling_name(&self) -> String {
        self.pooling().iter().map(|mode| mode.name()).collect::<Vec<_>>().join("+")
    }

    /// Numbers of the vector before it is cut; [`Head::dimensions`] of it are kept.
    pub fn whole(&self) -> usize {
        self.whole
    }

    /// Whether the vectors have unit length.
    pub fn normalizes(&self) -> bool {
        matches!(self.steps.last(), Some(Step::Normalize))
    }

    /// Which token of each row is all that the pooling reads, if it is one.
    pub(crate) fn only(&self) -> Option<Token> {
        match self.pooling() {
            [mode] => token(*mode),
            _ => None,
        }
    }

    /// `[tokens, hidden]`, or `[rows, hidden]` of the tokens that [`Head::only`] names, to `[rows, dimensions]`.
    pub(crate) fn forward<O: Ops>(&self, ops: &mut O, hidden: O::Tensor) -> Result<O::Tensor> {
        let mut x = hidden;
        for step in &self.steps {
            x = match step {
                Step::Pool(_) if self.only().is_some() => ops.single(&x)?,
                Step::Pool(modes) => {
                    let mut parts = modes.iter().map(|&mode| pool(ops, &x, mode)).collect::<Result<Vec<_>>>()?;
                    if parts.len() == 1 { parts.remove(0) } else { ops.concat(&parts)? }
                }
                Step::Dense(dense) => dense.forward(ops, &x)?,
                Step::LayerNorm(norm) => ops.layer_norm(&x, None, norm)?,
                Step::Cut(width) => ops.columns(&x, 0, *width)?,
                Step::Normalize => ops.normalize(&x)?,
            };
        }
        Ok(x)
    }
}

/// The token that a mode reads, if it reads one alone.
fn token(mode: Pooling) -> Option<Token> {
    match mode {
        Pooling::Cls => Some(Token::First),
        Pooling::LastToken => Some(Token::Last),
        Pooling::Max | Pooling::Mean | Pooling::MeanSqrtLength | Pooling::WeightedMean => None,
    }
}

fn pool<O: Ops>(ops: &mut O, x: &O::Tensor, mode: Pooling) -> Result<O::Tensor> {
    if let Some(token) = token(mode) {
        let x = ops.take(x, token)?;
        return ops.single(&x);
    }
    match mode {
        Pooling::Max => ops.max(x),
        Pooling::Mean => ops.average(x, Averaging::Mean),
        Pooling::MeanSqrtLength => ops.average(x, Averaging::SqrtLength),
        Pooling::WeightedMean => ops.average(x, Averaging::ByPosition),
        Pooling::Cls | Pooling::LastToken => unreachable!("they read one token"),
    }
}

impl Dense {
    fn forward<O: Ops>(&self, ops: &mut O, x: &O::Tensor) -> Result<O::Tensor> {
        let mut y = ops.linear(x, &self.linear)?;
        if let Some(activation) = self.activation {
            y = ops.activation(&y, activation)?;
        }
        match &self.residual {
            Residual::None => Ok(y),
            Residual::Same => ops.add(&y, x),
            Residual::Through(linear) => {
                let x = ops.linear(x, linear)?;
                ops.add(&y, &x)
            }
        }
    }
}
