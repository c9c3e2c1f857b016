//! What a training run is asked to do, checked before anything is computed.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The shape of a projection. `x` is a normalised input, every output is normalised after what is written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// `y = W x + b`.
    Linear,
    /// `y = x + W2 relu(W1 x + b1) + b2`; output and input have the same size.
    Residual,
    /// `y = W2 relu(W1 x + b1) + b2`.
    Mlp,
}

impl Architecture {
    /// The word in the metadata of a projection file.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Linear => "linear",
            Architecture::Residual => "residual",
            Architecture::Mlp => "mlp-2layer",
        }
    }

    /// The architecture of a projection file's metadata.
    pub fn parse(name: &str) -> Option<Architecture> {
        [Architecture::Linear, Architecture::Residual, Architecture::Mlp].into_iter().find(|one| one.name() == name)
    }

    /// Whether there is a hidden layer.
    pub fn has_hidden(self) -> bool {
        self != Architecture::Linear
    }
}

/// What training minimises. Similarity is cosine; negatives are the other positives of the batch, except those that share the
/// anchor, the positive or the group, or whose positive is the anchor itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Symmetric InfoNCE (van den Oord et al. 2018; both directions as in CLIP): cross-entropy over similarities divided by
    /// `temperature`, which must be positive.
    InfoNce {
        /// Divides the similarities.
        temperature: f64,
    },
    /// `max(0, margin - s(anchor, positive) + s(anchor, negative))` with the hardest negative of the batch.
    Triplet {
        /// By how much the positive shall be nearer.
        margin: f64,
    },
}

/// How the learning rate goes over the steps of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// From the learning rate to zero along half a cosine.
    Cosine,
    /// The same all the time.
    Constant,
}

/// Where training starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At raw vectors (output as large as input) or at their PCA (smaller), whatever the architecture: training can only leave a
    /// good place for a better one, and weight decay pulls back to it. An MLP does it with `relu(u) - relu(-u) = u` on
    /// `2 x output` of its hidden units, the others being random and not yet listened to; one with a smaller hidden layer starts
    /// as [`Start::Random`].
    Faithful,
    /// He initialisation for an MLP: the usual start, which memorises small corpora. Linear and residual know no random start.
    Random,
}

/// A training run. [`TrainConfig::new`] fills in what usually works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// The shape.
    pub architecture: Architecture,
    /// Numbers of an input vector.
    pub input: usize,
    /// Numbers of the hidden layer; none for [`Architecture::Linear`].
    pub hidden: Option<usize>,
    /// Numbers of an output vector.
    pub output: usize,
    /// Passes over the training pairs.
    pub epochs: usize,
    /// Pairs of a step; each sees the others' positives as negatives.
    pub batch_size: usize,
    /// The greatest step size of AdamW.
    pub learning_rate: f64,
    /// Decoupled weight decay of AdamW; towards the start if that is faithful, else towards zero. Biases do not decay.
    pub weight_decay: f64,
    /// What is minimised.
    pub loss: Loss,
    /// The learning rate over time.
    pub schedule: Schedule,
    /// The start.
    pub start: Start,
    /// Stop after so many epochs without a better validation MRR; the best epoch is kept in any case.
    pub patience: usize,
    /// Decides the order of pairs and every random weight.
    pub seed: u64,
}

/// The largest layer that is trained, so that a typing mistake in a recipe does not ask for all memory.
pub(super) const MAX_LAYER: usize = 16_384;

impl TrainConfig {
    /// A run with the usual settings: 10 epochs of batches of 32, InfoNCE at temperature 0.05, AdamW with rate 1e-4 and decay 0.01,
    /// cosine schedule, faithful start, patience 3, seed 42.
    pub fn new(architecture: Architecture, input: usize, hidden: Option<usize>, output: usize) -> TrainConfig {
        TrainConfig {
            architecture,
            input,
            hidden,
            output,
            epochs: 10,
            batch_size: 32,
            learning_rate: 1e-4,
            weight_decay: 0.01,
            loss: Loss::InfoNce { temperature: 0.05 },
            schedule: Schedule::Cosine,
            start: Start::Faithful,
            patience: 3,
            seed: 42,
        }
    }

    /// Fails with [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) and what is wrong unless the run is possible.
    pub fn check(&self) -> Result<()> {
        let sizes = [Some(self.input), self.hidden, Some(self.output)];
        if let Some(size) = sizes.into_iter().flatten().find(|&size| size == 0 || size > MAX_LAYER) {
            return Err(Error::usage(format!("a layer of {size} numbers cannot be trained, expected 1 to {MAX_LAYER}")));
        }
        if self.architecture.has_hidden() != self.hidden.is_some() {
            let wanted = if self.architecture.has_hidden() { "needs a hidden size" } else { "has no hidden layer" };
            return Err(Error::usage(format!("a {} projection {wanted}", self.architecture.name())));
        }
        if self.architecture == Architecture::Residual && self.input != self.output {
            let (input, output) = (self.input, self.output);
            return Err(Error::usage(format!("a residual projection keeps its size, but its input is {input} and its output {output}")));
        }
        if self.batch_size < 2 {
            return Err(Error::usage("the batch size must be at least 2: negatives come from the same batch"));
        }
        let (name, value) = match self.loss {
            Loss::InfoNce { temperature } => ("temperature", temperature),
            Loss::Triplet { margin } => ("margin", margin),
        };
        for (name, value, zero) in
            [(name, value, false), ("learning rate", self.learning_rate, false), ("weight decay", self.weight_decay, true)]
        {
            if !value.is_finite() || value < 0.0 || (value == 0.0 && !zero) {
                return Err(Error::usage(format!("the {name} is {value}, expected a positive number")));
            }
        }
        Ok(())
    }

    /// Whether the start is raw vectors or their PCA; see [`Start::Faithful`].
    pub(super) fn starts_faithful(&self) -> bool {
        match (self.architecture, self.hidden) {
            (Architecture::Mlp, Some(hidden)) => self.start == Start::Faithful && hidden >= 2 * self.output,
            _ => true,
        }
    }
}
